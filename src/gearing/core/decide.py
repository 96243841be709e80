"""The decision: does the token rebalance at this price, why, to what leverage, and by what trade."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.core.barriers import STATE, TERMS, State
from gearing.core.formulas import TOUCH, commission, size_to_aim, size_to_edge, spread_at_size, whole_lots
from gearing.core.pack import AIM_EDGE, AIM_REENTRY, AIM_TARGET, Terms
from gearing.jit import compiled

REASONS = ("none", "opening", "schedule", "band", "move", "ripcord", "slice", "liquidation", "wipe-out")
NONE, OPENING, SCHEDULED, BAND, MOVE, RIPCORD, SLICE, LIQUIDATION, WIPE_OUT = (float(i) for i in range(9))


class Decision(NamedTuple):
    """Why to trade (an index into REASONS), the signed leverage aimed at, 1 if it is met after cost."""

    reason: float
    aim: float
    edge: float


class Trade(NamedTuple):
    """A trade and its cost: size in units of the underlying, money in settlement currency (≥ 0).

    `cut` is 1 if the pace left a rest for later slices.
    """

    dq: float
    spread: float
    impact: float
    commission: float
    cut: float


DECISION = numba.typeof(Decision(0.0, 0.0, 0.0))
TRADE = numba.typeof(Trade(0.0, 0.0, 0.0, 0.0, 0.0))
_F = numba.float64
_PLANS = numba.types.Array(_F, 2, "C")


@compiled(numba.boolean(_F, _F, _F, _F))
def outside_band(exposure: float, equity: float, lower: float, upper: float) -> bool:
    """Returns whether |exposure|/equity lies strictly beyond a band of levels (equity > 0)."""
    # Not `or`: without a branch, many of these are decided at once.
    return (exposure > upper * (1.0 + TOUCH) * equity) | (exposure < lower * (1.0 - TOUCH) * equity)


@compiled(_F(STATE, *[_F] * 4))
def fires(s: State, lower: float, upper: float, move_up: float, move_down: float) -> float:
    """Returns BAND, MOVE or NONE: which trigger fires at the state's price (equity > 0)."""
    if outside_band(abs(s.q) * s.price, s.equity, lower, upper):
        return BAND
    move = s.price / s.ref_price - 1.0
    if move >= move_up * (1.0 - TOUCH) or -move >= move_down * (1.0 - TOUCH):
        return MOVE
    return NONE


@compiled(DECISION(TERMS, STATE, _F))
def aim_for(t: Terms, s: State, reason: float) -> Decision:
    """Returns where the rule's aim lies from this state; a token without exposure goes to its target."""
    size = abs(s.q) * s.price / s.equity
    sign = 1.0 if t.target > 0.0 else -1.0
    if t.aim_kind == AIM_TARGET or s.q == 0.0:
        return Decision(reason, t.target, 0.0)
    if t.aim_kind == AIM_REENTRY:
        return Decision(reason, sign * t.aim_value, 0.0)
    if t.aim_kind == AIM_EDGE:
        inside = min(max(size, t.lower), t.upper)
        if inside == size:
            return Decision(reason, s.q * s.price / s.equity, 0.0)
        return Decision(reason, sign * inside, 1.0)
    mixed = size * (1.0 - t.aim_value) + abs(t.target) * t.aim_value
    return Decision(reason, sign * min(max(mixed, t.lower), t.upper), 0.0)


@compiled(numba.boolean(STATE, _F))
def lowers(s: State, aim: float) -> bool:
    """Returns whether going to `aim` lowers the position."""
    return abs(aim) * s.equity < abs(s.q) * s.price * (1.0 - TOUCH)


