"""Named inputs: the columns of a design matrix, and the same values out of River's dictionaries and data frames."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from online_ml.scoring.inputs import POSITION
from online_ml.types import Floats, Inputs


class ColumnSelector:
    """The values of named inputs, in the order of the names.

    Out of dictionaries and data frames, a value that is missing or no finite number is 0, and what is not named is
    ignored.

    Parameters
    ----------
    names
        Out of `online_ml.scoring.inputs.INPUTS` (if they are all of them, in that order), or others, which a design
        matrix does not hold. None: whatever `meet` is given, in the order in which it comes.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self.names: list[Any] = [] if names is None else list(names)
        self.named = names is not None
        """Whether the names were given; if not, they grow."""
        self._known = set(self.names)
        self._columns = np.array([POSITION.get(str(name), -1) for name in self.names], dtype=np.intp)
        self._in_matrix = self.named and bool((self._columns >= 0).all())

    def of(self, inputs: Inputs) -> Inputs:
        """Return the named columns of a design matrix of shape (n, `len(INPUTS)`): the matrix itself if they are all.

        Raises
        ------
        ValueError
            If the names were not given, or one of them is no column of it.
        """
        if not self._in_matrix:
            message = "a design matrix needs inputs that are named, out of online_ml.scoring.inputs.INPUTS"
            raise ValueError(message)
        return inputs if len(self._columns) == inputs.shape[1] else inputs[:, self._columns]

    def meet(self, names: Iterable[Hashable]) -> int:
        """Take in the names not known yet, unless the names were given; return how many these are."""
        if self.named:
            return 0
        new = [name for name in names if name not in self._known]
        self.names += new
        self._known.update(new)
        return len(new)

    def row(self, x: Mapping[Any, Any]) -> Floats:
        """Return a dictionary's values, shape (1, k)."""
        return _finite(np.array([[x.get(name) for name in self.names]], dtype=np.float64))

    def rows(self, X: pd.DataFrame) -> Floats:
        """Return a data frame's values, shape (n, k)."""
        return _finite(X.reindex(columns=self.names).to_numpy(dtype=np.float64, na_value=np.nan))

    def numbered(self, x: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return a dictionary's values by position; the dictionary as it is, if the names were not given."""
        return dict(enumerate(self.row(x)[0].tolist())) if self.named else dict(x)


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, 0.0)
