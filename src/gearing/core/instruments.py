"""What the portfolio of a token can hold: perpetuals, dated futures, swaps, spot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from gearing.core.record import Check, Record

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z?)?")


# JSON has no infinity, so the last bracket's edge is left out of a journal; msgspec knows a default by identity.
_ENDLESS = float("inf")


class MarginTier(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One bracket of a venue's maintenance margin: up to `notional_max`, rate·notional − amount.

    Args:
        notional_max: upper edge of the bracket, in settlement currency; the last one's is not looked at.
        rate: maintenance margin rate, a fraction.
        amount: the venue's cumulative maintenance amount, in settlement currency.
    """

    notional_max: float = _ENDLESS
    rate: float
    amount: float = 0.0

    def __post_init__(self) -> None:
        check = Check(self)
        if self.notional_max == _ENDLESS:
            msgspec.structs.force_setattr(self, "notional_max", _ENDLESS)
        else:
            check.number("notional_max", 0, strict=True)
        check.number("rate", 0, 1, strict=True)
        check.number("amount", 0)
        check.done()


class Instrument(Record, frozen=True, kw_only=True):
    """What every instrument of a leg has.

    Args:
        symbol: the venue's name of it; in a token of several legs, the name its prices are given by.
        weight: its share of the token's exposure; the weights of all legs sum to 1, and may be negative.
        lot: the smallest step of a trade, in contracts (units for spot); 0 trades any size.
        multiplier: units of underlying per contract.
        tick: the smallest step of its price; a study ignores it.
        min_notional: the smallest trade the venue takes, in settlement currency.
        margin_tiers: the venue's maintenance brackets, smallest first; empty: never liquidated.
    """

    symbol: str = ""
    weight: float = 1.0
    lot: float = 0.0
    multiplier: float = 1.0
    tick: float = 0.0
    min_notional: float = 0.0
    margin_tiers: tuple[MarginTier, ...] = ()

    def _checked(self) -> Check:
        check = Check(self)
        check.text("symbol")
        check.number("weight", -100, 100)
        check.that(not isinstance(self.weight, float) or self.weight != 0, "weight", "a share other than 0")
        check.number("lot", 0)
        check.number("multiplier", 0, strict=True)
        check.number("tick", 0)
        check.number("min_notional", 0)
        check.sequence("margin_tiers", MarginTier, "margin tiers")
        if not check.problems:
            _check_tiers(check, self.margin_tiers)
        return check


class TooSmall(NamedTuple):
    """A leg that a capital cannot hold: what it should hold, and the smallest trade, both notional."""

    symbol: str
    wanted: float
    smallest: float
    is_lot: bool


def too_small(
    legs: Sequence[Instrument], target: float, equity: float, prices: Sequence[float], lots: Sequence[float]
) -> list[TooSmall]:  # fmt: skip
    """Returns the legs of which a capital holds nothing: their part is below a lot, or the venue's smallest trade.

    Args:
        legs: K of them, none inverse.
        target: β, signed.
        equity: the capital, settlement currency.
        prices: of each leg, shape (K,).
        lots: the size of a lot of each leg, units of the underlying; 0 trades any size.
    """
    found = []
    for leg, price, size in zip(legs, prices, lots, strict=True):
        wanted, lot = abs(target * leg.weight) * equity, size * price
        if wanted < max(lot, leg.min_notional):
            found.append(TooSmall(leg.symbol, wanted, max(lot, leg.min_notional), lot >= leg.min_notional))
    return found


class Perpetual(Instrument, frozen=True, kw_only=True, tag="perpetual", tag_field="kind"):
    """A perpetual future: linear, settled in the currency of its price, or inverse, margined in coin.

    Args:
        inverse: profit is contracts · multiplier · (1/entry − 1/price) in coin, which is also the collateral;
            the multiplier is the notional of a contract in the currency of the price (100 USD, say).
        underlying: the coin, such as "BTC". An inverse token whose settlement is this coin counts its NAV in
            it; any other settlement counts in the currency of the price.

    Source: formula of the venues' coin-margined contracts (Binance COIN-M, Bybit inverse).
    """

    inverse: bool = False
    underlying: str = ""

    def __post_init__(self) -> None:
        check = self._checked()
        check.that(isinstance(self.inverse, bool), "inverse", "true or false")
        check.text("underlying")
        check.done()


