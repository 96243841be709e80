"""What the portfolio of a token can hold."""

from __future__ import annotations

from itertools import pairwise

from gearing.core.record import Check, Record


class MarginTier(Record, frozen=True, kw_only=True):
    """One bracket of a venue's maintenance margin: up to `notional_max`, rate·notional − amount.

    Args:
        notional_max: upper edge of the bracket, in settlement currency; the last one's is not looked at.
        rate: maintenance margin rate, a fraction.
        amount: the venue's cumulative maintenance amount, in settlement currency.
    """

    notional_max: float = float("inf")
    rate: float
    amount: float = 0.0

    def __post_init__(self) -> None:
        check = Check(self)
        if self.notional_max != float("inf"):
            check.number("notional_max", 0, strict=True)
        check.number("rate", 0, 1, strict=True)
        check.number("amount", 0)
        check.done()


class Perpetual(Record, frozen=True, kw_only=True):
    """A linear perpetual future, settled in the currency its price is quoted in.

    Args:
        symbol: the venue's name of the contract.
        lot: the smallest step of a trade, in contracts; 0 trades any size.
        multiplier: units of underlying per contract.
        margin_tiers: the venue's maintenance brackets, smallest first; empty: never liquidated.
    """

    symbol: str = ""
    lot: float = 0.0
    multiplier: float = 1.0
    margin_tiers: tuple[MarginTier, ...] = ()

    def __post_init__(self) -> None:
        check = Check(self)
        check.text("symbol")
        check.number("lot", 0)
        check.number("multiplier", 0, strict=True)
        check.sequence("margin_tiers", MarginTier, "margin tiers")
        edges = [tier.notional_max for tier in self.margin_tiers] if not check.problems else []
        if any(low >= high for low, high in pairwise(edges)):
            check.add("margin_tiers", edges, "brackets in rising order of notional_max")
        for number, (low, high) in enumerate(pairwise(self.margin_tiers if not check.problems else ()), 1):
            # Venues round their cumulative amounts; a margin that jumps by more is a mistake in the table.
            amount = low.amount + low.notional_max * (high.rate - low.rate)
            if abs(high.amount - amount) > 0.01 * abs(amount) + 1:
                expected = f"about {amount:g}, so that the margin does not jump at {low.notional_max:g}"
                check.add(f"margin_tiers[{number}].amount", high.amount, expected)
        check.done()
