"""The desk as a whole: its database, its paper exchange, its feed, and whoever listens to it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.desk.flows import Flows
from gearing.desk.happenings import Differing, Happening, alarm, happenings
from gearing.desk.inbox import Inbox
from gearing.desk.invented import HoldersAtWork, InventedHolders
from gearing.desk.keeper import StoreKeeper
from gearing.desk.lock import DeskLock
from gearing.desk.logs import DeskLog
from gearing.desk.measures import Measures, TimedKeeper
from gearing.desk.past import begin, unlaunched
from gearing.desk.planned import VISIBILITY_MS, Planned
from gearing.desk.pump import PumpedHub
from gearing.desk.requests import Answered, Deal
from gearing.desk.view import DeskView
from gearing.desk.watchdog import Watchdog
from gearing.drive.effects import Effects
from gearing.drive.market import Market
from gearing.drive.tally import Tally
from gearing.errors import StorageError
from gearing.store.anchor import Anchor
from gearing.store.append import refusal
from gearing.store.database import init_database, read_meta
from gearing.store.errors import FencedError
from gearing.store.store import Store
from gearing.store.writer import Writer
from gearing.venues.paper import requests as rq
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.file import PaperFile
from gearing.venues.paper.records import Rate
from gearing.venues.paper.venue import PaperVenue
from gearing.venues.protocol import Venue

_TOLD_MS = 9 * 3_600_000
_AGAIN_S = 1.0
_FAILURES_MAX = 5
_HAPPENINGS = 200
# Orders come with every rebalance, which is told as a whole.
_LOGGED_ONLY = frozenset({"order_placed", "funding_settled"})


def prepare(
    plan: Planned, progress: Callable[[int, int], None], anchor: Anchor | None = None, lock: DeskLock | None = None
) -> int:  # fmt: skip
    """Makes the database if there is none, and launches what the journal does not know yet.

    Args:
        plan: the desk.
        progress: is told how far a new demo's past has come: (done, of).
        anchor: signs the journal's heads; None: none are signed.
        lock: on the database, which it holds as soon as there is one.

    Returns:
        The market's time of the last line; 0 for a desk that begins now.

    Raises:
        InputError: the database is of another mode, or cannot be used.
    """
    if not plan.database.exists():
        init_database(plan.database, plan.config.mode, time.time_ns() // 1_000_000)
    if lock is not None:
        lock.hold()
    with Store(plan.database, plan.config.mode, anchor) as store:
        last_ms = store.last_ms()
        begin(plan, store, last_ms, progress)
    return last_ms


class Desk:
    """A desk that runs.

    Args:
        plan: what it was told.
        last_ms: the market's time of the journal's last line; 0: it begins.
        log: where it writes.
        hear: is told what happens.
        anchor: signs the journal's heads; None: none are signed.
    """

    def __init__(
        self, plan: Planned, last_ms: int, log: DeskLog, hear: Callable[[Happening], None],
        anchor: Anchor | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.log, self._hear, self._anchor = plan, log, hear, anchor
        self.happenings: deque[Happening] = deque(maxlen=_HAPPENINGS)
        self.tally = Tally()
        self.flows = Flows()
        self.measures = Measures(self.tally)
        self._last_ms = last_ms
        self._engine: Engine | None = None
        self._watchdog: Watchdog | None = None
        self._exchange_failed = False
        self._stands_s: float | None = None  # since when the machine's storage has stood against it
        self._differing = Differing()
        self._lines = 0  # in the journal, of all streams
        self._names: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until it is told to stop, or its feed ends.

        Raises:
            FencedError: another desk writes into its journal.
            Exception: it failed again and again; the last failure.
        """
        plan = self.plan
        self._open_exchange(begun=not plan.new_exchange)
        # Market time never goes back, neither in the journal nor at the exchange.
        self.clock = ScaledClock(max(self._last_ms, self._exchange.now_ms, plan.start_ms), plan.pace.speed)
        self._told_ms = self.clock.now_ms()
        try:
            if plan.config.metrics_port:
                self.measures.serve(plan.config.metrics_port)
            await self._run_often(stop)
        finally:
            self._exchange.close()

    def _open_exchange(self, *, begun: bool) -> None:
        file = PaperFile(self.plan.paper_file, owner=read_meta(self.plan.database).database, begun=begun)
        self._exchange = PaperExchange(self.plan.setup(), file)

    async def _run_often(self, stop: asyncio.Event) -> None:
        """Runs; after a failure it begins anew from what is durable."""
        failures = 0
        while not stop.is_set():
            began_s = time.monotonic()
            try:
                await self._run_at_exchange(stop)
            except FencedError:
                raise
            except Exception as error:
                if await self._waits(error):
                    continue
                self.log.failed("the desk begins anew from what is durable", error)
                self._note(alarm(f"the desk begins anew: {error}", self.clock.now_ms(), *self._names))
                failures = 1 if time.monotonic() - began_s > 60.0 else failures + 1
                if failures >= _FAILURES_MAX:
                    raise
                await asyncio.sleep(_AGAIN_S)

    async def _waits(self, error: Exception) -> bool:
        """Waits a moment where the machine's storage stands against the desk, as long as that may pass by itself.

        Nothing is traded meanwhile; what the venue does is asked of it afterwards.

        Raises:
            StorageError: it does not pass.
        """
        cause = error.__cause__ if isinstance(error.__cause__, sqlite3.Error) else error
        refused = refusal(cause) if isinstance(cause, sqlite3.Error) else error
        if not isinstance(refused, StorageError):
            return False
        now_s = time.monotonic()
        if self._stands_s is None:
            self._stands_s = now_s
            self._note(alarm(f"{refused} Nothing is traded until it has passed; the desk goes on by itself then.",
                             self.clock.now_ms(), *self._names))  # fmt: skip
        if now_s - self._stands_s >= refused.patience_s:
            raise refused from error
        await asyncio.sleep(_AGAIN_S)
        return True

    async def _run_at_exchange(self, stop: asyncio.Event) -> None:
        """Runs at the paper exchange, which has to be opened anew where it could not keep what it did."""
        if self._exchange_failed:
            self._exchange.close()
            self._open_exchange(begun=True)
            self._exchange_failed = False
        self._hub = PumpedHub(self._exchange, self.clock)
        tasks = [asyncio.ensure_future(self._hub.pump()), asyncio.ensure_future(self._run_once(stop))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for failed in (one for one in results if isinstance(one, Exception)):
            self._exchange_failed = isinstance(failed, sqlite3.Error)
            raise failed

    async def _run_once(self, stop: asyncio.Event) -> None:
        plan = self.plan
        if self._anchor is not None:
            loop = asyncio.get_running_loop()
            self._anchor.on_failure = lambda words: loop.call_soon_threadsafe(self._on_alarm, words)
        store = Store(plan.database, plan.config.mode, self._anchor)
        writer = Writer(store)
        try:
            store.take_over()
            self._lines = store.end().n
            now_ms = self.clock.now_ms()
            booted = boot(store, Market(plan.guard), window_ms=plan.pace.window_ms, visibility_ms=VISIBILITY_MS,
                          now_ms=now_ms, nav_ms=plan.pace.nav_ms,
                          on_deleveraging=plan.config.breakers.on_deleveraging,
                          windows_ms=plan.windows_ms, patience_ms=plan.pace.patience_ms)  # fmt: skip
            booted.driver.tally = self.tally
            venues: dict[str, Venue] = {name: PaperVenue(self._hub, name) for name in booted.driver.books}
            keeper = TimedKeeper(StoreKeeper(writer), self.measures, time.perf_counter)
            engine = Engine(booted.driver, booted.outbox, venues, keeper, self.clock,
                            reconcile_ms=plan.pace.reconcile_ms,
                            reserve=plan.config.reserve_minor, margins=plan.margins)  # fmt: skip
            engine.on_alarm, engine.on_kept = self._on_alarm, self._on_kept
            self._names = frozenset(booted.driver.by_name), frozenset(booted.driver.books)
            for words in (*booted.alarms, *unlaunched(plan, booted)):
                self._on_alarm(words)
            self._watchdog = Watchdog(engine, store, plan.breakers, now_ms)
            self._watchdog.on_over = self._on_over
            self._engine = engine
            await self._until(stop, engine, self._beside(engine, store))
        finally:
            self._engine = None
            writer.close()
            store.close()

    def _beside(self, engine: Engine, store: Store) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Returns what runs beside the engine."""
        inbox = Inbox(engine, store)
        inbox.on_rejected = self._on_rejected
        found = [inbox.run, self._publish]
        if self._watchdog is not None:
            found.append(self._watchdog.run)
        if self.plan.invents_holders:
            holders = InventedHolders(self.plan.config.feed.seed, self.plan.feed, engine.driver)
            found.append(HoldersAtWork(holders, engine, store).run)
        return found

    async def _until(
        self, stop: asyncio.Event, engine: Engine, beside: Sequence[Callable[[], Coroutine[Any, Any, None]]]
    ) -> None:
        ended = asyncio.Event()

        async def feed() -> None:
            await self._feed(engine)
            ended.set()

        running = asyncio.ensure_future(engine.run(feed, beside))
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(ended.wait())]
        try:
            await asyncio.wait([running, *waits], return_when=asyncio.FIRST_COMPLETED)
            if ended.is_set():
                self._note(Happening(time_ms=self.clock.now_ms(), level="info", kind="desk",
                                     words="the feed has ended"))  # fmt: skip
                stop.set()
        finally:
            for one in waits:
                one.cancel()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def _feed(self, engine: Engine) -> None:
        if not self.plan.feed.predicts_funding:
            words = ("the prices predict no funding rates: no funding accrues before a settlement, and dealing waits "
                     "from one window before each settlement until it is booked")  # fmt: skip
            self._note(Happening(time_ms=self.clock.now_ms(), level="info", kind="desk", words=words))
        listed = set(self._exchange.engine.state.listings)
        async for quotes in self.plan.feed.batches(self.clock):
            until_ms = self.clock.now_ms() + _TOLD_MS
            for due in self.plan.feed.settlements(self._told_ms, until_ms):
                if due.symbol in listed:
                    rate = Rate(symbol=due.symbol, settlement_ms=due.time_ms, rate=due.rate)
                    self._hub.control(rq.SetRate(rate=rate))
            self._told_ms = until_ms
            known = tuple(quote for quote in quotes if quote.symbol in listed)
            if known:
                self._hub.control(rq.TakeQuotes(quotes=known))
                await engine.on_quotes(known)

    async def _publish(self) -> None:
        """Hands the figures to whoever scrapes them."""
        while True:
            await asyncio.sleep(1.0)
            engine = self._engine
            if engine is not None and self.plan.config.metrics_port:
                now_ms = self.clock.now_ms()
                symbols = {symbol for running in engine.driver.tokens for symbol in running.symbols}
                self.measures.see(self.view(), {s: engine.driver.market.age_ms(s, now_ms) for s in symbols})

    @property
    def is_ready(self) -> bool:
        """Whether its tokens were taken up."""
        return self._engine is not None

    def view(self) -> DeskView:
        """Returns the desk as it stands."""
        engine, watchdog, now_ms = self._engine, self._watchdog, self.clock.now_ms()
        if engine is None or watchdog is None:
            return DeskView(mode=self.plan.config.mode, database=str(self.plan.database), running=True,
                            market_ms=now_ms, speed=self.clock.speed)  # fmt: skip
        tokens = engine.driver.tokens
        ages = [watchdog.age_ms(running, now_ms) for running in tokens]
        return DeskView(
            mode=self.plan.config.mode, database=str(self.plan.database), running=True, market_ms=now_ms,
            speed=self.clock.speed, price_age_ms=max((age for age in ages if age < now_ms), default=None),
            lines=self._lines, commit_s=self.measures.commit_s,
            tokens=tuple(watchdog.view(running, now_ms) for running in tokens), happenings=tuple(self.happenings),
            flows=self.flows.view(engine.driver),
        )  # fmt: skip

    def _on_alarm(self, words: str) -> None:
        self._note(alarm(words, self.clock.now_ms(), *self._names))

    def _on_over(self, token: str, words: str) -> None:
        """Takes an alarm whose cause is gone off the console; the log keeps it, and says that it is over."""
        left = [one for one in self.happenings if (one.kind, one.token, one.words) != ("alarm", token, words)]
        self.happenings = deque(left, maxlen=_HAPPENINGS)
        self.log.happened(Happening(time_ms=self.clock.now_ms(), level="info", kind="over", token=token,
                                    words=f"over: {words}"))  # fmt: skip

    def _on_rejected(self, wanted: Deal, answered: Answered) -> None:
        token = wanted.token if wanted.token in self._names[0] else ""
        self._note(Happening(time_ms=answered.time_ms, level="info", kind="rejected", token=token,
                             words=f"rejected {wanted.side} of {wanted.holder}: {answered.words}"))  # fmt: skip

    def _on_kept(self, effects: Effects) -> None:
        self._lines += len(effects.lines)
        self.flows.see(effects)
        if self._stands_s is not None:
            self._stands_s = None
            self._note(Happening(time_ms=self.clock.now_ms(), level="info", kind="desk",
                                 words="the storage takes what is written again; the desk goes on"))  # fmt: skip
        for one in happenings(effects):
            if self._differing.is_news(one):
                self._note(one)

    def _note(self, one: Happening) -> None:
        self.log.happened(one)
        if one.kind not in _LOGGED_ONLY:
            self.happenings.append(one)
            self._hear(one)