class Contract(Record, frozen=True, kw_only=True):
    """One contract of a chain of dated futures.

    Args:
        symbol: the venue's name of it, which its prices are given by.
        expiry: when it expires: "2024-03-29" (00:00 UTC) or "2024-03-29T08:00".
    """

    symbol: str
    expiry: str

    def __post_init__(self) -> None:
        check = Check(self)
        check.text("symbol", empty=False)
        if not isinstance(self.expiry, str) or not _INSTANT.fullmatch(self.expiry):
            check.add("expiry", self.expiry, "a moment in UTC", 'Write "2024-03-29" or "2024-03-29T08:00".')
        check.done()


class DatedFuture(Instrument, frozen=True, kw_only=True, tag="dated_future", tag_field="kind"):
    """A linear future with an expiry, rolled into the next contract of its chain some days before.

    Args:
        contracts: the chain, in the order of expiry; the last one is held to the end of its prices.
        roll_days: days before expiry at which the position is moved, at the first price known by then.

    Source: the roll keeps the notional, q′·m′ = q·m·P_old/P_new, and pays for both trades.
    """

    contracts: tuple[Contract, ...] = ()
    roll_days: float = 5.0

    def __post_init__(self) -> None:
        check = self._checked()
        check.sequence("contracts", Contract, "contracts")
        check.number("roll_days", 0, 365)
        if not check.problems:
            expiries = [contract.expiry for contract in self.contracts]
            if any(early >= late for early, late in pairwise(expiries)):
                check.add("contracts", expiries, "contracts in the order of their expiry")
            names = [contract.symbol for contract in self.contracts]
            if len(set(names)) < len(names):
                check.add("contracts", names, "each contract once")
        check.done()


class TotalReturnSwap(Instrument, frozen=True, kw_only=True, tag="total_return_swap", tag_field="kind"):
    """A swap that receives the return of the underlying, dividends included, against a financing rate.

    Each day it pays (rate·N + spread·|N|)·days/360 with N the signed notional at the previous close: a short
    receives the rate, and both sides pay the spread.

    Args:
        spread: per year, over the reference rate of the study.
    """

    spread: float = 0.0

    def __post_init__(self) -> None:
        check = self._checked()
        check.number("spread", -0.5, 0.5)
        check.that(not self.margin_tiers, "margin_tiers", "none: a swap has no exchange that liquidates it")
        check.done()


class Spot(Instrument, frozen=True, kw_only=True, tag="spot", tag_field="kind"):
    """The underlying itself, bought with the token's cash: no funding, no margin."""

    def __post_init__(self) -> None:
        check = self._checked()
        check.that(not self.margin_tiers, "margin_tiers", "none: spot is paid for in full")
        check.done()


Leg = Perpetual | DatedFuture | TotalReturnSwap | Spot

KINDS: dict[str, type[Instrument]] = {
    "perpetual": Perpetual,
    "dated_future": DatedFuture,
    "total_return_swap": TotalReturnSwap,
    "spot": Spot,
}


def kind_of(leg: Instrument) -> str:
    """Returns the word for a leg's kind, as a token's file has it."""
    return next(name for name, kind in KINDS.items() if isinstance(leg, kind))


def _check_tiers(check: Check, tiers: tuple[MarginTier, ...]) -> None:
    edges = [tier.notional_max for tier in tiers]
    if any(low >= high for low, high in pairwise(edges)):
        check.add("margin_tiers", edges, "brackets in rising order of notional_max")
        return
    for number, (low, high) in enumerate(pairwise(tiers), 1):
        # Venues round their cumulative amounts; a margin that jumps by more is a mistake in the table.
        amount = low.amount + low.notional_max * (high.rate - low.rate)
        if abs(high.amount - amount) > 0.01 * abs(amount) + 1:
            expected = f"about {amount:g}, so that the margin does not jump at {low.notional_max:g}"
            check.add(f"margin_tiers[{number}].amount", high.amount, expected)
