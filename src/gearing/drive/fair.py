"""The fair price of an instrument: what its mark would be if the last price were no error, or nobody had moved it.

It is the last index times the average of mark over index of the prices before the last one, each weighted by how long
it was the last, with a memory of half a minute; what is further than 0.1 % from the average counts as 0.1 %. So one
price moves it by what the index says, and a mark that is off for a second by next to nothing. The first prices after a
start know nothing before them: for a while it is their plain average, and nothing is dealt by it. Where there is no
index it is the average of the marks before the last one; an index that was there and is missing stands against any
dealing.
"""

from __future__ import annotations

import math

from gearing.venues.protocol import Quote

MEMORY_MS = 30_000
"""A price that was the last for so long counts as much as all before it."""


# An index that is missing for less than this is one that should be there.
_MISSING_MS = 600_000
# So far at most is a value taken to be from the average of those before it, where there is an index.
_APART_MAX = 0.001


class FairPrice:
    """The fair price of one instrument.

    Args:
        warm_ms: prices have to have come for so long before it is known.

    Attributes:
        price: now; NaN where no price came yet.
        is_known: whether prices have come for long enough.
        divergence: |mark/index − 1| of the last price; ∞ where its index is missing that was known shortly before, 0
            where there is none.
    """

    __slots__ = ("_indexed_ms", "_marks", "_premiums", "_since_ms", "_warm_ms", "divergence", "is_known", "price")

    def __init__(self, warm_ms: int) -> None:
        # Of mark over index, and of the mark; each knows the prices before the last one.
        self._premiums, self._marks = _Average(_APART_MAX, warm_ms), _Average(math.inf, warm_ms)
        self._indexed_ms = -_MISSING_MS
        self._since_ms, self._warm_ms = math.inf, warm_ms
        self.price, self.divergence, self.is_known = math.nan, 0.0, False

    def take(self, quote: Quote) -> None:
        """Takes the next good price."""
        self._since_ms = min(self._since_ms, quote.time_ms)
        self.is_known = quote.time_ms - self._since_ms >= self._warm_ms
        marks = self._marks.take(quote.mark, quote.time_ms)
        if not math.isnan(quote.index):
            premium = quote.mark / quote.index
            self._indexed_ms, self.divergence = quote.time_ms, abs(premium - 1.0)
            self.price = self._premiums.take(premium, quote.time_ms) * quote.index
        else:
            self._premiums.pause()
            self.divergence = math.inf if quote.time_ms - self._indexed_ms < _MISSING_MS else 0.0
            self.price = marks

    def agrees(self, mark: float, within: float) -> bool:
        """Returns whether a mark is the fair price, but for a fraction of it, and so is what mark and index say."""
        return self.is_known and abs(mark / self.price - 1.0) <= within and self.divergence < math.inf


class _Average:
    """The average of values before the last one, each by how long it was the last; `apart` is the most that counts."""

    __slots__ = ("_apart", "_length_ms", "_time_ms", "_value", "_warm_ms", "value")

    def __init__(self, apart: float, warm_ms: int) -> None:
        self._apart, self._warm_ms, self._value, self.value = apart, warm_ms, math.nan, math.nan
        self._time_ms = self._length_ms = 0

    def take(self, value: float, time_ms: int) -> float:
        """Takes the next value; returns the average of those before it, which of the first is itself."""
        if math.isnan(self.value):
            self.value = value
        elif not math.isnan(self._value):
            length_ms = max(time_ms - self._time_ms, 0)
            self._length_ms += length_ms
            most = self._apart if self._length_ms > self._warm_ms else math.inf
            apart = min(max(self._value - self.value, -most), most)
            # Of a shorter time than the memory each counts for as long as it was.
            self.value += apart * length_ms / max(min(self._length_ms, length_ms + MEMORY_MS), 1)
        self._value, self._time_ms = value, time_ms
        return self.value

    def pause(self) -> None:
        """Lets the last value count no longer: nobody knows for how long it held."""
        self._value = math.nan
