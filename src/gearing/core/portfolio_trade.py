"""Trading a portfolio of several legs: what a decision trades in each of them, what that costs, and the roll."""

from __future__ import annotations

from typing import NamedTuple

import numba

from gearing.core.barriers import TERMS
from gearing.core.decide import DECISION, OPENING, RIPCORD, SCHEDULED, SLICE, Decision
from gearing.core.formulas import TOUCH, commission, spread_at_size, whole_lots
from gearing.core.legs import (
    AIM,
    DQ,
    EDGE,
    EQUITY,
    FLAT,
    INDEX,
    INDEX_REF,
    IS_COIN,
    LEAST,
    LOT,
    PRICE,
    REF,
    REF_MS,
    RESTORES,
    SIDE,
    SLICE_MS,
    VOLUME,
    WEIGHT,
    Floats,
    Q,
)  # fmt: skip
from gearing.core.pack import Terms
from gearing.core.portfolio import FUND, ROOM, copy_row, exposure, index_at, receive, wipe_out
from gearing.jit import compiled

_F, _I = numba.float64, numba.int64


class Planned(NamedTuple):
    """A trade of all legs: Σ|ΔQ|·p, Σ ΔQ·p, the side of the whole, its costs (≥ 0), and 1 if the pace left a rest."""

    total: float
    net: float
    side: float
    spread: float
    impact: float
    commission: float
    cut: float


PLANNED = numba.typeof(Planned(*[0.0] * 7))


@compiled(numba.types.UniTuple(_F, 3)(TERMS, ROOM))
def trade_cost(t: Terms, x: Floats) -> tuple[float, float, float]:
    """Returns what the planned trade costs at the last mark: spread, impact, commission, each ≥ 0."""
    spread, impact, paid = 0.0, 0.0, 0.0
    for k in range(x.shape[1]):
        dq, price = x[DQ, k], x[PRICE, k]
        if dq == 0.0:
            continue
        wide = spread_at_size(t.half_spread, t.impact, dq, x[VOLUME, k])
        size = abs(dq) * price
        spread += size * t.half_spread
        impact += size * (wide - t.half_spread)
        paid += commission(dq, price, wide, t.taker_fee)
    return spread, impact, paid


@compiled(numba.void(ROOM, ROOM, _F, _F, numba.boolean))
def _towards(legs: Floats, x: Floats, total: float, before: float, restores: bool) -> None:
    """Plans the trade to an exposure of `total`: at the weights, or by scaling what is held."""
    for k in range(x.shape[1]):
        if restores:
            x[DQ, k] = legs[WEIGHT, k] * total / x[PRICE, k] - x[Q, k]
        else:
            x[DQ, k] = x[Q, k] * (total / before) - x[Q, k]


@compiled(_F(TERMS, ROOM, ROOM, _F, _F, _F, numba.boolean))
def _excess(t: Terms, legs: Floats, x: Floats, total: float, aim: float, equity: float, restores: bool) -> float:
    """Returns how far an exposure of `total`, less what its cost moves, lies above aim·(E − cost)."""
    _towards(legs, x, total, exposure(x, PRICE), restores)
    spread, impact, paid = trade_cost(t, x)
    return total + (aim - legs[IS_COIN, 0]) * (spread + impact + paid) - aim * equity


@compiled(_F(TERMS, ROOM, ROOM, _F, _F, numba.boolean))
def _met_after_cost(t: Terms, legs: Floats, x: Floats, aim: float, equity: float, restores: bool) -> float:
    """Returns the exposure to trade to so that leverage is `aim` after the trade's own cost.

    What is lacking is a concave function of the way from aim·E, since cost grows ever faster with size. Ever longer
    steps go over its top or past its first zero, which is then halved down to the last digit. Where the top stays
    below zero (the cost would outrun every trade) it is aim·E, the exposure before cost.
    """
    free = aim * equity
    first = _excess(t, legs, x, free, aim, equity, restores)
    if first == 0.0:
        return free
    turn = -1.0 if first > 0.0 else 1.0
    earlier, near, height, step = free, free, turn * first, -first
    found = False
    for _ in range(60):
        far = near + step
        reached = turn * _excess(t, legs, x, far, aim, equity, restores)
        if reached >= 0.0:
            found = True
            break
        if reached < height:
            break
        earlier, near, height, step = near, far, reached, 1.5 * step
    if not found:  # the top lies between the last three points; it may reach zero between two of them
        left, right = earlier, far
        for _ in range(100):
            one, two = left + (right - left) / 3.0, right - (right - left) / 3.0
            at_one = turn * _excess(t, legs, x, one, aim, equity, restores)
            at_two = turn * _excess(t, legs, x, two, aim, equity, restores)
            if at_one >= 0.0 or at_two >= 0.0:
                near, far, found = left, one if at_one >= 0.0 else two, True
                break
            if at_one < at_two:
                left = one
            else:
                right = two
        if not found:
            return free
    for _ in range(200):
        middle = 0.5 * (near + far)
        if middle in (near, far):
            break
        if turn * _excess(t, legs, x, middle, aim, equity, restores) < 0.0:
            near = middle
        else:
            far = middle
    return far


