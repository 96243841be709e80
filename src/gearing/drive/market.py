"""The guarded prices of every instrument, and which tokens a price concerns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gearing.core.watch import Watch
from gearing.drive.averages import Average, MarkAverage
from gearing.drive.barriers import Lane
from gearing.drive.fair import FairPrice
from gearing.drive.guard import Guard, GuardLimits
from gearing.drive.schedule import FundingSchedule, Settlement
from gearing.venues.protocol import Quote


class Prices(NamedTuple):
    """The prices of a token's legs: the marks, when the last of them was known, and when the one before."""

    marks: tuple[float, ...]
    time_ms: int
    before_ms: int
    volumes: tuple[float, ...]


class _Instrument:
    __slots__ = ("averages", "fair", "guard", "lane", "received", "schedule")

    def __init__(self, limits: GuardLimits) -> None:
        self.guard, self.fair = Guard(limits), FairPrice(limits.warm_ms)
        self.lane, self.schedule = Lane(), FundingSchedule()
        self.received = 0  # the number of the last good price, among all that came
        self.averages: dict[int, MarkAverage] = {}  # that are running, by token


class Market:
    """The last good price of each instrument.

    Args:
        limits: of the price guard.

    Attributes:
        now_ms: when the last price came, by the desk's clock.
        received: how many prices came so far.
        price_age_ms_max: a price older than this is stale.
    """

    def __init__(self, limits: GuardLimits) -> None:
        self._limits, self.price_age_ms_max = limits, limits.age_ms_max
        self._instruments: dict[str, _Instrument] = {}
        self.now_ms = self.received = 0

    def list_token(self, number: int, symbols: tuple[str, ...]) -> None:
        """Makes the instruments of a token known."""
        for symbol in symbols:
            self._instruments.setdefault(symbol, _Instrument(self._limits))

    def take(self, quote: Quote, now_ms: int) -> Sequence[int]:
        """Takes a price; returns the tokens it concerns."""
        self.now_ms = now_ms
        self.received += 1
        try:
            it = self._instruments[quote.symbol]
        except KeyError:
            it = self._instruments[quote.symbol] = _Instrument(self._limits)
        before = it.guard.good
        if not it.guard.admits(quote, now_ms):
            return ()
        it.received = self.received
        it.fair.take(quote)
        if quote.funding_ms != it.schedule.next_ms:
            it.schedule.announce(before, quote)
        if it.averages:
            for average in it.averages.values():
                average.take(quote, now_ms)
        mark, time_ms, lane = quote.mark, quote.time_ms, it.lane
        if lane.low <= mark <= lane.high and time_ms < lane.deadline_ms:
            return ()
        return lane.crossed(mark, time_ms)

    def disarm(self, number: int, symbols: Iterable[str]) -> None:
        """Takes a token's barriers and averages off instruments that it holds no longer."""
        for symbol in symbols:
            self._instruments[symbol].lane.arm(number, 0.0, math.inf, math.inf)
        self.end_averages(number, symbols)

    def arm(self, number: int, symbols: tuple[str, ...], horizon: Watch, nav_due_ms: float) -> None:
        """Sets a token's barriers on each of its instruments."""
        deadline = min(horizon.deadline_ms, nav_due_ms)
        for symbol, below, above in zip(symbols, horizon.below, horizon.above, strict=True):
            self._instruments[symbol].lane.arm(number, below, above, deadline)

    def price(self, symbol: str) -> float:
        """Returns the last good mark of an instrument; NaN if there is none."""
        it = self._instruments.get(symbol)
        return math.nan if it is None else it.guard.good.mark

    def fair(self, symbol: str) -> float:
        """Returns the fair price of an instrument, see `FairPrice`; NaN if there is none."""
        it = self._instruments.get(symbol)
        return math.nan if it is None else it.fair.price

    def prices(self, symbols: tuple[str, ...], time_ms: int | None = None) -> Prices | None:
        """Returns the prices of a token's legs, or None if one of them is not good (P4), or came too long ago (P1).

        Args:
            symbols: of the instruments.
            time_ms: when they are asked for, by the desk's clock; None: when the last price came.
        """
        guards, asked_ms = [], self.now_ms if time_ms is None else max(time_ms, self.now_ms)
        for symbol in symbols:
            guard = self._instruments[symbol].guard
            if guard.why or guard.is_stale(asked_ms):
                return None
            guards.append(guard)
        now_ms, before_ms = max(guard.good.time_ms for guard in guards), 0
        for guard in guards:
            time_ms = guard.good.time_ms
            if now_ms - time_ms > self._limits.age_ms_max:
                return None  # one leg is priced, another has not been for too long (P1)
            before_ms = max(before_ms, time_ms if time_ms < now_ms else guard.before_ms)
        marks, volumes = [guard.good.mark for guard in guards], [guard.good.volume_24h for guard in guards]
        return Prices(tuple(marks), now_ms, before_ms, tuple(volumes))

    def is_known_since(self, symbols: tuple[str, ...], time_ms: int, received: int) -> bool:
        """Returns whether the last good price of each instrument was made after a time, and came after some others.

        Args:
            symbols: of the instruments.
            time_ms: by the clock of whoever made the prices.
            received: how many prices had come then; a venue's clock may be ahead of the desk's.
        """
        found = [self._instruments[symbol] for symbol in symbols]
        return all(it.guard.good.time_ms > time_ms and it.received > received for it in found)

    def accrued_rate(self, symbol: str, since_ms: int, now_ms: int) -> float:
        """Returns the part of the predicted funding rate that has accrued since the last settlement; 0 if unknown.

        Args:
            symbol: of the instrument.
            since_ms: the last settlement that was booked.
            now_ms: the time.
        """
        it = self._instruments.get(symbol)
        return 0.0 if it is None else it.schedule.accrued_rate(it.guard.good, since_ms, now_ms)

    def last_settlement(self, symbol: str, now_ms: int) -> Settlement:
        """Returns the last funding settlement of an instrument; its time is 0 if none is known."""
        it = self._instruments.get(symbol)
        return Settlement(0, None) if it is None else it.schedule.last(it.guard.good, now_ms)

    def next_settlement_ms(self, symbol: str, now_ms: int) -> float:
        """Returns the next funding settlement of an instrument after a time; ∞ if none is known."""
        it = self._instruments.get(symbol)
        return math.inf if it is None else it.schedule.following_ms(now_ms)

    def set_interval(self, symbol: str, interval_ms: int) -> None:
        """Sets how often an instrument settles funding, by the venue's rules; 0: never."""
        self._instruments.setdefault(symbol, _Instrument(self._limits)).schedule.interval_ms = interval_ms

    def funding_interval_ms(self, symbol: str) -> int:
        """Returns how often an instrument settles funding, by the venue's rules; 0: never, or unknown."""
        it = self._instruments.get(symbol)
        return 0 if it is None else it.schedule.interval_ms

    def begin_averages(self, number: int, symbols: Iterable[str], since_ms: int) -> None:
        """Begins to average a token's instruments from a time on, unless they are averaged from then on already.

        Args:
            number: the token's.
            symbols: its instruments.
            since_ms: when the averages begin.
        """
        for symbol in symbols:
            it = self._instruments[symbol]
            if number not in it.averages or it.averages[number].since_ms != since_ms:
                it.averages[number] = MarkAverage(since_ms)
                it.averages[number].take(it.guard.good, it.guard.received_ms)

    def averages(self, number: int, symbols: Iterable[str], now_ms: int) -> list[Average]:
        """Returns a token's averages so far, one for each of its instruments; they have begun."""
        return [self._instruments[symbol].averages[number].up_to(now_ms, self.now_ms) for symbol in symbols]

    def end_averages(self, number: int, symbols: Iterable[str]) -> None:
        """Ends a token's averages."""
        for symbol in symbols:
            self._instruments[symbol].averages.pop(number, None)

    def divergence(self, symbols: Iterable[str]) -> float:
        """Returns the largest |mark/index − 1| of instruments at their last good prices.

        ∞ where an index is missing that should be there, 0 where there is none.
        """
        return max(self._instruments[symbol].fair.divergence for symbol in symbols)

    def is_known(self, symbols: Iterable[str]) -> bool:
        """Returns whether prices of instruments have come for so long that their fair prices are known."""
        return all(self._instruments[symbol].fair.is_known for symbol in symbols)

    def agrees(self, symbol: str, within: float) -> bool:
        """Returns whether mark, index and fair price of an instrument are the same, but for a fraction."""
        it = self._instruments[symbol]
        return it.fair.agrees(it.guard.good.mark, within)

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
