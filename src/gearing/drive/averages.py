"""Time-weighted marks: what matched requests change hands at, so that no single price decides.

The average runs over the last part of a window, and only requests that were accepted before it began are dealt at it.
So that whoever asks last knows nothing of it, it contains only prices that were made, and received, after it began. It
is held against the average of the index over the same time. A price counts from its own time to that of the next.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gearing.venues.protocol import Quote

# The most of an average that one price may carry, else it decides alone; and the least of its time that prices cover.
_SHARE_MAX = 2 / 3
_COVERED_MIN = 1 / 2


class Average(NamedTuple):
    """The averages of one instrument: of its mark, and of its index (the reference).

    Args:
        mark: NaN where no price came yet.
        divergence: |mark/index − 1| over the time in which the index is known; 0 where there is no index at all, ∞
            where it is known for less than half of the time.
        gap_ms: the longest time without a new price, by when they were made or received.
        share: of the time that prices cover, the largest part that one of them counts for.
        covered: the part of the time since the beginning that prices cover.
    """

    mark: float
    divergence: float
    gap_ms: int
    share: float
    covered: float

    @property
    def is_formed(self) -> bool:
        """Whether neither one price nor a moment decides alone."""
        return self.share <= _SHARE_MAX and self.covered >= _COVERED_MIN


def divergence(mark: float, index: float) -> float:
    """Returns |mark/index − 1|; 0 where there is no index."""
    return 0.0 if math.isnan(index) else abs(mark / index - 1.0)


class _Known(NamedTuple):
    """Sums of mark and index, each times its length, over the time in which the index is known, and that time, ms."""

    mark: float
    reference: float
    length_ms: int

    def with_price(self, quote: Quote, length_ms: int) -> _Known:
        """Returns the sums with a price that was the last for so long."""
        if math.isnan(quote.index):
            return self
        return _Known(self.mark + quote.mark * length_ms, self.reference + quote.index * length_ms,
                      self.length_ms + length_ms)  # fmt: skip

    def divergence(self, whole_ms: int) -> float:
        """Returns |mark/index − 1|; ∞ where the index is known for less than half of a time, 0 where never."""
        if self.length_ms == 0:
            return 0.0
        return divergence(self.mark, self.reference) if 2 * self.length_ms >= whole_ms else math.inf


_NOTHING = _Known(0.0, 0.0, 0)


class MarkAverage:
    """The time-weighted mark and index of one instrument from a time on.

    Args:
        since_ms: when it begins.
    """

    __slots__ = ("_first_ms", "_gap_ms", "_known", "_last", "_longest_ms", "_mark", "_received_ms", "since_ms")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = self._first_ms = self._received_ms = since_ms
        self._last: Quote | None = None
        self._mark = 0.0
        self._known = _NOTHING
        self._gap_ms = self._longest_ms = 0

    def take(self, quote: Quote, now_ms: int) -> None:
        """Takes the next good price, received now; one of before the average began is no part of it."""
        if min(quote.time_ms, now_ms) <= self.since_ms:
            return
        last, before_ms = self._last, self.since_ms
        if last is None:
            self._first_ms = quote.time_ms
        else:
            before_ms, length_ms = last.time_ms, quote.time_ms - last.time_ms
            self._mark += last.mark * length_ms
            self._known = self._known.with_price(last, length_ms)
            self._longest_ms = max(self._longest_ms, length_ms)
        self._gap_ms = max(self._gap_ms, quote.time_ms - before_ms, now_ms - self._received_ms)
        self._last, self._received_ms = quote, now_ms

    def up_to(self, time_ms: int, now_ms: int) -> Average:
        """Returns the averages.

        Args:
            time_ms: up to when, by the clock of whoever makes the prices; not before the last of them.
            now_ms: the time by the desk's clock.
        """
        last, gap_ms = self._last, max(self._gap_ms, now_ms - self._received_ms)
        if last is None:
            return Average(math.nan, 0.0, gap_ms, 1.0, 0.0)
        length_ms, rest_ms = time_ms - self._first_ms, time_ms - last.time_ms
        gap_ms = max(gap_ms, rest_ms)
        if length_ms <= 0:
            return Average(last.mark, divergence(last.mark, last.index), gap_ms, 1.0, 0.0)
        mark, apart = self._mark + last.mark * rest_ms, self._known.with_price(last, rest_ms).divergence(length_ms)
        share, covered = max(self._longest_ms, rest_ms) / length_ms, length_ms / (time_ms - self.since_ms)
        return Average(mark / length_ms, apart, gap_ms, share, covered)