@compiled(DECISION(TERMS, _PLANS, STATE, numba.int64, _F, numba.boolean))
def decide(t: Terms, plans: NDArray[np.float64], s: State, due: int, now_ms: float, checked: bool) -> Decision:
    """Returns whether and why the token trades at this price, known at `now_ms`.

    Args:
        t: the packed terms.
        plans: the packed schedules, one row each.
        s: the state, marked at this price, after funding and fee.
        due: bit k is set if schedule k (by times) fell due since the last price.
        now_ms: when this price was known.
        checked: whether the continuous triggers look at this price at all.

    The ripcord comes first and interrupts a paced rebalance; then the running slices; then schedules
    in their order; then the continuous triggers. Without a position only a schedule trades.
    """
    nothing = Decision(NONE, 0.0, 0.0)
    looks = checked and s.q != 0.0
    if looks and abs(s.q) * s.price > t.ripcord * (1.0 + TOUCH) * s.equity:
        return Decision(RIPCORD, t.upper if t.target > 0.0 else -t.upper, 1.0)
    if s.side != 0.0:
        return Decision(SLICE, s.aim, s.edge) if now_ms >= s.slice_ms else nothing
    for k in range(plans.shape[0]):
        every, reduce_only, conditional = plans[k, 0], plans[k, 1], plans[k, 2]
        if not ((due >> k) & 1 or (every > 0.0 and now_ms - s.ref_ms >= every)):
            continue
        if conditional != 0.0 and fires(s, plans[k, 3], plans[k, 4], plans[k, 5], plans[k, 6]) == NONE:
            continue
        decision = aim_for(t, s, SCHEDULED)
        if reduce_only == 0.0 or lowers(s, decision.aim):
            return decision
    if looks:
        reason = fires(s, t.lower, t.upper, t.move_up, t.move_down)
        if reason != NONE:
            decision = aim_for(t, s, reason)
            if t.reduce_only == 0.0 or lowers(s, decision.aim):
                return decision
    return nothing


@compiled(TRADE(TERMS, STATE, DECISION, _F))
def size_trade(t: Terms, s: State, d: Decision, volume: float) -> Trade:
    """Returns the trade that carries out a decision, cut to the pace and to whole lots, with its cost.

    Args:
        t: the packed terms.
        s: the state, marked at this price.
        d: the decision.
        volume: traded in the 24 h before, in units of the underlying (for the impact).
    """
    if d.edge != 0.0:
        dq = size_to_edge(s.equity, s.q, s.price, d.aim, t.half_spread, t.impact, t.taker_fee, volume)
    else:
        dq = size_to_aim(s.equity, s.q, s.price, d.aim)
    if d.reason == SLICE and dq * s.side <= 0.0:
        return Trade(0.0, 0.0, 0.0, 0.0, 0.0)
    cut = d.reason != RIPCORD and abs(dq) * s.price > t.pace_largest * (1.0 + TOUCH)
    if cut:
        dq = t.pace_largest / s.price if dq > 0.0 else -t.pace_largest / s.price
    dq = whole_lots(dq, t.lot)
    if dq == 0.0:
        return Trade(0.0, 0.0, 0.0, 0.0, 0.0)
    wide = spread_at_size(t.half_spread, t.impact, dq, volume)
    notional = abs(dq) * s.price
    paid = commission(dq, s.price, wide, t.taker_fee)
    return Trade(dq, notional * t.half_spread, notional * (wide - t.half_spread), paid, 1.0 if cut else 0.0)


@compiled(STATE(STATE))
def wiped_out(s: State) -> State:
    """Returns the state of a token whose equity reached zero: nothing, for ever."""
    return State(0.0, 0.0, s.price, s.ref_price, s.ref_ms, 0.0, 0.0, 0.0, 0.0)


@compiled(STATE(STATE, _F, _F))
def marked(s: State, equity: float, price: float) -> State:
    """Returns the state marked at a price, with the equity it has there."""
    return State(equity, s.q, price, s.ref_price, s.ref_ms, s.aim, s.edge, s.slice_ms, s.side)


@compiled(STATE(TERMS, STATE, DECISION, TRADE, _F))
def after_trade(t: Terms, s: State, d: Decision, trade: Trade, now_ms: float) -> State:
    """Returns the state after a trade and its cost; equity at or below zero wipes it out."""
    equity = s.equity - (trade.spread + trade.impact + trade.commission)
    if equity <= 0.0:
        return wiped_out(s)
    if trade.cut != 0.0:
        side = 1.0 if trade.dq > 0.0 else -1.0
        later = now_ms + t.pace_ms
        return State(equity, s.q + trade.dq, s.price, s.ref_price, s.ref_ms, d.aim, d.edge, later, side)
    return State(equity, s.q + trade.dq, s.price, s.price, now_ms, 0.0, 0.0, 0.0, 0.0)
