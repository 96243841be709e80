"""One step of a running token: (spec, state, event) → (state, entry, orders). Pure and deterministic.

No clock, no randomness, no I/O: replaying a journal gives the same states, entries and orders, and a backtest feeds
the same function that the desk does. The order of what one event books is that of the reference job:
mark, funding, fee, rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core import attribution as att
from gearing.core import dealing, rolling, step_flows, trading
from gearing.core import events as ev
from gearing.core.changes import change_problems
from gearing.core.decide import NONE, SCHEDULED, Decision
from gearing.core.delays import at_event, fixed_at
from gearing.core.ledger import CAPITAL, FLOWS, HELD, ISSUED, LIQUIDATION, SPREAD, WALLET
from gearing.core.legs import PRICE as MARK
from gearing.core.money import CEILING, INT64_MAX, accrued_of, share_of, to_float
from gearing.core.portfolio import index_at
from gearing.core.record import DAY_MS
from gearing.core.state import Accrual, LegState, TokenState
from gearing.core.step_result import (
    Step,
    StepError,
    charge_days,
    charge_to_now,
    go_on_closing,
    is_lost,
    is_over,
    wipe_out,
)
from gearing.core.terms import Spec
from gearing.core.working import Working
from gearing.errors import InputError

# The reason of a rebalance that a person, or a rehedge after auto-deleveraging, asked for.
ASKED = "asked"

# Raised whenever the same event would give another result than before; each journalled event carries it.
BEHAVIOUR = 13


def step(spec: Spec, state: TokenState, event: ev.TokenEvent) -> Step:
    """Returns what an event does to a token.

    Args:
        spec: its specification; of a change of it, the one before.
        state: its state before the event.
        event: what happened.

    Raises:
        StepError: the event cannot happen in this state.
    """
    if state.status == "draft" and not isinstance(event, ev.Launched):
        raise StepError(f"{type(event).__name__} before the launch")
    try:
        done = _HANDLERS[type(event)](spec, state, event)
    except InputError as error:
        raise StepError(str(error)) from error
    for line in done.entry:
        if abs(getattr(done.state.balances, line.account)) > INT64_MAX:
            raise StepError(f"the account {line.account} would leave the range of the ledger")
    if abs(done.state.nav) > INT64_MAX:
        raise StepError("the NAV of a unit would leave the range of the ledger")
    return done


def _launched(spec: Spec, state: TokenState, event: ev.Launched) -> Step:
    if state.status != "draft":
        raise StepError("launched twice")
    none: tuple[int | UnsetType, ...] = (UNSET,) * len(event.lots)
    contracts = none if event.contracts is UNSET else event.contracts
    legs = tuple(
        LegState(lot=lot, mark=price, ref=price, index_ref=price, contract=contract)
        for lot, price, contract in zip(event.lots, event.prices, contracts, strict=True)
    )
    fresh = TokenState(
        status="open", legs=legs, attended_ms=event.time_ms, ref_ms=event.time_ms, parts=(0.0,) * att.N_LEDGER
    )
    return Step(fresh)


def _seeded(spec: Spec, state: TokenState, event: ev.Seeded) -> Step:
    if event.amount <= 0 or event.units <= 0 or state.epoch or state.balances.units:
        raise StepError("a token is seeded once, with money and units, before it trades")
    work = Working(spec, state)
    work.post(event.amount, WALLET, CAPITAL)
    work.post(event.units, HELD, ISSUED)
    v, x = work.arrays()
    level = index_at(spec.legs, v, x, MARK)
    att.open_ledger(work.parts, to_float(event.amount), level)
    return Step(work.finished(), tuple(work.entry))


def _marked(spec: Spec, state: TokenState, event: ev.Marked) -> Step:
    work = Working(spec, state)
    work.mark(event.prices)
    if state.status == "closing" and state.dealing is not UNSET:  # its flow is settled before the rest is sold
        return Step(work.finished(attended_ms=event.time_ms), tuple(work.entry))
    if state.status in {"wiped", "closing"} and not state.is_working and not state.is_flat:
        # In an account of several tokens the venue wants margin for closing one of them. What was too much goes back
        # to the reserve once the position is flat, not to and fro with every price until then.
        if state.status == "wiped" and work.equity < 0:
            work.cover(event.time_ms)
        again = go_on_closing(work, event.time_ms)
        return again._replace(state=msgspec.structs.replace(again.state, attended_ms=event.time_ms))
    if is_over(state):
        return Step(work.finished(), tuple(work.entry))
    if is_lost(work) or not charge_days(spec, work, event.time_ms):
        return wipe_out(work, event.time_ms)
    if state.is_rolling or state.dealing is not UNSET:  # what else fell due waits until that is complete
        return Step(work.finished(charged_ms=event.time_ms), tuple(work.entry))
    delays = at_event(state.delays, state.attended_ms, event.delays_ms, event.time_ms)
    attended = {"attended_ms": event.time_ms, "charged_ms": UNSET, "delays": fixed_at(delays, event.time_ms)}
    due = spec.due_schedules(state.attended_ms, event.time_ms, delays)
    decision = trading.decide_now(spec, work, due, event.time_ms, event.before_ms)
    if decision.reason == NONE or not state.balances.units:
        return Step(work.finished(**attended), tuple(work.entry))
    work.close_stretch()
    after, orders = trading.begin_slice(spec, work, decision, event.time_ms, event.volumes)
    after = msgspec.structs.replace(after, opened=True, **attended)
    return Step(after, tuple(work.entry), orders)


def _roll_due(spec: Spec, state: TokenState, event: ev.RollDue) -> Step:
    """Books what comes before the rule, then rolls; the rule is asked at the new contracts' prices afterwards."""
    if state.status != "open" or state.is_working or not state.opened or not state.balances.units:
        raise StepError(f"a token that is {state.status} or is trading does not roll")
    if not set(event.legs) <= set(spec.chains.due(state, event.time_ms)):
        raise StepError(f"no roll of the legs {event.legs} is due")
    if not (event.legs or state.is_rolling):
        raise StepError("there is no roll to go on with")
    if state.dealing is not UNSET:
        raise StepError("a flow is settled before a contract is left")
    work = Working(spec, state)
    work.mark(event.prices)
    if is_lost(work) or not charge_days(spec, work, event.time_ms):
        return wipe_out(work, event.time_ms)
    after, orders = rolling.begin_roll(spec, work, event)
    return Step(after, tuple(work.entry), orders)


