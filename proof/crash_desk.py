"""The desk that the crash harness kills: a small one, in a process of its own, on a market that waits for it.

The market is a script of moments. The next one comes only when the desk is quiet: no order lives, nothing is to be
asked, every settlement is booked, every holder is answered and dealt with, all cash is where it belongs. So what it
does does not hang on how quick it is, and a run that was killed and started again has to end like one that was not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.desk.inbox import Inbox
from gearing.desk.keeper import Answers, Keeper, Rows, StoreKeeper
from gearing.desk.requests import encode
from gearing.drive.effects import Effects
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.errors import BusyError, FencedError
from gearing.store.records import OutboxChange, OutboxRow
from gearing.store.store import Store
from gearing.store.writer import Writer
from gearing.venues.paper import requests as rq
from gearing.venues.paper.asking import Asking
from gearing.venues.paper.client import PaperClient
from gearing.venues.paper.records import Rate
from gearing.venues.protocol import Quote, Report
from proof import crash_script as script
from proof.crash_holders import asked

FENCED, BUSY = 3, 4
# Market seconds per second of the world: a desk that is stopped for a minute is still before the script's next moment.
_SPEED = 15.0
_RECONCILE_MS = 1_500
_PAUSE_S = 0.002
AMID = "commit.amid"

# What a commit holds, by a mark of it in the bytes of its lines.
_LINES = {
    "dealing": b'"event":"dealing_begun"', "matched": b'"event":"flow_matched"',
    "settled": b'"event":"dealing_settled"', "cash": b'"event":"cash_moved"', "given": b'"event":"received"',
    "fill": b'"event":"traded"', "end": b'"event":"order_closed"', "funding": b'"event":"funding_settled"',
    "reconcile": b'"event":"reconciled"', "nav": b'"event":"nav_struck"',
}  # fmt: skip
_ASKED: dict[type, str] = {
    rq.Place: "send", rq.Query: "query", rq.Fills: "fills", rq.GetStatement: "statement", rq.Payments: "payments",
    rq.ForcedTrades: "forced", rq.Unasked: "unasked", rq.Transfer: "transfer",
}  # fmt: skip


class StepClock(ScaledClock):
    """A clock that runs fast, and jumps to the next step of the script.

    Args:
        now_ms: the market's time now.
    """

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms, _SPEED)

    def jump(self, to_ms: int) -> None:
        """Goes to a time; never back."""
        self._start_ms = max(self.now_ms(), to_ms)
        self._began = asyncio.get_running_loop().time()


class Boundaries:
    """The boundaries a process passes: each is noted with the time, and at one of them a signal ends or stops it.

    Args:
        trace: the file they are noted in.
        clock: the market's time.
        at: name and number of the fatal one; empty: there is none.
        signum: what is sent there.
        lock: held while the store commits. Who stops in the middle of that keeps the database from everybody, so
            elsewhere it is waited for.
    """

    def __init__(self, trace: Path, clock: Callable[[], int], at: str, signum: int, lock: threading.Lock) -> None:
        self._lock = lock
        name, _, number = at.partition(":")
        self._fatal, self._signum, self._clock = (name, int(number or 1)), signum, clock
        self._passed: Counter[str] = Counter()
        self._last_ms = 0
        self._file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def reach(self, name: str) -> None:
        """Notes a boundary; whoever is to die there does."""
        self._passed[name] += 1
        if threading.current_thread() is threading.main_thread():  # the clock is the loop's
            self._last_ms = self._clock()
        os.write(self._file, f"{name} {self._last_ms}\n".encode())
        if (name, self._passed[name]) != self._fatal:
            return
        if self._signum == signal.SIGSTOP and name != AMID:
            with self._lock:
                os.kill(os.getpid(), self._signum)
        else:
            os.kill(os.getpid(), self._signum)


class WatchedKeeper:
    """A keeper that passes boundaries around each commit, by what it holds."""

    def __init__(self, keeper: Keeper, bounds: Boundaries) -> None:
        self._keeper, self._bounds = keeper, bounds

    async def keep(self, effects: Effects | None, rows: Rows = (), answers: Answers = ()) -> None:
        """See `Keeper`."""
        bodies = [line.body for line in effects.lines] if effects else []
        names = [name for name, mark in _LINES.items() if any(mark in body for body in bodies)]
        if any(isinstance(row, OutboxRow) for row in rows):
            names.append("decision")
        if any(isinstance(row, OutboxChange) and row.status == "sending" for row in rows):
            names.append("sending")
        if answers:
            names.append("answer")
        for name in names:
            self._bounds.reach(f"{name}.before")
        await self._keeper.keep(effects, rows, answers)
        for name in names:
            self._bounds.reach(f"{name}.after")


class WatchedVenue(Asking):
    """A venue that passes boundaries around each request: before it, once it is on its way, once it is answered."""

    def __init__(self, client: PaperClient, bounds: Boundaries) -> None:
        super().__init__(client.account, script.VISIBILITY_MS)
        self._client, self._bounds = client, bounds

    async def ask(self, request: rq.Request) -> Any:
        """See `Asking`."""
        name = _ASKED.get(type(request), "other")
        self._bounds.reach(f"{name}.before")
        asking = asyncio.ensure_future(self._client.ask(request))
        await asyncio.sleep(0)  # it is connected, so by now the request is in the socket
        self._bounds.reach(f"{name}.sent")
        try:
            return await asking
        finally:
            self._bounds.reach(f"{name}.answered")

    def quotes(self, symbols: list[str]) -> AsyncIterator[Quote]:
        """See `Venue`."""
        return self._client.quotes(symbols)

    def reports(self) -> AsyncIterator[Report]:
        """See `Venue`."""
        return self._client.reports()


class Desk:
    """One life of the desk.

    Args:
        place: the directory of database, socket and trace.
        first: the step it begins with, which may have been given to a former life already.
        now_ms: the market's time now.
        at, signum: see `Boundaries`.
        store: of its database.
    """

    def __init__(self, place: Path, first: int, now_ms: int, at: str, signum: int, store: Store) -> None:
        self.place, self.first, self.store = place, first, store
        self.clock = StepClock(now_ms)
        self.bounds = Boundaries(place / "trace", self.clock.now_ms, at, signum, store._lock)
        self.control = PaperClient(place / "s", "control")

    async def live(self, writer: Writer) -> None:
        """Lives until the script has ended.

        Raises:
            FencedError: another desk has taken over.
        """
        store = self.store
        store.take_over()
        store.appender.connection.set_trace_callback(self._traced)
        market = Market(GuardLimits(age_ms_max=script.STEP_MS))
        booted = boot(store, market, window_ms=script.WINDOW_MS, visibility_ms=script.VISIBILITY_MS,
                      now_ms=self.clock.now_ms(), on_deleveraging="rehedge")  # fmt: skip
        venues: dict[str, Any] = {}
        for name in booted.driver.books:
            client = PaperClient(self.place / "s", name, clock=self.clock.now_ms)
            await client.instruments()  # so that it is connected
            venues[name] = WatchedVenue(client, self.bounds)
        keeper = WatchedKeeper(StoreKeeper(writer), self.bounds)
        self.engine = Engine(booted.driver, booted.outbox, venues, keeper, self.clock, reconcile_ms=_RECONCILE_MS)
        inbox = Inbox(self.engine, store)
        self.done = asyncio.Event()
        running = asyncio.ensure_future(self.engine.run(self.feed, [inbox.run]))
        ticking = asyncio.ensure_future(self.tick())
        ending = asyncio.ensure_future(self.done.wait())
        await asyncio.wait({running, ending, ticking}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        running.cancel()
        ticking.cancel()
        ending.cancel()
        await asyncio.gather(running, ticking, ending, return_exceptions=True)

    async def tick(self) -> None:
        """Lets the exchange's time go on, so that what it does later, it does."""
        while True:
            with contextlib.suppress(TimeoutError):  # who was stopped meanwhile asks again
                await self.control.control(rq.Advance(now_ms=self.clock.now_ms()))
            await asyncio.sleep(_PAUSE_S)

    async def feed(self) -> None:
        """Gives the desk the script, step by step."""
        for symbol, rate in script.RATES.items():
            settled = Rate(symbol=symbol, settlement_ms=script.SETTLEMENT_MS, rate=rate)
            await self.tell(rq.SetRate(rate=settled))
        for number in range(self.first, script.MOMENTS):
            self.bounds.reach(f"step{number}")
            # The exchange gets the prices before the time, so that it settles at them and not at those before.
            await self.tell(rq.TakeQuotes(quotes=script.quotes(number)))
            self.clock.jump(script.time_of(number))
            if script.time_of(number) >= script.SETTLEMENT_MS:
                await self.until(self.is_funded)
            await self.price(script.quotes(number))
            await self.until(self.is_quiet)
            step, place = divmod(number, len(script.AFTER_MS))
            if place == 1:
                await self.ask(step)
                await self.until(self.is_quiet)
            while place == 2 and self.has_requests():
                self.clock.jump(self.clock.now_ms() + script.AGAIN_MS)
                await self.price(script.quotes(number, self.clock.now_ms()))
                await self.until(self.is_quiet)
            await self.until(self.is_settled)
        self.done.set()

    async def price(self, quotes: Sequence[Quote]) -> None:
        """Gives the desk prices, which it has to admit."""
        await self.engine.on_quotes(quotes)
        if bad := [why for quote in quotes if (why := self.engine.driver.market.why_not(quote.symbol))]:
            raise RuntimeError(f"a price of the script was not admitted: {bad}")

    async def tell(self, what: rq.SetRate | rq.TakeQuotes) -> None:
        """Tells the exchange something that it takes once; who was stopped meanwhile tells it again."""
        while True:
            with contextlib.suppress(TimeoutError):
                await self.control.control(what)
                return

    async def ask(self, step: int) -> None:
        """Puts what holders ask at a step into the inbox, as their own processes would, and waits for the answers."""
        numbers = []
        for key, wanted in asked(step):
            self.bounds.reach("ask.before")
            numbers.append(self.store.ask(f"holder:{wanted.holder}", key, encode(wanted)).number)
            self.bounds.reach("ask.after")
        await self.until(lambda: all(self.store.answer(number) is not None for number in numbers))

    def is_funded(self) -> bool:
        """Returns whether the settlement is booked on everything held."""
        legs = [leg for token in self.engine.driver.tokens for leg in token.state.legs if leg.lots]
        return all(leg.funded_ms >= script.SETTLEMENT_MS for leg in legs)

    def is_quiet(self) -> bool:
        """Returns whether nothing is under way."""
        return not len(self.engine.outbox) and not any(b.state.live for b in self.engine.driver.books.values())

    def has_requests(self) -> bool:
        """Returns whether anything that holders asked waits."""
        return any(holder.state.requests for holder in self.engine.driver.primary.holders.values())

    def is_settled(self) -> bool:
        """Returns whether nothing is under way, and all cash was moved."""
        moves = self.engine.moves
        return self.is_quiet() and all(moves.is_done(book) for book in self.engine.driver.books.values())

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until something holds."""
        while not holds():
            await asyncio.sleep(_PAUSE_S)

    def _traced(self, statement: str) -> None:
        """A statement is about to be carried out: before COMMIT all of a transaction is written, and none of it stands.

        It is the writer's thread that passes here.
        """
        if statement == "COMMIT":
            self.bounds.reach(AMID)


def main() -> int:
    """Lives once; returns 0 if the script ended, 3 if another desk has taken over, 4 if one holds the database."""
    parser = argparse.ArgumentParser(prog="python -m proof.crash_desk", description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--now", type=int, required=True)
    parser.add_argument("--at", default="")
    parser.add_argument("--stop", action="store_true", help="be stopped there, not killed")
    given = parser.parse_args()

    async def lived() -> None:
        signum = signal.SIGSTOP if given.stop else signal.SIGKILL
        with Store(given.place / "desk.db", "paper") as store, Writer(store) as writer:
            await Desk(given.place, given.first, given.now, given.at, signum, store).live(writer)

    try:
        asyncio.run(lived())
    except FencedError as error:
        print(f"fenced: {error}", file=sys.stderr)
        return FENCED
    except BusyError as error:
        print(f"busy: {error}", file=sys.stderr)
        return BUSY
    return 0


if __name__ == "__main__":
    sys.exit(main())
