"""When an instrument settles funding: by the venue's announcements in its prices, or by its interval."""

from __future__ import annotations

import math
from typing import NamedTuple

from gearing.venues.protocol import Quote

# How long a funding period is taken to be where nothing says so.
_PERIOD_MS, _PERIOD_MS_MAX = 28_800_000, 86_400_000
# A price that announces the next settlement but one so shortly before the next one is early, and does not call it off.
_EARLY_MS_MAX = 60_000


class Settlement(NamedTuple):
    """A settlement that passed: its time, and the rate that was last predicted for it; None: none was."""

    time_ms: int
    rate: float | None


_NONE = Settlement(0, None)


class FundingSchedule:
    """The settlements of one instrument, as far as they are known.

    Attributes:
        next_ms: the settlement that the last price announced; 0: prices announce none.
        interval_ms: between two settlements, by the venue's rules; 0: unknown, or the instrument settles none.
    """

    __slots__ = ("_before", "_due", "_rate", "interval_ms", "next_ms")

    def __init__(self) -> None:
        self.next_ms = self.interval_ms = 0
        # The settlement before the next one, once prices announce the next; and the one before that.
        self._due = self._before = _NONE
        self._rate: float | None = None  # that was predicted for the next one, where the last price predicts none

    def announce(self, before: Quote, quote: Quote) -> None:
        """Takes a price that announces another settlement than the one before it did; one that says nothing of it
        calls none off."""
        due_ms = self.next_ms
        if not quote.funding_ms:
            self._rate = self._predicted(before)
            return
        if 0 < due_ms <= quote.time_ms:
            self._due = Settlement(due_ms, self._predicted(before))
            latest_ms = quote.funding_ms - self.interval_ms if self.interval_ms else 0
            if due_ms < latest_ms <= quote.time_ms:  # others passed while no price came
                self._due = Settlement(latest_ms, None)
        elif quote.time_ms < due_ms <= min(quote.time_ms + _EARLY_MS_MAX, quote.funding_ms - 1):
            self._before, self._due = self._passed(quote.time_ms), Settlement(due_ms, self._predicted(before))
        self.next_ms = quote.funding_ms

    def _predicted(self, quote: Quote) -> float | None:
        """Returns the rate predicted for the next settlement: by a price, or by the last that said anything of it."""
        return quote.funding_rate if quote.funding_ms == self.next_ms else self._rate

    def _passed(self, now_ms: int) -> Settlement:
        return self._due if self._due.time_ms <= now_ms else self._before

    def last(self, good: Quote, now_ms: int) -> Settlement:
        """Returns the last settlement at or before a time; its time is 0 if none is known.

        Args:
            good: the last good price of the instrument.
            now_ms: the time.
        """
        if 0 < self.next_ms <= now_ms:
            if self.interval_ms and now_ms - self.next_ms >= self.interval_ms:  # nothing was announced for long
                return Settlement(self._grid_ms(now_ms), None)
            return Settlement(self.next_ms, self._predicted(good))
        passed = self._passed(now_ms)
        if self.next_ms and (passed.time_ms or not self.interval_ms):
            return passed
        if not self.interval_ms:
            return _NONE
        return Settlement(self._grid_ms(now_ms), None)

    def following_ms(self, now_ms: int) -> float:
        """Returns the next settlement after a time; ∞ if none is known."""
        for following_ms in (self._due.time_ms, self.next_ms):
            if following_ms > now_ms:
                early_ms = following_ms - self.interval_ms if self.interval_ms else now_ms
                return early_ms if now_ms < early_ms <= now_ms + _EARLY_MS_MAX else following_ms
        return (now_ms // self.interval_ms + 1) * self.interval_ms if self.interval_ms else math.inf

    def _grid_ms(self, now_ms: int) -> int:
        """Returns the last settlement at or before a time by the interval, counted from the next one if known."""
        return now_ms - (now_ms - self.next_ms) % self.interval_ms

    def accrued_rate(self, good: Quote, since_ms: int, now_ms: int) -> float:
        """Returns the part of the predicted rate that has accrued in the present period; 0 where either is not known.

        Args:
            good: the last good price of the instrument.
            since_ms: the last settlement that was booked.
            now_ms: the time.
        """
        ends_ms, rate = self._due if self._due.time_ms > now_ms else (self.next_ms, self._predicted(good))
        since_ms = max(since_ms, self._passed(now_ms).time_ms)
        if not rate or ends_ms <= now_ms or ends_ms <= since_ms:
            return 0.0
        length_ms = ends_ms - since_ms
        if length_ms > _PERIOD_MS_MAX:
            length_ms = self.interval_ms or _PERIOD_MS
        return rate * max(1.0 - (ends_ms - now_ms) / length_ms, 0.0)
