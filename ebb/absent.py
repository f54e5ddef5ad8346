"""Keeps packages out of a process that has no use for them.

PyArrow imports pandas to see whether a list is a series of pandas', and Numba imports SciPy to see whether it offers
linear algebra. Both do without; to look costs a worker a fifth of its start and 60 MB for as long as it runs.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Absent(MetaPathFinder):
    """Finder that reports some packages as not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Raise for the packages to keep out; leave all others to the finders that follow."""
        if fullname in self._names:
            message = f"{fullname} is kept out of this process"
            raise ModuleNotFoundError(message, name=fullname)
        return None


def keep_out(*packages: str) -> None:
    """Have imports of top-level packages fail in this process, unless they have been imported before."""
    sys.meta_path.insert(0, _Absent(packages))