@compiled(numba.boolean(FUND, DECISION, _F))
def restores_weights(v: Floats, d: Decision, before: float) -> bool:
    """Returns whether a decision brings every leg to its weight, rather than scaling what is held."""
    bare = v[FLAT] != 0.0 or before == 0.0
    return bare or d.reason in (OPENING, SCHEDULED) or (d.reason == SLICE and v[RESTORES] != 0.0)


@compiled(PLANNED(TERMS, ROOM, FUND, ROOM, DECISION))
def plan_trade(t: Terms, legs: Floats, v: Floats, x: Floats, d: Decision) -> Planned:
    """Plans the trades that carry out a decision into row DQ, cut to the pace, to whole lots and least trades.

    Opening and schedule restore the weights, as does a portfolio that holds nothing; the others scale all legs.
    """
    nothing = Planned(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    before = exposure(x, PRICE)
    restores = restores_weights(v, d, before)
    total = d.aim * v[EQUITY]
    if d.edge != 0.0:
        total = _met_after_cost(t, legs, x, d.aim, v[EQUITY], restores)
    _towards(legs, x, total, before, restores)
    size, net = 0.0, 0.0
    for k in range(x.shape[1]):
        size += abs(x[DQ, k]) * x[PRICE, k]
        net += x[DQ, k] * x[PRICE, k]
    if d.reason == SLICE and net * v[SIDE] <= 0.0:
        return nothing
    cut = d.reason != RIPCORD and size > t.pace_largest * (1.0 + TOUCH)
    side = 1.0 if net > 0.0 else -1.0
    kept, net = 0.0, 0.0
    for k in range(x.shape[1]):
        # A contract that is margined in coin is an amount of money, not of the underlying.
        lot = legs[LOT, k] / x[PRICE, k] if legs[IS_COIN, k] != 0.0 else legs[LOT, k]
        dq = whole_lots(x[DQ, k] * (t.pace_largest / size) if cut else x[DQ, k], lot)
        dq = 0.0 if abs(dq) * x[PRICE, k] < legs[LEAST, k] * (1.0 - TOUCH) else dq
        x[DQ, k] = dq
        kept += abs(dq) * x[PRICE, k]
        net += dq * x[PRICE, k]
    spread, impact, paid = trade_cost(t, x)
    return Planned(kept, net, side, spread, impact, paid, 1.0 if cut else 0.0)


@compiled(numba.boolean(ROOM))
def can_round_away(legs: Floats) -> bool:
    """Returns whether a trade may come to nothing by lots or least sizes."""
    steps = 0.0
    for k in range(legs.shape[1]):
        steps += legs[LOT, k] + legs[LEAST, k]
    return steps > 0.0


@compiled(numba.void(ROOM, FUND, ROOM, _F, numba.boolean))
def complete(legs: Floats, v: Floats, x: Floats, now_ms: float, restores: bool) -> None:
    """Notes that a rebalance is complete: moves and intervals, and the index if weights are restored, start anew."""
    v[SIDE] = v[AIM] = v[EDGE] = v[SLICE_MS] = v[RESTORES] = 0.0
    v[REF_MS] = now_ms
    copy_row(x, REF, PRICE)
    if restores:
        v[INDEX] = index_at(legs, v, x, PRICE)
        copy_row(x, INDEX_REF, PRICE)


@compiled(numba.void(TERMS, ROOM, FUND, ROOM, DECISION, PLANNED, _F))
def carry_out(t: Terms, legs: Floats, v: Floats, x: Floats, d: Decision, p: Planned, now_ms: float) -> None:
    """Books a planned trade and its cost; equity at or below zero wipes the portfolio out."""
    restores = restores_weights(v, d, exposure(x, PRICE))
    cost = p.spread + p.impact + p.commission
    if v[EQUITY] - cost <= 0.0:
        wipe_out(v, x)
        return
    for k in range(x.shape[1]):
        x[Q, k] += x[DQ, k]
    v[FLAT] = 0.0
    receive(legs, v, x, -cost)
    if p.cut == 0.0:
        complete(legs, v, x, now_ms, restores)
        return
    v[AIM], v[EDGE], v[SLICE_MS] = d.aim, d.edge, now_ms + t.pace_ms
    v[RESTORES] = 1.0 if restores else 0.0
    if d.reason != SLICE:
        v[SIDE] = p.side


@compiled(numba.types.UniTuple(_F, 3)(TERMS, ROOM, FUND, ROOM, _I, _F))
def roll(t: Terms, legs: Floats, v: Floats, x: Floats, k: int, price: float) -> tuple[float, float, float]:
    """Moves leg k from its contract, at the price of the last mark, into the next one at `price`.

    Returns what both trades cost: spread, impact, commission, each ≥ 0; the caller books them.

    Source: q′ = q·P_old/P_new, so that the notional stays; references move by P_new/P_old.
    """
    old, held = x[PRICE, k], x[Q, k]
    for other in range(x.shape[1]):
        x[DQ, other] = 0.0
    x[DQ, k] = -held
    spread, impact, paid = trade_cost(t, x)
    x[PRICE, k] = price
    x[Q, k] = whole_lots(held * old / price, legs[LOT, k])
    x[DQ, k] = x[Q, k]
    more_spread, more_impact, more_paid = trade_cost(t, x)
    x[DQ, k] = 0.0
    x[REF, k] *= price / old
    x[INDEX_REF, k] *= price / old
    return spread + more_spread, impact + more_impact, paid + more_paid
