"""The roll: legs move from the contract they hold into the next one of their chain, and keep their notional.

Both orders of a leg live at once, so that exposure stays while they are filled: one closes the old contract and may
only reduce, the other opens the next. Until both positions are as wanted the token holds both, each at its own mark;
then the new one takes the leg's place, and what moves are measured from goes along by P_new/P_old.

Source: q′·m′ = q·m·P_old/P_new, both trades paid for, a roll is no rebalance (the accounting order).
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from gearing.core import events as ev
from gearing.core.formulas import whole_lots
from gearing.core.legs import EQUITY, LOT
from gearing.core.legs import PRICE as MARK
from gearing.core.portfolio import exposure
from gearing.core.state import Attempt, LegState, Rebalance, TokenState
from gearing.core.terms import Spec
from gearing.core.trading import Order, go_on, orders_of
from gearing.core.working import Working

# The reason of a rebalance that moves into the next contracts.
ROLL = "roll"


def begin_roll(spec: Spec, work: Working, event: ev.RollDue) -> tuple[TokenState, tuple[Order, ...]]:
    """Starts a roll, or goes on with one that was left half done; returns the state and the orders to send.

    A leg that holds nothing is in its next contract at once.
    """
    state = work.state
    if any(work.legs[k].lots for k in event.legs):
        work.close_stretch()
    for k, price, lot in zip(event.legs, event.next_prices, event.lots, strict=True):
        leg = work.legs[k]
        opening = LegState(lot=lot, mark=price, ref=price, index_ref=price, contract=leg.number + 1, leg=k,
                           wanted=_wanted(spec, leg, k, price, lot))  # fmt: skip
        if leg.lots:
            work.legs.append(opening)
        else:
            work.legs[k] = _taken_over(leg, opening)
    attempts = _attempts(work.legs)
    if not attempts:
        settle_roll(work)
        return work.finished(charged_ms=event.time_ms), ()
    v, x = work.arrays()
    running = Rebalance(
        epoch=state.epoch + 1, reason=ROLL, aim=float(exposure(x, MARK) / v[EQUITY]), edge=0.0, side=0.0,
        restores=False, decided_ms=event.time_ms, prices=tuple(leg.mark for leg in work.legs), cut=False,
        attempts=attempts, paused=UNSET if state.rebalance is None else state.rebalance,
    )  # fmt: skip
    after = work.finished(
        rebalance=running, epoch=running.epoch, rolls=state.rolls_so_far + 1, charged_ms=event.time_ms
    )
    return after, orders_of(after)


def roll_ended(work: Working, running: Rebalance) -> TokenState:
    """Returns the state after a roll whose orders have all ended.

    If it is complete, a rebalance that it interrupted goes on, under a number of its own. What is not complete holds
    both contracts, and goes on at the next prices unless the token was halted.
    """
    return go_on(work, running) if settle_roll(work) else work.finished(rebalance=None)


def settle_roll(work: Working) -> bool:
    """Puts the opened positions in the place of their legs, if all of them are as wanted; returns whether they are.

    Where nothing at all is held any more, they are.
    """
    opened = [(leg.leg, leg) for leg in work.legs if leg.leg is not UNSET]
    done = all(leg.lots == leg.wanted and work.legs[k].lots == 0 for k, leg in opened)
    if not (done or work.is_flat):
        return False
    for k, leg in opened:
        work.legs[k] = _taken_over(work.legs[k], leg)
    work.legs = work.legs[: len(work.legs) - len(opened)]
    return True


def leave_as_is(work: Working) -> None:
    """Takes it that no more is wanted of the positions a roll opens than they hold: the venue closed what there was."""
    work.legs = [leg if leg.leg is UNSET else msgspec.structs.replace(leg, wanted=leg.lots) for leg in work.legs]


def _wanted(spec: Spec, leg: LegState, k: int, price: float, lot: str) -> int:
    """Returns the lots of the next contract that keep the notional, cut towards zero to whole ones."""
    size = whole_lots(leg.lots * float(leg.lot) * leg.mark / price, spec.legs[LOT, k])
    return round(size / float(lot))


def _taken_over(old: LegState, new: LegState) -> LegState:
    """Returns the new contract's position as the leg that it now is."""
    ratio = new.mark / old.mark
    return msgspec.structs.replace(
        new, ref=old.ref * ratio, index_ref=old.index_ref * ratio, funded_ms=old.funded_ms, leg=UNSET, wanted=UNSET
    )  # fmt: skip


def _attempts(legs: list[LegState]) -> tuple[Attempt, ...]:
    """Returns the orders that are lacking: those that close first, since they free the margin."""
    rolling = {leg.leg for leg in legs}
    closing = [
        Attempt(leg=k, number=0, lots=-leg.lots, reduces=True)
        for k, leg in enumerate(legs)
        if k in rolling and leg.leg is UNSET and leg.lots
    ]
    lacking = [(k, leg.wanted - leg.lots) for k, leg in enumerate(legs) if leg.wanted is not UNSET]
    return (*closing, *(Attempt(leg=k, number=0, lots=lots) for k, lots in lacking if lots))