def _nav_struck(spec: Spec, state: TokenState, event: ev.NavStruck) -> Step:
    work = Working(spec, state)
    work.mark(event.prices)
    if event.accrues is not True or is_over(state) or not work.balances.units:
        return Step(work.finished(), tuple(work.entry))
    if is_lost(work) or not charge_to_now(spec, work, event.time_ms):
        return wipe_out(work, event.time_ms)
    return Step(work.finished(charged_ms=max(event.time_ms, state.charged_until_ms)), tuple(work.entry))


def _funding_settled(spec: Spec, state: TokenState, event: ev.FundingSettled) -> Step:
    leg = state.legs[event.leg]
    if event.settlement_ms <= leg.funded_ms:
        raise StepError(f"the settlement of {event.settlement_ms} on leg {event.leg} is booked already")
    earlier_ms = next((one.settlement_ms for one in leg.accruals if one.settlement_ms < event.settlement_ms), None)
    if earlier_ms is not None:  # once a later one is booked, it could not be booked any more
        raise StepError(f"the settlement of {earlier_ms} on leg {event.leg} is not booked yet, and is booked first")
    work = Working(spec, state)
    work.mark(event.prices)
    if event.amount or leg.accruals:
        # The venue moves the money whatever became of the token, so a frozen one's wallet moves too.
        work.close_stretch()
        work.settle_funding(event.amount, event.leg, event.lots, event.settlement_ms)
    work.see_settled(event.leg, event.settlement_ms)
    if is_lost(work) and not is_over(state):
        return wipe_out(work, event.time_ms)
    if not work.balances.units and state.dealings is not UNSET:
        dealing.sweep(work, event.time_ms)
    if state.status == "wiped" and work.is_flat and not state.is_working:
        work.cover(event.time_ms)
    return Step(work.finished(), tuple(work.entry))


