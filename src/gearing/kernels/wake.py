"""When a token next needs attention: the first bar at its deadline or beyond its barriers."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.core.barriers import RANGE, STATE, TERMS, State, barriers, overdue_barriers, sleep_range
from gearing.core.pack import INF, Plan, Terms
from gearing.jit import compiled
from gearing.kernels.calendar import CALENDAR, Calendar
from gearing.kernels.pyramid import first_outside
from gearing.kernels.series import SERIES, Series, bar_at

ROWS = numba.types.Array(numba.float64, 2, "C")
_I, _F = numba.int64, numba.float64


@compiled(numba.boolean(ROWS))
def has_intervals(plans: NDArray[np.float64]) -> bool:
    """Returns whether a schedule counts from the last rebalance, so that the state has a clock of its own."""
    for k in range(plans.shape[0]):
        if plans[k, 0] > 0.0:
            return True
    return False


@compiled(_I(TERMS, ROWS, STATE, SERIES, _I))
def clock_bar(t: Terms, plans: NDArray[np.float64], s: State, series: Series, i: int) -> int:
    """Returns the bar of the state's own next clock: a slice, or an interval since the last rebalance."""
    if s.side != 0.0:
        return bar_at(series, i, s.slice_ms)
    bar = series.close.shape[0]
    for k in range(plans.shape[0]):
        due_ms = s.ref_ms + plans[k, 0]
        if plans[k, 0] > 0.0 and due_ms > series.times_ms[i]:
            bar = min(bar, bar_at(series, i, due_ms))
    return bar


@compiled(numba.boolean(TERMS, _F, _F))
def checks(t: Terms, before_ms: float, now_ms: float) -> bool:
    """Returns whether the continuous triggers look at a price: the first at or after a multiple of the check interval.

    Args:
        t: the packed terms.
        before_ms: when the price before was known.
        now_ms: when this one was.
    """
    return t.check_ms == 0.0 or math.floor(now_ms / t.check_ms) != math.floor(before_ms / t.check_ms)


@compiled(numba.boolean(TERMS, SERIES, _I))
def is_checked(t: Terms, series: Series, i: int) -> bool:
    """Returns whether the continuous triggers look at bar i."""
    if t.check_ms == 0.0:
        return True
    return checks(t, float(series.times_ms[i - 1]), float(series.times_ms[i]))


@compiled(_I(TERMS, STATE, SERIES, _I, _I, _F, _F))
def _first_checked(t: Terms, s: State, series: Series, hit: int, stop: int, below: float, above: float) -> int:
    """Returns the first bar from `hit` on that is outside and looked at, or near zero equity; else `stop`."""
    close, blocks = series.close, series.blocks
    low, high = sleep_range(s, 0.0, INF, INF, INF, 0.0)
    while hit < stop and not is_checked(t, series, hit):
        multiple = (math.floor(series.times_ms[hit] / t.check_ms) + 1.0) * t.check_ms
        look = min(bar_at(series, hit, multiple), stop)
        gone = first_outside(close, close, blocks, hit, look, low, high)
        if gone < look:
            return gone
        hit = first_outside(close, close, blocks, look, stop, below, above)
    return hit


@compiled(_I(STATE, SERIES, _I, _I, _F))
def liquidation_bar(s: State, series: Series, start: int, stop: int, price: float) -> int:
    """Returns the first bar in [start, stop) whose low (long) or high (short) reaches the price; else `stop`."""
    if math.isnan(price):
        return stop
    below, above = 0.0, INF
    if s.q > 0.0:
        below = np.nextafter(price, INF)
    else:
        above = np.nextafter(price, 0.0)
    return first_outside(series.low, series.high, series.range_blocks, start, stop, below, above)


@compiled(RANGE(TERMS, ROWS, STATE, _F))
def _overdue(t: Terms, plans: NDArray[np.float64], s: State, now_ms: float) -> tuple[float, float]:
    """Returns the prices between which no overdue interval can trade; every price looks at those."""
    below, above = 0.0, INF
    if s.side == 0.0:
        for row in range(plans.shape[0]):
            p = plans[row]
            if p[0] > 0.0 and now_ms - s.ref_ms >= p[0]:
                plan = Plan(p[0], p[1], p[2], p[3], p[4], p[5], p[6])
                lower, upper = overdue_barriers(t, s, plan)
                below, above = max(below, lower), min(above, upper)
    return below, above


@compiled(_I(TERMS, ROWS, STATE, SERIES, CALENDAR, _I, _I, _I))
def wake_bar(
    t: Terms, plans: NDArray[np.float64], s: State, series: Series, calendar: Calendar, k: int, i: int, clock: int
) -> int:
    """Returns the next bar after i at which the token must be looked at: its deadline, or an earlier crossing.

    Args:
        t, plans: the packed terms and schedules.
        s: the state after bar i.
        series, calendar: the prices and the wake-up bars; row k is the calendar's next.
        i: the bar last looked at.
        clock: the bar of the state's own clock (see `clock_bar`).
    """
    bars = calendar.bars
    stop = min(bars[k], clock)
    below, above = barriers(t, s)
    low, high = _overdue(t, plans, s, float(series.times_ms[i]))
    close, blocks = series.close, series.blocks
    inner, outer = max(below, low), min(above, high)
    before = bars[k - 1] if k > 0 else 0
    if i == before and stop == bars[k] and calendar.dues[k, 2] >= inner and calendar.dues[k, 3] <= outer:
        return stop
    if t.check_ms == 0.0:
        return first_outside(close, close, blocks, i + 1, stop, inner, outer)
    stop = first_outside(close, close, blocks, i + 1, stop, low, high)
    hit = first_outside(close, close, blocks, i + 1, stop, below, above)
    return _first_checked(t, s, series, hit, stop, below, above)
