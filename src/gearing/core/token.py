"""The token specification: what a leveraged token is, as frozen records."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from gearing.core.record import Check, Record
from gearing.core.rule import Rule, rule_problems
from gearing.errors import SpecError

TARGET_MAX = 20.0


class MarginTier(Record, frozen=True, kw_only=True):
    """One bracket of a venue's maintenance margin: up to `notional_max`, rate·notional − amount.

    Args:
        notional_max: upper edge of the bracket, in settlement currency (infinite in the last one).
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
        check.done()


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


class Token(Record, frozen=True, kw_only=True):
    """A leveraged token: its specification.

    Args:
        symbol: short name of the unit, such as "BTC3L".
        target: target leverage β, signed, 0 < |β| ≤ 20; 1 is a plain holding.
        rule: a Rule, or the name of a preset, which then takes this token's target.
        name: a longer name.
        legs: what the portfolio holds; one linear perpetual for now.
        fees: what the issuer charges.
        settlement: the currency that NAV is counted in.
        initial_nav: NAV of the first unit.
        limits: bounds for the desk.
        costs: what trading costs in a study.
    """

    symbol: str
    target: float
    rule: Rule | str = Rule()
    name: str = ""
    legs: tuple[Perpetual, ...] = (Perpetual(),)
    fees: Fees = Fees()
    settlement: str = "USDT"
    initial_nav: float = 100.0
    limits: Limits = Limits()
    costs: Costs = Costs()

    def __post_init__(self) -> None:
        check = Check(self)
        check.text("symbol", empty=False)
        check.text("name")
        check.text("settlement", empty=False)
        check.number("target", -TARGET_MAX, TARGET_MAX)
        check.that(
            not isinstance(self.target, float) or self.target != 0,
            "target",
            "a leverage other than 0",
            "1 is a plain holding.",
        )
        check.number("initial_nav", 0, strict=True)
        check.sequence("legs", Perpetual, "perpetuals")
        if isinstance(self.legs, tuple) and len(self.legs) != 1:
            check.add("legs", len(self.legs), "exactly one leg", "Baskets are not supported yet.")
        for place, kind in (("fees", Fees), ("limits", Limits), ("costs", Costs)):
            check.that(isinstance(getattr(self, place), kind), place, f"a {kind.__name__}")
        check.that(isinstance(self.rule, (Rule, str)), "rule", "a Rule or the name of a preset")
        self._check_rule(check, target_is_wrong=any(problem.place == "target" for problem in check.problems))
        check.done()

    def _check_rule(self, check: Check, *, target_is_wrong: bool) -> None:
        from gearing.core.presets import PRESETS, unknown_preset  # presets are made of tokens

        if isinstance(self.rule, str) and self.rule not in PRESETS:
            check.problems.append(unknown_preset(self.rule)._replace(place="rule"))
        elif isinstance(self.rule, (Rule, str)) and not target_is_wrong:
            try:
                rule = self.resolved_rule
            except SpecError as error:
                check.problems += [problem.under("rule") for problem in error.problems]
                return
            check.problems += [problem.under("rule") for problem in rule_problems(rule, self.target).problems]

    @property
    def resolved_rule(self) -> Rule:
        """The rule as a record: a preset's name becomes its rule for this target."""
        if isinstance(self.rule, Rule):
            return self.rule
        from gearing.core.presets import preset

        return preset(self.rule, target=self.target)

    def __repr__(self) -> str:
        rule = self.rule if isinstance(self.rule, str) else (self.rule.name or "own rule")
        return f"Token({self.symbol}, target {self.target:+g}, {rule})"
