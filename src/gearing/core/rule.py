"""The rule language: when a token rebalances, to what leverage, how fast. Plain data.

Levels (`band_lower`, `band_upper`, `reentry_level`, `ripcord`) are absolute leverage |ℓ|. Bands,
deviations and the ripcord fire strictly beyond their edge, moves at or beyond theirs.
"""

from __future__ import annotations

from typing import Literal

from gearing.core.record import Check, Presenter, Record, rate, time_of_day_ms

Side = Literal["both", "reduce"]
AimKind = Literal["target", "edge", "reentry", "recentering"]

TARGET_MAX = 20.0

_SIDES = ("both", "reduce")
_AIMS = ("target", "edge", "reentry", "recentering")
_TRIGGERS = ("band_lower", "band_upper", "deviation", "move_against", "move_favour")


def _check_triggers(check: Check, lower: float | None, upper: float | None) -> None:
    for place in _TRIGGERS:
        check.number(place, 0, strict=True, optional=True)
    if not check.problems and lower is not None and upper is not None and rate(lower) >= rate(upper):
        check.add("band_lower", lower, f"a level below band_upper = {rate(upper):g}", "Swap the two levels.")


class Condition(Record, frozen=True, kw_only=True):
    """What must hold for a schedule to trade: any one of its triggers fires.

    Args:
        band_lower: fires when |ℓ| is below this level.
        band_upper: fires when |ℓ| is above this level.
        deviation: fires when |ℓ/β − 1| exceeds this fraction.
        move_against: fires when the price moved this fraction against the token since its last rebalance.
        move_favour: the same, in the token's favour.
    """

    band_lower: float | None = None
    band_upper: float | None = None
    deviation: float | None = None
    move_against: float | None = None
    move_favour: float | None = None

    def __post_init__(self) -> None:
        check = Check(self)
        _check_triggers(check, self.band_lower, self.band_upper)
        if all(getattr(self, name) is None for name in _TRIGGERS):
            check.add("", "nothing", "at least one of " + ", ".join(_TRIGGERS))
        check.done()


class Schedule(Record, frozen=True, kw_only=True):
    """A clock that asks for a rebalance.

    Args:
        times: times of day in UTC, such as ("00:02",) or ("00:00+08:00",).
        every: in place of times, an interval since the last completed rebalance, such as "24h".
        side: "both", or "reduce" to trade only if that lowers the position.
        only_if: trade only if this condition holds. An interval that has run out stays due until it trades.
    """

    times: tuple[str, ...] = ()
    every: str | None = None
    side: Side = "both"
    only_if: Condition | None = None

    def __post_init__(self) -> None:
        check = Check(self)
        check.sequence("times", str, "times of day")
        check.duration("every")
        check.choice("side", _SIDES)
        check.that(self.only_if is None or isinstance(self.only_if, Condition), "only_if", "a Condition")
        if check.problems:
            check.done()
        if bool(self.times) == (self.every is not None):
            check.add("times", self.times, "either times or every", 'Write times = ["00:02"] or every = "24h".')
        for number, text in enumerate(self.times):
            try:
                time_of_day_ms(text)
            except (ValueError, AttributeError):
                check.add(f"times[{number}]", text, "a time of day", 'Write "00:02" (UTC) or "00:00+08:00".')
        check.done()


class Pace(Record, frozen=True, kw_only=True):
    """How a large rebalance is cut into slices.

    Args:
        largest: the largest notional of one trade, in settlement currency.
        interval: the least time between two slices, such as "1m".
    """

    largest: float
    interval: str

    def __post_init__(self) -> None:
        check = Check(self)
        check.number("largest", 0, strict=True)
        check.duration("interval", optional=False)
        check.done()


