"""The price guard: which prices of a venue may be acted on.

P1: finite, above zero, fresh by the venue's time and by receipt, not from the future. P2: a jump beyond so many
deviations needs the index as a second source. P3: mark and index apart beyond a bound stop the instrument, until so
many good ones came in a row. P4 follows: an instrument without a good price trades nothing.
"""

from __future__ import annotations

import math

from gearing.core.record import Check, Record
from gearing.venues.protocol import Quote

# Below this deviation per √second a quiet market's own rounding would look like a jump.
_LEAST_DEVIATION = 2e-5
# The deviation is learnt from moves of a second or more: within one, a price that flickers between bid and ask would
# look wild.
_SAMPLE_MS = 1_000
_NO_PRICE = "no price yet"
_NEVER = Quote(symbol="", time_ms=0, mark=math.nan, index=math.nan)


class GuardLimits(Record, frozen=True, kw_only=True):
    """Bounds of the price guard.

    Args:
        age_ms_max: a price older than this, by the venue's time or by receipt, is stale.
        ahead_ms_max: a price from further in the future than this is refused.
        jump_deviations: a jump beyond so many deviations of the usual moves needs the index to have jumped too.
        jump_least: a jump smaller than this fraction needs nothing.
        divergence_max: |mark/index − 1| beyond this stops the instrument.
        good_samples: so many good prices in a row start it again.
        memory: of the deviation, in moves of a second or more.
        warm_ms: prices have to have come for so long before anything is quoted, dealt at once or crossed by them.
    """

    age_ms_max: int = 10_000
    ahead_ms_max: int = 2_000
    jump_deviations: float = 12.0
    jump_least: float = 0.02
    divergence_max: float = 0.03
    good_samples: int = 5
    memory: int = 300
    warm_ms: int = 10_000

    def __post_init__(self) -> None:
        check = Check(self)
        for place in ("age_ms_max", "ahead_ms_max", "good_samples", "memory"):
            check.number(place, 1)
        check.number("warm_ms", 0)
        for place in ("jump_deviations", "jump_least", "divergence_max"):
            check.number(place, 0, strict=True)
        check.done()


class Guard:
    """The guard of one instrument.

    `good` is the last price that may be acted on; its mark is NaN if there was none. `before_ms` is the time of the one
    before, `received_ms` when it came. `why` says why nothing may be acted on now; empty: something may.
    """

    __slots__ = (
        "_age_ms", "_ahead_ms", "_down", "_far", "_last", "_learn_ms", "_learnt", "_limits", "_near", "_samples", "_up",
        "_variance", "before_ms", "good", "received_ms", "why",
    )  # fmt: skip

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self.good = self._last = self._learnt = _NEVER
        self.before_ms = self.received_ms = 0
        self._variance = 0.0
        self._samples = self._learn_ms = 0
        self.why = _NO_PRICE
        self._age_ms, self._ahead_ms = limits.age_ms_max, -limits.ahead_ms_max
        # A move of half the least jump and half the largest divergence are let through without a closer look.
        least, apart = min(limits.jump_least, 1.0) / 2.0, min(limits.divergence_max, 1.0) / 2.0
        self._down, self._up = math.exp(-least), math.exp(least)
        self._near, self._far = 1.0 - apart, 1.0 + apart

    def admits(self, quote: Quote, now_ms: int) -> bool:
        """Takes a price and returns whether it may be acted on.

        Args:
            quote: the price.
            now_ms: when it was received.
        """
        last, mark, index, time_ms = self._last, quote.mark, quote.index, quote.time_ms
        # All that `_examine` asks of a price holds for one as ordinary as this.
        if (
            last.time_ms < time_ms
            and self._down * last.mark <= mark <= self._up * last.mark
            and self._near * index <= mark <= self._far * index
            and self._ahead_ms <= now_ms - time_ms <= self._age_ms
            and not self.why
        ):
            self.before_ms = last.time_ms
        elif self._examine(quote, now_ms):
            if time_ms != self.good.time_ms:
                self.before_ms = self.good.time_ms or time_ms
        else:
            return False
        self.good = self._last = quote
        self.received_ms = now_ms
        if time_ms >= self._learn_ms:
            self._learn(quote)
        return True

    def is_stale(self, now_ms: int) -> bool:
        """Returns whether the last price that was not refused came too long ago to act on."""
        return now_ms - self.received_ms > self._age_ms

    def _examine(self, quote: Quote, now_ms: int) -> bool:
        """Returns whether a price may be acted on; one that may be so only after others like it is kept in mind."""
        limits, last = self._limits, self._last
        mark, index, time_ms = quote.mark, quote.index, quote.time_ms
        if not 0.0 < mark < math.inf:
            return self._refuse(f"the price is {mark}")
        if now_ms - time_ms > limits.age_ms_max:
            return self._refuse(f"the price is {now_ms - time_ms} ms old")
        if time_ms - now_ms > limits.ahead_ms_max:
            return self._refuse(f"the price is {time_ms - now_ms} ms ahead of its time")
        if time_ms < last.time_ms:
            return False  # an older one that was overtaken says nothing against the newer
        if not math.isnan(index) and not abs(mark - index) <= limits.divergence_max * index < math.inf:
            return self._refuse(f"mark {mark:g} and index {index:g} are apart")
        if abs(math.log(mark / last.mark)) > limits.jump_least and self._is_jump(quote):  # false for the first price
            return self._refuse(f"the price jumped from {last.mark:g} to {mark:g}, and nothing confirms it")
        if self.why:
            self._samples += 1
            if self._samples < limits.good_samples and self.why != _NO_PRICE:
                self._last, self.received_ms = quote, now_ms
                return False
            self.why = ""
        return True

    def _is_jump(self, quote: Quote) -> bool:
        last = self._last
        move = math.log(quote.mark / last.mark)
        seconds = max((quote.time_ms - last.time_ms) / 1000.0, 1.0)
        usual = max(math.sqrt(self._variance), _LEAST_DEVIATION) * math.sqrt(seconds)
        if abs(move) <= self._limits.jump_deviations * usual:
            return False
        # The index is the second source: it must be known before and now, and have gone at least half the way.
        known = not (math.isnan(quote.index) or math.isnan(last.index))
        return not (known and math.log(quote.index / last.index) / move > 0.5)

    def _learn(self, quote: Quote) -> None:
        learnt, self._learnt, self._learn_ms = self._learnt, quote, quote.time_ms + _SAMPLE_MS
        if learnt is not _NEVER:
            move = math.log(quote.mark / learnt.mark)
            seconds = (quote.time_ms - learnt.time_ms) / 1000.0
            self._variance += (move * move / seconds - self._variance) / self._limits.memory

    def _refuse(self, why: str) -> bool:
        self.why, self._samples = why, 0
        return False
