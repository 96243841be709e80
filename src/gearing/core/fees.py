"""What a token costs: the issuer's fees, the trading costs that studies assume, and the desk's limits."""

from __future__ import annotations

from typing import Literal

from gearing.core.record import Check, Record


class Fees(Record, frozen=True, kw_only=True):
    """What the issuer charges.

    Args:
        management_per_day: fraction taken at each day's end (00:00 UTC).
        management_per_year: in its place, a yearly fraction, charged as y·days/365.
        on: what the management fee is taken of, "equity" or "exposure".
        creation: fraction of a subscription.
        redemption: fraction of a redemption.
        all_in: the management fee covers everything: no funding, no trading cost.
    """

    management_per_day: float = 0.0
    management_per_year: float = 0.0
    on: Literal["equity", "exposure"] = "equity"
    creation: float = 0.0
    redemption: float = 0.0
    all_in: bool = False

    def __post_init__(self) -> None:
        check = Check(self)
        check.number("management_per_day", 0, 0.5)
        check.number("management_per_year", 0, 100)
        check.choice("on", ("equity", "exposure"))
        check.number("creation", 0, 0.5)
        check.number("redemption", 0, 0.5)
        check.that(isinstance(self.all_in, bool), "all_in", "true or false")
        if not check.problems and self.management_per_day and self.management_per_year:
            check.add(
                "management_per_year",
                self.management_per_year,
                "one of the two management fees",
                "Drop the other.",
            )
        check.done()


class Costs(Record, frozen=True, kw_only=True):
    """What trading costs in a study.

    Args:
        taker_fee: the venue's commission, a fraction of the traded notional at the price paid.
        half_spread: half the relative bid-ask spread.
        impact: κ of the square-root law: the half spread grows by κ·√(|Δq| / volume of the last 24 h).
        liquidation_fee: the venue's extra fraction on a forced close.
    """

    taker_fee: float = 0.0
    half_spread: float = 0.0
    impact: float = 0.0
    liquidation_fee: float = 0.0

    def __post_init__(self) -> None:
        check = Check(self)
        check.number("taker_fee", 0, 0.1)
        check.number("half_spread", 0, 0.1)
        check.number("impact", 0, 10)
        check.number("liquidation_fee", 0, 0.1)
        check.done()


class Limits(Record, frozen=True, kw_only=True):
    """Bounds that the desk keeps; a study ignores them.

    Args:
        largest_exposure: in settlement currency.
        largest_order: in settlement currency.
        supply_cap: in units.
    """

    largest_exposure: float | None = None
    largest_order: float | None = None
    supply_cap: float | None = None

    def __post_init__(self) -> None:
        check = Check(self)
        for place in ("largest_exposure", "largest_order", "supply_cap"):
            check.number(place, 0, strict=True, optional=True)
        check.done()


FACTOR_MAX = 1_000_000.0
"""At most so many units become one."""


class Consolidation(Record, frozen=True, kw_only=True):
    """When units are merged (a reverse split): at a day's end (00:00 UTC), where NAV is below a level.

    Args:
        below: the level of NAV, settlement currency.
        factor: so many units become one, and NAV is multiplied by it.
    """

    below: float
    factor: float

    def __post_init__(self) -> None:
        check = Check(self)
        check.number("below", 0, strict=True)
        check.number("factor", 1, FACTOR_MAX, strict=True)
        check.done()
