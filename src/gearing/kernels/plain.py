"""The plain token: schedules by times and a band, to target, nothing else. The same accounting, in fewer words.

Most sweeps are over such tokens. Their whole state is equity and position, which stay in registers; every
formula is the one that the general run calls, so both give the same numbers to the last bit.
"""

from __future__ import annotations

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

_I, _F = numba.int64, numba.float64
_PAIR = numba.types.UniTuple(_F, 2)
_TRIPLE = numba.types.UniTuple(_F, 3)

# Where the next crossing is likely this near, looking at each price beats asking the pyramid.
_NEAR = 32
_SCHEDULES = (1 << DAY_END) - 1


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
def _trade(t: Terms, equity: float, q: float, price: float) -> tuple[float, float, float]:
    """Returns (equity, position, turnover) after a rebalance to target; equity ≤ 0 is a wipe-out."""
    dq = size_to_aim(equity, q, price, t.target)
    notional = abs(dq) * price
    cost = notional * t.half_spread + 0.0 + (commission(dq, price, t.half_spread, t.taker_fee) if dq != 0.0 else 0.0)
    return equity - cost, q + dq, notional / equity


@compiled(_I(PRICES, PYRAMID, _I, _I, _F, _F, numba.boolean))
def _crossing(close: Floats, blocks: Pyramid, start: int, stop: int, below: float, above: float, near: bool) -> int:
    """Returns the first bar in [start, stop) outside (below, above), else `stop`; looks nearby first if told so."""
    looked = start
    if blocks.ones.shape[0] == 0:
        looked = stop
        outside = False
        for i in range(np.uint64(start), np.uint64(max(stop, start))):
            outside |= (close[i] < below) | (close[i] > above)
        if not outside:
            return stop
    elif near:
        looked = min(stop, start + _NEAR)
    for i in range(np.uint64(start), np.uint64(max(looked, start))):
        if close[i] < below or close[i] > above:
            return i
    return first_outside(close, close, blocks, looked, stop, below, above) if looked < stop else stop


@compiled(numba.void(PRICES, FLOATS, _I, _I, _F, _F, _F))
def fill(close: Floats, path: Floats, start: int, stop: int, equity: float, q: float, price: float) -> None:
    """Writes the equity of the sleeping bars [start, stop), affine in price; an empty path is left alone."""
    if path.shape[0] == 0:
        return
    # Unsigned counters spare the check for indices from the end, which would keep this from vectorising.
    for i in range(np.uint64(start), np.uint64(stop)):
        path[i] = equity + q * (close[i] - price)


@compiled(_F(TERMS, _F, _F, _F, _F, _F))
def _settle(t: Terms, equity: float, q: float, price: float, rate: float, days: float) -> float:
    """Returns the equity after funding and management fee; ≤ 0 is a wipe-out."""
    if rate != 0.0 and t.takes_funding != 0.0:
        equity += funding_payment(q, price, rate)
    if days > 0.0 and equity > 0.0:
        equity = equity_after_fee(equity, q * price, days, t.fee_per_day, t.fee_per_year, t.fee_on_exposure)
    return equity


@compiled(numba.void(TERMS, SERIES, CALENDAR, _F, FLOATS, FLOATS))
def run_plain(t: Terms, series: Series, calendar: Calendar, equity: float, f: Floats, path: Floats) -> None:
    """Runs a plain token over one path.

    Args:
        t: its packed terms.
        series: the prices; an empty pyramid means that every price is looked at.
        calendar: the wake-up bars.
        equity: the capital before the opening trade.
        f: receives equity, position, counts and turnover, shape (N_FIGURES,).
        path: receives the equity of each bar, shape (n,), or (0,) for none.
    """
    close, n, bars = series.close, series.close.shape[0], calendar.bars
    fig.open_figures(f, equity)
    price = close[0]
    equity, q, turnover = _trade(t, equity, 0.0, price)
    rebalances, bar, k, near = 1.0, 0, 0, False
    while equity > 0.0:
        start, stop = bar, bars[k]
        below, above = _band_range(t, equity, q, price)
        fresh = start == (bars[k - 1] if k > 0 else 0)
        if fresh and calendar.dues[k, 2] >= below and calendar.dues[k, 3] <= above:
            bar = stop
        else:
            bar = _crossing(close, series.blocks, start + 1, stop, below, above, near)
            near = bar - start <= _NEAR
        fill(close, path, start, bar, equity, q, price)
        if bar == n:
            f[fig.EQUITY], f[fig.POSITION] = equity + q * (close[n - 1] - price), q
            break
        equity, price = equity + q * (close[bar] - price), close[bar]
        scheduled = False
        if bar == stop:
            if equity > 0.0:
                equity = _settle(t, equity, q, price, calendar.dues[k, 0], calendar.dues[k, 1])
            scheduled = calendar.due[k] & _SCHEDULES != 0
            k += 1
        if equity > 0.0 and (scheduled or outside_band(abs(q) * price, equity, t.lower, t.upper)):
            equity, q, traded = _trade(t, equity, q, price)
            if equity > 0.0:
                turnover += traded
                rebalances += 1.0
    if equity <= 0.0:
        f[fig.WIPED_OUT_BAR] = bar
        fill(close, path, bar, n, 0.0, 0.0, price)
        if bar == 0:
            rebalances = turnover = 0.0
    f[fig.REBALANCES], f[fig.TRADES], f[fig.TURNOVER] = rebalances, rebalances, turnover
