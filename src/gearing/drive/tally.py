"""What a driver counts, for whoever measures it."""

from __future__ import annotations

from collections import Counter


class Tally:
    """Counters since the start.

    Attributes:
        ticks: prices taken.
        crossings: how often a price concerned a token: a barrier was crossed, or a deadline passed.
        orders: orders that ended, by their outcome.
        differences: between a venue's statement and the ledger.
    """

    __slots__ = ("crossings", "differences", "orders", "ticks")

    def __init__(self) -> None:
        self.ticks = self.crossings = self.differences = 0
        self.orders: Counter[str] = Counter()
