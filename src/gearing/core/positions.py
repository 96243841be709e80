"""What was held at past settlements: a position's history at full hours, at which venues settle funding."""

from __future__ import annotations

import msgspec

HOUR_MS = 3_600_000
# Hours with trades that are kept: a venue that reports a settlement a day late still finds the sizes it settled on.
_KEPT = 26


class HourPosition(msgspec.Struct, frozen=True, array_like=True):
    """A position at a full hour within which, or after which, it was traded.

    Args:
        hour_ms: the full hour.
        before: lots held when it began.
        after: lots held once every trade of that very millisecond had happened.
    """

    hour_ms: int
    before: int
    after: int


History = tuple[HourPosition, ...]


def with_trade(past: History, held: int, lots: int, time_ms: int) -> History:
    """Returns the history after a trade.

    Args:
        past: hours with trades, rising.
        held: lots before this trade, by all that is known.
        lots: that were traded, signed.
        time_ms: when; a trade that is reported late may lie before others.
    """
    hour_ms = time_ms // HOUR_MS * HOUR_MS
    later = [one for one in past if one.hour_ms > hour_ms]
    same = next((one for one in past if one.hour_ms == hour_ms), None)
    if same is None:
        before = later[0].before if later else held
        same = HourPosition(hour_ms, before, before)
    if time_ms == hour_ms:
        same = HourPosition(hour_ms, same.before, same.after + lots)
    moved = [HourPosition(one.hour_ms, one.before + lots, one.after + lots) for one in later]
    earlier = [one for one in past if one.hour_ms < hour_ms]
    return (*earlier, same, *moved)[-_KEPT:]


def held_at(past: History, held: int, time_ms: int) -> range | None:
    """Returns what was held at a full hour; None: it is too long ago to be known, or no full hour.

    Nobody knows what a venue does first within one millisecond, so it may be anything from the position before that
    instant to the one after it.

    Args:
        past: see `with_trade`.
        held: lots now.
        time_ms: when.
    """
    if not past or time_ms > past[-1].hour_ms + HOUR_MS - 1:
        return range(held, held + 1)
    if time_ms % HOUR_MS or (len(past) == _KEPT and time_ms < past[0].hour_ms):
        return None
    at = next((one for one in past if one.hour_ms >= time_ms), None)
    if at is None:
        return range(held, held + 1)
    low, high = sorted((at.before, at.after if at.hour_ms == time_ms else at.before))
    return range(low, high + 1)
