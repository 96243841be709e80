"""The gaps of a rule: from what leverage, and for how long, a token may be unable to trade."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from gearing.core.record import DAY_MS, duration_ms, time_of_day_ms
from gearing.core.rule import Condition, Rule, Schedule, band_edges
from gearing.core.words import leverage_after

YEAR_MS = 365 * DAY_MS

Start = Literal["target", "edge", "path"]


class Clock(NamedTuple):
    """When a trigger may next trade.

    Args:
        kind: "bar", at the next price; "times", at the next of its times of day; "every", that long after it
            last traded; "check", at the next multiple of an interval since the epoch.
        span_ms: the longest wait; 0 for the next price.
        per_year: how many waits a year has; ∞ for one at each price.
        times_ms: times of day in ms after 00:00 UTC, of kind "times".
    """

    kind: Literal["bar", "times", "every", "check"]
    span_ms: int = 0
    per_year: float = math.inf
    times_ms: tuple[int, ...] = ()


class Gap(NamedTuple):
    """One way in which a rule may be too late.

    Args:
        trigger: what would trade next.
        start: the leverage at the start of the wait: "target", or "edge", the worst the trigger lets rest.
        leverage: that leverage, |ℓ|.
        clock: how long the wait is.
        guard: which protection it measures. Gaps of one guard together are all that can go wrong with it; None
            if it bounds nothing.
    """

    trigger: str
    start: Start
    leverage: float
    clock: Clock
    guard: int | None = None


NEXT_PRICE = Clock("bar")
NEVER = Clock("every", YEAR_MS, 1.0)


def gaps_of(rule: Rule, target: float) -> list[Gap]:
    """Returns the gaps of each schedule and of each continuous trigger on the losing side.

    Args:
        rule: a rule that serves this target.
        target: signed target leverage.

    Triggers on the winning side add to the position and protect nothing, so they have no gap. A rule that does
    not bound leverage on the losing side has one called "none", of a year.
    """
    levels = _losing_levels(rule, target, after_rebalance(rule, target))
    gaps: list[Gap] = []
    for schedule in rule.schedule:
        gaps += _of_schedule(schedule, rule, target, levels, guard=len(gaps))
    clock = NEXT_PRICE
    if rule.check_interval is not None:
        span = duration_ms(rule.check_interval)
        clock = Clock("check", span, YEAR_MS / span)
    if target < 0 or target > 1:
        for name, level in levels:
            # While a paced rebalance runs, leverage may go on to the ripcord: only that one is a bound.
            bounds = name == "ripcord" or rule.pace is None or rule.ripcord is None
            gaps.append(Gap(name, "target", abs(target), clock))
            gaps.append(Gap(name, "edge", level, clock, guard=len(gaps) if bounds else None))
    if not any(gap.guard is not None for gap in gaps):
        gaps.append(Gap("none", "target", abs(target), NEVER, guard=len(gaps)))
    return gaps


def after_rebalance(rule: Rule, target: float) -> float:
    """Returns the highest |ℓ| that a rebalance of the rule may leave behind; ∞ if nothing bounds it."""
    if rule.aim == "target":
        return abs(target)
    if rule.aim == "reentry":
        return max(abs(target), rule.reentry_level or 0.0)
    return band_edges(rule, target)[1]


def _losing_levels(triggers: Rule | Condition, target: float, start: float) -> list[tuple[str, float]]:
    """The levels of |ℓ| at which triggers fire on the losing side; moves are counted from leverage `start`."""
    levels = []
    if triggers.band_upper is not None:
        levels.append(("band_upper", triggers.band_upper))
    if triggers.deviation is not None:
        levels.append(("deviation", abs(target) * (1 + triggers.deviation)))
    if triggers.move_against is not None and start < math.inf:
        against = -triggers.move_against if target > 0 else triggers.move_against
        reached = leverage_after(math.copysign(start, target), against)
        if reached is not None:
            levels.append(("move_against", abs(reached)))
    if isinstance(triggers, Rule) and triggers.ripcord is not None:
        levels.append(("ripcord", triggers.ripcord))
    return levels


def _of_schedule(
    schedule: Schedule, rule: Rule, target: float, levels: list[tuple[str, float]], guard: int
) -> list[Gap]:
    size, name, clock = abs(target), schedule_name(schedule), _clock(schedule)
    kept = after_rebalance(rule, target)
    rests = min((level for _, level in levels), default=math.inf)
    holds = math.inf
    if schedule.only_if is not None:
        holds = min((level for _, level in _losing_levels(schedule.only_if, target, kept)), default=math.inf)
    edge = kept
    if schedule.only_if is not None and schedule.every is None:
        # At its time it passes over any leverage its condition lets through.
        edge = max(kept, min(holds, rests))
    useless = math.inf in (edge, kept) or (schedule.only_if is not None and min(holds, rests) == math.inf)
    if useless and (target < 0 or target > 1) and rule.aim != "recentering":
        return []
    # A trigger that adds to the position meanwhile moves the start of the wait to a worse price.
    adds = rule.side == "both" and any(
        value is not None for value in (rule.band_lower, rule.deviation, rule.move_favour)
    )
    number = None if (adds and levels) or useless else guard
    far = size * (1 + 1e-9) < edge < math.inf
    gaps = [Gap(name, "target", size, clock, None if far else number)]
    if far:
        gaps.append(Gap(name, "edge", edge, clock, number))
    if schedule.every is not None and holds < math.inf:
        gaps.append(Gap(f"{name}, overdue", "edge", max(kept, holds), NEXT_PRICE, number))
    return gaps


def _clock(schedule: Schedule) -> Clock:
    if schedule.every is not None:
        span = duration_ms(schedule.every)
        return Clock("every", span, YEAR_MS / span)
    times = sorted({time_of_day_ms(text) for text in schedule.times})
    longest = max((b - a for a, b in zip(times, [*times[1:], times[0] + DAY_MS], strict=True)), default=DAY_MS)
    return Clock("times", longest, len(times) * 365.0, tuple(times))


def schedule_name(schedule: Schedule) -> str:
    """Returns what a table calls a schedule: "daily 00:02 UTC", "24 times a day", "every 24h"."""
    if schedule.every is not None:
        return f"every {schedule.every}"
    if len(schedule.times) > 2:
        return f"{len(schedule.times)} times a day"
    minutes = sorted({time_of_day_ms(text) // 60_000 for text in schedule.times})
    return f"daily {' and '.join(f'{minute // 60:02d}:{minute % 60:02d}' for minute in minutes)} UTC"
