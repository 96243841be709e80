"""A desk of ten tokens in ten books on the paper exchange, with everything that `gearing up` runs but a screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

import gearing as gr
from gearing.core.money import MINOR
from gearing.core.primary import Primary
from gearing.core.terms import Spec
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.desk.inbox import Inbox
from gearing.desk.intake import Intake
from gearing.desk.keeper import Answers, Keeper, Rows, StoreKeeper
from gearing.desk.pump import PumpedHub
from gearing.drive.driver import Driver
from gearing.drive.effects import Effects
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.database import init_database
from gearing.store.store import Store
from gearing.store.writer import Writer
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.requests import TakeQuotes
from gearing.venues.paper.setup import Setup, listed
from gearing.venues.paper.venue import PaperVenue
from gearing.venues.protocol import Quote

TOKENS = 10
WINDOW_MS = 30_000
_MINUTE_MS = 60_000
_NOW_MS = 1_767_225_600_000
_PRICE = 50_000.0
_COSTS = gr.Costs(taker_fee=5e-4, half_spread=2e-4)
# Each token is seeded with so many units, for so much money.
_SEED_UNITS, _SEED_CASH = 10**5 * MINOR, 10**7 * MINOR

T = TypeVar("T")


class Served(NamedTuple):
    """What runs while somebody comes to the desk."""

    intake: Intake
    clock: ScaledClock
    engine: Engine
    names: tuple[str, ...]

    async def window_ends(self) -> None:
        """Waits until the window under way ends."""
        await self.clock.sleep_ms(WINDOW_MS - self.clock.now_ms() % WINDOW_MS)


class Watched:
    """A keeper that notes when each NAV is durable."""

    def __init__(self, keeper: Keeper, clock: ScaledClock) -> None:
        self._keeper, self._clock = keeper, clock
        self._kept: list[tuple[str, int, int]] = []

    async def keep(self, effects: Effects | None, rows: Rows = (), answers: Answers = ()) -> None:
        """See `Keeper`."""
        await self._keeper.keep(effects, rows, answers)
        now_ms, navs = self._clock.now_ms(), () if effects is None else effects.navs
        self._kept += ((nav.token, nav.time_ms, now_ms) for nav in navs)

    def late_ms(self, names: Sequence[str], since_ms: int, until_ms: int) -> list[int]:
        """Returns how long after each minute each token has a durable NAV of it or later; a hole counts as one."""
        late: list[int] = []
        for name in names:
            kept = [(time_ms, now_ms) for token, time_ms, now_ms in self._kept if token == name]
            late += (
                min((now_ms for time_ms, now_ms in kept if time_ms >= due_ms), default=until_ms) - due_ms
                for due_ms in range(-(-since_ms // _MINUTE_MS) * _MINUTE_MS, until_ms - _MINUTE_MS, _MINUTE_MS)
            )
        return late


async def served(file: Path, work: Callable[[Served, Watched], Awaitable[T]], speed: float = 1.0) -> T:
    """Runs a desk in a new database for as long as somebody comes to it.

    Args:
        file: of the database.
        work: comes to it.
        speed: market seconds per second.
    """
    names = tuple(f"T{k}" for k in range(TOKENS))
    clock, draw = ScaledClock(_NOW_MS, speed), np.random.default_rng(8)
    init_database(file, "demo", _NOW_MS)
    leg = gr.Perpetual(symbol="BTC", lot=1e-6)
    hub = PumpedHub(PaperExchange(Setup(listings=(listed(leg, asset="USDT", price=_PRICE, costs=_COSTS),))), clock)
    hub.control(TakeQuotes(quotes=(_quote(clock.now_ms(), _PRICE),)))
    venues = {name: PaperVenue(hub, name) for name in names}
    with Store(file, "demo") as store, Writer(store) as writer:
        keeper = Watched(StoreKeeper(writer), clock)
        await _launch(store, keeper, venues, leg, clock.now_ms())
        booted = boot(store, Market(GuardLimits()), window_ms=2_000, visibility_ms=1_000, now_ms=clock.now_ms())
        engine = Engine(booted.driver, booted.outbox, dict(venues), keeper, clock)
        inbox = Inbox(engine, store)
        intake = Intake(store, inbox)

        async def feed() -> None:
            while True:
                mark = _PRICE * (1.0 + 1e-4 * float(draw.standard_normal()))
                quote = _quote(clock.now_ms(), round(mark, 1))
                hub.control(TakeQuotes(quotes=(quote,)))
                await engine.on_quotes([quote])
                await asyncio.sleep(0.25)

        desk = asyncio.ensure_future(engine.run(feed, [inbox.run, intake.run, hub.pump]))
        came = asyncio.ensure_future(work(Served(intake, clock, engine, names), keeper))
        await asyncio.wait([desk, came], return_when=asyncio.FIRST_COMPLETED)
        if not came.done() or came.exception() is not None:
            await asyncio.wait([desk], timeout=5.0)  # what ended it says more than what it left unanswered
        if desk.done():
            came.cancel()
            await desk
        desk.cancel()
        await asyncio.gather(desk, return_exceptions=True)
        return await came


async def _launch(
    store: Store, keeper: Keeper, venues: dict[str, PaperVenue], leg: gr.Perpetual, now_ms: int
) -> None:  # fmt: skip
    driver = Driver(Market(GuardLimits()))
    driver.market.take(_quote(now_ms, _PRICE), now_ms)
    for number, (name, venue) in enumerate(venues.items(), 1):
        token = gr.Token(symbol=name, target=3.0, rule="ftx", legs=(leg,), primary=Primary(window=f"{WINDOW_MS}ms"))
        await venue.transfer("USDT", _SEED_CASH, f"seed{name}")
        book = driver.open_book(name, store.meta.incarnation, [name], now_ms, number)
        driver.launch(book, Spec(token), (str(leg.lot),), _SEED_CASH, _SEED_UNITS, now_ms)
    await keeper.keep(driver.taken())


def _quote(now_ms: int, mark: float) -> Quote:
    return Quote(symbol="BTC", time_ms=now_ms, mark=mark, index=mark)
