"""Rules in plain words: one short line, or a sentence for each thing a rule does."""

from __future__ import annotations

import math

from gearing.core.record import duration_ms, time_of_day_ms
from gearing.core.rule import Condition, Rule, Schedule, band_edges
from gearing.core.words.barriers import leverage_after, move_to
from gearing.numerals import level_text, number, percent, tight

_SPANS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"))


def headline(rule: Rule) -> str:
    """Returns a rule in one short line; it needs no target."""
    parts = [_clock_short(schedule) for schedule in rule.schedule]
    triggers = _triggers_short(rule)
    if triggers:
        parts.append(triggers + (", only to reduce" if rule.side == "reduce" else ""))
    if not parts:
        parts.append("never rebalances")
    elif rule.aim == "reentry":
        parts.append(f"to {level_text(rule.reentry_level or 0)}")
    elif rule.aim == "recentering":
        parts.append(f"recentering by {tight(rule.recentering_speed or 0)}")
    elif rule.aim == "edge":
        parts.append("to the edge")
    if rule.ripcord is not None:
        parts.append(f"ripcord {level_text(rule.ripcord)}")
    if rule.pace is not None:
        parts.append(f"slices of {number(rule.pace.largest)} each {rule.pace.interval}")
    if rule.check_interval is not None:
        parts.append(f"looks every {rule.check_interval}")
    body = "; ".join(parts)
    return f"{rule.name}: {body}" if rule.name else body


def _clock_short(schedule: Schedule) -> str:
    if schedule.every is not None:
        text = f"every {schedule.every}"
    elif len(schedule.times) > 3:
        text = f"{len(schedule.times)} times a day"
    else:
        text = f"daily {_utc(schedule.times)}"
    if schedule.side == "reduce":
        text += ", only to reduce"
    return text if schedule.only_if is None else f"{text} if {_triggers_short(schedule.only_if)}"


def _triggers_short(triggers: Rule | Condition) -> str:
    parts = []
    lower, upper = triggers.band_lower, triggers.band_upper
    if lower is not None and upper is not None:
        parts.append(f"outside {level_text(lower)}–{level_text(upper)}")
    elif upper is not None:
        parts.append(f"above {level_text(upper)}")
    elif lower is not None:
        parts.append(f"below {level_text(lower)}")
    if triggers.deviation is not None:
        parts.append(f"{tight(triggers.deviation, decimals=1)} off target")
    against, favour = triggers.move_against, triggers.move_favour
    if against is not None and against == favour:
        parts.append(f"move ±{tight(against)}")
    else:
        if against is not None:
            parts.append(f"move {tight(against)} against")
        if favour is not None:
            parts.append(f"move {tight(favour)} in favour")
    return " or ".join(parts)


def describe(rule: Rule, target: float, *, in_coin: bool = False) -> list[str]:
    """Returns a rule in plain words, one sentence for each thing it does.

    Args:
        rule: a rule that serves this target.
        target: signed target leverage.
        in_coin: whether NAV is counted in the coin itself.
    """
    lines = [_clock_sentence(schedule, target, in_coin=in_coin) for schedule in rule.schedule]
    lines += [f"At once when {words}, it rebalances." for words in _trigger_words(rule, target, in_coin=in_coin)]
    if rule.side == "reduce" and _triggers_short(rule):
        lines.append(f"Such a trade at once may only reduce the position{_losing_side(target)}.")
    if not lines:
        return ["It never rebalances: real leverage drifts with the price."]
    lines.append(_aim_sentence(rule, target))
    if rule.pace is not None:
        lines.append(
            f"A trade larger than {number(rule.pace.largest)} in settlement currency is cut into slices of "
            f"that size, at least {_span(rule.pace.interval)} apart."
        )
    if rule.ripcord is not None:
        level = level_text(math.copysign(rule.ripcord, target))
        edge = level_text(math.copysign(band_edges(rule, target)[1], target))
        lines.append(f"Ripcord: beyond {level} it reduces to {edge} in one trade, whatever the pace.")
    if rule.check_interval is not None:
        lines.append(f"What acts at once looks only at the first price of each {_span(rule.check_interval)}.")
    return lines


def _losing_side(target: float) -> str:
    if target == 1:
        return ", which a plain holding never asks for"
    return ": after a gain, for a target below 1" if 0 < target < 1 else ": after a loss"