def _funding_accrued(spec: Spec, state: TokenState, event: ev.FundingAccrued) -> Step:
    """Accrues funding at the predicted rate. A prediction alone never wipes a token out."""
    leg = state.legs[event.leg]
    last_ms = max((one.settlement_ms for one in leg.accruals), default=leg.funded_ms)
    if event.settlement_ms <= last_ms:
        raise StepError(f"the settlement of {event.settlement_ms} on leg {event.leg} is accrued or booked already")
    work = Working(spec, state)
    work.mark(event.prices)
    if is_lost(work) and not is_over(state):
        return wipe_out(work, event.time_ms)
    work.close_stretch()
    mine, mark = work.flow_lots_at(event.leg, event.settlement_ms), event.prices[event.leg]
    held = leg.lots_at(event.settlement_ms) or range(leg.lots, leg.lots + 1)
    own, flow = (
        -accrued_of(lots, leg.lot_size, mark, event.rate, CEILING) if event.rate else 0
        for lots in (held[0] - mine, mine)
    )
    flow = 0 if spec.all_in else flow
    own = 0 if spec.all_in or work.equity + own <= 0 else own
    work.accrue_funding(Accrual(event.settlement_ms, mark, own, flow, event.rate), event.leg)
    return Step(work.finished(), tuple(work.entry))


def _filled(spec: Spec, state: TokenState, event: ev.Filled) -> Step:
    running = _running(state, event)
    attempt = next(a for a in running.attempts if a.leg == event.leg)
    filled = attempt.filled + event.lots
    if event.lots == 0 or (event.lots > 0) != (attempt.lots > 0) or abs(filled) > abs(attempt.lots):
        raise StepError(f"a fill of {event.lots} lots does not fit into an order of {attempt.lots}")
    work = Working(spec, state)
    if running.reason == dealing.DEALING:
        work.trade(event.leg, event.lots, event.price, event.commission, event.time_ms, FLOWS, paid=event.paid)
        dealing.hedged(work, event.leg, event.lots, event.time_ms)
    else:
        rolls = running.reason == rolling.ROLL
        work.trade(event.leg, event.lots, event.price, event.commission, event.time_ms, SPREAD, rolls=rolls,
                   paid=event.paid)  # fmt: skip
    after = work.finished(rebalance=trading.filled(work, event.leg, event.lots))
    return Step(after, tuple(work.entry))


def _order_ended(spec: Spec, state: TokenState, event: ev.OrderEnded) -> Step:
    running = _running(state, event)
    if running.reason == dealing.DEALING:
        return _hedge_ended(spec, state, running, event)
    # Of a token that is to be closed, what another rebalance left is not asked for anew.
    closes = state.status in {"wiped", "closing"}
    again = trading.closes(running) if closes else state.status != "halted"
    running, rest, orders = trading.ended(
        running, event.leg, state.legs[event.leg], again=again and event.outcome != "withheld"
    )
    lacks = rest != 0 and not orders
    if lacks and state.status == "open":  # asked for too often: a person has to look
        state = msgspec.structs.replace(state, status="halted")
    state = msgspec.structs.replace(state, rebalance=running)
    if running.attempts:
        return Step(state, (), orders)
    work = Working(spec, state)
    if closes:
        waits = lacks and again
        return Step(msgspec.structs.replace(state, rebalance=None)) if waits else go_on_closing(work, event.time_ms)
    if is_lost(work):
        return wipe_out(work, event.time_ms)
    if lacks:  # what was traded stands; once resumed, the rule is asked anew, and opens what was not opened
        return Step(work.finished(rebalance=None, opened=_stays_open(work)))
    if running.reason == rolling.ROLL:
        return Step(rolling.roll_ended(work, running), tuple(work.entry))
    return Step(trading.slice_done(spec, work, running), tuple(work.entry))


def _hedge_ended(spec: Spec, state: TokenState, running: Any, event: ev.OrderEnded) -> Step:
    """Takes an order off a flow's hedge; once all have ended, the flow is settled for what was filled.

    Where the unwinding of an excess was given up, a person has to look: the flow waits until the token is resumed.
    """
    again = state.status == "open" and event.outcome != "withheld"
    running, rest, orders = trading.ended(running, event.leg, state.legs[event.leg], again=again)
    unwinds = state.dealing is not UNSET and state.dealing.unwinds is True
    if rest and not orders and unwinds and state.status == "open":
        state = msgspec.structs.replace(state, status="halted")
    state = msgspec.structs.replace(state, rebalance=running)
    if running.attempts:
        return Step(state, (), orders)
    if state.status != "open":  # once it is resumed, its rule is asked anew
        return Step(msgspec.structs.replace(state, rebalance=None))
    return Step(trading.go_on(Working(spec, state), running))


