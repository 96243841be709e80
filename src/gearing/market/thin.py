"""Thinning a long series for drawing, without losing its extremes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def thin(values: npt.NDArray[np.float64], points: int = 4_000) -> npt.NDArray[np.int64]:
    """Returns the rows to draw: the lowest and the highest of each of `points`/2 stretches, and both ends.

    Args:
        values: the series, shape (n,), in any unit.
        points: about how many rows to keep at most.

    Returns:
        Sorted row numbers; all of them if there are no more than `points`.
    """
    n = len(values)
    if n <= points:
        return np.arange(n)
    stretch = -(-n // (points // 2))
    whole = n // stretch * stretch
    blocks = values[:whole].reshape(-1, stretch)
    starts = np.arange(0, whole, stretch)
    rows = [starts + blocks.argmin(axis=1), starts + blocks.argmax(axis=1), np.array([0, n - 1])]
    if whole < n:
        rest = values[whole:]
        rows.append(whole + np.array([rest.argmin(), rest.argmax()]))
    return np.unique(np.concatenate(rows))
