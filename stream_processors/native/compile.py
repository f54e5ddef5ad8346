"""Python functions made machine code by Numba, for what has to look at every byte or every event.

Such a function sees numbers and arrays only, each array by its address alone: nothing is checked when it runs, and
nothing is counted, which is what makes it quick. What is compiled is kept beside its module, or in the user's cache,
until a module that it is made of changes or another processor runs it.
"""

import ctypes
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from numba import cfunc, njit

Bytes = npt.NDArray[np.uint8]


_Function = TypeVar("_Function", bound=Callable[..., Any])

_modules: set[str] = set()
"""Files with helpers."""


def native_helper(function: _Function) -> _Function:
    """Make a function that entries and other helpers of its module may call."""
    return _helping(function)


def native_inline(function: _Function) -> _Function:
    """Make a helper whose code is repeated wherever it is called: for small ones, since that takes long to compile."""
    return _helping(function, forceinline=True)


def _helping(function: _Function, *, forceinline: bool = False) -> _Function:
    _modules.add(function.__code__.co_filename)
    return cast("_Function", njit(nogil=True, error_model="numpy", forceinline=forceinline)(function))


def native(*kinds: type[np.generic] | None) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Make a function that Python calls, which lets go of the interpreter lock while it runs.

    Parameters
    ----------
    kinds
        What each argument is: of a contiguous array the type of its numbers, None for an integer. An array of another
        type is refused with `ctypes.ArgumentError`. The function returns an integer.
    """
    types: Any = numba.types
    arguments = (types.int64 if kind is None else types.CPointer(numba.from_dtype(np.dtype(kind))) for kind in kinds)
    signature = types.int64(*arguments)
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int64,
        *(ctypes.c_int64 if kind is None else _address_of(kind) for kind in kinds),
    )

    def compiled(function: Callable[..., int]) -> Callable[..., int]:
        # Numba looks at the entry's own module for changes; its helpers may stand in others.
        made_of = b"".join(Path(module).read_bytes() for module in sorted(_modules))
        function.__qualname__ += f"_{hashlib.sha256(made_of).hexdigest()[:8]}"
        with suppress(RuntimeError):  # nowhere to keep it: it is made anew by each process
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
    native.made = made  # as long as it can be called, its code stays
    return cast("Callable[..., int]", native)
