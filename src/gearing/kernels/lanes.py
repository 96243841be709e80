"""Many paths of a plain token side by side: eight states at a time, so that the processor works on all at once.

The paths share their calendar, so at a wake-up the same is due on each of them. A lane on which anything else
happens (the band is left, equity is gone) goes through that stretch again by itself. Instead of barriers, the
band is held against the extreme prices of the stretch: leverage is monotonic in the price, so if it does not
fire at these it fires nowhere between them.
"""

from __future__ import annotations

import numba
import numpy as np

from gearing.core.barriers import TERMS
from gearing.core.decide import outside_band
from gearing.core.formulas import equity_after_fee, funding_payment
from gearing.core.pack import Terms
from gearing.jit import compiled
from gearing.kernels.calendar import CALENDAR, Calendar
from gearing.kernels.figures import FLOATS
from gearing.kernels.plain import PLAIN, SCHEDULES, Plain, open_plain, report_plain, to_next_clock, trade_plain
from gearing.kernels.pyramid import PYRAMID, Floats, Pyramid
from gearing.kernels.wake import ROWS

PATHS = numba.types.Array(numba.float64, 2, "C", readonly=True)

_U, _F = numba.uint64, numba.float64
_ZERO, _ONE, _TWO, _THREE, _FOUR = (np.uint64(i) for i in range(5))

LANES = np.uint64(8)

# Where eight of each stand in one flat array: the state now, what the stretch ahead holds, the state after it.
# One array with fixed places lets the compiler see that lanes do not touch each other.
(
    _EQUITY, _Q, _PRICE, _REBALANCES, _TURNOVER, _DIED, _LOW, _HIGH, _LAST, _ODD, _NEXT_EQUITY, _NEXT_Q,
    _NEXT_REBALANCES, _NEXT_TURNOVER,
) = (np.uint64(8 * place) for place in range(14))  # fmt: skip
N_LANE_NUMBERS = 14 * 8


@compiled(numba.void(PATHS, _U, _U, _U, FLOATS), fastmath={"nnan", "nsz"})
def _look_ahead(paths: Floats, first: np.uint64, start: np.uint64, stop: np.uint64, x: Floats) -> None:
    """Writes each lane's extreme prices from one bar up to another, and the price at the later one."""
    for j in range(_ZERO, LANES, _FOUR):
        p0, p1, p2, p3 = paths[first + j], paths[first + j + _ONE], paths[first + j + _TWO], paths[first + j + _THREE]
        l0 = h0 = p0[start]
        l1 = h1 = p1[start]
        l2 = h2 = p2[start]
        l3 = h3 = p3[start]
        for i in range(start + _ONE, stop):
            a, b, c, d = p0[i], p1[i], p2[i], p3[i]
            l0, h0 = a if a < l0 else l0, a if a > h0 else h0
            l1, h1 = b if b < l1 else l1, b if b > h1 else h1
            l2, h2 = c if c < l2 else l2, c if c > h2 else h2
            l3, h3 = d if d < l3 else l3, d if d > h3 else h3
        x[_LOW + j], x[_LOW + j + _ONE], x[_LOW + j + _TWO], x[_LOW + j + _THREE] = l0, l1, l2, l3
        x[_HIGH + j], x[_HIGH + j + _ONE], x[_HIGH + j + _TWO], x[_HIGH + j + _THREE] = h0, h1, h2, h3
        x[_LAST + j], x[_LAST + j + _ONE] = p0[stop], p1[stop]
        x[_LAST + j + _TWO], x[_LAST + j + _THREE] = p2[stop], p3[stop]


@compiled(numba.void(TERMS, FLOATS, _F))
def _sleep(t: Terms, x: Floats, rate: float) -> None:
    """Takes each lane to the end of its stretch and books funding; marks those that cannot have slept till then."""
    charged = rate if t.takes_funding != 0.0 else 0.0
    for j in range(LANES):
        equity, q, price = x[_EQUITY + j], x[_Q + j], x[_PRICE + j]
        low, high, last = x[_LOW + j], x[_HIGH + j], x[_LAST + j]
        at_low, at_high = equity + q * (low - price), equity + q * (high - price)
        marked = equity + q * (last - price)
        settled = marked + funding_payment(q, last, charged)
        odd = (at_low <= 0.0) | (at_high <= 0.0) | (marked <= 0.0) | (settled <= 0.0)
        odd |= outside_band(abs(q) * low, at_low, t.lower, t.upper)
        odd |= outside_band(abs(q) * high, at_high, t.lower, t.upper)
        x[_NEXT_EQUITY + j] = settled
        x[_ODD + j] = 1.0 if odd else 0.0


@compiled(numba.void(TERMS, FLOATS, _F))
def _charge(t: Terms, x: Floats, days: float) -> None:
    """Books the management fee on each lane."""
    for j in range(LANES):
        equity, exposure = x[_NEXT_EQUITY + j], x[_Q + j] * x[_LAST + j]
        after = equity_after_fee(equity, exposure, days, t.fee_per_day, t.fee_per_year, t.fee_on_exposure)
        x[_NEXT_EQUITY + j] = after
        x[_ODD + j] = 1.0 if after <= 0.0 else x[_ODD + j]