class Rule(Record, frozen=True, kw_only=True):
    """A rebalance rule: schedules, continuous triggers, aim, side, pace, ripcord, check interval.

    Args:
        name: the preset it came from, or a name of your own.
        target: the target leverage its levels were written for; a token with another one refuses it.
        schedule: clocks, each with a side and an optional condition; the first that applies trades.
        band_lower: continuous trigger: |ℓ| below this level.
        band_upper: continuous trigger: |ℓ| above this level.
        deviation: continuous trigger: |ℓ/β − 1| above this fraction.
        move_against: continuous trigger: the price moved this fraction against the token since the last
            completed rebalance.
        move_favour: the same, in the token's favour.
        side: of the continuous triggers; "reduce" trades only if that lowers the position.
        aim: "target"; "edge" (the edge of the band or deviation that was crossed, met after cost);
            "reentry" (a fixed level); "recentering" (ℓ(1−s) + βs, clipped to the band).
        reentry_level: the |ℓ| that aim "reentry" trades to.
        recentering_speed: the s of aim "recentering", 0 < s ≤ 1.
        pace: cut large rebalances into slices.
        ripcord: emergency level of |ℓ|: beyond it the position is reduced to the upper band edge in one
            trade, whatever the pace.
        check_interval: continuous triggers and the ripcord look only at the first price at or after each
            multiple of this duration since the epoch.
    """

    name: str = ""
    target: float | None = None
    schedule: tuple[Schedule, ...] = ()
    band_lower: float | None = None
    band_upper: float | None = None
    deviation: float | None = None
    move_against: float | None = None
    move_favour: float | None = None
    side: Side = "both"
    aim: AimKind = "target"
    reentry_level: float | None = None
    recentering_speed: float | None = None
    pace: Pace | None = None
    ripcord: float | None = None
    check_interval: str | None = None

    def __post_init__(self) -> None:
        check = Check(self)
        check.text("name")
        check.number("target", optional=True)
        check.sequence("schedule", Schedule, "schedules")
        if isinstance(self.schedule, tuple) and len(self.schedule) > 30:
            check.add("schedule", len(self.schedule), "at most 30 schedules", "Put several times into one schedule.")
        _check_triggers(check, self.band_lower, self.band_upper)
        check.choice("side", _SIDES)
        check.choice("aim", _AIMS)
        check.number("reentry_level", 0, strict=True, optional=True)
        check.number("recentering_speed", 0, 1, strict=True, optional=True)
        check.that(self.pace is None or isinstance(self.pace, Pace), "pace", "a Pace")
        check.number("ripcord", 0, strict=True, optional=True)
        check.duration("check_interval")
        if not check.problems:
            self._check_sense(check)
        check.done()

    def _check_sense(self, check: Check) -> None:
        has_upper = self.band_upper is not None or self.deviation is not None
        if (self.aim == "reentry") != (self.reentry_level is not None):
            check.add("reentry_level", self.reentry_level, 'a level exactly when aim = "reentry"')
        if (self.aim == "recentering") != (self.recentering_speed is not None):
            check.add("recentering_speed", self.recentering_speed, 'a speed exactly when aim = "recentering"')
        if self.aim == "edge" and not has_upper and self.band_lower is None:
            check.add(
                "aim",
                self.aim,
                "a band or a deviation whose edge can be the aim",
                "Give band_lower, band_upper or deviation.",
            )
        if self.ripcord is not None and not has_upper:
            check.add("ripcord", self.ripcord, "an upper band edge to aim at", "Give band_upper or deviation.")
        if self.ripcord is not None and self.band_upper is not None and self.ripcord <= self.band_upper:
            check.add("ripcord", self.ripcord, f"a level above band_upper = {self.band_upper:g}")

    def __repr__(self) -> str:
        fields = Presenter.headline(self) if Presenter.headline else self.name
        return f"Rule({fields})"


def rule_problems(rule: Rule, target: float) -> Check:
    """Returns what keeps a rule from serving a token with this target leverage (its `problems`)."""
    check = Check(rule)
    size = abs(target)
    if rule.target is not None and abs(rule.target - target) > 1e-9 * size:
        check.add(
            "target",
            rule.target,
            f"the token's target, {target:g}",
            "Name the preset by its text so that it takes the token's target, or ask the preset for this target.",
        )
    if rule.band_lower is not None and rule.band_lower > size * (1 + 1e-9):
        check.add("band_lower", rule.band_lower, f"a level no higher than the target {size:g}")
    if rule.band_upper is not None and rule.band_upper < size * (1 - 1e-9):
        check.add("band_upper", rule.band_upper, f"a level no lower than the target {size:g}")
    lower, upper = band_edges(rule, target)
    level = rule.reentry_level
    if level is not None and not lower * (1 - 1e-9) <= level <= upper * (1 + 1e-9):
        check.add("reentry_level", level, f"a level within the band {lower:g} to {upper:g}")
    if rule.ripcord is not None and rule.ripcord <= upper:
        check.add("ripcord", rule.ripcord, f"a level above the upper edge {upper:g}")
    for place, fraction in (("move_against", rule.move_against), ("move_favour", rule.move_favour)):
        falls = (place == "move_against") == (target > 0)
        if fraction is not None and falls and fraction >= 1:
            check.add(place, fraction, "less than 1: a price cannot fall by 100 %")
    return check


def band_edges(rule: Rule | Condition, target: float) -> tuple[float, float]:
    """Returns the tightest (lower, upper) levels of |ℓ| that band and deviation leave; (0, ∞) if none."""
    lower, upper = 0.0, float("inf")
    if rule.band_lower is not None:
        lower = rule.band_lower
    if rule.band_upper is not None:
        upper = rule.band_upper
    if rule.deviation is not None:
        lower = max(lower, abs(target) * (1 - rule.deviation))
        upper = min(upper, abs(target) * (1 + rule.deviation))
    return lower, upper
