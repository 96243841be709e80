"""How near a run came to nothing: its highest leverage, and the first bar whose worst price leaves nothing."""

from __future__ import annotations

import numba
import numpy as np

from gearing.jit import compiled
from gearing.kernels.pyramid import PRICES, Floats
from gearing.kernels.run import BAR, EQUITY, POSITION
from gearing.kernels.wake import ROWS

_I, _F = numba.int64, numba.float64
_RANGE = numba.types.UniTuple(_F, 2)


@compiled(_RANGE(PRICES, _I, _I), fastmath={"nnan", "nsz"})
def _lowest_highest(values: Floats, start: int, stop: int) -> tuple[float, float]:
    """The least and the greatest of values[start:stop], which holds at least one."""
    first, last = np.uint64(start), np.uint64(stop)
    low, high = values[first], values[first]
    for i in range(first, last):
        low = min(low, values[i])
        high = max(high, values[i])
    return low, high


@compiled(numba.types.Tuple((_I, _F))(ROWS, PRICES, PRICES))
def nearest_to_nothing(rows: Floats, close: Floats, extreme: Floats) -> tuple[int, float]:
    """Returns (bar, leverage): the first bar that ends a token, −1 if none does, and the highest |ℓ| at a close.

    Between two rows of a run equity is affine in the price, so a stretch is judged by its lowest and highest
    price alone. The highest leverage leaves out what comes after the first end, and the last close.

    Args:
        rows: of a run that trades at closes, see `run.COLUMNS`.
        close: prices, shape (n,).
        extreme: the worst price of each bar for the position, its low for a long; shape (n,).
    """
    n, highest = close.shape[0], 0.0
    for k in range(rows.shape[0]):
        start, q, equity = np.int64(rows[k, BAR]), rows[k, POSITION], rows[k, EQUITY]
        if equity <= 0.0:
            return start, highest
        stop = np.int64(rows[k + 1, BAR]) if k + 1 < rows.shape[0] else n - 1
        if q == 0.0 or stop <= start:
            continue
        fixed = equity - q * close[start]
        low, high = _lowest_highest(extreme, start + 1, stop + 1)
        if fixed + q * (low if q > 0.0 else high) <= 0.0:
            for i in range(start, stop):
                highest = max(highest, abs(q) * close[i] / (fixed + q * close[i]))
                if fixed + q * extreme[i + 1] <= 0.0:
                    return i + 1, highest
        low, high = _lowest_highest(close, start, stop)
        highest = max(highest, abs(q) * low / (fixed + q * low), abs(q) * high / (fixed + q * high))
    return -1, highest
