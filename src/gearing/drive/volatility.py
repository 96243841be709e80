"""The usual move of a price, from the prices that were seen: what distances are counted in."""

from __future__ import annotations

import math

from gearing.core.record import DAY_MS


class Volatility:
    """Realised volatility of one price, the newer moves counting for more.

    Args:
        memory_ms: after so long a move counts for 1/e of a new one.

    Source: exponentially weighted realised variance: the weighted sum of squared log moves over the weighted time.
    """

    __slots__ = ("_memory_ms", "_price", "_squares", "_time", "_time_ms")

    def __init__(self, memory_ms: int = 3 * DAY_MS) -> None:
        self._memory_ms = memory_ms
        self._price, self._time_ms = math.nan, 0
        self._squares = self._time = 0.0

    def see(self, price: float, time_ms: int) -> None:
        """Takes a price; one that is not newer than the last is left out."""
        if not 0.0 < price < math.inf or time_ms <= self._time_ms:
            return
        if not math.isnan(self._price):
            passed = time_ms - self._time_ms
            kept = math.exp(-passed / self._memory_ms)
            self._squares = self._squares * kept + math.log(price / self._price) ** 2
            self._time = self._time * kept + passed
        self._price, self._time_ms = price, time_ms

    @property
    def daily(self) -> float:
        """The deviation of a day's log move; NaN before the second price."""
        return math.sqrt(self._squares / self._time * DAY_MS) if self._time > 0.0 else math.nan
