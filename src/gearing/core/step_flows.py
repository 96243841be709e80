"""The steps of a token's primary market: dealing, its hedge and its settlement, fees taken, units merged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from gearing.core import dealing
from gearing.core import events as ev
from gearing.core.flow_result import limit_of
from gearing.core.state import TokenState
from gearing.core.step_result import Step, StepError, charge_to_now, go_on_closing, is_lost, wipe_out
from gearing.core.terms import Spec
from gearing.core.working import Working


def consolidated(spec: Spec, state: TokenState, event: ev.Consolidated) -> Step:
    """Merges units."""
    if not math.isfinite(event.factor) or event.factor <= 1:
        raise StepError("units are merged by a factor above 1")
    if state.dealing is not UNSET:
        raise StepError("units are merged between two dealings")
    work = Working(spec, state)
    return _done(work, dealing.merge_units, work, event)


def flow_matched(spec: Spec, state: TokenState, event: ev.FlowMatched) -> Step:
    """Books the fee of requests that were matched with each other."""
    work = Working(spec, state)
    return _done(work, dealing.match_flow, spec, work, event)


def dealing_begun(spec: Spec, state: TokenState, event: ev.DealingBegun) -> Step:
    """Takes a flow up and hedges it."""
    why = why_not_dealt(state, event.side)
    if why:
        raise StepError(why)
    if event.amount <= 0 or (event.side == "redeem" and event.amount > state.balances.units):
        raise StepError(f"a flow of {event.amount} cannot be")
    work = Working(spec, state)
    work.mark(event.prices)
    if not charge_to_now(spec, work, event.time_ms):
        return wipe_out(work, event.time_ms)
    if work.balances.units:
        work.close_stretch()
    after, orders = dealing.begin_dealing(spec, work, event)
    charged = max(event.time_ms, state.charged_until_ms)
    return Step(msgspec.structs.replace(after, charged_ms=charged), tuple(work.entry), orders)


def unwinding_begun(spec: Spec, state: TokenState, event: ev.UnwindingBegun) -> Step:
    """Begins to trade back what a flow's hedge was filled for in some legs only."""
    if state.status != "open" or state.is_working:
        raise StepError(f"a token that is {state.status} or is trading unwinds nothing")
    work = Working(spec, state)
    work.mark(event.prices)
    if is_lost(work):
        return wipe_out(work, event.time_ms)
    try:
        after, orders = dealing.begin_unwinding(spec, work, event.time_ms)
    except ValueError as error:
        raise StepError(str(error)) from error
    return Step(after, tuple(work.entry), orders)


def excess_kept(spec: Spec, state: TokenState, event: ev.ExcessKept) -> Step:
    """Leaves to the token what a flow's hedge was filled for in some legs only."""
    if state.status not in {"open", "halted", "closing"} or state.is_working:
        raise StepError(f"a token that is {state.status} or is trading keeps nothing of a hedge")
    work = Working(spec, state)
    work.mark(event.prices)
    if is_lost(work):
        return wipe_out(work, event.time_ms)
    return _done(work, dealing.keep_excess, spec, work, event)


def dealing_limited(spec: Spec, state: TokenState, event: ev.DealingLimited) -> Step:
    """Limits how much of a flow is dealt."""
    if state.dealing is UNSET or state.is_working:
        raise StepError("no flow has been hedged")
    if not 0 <= event.amount < limit_of(state.dealing):
        raise StepError(f"a flow of {limit_of(state.dealing)} is not limited to {event.amount}")
    return Step(msgspec.structs.replace(state, dealing=msgspec.structs.replace(state.dealing, limit=event.amount)))


def dealing_settled(spec: Spec, state: TokenState, event: ev.DealingSettled) -> Step:
    """Creates or burns the units of a flow whose hedge has ended."""
    if state.dealing is UNSET or state.is_working:
        raise StepError("no flow has been hedged")
    work = Working(spec, state)
    done = _done(work, dealing.settle_dealing, spec, work, event)
    if done.state.status in {"wiped", "closing"}:
        again = go_on_closing(Working(spec, done.state), event.time_ms)
        return again._replace(entry=(*done.entry, *again.entry))
    return done


def redeemed(spec: Spec, state: TokenState, event: ev.Redeemed) -> Step:
    """Burns units of a closed token."""
    if state.status != "closed" or not state.is_flat:
        raise StepError(f"a token that is {state.status} is not redeemed without a hedge")
    work = Working(spec, state)
    return _done(work, dealing.redeem_closed, work, event)


def fees_taken(spec: Spec, state: TokenState, event: ev.FeesTaken) -> Step:
    """Pays the issuer what it is owed."""
    if not event.by or state.dealing is not UNSET:
        raise StepError("fees are taken by somebody, between two dealings")
    work = Working(spec, state)
    return _done(work, dealing.take_fees, spec, work, event)


def why_not_dealt(state: TokenState, side: dealing.Side) -> str:
    """Returns why no flow of this side can be hedged now; empty: one can."""
    why = why_closed_to(state, side)
    if why:
        return why
    if state.dealing is not UNSET:
        return "a flow is being hedged already"
    return "the token is trading" if state.is_working else ""


def why_closed_to(state: TokenState, side: dealing.Side) -> str:
    """Returns why flows of this side are not hedged until something has changed; empty: they are, or soon will be."""
    if state.status != "open":
        return f"a token that is {state.status} deals in nothing"
    if side == "subscribe" and state.paused is True:
        return "creations are paused"
    return "the token is trading" if state.is_rolling else ""


def _done(work: Working, does: Callable[..., TokenState], *arguments: Any) -> Step:
    """Returns what a dealing did; what it refuses cannot happen."""
    try:
        return Step(does(*arguments), tuple(work.entry))
    except ValueError as error:
        raise StepError(str(error)) from error
