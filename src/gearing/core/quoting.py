"""The price of a firm quote or an instant dealing: iNAV ± (swing + expected cost of hedging), and the fee on top.

`gearing.drive.quotes` decides whether one is given and at which prices; from there on it follows from the token's state
alone, so that whoever has the journal can work each price out again, to the minor unit.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from gearing.core import events as ev
from gearing.core.dealing import Side, Worth, worth
from gearing.core.hedging_cost import HedgeCost, gross_leverage, hedging_cost_rate
from gearing.core.holder import Pricing, Quote
from gearing.core.money import MINOR, as_decimal, to_float
from gearing.core.netting import Ask, Rates
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.step_result import StepError
from gearing.core.terms import Spec


class Amounts(NamedTuple):
    """What is dealt for what, in minor units, as of `gearing.core.holder.Quote`."""

    units: int
    cash: int
    fee: int
    inav: int


def why_unquoted(spec: Spec, state: TokenState) -> str:
    """Returns why a token gives no quotes as it stands, whatever the prices; empty: it may."""
    name = spec.token.symbol
    if not spec.token.primary.quote_ms:
        return f"{name} gives no quotes; forward applies"
    if state.status != "open":
        return f"{name} is {state.status}, and gives no quotes"
    if not state.opened or not state.balances.units:
        return f"{name} has no units or no position yet, and gives no quotes; forward applies"
    if state.is_working or state.is_rolling:
        return f"{name} is trading, and gives no quotes until it has; forward applies"
    return ""


def state_at(spec: Spec, state: TokenState, pricing: Pricing) -> TokenState | str:
    """Returns a token at the marks of a pricing with what is due charged, or why it cannot be priced."""
    struck = ev.NavStruck(time_ms=pricing.time_ms, prices=pricing.marks, accrues=True)
    try:
        after = step(spec, state, struck).state
    except StepError as error:
        return f"{spec.token.symbol} cannot be priced: {error}"
    if after.status != "open" or after.equity <= 0:
        return f"{spec.token.symbol} has nothing left, and gives no quotes"
    return after


def cost_rate(spec: Spec, costs: tuple[HedgeCost, ...]) -> float:
    """Returns the expected cost of hedging a flow, as a fraction of what the hedge trades.

    Args:
        spec: where nothing was measured yet, it says what trading costs.
        costs: of the token's last hedges, the newest first.
    """
    return hedging_cost_rate(costs, spec.token.costs.taker_fee + spec.token.costs.half_spread)


def amounts_at(spec: Spec, state: TokenState, pricing: Pricing, side: Side, amount: int) -> Amounts | str:
    """Returns what a quote would give, or why there is none; what is given is rounded down, the fee up.

    Args:
        spec: the token.
        state: it at the marks of the pricing, see `state_at`.
        pricing: with the cost of hedging.
        side: of the holder.
        amount: money with the fee, minor units; of a redemption units.
    """
    fees = spec.token.fees
    price, rates = worth(spec, state, pricing.accrued, side), Rates(fees.creation, fees.redemption)
    spread = Fraction(as_decimal(spec.token.primary.quote_swing)) + Fraction(pricing.cost * gross_leverage(state))
    if price.equity <= 0 or spread >= 1:
        return f"{spec.token.symbol} gives no quotes: hedging costs more than its units are worth; forward applies"
    if side == "subscribe":
        gross = rates.money_of(Ask("", "", side, amount))
        units = math.floor(Fraction(gross * price.units, price.equity) / (1 + spread))
        found = Amounts(units, amount, amount - gross, _inav(price, side))
    else:
        gross = math.floor(Fraction(amount * price.equity, price.units) * (1 - spread))
        fee = rates.fee_on(gross)
        found = Amounts(amount, gross - fee, fee, _inav(price, side))
    if found.units <= 0 or found.cash <= 0 or found.inav <= 0:
        return "the amount is too small for a quote"
    return found


def why_void(spec: Spec, state: TokenState, pricing: Pricing, quote: Quote) -> str:
    """Returns why a quote is void at another pricing than its own; empty: it binds.

    Args:
        spec, state, pricing: see `amounts_at`.
        quote: the quote.
    """
    base, subscribes, swing = quote.base_inav, quote.side == "subscribe", spec.token.primary.quote_swing
    if base == 0:
        return "its iNAV was not recorded by the program that gave it; request a new one"
    price = worth(spec, state, pricing.accrued, quote.side)
    inav = _inav(price, quote.side)
    moved = Fraction(inav, base) - 1
    against = moved if subscribes else -moved
    # Within the swing nothing can be gained but by rounding, which is looked at by itself.
    gain = quote.units * price.equity - quote.gross * price.units
    if against > Fraction(as_decimal(swing)) or (gain if subscribes else -gain) > 0:
        return (f"iNAV has moved from {_price(base)} to {_price(inav)}, {float(moved):+.3%}, which is more than "
                f"{swing:.3%} {'up' if subscribes else 'down'}; request a new one")  # fmt: skip
    return ""


def _inav(price: Worth, side: Side) -> int:
    """Returns iNAV in minor units per whole unit, rounded in favour of the dealing account."""
    exact = Fraction(price.equity * MINOR, price.units)
    return math.floor(exact) if side == "subscribe" else math.ceil(exact)


def _price(inav: int) -> str:
    return f"{to_float(inav):,.4f}"
