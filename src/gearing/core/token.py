"""The token specification: what a leveraged token is, as frozen records."""

from __future__ import annotations

import math
from typing import Literal

from gearing.core.fees import Consolidation, Costs, Fees, Limits
from gearing.core.instruments import Instrument, Leg, Perpetual, Spot, TotalReturnSwap
from gearing.core.presets import PRESETS, preset, unknown_preset
from gearing.core.primary import Primary
from gearing.core.record import Check, Record
from gearing.core.rule import TARGET_MAX, Rule, rule_problems
from gearing.errors import SpecError

LEGS_MAX = 20
# NAVs are counted in 1e-8, up to 9.2e10: a first one within these has digits to fall by, and room to rise.
_NAV_MIN, _NAV_MAX = 1e-6, 1e9
Disclosure = Literal["full", "prices", "after"]
DISCLOSURES: tuple[Disclosure, ...] = ("full", "prices", "after")


class Token(Record, frozen=True, kw_only=True):
    """A leveraged token: its specification.

    Args:
        symbol: short name of the unit, such as "BTC3L".
        target: target leverage β, signed, 0 < |β| ≤ 20; 1 is a plain holding.
        rule: a Rule, or the name of a preset, which then takes this token's target.
        name: a longer name.
        legs: what the portfolio holds: one instrument, or several with weights that sum to 1 (a basket).
        fees: what the issuer charges.
        settlement: the currency that NAV is counted in.
        initial_nav: NAV of the first unit, from 1e-6 to 1e9.
        limits: bounds for the desk.
        costs: what trading costs in a study.
        cash_interest: the share of the reference rate that idle cash earns. By default 1 where every leg is a
            swap or spot, else 0: a futures venue pays none on margin.
        consolidation: when units are merged, or None.
        disclosure: what the public may know of the next rebalance: "full" all, "prices" its trigger prices and side,
            "after" nothing before it is done.
        primary: how units are created and redeemed.
    """

    symbol: str
    target: float
    rule: Rule | str = Rule()
    name: str = ""
    legs: tuple[Leg, ...] = (Perpetual(),)
    fees: Fees = Fees()
    settlement: str = "USDT"
    initial_nav: float = 100.0
    limits: Limits = Limits()
    costs: Costs = Costs()
    cash_interest: float | None = None
    consolidation: Consolidation | None = None
    disclosure: Disclosure = "prices"
    primary: Primary = Primary()

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
        check.number("initial_nav", _NAV_MIN, _NAV_MAX)
        check.sequence("legs", Instrument, "instruments")
        if isinstance(self.legs, tuple):
            _check_legs(check, self.legs)
        check.number("cash_interest", 0, 1, optional=True)
        wanted = self.consolidation is None or isinstance(self.consolidation, Consolidation)
        check.that(wanted, "consolidation", "a Consolidation")
        check.choice("disclosure", DISCLOSURES)
        for place, kind in (("fees", Fees), ("limits", Limits), ("costs", Costs), ("primary", Primary)):
            check.that(isinstance(getattr(self, place), kind), place, f"a {kind.__name__}")
        check.that(isinstance(self.rule, (Rule, str)), "rule", "a Rule or the name of a preset")
        self._check_rule(check, target_is_wrong=any(problem.place == "target" for problem in check.problems))
        check.done()

    def _check_rule(self, check: Check, *, target_is_wrong: bool) -> None:
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
        return preset(self.rule, target=self.target)

    @property
    def interest_share(self) -> float:
        """The share of the reference rate that idle cash earns."""
        if self.cash_interest is not None:
            return self.cash_interest
        return 1.0 if all(isinstance(leg, (TotalReturnSwap, Spot)) for leg in self.legs) else 0.0

    @property
    def is_inverse(self) -> bool:
        """Whether the portfolio is one coin-margined perpetual."""
        leg = self.legs[0]
        return isinstance(leg, Perpetual) and leg.inverse

    @property
    def settles_in_coin(self) -> bool:
        """Whether NAV is counted in the coin itself: an inverse perpetual whose underlying is the settlement."""
        leg = self.legs[0]
        return isinstance(leg, Perpetual) and leg.inverse and leg.underlying == self.settlement

    def __repr__(self) -> str:
        rule = self.rule if isinstance(self.rule, str) else (self.rule.name or "own rule")
        return f"Token({self.symbol}, target {self.target:+g}, {rule})"


def _check_legs(check: Check, legs: tuple[Leg, ...]) -> None:
    if not 1 <= len(legs) <= LEGS_MAX:
        check.add("legs", len(legs), f"1 to {LEGS_MAX} legs")
        return
    total = math.fsum(leg.weight for leg in legs)
    if abs(total - 1) > 1e-9:
        mend = "Leave the weight of a single leg out." if len(legs) == 1 else "Divide each by their sum."
        check.add("legs", f"weights that sum to {total:g}", "weights that sum to 1", mend)
    if len(legs) == 1:
        return
    names = [leg.symbol for leg in legs]
    if not all(names) or len(set(names)) < len(names):
        check.add("legs", names, "a symbol of its own for each leg", "Prices are given by these symbols.")
    if any(isinstance(leg, Perpetual) and leg.inverse for leg in legs):
        check.add("legs", "an inverse leg among others", "an inverse perpetual as the only leg", "Use linear legs.")