def _liquidated(spec: Spec, state: TokenState, event: ev.Liquidated) -> Step:
    work = Working(spec, state)
    prices = tuple(event.price if k == event.leg else leg.mark for k, leg in enumerate(state.legs))
    work.mark(prices)
    if work.equity > 0:
        work.close_stretch()
    _force(work, event)
    if not event.deleveraged:
        rolling.leave_as_is(work)
    if event.prices is not UNSET:
        work.mark(event.prices)
    if is_lost(work) and not is_over(state):
        return wipe_out(work, event.time_ms)
    waits = state.status == "closing" and state.dealing is not UNSET
    if state.status in {"wiped", "closing"} and work.is_flat and not state.is_working and not waits:
        return go_on_closing(work, event.time_ms)
    kept = state.rebalance if state.is_working else None
    return Step(work.finished(rebalance=kept), tuple(work.entry))


def _force(work: Working, event: ev.Liquidated) -> None:
    """Books what the venue closed: pro rata with a flow whose hedge was whole, else from the token's own part first."""
    flow, closed = work.flow_lots(event.leg), abs(event.lots)
    own = work.legs[event.leg].lots - flow
    most = max(-own if event.lots > 0 else own, 0)  # of the own part can be closed
    if own * flow <= 0 or work.state.is_working or dealing.was_stranded(work.spec, work.state):
        part = min(closed, most)
    else:
        part = min(max(share_of(closed, own, own + flow), closed - abs(flow)), most)
    work.trade(event.leg, event.lots, event.price, event.charge, event.time_ms, LIQUIDATION, paid=event.paid)
    if flow and part < closed:  # the flow's loss is booked by the mark already
        theirs = event.lots - (part if event.lots > 0 else -part)
        work.charge_flow(share_of(event.charge, theirs, event.lots))
        dealing.forced(work, event.leg, theirs, event.time_ms)


def _stays_open(work: Working) -> bool:
    """Returns whether a token counts as opened: one that is left with nothing opens anew, but for one that rolls."""
    return work.state.opened and (work.state.is_rolling or not work.is_flat)


def _adopted(spec: Spec, state: TokenState, event: ev.Adopted) -> Step:
    """Books what an operator adopted: what it changes the equity by is the venue's doing, like a liquidation."""
    if not event.by or not event.reason:
        raise StepError("an adoption needs a name and a reason")
    if state.is_working:
        raise StepError("it is trading; nothing is adopted meanwhile")
    if state.dealing is not UNSET:
        raise StepError("a flow is settled before anything is adopted")
    work = Working(spec, state)
    work.mark(event.prices)
    if work.equity > 0:
        work.close_stretch()
    for k, lots in enumerate(event.lots):
        if lots:
            work.trade(k, lots, event.prices[k], 0, event.time_ms, LIQUIDATION)
    work.adjust(event.cash)
    rolling.leave_as_is(work)
    if is_lost(work) and not is_over(state):
        raise StepError("it would have no equity left")
    if state.status in {"wiped", "closing"}:
        return go_on_closing(work, event.time_ms)
    # A token that is left with nothing opens anew at the next price: its rule trades what is held, which is none.
    return Step(work.finished(opened=_stays_open(work)), tuple(work.entry))


def _operated(spec: Spec, state: TokenState, event: ev.Operated) -> Step:
    if not event.by or not event.reason:
        raise StepError("an operator's action needs a name and a reason")
    if is_over(state):
        raise StepError(f"a token that is {state.status} stays so")
    if event.action == "resume":
        return Step(msgspec.structs.replace(state, status="open") if state.status == "halted" else state)
    if event.action == "rebalance":
        return _rebalance_now(spec, state, event)
    if event.action in {"pause", "unpause"}:
        return Step(msgspec.structs.replace(state, paused=True if event.action == "pause" else UNSET))
    if event.action == "halt":
        return Step(msgspec.structs.replace(state, status="halted") if state.status == "open" else state)
    work = Working(spec, state)
    if state.dealing is not UNSET and not state.is_working:
        raise StepError("has a flow to be settled first; ask again once the funding that it waits for is booked")
    if state.is_working:  # its live orders end first, then what is left is closed
        return Step(work.finished(status="closing"))
    after, orders = trading.begin_close(work, trading.CLOSING, event.time_ms, status="closing")
    if not orders:
        return go_on_closing(Working(spec, after), event.time_ms)
    return Step(after, (), orders)


