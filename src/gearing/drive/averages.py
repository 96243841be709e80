"""Time-weighted marks: what matched requests change hands at, so that no single price decides.

The average runs over the last part of a window, and only requests that were accepted before it began are dealt at it.
It is held against the average of the index over the same time. A price counts from its own time to that of the next.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gearing.venues.protocol import Quote


class Average(NamedTuple):
    """The averages of one instrument: of its mark, and of its index (the reference).

    Args:
        mark: NaN where no price is known of the beginning.
        reference: of the index; NaN where it is not known throughout.
        gap_ms: the longest time without a new price.
    """

    mark: float
    reference: float
    gap_ms: int

    @property
    def divergence(self) -> float:
        """|mark/index − 1|; 0 where there is no index to hold the mark against."""
        return 0.0 if math.isnan(self.reference) else abs(self.mark / self.reference - 1.0)


class MarkAverage:
    """The time-weighted mark and index of one instrument from a time on.

    Args:
        since_ms: when it begins.
        first: the price that applies then.
    """

    __slots__ = ("_gap_ms", "_index", "_last", "_mark", "_until_ms", "since_ms")

    def __init__(self, since_ms: int, first: Quote) -> None:
        self.since_ms, self._until_ms, self._last = since_ms, since_ms, first
        self._mark = self._index = 0.0
        self._gap_ms = 0

    def take(self, quote: Quote) -> None:
        """Takes the next good price."""
        self._gap_ms = max(self._gap_ms, quote.time_ms - self._last.time_ms)
        length_ms = max(quote.time_ms - self._until_ms, 0)
        self._mark += self._last.mark * length_ms
        self._index += self._last.index * length_ms
        self._until_ms, self._last = max(quote.time_ms, self._until_ms), quote

    def up_to(self, now_ms: int) -> Average:
        """Returns the averages up to a time; where no time has passed, the price of now."""
        length_ms, rest_ms = now_ms - self.since_ms, max(now_ms - self._until_ms, 0)
        gap_ms = max(self._gap_ms, now_ms - self._last.time_ms)
        if length_ms <= 0:
            return Average(self._last.mark, self._last.index, gap_ms)
        return Average((self._mark + self._last.mark * rest_ms) / length_ms,
                       (self._index + self._last.index * rest_ms) / length_ms, gap_ms)  # fmt: skip
