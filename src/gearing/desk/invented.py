"""Invented holders of the demo: they come and go with the market, as a pure function of seed and market time.

Time is cut into slots. Most are quiet; in the others some holders want something of one token, more of them in if its
underlying has gone its way for a day, more of them out if it has not. What a holder has decides how much that is, so a
desk that begins again goes on as it would have: what it asked of a slot already is known by its key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from gearing.core.holder import HolderState
from gearing.core.money import FLOOR, MINOR, to_minor
from gearing.core.record import DAY_MS
from gearing.desk.counter import answer
from gearing.desk.engine import Engine
from gearing.desk.feeds import Feed
from gearing.desk.requests import Cancel, Deal, Pay, encode
from gearing.drive.driver import Driver
from gearing.drive.running import Running
from gearing.errors import GearingError
from gearing.store.errors import KeyReusedError
from gearing.store.store import Store

SLOT_MS = 15 * 60_000
HOLDERS = tuple(f"d{number:02}" for number in range(1, 17))
# One slot in so many is busy: in a demo's past, whose every dealing costs a part of its start, and while one looks.
PAST_EVERY, LIVE_EVERY = 48, 8
_BY = "demo"
# How many come or go at once; how much of its units somebody gives back.
_CROWDS, _SHARES = (1, 1, 2, 2, 3, 4), (0.25, 0.5, 1.0, 1.0)
# A subscription's money is spread around this; a few ask for more than one request may be.
_MEDIAN, _SPREAD, _LEAST, _MOST = 4_000.0, 1.0, 100.0, 60_000.0
# Out of how many one thinks better of it; money that a holder keeps before it is paid out.
_REGRETS, _KEPT = 0.06, 15_000 * MINOR

Wanted = Pay | Deal | Cancel


class InventedHolders:
    """What invented holders ask.

    Args:
        seed: of the market; another one has other holders' doings.
        feed: its prices.
        driver: whose tokens they hold.
    """

    def __init__(self, seed: int, feed: Feed, driver: Driver) -> None:
        self._seed, self._feed, self._driver = seed, feed, driver

    def asked(self, slot: int, every: int) -> Iterator[Wanted]:
        """Yields what is asked in a slot, in order; nothing in most.

        Args:
            slot: its number, counted from 1970.
            every: one slot in so many is busy.
        """
        draw = random.Random(f"{self._seed}:{slot}")
        if draw.random() * every >= 1.0:
            return
        running = draw.choice(self._driver.tokens)
        if running.state.status != "open":
            return
        comes = min(max(0.55 + 5.0 * self._trend(running, slot * SLOT_MS), 0.2), 0.85)
        for number, name in enumerate(draw.sample(HOLDERS, draw.choice(_CROWDS))):
            holder = self._driver.primary.holders.get(name)
            state = HolderState() if holder is None else holder.state
            # Drawn whatever comes of it, so that what others do does not hang on that.
            goes, share = draw.random() >= comes, draw.choice(_SHARES)
            money = min(max(_MEDIAN * draw.lognormvariate(0.0, _SPREAD), _LEAST), _MOST)
            regrets = draw.random() < _REGRETS
            if goes and state.units(running.name):
                yield from self._out(name, state, running, share, f"{slot}.{number}")
            else:
                yield from self._in(name, state, running, to_minor(round(money, -1), FLOOR), f"{slot}.{number}")
            if regrets:
                yield Cancel(holder=name, id=f"{name}.{state.accepted + 1}")

    def ask_now(self, slot: int, now_ms: int) -> None:
        """Has what is asked in a slot of the past carried out at once."""
        for wanted in self.asked(slot, PAST_EVERY):
            answer(self._driver, wanted, now_ms)

    def _in(self, name: str, state: HolderState, running: Running, money: int, reference: str) -> Iterator[Wanted]:
        asset = running.spec.token.settlement
        if state.cash(asset) < money:
            yield Pay(holder=name, asset=asset, amount=money - state.cash(asset), reference=f"in{reference}", by=_BY)
        yield Deal(holder=name, token=running.name, side="subscribe", amount=money)

    def _out(self, name: str, state: HolderState, running: Running, share: float, reference: str) -> Iterator[Wanted]:
        asset, has = running.spec.token.settlement, state.units(running.name)
        if state.cash(asset) > _KEPT:
            yield Pay(holder=name, asset=asset, amount=-state.cash(asset), reference=f"out{reference}", by=_BY)
        yield Deal(holder=name, token=running.name, side="redeem", amount=max(int(has * share), 1))

    def _trend(self, running: Running, now_ms: int) -> float:
        """Returns how far its first leg went the token's way within a day."""
        symbol = running.symbols[0]
        then, now = (
            next(quote.mark for quote in self._feed.quotes_at(at_ms) if quote.symbol == symbol)
            for at_ms in (now_ms - DAY_MS, now_ms)
        )
        return (now / then - 1.0) * (1.0 if running.spec.token.target > 0 else -1.0)


class HoldersAtWork:
    """Puts what invented holders ask into a running desk's inbox, each request once.

    Args:
        holders: what they ask.
        engine: whose clock tells when.
        store: with the inbox.
    """

    def __init__(self, holders: InventedHolders, engine: Engine, store: Store) -> None:
        self._holders, self._engine, self._store = holders, engine, store

    async def run(self) -> None:
        """Runs until it is cancelled."""
        clock = self._engine.clock
        slot = clock.now_ms() // SLOT_MS
        while True:
            for number, wanted in enumerate(self._holders.asked(slot, LIVE_EVERY)):
                try:
                    await asyncio.to_thread(self._store.ask, _BY, f"{slot}.{number}", encode(wanted))
                except KeyReusedError:  # asked by a former life, when the holder had something else
                    continue
                except GearingError:  # a demo goes on without it
                    break
            slot += 1
            await clock.sleep_ms(slot * SLOT_MS - clock.now_ms())