def _rebalance_now(spec: Spec, state: TokenState, event: ev.Operated) -> Step:
    """Rebalances to the rule's target at the last marks, whatever its triggers say."""
    if state.status != "open" or state.is_working or state.is_rolling:
        raise StepError(f"a token that is {state.status} or is trading is not rebalanced")
    if state.dealing is not UNSET:
        raise StepError("has a flow to be settled first; ask again once the funding that it waits for is booked")
    work = Working(spec, state)
    work.close_stretch()
    after, orders = trading.begin_slice(spec, work, Decision(SCHEDULED, spec.terms.target, 0.0), event.time_ms, ())
    if after.rebalance is not None:
        after = msgspec.structs.replace(after, rebalance=msgspec.structs.replace(after.rebalance, reason=ASKED))
    return Step(msgspec.structs.replace(after, opened=True), tuple(work.entry), orders)


def _specification_changed(spec: Spec, state: TokenState, event: ev.SpecificationChanged) -> Step:
    """Books all that was under the former specification; clocks and weights of the new one count from here on."""
    if not event.by or not event.reason:
        raise StepError("a change needs a name and a reason")
    if state.is_working or state.is_rolling:
        raise StepError("the specification is changed between rebalances")
    if is_over(state) or state.status == "closing":
        raise StepError(f"a token that is {state.status} keeps its specification")
    problems = change_problems(spec.token, event.token)
    if problems:
        raise StepError(f"this cannot change while the token runs: {problems[0]}")
    if state.dealing is not UNSET or any(leg.accruals for leg in state.legs):
        raise StepError("a flow, or a settlement of funding, is to be booked under the former specification first")
    work = Working(spec, state)
    if spec.has_fee and state.balances.units and event.time_ms // DAY_MS > state.charged_until_ms // DAY_MS:
        raise StepError("the fee of a day that ended is not booked yet; the next price books it")
    if not charge_to_now(spec, work, event.time_ms):
        return wipe_out(work, event.time_ms)
    work.close_stretch()
    v, x = work.arrays()
    index = index_at(spec.legs, v, x, MARK)
    work.legs = [msgspec.structs.replace(leg, index_ref=leg.mark) for leg in work.legs]
    attended_ms, charged_ms = max(event.time_ms, state.attended_ms), max(event.time_ms, state.charged_until_ms)
    after = work.finished(rebalance=None, index=index, attended_ms=attended_ms, charged_ms=charged_ms)
    return Step(after, tuple(work.entry))


def _running(state: TokenState, event: ev.Filled | ev.OrderEnded) -> Any:
    running = state.rebalance
    if running is None or (running.epoch, running.slice) != (event.epoch, event.slice):
        raise StepError(f"order {event.epoch}.{event.slice} is not the one under way")
    if not any(a.leg == event.leg and a.number == event.attempt for a in running.attempts):
        raise StepError(f"leg {event.leg} has no live order number {event.attempt}")
    return running


_HANDLERS: dict[type, Callable[[Spec, TokenState, Any], Step]] = {
    ev.Launched: _launched,
    ev.Seeded: _seeded,
    ev.Marked: _marked,
    ev.RollDue: _roll_due,
    ev.NavStruck: _nav_struck,
    ev.FundingSettled: _funding_settled,
    ev.FundingAccrued: _funding_accrued,
    ev.Filled: _filled,
    ev.OrderEnded: _order_ended,
    ev.Liquidated: _liquidated,
    ev.Adopted: _adopted,
    ev.Operated: _operated,
    ev.Consolidated: step_flows.consolidated,
    ev.SpecificationChanged: _specification_changed,
    ev.FlowMatched: step_flows.flow_matched,
    ev.DealingBegun: step_flows.dealing_begun,
    ev.UnwindingBegun: step_flows.unwinding_begun,
    ev.ExcessKept: step_flows.excess_kept,
    ev.DealingLimited: step_flows.dealing_limited,
    ev.DealingSettled: step_flows.dealing_settled,
    ev.Redeemed: step_flows.redeemed,
    ev.FeesTaken: step_flows.fees_taken,
}
