"""The simplest venue there is: any size at the mark and half a spread, at once. A study assumes it, paper can be it."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from gearing.core.fees import Costs
from gearing.core.formulas import funding_payment, spread_at_size
from gearing.core.money import CEILING, FLOOR, to_minor, value_of


class Deal(NamedTuple):
    """A trade: its price, and what the venue charges for it in minor units, ≥ 0."""

    price: float
    charge: int


def deal(costs: Costs, lots: int, lot: Decimal, mark: float, volume: float) -> Deal:
    """Returns the trade of so many lots against the mark: P(1 ± s), and the taker fee on that, rounded up.

    Args:
        costs: half spread, impact, taker fee.
        lots: signed.
        lot: size of one lot.
        mark: the price in the middle.
        volume: traded in the 24 h before, units of the underlying; 0: unknown.
    """
    spread = spread_at_size(costs.half_spread, costs.impact, float(lots * lot), volume)
    price = mark * (1.0 + spread if lots > 0 else 1.0 - spread)
    return Deal(price, fee_on(costs.taker_fee, lots, lot, price))


def fee_on(rate: float, lots: int, lot: Decimal, price: float) -> int:
    """Returns a fee on the notional of a trade, minor units, rounded up."""
    return to_minor(rate * value_of(abs(lots), lot, price, CEILING) / 1e8, CEILING)


def funding(lots: int, lot: Decimal, mark: float, rate: float) -> int:
    """Returns the funding received (paid < 0) on a settlement, minor units, rounded down."""
    return to_minor(funding_payment(float(lots * lot), mark, rate), FLOOR)
