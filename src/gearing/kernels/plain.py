"""The plain token: schedules by times and a band, to target, nothing else. The same accounting, in fewer words.

Most sweeps are over such tokens. Their whole state is equity and position, which stay in registers; every
formula is the one that the general run calls, so both give the same numbers to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from gearing.core.barriers import TERMS, lower_barrier, upper_barrier
from gearing.core.decide import outside_band
from gearing.core.formulas import TOUCH, commission, equity_after_fee, funding_payment, size_to_aim
from gearing.core.pack import INF, Terms
from gearing.jit import compiled
from gearing.kernels import figures as fig
from gearing.kernels.calendar import CALENDAR, DAY_END, Calendar
from gearing.kernels.figures import FLOATS
from gearing.kernels.pyramid import PRICES, PYRAMID, Floats, Pyramid, first_outside
from gearing.kernels.series import SERIES, Series

_U, _F = numba.uint64, numba.float64
_PAIR = numba.types.UniTuple(_F, 2)
_TRIPLE = numba.types.UniTuple(_F, 3)

# Unsigned bar numbers spare every access the check for indices counted from the end.
_ZERO, _ONE, _TWO, _THREE, _FOUR = (np.uint64(i) for i in range(5))

# Where the next crossing is likely this near, looking at each price beats asking the pyramid.
_NEAR = np.uint64(32)
SCHEDULES = (1 << DAY_END) - 1


class Plain(NamedTuple):
    """The running state of a plain token, all float64; `wiped_out_bar` is −1 while it lives."""

    equity: float
    q: float
    price: float
    rebalances: float
    turnover: float
    wiped_out_bar: float


PLAIN = numba.typeof(Plain(*[0.0] * 6))


@compiled(_PAIR(TERMS, _F, _F, _F))
def _band_range(t: Terms, equity: float, q: float, price: float) -> tuple[float, float]:
    """Returns the prices (below, above) between which the band cannot fire, zero equity included."""
    u = equity / q - price
    upper, lower = upper_barrier(u, q, t.upper), lower_barrier(u, q, t.lower)
    if q < 0.0:
        return (lower if t.lower > 0.0 else 0.0), min(upper, -u * (1.0 - TOUCH))
    if u > 0.0:
        return (lower if t.lower > 0.0 else 0.0), upper
    return max(upper, -u * (1.0 + TOUCH)), (lower if t.lower > 0.0 else INF)


@compiled(_TRIPLE(TERMS, _F, _F, _F))
def trade_plain(t: Terms, equity: float, q: float, price: float) -> tuple[float, float, float]:
    """Returns (equity, position, turnover) after a rebalance to target; equity ≤ 0 is a wipe-out."""
    dq = size_to_aim(equity, q, price, t.target)
    notional = abs(dq) * price
    cost = notional * t.half_spread + 0.0 + (commission(dq, price, t.half_spread, t.taker_fee) if dq != 0.0 else 0.0)
    return equity - cost, q + dq, notional / equity


@compiled(_U(PRICES, _U, _U, _F, _F), fastmath={"nnan", "nsz"})
def _scan(close: Floats, start: np.uint64, stop: np.uint64, below: float, above: float) -> np.uint64:
    """Returns the first bar in [start, stop) outside (below, above), else `stop`, four prices at a time."""
    i = start
    while i + _FOUR <= stop:
        a, b, c, d = close[i], close[i + _ONE], close[i + _TWO], close[i + _THREE]
        if min(a, b, c, d) < below or max(a, b, c, d) > above:
            break
        i += _FOUR
    while i < stop and close[i] >= below and close[i] <= above:
        i += _ONE
    return i


@compiled(_U(PRICES, PYRAMID, _U, _U, _F, _F, numba.boolean))
def _crossing(
    close: Floats, blocks: Pyramid, start: np.uint64, stop: np.uint64, below: float, above: float, near: bool
) -> np.uint64:
    """Returns the first bar in [start, stop) outside (below, above), else `stop`; looks nearby first if told so."""
    if blocks.ones.shape[0] == 0:
        return _scan(close, start, stop, below, above)
    if near:
        looked = min(stop, start + _NEAR)
        start = _scan(close, start, looked, below, above)
        if start < looked:
            return start
    return np.uint64(first_outside(close, close, blocks, int(start), int(stop), below, above))


@compiled(numba.void(PRICES, FLOATS, _U, _U, _F, _F, _F))
def fill(close: Floats, path: Floats, start: np.uint64, stop: np.uint64, equity: float, q: float, price: float) -> None:
    """Writes the equity of the sleeping bars [start, stop), affine in price; an empty path is left alone."""
    if path.shape[0] > 0:
        for i in range(start, stop):
            path[i] = equity + q * (close[i] - price)


@compiled(_F(TERMS, _F, _F, _F, _F, _F))
def settle_plain(t: Terms, equity: float, q: float, price: float, rate: float, days: float) -> float:
    """Returns the equity after funding and management fee; ≤ 0 is a wipe-out."""
    if rate != 0.0 and t.takes_funding != 0.0:
        equity += funding_payment(q, price, rate)
    if days > 0.0 and equity > 0.0:
        equity = equity_after_fee(equity, q * price, days, t.fee_per_day, t.fee_per_year, t.fee_on_exposure)
    return equity


@compiled(PLAIN(TERMS, PLAIN, _F, _F))
def _rebalanced(t: Terms, s: Plain, equity: float, bar: float) -> Plain:
    """Returns the state after a rebalance at the state's price, from the equity before it."""
    after, q, traded = trade_plain(t, equity, s.q, s.price)
    if after <= 0.0:
        return Plain(0.0, 0.0, s.price, s.rebalances, s.turnover, bar)
    return Plain(after, q, s.price, s.rebalances + 1.0, s.turnover + traded, -1.0)


