"""Compile Python functions to machine code (Numba), for work on every byte or every event.

Such a function sees numbers and arrays only, each array by its address alone: no bounds are checked and no references
counted, which makes it fast. Compiled code is cached beside its module, or in the user's cache, until a module that it
is made of changes or another processor runs it.
"""

import ctypes
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import cfunc, njit

_Function = TypeVar("_Function", bound=Callable[..., Any])

_modules: set[str] = set()
"""Files with helpers."""


def native_helper(function: _Function) -> _Function:
    """Compile a function that native functions and other helpers may call."""
    return _helping(function)


def native_inline(function: _Function) -> _Function:
    """Compile a helper that is inlined at each call: for small ones, since that takes long to compile."""
    return _helping(function, forceinline=True)


def _helping(function: _Function, *, forceinline: bool = False) -> _Function:
    _modules.add(function.__code__.co_filename)
    return cast("_Function", njit(nogil=True, error_model="numpy", forceinline=forceinline)(function))


def native(*kinds: type[np.generic] | None) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Compile a function for Python to call; it releases the interpreter lock while it runs.

    Parameters
    ----------
    kinds
        Type of each argument: the dtype of a contiguous array, None for an integer. An array of another dtype is
        refused with `ctypes.ArgumentError`. The function returns an integer.
    """
    types: Any = numba.types
    arguments = (types.int64 if kind is None else types.CPointer(numba.from_dtype(np.dtype(kind))) for kind in kinds)
    signature = types.int64(*arguments)
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int64,
        *(ctypes.c_int64 if kind is None else _address_of(kind) for kind in kinds),
    )

    def compiled(function: Callable[..., int]) -> Callable[..., int]:
        # Numba watches the function's own module for changes; its helpers may be in others.
        made_of = b"".join(Path(module).read_bytes() for module in sorted(_modules))
        function.__qualname__ += f"_{hashlib.sha256(made_of).hexdigest()[:8]}"
        with suppress(RuntimeError):  # no place to cache it: each process compiles it again
            return _called(prototype, cfunc(signature, cache=True, error_model="numpy")(function))
        return _called(prototype, cfunc(signature, error_model="numpy")(function))

    return compiled


def _address_of(kind: type[np.generic]) -> Any:
    """Return the type of an argument that is an array; one of `np.ctypeslib.ndpointer` takes twice as long to pass."""
    dtype = np.dtype(kind)

    class Address:
        @staticmethod
        def from_param(array: Any) -> ctypes.c_void_p:
            if not isinstance(array, np.ndarray) or array.dtype != dtype or not array.flags.c_contiguous:
                message = f"A contiguous array of {dtype} is wanted."
                raise TypeError(message)
            return ctypes.c_void_p(array.ctypes.data)

    return Address


def _called(prototype: Any, made: Any) -> Callable[..., int]:
    native = prototype(made.address)
    native.made = made  # keeps the code alive as long as it can be called
    return cast("Callable[..., int]", native)
