"""The box: a range of prices for each leg within which a portfolio of several legs needs no attention.

What may happen is bounded in X = Σ Q·p (leverage, equity, margin) and in the move M = Σ w·(p/ref − 1). Neither is
a price, so each leg gets a range of its own, so narrow that even their worst corner keeps both bounds. For one
leg the range is exact. An interval that ran out and was held back by its condition bounds them too.
"""

from __future__ import annotations

import numba

from gearing.core.barriers import TERMS, reduce_pivot, sleep_range
from gearing.core.formulas import TOUCH
from gearing.core.legs import AT, HIGH, LOW, N_TIERS, REF, REF_MS, SIDE, WEIGHT, Floats, Q
from gearing.core.pack import INF, Terms
from gearing.core.portfolio import FUND, ROOM, TIERS, equity_at, exposure, margin_at, move, notional, view
from gearing.jit import compiled

_F = numba.float64
_PAIR = numba.types.UniTuple(_F, 2)
_LEVELS = numba.types.UniTuple(_F, 4)
# Of what compiled code knows of a schedule (`pack.Plan`), its interval and its condition.
_EVERY, _REDUCE_ONLY, _CONDITIONAL, _LOWER, _UPPER, _MOVE_UP, _MOVE_DOWN = range(7)


@compiled(numba.boolean(ROOM, FUND, numba.int64, _F))
def is_overdue(plans: Floats, v: Floats, row: int, now_ms: float) -> bool:
    """Returns whether a schedule is an interval that has run out, so that any price may let it trade."""
    return bool(plans[row, _EVERY] > 0.0 and now_ms - v[REF_MS] >= plans[row, _EVERY] and v[SIDE] == 0.0)


@compiled(_LEVELS(TERMS, ROOM, FUND, _F))
def _levels(t: Terms, plans: Floats, v: Floats, now_ms: float) -> tuple[float, float, float, float]:
    """Returns (lower, upper, move up, move down): between them neither the rule nor an overdue interval trades.

    What may only reduce does nothing below the level from which going to the rule's aim lowers the position.
    """
    if v[SIDE] != 0.0:
        return 0.0, t.ripcord, INF, INF
    pivot = reduce_pivot(t)
    lower, upper, up, down = t.lower, t.upper, t.move_up, t.move_down
    if t.reduce_only != 0.0:
        lower, upper = lower if lower > pivot else 0.0, max(upper, pivot)
    for row in range(plans.shape[0]):
        if is_overdue(plans, v, row, now_ms):
            low, high = plans[row, _LOWER], plans[row, _UPPER] if plans[row, _CONDITIONAL] != 0.0 else 0.0
            if plans[row, _REDUCE_ONLY] != 0.0:
                low, high = low if low > pivot else 0.0, max(high, pivot)
            lower, upper = max(lower, low), min(upper, high)
            up, down = min(up, plans[row, _MOVE_UP]), min(down, plans[row, _MOVE_DOWN])
    return lower, upper, up, down


@compiled(_PAIR(ROOM, FUND, ROOM, _F, _F, _F))
def _exposure_room(
    legs: Floats, v: Floats, x: Floats, equity: float, lower: float, upper: float
) -> tuple[float, float]:
    """Returns by how much X may (fall, rise) before leverage or equity needs attention; ≤ 0 where it does now."""
    held = exposure(x, AT)
    below, above = sleep_range(view(legs, v, x, equity, AT), lower, upper, INF, INF, 0.0)
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


@compiled(numba.boolean(TERMS, ROOM, TIERS, ROOM, FUND, ROOM, _F))
def set_box(t: Terms, plans: Floats, tiers: Floats, legs: Floats, v: Floats, x: Floats, now_ms: float) -> bool:
    """Writes the range of each leg around the prices of row AT; returns whether there is room for one.

    Args:
        t, plans, tiers, legs: the packed token.
        v, x: its state.
        now_ms: when it was looked at last; an interval that has run out by then may trade at any later price.
    """
    legs_count = x.shape[1]
    equity = equity_at(v, x, AT)
    size, moved_size, brackets = 0.0, 0.0, 0.0
    for k in range(legs_count):
        size += abs(x[Q, k]) * x[AT, k]
        moved_size += abs(legs[WEIGHT, k]) * x[AT, k] / x[REF, k]
        brackets += legs[N_TIERS, k]
    if size == 0.0 or exposure(x, AT) == 0.0:
        return False
    lower, upper, most_up, most_down = _levels(t, plans, v, now_ms)
    fall, rise = _exposure_room(legs, v, x, equity, lower, upper)
    down, up = fall / size, rise / size
    if brackets > 0.0 and legs_count > 1:
        excess, slope = _margin_room(tiers, legs, v, x, equity)
        down = min(down, excess * (1.0 - TOUCH) / slope, 0.5)
        up = min(up, 0.5)
    move_down, move_up = INF, INF
    if v[SIDE] == 0.0:
        moved = move(legs, x, AT)
        move_up = (most_up * (1.0 - 2.0 * TOUCH) - moved) / moved_size
        move_down = (most_down * (1.0 - 2.0 * TOUCH) + moved) / moved_size
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