@compiled(numba.void(TERMS, FLOATS))
def _rebalance(t: Terms, x: Floats) -> None:
    """Rebalances each lane to target."""
    for j in range(LANES):
        after, q, traded = trade_plain(t, x[_NEXT_EQUITY + j], x[_Q + j], x[_LAST + j])
        x[_NEXT_EQUITY + j], x[_NEXT_Q + j] = after, q
        x[_NEXT_REBALANCES + j], x[_NEXT_TURNOVER + j] = x[_REBALANCES + j] + 1.0, x[_TURNOVER + j] + traded
        x[_ODD + j] = 1.0 if after <= 0.0 else x[_ODD + j]


@compiled(numba.void(TERMS, FLOATS))
def _hold(t: Terms, x: Floats) -> None:
    """Leaves each lane's position as it is, and marks those whose band fires at the end of the stretch."""
    for j in range(LANES):
        fires = outside_band(abs(x[_Q + j]) * x[_LAST + j], x[_NEXT_EQUITY + j], t.lower, t.upper)
        x[_NEXT_Q + j], x[_NEXT_REBALANCES + j], x[_NEXT_TURNOVER + j] = x[_Q + j], x[_REBALANCES + j], x[_TURNOVER + j]
        x[_ODD + j] = 1.0 if fires else x[_ODD + j]


@compiled(PLAIN(FLOATS, _U))
def _load(x: Floats, j: int) -> Plain:
    return Plain(x[_EQUITY + j], x[_Q + j], x[_PRICE + j], x[_REBALANCES + j], x[_TURNOVER + j], x[_DIED + j])


@compiled(numba.void(FLOATS, _U, PLAIN))
def _store(x: Floats, j: int, s: Plain) -> None:
    x[_EQUITY + j], x[_Q + j], x[_PRICE + j] = s.equity, s.q, s.price
    x[_REBALANCES + j], x[_TURNOVER + j], x[_DIED + j] = s.rebalances, s.turnover, s.wiped_out_bar


@compiled(numba.boolean(FLOATS))
def _all_slept(x: Floats) -> bool:
    """Returns whether every lane is alive and slept through its stretch."""
    odd = 0.0
    for j in range(LANES):
        odd += 1.0 if x[_EQUITY + j] <= 0.0 else x[_ODD + j]
    return odd == 0.0


@compiled(numba.void(TERMS, PATHS, PYRAMID, CALENDAR, _U, _U, FLOATS, FLOATS))
def _settle_lanes(
    t: Terms, paths: Floats, none: Pyramid, calendar: Calendar, k: int, first: np.uint64, x: Floats, path: Floats
) -> None:
    """Makes the states after row k the states now: those that slept as they are, the others step by step."""
    is_last = np.uint64(calendar.bars[k]) == np.uint64(paths.shape[1])
    if not is_last and _all_slept(x):
        for j in range(LANES):
            x[_EQUITY + j], x[_Q + j], x[_PRICE + j] = x[_NEXT_EQUITY + j], x[_NEXT_Q + j], x[_LAST + j]
            x[_REBALANCES + j], x[_TURNOVER + j] = x[_NEXT_REBALANCES + j], x[_NEXT_TURNOVER + j]
        return
    for j in range(LANES):
        s = _load(x, j)
        if s.equity <= 0.0:
            continue
        if is_last or x[_ODD + j] != 0.0:
            s = to_next_clock(t, paths[first + j], none, calendar, k, s, path)
        else:
            equity, q, price = x[_NEXT_EQUITY + j], x[_NEXT_Q + j], x[_LAST + j]
            s = Plain(equity, q, price, x[_NEXT_REBALANCES + j], x[_NEXT_TURNOVER + j], -1.0)
        _store(x, j, s)


@compiled(numba.void(TERMS, PATHS, PYRAMID, CALENDAR, _F, ROWS, _U, FLOATS, FLOATS))
def run_lanes(
    t: Terms, paths: Floats, none: Pyramid, calendar: Calendar, equity: float, figures: Floats, first: np.uint64,
    x: Floats, path: Floats,
) -> None:  # fmt: skip
    """Runs a plain token over the eight paths from `first` on.

    Args:
        t: its packed terms.
        paths: prices, shape (k, n).
        none: an empty pyramid: every price is looked at, which is best where wake-ups are dense.
        calendar: the wake-up bars.
        equity: the capital before each opening trade.
        figures: receives the figures of each path, shape (k, N_FIGURES).
        first: the first of the eight paths.
        x: room, shape (N_LANE_NUMBERS,).
        path: an empty array.
    """
    start, last = _ZERO, np.uint64(paths.shape[1]) - _ONE
    for j in range(LANES):
        _store(x, j, open_plain(t, equity, paths[first + j, _ZERO]))
    for k in range(np.uint64(calendar.bars.shape[0])):
        stop = np.uint64(calendar.bars[k])
        _look_ahead(paths, first, start, min(stop, last), x)
        _sleep(t, x, calendar.dues[k, _ZERO])
        if calendar.dues[k, _ONE] > 0.0:
            _charge(t, x, calendar.dues[k, _ONE])
        if calendar.due[k] & SCHEDULES != 0:
            _rebalance(t, x)
        else:
            _hold(t, x)
        _settle_lanes(t, paths, none, calendar, k, first, x, path)
        start = stop
    for j in range(LANES):
        report_plain(figures[first + j], _load(x, j))
