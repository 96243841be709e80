"""A rebalance as the desk does it: the rule's decision becomes orders, slice by slice, until its aim is reached.

Whether to trade, to what leverage and how much is decided by the same compiled functions as in a study. What
differs is time: an order may be filled in parts, late or not at all, so the aim and the prices it was decided at are
kept until the venue has answered for every order.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import UNSET

from gearing.core.decide import NONE, OPENING, REASONS, RIPCORD, SLICE, Decision, decide
from gearing.core.legs import DQ, EQUITY, RESTORES
from gearing.core.legs import PRICE as MARK
from gearing.core.money import to_float
from gearing.core.portfolio import exposure, index_at, view
from gearing.core.portfolio_trade import Planned, plan_trade, restores_weights
from gearing.core.state import Attempt, LegState, Rebalance, TokenState
from gearing.core.terms import Spec
from gearing.core.working import Working

# Why a position is closed whole, whatever the rule says.
CLOSING, WIPED_OUT = "closing", "wipe-out"
# A part that the venue left unfilled is sent anew so often; then a person has to look.
ATTEMPTS_MAX = 8


class Order(NamedTuple):
    """An order that the token wants sent: leg, signed lots, and the numbers that make its identity.

    `reduces` says that it may only lower the position.
    """

    leg: int
    lots: int
    epoch: int
    slice: int
    attempt: int
    reduces: bool


class Plan(NamedTuple):
    """What a decision would trade now: the decision, lots per leg, Σ|ΔQ|·p, and whether the pace left a rest."""

    decision: Decision
    lots: tuple[int, ...]
    total: float
    side: float
    cut: bool
    restores: bool


def decide_now(spec: Spec, work: Working, due: int, now_ms: int, before_ms: int) -> Decision:
    """Returns what the rule says at the last mark; while an order lives, and before the launch, nothing.

    Of a token with a flow that was hedged and waits for a settlement of funding to be booked it is what the rule would
    do; the flow is settled first, since what was hedged for it goes by the leverage of then.
    """
    state = work.state
    if state.is_working or state.status != "open" or state.is_rolling:
        return Decision(NONE, 0.0, 0.0)
    if state.dealing is not UNSET and state.dealing.first:
        return Decision(NONE, 0.0, 0.0)
    if not state.opened:
        return Decision(OPENING, spec.terms.target, 0.0)
    v, x = work.arrays()
    seen = view(spec.legs, v, x, v[EQUITY], MARK)
    return decide(spec.terms, spec.plans, seen, due, float(now_ms), spec.looks(before_ms, now_ms))


def plan(spec: Spec, work: Working, decision: Decision, volumes: tuple[float, ...]) -> Plan:
    """Returns what carries a decision out, in whole lots."""
    v, x = work.arrays(volumes)
    restores = restores_weights(v, decision, exposure(x, MARK))
    planned: Planned = plan_trade(spec.terms, spec.legs, v, x, decision)
    lots = tuple(round(x[DQ, k] / float(leg.lot)) if planned.total else 0 for k, leg in enumerate(work.legs))
    total = sum(abs(n) * float(leg.lot) * leg.mark for n, leg in zip(lots, work.legs, strict=True))
    return Plan(decision, lots, total, planned.side, planned.cut != 0.0, restores)


def begin_slice(
    spec: Spec, work: Working, decision: Decision, now_ms: int, volumes: tuple[float, ...]
) -> tuple[TokenState, tuple[Order, ...]]:
    """Starts a rebalance or its next slice; returns the state and the orders to send.

    A slice that lots or least sizes leave nothing of ends the rebalance; a rebalance of which they leave
    nothing does not begin, unless sizes are not rounded at all.
    """
    wanted = plan(spec, work, decision, volumes)
    running = work.state.rebalance
    reason = REASONS[int(decision.reason)]
    continues = decision.reason == SLICE and running is not None
    if not any(wanted.lots):
        if continues or not spec.rounds_away:
            return completed(work, _decided(work, wanted, now_ms), counts=not continues), ()
        return work.finished(), ()
    if continues and running is not None:
        fresh = msgspec.structs.replace(
            running, slice=running.slice + 1, decided_ms=now_ms, prices=_marks(work), cut=wanted.cut, due_ms=0,
            attempts=_attempts(wanted.lots),
        )  # fmt: skip
    else:
        fresh = Rebalance(
            epoch=work.state.epoch + 1, reason=reason, aim=decision.aim, edge=decision.edge, side=wanted.side,
            restores=wanted.restores, decided_ms=now_ms, prices=_marks(work), cut=wanted.cut,
            attempts=_attempts(wanted.lots),
        )  # fmt: skip
    turnover = work.state.turnover + wanted.total / to_float(work.equity)
    state = work.finished(
        rebalance=fresh, epoch=fresh.epoch, trades=work.state.trades + 1, turnover=turnover, attended_ms=now_ms
    )
    return state, orders_of(state)


def orders_of(state: TokenState) -> tuple[Order, ...]:
    """Returns the live orders of a state."""
    running = state.rebalance
    if running is None:
        return ()
    return tuple(
        Order(a.leg, a.lots, running.epoch, running.slice, a.number, reduces(running, a)) for a in running.attempts
    )


def closes(running: Rebalance) -> bool:
    """Returns whether a rebalance closes the position whole."""
    return running.reason in {CLOSING, WIPED_OUT}


def reduces(running: Rebalance, attempt: Attempt) -> bool:
    """Returns whether an order of a rebalance may only lower the position."""
    return closes(running) or running.reason == REASONS[int(RIPCORD)] or attempt.reduces is True


def begin_close(work: Working, reason: str, now_ms: int, **changed: object) -> tuple[TokenState, tuple[Order, ...]]:
    """Starts closing the whole position, whatever the rule says."""
    lots = tuple(-leg.lots for leg in work.legs)
    if not any(lots):
        return work.finished(rebalance=None, **changed), ()
    closing = Rebalance(
        epoch=work.state.epoch + 1, reason=reason, aim=0.0, edge=0.0, side=0.0, restores=False, decided_ms=now_ms,
        prices=_marks(work), cut=False, attempts=_attempts(lots),
    )  # fmt: skip
    state = work.finished(rebalance=closing, epoch=closing.epoch, **changed)
    return state, orders_of(state)


def filled(work: Working, k: int, lots: int) -> Rebalance | None:
    """Returns the rebalance after a fill of leg k's live order."""
    running = work.state.rebalance
    if running is None:
        return None
    attempts = tuple(msgspec.structs.replace(a, filled=a.filled + lots) if a.leg == k else a for a in running.attempts)
    return msgspec.structs.replace(running, attempts=attempts)


