"""The horizon: the two prices between which a token sleeps.

Between postings E = c + q·p is affine in the price. With u = c/q, leverage is ℓ(p) = p/(u + p), and it
reaches a signed level L at p = L·u/(1 − L). |ℓ| rises with the price for shorts and for 0 < ℓ < 1,
falls for ℓ > 1 and stands still at u = 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.core.formulas import TOUCH, maintenance_price
from gearing.core.pack import AIM_EDGE, AIM_REENTRY, INF, Plan, Terms
from gearing.jit import compiled


class State(NamedTuple):
    """A token's running state between two events, all float64.

    Args:
        equity: settlement currency, marked at `price`; 0 for ever after a wipe-out.
        q: position in units of the underlying, signed.
        price: the price of the last mark.
        ref_price: the price at the last completed rebalance; moves are measured from it.
        ref_ms: the time of the last completed rebalance.
        aim: while a paced rebalance runs, the signed leverage it goes to.
        edge: 1 while that aim is to be met after cost.
        slice_ms: the earliest time of its next slice.
        side: its direction, +1 or −1; 0 while none runs.
    """

    equity: float
    q: float
    price: float
    ref_price: float
    ref_ms: float
    aim: float
    edge: float
    slice_ms: float
    side: float


TERMS = numba.typeof(Terms(*[0.0] * len(Terms._fields)))
PLAN = numba.typeof(Plan(*[0.0] * len(Plan._fields)))
STATE = numba.typeof(State(*[0.0] * len(State._fields)))
RANGE = numba.types.UniTuple(numba.float64, 2)


@compiled(numba.float64(numba.float64, numba.float64, numba.float64))
def upper_barrier(u: float, q: float, level: float) -> float:
    """Returns the price beyond which |ℓ| > level: an upper price where |ℓ| rises, else a lower one.

    Never is ∞ for rising and 0 for falling leverage; always is 0 and ∞. The quotient of the level is written
    by itself, so that a loop over one token works it out once.
    """
    if q < 0.0:
        return INF if level == INF else -u * (level / (1.0 + level))
    if u > 0.0:
        return u * (level / (1.0 - level)) if level < 1.0 else INF
    if level == INF:
        return 0.0
    if u == 0.0:
        return 0.0 if level >= 1.0 else INF
    return u * (level / (1.0 - level)) if level > 1.0 else INF


@compiled(numba.float64(numba.float64, numba.float64, numba.float64))
def lower_barrier(u: float, q: float, level: float) -> float:
    """Returns the price beyond which |ℓ| < level: a lower price where |ℓ| rises, else an upper one.

    Never is 0 for rising and ∞ for falling leverage; always is ∞ and 0.
    """
    if q < 0.0:
        return -u * (level / (1.0 + level))
    if u > 0.0:
        return u * (level / (1.0 - level)) if level < 1.0 else INF
    if u == 0.0:
        return INF if level <= 1.0 else 0.0
    return u * (level / (1.0 - level)) if level > 1.0 else INF


@compiled(RANGE(STATE, *[numba.float64] * 5))
def sleep_range(
    s: State, lower: float, upper: float, move_up: float, move_down: float, pivot: float
) -> tuple[float, float]:
    """Returns the prices (below, above) between which a trigger cannot fire, zero equity included.

    Args:
        s: the state after its last posting; q is not 0.
        lower, upper: band of |ℓ|.
        move_up, move_down: moves from the reference price, fractions.
        pivot: 0, or for a trigger that may only reduce, the level that |ℓ| must exceed for that.

    The barriers lie inside the firing prices by the width of a touch, so rounding misses none.
    """
    u = s.equity / s.q - s.price
    rises = s.q < 0.0 or u > 0.0
    up = s.ref_price * (1.0 + move_up * (1.0 - 2.0 * TOUCH))
    down = s.ref_price * (1.0 - move_down * (1.0 - 2.0 * TOUCH))
    if pivot > 0.0:
        lower = lower if lower > pivot else 0.0
        upper = max(upper, pivot)
        turn = upper_barrier(u, s.q, pivot)
        if rises:
            up = max(up, turn)
            down = down if turn < down else 0.0
        else:
            down = min(down, turn)
            up = up if turn > up else INF
    below, above = max(down, 0.0), up
    if rises:
        above = min(above, upper_barrier(u, s.q, upper))
        if lower > 0.0:
            below = max(below, lower_barrier(u, s.q, lower))
    else:
        below = max(below, upper_barrier(u, s.q, upper))
        if lower > 0.0:
            above = min(above, lower_barrier(u, s.q, lower))
    if s.q < 0.0:
        above = min(above, -u * (1.0 - TOUCH))
    elif u < 0.0:
        below = max(below, -u * (1.0 + TOUCH))
    return below, above


@compiled(numba.float64(TERMS))
def reduce_pivot(t: Terms) -> float:
    """Returns the |ℓ| above which a rebalance to the rule's aim lowers the position."""
    if t.aim_kind == AIM_EDGE:
        return t.upper
    if t.aim_kind == AIM_REENTRY:
        return t.aim_value
    return abs(t.target)


@compiled(RANGE(TERMS, STATE))
def barriers(t: Terms, s: State) -> tuple[float, float]:
    """Returns (below, above): the continuous barriers of a token, or of its running paced rebalance.

    A token without a position sleeps at any price until a clock wakes it.
    """
    if s.q == 0.0:
        return 0.0, INF
    if s.side != 0.0:
        return sleep_range(s, 0.0, t.ripcord, INF, INF, 0.0)
    pivot = reduce_pivot(t) if t.reduce_only != 0.0 else 0.0
    return sleep_range(s, t.lower, t.upper, t.move_up, t.move_down, pivot)


@compiled(RANGE(TERMS, STATE, PLAN))
def overdue_barriers(t: Terms, s: State, plan: Plan) -> tuple[float, float]:
    """Returns (below, above) for an interval that has run out but was held back by condition, side or lot.

    Without a position it may trade at any price.
    """
    if s.q == 0.0:
        return INF, 0.0
    pivot = reduce_pivot(t) if plan.reduce_only != 0.0 else 0.0
    upper = plan.upper if plan.conditional != 0.0 else 0.0
    return sleep_range(s, plan.lower, upper, plan.move_up, plan.move_down, pivot)


@compiled(numba.float64(numba.types.Array(numba.float64, 2, "C"), STATE))
def liquidation_price(tiers: NDArray[np.float64], s: State) -> float:
    """Returns the price at which the venue would close the position; NaN if there is none.

    The maintenance margin is continuous over its brackets, so the first bracket that holds its own
    solution is the right one; the last bracket has no upper edge.
    """
    if s.q == 0.0:
        return math.nan
    for k in range(tiers.shape[0]):
        price = maintenance_price(s.equity, s.q, s.price, tiers[k, 1], tiers[k, 2])
        if abs(s.q) * price <= tiers[k, 0] or k == tiers.shape[0] - 1:
            return price if price > 0.0 else math.nan
    return math.nan
