"""The barrier map: for each instrument, the nearest price at which any token needs attention.

A price is held against two numbers and a time, however many tokens there are. Re-arming a token costs O(log n): its
old barriers stay in the heaps and are dropped when they come to the top.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush

# A heap is rid of what was armed anew once it holds so many times as many barriers as there are tokens.
_SPARE = 4
_HEAP_LEAST = 64


class Lane:
    """The barriers of all tokens on one instrument.

    `low`, `high` and `deadline_ms` are the nearest of all; a price inside them, known before the deadline, concerns
    nobody.
    """

    __slots__ = ("_above", "_below", "_deadlines", "_versions", "deadline_ms", "high", "low")

    def __init__(self) -> None:
        self.low, self.high, self.deadline_ms = 0.0, math.inf, math.inf
        self._below: list[tuple[float, int, int]] = []
        self._above: list[tuple[float, int, int]] = []
        self._deadlines: list[tuple[float, int, int]] = []
        self._versions: dict[int, int] = {}

    def arm(self, token: int, below: float, above: float, deadline_ms: float) -> None:
        """Sets a token's barriers and deadline in place of its former ones."""
        version = self._versions.get(token, 0) + 1
        self._versions[token] = version
        self._tidy()
        if below > 0.0:
            heappush(self._below, (-below, token, version))
        if above < math.inf:
            heappush(self._above, (above, token, version))
        if deadline_ms < math.inf:
            heappush(self._deadlines, (deadline_ms, token, version))
        self._settle()

    def crossed(self, price: float, time_ms: int) -> list[int]:
        """Returns the tokens whose barriers or deadline a price reached; they are disarmed until armed anew."""
        found: list[int] = []
        for heap, edge in ((self._below, -price), (self._above, price), (self._deadlines, float(time_ms))):
            strict = heap is not self._deadlines
            while heap and (heap[0][0] < edge if strict else heap[0][0] <= edge):
                _, token, version = heappop(heap)
                if self._versions.get(token) == version:
                    self._versions[token] = version + 1
                    found.append(token)
        self._settle()
        return sorted(found)

    def __len__(self) -> int:
        return len(self._versions)

    def _tidy(self) -> None:
        """Drops what was armed anew from deep within; seldom, so that it costs little."""
        most = max(_SPARE * len(self._versions), _HEAP_LEAST)
        for heap in (self._below, self._above, self._deadlines):
            if len(heap) > most:
                heap[:] = [entry for entry in heap if self._versions.get(entry[1]) == entry[2]]
                heapify(heap)

    def _settle(self) -> None:
        """Drops what was armed anew from the tops, and takes the nearest of each."""
        for heap in (self._below, self._above, self._deadlines):
            while heap and self._versions.get(heap[0][1]) != heap[0][2]:
                heappop(heap)
        self.low = -self._below[0][0] if self._below else 0.0
        self.high = self._above[0][0] if self._above else math.inf
        self.deadline_ms = self._deadlines[0][0] if self._deadlines else math.inf