def ended(running: Rebalance, k: int, leg: LegState, *, again: bool) -> tuple[Rebalance, int, tuple[Order, ...]]:
    """Takes leg k's order off the slice.

    Args:
        running: the rebalance under way.
        k: the leg.
        leg: its position now; what may only reduce asks for no more than that, a roll for no more than it wants.
        again: whether what was left unfilled may be asked for anew, under a new number.

    Returns:
        The rebalance after it, the lots left unfilled, and the order for them.
    """
    ending = next(a for a in running.attempts if a.leg == k)
    others = tuple(a for a in running.attempts if a.leg != k)
    rest, only = ending.lots - ending.filled, reduces(running, ending)
    wanted = leg.wanted
    if only:  # the venue may have closed a part by itself meanwhile
        wanted = 0
    if wanted is not UNSET:
        room = wanted - leg.lots
        rest = max(rest, min(room, 0)) if rest < 0 else min(rest, max(room, 0))
    if rest == 0 or not again or ending.number + 1 >= ATTEMPTS_MAX:
        return msgspec.structs.replace(running, attempts=others), rest, ()
    anew = msgspec.structs.replace(ending, number=ending.number + 1, lots=rest, filled=0)
    after = msgspec.structs.replace(running, attempts=(*others, anew))
    return after, rest, (Order(k, rest, running.epoch, running.slice, anew.number, only),)


def go_on(work: Working, running: Rebalance) -> TokenState:
    """Returns the state after what had paused a rebalance between two slices: it goes on, if there was one."""
    if running.paused is UNSET:
        return work.finished(rebalance=None)
    state = work.state
    resumed = msgspec.structs.replace(running.paused, epoch=state.epoch + 1, prices=_marks(work))
    return work.finished(rebalance=resumed, epoch=resumed.epoch, rolls=state.rolls_so_far + 1)


def slice_done(spec: Spec, work: Working, running: Rebalance) -> TokenState:
    """Returns the state after a slice whose orders have all ended: the next one waits, or the rebalance is complete."""
    if running.cut:
        due_ms = running.decided_ms + int(spec.terms.pace_ms)
        return work.finished(rebalance=msgspec.structs.replace(running, due_ms=due_ms))
    return completed(work, running, counts=False)


def completed(work: Working, running: Rebalance, *, counts: bool) -> TokenState:
    """Returns the state after a complete rebalance: moves and intervals count from what it was decided at."""
    restoring = {}
    legs = work.legs
    if running.restores:
        v, x = work.arrays()
        for k, price in enumerate(running.prices):
            x[MARK, k] = price
        restoring = {"index": index_at(work.spec.legs, v, x, MARK)}
    work.legs = [
        msgspec.structs.replace(leg, ref=price, index_ref=price if running.restores else leg.index_ref)
        for leg, price in zip(legs, running.prices, strict=True)
    ]
    changed: dict[str, object] = {"rebalance": None, "ref_ms": running.decided_ms, **restoring}
    if counts:
        changed |= {"epoch": running.epoch, "attended_ms": running.decided_ms, "trades": work.state.trades + 1}
    return work.finished(**changed)


def _decided(work: Working, wanted: Plan, now_ms: int) -> Rebalance:
    running = work.state.rebalance
    v, _ = work.arrays()
    restores = v[RESTORES] != 0.0 if running is not None else wanted.restores
    return Rebalance(
        epoch=work.state.epoch + (running is None), reason=REASONS[int(wanted.decision.reason)],
        aim=wanted.decision.aim, edge=0.0, side=0.0, restores=restores, decided_ms=now_ms, prices=_marks(work),
        cut=False,
    )  # fmt: skip


def _marks(work: Working) -> tuple[float, ...]:
    return tuple(leg.mark for leg in work.legs)


def _attempts(lots: tuple[int, ...]) -> tuple[Attempt, ...]:
    return tuple(Attempt(leg=k, number=0, lots=n) for k, n in enumerate(lots) if n)