def _clock_sentence(schedule: Schedule, target: float, *, in_coin: bool) -> str:
    if schedule.every is not None:
        span = _span(schedule.every)
        text = f"{span[0].upper()}{span[1:]} after its last completed rebalance it rebalances"
    elif len(schedule.times) > 3 and (step := _even_step_ms(schedule.times)):
        text = f"Every {_span(f'{step}ms').removeprefix('one ')} of the day it rebalances"
    else:
        text = f"Every day at {_utc(schedule.times)} it rebalances"
    if schedule.side == "reduce":
        text += ", only to reduce the position"
    if schedule.only_if is None:
        return f"{text}."
    return f"{text}, if {', or '.join(_trigger_words(schedule.only_if, target, in_coin=in_coin))}."


def _even_step_ms(times: tuple[str, ...]) -> int | None:
    clock = sorted(time_of_day_ms(time) for time in times)
    step = 86_400_000 // len(clock)
    return step if clock == list(range(0, 86_400_000, step)) else None


def _utc(times: tuple[str, ...]) -> str:
    clocks = []
    for time in times:
        seconds = time_of_day_ms(time) // 1000
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}"
        clocks.append(clock + (f":{seconds % 60:02d}" if seconds % 60 else ""))
    return " and ".join(clocks) + " UTC"


def _span(duration: str) -> str:
    length = duration_ms(duration)
    # A day is said in hours unless it is the unit's own word, because rules are read against a clock.
    for unit_ms, word in _SPANS[1:]:
        if length % unit_ms == 0:
            count = length // unit_ms
            return f"one {word}" if count == 1 else f"{count} {word}s"
    return f"{length} ms"


def _trigger_words(triggers: Rule | Condition, target: float, *, in_coin: bool) -> list[str]:
    words = []
    above, below = ("above", "below") if target > 0 else ("beyond", "nearer to 0 than")
    for level, verb in ((triggers.band_upper, above), (triggers.band_lower, below)):
        if level is not None:
            signed = math.copysign(level, target)
            reached = _reached_by(move_to(signed, target, in_coin=in_coin))
            words.append(f"real leverage is {verb} {level_text(signed)}{reached}")
    if triggers.deviation is not None:
        lower, upper = band_edges(Condition(deviation=triggers.deviation), target)
        edges = f"{level_text(math.copysign(lower, target))} to {level_text(math.copysign(upper, target))}"
        words.append(f"real leverage is more than {percent(triggers.deviation)} off target (outside {edges})")
    return words + _move_words(triggers, target, in_coin=in_coin)


def _move_words(triggers: Rule | Condition, target: float, *, in_coin: bool) -> list[str]:
    against, favour = triggers.move_against, triggers.move_favour
    if against is not None and against == favour:
        after = " or ".join(_after(target, move, in_coin=in_coin) for move in (-against, against))
        moved = f"the price has moved {percent(against)} either way since the last rebalance"
        return [f"{moved} (leverage then: {after})"]
    words = []
    for fraction, falls in ((against, target > 0), (favour, target < 0)):
        if fraction is not None:
            verb, move = ("fallen", -fraction) if falls else ("risen", fraction)
            after = _after(target, move, in_coin=in_coin)
            moved = f"the price has {verb} {percent(fraction)} since the last rebalance"
            words.append(f"{moved} (leverage then: {after})")
    return words


def _after(target: float, move: float, *, in_coin: bool) -> str:
    reached = leverage_after(target, move, in_coin=in_coin)
    return "nothing left" if reached is None else number(reached)


def _reached_by(move: float | None) -> str:
    return " (no price brings it there)" if move is None else f" (the price {percent(move, sign=True)} from target)"


def _aim_sentence(rule: Rule, target: float) -> str:
    if rule.aim == "edge":
        return "It trades to the edge of the band that was crossed, and meets it after cost."
    if rule.aim == "reentry":
        return f"It trades to a real leverage of {level_text(math.copysign(rule.reentry_level or 0, target))}."
    if rule.aim == "recentering":
        way = f"{percent(rule.recentering_speed or 0)} of the way back to the target of"
        return f"It trades {way} {number(target, sign=True)}, and into the band."
    return f"It trades back to the target of {number(target, sign=True)}."
