"""When a portfolio of several legs next needs attention: exact in X, by a box of prices per leg on the way there.

What may happen is bounded in X = Σ Q·p (leverage, equity, margin) and in the move M = Σ w·(p/ref − 1). Neither is
a price, so each leg gets a range of its own, so narrow that even their worst corner keeps both bounds. When
a leg leaves its range the true figures are computed, and the portfolio acts or gets new ranges.
"""

from __future__ import annotations

import numba

from gearing.core.barriers import TERMS, reduce_pivot, sleep_range
from gearing.core.decide import NONE, decide
from gearing.core.formulas import TOUCH
from gearing.core.legs import AT, FLAT, HIGH, LOW, N_TIERS, PRICE, REF, REF_MS, SIDE, SLICE_MS, WEIGHT, Q
from gearing.core.pack import INF, Terms
from gearing.core.portfolio import FUND, ROOM, TIERS, equity_at, exposure, margin_at, move, notional, view
from gearing.jit import compiled
from gearing.kernels.legs_market import MARKET, LegMarket
from gearing.kernels.pyramid import Floats, Pyramid, first_outside
from gearing.kernels.series import first_bar_at
from gearing.kernels.wake import ROWS, checks

_I, _F = numba.int64, numba.float64
_PAIR = numba.types.UniTuple(_F, 2)

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


@compiled(_PAIR(TERMS, ROOM, FUND, ROOM, _F))
def _exposure_room(t: Terms, legs: Floats, v: Floats, x: Floats, equity: float) -> tuple[float, float]:
    """Returns by how much X may (fall, rise) before leverage or equity needs attention; ≤ 0 where it does now."""
    held = exposure(x, AT)
    s = view(legs, v, x, equity, AT)
    if v[SIDE] != 0.0:
        below, above = sleep_range(s, 0.0, t.ripcord, INF, INF, 0.0)
    else:
        pivot = reduce_pivot(t) if t.reduce_only != 0.0 else 0.0
        below, above = sleep_range(s, t.lower, t.upper, INF, INF, pivot)
    if held > 0.0:
        return held * (1.0 - below), held * (above - 1.0)
    return held * (1.0 - above), held * (below - 1.0)


@compiled(_PAIR(TIERS, ROOM, FUND, ROOM, _F))
def _margin_room(tiers: Floats, legs: Floats, v: Floats, x: Floats, equity: float) -> tuple[float, float]:
    """Returns (excess equity over margin, its loss per unit of adverse relative move), for moves of up to a half.

    Within such a move no leg's margin rises faster than at the bracket of one and a half times its notional.
    """
    slope = 0.0
    for k in range(x.shape[1]):
        size = abs(notional(legs, v, x, k, equity, AT))
        rate = 0.0
        count = int(legs[N_TIERS, k])
        for n in range(count):
            rate = tiers[k, n, 1]
            if 1.5 * size <= tiers[k, n, 0]:
                break
        slope += size * (1.0 + (rate if x[Q, k] < 0.0 else 0.0))
    return equity - margin_at(tiers, legs, v, x, equity, AT), slope


@compiled(numba.boolean(TERMS, TIERS, ROOM, FUND, ROOM))
def set_box(t: Terms, tiers: Floats, legs: Floats, v: Floats, x: Floats) -> bool:
    """Writes the range of each leg around the prices of row AT; returns whether there is room for one."""
    legs_count = x.shape[1]
    equity = equity_at(v, x, AT)
    size, moved_size, brackets = 0.0, 0.0, 0.0
    for k in range(legs_count):
        size += abs(x[Q, k]) * x[AT, k]
        moved_size += abs(legs[WEIGHT, k]) * x[AT, k] / x[REF, k]
        brackets += legs[N_TIERS, k]
    if size == 0.0 or exposure(x, AT) == 0.0:
        return False
    fall, rise = _exposure_room(t, legs, v, x, equity)
    down, up = fall / size, rise / size
    if brackets > 0.0 and legs_count > 1:
        excess, slope = _margin_room(tiers, legs, v, x, equity)
        down = min(down, excess * (1.0 - TOUCH) / slope, 0.5)
        up = min(up, 0.5)
    move_down, move_up = INF, INF
    if v[SIDE] == 0.0:
        moved = move(legs, x, AT)
        move_up = (t.move_up * (1.0 - 2.0 * TOUCH) - moved) / moved_size
        move_down = (t.move_down * (1.0 - 2.0 * TOUCH) + moved) / moved_size
    if min(down, up, move_down, move_up) <= 1e-12:
        return False
    for k in range(legs_count):
        fall, rise = INF, INF
        if x[Q, k] != 0.0:
            fall, rise = (down, up) if x[Q, k] > 0.0 else (up, down)
        if legs[WEIGHT, k] > 0.0:
            fall, rise = min(fall, move_down), min(rise, move_up)
        else:
            fall, rise = min(fall, move_up), min(rise, move_down)
        x[LOW, k], x[HIGH, k] = x[AT, k] * (1.0 - fall), x[AT, k] * (1.0 + rise)
    return True


@compiled(_I(MARKET, ROOM, _I, _I))
def _first_left(market: LegMarket, x: Floats, start: int, stop: int) -> int:
    """Returns the first bar in [start, stop) on which any leg leaves its range; else `stop`."""
    for k in range(x.shape[1]):
        close = market.close[k]
        blocks = Pyramid(market.ones[k], market.twos[k], market.threes[k])
        stop = first_outside(close, close, blocks, start, stop, x[LOW, k], x[HIGH, k])
    return stop


@compiled(numba.boolean(ROWS, FUND, _F))
def _is_overdue(plans: Floats, v: Floats, now_ms: float) -> bool:
    """Returns whether an interval has run out but was held back, so that any price may let it trade."""
    late = 0
    for row in range(plans.shape[0]):
        if plans[row, 0] > 0.0 and now_ms - v[REF_MS] >= plans[row, 0]:
            late += 1
    return late > 0 and v[SIDE] == 0.0


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
    overdue = _is_overdue(plans, v, float(market.times_ms[i]))
    if v[FLAT] != 0.0 and not overdue:
        return stop
    for k in range(x.shape[1]):
        x[AT, k] = x[PRICE, k]
    while i + 1 < stop:
        left = i + 1
        if not overdue and set_box(t, tiers, legs, v, x):
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
