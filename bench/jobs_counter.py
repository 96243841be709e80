"""The counter: requests through inbox, step, invariants and group commit to their answers, while a desk runs."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gearing as gr
from bench.harness import Row
from gearing.core.holder import ISSUER
from gearing.core.money import MINOR
from gearing.core.primary import Primary
from gearing.core.terms import Spec
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.desk.inbox import Inbox
from gearing.desk.intake import Intake
from gearing.desk.interpreter import of_a_desk
from gearing.desk.keeper import StoreKeeper
from gearing.desk.pump import PumpedHub
from gearing.desk.requests import Deal, HandOn, Pay
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.database import init_database
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.store.writer import Writer
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.requests import TakeQuotes
from gearing.venues.paper.setup import Setup, listed
from gearing.venues.paper.venue import PaperVenue
from gearing.venues.protocol import Quote

_TOKENS, _HOLDERS, _IN_FLIGHT = 10, 10_000, 256
# Each of these has so much waiting that its state is kilobytes, and a line says the hash of all of it.
_FEW_HOLDERS = 1_000
_NOW_MS = 1_767_225_600_000
_PRICE = 50_000.0
_WINDOW_MS = 30_000
_COSTS = gr.Costs(taker_fee=5e-4, half_spread=2e-4)


class _Answers(NamedTuple):
    rate: float
    waits_s: list[float]
    dealt_s: float
    longest_s: float

    @property
    def p99_ms(self) -> float:
        """What 99 of 100 wait at most."""
        return float(np.quantile(self.waits_s, 0.99)) * 1e3


def rows(requests: int) -> Iterator[Row]:
    """Yields the rows: how many requests are answered a second, and how long the slowest wait."""
    came = _measured(requests, _HOLDERS)
    job = f"forward requests, {_IN_FLIGHT} in flight, {_TOKENS} tokens"
    yield Row(job=job, gearing=came.rate, required=5_000.0, unit="requests/s", repetitions=1,
              note=f"{requests:,} of {_HOLDERS:,} holders")  # fmt: skip
    yield Row(job=f"{job}, p99", gearing=came.p99_ms, required=100.0, unit="ms", repetitions=1)
    yield Row(job=f"dealing in all {requests:,} of them", gearing=came.dealt_s, unit="s", repetitions=1,
              note="windows of ten tokens that end at once")  # fmt: skip
    yield Row(job="longest that nothing else is done meanwhile", gearing=came.longest_s, unit="s", repetitions=1)
    came = _measured(requests, _FEW_HOLDERS)
    job, note = f"the same of {_FEW_HOLDERS:,} holders", f"{requests // _FEW_HOLDERS} of each wait to be dealt"
    yield Row(job=job, gearing=came.rate, unit="requests/s", repetitions=1, note=note)
    yield Row(job=f"{job}, p99", gearing=came.p99_ms, unit="ms", repetitions=1)


def _measured(requests: int, holders: int) -> _Answers:
    with tempfile.TemporaryDirectory() as place, of_a_desk():
        file = Path(place) / "desk.db"
        came = asyncio.run(_Counter(file, holders).served(requests))
        found = verify(file)
        if found.breaches:
            raise AssertionError(f"the journal does not hold: {found.breaches[:3]}")
    return came


class _Counter:
    """A desk of ten tokens in ten books, and those who come to it."""

    def __init__(self, file: Path, holders: int) -> None:
        self.file, self.holders = file, holders
        self.names = [f"T{k}" for k in range(_TOKENS)]
        self.draw = np.random.default_rng(8)

    async def served(self, requests: int) -> _Answers:
        clock = ScaledClock(_NOW_MS)
        init_database(self.file, "demo", _NOW_MS)
        leg = gr.Perpetual(symbol="BTC", lot=1e-6)
        hub = PumpedHub(PaperExchange(Setup(listings=(listed(leg, asset="USDT", price=_PRICE, costs=_COSTS),))), clock)
        hub.control(TakeQuotes(quotes=(_quote(clock.now_ms(), _PRICE),)))
        venues = {name: PaperVenue(hub, name) for name in self.names}
        with Store(self.file, "demo") as store, Writer(store) as writer:
            keeper = StoreKeeper(writer)
            await self._launch(store, keeper, venues, leg, clock.now_ms())
            booted = boot(store, Market(GuardLimits()), window_ms=2_000, visibility_ms=1_000, now_ms=clock.now_ms())
            engine = Engine(booted.driver, booted.outbox, dict(venues), keeper, clock)
            inbox = Inbox(engine, store)
            intake = Intake(store, inbox)

            async def feed() -> None:
                while True:
                    mark = _PRICE * (1.0 + 1e-4 * float(self.draw.standard_normal()))
                    quote = _quote(clock.now_ms(), round(mark, 1))
                    hub.control(TakeQuotes(quotes=(quote,)))
                    await engine.on_quotes([quote])
                    await asyncio.sleep(0.25)

            desk = asyncio.ensure_future(engine.run(feed, [inbox.run, intake.run, hub.pump]))
            came = asyncio.ensure_future(self._come(intake, clock, engine, requests))
            await asyncio.wait([desk, came], return_when=asyncio.FIRST_COMPLETED)
            desk.cancel()
            await asyncio.gather(desk, return_exceptions=True)
            return await came

    async def _launch(
        self, store: Store, keeper: StoreKeeper, venues: dict[str, PaperVenue], leg: gr.Perpetual, now_ms: int
    ) -> None:  # fmt: skip
        driver = Driver(Market(GuardLimits()))
        driver.market.take(_quote(now_ms, _PRICE), now_ms)
        for number, name in enumerate(self.names, 1):
            token = gr.Token(
                symbol=name, target=3.0, rule="ftx", legs=(leg,), primary=Primary(window=f"{_WINDOW_MS}ms")
            )
            await venues[name].transfer("USDT", 10**7 * MINOR, f"seed{name}")
            book = driver.open_book(name, store.meta.incarnation, [name], now_ms, number)
            driver.launch(book, Spec(token), (str(leg.lot),), 10**7 * MINOR, 10**5 * MINOR, now_ms)
        await keeper.keep(driver.taken())

    async def _come(self, intake: Intake, clock: ScaledClock, engine: Engine, requests: int) -> _Answers:
        """Lets holders pay in, and then ask, each of those in flight one after the other."""
        deals = [self._deal(number) for number in range(requests)]
        pays = [Pay(holder=f"h{k}", asset="USDT", amount=10**6 * MINOR, reference=f"D{k}", by="bench")
                for k in range(self.holders)]  # fmt: skip
        gifts = [HandOn(holder=ISSUER, other=deal.holder, token=deal.token, amount=deal.amount, reference=f"G{number}")
                 for number, deal in enumerate(deals) if deal.side == "redeem"]  # fmt: skip
        await asyncio.gather(*(intake.ask(pay.holder, pay.reference, pay) for pay in pays))
        await asyncio.gather(*(intake.ask(ISSUER, gift.reference, gift) for gift in gifts))
        await clock.sleep_ms(_WINDOW_MS - clock.now_ms() % _WINDOW_MS)
        left, waits = iter(enumerate(deals)), []

        async def ask() -> None:
            for number, deal in left:
                began = time.perf_counter()
                answered = await intake.ask(deal.holder, f"r{number}", deal)
                waits.append(time.perf_counter() - began)
                if not answered.done:
                    raise AssertionError(answered.words)

        start = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(_IN_FLIGHT)))
        rate = requests / (time.perf_counter() - start)
        await clock.sleep_ms(_WINDOW_MS - clock.now_ms() % _WINDOW_MS)
        start = seen = time.perf_counter()
        longest = 0.0
        while any(holder.state.requests for holder in engine.driver.primary.holders.values()):
            await asyncio.sleep(0.02)
            longest, seen = max(longest, time.perf_counter() - seen), time.perf_counter()
        return _Answers(rate, waits, seen - start, longest)

    def _deal(self, number: int) -> Deal:
        holder, name = f"h{number % self.holders}", self.names[number // 7 % _TOKENS]
        if number % 2:
            return Deal(holder=holder, token=name, side="subscribe", amount=100 * MINOR)
        return Deal(holder=holder, token=name, side="redeem", amount=MINOR)


def _quote(now_ms: int, mark: float) -> Quote:
    return Quote(symbol="BTC", time_ms=now_ms, mark=mark, index=mark)
