"""Invented holders of the demo: they come and go with the market, as a pure function of seed and market time.

Time is cut into slots. Most are quiet; in the others some holders want something of one token, more of them in if its
underlying has gone its way for a day, more of them out if it has not. What a holder has decides how much that is, so a
desk that begins again goes on as it would have: what it asked of a slot already is known by its key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import msgspec

from gearing.core.holder import DEALER, HolderState
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
_BY, _ASSET = "demo", "USDT"
# How many come or go at once; how much of its units somebody gives back.
_CROWDS, _SHARES = (1, 1, 2, 2, 3, 4), (0.25, 0.5, 1.0, 1.0)
# A subscription's money is spread around this; a few ask for more than one request may be.
_MEDIAN, _SPREAD, _LEAST, _MOST = 4_000.0, 1.0, 100.0, 60_000.0
# Out of how many one thinks better of it; money that a holder keeps before it is paid out.
_REGRETS, _KEPT = 0.06, 15_000 * MINOR
# Out of how many one deals at once while one looks, and the money that the dealing account has for them.
_AT_ONCE, _CAPITAL = 0.3, 250_000 * MINOR

Wanted = Pay | Deal | Cancel
_Asks = tuple[tuple[Pay, ...], Deal]


class InventedHolders:
    """What invented holders ask.

    Args:
        seed: of the market; another one has other holders' doings.
        feed: its prices.
        driver: whose tokens they hold.
    """

    def __init__(self, seed: int, feed: Feed, driver: Driver) -> None:
        self._seed, self._feed, self._driver = seed, feed, driver

    def asked(self, slot: int, every: int, at_once: float = 0.0) -> Iterator[Wanted]:
        """Yields what is asked in a slot, in order; nothing in most.

        Args:
            slot: its number, counted from 1970.
            every: one slot in so many is busy.
            at_once: how many of those who come or go do so with the dealing account, a fraction.
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
            regrets, instant = draw.random() < _REGRETS, draw.random() < at_once
            if goes and state.units(running.name):
                paid, deal = self._out(name, state, running, share, f"{slot}.{number}")
            else:
                paid, deal = self._in(name, state, running, to_minor(round(money, -1), FLOOR), f"{slot}.{number}")
            yield from paid
            yield msgspec.structs.replace(deal, instant=instant)
            if regrets and not instant:
                yield Cancel(holder=name, id=f"{name}.{state.accepted + 1}")

    def ask_now(self, slot: int, now_ms: int) -> None:
        """Has what is asked in a slot of the past carried out at once."""
        for wanted in self.asked(slot, PAST_EVERY):
            answer(self._driver, wanted, now_ms)

    def _in(self, name: str, state: HolderState, running: Running, money: int, reference: str) -> _Asks:
        asset = running.spec.token.settlement
        deal = Deal(holder=name, token=running.name, side="subscribe", amount=money)
        lacks = money - state.cash(asset)
        if lacks <= 0:
            return (), deal
        return (Pay(holder=name, asset=asset, amount=lacks, reference=f"in{reference}", by=_BY),), deal

    def _out(self, name: str, state: HolderState, running: Running, share: float, reference: str) -> _Asks:
        asset, has = running.spec.token.settlement, state.units(running.name)
        deal = Deal(holder=name, token=running.name, side="redeem", amount=max(int(has * share), 1))
        if state.cash(asset) <= _KEPT:
            return (), deal
        return (Pay(holder=name, asset=asset, amount=-state.cash(asset), reference=f"out{reference}", by=_BY),), deal

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
        await self._ask("capital", Pay(holder=DEALER, asset=_ASSET, amount=_CAPITAL, reference="capital", by=_BY))
        slot = clock.now_ms() // SLOT_MS
        while True:
            for number, wanted in enumerate(self._holders.asked(slot, LIVE_EVERY, _AT_ONCE)):
                if not await self._ask(f"{slot}.{number}", wanted):
                    break
            slot += 1
            await clock.sleep_ms(slot * SLOT_MS - clock.now_ms())

    async def _ask(self, key: str, wanted: Wanted) -> bool:
        """Asks once; returns whether it could be asked, without which a demo goes on."""
        try:
            await asyncio.to_thread(self._store.ask, _BY, key, encode(wanted))
        except KeyReusedError:  # asked by a former life, when the holder had something else
            return True
        except GearingError:
            return False
        return True
