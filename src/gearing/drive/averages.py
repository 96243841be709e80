"""Time-weighted marks: what matched requests change hands at, so that no single price decides.

The average runs over the last part of a window, and only requests that were accepted before it began are dealt at it.
So that whoever asks last knows nothing of it, it contains only prices that were made after it began. It is held against
the average of the index over the same time. A price counts from its own time, the first from the beginning, to that of
the next.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gearing.venues.protocol import Quote

# The most of an average that one price may carry, else it decides alone.
_SHARE_MAX = 2 / 3


class Average(NamedTuple):
    """The averages of one instrument: of its mark, and of its index (the reference).

    Args:
        mark: NaN where no price came yet.
        reference: of the index; NaN where it is not known throughout.
        gap_ms: the longest time without a new price.
        share: of the whole time, the largest that one price counts for.
    """

    mark: float
    reference: float
    gap_ms: int
    share: float

    @property
    def divergence(self) -> float:
        """|mark/index − 1|; 0 where there is no index to hold the mark against."""
        return divergence(self.mark, self.reference)

    @property
    def is_formed(self) -> bool:
        """Whether no price decides alone."""
        return self.share <= _SHARE_MAX


def divergence(mark: float, index: float) -> float:
    """Returns |mark/index − 1|; 0 where there is no index."""
    return 0.0 if math.isnan(index) else abs(mark / index - 1.0)


class MarkAverage:
    """The time-weighted mark and index of one instrument from a time on.

    Args:
        since_ms: when it begins.
    """

    __slots__ = ("_gap_ms", "_index", "_last", "_longest_ms", "_mark", "_until_ms", "since_ms")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = self._until_ms = since_ms
        self._last: Quote | None = None
        self._mark = self._index = 0.0
        self._gap_ms = self._longest_ms = 0

    def take(self, quote: Quote) -> None:
        """Takes the next good price; one that was made before the average began is no part of it."""
        if quote.time_ms <= self.since_ms:
            return
        before_ms, last = self.since_ms, self._last
        if last is not None:
            before_ms, length_ms = last.time_ms, quote.time_ms - self._until_ms
            self._mark += last.mark * length_ms
            self._index += last.index * length_ms
            self._longest_ms = max(self._longest_ms, length_ms)
            self._until_ms = quote.time_ms
        self._gap_ms = max(self._gap_ms, quote.time_ms - before_ms)
        self._last = quote

    def up_to(self, now_ms: int) -> Average:
        """Returns the averages up to a time, which is not before that of the last price."""
        last, length_ms, rest_ms = self._last, now_ms - self.since_ms, now_ms - self._until_ms
        if last is None:
            return Average(math.nan, math.nan, length_ms, 1.0)
        mark, index = self._mark + last.mark * rest_ms, self._index + last.index * rest_ms
        gap_ms, longest_ms = max(self._gap_ms, now_ms - last.time_ms), max(self._longest_ms, rest_ms)
        return Average(mark / length_ms, index / length_ms, gap_ms, longest_ms / length_ms)