@compiled(PLAIN(TERMS, _F, _F))
def open_plain(t: Terms, equity: float, price: float) -> Plain:
    """Returns the state after the opening trade."""
    return _rebalanced(t, Plain(equity, 0.0, price, 0.0, 0.0, -1.0), equity, 0.0)


@compiled(PLAIN(TERMS, PRICES, PYRAMID, CALENDAR, _U, PLAIN, FLOATS))
def to_next_clock(
    t: Terms, close: Floats, blocks: Pyramid, calendar: Calendar, k: int, s: Plain, path: Floats
) -> Plain:
    """Returns the state after the calendar's row k, from the one after the row before it.

    On the way it rebalances wherever the band is left. The last row, the end of the series, only marks.

    Args:
        t: the packed terms.
        close, blocks: the prices; an empty pyramid means that every price is looked at.
        calendar, k: the wake-up bars, and the row to go to.
        s: the state, alive.
        path: receives the equity of the bars passed, shape (n,), or (0,) for none.
    """
    bar, stop, n = _ZERO, np.uint64(calendar.bars[k]), np.uint64(close.shape[0])
    if k > _ZERO:
        bar = np.uint64(calendar.bars[k - _ONE])
    fresh, near = True, False
    while True:
        start = bar
        below, above = _band_range(t, s.equity, s.q, s.price)
        if fresh and calendar.dues[k, _TWO] >= below and calendar.dues[k, _THREE] <= above:
            bar = stop
        else:
            bar = _crossing(close, blocks, start + _ONE, stop, below, above, near)
            near = bool(bar - start <= _NEAR)
        fresh = False
        fill(close, path, start, bar, s.equity, s.q, s.price)
        price = close[min(bar, n - _ONE)]
        equity = s.equity + s.q * (price - s.price)
        if bar == n:
            return Plain(equity, s.q, price, s.rebalances, s.turnover, -1.0)
        scheduled = False
        if bar == stop:
            if equity > 0.0:
                equity = settle_plain(t, equity, s.q, price, calendar.dues[k, _ZERO], calendar.dues[k, _ONE])
            scheduled = calendar.due[k] & SCHEDULES != 0
        if equity <= 0.0:
            return Plain(0.0, 0.0, price, s.rebalances, s.turnover, float(bar))
        s = Plain(equity, s.q, price, s.rebalances, s.turnover, -1.0)
        if scheduled or outside_band(abs(s.q) * price, equity, t.lower, t.upper):
            s = _rebalanced(t, s, equity, float(bar))
        if bar == stop or s.equity <= 0.0:
            return s


@compiled(numba.void(FLOATS, PLAIN))
def report_plain(f: Floats, s: Plain) -> None:
    """Writes a finished run into its figures."""
    fig.open_figures(f, s.equity)
    f[fig.EQUITY], f[fig.POSITION], f[fig.WIPED_OUT_BAR] = s.equity, s.q, s.wiped_out_bar
    f[fig.REBALANCES], f[fig.TRADES], f[fig.TURNOVER] = s.rebalances, s.rebalances, s.turnover


@compiled(numba.void(TERMS, SERIES, CALENDAR, _F, FLOATS, FLOATS))
def run_plain(t: Terms, series: Series, calendar: Calendar, equity: float, f: Floats, path: Floats) -> None:
    """Runs a plain token over one path.

    Args:
        t: its packed terms.
        series: the prices.
        calendar: the wake-up bars.
        equity: the capital before the opening trade.
        f: receives equity, position, counts and turnover, shape (N_FIGURES,).
        path: receives the equity of each bar, shape (n,), or (0,) for none.
    """
    close = series.close
    s, k, rows = open_plain(t, equity, close[_ZERO]), 0, calendar.bars.shape[0]
    while s.equity > 0.0 and k < rows:
        s = to_next_clock(t, close, series.blocks, calendar, k, s, path)
        k += 1
    if s.equity <= 0.0:
        fill(close, path, np.uint64(s.wiped_out_bar), np.uint64(close.shape[0]), 0.0, 0.0, 0.0)
    report_plain(f, s)
