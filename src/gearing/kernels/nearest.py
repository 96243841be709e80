"""How near a run came to nothing: the leverages it had, and the first bar whose worst price leaves nothing."""

from __future__ import annotations

import math

import numba
import numpy as np

from gearing.jit import compiled
from gearing.kernels.pyramid import PRICES, Floats, extremes
from gearing.kernels.run import BAR, EQUITY, FLOATS, POSITION
from gearing.kernels.series import SERIES, Series
from gearing.kernels.wake import ROWS

_I, _F = numba.int64, numba.float64


@compiled(numba.types.Tuple((_I, _F, _F))(ROWS, SERIES))
def nearest_to_nothing(rows: Floats, series: Series) -> tuple[int, float, float]:
    """Returns (bar, lowest, highest): the first bar that ends a token, −1 if none does, and the |ℓ| it had at closes.

    Between two rows of a run equity is affine in the price, so a stretch is judged by its lowest and highest
    price alone. Leverages are those at the closes before the first end, the last close left out; (∞, 0) if it
    never held a position.

    Args:
        rows: of a run that trades at closes, see `run.COLUMNS`.
        series: the indexed prices it ran on, n bars.
    """
    close, n = series.close, series.close.shape[0]
    least, most = np.inf, 0.0
    for k in range(rows.shape[0]):
        start, q, equity = int(rows[k, BAR]), rows[k, POSITION], rows[k, EQUITY]
        if equity <= 0.0:
            return int(start), float(least), float(most)
        stop = int(rows[k + 1, BAR]) if k + 1 < rows.shape[0] else n - 1
        if q == 0.0 or stop <= start:
            continue
        fixed, end = equity - q * close[start], -1
        low, high = extremes(series.low, series.high, series.range_blocks, start + 1, stop + 1)
        if fixed + q * (low if q > 0.0 else high) <= 0.0:
            end = start + 1
            while fixed + q * (series.low[end] if q > 0.0 else series.high[end]) > 0.0:
                end += 1
            stop = end
        low, high = extremes(close, close, series.blocks, start, stop)
        one, other = abs(q) * low / (fixed + q * low), abs(q) * high / (fixed + q * high)
        least, most = min(least, one, other), max(most, one, other)
        if end >= 0:
            return int(end), float(least), float(most)
    return -1, float(least), float(most)


@compiled(_F(ROWS, PRICES, _I, _F, _F, FLOATS))
def add_leverages(rows: Floats, close: Floats, stop: int, lowest: float, step: float, weights: Floats) -> float:
    """Adds a run's |ℓ| at each close before bar `stop` to the weights of a table; returns how many there were.

    Each is shared by the two leverages of the table that it lies between, in proportion to its log distance.

    Args:
        rows: of the run.
        close: the prices it ran on.
        stop: the first bar left out.
        lowest: the first leverage of the table.
        step: the log distance of two of them, > 0.
        weights: receives the sums, shape (m,).
    """
    held, last = 0.0, weights.shape[0] - 2
    for k in range(rows.shape[0]):
        start, q, equity = int(rows[k, BAR]), rows[k, POSITION], rows[k, EQUITY]
        end = min(int(rows[k + 1, BAR]) if k + 1 < rows.shape[0] else stop, stop)
        if q == 0.0 or equity <= 0.0:
            continue
        fixed, per_step, size = equity - q * close[start], 1.0 / step, abs(q) / lowest
        for i in range(start, end):
            place = math.log(size * close[i] / (fixed + q * close[i])) * per_step
            below = min(max(int(place), 0), last)
            weights[below] += 1.0 - (place - below)
            weights[below + 1] += place - below
        held += max(end - start, 0)
    return held
