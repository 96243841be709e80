"""The simulation: desk, store and paper exchange on virtual time, under a swarm of faults that a seed chooses.

Nothing here waits and nothing runs beside: one seed is one run, bit for bit. The desk is killed and started anew
at times the seed chooses, while the exchange goes on. At the end the faults stop, what is open is left to settle, and
everything that was promised is looked at: the ledger, the venue's own books, every order, the journal.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

import gearing as gr
from gearing.core.money import MINOR
from gearing.core.terms import Spec
from gearing.core.token import Token
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.pump import PumpedHub
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.market.endless import EndlessMarket
from gearing.store.database import init_database
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.paper import requests as rq
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Faults, Latency, Listing, Setup, listed
from gearing.venues.paper.venue import PaperVenue
from gearing.venues.protocol import Quote
from proof.virtual import run

START_MS = 1_767_225_600_000  # 2026-01-01
_HOUR_MS = 3_600_000
_STEP_MS = 10_000
_VISIBILITY_MS = 1_000
_SETTLE_STEPS = 60

# The faults a swarm draws from, and how often each may happen at most.
_RATES = {
    "request_lost": 0.1, "request_late": 0.2, "answer_lost": 0.2, "dropped": 0.1, "busy": 0.1, "error": 0.1,
    "error_done": 0.2, "report_lost": 0.3, "report_duplicated": 0.3, "report_late": 0.3, "funding_late": 0.5,
    "hidden": 0.5, "partial": 0.3, "split": 0.5, "outage": 0.002, "price_nan": 0.02, "price_infinite": 0.02,
    "price_zero": 0.02, "price_negative": 0.02, "price_spike": 0.02, "price_future": 0.02, "price_frozen": 0.005,
    "price_dead": 0.005,
}  # fmt: skip


class Outcome(NamedTuple):
    """What a run came to.

    Args:
        seed: of the run.
        failures: what was promised and did not hold; empty: all held.
        lines, orders, kills: how much happened.
        digest: of the journal's heads, so that two runs can be compared.
    """

    seed: int
    failures: tuple[str, ...]
    lines: int
    orders: int
    kills: int
    digest: str


def simulate(seed: int, *, hours: float = 6.0, faults: Faults | None = None, kills: int | None = None) -> Outcome:
    """Runs one seed and looks at everything that was promised."""
    # A database in memory's file system costs no fsync that this run could notice.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as place:
        return run(_Simulation(seed, Path(place) / "desk.db", hours, faults, kills).whole())


def tokens_of(draw: random.Random) -> list[Token]:
    """Returns one to three tokens of one coin or several, under rules that trade often."""
    found = []
    for n in range(draw.randint(1, 3)):
        target = draw.choice([3.0, -3.0, 2.0, -1.0, 5.0])
        rule = gr.Rule(
            deviation=draw.choice([0.004, 0.01, 0.03]),
            schedule=(gr.Schedule(every=draw.choice(["10m", "1h"])),),
            pace=draw.choice([None, gr.Pace(largest=150_000.0, interval="1m")]),
            aim=draw.choice(["target", "edge"]),
        )
        names = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
        draw.shuffle(names)
        count = draw.choice([1, 1, 2, 3])
        legs = tuple(gr.Perpetual(symbol=name, weight=1 / count) for name in names[:count])
        fees = gr.Fees(management_per_day=3e-4)
        costs = gr.Costs(taker_fee=5e-4, half_spread=2e-4)
        found.append(gr.Token(symbol=f"T{n}", target=target, rule=rule, legs=legs, fees=fees, costs=costs))
    return found


def swarm(draw: random.Random) -> Faults:
    """Returns some of the faults, each at some rate."""
    chosen = {name: draw.random() * most for name, most in _RATES.items() if draw.random() < 0.35}
    return msgspec.structs.replace(Faults(outage_ms=(1_000, 60_000, 600_000)), **chosen)


class _Simulation:
    def __init__(self, seed: int, file: Path, hours: float, faults: Faults | None, kills: int | None) -> None:
        self.draw = random.Random(seed)
        self.seed, self.file = seed, file
        self.tokens = tokens_of(self.draw)
        self.faults = swarm(self.draw) if faults is None else faults
        self.kills = self.draw.choice([0, 0, 1, 3]) if kills is None else kills
        self.steps = int(hours * _HOUR_MS / _STEP_MS)
        self.start_ms = START_MS + self.draw.randrange(200) * 24 * _HOUR_MS + 7 * _HOUR_MS
        self.endless = EndlessMarket(seed)
        self.symbols = [coin.symbol for coin in self.endless.coins]
        self.told: set[str] = set()
        self.alarms: list[str] = []
        self.failures: list[str] = []

    async def whole(self) -> Outcome:
        self.clock = ScaledClock(self.start_ms)
        init_database(self.file, "demo", self.start_ms)
        latency = Latency(request_ms=20, match_ms=10, answer_ms=20, report_ms=30, jitter_ms=40,
                          visibility_ms=_VISIBILITY_MS)  # fmt: skip
        setup = Setup(listings=self.listings(), latency=latency, faults=Faults(), seed=self.seed)
        self.hub = PumpedHub(PaperExchange(setup), self.clock)
        self.exchange = self.hub.exchange
        pump = asyncio.ensure_future(self.hub.pump())
        self.publish(self.start_ms)
        kill_at = sorted(self.draw.randrange(1, self.steps) for _ in range(self.kills))
        await self.launch()
        self.exchange.wire._faults = self.faults
        self.exchange.publisher._faults = self.faults
        desk = await self.started()
        for step in range(1, self.steps + _SETTLE_STEPS):
            if step == self.steps:  # from here on all goes well, so that what is open can end
                self.exchange.wire._faults = self.exchange.publisher._faults = Faults()
            await self.clock.sleep_ms(self.start_ms + step * _STEP_MS - self.clock.now_ms())
            self.publish(self.clock.now_ms())
            if kill_at and kill_at[0] <= step:
                kill_at.pop(0)
                await self.killed(desk)
                desk = await self.started()
            elif desk.done():
                error = desk.exception()
                self.failures.append(f"the desk ended: {error!r}")
                break
        await self.clock.sleep_ms(120_000)
        await self.judged()
        await self.killed(desk)
        pump.cancel()
        return self.outcome()

    def listings(self) -> tuple[Listing, ...]:
        costs = gr.Costs(taker_fee=5e-4, half_spread=2e-4)
        prices = self.endless.marks(self.start_ms).tolist()
        return tuple(
            listed(gr.Perpetual(symbol=s), asset="USDT", price=p, costs=costs)
            for s, p in zip(self.symbols, prices, strict=True)
        )

    def publish(self, now_ms: int) -> None:
        marks, indexes = self.endless.marks(now_ms).tolist(), self.endless.indexes(now_ms).tolist()
        settles_ms = (now_ms // (8 * _HOUR_MS) + 1) * 8 * _HOUR_MS
        if settles_ms - now_ms <= 2 * _STEP_MS:
            for symbol, rate in zip(self.symbols, self.endless.funding_rates(settles_ms).tolist(), strict=True):
                if f"{symbol}{settles_ms}" not in self.told:
                    self.told.add(f"{symbol}{settles_ms}")
                    self.hub.control(rq.SetRate(rate=Rate(symbol=symbol, settlement_ms=settles_ms, rate=rate)))
        quotes = tuple(
            Quote(symbol=s, time_ms=now_ms, mark=m, index=i)
            for s, m, i in zip(self.symbols, marks, indexes, strict=True)
        )
        self.hub.control(rq.TakeQuotes(quotes=quotes))

    def venue(self, name: str) -> PaperVenue:
        return PaperVenue(self.hub, name)

    async def launch(self) -> None:
        """Launches every token in a book of its own, with its capital at the venue."""
        rules = {rule.symbol: rule for rule in await self.venue("T0").instruments()}
        with Store(self.file, "demo") as store:
            market = Market(GuardLimits())
            driver = Driver(market)
            marks = dict(zip(self.symbols, self.endless.marks(self.start_ms).tolist(), strict=True))
            for number, token in enumerate(self.tokens):
                market.list_token(number, tuple(leg.symbol for leg in token.legs))
            for symbol, mark in marks.items():
                market.take(Quote(symbol=symbol, time_ms=self.start_ms, mark=mark, index=mark), self.start_ms)
            for token in self.tokens:
                amount = 1_000_000 * MINOR
                await self.venue(token.symbol).transfer("USDT", amount, f"seed{token.symbol}")
                book = driver.open_book(token.symbol, store.meta.incarnation, [token.symbol], self.start_ms)
                lots = tuple(rules[leg.symbol].lot for leg in token.legs)
                driver.launch(book, Spec(token), lots, amount, 10_000 * MINOR, self.start_ms)
            await InLoopKeeper(store).keep(driver.taken())

    async def started(self) -> asyncio.Task[None]:
        self.store = Store(self.file, "demo")
        booted = boot(self.store, Market(GuardLimits()), window_ms=2_000, visibility_ms=_VISIBILITY_MS,
                      now_ms=self.clock.now_ms())  # fmt: skip
        venues: dict[str, Any] = {name: self.venue(name) for name in booted.driver.books}
        engine = Engine(booted.driver, booted.outbox, venues, InLoopKeeper(self.store), self.clock)
        engine.on_alarm = self.alarms.append
        self.engine = engine

        async def feed() -> None:
            async for quote in self.hub.quotes(frozenset(self.symbols)):
                await engine.on_quotes([quote])

        task = asyncio.ensure_future(engine.run(feed))
        await asyncio.sleep(0)
        return task

    async def killed(self, desk: asyncio.Task[None]) -> None:
        """Takes the desk away at once; what it had not made durable is gone."""
        desk.cancel()
        await asyncio.gather(desk, return_exceptions=True)
        self.store.close()

    async def judged(self) -> None:
        driver = self.engine.driver
        state = self.exchange.engine.state
        for name, book in driver.books.items():
            if book.state.live or len(self.engine.outbox):
                self.failures.append(f"{name}: orders are open at the end: {sorted(book.state.live)}")
            statement = await self.venue(name).statement()
            for one in driver.differences(book, statement):
                self.failures.append(f"{name}: {one.what} {one.name}: venue {one.venue}, ledger {one.ledger}")
            for running in book.tokens:
                if running.state.status != "open":
                    self.failures.append(f"{name}: is {running.state.status}; {self.alarms[-3:]}")
        for words in self.alarms:
            if any(mark in words for mark in ("L1", "L2", "U2", "U7", "O3", "R1", "R4", "F2", "C1")):
                self.failures.append(words)
        self.orders = state.clock.orders

    def outcome(self) -> Outcome:
        verdict = verify(self.file)
        self.failures += [str(breach) for breach in verdict.breaches]
        with Store(self.file, "demo") as store:
            heads = [(p.stream, p.seq, p.hash) for p in store.states()]
            lines = sum(store.streams().values())
        digest = hashlib.sha256(msgspec.json.encode(heads)).hexdigest()[:16]
        return Outcome(self.seed, tuple(self.failures), lines, self.orders, self.kills, digest)
