"""When an instrument settles funding: by the venue's announcements in its prices, or by its interval."""

from __future__ import annotations

import math
from typing import NamedTuple

from gearing.venues.protocol import Quote

# How long a funding period is taken to be where nothing says so.
_PERIOD_MS, _PERIOD_MS_MAX = 28_800_000, 86_400_000


class Settlement(NamedTuple):
    """A settlement that passed: its time, and the rate that was last predicted for it; None: none was."""

    time_ms: int
    rate: float | None


class FundingSchedule:
    """The settlements of one instrument, as far as they are known.

    Attributes:
        next_ms: the settlement that the last price announced; 0: prices announce none.
        interval_ms: between two settlements, by the venue's rules; 0: unknown, or the instrument settles none.
    """

    __slots__ = ("_passed", "interval_ms", "next_ms")

    def __init__(self) -> None:
        self.next_ms = self.interval_ms = 0
        self._passed = Settlement(0, None)

    def announce(self, before: Quote, quote: Quote) -> None:
        """Takes a price that announces another settlement than the one before it did."""
        if 0 < self.next_ms <= quote.time_ms:
            self._passed = Settlement(self.next_ms, before.funding_rate)
        self.next_ms = quote.funding_ms

    def last(self, good: Quote, now_ms: int) -> Settlement:
        """Returns the last settlement at or before a time; its time is 0 if none is known.

        Args:
            good: the last good price of the instrument.
            now_ms: the time.
        """
        if 0 < self.next_ms <= now_ms:
            return Settlement(self.next_ms, good.funding_rate)
        if self.next_ms and (self._passed.time_ms or not self.interval_ms):
            return self._passed
        if not self.interval_ms:
            return Settlement(0, None)
        since_ms = self.next_ms - self.interval_ms if self.next_ms else now_ms // self.interval_ms * self.interval_ms
        return Settlement(since_ms, None)

    def following_ms(self, now_ms: int) -> float:
        """Returns the next settlement after a time; ∞ if none is known."""
        if self.next_ms > now_ms:
            return self.next_ms
        return (now_ms // self.interval_ms + 1) * self.interval_ms if self.interval_ms else math.inf

    def accrued_share(self, since_ms: int, now_ms: int) -> float:
        """Returns the part of the present funding period that has passed; 0 where the period is not known.

        Args:
            since_ms: the last settlement that was booked.
            now_ms: the time.
        """
        since_ms = max(since_ms, self._passed.time_ms)
        if self.next_ms <= now_ms or self.next_ms <= since_ms:
            return 0.0
        length_ms = self.next_ms - since_ms
        if length_ms > _PERIOD_MS_MAX:
            length_ms = self.interval_ms or _PERIOD_MS
        return max(1.0 - (self.next_ms - now_ms) / length_ms, 0.0)
