"""What an order must pass before it is sent (R4): size, exposure, leverage and margin as they will be."""

from __future__ import annotations

from gearing.core.chains import leg_of
from gearing.core.instruments import MarginTier
from gearing.core.money import to_float
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.core.trading import Order

# A rebalance may meet its aim so far beyond it by lots and cost; more is a mistake somewhere.
_SLACK = 0.05


def refusal(spec: Spec, state: TokenState, order: Order) -> str:
    """Returns why an order must not be sent; empty if it may be.

    A token that is halted sends nothing; of others, an order that only lowers the position always may.
    """
    if state.status == "halted":
        return "the token is halted"
    leg = state.legs[order.leg]
    after = leg.lots + order.lots
    if order.reduces or (abs(after) <= abs(leg.lots) and after * leg.lots >= 0):
        return ""
    # What a flow paid in carries its hedge.
    size, equity, limits = float(leg.lot) * leg.mark, to_float(state.equity - state.balances.flows), spec.token.limits
    if equity <= 0.0:
        return "there is no equity"
    notional = abs(order.lots) * size
    if limits.largest_order is not None and notional > limits.largest_order:
        return f"an order of {notional:,.0f} is above the largest, {limits.largest_order:,.0f}"
    held = sum(n * float(one.lot) * one.mark for n, one in zip(_projected(state), state.legs, strict=True))
    if limits.largest_exposure is not None and abs(held) > limits.largest_exposure:
        return f"an exposure of {abs(held):,.0f} would be above the largest, {limits.largest_exposure:,.0f}"
    aim = abs(state.rebalance.aim) if state.rebalance is not None else 0.0
    ceiling = max(aim, abs(spec.terms.target)) * (1.0 + _SLACK)
    if abs(held) / equity > ceiling and len(spec.token.legs) == 1:
        return f"leverage would be {abs(held) / equity:.3f}, above {ceiling:.3f}"
    margin = maintenance(spec, state, _projected(state))
    if margin >= equity:
        return f"a maintenance margin of {margin:,.0f} would leave nothing of {equity:,.0f}"
    return ""


def maintenance(spec: Spec, state: TokenState, lots: list[int] | None = None) -> float:
    """Returns the maintenance margin at the last marks by the brackets of the specification; 0 where it has none.

    Args:
        spec: the token.
        state: its state.
        lots: of each position; None: those held.
    """
    held = [leg.lots for leg in state.legs] if lots is None else lots
    return sum(
        _maintenance(spec.token.legs[leg_of(k, one)].margin_tiers, abs(n) * float(one.lot) * one.mark)
        for k, (n, one) in enumerate(zip(held, state.legs, strict=True))
    )


def _projected(state: TokenState) -> list[int]:
    """Returns the lots of each leg once every live order is filled."""
    lots = [leg.lots for leg in state.legs]
    if state.rebalance is not None:
        for attempt in state.rebalance.attempts:
            lots[attempt.leg] += attempt.lots - attempt.filled
    return lots


def _maintenance(tiers: tuple[MarginTier, ...], notional: float) -> float:
    for tier in tiers:
        if notional <= tier.notional_max:
            return max(tier.rate * notional - tier.amount, 0.0)
    return max(tiers[-1].rate * notional - tiers[-1].amount, 0.0) if tiers else 0.0
