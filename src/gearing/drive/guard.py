"""The price guard: which prices of a venue may be acted on.

P1: finite, above zero, fresh by the venue's time and by receipt, not from the future. P2: a jump beyond so many
deviations needs the index as a second source. P3: mark and index apart beyond a bound stop the instrument, until so
many good ones came in a row. P4 follows: an instrument without a good price trades nothing.
"""

from __future__ import annotations

import math

from gearing.core.record import Check, Record

# Below this deviation per √second a quiet market's own rounding would look like a jump.
_LEAST_DEVIATION = 2e-5


class GuardLimits(Record, frozen=True, kw_only=True):
    """Bounds of the price guard.

    Args:
        age_ms_max: a price older than this, by the venue's time or by receipt, is stale.
        ahead_ms_max: a price from further in the future than this is refused.
        jump_deviations: a jump beyond so many deviations of the usual moves needs the index to have jumped too.
        jump_least: a jump smaller than this fraction needs nothing.
        divergence_max: |mark/index − 1| beyond this stops the instrument.
        good_samples: so many good prices in a row start it again.
        memory: of the deviation, in prices.
    """

    age_ms_max: int = 10_000
    ahead_ms_max: int = 2_000
    jump_deviations: float = 12.0
    jump_least: float = 0.02
    divergence_max: float = 0.03
    good_samples: int = 5
    memory: int = 300

    def __post_init__(self) -> None:
        check = Check(self)
        for place in ("age_ms_max", "ahead_ms_max", "good_samples", "memory"):
            check.number(place, 1)
        for place in ("jump_deviations", "jump_least", "divergence_max"):
            check.number(place, 0, strict=True)
        check.done()


class Guard:
    """The guard of one instrument. `why` says why its price is not good; empty: it is."""

    __slots__ = ("_good", "_index", "_limits", "_mark", "_time_ms", "_variance", "received_ms", "why")

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self._mark = self._index = math.nan
        self._time_ms = self.received_ms = 0
        self._variance = 0.0
        self._good = 0
        self.why = "no price yet"

    def admits(self, mark: float, index: float, time_ms: int, now_ms: int) -> bool:
        """Takes a price and returns whether it may be acted on.

        Args:
            mark: the venue's mark.
            index: the underlying's price from elsewhere; NaN: unknown.
            time_ms: the venue's time of it.
            now_ms: when it was received.
        """
        limits = self._limits
        if not 0.0 < mark < math.inf:
            return self._refuse(f"the price is {mark}")
        if now_ms - time_ms > limits.age_ms_max:
            return self._refuse(f"the price is {now_ms - time_ms} ms old")
        if time_ms - now_ms > limits.ahead_ms_max:
            return self._refuse(f"the price is {time_ms - now_ms} ms ahead of its time")
        if time_ms < self._time_ms:
            return False  # an older one that was overtaken says nothing against the newer
        if abs(mark / index - 1.0) > limits.divergence_max:  # false for an unknown index
            return self._refuse(f"mark {mark:g} and index {index:g} are apart")
        if not math.isnan(self._mark):
            move = math.log(mark / self._mark)
            if abs(move) > limits.jump_least and self._is_jump(move, index, time_ms):
                return self._refuse(f"the price jumped from {self._mark:g} to {mark:g}, and nothing confirms it")
            self._learn(move, time_ms)
        self._mark, self._index, self._time_ms, self.received_ms = mark, index, time_ms, now_ms
        if self.why:
            self._good += 1
            if self._good < limits.good_samples and self.why != "no price yet":
                return False
            self.why = ""
        return True

    def is_stale(self, now_ms: int) -> bool:
        """Returns whether the last good price is too old to act on."""
        return now_ms - self.received_ms > self._limits.age_ms_max

    def _is_jump(self, move: float, index: float, time_ms: int) -> bool:
        seconds = max((time_ms - self._time_ms) / 1000.0, 1.0)
        usual = max(math.sqrt(self._variance), _LEAST_DEVIATION) * math.sqrt(seconds)
        if abs(move) <= self._limits.jump_deviations * usual:
            return False
        # The index is the second source: it must be known before and now, and have gone at least half the way.
        known = not (math.isnan(index) or math.isnan(self._index))
        return not (known and math.log(index / self._index) / move > 0.5)

    def _learn(self, move: float, time_ms: int) -> None:
        seconds = max((time_ms - self._time_ms) / 1000.0, 1e-3)
        self._variance += (move * move / seconds - self._variance) / self._limits.memory

    def _refuse(self, why: str) -> bool:
        self.why, self._good = why, 0
        return False
