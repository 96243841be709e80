"""The guarded prices of every instrument, and which tokens a price concerns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from gearing.core.watch import Watch
from gearing.drive.barriers import Lane
from gearing.drive.guard import Guard, GuardLimits
from gearing.venues.protocol import Quote

# How long a funding period is where no settlement of a day before is known.
_DAY_MS, _FUNDING_MS = 86_400_000, 28_800_000


class Prices(NamedTuple):
    """The prices of a token's legs: the marks, when the last of them was known, and when the one before."""

    marks: tuple[float, ...]
    time_ms: int
    before_ms: int
    volumes: tuple[float, ...]


class _Instrument:
    __slots__ = ("before_ms", "funding_ms", "funding_rate", "guard", "lane", "mark", "time_ms", "volume")

    def __init__(self, limits: GuardLimits) -> None:
        self.guard, self.lane = Guard(limits), Lane()
        self.mark, self.volume = math.nan, 0.0
        self.time_ms = self.before_ms = self.funding_ms = 0
        self.funding_rate = 0.0


class Market:
    """The last good price of each instrument.

    Args:
        limits: of the price guard.
    """

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self._instruments: dict[str, _Instrument] = {}
        self._now_ms = 0

    def list_token(self, number: int, symbols: tuple[str, ...]) -> None:
        """Makes the instruments of a token known."""
        for symbol in symbols:
            self._instruments.setdefault(symbol, _Instrument(self._limits))

    def take(self, quote: Quote, now_ms: int) -> list[int]:
        """Takes a price; returns the tokens it concerns."""
        it = self._instruments.get(quote.symbol)
        if it is None:
            it = self._instruments.setdefault(quote.symbol, _Instrument(self._limits))
        self._now_ms = now_ms
        mark, time_ms = quote.mark, quote.time_ms
        if not it.guard.admits(mark, quote.index, time_ms, now_ms):
            return []
        if time_ms != it.time_ms:
            it.before_ms = it.time_ms or time_ms
        it.mark, it.time_ms, it.volume = mark, time_ms, quote.volume_24h
        it.funding_rate, it.funding_ms = quote.funding_rate, quote.funding_ms
        lane = it.lane
        if lane.low <= mark <= lane.high and time_ms < lane.deadline_ms:
            return []
        return lane.crossed(mark, time_ms)

    def disarm(self, number: int, symbols: Iterable[str]) -> None:
        """Takes a token's barriers off instruments that it holds no longer."""
        for symbol in symbols:
            self._instruments[symbol].lane.arm(number, 0.0, math.inf, math.inf)

    def arm(self, number: int, symbols: tuple[str, ...], horizon: Watch, nav_due_ms: float) -> None:
        """Sets a token's barriers on each of its instruments."""
        deadline = min(horizon.deadline_ms, nav_due_ms)
        for symbol, below, above in zip(symbols, horizon.below, horizon.above, strict=True):
            self._instruments[symbol].lane.arm(number, below, above, deadline)

    def price(self, symbol: str) -> float:
        """Returns the last good mark of an instrument; NaN if there is none."""
        it = self._instruments.get(symbol)
        return math.nan if it is None else it.mark

    def prices(self, symbols: tuple[str, ...]) -> Prices | None:
        """Returns the prices of a token's legs, or None if one of them is not good (P4), or came too long ago (P1)."""
        its = [self._instruments[symbol] for symbol in symbols]
        if any(it.guard.why or it.guard.is_stale(self._now_ms) for it in its):
            return None
        now_ms = max(it.time_ms for it in its)
        if any(now_ms - it.time_ms > self._limits.age_ms_max for it in its):
            return None  # one leg is priced, another has not been for too long (P1)
        before_ms = max(it.time_ms if it.time_ms < now_ms else it.before_ms for it in its)
        return Prices(tuple(it.mark for it in its), now_ms, before_ms, tuple(it.volume for it in its))

    def run_up(self, symbol: str, since_ms: int, now_ms: int) -> float:
        """Returns the part of the predicted funding rate that has run up since the last settlement; 0 if unknown.

        Args:
            symbol: of the instrument.
            since_ms: the last settlement that was booked; one that is long ago is not taken for the last.
            now_ms: the time.
        """
        it = self._instruments.get(symbol)
        if it is None or not it.funding_rate or it.funding_ms <= now_ms:
            return 0.0
        length_ms = it.funding_ms - since_ms
        if length_ms > _DAY_MS:
            length_ms = _FUNDING_MS
        return it.funding_rate * max(1.0 - (it.funding_ms - now_ms) / length_ms, 0.0)

    def age_ms(self, symbol: str, now_ms: int) -> int:
        """Returns how long ago the last good price of an instrument was received; since ever if there was none."""
        it = self._instruments.get(symbol)
        return now_ms if it is None else now_ms - it.guard.received_ms

    def is_good(self, symbols: tuple[str, ...], now_ms: int) -> bool:
        """Returns whether every one of these instruments has a price that may be acted on now (P4)."""
        return all(
            not (it.guard.why or it.guard.is_stale(now_ms)) for it in (self._instruments[symbol] for symbol in symbols)
        )

    def why_not(self, symbol: str) -> str:
        """Returns why an instrument has no good price; empty if it has one."""
        it = self._instruments.get(symbol)
        return "no price yet" if it is None else it.guard.why

    def lane(self, symbol: str) -> Lane:
        """Returns the barriers on an instrument."""
        return self._instruments[symbol].lane
