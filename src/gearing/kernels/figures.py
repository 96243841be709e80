"""The figures of a run: what is counted and measured along the way, in one flat float64 array."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.core.barriers import STATE, State
from gearing.jit import compiled
from gearing.kernels.pyramid import extremes
from gearing.kernels.series import SERIES, Series

FIGURES = (
    "equity",
    "position",
    "rebalances",
    "trades",
    "turnover",
    "wiped_out_bar",
    "liquidations",
    "leverage_max",
    "leverage_min",
    "drawdown_max",
    "peak",
    "days",
    "day_return_sum",
    "day_return_squares",
    "day_return_min",
    "day_equity",
    "day_price",
    "tracked_days",
    "tracking_sum",
    "tracking_squares",
    "day_log_sum",
    "day_log_squares",
)
(
    EQUITY, POSITION, REBALANCES, TRADES, TURNOVER, WIPED_OUT_BAR, LIQUIDATIONS, LEVERAGE_MAX, LEVERAGE_MIN,
    DRAWDOWN_MAX, PEAK, DAYS, DAY_SUM, DAY_SQUARES, DAY_MIN, DAY_EQUITY, DAY_PRICE, TRACKED_DAYS, TRACKING_SUM,
    TRACKING_SQUARES, DAY_LOG_SUM, DAY_LOG_SQUARES,
) = range(len(FIGURES))  # fmt: skip
N_FIGURES = len(FIGURES)

# An ideal day's end below this is a loss of everything but for rounding, and has no log to be tracked by.
NOTHING = 1e-12

FLOATS = numba.types.Array(numba.float64, 1, "C")
_I, _F = numba.int64, numba.float64


@compiled(numba.void(FLOATS, _F))
def open_figures(f: NDArray[np.float64], equity: float) -> None:
    """Clears the figures for a run that starts with this equity."""
    f[:] = 0.0
    f[WIPED_OUT_BAR] = -1.0
    f[LEVERAGE_MAX] = -math.inf
    f[LEVERAGE_MIN] = math.inf
    f[PEAK] = equity
    f[DAY_MIN] = math.inf


@compiled(numba.void(FLOATS, STATE))
def see_leverage(f: NDArray[np.float64], s: State) -> None:
    """Counts the leverage of a state with equity > 0 towards the largest and the smallest."""
    leverage = abs(s.q) * s.price / s.equity
    f[LEVERAGE_MAX] = max(f[LEVERAGE_MAX], leverage)
    f[LEVERAGE_MIN] = min(f[LEVERAGE_MIN], leverage)


@compiled(numba.void(FLOATS, _F))
def see_equity(f: NDArray[np.float64], equity: float) -> None:
    """Counts one equity towards the peak and the drawdown."""
    f[PEAK] = max(f[PEAK], equity)
    f[DRAWDOWN_MAX] = max(f[DRAWDOWN_MAX], 1.0 - equity / f[PEAK])


@compiled(numba.boolean(FLOATS, STATE, _F, _F))
def _bounded(f: NDArray[np.float64], s: State, lowest: float, highest: float) -> bool:
    """Takes a block of prices whole, if no drawdown inside it can beat the largest so far."""
    one, two = s.equity + s.q * (lowest - s.price), s.equity + s.q * (highest - s.price)
    least, most = min(one, two), max(one, two)
    peak = max(f[PEAK], most)
    if least < peak * (1.0 - f[DRAWDOWN_MAX]):
        return False
    f[PEAK] = peak
    return True


@compiled(numba.void(FLOATS, STATE, SERIES, _I, _I))
def see_drawdown(f: NDArray[np.float64], s: State, series: Series, start: int, stop: int) -> None:
    """Counts the drawdown over the sleeping bars [start, stop), looking inside a block only where it can matter."""
    blocks = series.blocks
    i = start
    while i < stop:
        b = i >> 8
        if i & 255 == 0 and i + 256 <= stop and _bounded(f, s, blocks.twos[b, 0], blocks.twos[b, 1]):
            i += 256
            continue
        b = i >> 4
        if i & 15 == 0 and i + 16 <= stop and _bounded(f, s, blocks.ones[b, 0], blocks.ones[b, 1]):
            i += 16
            continue
        end = min((i | 15) + 1, stop)
        while i < end:
            see_equity(f, s.equity + s.q * (series.close[i] - s.price))
            i += 1


@compiled(numba.void(FLOATS, STATE, SERIES, _I, _I))
def see_sleep(f: NDArray[np.float64], s: State, series: Series, start: int, stop: int) -> None:
    """Counts leverage and drawdown over the sleeping bars [start, stop)."""
    if start >= stop:
        return
    lowest, highest = extremes(series.close, series.close, series.blocks, start, stop)
    for price in (lowest, highest):
        leverage = abs(s.q) * price / (s.equity + s.q * (price - s.price))
        f[LEVERAGE_MAX] = max(f[LEVERAGE_MAX], leverage)
        f[LEVERAGE_MIN] = min(f[LEVERAGE_MIN], leverage)
    if not _bounded(f, s, lowest, highest):
        see_drawdown(f, s, series, start, stop)


@compiled(numba.void(FLOATS, _F, _F, _F))
def see_day(f: NDArray[np.float64], target: float, equity: float, price: float) -> None:
    """Closes a day: its return, and its difference from the ideal ln(1 + β·r)."""
    if f[DAY_EQUITY] > 0.0:
        r = equity / f[DAY_EQUITY] - 1.0
        f[DAYS] += 1.0
        f[DAY_SUM] += r
        f[DAY_SQUARES] += r * r
        f[DAY_MIN] = min(f[DAY_MIN], r)
        if equity > 0.0:
            log = math.log(equity / f[DAY_EQUITY])
            f[DAY_LOG_SUM] += log
            f[DAY_LOG_SQUARES] += log * log
        ideal = 1.0 + target * (price / f[DAY_PRICE] - 1.0)
        if ideal > NOTHING and equity > 0.0:
            d = math.log((1.0 + r) / ideal)
            f[TRACKED_DAYS] += 1.0
            f[TRACKING_SUM] += d
            f[TRACKING_SQUARES] += d * d
    f[DAY_EQUITY] = equity
    f[DAY_PRICE] = price


@compiled(numba.void(FLOATS, _F, STATE, numba.boolean, numba.boolean))
def see_bar(f: NDArray[np.float64], target: float, s: State, measured: bool, day_end: bool) -> None:
    """Counts a bar that was attended to, after its trade."""
    if measured:
        see_equity(f, s.equity)
        if day_end:
            see_day(f, target, s.equity, s.price)
