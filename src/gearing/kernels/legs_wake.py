"""When a portfolio of several legs next needs attention: exact in X, by a box of prices per leg on the way there.

When a leg leaves its range (`core.box`) the true figures are computed, and the portfolio acts or gets new ranges.
"""

from __future__ import annotations

import numba

from gearing.core.barriers import TERMS
from gearing.core.box import is_overdue, set_box
from gearing.core.decide import NONE, decide
from gearing.core.formulas import TOUCH
from gearing.core.legs import AT, FLAT, HIGH, LOW, PRICE, REF_MS, SIDE, SLICE_MS
from gearing.core.pack import Terms
from gearing.core.portfolio import FUND, ROOM, TIERS, equity_at, margin_at, view
from gearing.jit import compiled
from gearing.kernels.legs_market import MARKET, LegMarket
from gearing.kernels.pyramid import Floats, Pyramid, first_outside
from gearing.kernels.series import first_bar_at
from gearing.kernels.wake import ROWS, checks

_I, _F = numba.int64, numba.float64

# A range left after so few bars was narrow: the next ones are quicker looked at than asked for.
_NEAR, _LOOK = 16, 48


@compiled(numba.void(MARKET, ROOM, _I))
def look_at(market: LegMarket, x: Floats, i: int) -> None:
    """Takes the prices of bar i into row AT."""
    for k in range(x.shape[1]):
        x[AT, k] = market.close[k, i]


@compiled(numba.boolean(TIERS, ROOM, FUND, ROOM, _F))
def is_called(tiers: Floats, legs: Floats, v: Floats, x: Floats, equity: float) -> bool:
    """Returns whether the venue closes a portfolio of several legs at the prices of row AT (cross margin)."""
    if legs.shape[1] == 1 or v[FLAT] != 0.0:
        return False
    margin = margin_at(tiers, legs, v, x, equity, AT)
    return margin > 0.0 and equity <= margin * (1.0 + TOUCH)


@compiled(numba.boolean(TERMS, ROWS, TIERS, ROOM, FUND, ROOM, MARKET, _I))
def is_needed(
    t: Terms, plans: Floats, tiers: Floats, legs: Floats, v: Floats, x: Floats, market: LegMarket, i: int
) -> bool:
    """Returns whether a bar without a clock needs attention: equity or margin is gone, or the rule would trade."""
    look_at(market, x, i)
    equity = equity_at(v, x, AT)
    if equity <= 0.0 or is_called(tiers, legs, v, x, equity):
        return True
    now_ms, before_ms = float(market.times_ms[i]), float(market.times_ms[i - 1])
    looks = checks(t, before_ms, now_ms)
    return decide(t, plans, view(legs, v, x, equity, AT), 0, now_ms, looks).reason != NONE


@compiled(_I(MARKET, ROOM, _I, _I))
def _first_left(market: LegMarket, x: Floats, start: int, stop: int) -> int:
    """Returns the first bar in [start, stop) on which any leg leaves its range; else `stop`."""
    for k in range(x.shape[1]):
        close = market.close[k]
        blocks = Pyramid(market.ones[k], market.twos[k], market.threes[k])
        stop = first_outside(close, close, blocks, start, stop, x[LOW, k], x[HIGH, k])
    return stop


@compiled(numba.boolean(ROWS, FUND, _F))
def _any_overdue(plans: Floats, v: Floats, now_ms: float) -> bool:
    """Returns whether an interval has run out but was held back."""
    late = 0
    for row in range(plans.shape[0]):
        late += is_overdue(plans, v, row, now_ms)
    return late > 0


@compiled(_I(ROWS, FUND, MARKET, _I))
def own_clock_bar(plans: Floats, v: Floats, market: LegMarket, i: int) -> int:
    """Returns the bar of the portfolio's own next clock: a slice, or an interval since the last rebalance."""
    if v[SIDE] != 0.0:
        return first_bar_at(market.times_ms, i, v[SLICE_MS])
    bar = market.close.shape[1]
    for k in range(plans.shape[0]):
        due_ms = v[REF_MS] + plans[k, 0]
        if plans[k, 0] > 0.0 and due_ms > market.times_ms[i]:
            bar = min(bar, first_bar_at(market.times_ms, i, due_ms))
    return bar


@compiled(_I(TERMS, ROWS, TIERS, ROOM, FUND, ROOM, MARKET, _I, _I))
def wake_at(
    t: Terms, plans: Floats, tiers: Floats, legs: Floats, v: Floats, x: Floats, market: LegMarket, i: int, stop: int
) -> int:
    """Returns the first bar in (i, stop) that needs attention, else `stop`.

    Args:
        t, plans, tiers, legs: the packed token.
        v, x: its state after bar i.
        market: the prices.
        i: the bar last looked at.
        stop: the next bar that a clock wakes it on.
    """
    now_ms, is_flat = float(market.times_ms[i]), v[FLAT] != 0.0
    if is_flat and not _any_overdue(plans, v, now_ms):
        return stop
    for k in range(x.shape[1]):
        x[AT, k] = x[PRICE, k]
    while i + 1 < stop:
        left = i + 1
        if not is_flat and set_box(t, plans, tiers, legs, v, x, now_ms):
            left = _first_left(market, x, i + 1, stop)
            if left == stop:
                return stop
        near = left - i <= _NEAR
        look = min(left + (_LOOK if near else 1), stop)
        while left < look:
            if is_needed(t, plans, tiers, legs, v, x, market, left):
                return left
            left += 1
        i = left - 1
    return stop
