"""What a hedged flow comes to once its orders have ended: what is dealt, what its hedge cost, what is returned.

The part that was filled in all legs is dealt. What was filled beyond it in some leg is unwound first, and everything
that the hedge and its unwinding gained or lost is the flow's. Where nothing can be dealt, a subscription pays the loss
out of its money, and a redemption by units that are burned; beyond what the flow is worth the issuer bears it. So
nobody who stays ever pays for a hedge that failed.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from gearing.core.formulas import TOUCH
from gearing.core.legs import LEAST
from gearing.core.money import INT64_MAX
from gearing.core.state import Dealing, LegState, TokenState, paid_in
from gearing.core.terms import Spec

if TYPE_CHECKING:
    from gearing.core.dealing import Worth


class FlowResult(NamedTuple):
    """The most that a flow is given, from which every part of it is rounded down.

    Args:
        accepted: money (without fees) or units of the flow that are dealt; the rest is returned.
        gives: units created, or money paid out before fees; 0: nothing is dealt.
        cost: where nothing is dealt: money or units of the flow that pay for its hedge.
    """

    accepted: int
    gives: int
    cost: int


def flow_result(state: TokenState, price: Worth, taken: int | None = None) -> FlowResult:
    """Returns what the flow under way comes to at the marks of now.

    Args:
        state: the token, with a flow whose orders have all ended.
        price: what the flow's units are worth.
        taken: what is dealt in the end, where some requests are returned whole since their share would come to
            nothing; None: all that was hedged.

    Raises:
        ValueError: there is no such flow.
    """
    dealing = state.dealing
    if dealing is UNSET or state.is_working:
        raise ValueError("no flow has been hedged")
    pnl = hedge_pnl(state)
    subscribes = dealing.side == "subscribe"
    part = filled_part(dealing)
    exact = dealing.amount * part
    accepted = -(-exact.numerator // exact.denominator) if subscribes else exact.numerator // exact.denominator
    accepted = accepted if taken is None else min(taken, accepted)
    if state.status in {"wiped", "closed"} or price.equity <= 0:
        if subscribes or state.status == "closed":
            return FlowResult(0, 0, min(max(-pnl, 0), dealing.amount) if subscribes else 0)
        # Its hedge was filled before the rest lost everything: its share of that, as it was before the reserve paid in.
        lost = price.equity - (paid_in(state.covers) if state.status == "wiped" else 0)
        gives = max(accepted * lost // price.units + pnl, 0) if accepted > 0 else 0
        return FlowResult(accepted, gives, 0) if gives else FlowResult(0, 0, 0)
    cost = max(-pnl, 0) if subscribes else -(-max(-pnl, 0) * price.units // price.equity)
    cost = min(cost, dealing.amount)
    if accepted <= 0:
        return FlowResult(0, 0, cost)
    if subscribes:
        gives = price.units_for(accepted + pnl)
    elif accepted == state.balances.units:  # nobody is left to whom anything could be owed
        gives = max(state.equity + pnl, 0)
    else:
        gives = max(price.money_for(accepted) + pnl, 0)
    return FlowResult(accepted, gives, 0) if gives else FlowResult(0, 0, cost)


def hedge_pnl(state: TokenState) -> int:
    """Returns what the flow's hedge and its unwinding gained so far, minor units; a loss is below 0."""
    dealing = state.dealing
    if dealing is UNSET:
        return 0
    return -state.balances.flows - (dealing.amount if dealing.side == "subscribe" else 0)


def covered_pnl(state: TokenState, price: Worth, cash: int, units: int) -> int:
    """Returns the part of the hedge's profit or loss that is the flow's, minor units; the rest is the issuer's.

    Args:
        state: the token.
        price: what the flow's units are worth.
        cash: taken for units created, or paid out for units burned.
        units: created or burned.
    """
    dealing, pnl = state.dealing, hedge_pnl(state)
    if dealing is UNSET or pnl >= 0:
        return pnl
    if dealing.side == "subscribe":
        return pnl if units else max(pnl, -cash)
    return max(pnl, -price.money_for(units)) if price.equity > 0 and units else 0


def filled_part(dealing: Dealing) -> Fraction:
    """Returns which part of a flow is dealt: what was hedged in the leg that lags, and no more than its limit."""
    parts = [Fraction(lots, wanted) for lots, wanted in zip(dealing.lots, dealing.wanted, strict=True) if wanted]
    return min(*parts, Fraction(limit_of(dealing), dealing.amount), Fraction(1))


def limit_of(dealing: Dealing) -> int:
    """Returns the most of a flow that is dealt, in its unit."""
    return dealing.amount if dealing.limit is UNSET else dealing.limit


def most_within(state: TokenState, price: Worth, units: int) -> int:
    """Returns how much of a subscription that was hedged can be dealt so that at most so many units are created."""
    result = flow_result(state, price)
    if result.gives <= units:
        return result.accepted
    return min(max(price.money_for(units) - hedge_pnl(state), 0), result.accepted)


def excess_lots(spec: Spec, state: TokenState) -> tuple[int, ...]:
    """Returns the lots of each leg that were filled beyond the part that is dealt and that the venue would trade."""
    dealing = state.dealing
    if dealing is UNSET:
        return ()
    part = filled_part(dealing)
    found = []
    for k, (lots, wanted) in enumerate(zip(dealing.lots, dealing.wanted, strict=True)):
        dealt = -(-abs(wanted) * part.numerator // part.denominator)
        excess = max(abs(lots) - dealt, 0) * (1 if lots > 0 else -1)
        found.append(excess if can_trade(spec, state.legs[k], k, excess) else 0)
    return tuple(found)


def can_trade(spec: Spec, leg: LegState, k: int, lots: int) -> bool:
    """Returns whether these lots of leg k are worth an order at the venue."""
    return lots != 0 and abs(lots) * float(leg.lot) * leg.mark >= float(spec.legs[LEAST, k]) * (1.0 - TOUCH)


def fits(state: TokenState, units: int, money: int) -> bool:
    """Returns whether the token's ledger can count these further units and this further money."""
    balances = state.balances
    counted = max(abs(balances.wallet), abs(balances.capital), abs(balances.equity))
    return balances.units + units <= INT64_MAX and counted + money <= INT64_MAX
