"""The token specification: what a leveraged token is, as frozen records."""

from __future__ import annotations

from gearing.core.fees import Costs, Fees, Limits
from gearing.core.instruments import Perpetual
from gearing.core.presets import PRESETS, preset, unknown_preset
from gearing.core.record import Check, Record
from gearing.core.rule import TARGET_MAX, Rule, rule_problems
from gearing.errors import SpecError


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

    def __repr__(self) -> str:
        rule = self.rule if isinstance(self.rule, str) else (self.rule.name or "own rule")
        return f"Token({self.symbol}, target {self.target:+g}, {rule})"
