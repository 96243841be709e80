"""The fair price of an instrument: what its mark would be if the last price were no error, or nobody had moved it.

It is the last index times the average of mark over index of the prices before the last one, each weighted by how long
it was the last, with a memory of half a minute; what is further than 0.1 % from the average counts as 0.1 %. So one
price moves it by what the index says, and a mark that is off for a second by next to nothing. Where no index is known
it is the average of the marks before the last one.
"""

from __future__ import annotations

import math

from gearing.venues.protocol import Quote

MEMORY_MS = 30_000
"""A price that was the last for so long counts as much as all before it."""


# So far at most is a value taken to be from the average of those before it, where there is an index.
_APART_MAX = 0.001


class FairPrice:
    """The fair price of one instrument.

    Attributes:
        price: now; NaN where no price came yet.
    """

    __slots__ = ("_average", "_indexed", "_time_ms", "_value", "price")

    def __init__(self) -> None:
        # Of the prices before the last one, and of the last: mark over index, or the mark where no index is known.
        self._average = self._value = self.price = math.nan
        self._indexed, self._time_ms = False, 0

    def take(self, quote: Quote) -> None:
        """Takes the next good price."""
        indexed = not math.isnan(quote.index)
        value = quote.mark / quote.index if indexed else quote.mark
        if math.isnan(self._average) or indexed != self._indexed:
            self._average = value
        else:
            length_ms = max(quote.time_ms - self._time_ms, 0)
            apart, most = self._value - self._average, _APART_MAX if indexed else math.inf
            self._average += min(max(apart, -most), most) * length_ms / (length_ms + MEMORY_MS)
        self._indexed, self._time_ms, self._value = indexed, quote.time_ms, value
        self.price = self._average * quote.index if indexed else self._average
