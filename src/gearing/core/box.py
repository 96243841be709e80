"""The box: a range of prices for each leg within which a portfolio of several legs needs no attention.

What may happen is bounded in X = Σ Q·p (leverage, equity, margin) and in the move M = Σ w·(p/ref − 1). Neither is
a price, so each leg gets a range of its own, so narrow that even their worst corner keeps both bounds. For one
leg the range is exact.
"""

from __future__ import annotations

import numba

from gearing.core.barriers import TERMS, reduce_pivot, sleep_range
from gearing.core.formulas import TOUCH
from gearing.core.legs import AT, HIGH, LOW, N_TIERS, REF, SIDE, WEIGHT, Floats, Q
from gearing.core.pack import INF, Terms
from gearing.core.portfolio import FUND, ROOM, TIERS, equity_at, exposure, margin_at, move, notional, view
from gearing.jit import compiled

_F = numba.float64
_PAIR = numba.types.UniTuple(_F, 2)


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
