"""The simulation: desk, store and paper exchange on virtual time, under a swarm of faults that a seed chooses.

Nothing here waits and nothing runs beside: one seed is one run, bit for bit. The desk is killed and started anew
at times the seed chooses, while the exchange goes on. At the end the faults stop, what is open is left to settle, and
everything that was promised is looked at: the ledger, the venue's own books, every order, the journal.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
from msgspec import UNSET
from rich.progress import Progress

import gearing as gr
from gearing.core.book import FundingCorrected
from gearing.core.events import Action
from gearing.core.holder import DEALER, HolderState
from gearing.core.journal import state_of
from gearing.core.money import MINOR
from gearing.core.record import DAY_MS
from gearing.core.step_result import StepError
from gearing.core.terms import Spec
from gearing.desk import issuer
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.counter import submit
from gearing.desk.engine import Engine
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.pump import PumpedHub
from gearing.desk.requests import (
    Answered,
    AskQuote,
    AtCounter,
    Cancel,
    Deal,
    HandOn,
    Merge,
    Pay,
    TakeFees,
    TakeQuote,
    answered_of,
    encode,
)
from gearing.drive import dealings
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.market.endless import EndlessMarket
from gearing.store.backup import backup_database, restore_database
from gearing.store.database import connect, init_database
from gearing.store.errors import StoreError
from gearing.store.records import book_line_of
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.paper import requests as rq
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.prices import Publisher
from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Faults, Latency, Listing, Setup, listed
from gearing.venues.protocol import Quote
from proof.attackers import Attackers, RefusingVenue
from proof.judge import Judge
from proof.swarm import (
    CONTRACTS,
    SYMBOLS,
    CountingDraws,
    hasty,
    merging,
    shocks_of,
    swarm,
    tiers_of,
    tokens_of,
    trouble_of,
    with_lists,
)
from proof.virtual import run

START_MS = 1_767_225_600_000  # 2026-01-01
_HOUR_MS = 3_600_000
_STEP_MS = 10_000
_VISIBILITY_MS = 1_000
# After the faults end: longer than the longest outage and its reconciliation.
_SETTLE_STEPS = 75
_RESERVE = 10**9 * MINOR
# How often all tokens share one book, and how often a run crosses a day's end.
_TOGETHER, _AT_NIGHT, _HASTY = 0.4, 0.4, 0.3


# What is counted of the lines that a run wrote.
_MARKS = {"booked first": b'"event":"funding_assumed"', "corrected": b'"event":"funding_corrected"',
          "excess kept": b'"event":"excess_kept"', "unwound": b'"event":"unwinding_begun"'}  # fmt: skip


class Outcome(NamedTuple):
    """What a run came to.

    Args:
        seed: of the run.
        failures: what was promised and did not hold; empty: all held.
        lines, orders, kills: how much happened.
        seen: how often each fault happened, and each kind of end.
        digest: of the journal's heads, so that two runs can be compared.
    """

    seed: int
    failures: tuple[str, ...]
    lines: int
    orders: int
    kills: int
    seen: dict[str, int]
    digest: str


def simulate(seed: int, *, hours: float = 6.0, faults: Faults | None = None, kills: int | None = None) -> Outcome:
    """Runs one seed and looks at everything that was promised."""
    # A database in memory's file system costs no fsync that this run could notice.
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as place:
        enough = random.Random(f"enough {seed}").choice([500, 500, 500, 7, 3])
        with patch.object(dealings, "_ENOUGH", enough):  # so that what is more than one dealing takes is not rare
            return run(_Simulation(seed, Path(place) / "desk.db", hours, faults, kills).whole())


class _Simulation:
    def __init__(self, seed: int, file: Path, hours: float, faults: Faults | None, kills: int | None) -> None:
        self.draw = random.Random(seed)
        self.seed, self.file = seed, file
        self.tiers = tiers_of(self.draw)
        self.faults = with_lists(random.Random(f"lists {seed}"), swarm(self.draw)) if faults is None else faults
        self.kills = self.draw.choice([0, 0, 1, 3]) if kills is None else kills
        self.steps = int(hours * _HOUR_MS / _STEP_MS)
        self.shocks = shocks_of(self.draw, self.steps)
        self.trouble = trouble_of(self.draw, self.steps)
        self.offset_ms = 0
        self.is_rough = bool(self.shocks) or self.faults.deleveraged > 0.0
        self.factors = dict.fromkeys(SYMBOLS, 1.0)
        self.start_ms = (
            START_MS + self.draw.randrange(200) * 24 * _HOUR_MS + 7 * _HOUR_MS + self.draw.randrange(50) * 60_000
        )
        # By draws of its own, so that the other runs are what they were without.
        night = random.Random(f"night {seed}")
        is_night = night.random() < _AT_NIGHT
        self.start_ms += 16 * _HOUR_MS if is_night else 0
        leaves_ms = self.start_ms + self.draw.randrange(5, max(int(hours * 60), 6)) * 60_000
        self.tokens = tokens_of(self.draw, self.tiers, leaves_ms)
        if is_night:
            self.tokens = merging(night, self.tokens)
        # Who asks for a rebalance, or closes a token, while a flow of it waits.
        self.hands = random.Random(f"hands {seed}")
        self.is_hasty = self.hands.random() < _HASTY
        self.tokens = hasty(self.tokens) if self.is_hasty else self.tokens
        self.together = len(self.tokens) > 1 and random.Random(f"books {seed}").random() < _TOGETHER
        self.endless = EndlessMarket(seed)
        # Holders draw on their own, so that a seed's faults are what they were without them.
        self.visits = random.Random(seed ^ 0x464C4F57)
        self.is_visited = self.visits.random() < 0.6
        # So does whoever sends money that nobody asked for.
        self.gifts = random.Random(f"gifts {seed}")
        self.is_given = self.gifts.random() < 0.3
        # So do attackers, prices that predict funding, and a venue that refuses some orders.
        self.attacks = random.Random(f"attacks {seed}")
        self.is_attacked, self.predicts = self.attacks.random() < 0.5, self.attacks.random() < 0.5
        self.is_refused = self.attacks.random() < 0.05
        self.attackers = Attackers(self.attacks, [token.symbol for token in self.tokens])
        self.told, self.closed = set[str](), set[str]()
        self.seen: Counter[str] = Counter(together=int(self.together))
        self.alarms: list[str] = []
        self.failures: list[str] = []

    async def whole(self) -> Outcome:
        self.clock = ScaledClock(self.start_ms)
        init_database(self.file, "demo", self.start_ms)
        _name(self.file, f"{self.seed % 36**6:06d}"[-6:])
        latency = Latency(request_ms=20, match_ms=10, answer_ms=20, report_ms=30, jitter_ms=40,
                          visibility_ms=_VISIBILITY_MS)  # fmt: skip
        setup = Setup(listings=self.listings(), latency=latency, faults=Faults(), seed=self.seed)
        self.hub = PumpedHub(PaperExchange(setup), self.clock)
        self.exchange = self.hub.exchange
        pump = asyncio.ensure_future(self.hub.pump())
        self.publish(self.start_ms)
        kill_at = sorted(self.draw.randrange(1, self.steps) for _ in range(self.kills))
        await self.launch()
        self.afflict(self.faults)
        desk = await self.started()
        for step in range(1, self.steps + _SETTLE_STEPS):
            if step == self.steps:  # from here on all goes well, so that what is open can end
                self.afflict(Faults())
            await self.clock.sleep_ms(self.start_ms + step * _STEP_MS - self.clock.now_ms())
            self.shake(step)
            await self.befall(step)
            self.publish(self.clock.now_ms())
            often = 0.15 if not self.is_hasty or step >= self.steps else self.slow_near_settlements()
            if step < self.steps and self.is_visited and self.visits.random() < often:
                await self.visit()
            if step < self.steps and self.is_given and self.gifts.random() < 0.03:
                self.give()
            if step < self.steps and self.is_attacked and self.attacks.random() < 0.08:
                await self.attack()
            if step < self.steps and self.is_hasty:
                await self.intervene()
            if step == self.steps or (self.is_refused and self.attacks.random() < 0.3):
                self.refuse(step)
            if self.is_due(self.trouble.clock, step) or self.is_due(self.trouble.stale, step):
                await self.killed(desk)
                desk = await self.afterwards()
            elif kill_at and kill_at[0] <= step:
                kill_at.pop(0)
                await self.killed(desk)
                desk = await self.started()
            elif desk.done():
                error = desk.exception()
                self.failures.append(f"the desk ended: {error!r}")
                break
        await self.clock.sleep_ms(120_000)
        judge = Judge(self.engine.driver, self.exchange.engine, self.alarms, rough=self.is_rough,
                      trouble=self.trouble, seen=self.seen, corrected=self.corrected(),
                      closed=self.closed)  # fmt: skip
        self.failures += judge.failures()
        self.orders = self.exchange.engine.state.clock.orders
        await self.killed(desk)
        pump.cancel()
        return self.outcome()

    def afflict(self, faults: Faults) -> None:
        """Sets what goes wrong from here on: on the way, in the exchange, and in the prices it publishes."""
        exchange = self.exchange
        state, wire = exchange.engine.state, exchange.wire
        state.setup = msgspec.structs.replace(state.setup, faults=faults)
        wire._faults = faults
        state.draws = CountingDraws(state.draws.state, faults, self.seen)
        wire._draws = CountingDraws(wire._draws.state, faults, self.seen)
        exchange.publisher = Publisher(faults, CountingDraws(exchange.publisher._draws.state, faults, self.seen))

    def shake(self, step: int) -> None:
        while self.shocks and self.shocks[0].step <= step:
            shock = self.shocks.pop(0)
            for symbol in shock.symbols:
                self.factors[symbol] *= shock.factor

    async def visit(self) -> None:
        """Lets a holder pay in, come in, go out, or think better of it."""
        draw, driver = self.visits, self.engine.driver
        name, token = f"h{draw.randrange(5)}", draw.choice(self.tokens).symbol
        if token not in driver.by_name:
            return
        if DEALER not in driver.primary.holders:
            name = DEALER
        holder = driver.primary.holders.get(name)
        state = HolderState() if holder is None else holder.state
        asks: list[AtCounter] = [
            Pay(holder=name, asset="USDT", amount=draw.randrange(1, 50_000) * MINOR, by="sim",
                reference=f"{self.clock.now_ms()}"),
            Deal(holder=name, token=token, side="subscribe", amount=state.cash("USDT") * draw.randrange(1, 100) // 100),
            Deal(holder=name, token=token, side="redeem", amount=state.units(token) * draw.randrange(1, 101) // 100),
            Deal(holder="issuer", token=token, side="redeem", amount=draw.randrange(1, 10**10)),
            Deal(holder=name, token=token, side="subscribe", amount=state.cash("USDT") // draw.randrange(2, 50),
                 instant=True),
            Deal(holder=name, token=token, side="redeem", amount=state.units(token) // 2, instant=True),
            AskQuote(holder=name, token=token, side="subscribe", amount=state.cash("USDT") // 9),
            TakeQuote(holder=name, id=f"{name}.q{0 if state.quoted is UNSET else state.quoted}"),
            Cancel(holder=name, id=f"{name}.{state.accepted}"),
            HandOn(holder=name, other="h9", token=token, amount=state.units(token) // 3 + 1, reference="sim"),
        ]  # fmt: skip
        (wanted,) = draw.choices(asks, weights=[4, 6, 3, 2, 2, 2, 2, 3, 1, 1])
        if name == DEALER:
            wanted = Pay(holder=DEALER, asset="USDT", amount=200_000 * MINOR, by="sim", reference="capital")
        if self.waits(wanted.holder):  # what a holder asks is run in its order
            return

        def answered(said: Answered) -> None:
            self.seen[f"asked {'and done' if said.done else 'and refused'}"] += 1
            self.seen["dealt at once"] += said.quote is not None and not isinstance(wanted, AskQuote)

        submit(driver, wanted, self.engine.clock.now_ms(), answered)
        try:
            await self.engine.settle()
        except StoreError:
            self.seen["asked amid a kill"] += 1

    def waits(self, holder: str) -> bool:
        """Returns whether a dealing of a holder waits for its price; what it asks next is run after that."""
        waiting = self.engine.driver.primary.acceptances.waiting
        return any(one.holder == holder for one in waiting.values())

    async def attack(self) -> None:
        """Lets an attacker send some commands, each as the inbox would run it."""
        driver = self.engine.driver
        for wanted in self.attackers.commands(driver):
            if isinstance(wanted, (TakeFees, Merge)):
                if wanted.token in driver.by_name:
                    issuer.answer(driver, wanted, self.engine.clock.now_ms())
            elif not self.waits(wanted.holder):
                submit(driver, wanted, self.engine.clock.now_ms(), self.told_attacker)
            self.seen["attacks"] += 1
            try:
                await self.engine.settle()
            except StoreError:
                return

    def slow_near_settlements(self) -> float:
        """Has orders rejected for a while around a settlement, and its report late; returns how often holders come."""
        now_ms, period_ms = self.clock.now_ms(), 8 * _HOUR_MS
        left_ms = period_ms - now_ms % period_ms
        is_near = left_ms <= 50_000 or period_ms - left_ms <= 5_000
        slow = msgspec.structs.replace(self.faults, busy=0.8 if is_near else self.faults.busy, funding_late=1.0,
                                       funding_late_ms=60_000, payment_unlisted=0.9)  # fmt: skip
        if slow != self.exchange.engine.state.setup.faults:
            self.afflict(slow)
        return 0.7 if left_ms <= 180_000 else 0.15

    async def intervene(self) -> None:
        """Lets an operator trade tokens whose flow waits, for a settlement or for its excess to be unwound."""
        driver = self.engine.driver
        for running in driver.tokens:
            state = running.state
            waits = state.dealing is not UNSET and not state.is_working and state.status == "open"
            if not waits or state.is_rolling or running.book.state.halted or self.hands.random() < 0.5:
                continue
            action: Action = self.hands.choice(["rebalance", "rebalance", "rebalance", "close"])
            work = partial(driver.operate, running, action, "sim", "a flow waits", self.engine.clock.now_ms())
            try:
                driver.atomically(work)
            except StepError:  # there is no price that its flow could be settled at
                self.seen["rejected, a flow that waits"] += 1
                continue
            if action == "close":
                self.closed.add(running.name)
            self.seen[f"{action} of a flow that waits"] += 1
            try:
                await self.engine.settle()
            except StoreError:
                return

    def corrected(self) -> Counter[str]:
        """Returns what the venue paid of settlements more than was booked before it reported them, by book."""
        found = Counter[str]()
        for name in self.engine.driver.books:
            events = (book_line_of(line.body).event for line in self.store.lines(f"book:{name}"))
            found[name] += sum(event.amount for event in events if isinstance(event, FundingCorrected))
        return found

    def told_attacker(self, said: Answered) -> None:
        """Takes the answer as whoever asks reads it, and counts the codes by which it is rejected."""
        code = answered_of(encode(said)).code
        if code:
            self.seen[f"rejected, {code}"] += 1

    def refuse(self, step: int) -> None:
        """Lets the venue refuse the orders of some instruments, or of none."""
        some = () if step >= self.steps or self.attacks.random() < 0.9 else self.attacks.sample(SYMBOLS, 1)
        for venue in self.engine.venues.values():
            if isinstance(venue, RefusingVenue):
                venue.refused = frozenset(some)
        self.seen["refused legs"] += len(some)

    def give(self) -> None:
        """Lets somebody send money into an account that nobody asked for, in an asset of the desk's or another one."""
        account, asset = self.gifts.choice(list(self.engine.driver.books)), self.gifts.choice(["USDT", "USDT", "BNB"])
        self.hub.control(rq.Give(account=account, asset=asset, amount=self.gifts.randrange(1, 10**13)))
        self.seen["gifts"] += 1

    @staticmethod
    def is_due(what: tuple[int, Any] | None, step: int) -> bool:
        return what is not None and what[0] == step

    async def befall(self, step: int) -> None:
        """Lets happen what befalls an instrument, and takes the backup that will be stale."""
        ends, resized, stale = self.trouble.ends, self.trouble.resized, self.trouble.stale
        if ends is not None and ends[0] == step:
            self.hub.control(rq.Delist(symbol=ends[1], at_ms=self.clock.now_ms() + 120_000))
        if resized is not None and resized[0] == step:
            lot = Decimal(self.exchange.engine.state.listings[resized[1]].rules.lot) / 10
            self.hub.control(rq.Resize(symbol=resized[1], lot=str(lot)))
        if stale is not None and stale[1] == step:
            backup_database(self.file, self.backup)

    async def afterwards(self) -> asyncio.Task[None]:
        """Begins the life after a kill with what trouble left of the clock or the database."""
        if self.trouble.clock is not None:
            self.offset_ms = self.trouble.clock[1]
        else:
            for left in self.file.parent.glob(f"{self.file.name}*"):
                left.unlink()
            restore_database(self.backup, self.file, self.clock.now_ms())
            _name(self.file, f"{(self.seed + 1) % 36**6:06d}"[-6:])
        return await self.started()

    @property
    def backup(self) -> Path:
        return self.file.with_name("backup.db")

    def marks(self, now_ms: int) -> dict[str, float]:
        """Returns the true prices; a gap leaves the digits that a venue would quote."""
        return self.shaken(now_ms, self.endless.marks(now_ms).tolist())

    def shaken(self, now_ms: int, prices: list[float]) -> dict[str, float]:
        found = {s: float(f"{p * self.factors[s]:.6g}") for s, p in zip(SYMBOLS, prices, strict=True)}
        return found | {s: float(f"{found[SYMBOLS[0]] * over:.6g}") for s, over in CONTRACTS.items()}

    def listings(self) -> tuple[Listing, ...]:
        costs = gr.Costs(taker_fee=5e-4, half_spread=2e-4)
        return tuple(
            listed(gr.Perpetual(symbol=s, margin_tiers=self.tiers), asset="USDT", price=p, costs=costs)
            for s, p in self.marks(self.start_ms).items()
        )

    def publish(self, now_ms: int) -> None:
        indexes = self.shaken(now_ms, self.endless.indexes(now_ms).tolist())
        settles_ms = (now_ms // (8 * _HOUR_MS) + 1) * 8 * _HOUR_MS
        if settles_ms - now_ms <= 2 * _STEP_MS:
            for symbol, rate in zip(SYMBOLS, self.endless.funding_rates(settles_ms).tolist(), strict=True):
                if f"{symbol}{settles_ms}" not in self.told:
                    self.told.add(f"{symbol}{settles_ms}")
                    self.hub.control(rq.SetRate(rate=Rate(symbol=symbol, settlement_ms=settles_ms, rate=rate)))
        predicted: dict[str, Any] = {}
        if self.predicts:
            rates = self.endless.funding_rates(now_ms // _HOUR_MS * _HOUR_MS).tolist()
            predicted = {symbol: {"funding_rate": rate, "funding_ms": settles_ms}
                         for symbol, rate in zip(SYMBOLS, rates, strict=True)}  # fmt: skip
        quotes = tuple(
            Quote(symbol=symbol, time_ms=now_ms, mark=mark, index=indexes[symbol], **predicted.get(symbol, {}))
            for symbol, mark in self.marks(now_ms).items()
        )
        self.hub.control(rq.TakeQuotes(quotes=quotes))

    def venue(self, name: str) -> RefusingVenue:
        return RefusingVenue(self.hub, name)

    async def launch(self) -> None:
        """Launches every token in a book of its own, or all of them in one, with its capital at the venue."""
        rules = {rule.symbol: rule for rule in await self.venue("T0").instruments()}
        with Store(self.file, "demo") as store:
            market = Market(GuardLimits())
            driver = Driver(market)
            for symbol, mark in self.marks(self.start_ms).items():
                market.take(Quote(symbol=symbol, time_ms=self.start_ms, mark=mark, index=mark), self.start_ms)
            for tokens in [self.tokens] if self.together else [[one] for one in self.tokens]:
                names = [token.symbol for token in tokens]
                name = "TOGETHER" if self.together else names[0]
                book = driver.open_book(name, store.meta.incarnation, names, self.start_ms)
                for token in tokens:
                    amount = 1_000_000 * MINOR
                    await self.venue(name).transfer("USDT", amount, f"seed{token.symbol}")
                    spec = Spec(token)
                    lots = tuple(rules[symbol].lot for symbol in spec.chains.first(spec.chains.at(self.start_ms)))
                    driver.launch(book, spec, lots, amount, 10_000 * MINOR, self.start_ms)
            await InLoopKeeper(store).keep(driver.taken())

    async def started(self) -> asyncio.Task[None]:
        self.store = Store(self.file, "demo")
        # As the desk does it: its time never goes back behind its journal.
        clock = ScaledClock(max(self.clock.now_ms() + self.offset_ms, self.store.last_ms()))
        self.offset_ms = 0
        booted = boot(self.store, Market(GuardLimits()), window_ms=2_000, visibility_ms=_VISIBILITY_MS,
                      now_ms=clock.now_ms(), on_deleveraging="rehedge")  # fmt: skip
        venues: dict[str, Any] = {name: self.venue(name) for name in booted.driver.books}
        engine = Engine(booted.driver, booted.outbox, venues, InLoopKeeper(self.store), clock,
                        reserve=_RESERVE)  # fmt: skip
        engine.on_alarm = self.alarms.append
        self.engine = engine

        async def feed() -> None:
            async for quote in self.hub.quotes(frozenset([*SYMBOLS, *CONTRACTS])):
                await engine.on_quotes([quote])

        task = asyncio.ensure_future(engine.run(feed))
        await asyncio.sleep(0)
        return task

    async def killed(self, desk: asyncio.Task[None]) -> None:
        """Takes the desk away at once; what it had not made durable is gone."""
        desk.cancel()
        await asyncio.gather(desk, return_exceptions=True)
        self.store.close()

    def outcome(self) -> Outcome:
        verdict = verify(self.file)
        self.failures += [str(breach) for breach in verdict.breaches]
        with Store(self.file, "demo") as store:
            self.failures += [words for token in self.tokens for words in self.merged(store, token)]
            heads = [(p.stream, p.seq, p.hash) for p in store.states()]
            lines = sum(store.streams().values())
            for seen, mark in _MARKS.items():
                self.seen[seen] += sum(mark in line.body for stream in store.streams() for line in store.lines(stream))
        digest = hashlib.sha256(msgspec.json.encode(heads)).hexdigest()[:16]
        return Outcome(self.seed, tuple(self.failures), lines, self.orders, self.kills,
                       dict(sorted(self.seen.items())), digest)  # fmt: skip

    def merged(self, store: Store, token: gr.Token) -> list[str]:
        """Returns what is wrong with a token's mergers: one where a day's first NAV was below its level, else none.

        One that is due may still wait when the life ends, and then the token knows that it is to come; or somebody
        merged by hand while it waited.
        """
        rule, kept = token.consolidation, store.state(f"token:{token.symbol}")
        if rule is None or kept is None:
            return []
        midnight_ms = (self.start_ms // DAY_MS + 1) * DAY_MS
        navs = store.navs(token.symbol, midnight_ms, midnight_ms + DAY_MS)
        first = next((nav.nav for nav in navs if nav.kind == "minute"), 0)
        is_due = 0 < first < rule.below * MINOR
        merged = list(store.tagged(f"token:{token.symbol}", "consolidated"))
        found = [row.time_ms for row in merged if b'"by":"rule"' in row.body]
        self.seen["merged"] += len(found)
        running = self.engine.driver.by_name.get(token.symbol)
        by_hand = any(row.time_ms >= midnight_ms for row in merged)
        waits = by_hand or state_of(kept.body).status != "open" or (running is not None and running.merges)
        if (is_due, len(found)) in {(False, 0), (True, 1)} or (is_due and not found and waits):
            return []
        return [f"{token.symbol}: merged at {found}, the day's first NAV was {first}"]


def _name(file: Path, incarnation: str) -> None:
    """Gives a database the incarnation and the secret that its seed has, which are drawn otherwise."""
    with closing(connect(file)) as connection:
        connection.execute("UPDATE meta SET incarnation = ?, secret = ?", (incarnation, incarnation))


def main() -> int:
    """Runs many seeds on all cores; returns 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m proof.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first of them")
    parser.add_argument("--hours", type=float, default=1.0, help="of the market, for each")
    parser.add_argument("--digests", action="store_true", help="print what each came to")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    total: Counter[str] = Counter()
    failed, began = 0, time.monotonic()
    with ProcessPoolExecutor() as pool, Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("simulating", total=len(seeds))
        for outcome in pool.map(partial(simulate, hours=given.hours), seeds, chunksize=1):
            progress.advance(task)
            total.update(outcome.seen)
            total.update({"orders": outcome.orders, "lines": outcome.lines, "kills": outcome.kills})
            if given.digests:
                print(f"{outcome.seed} {outcome.digest}", flush=True)
            if outcome.failures:
                failed += 1
                again = f"python -m proof.sim --seeds 1 --from {outcome.seed} --hours {given.hours:g}"
                print(f"seed {outcome.seed} failed (again: {again}):", *outcome.failures, sep="\n  ", flush=True)
    print(", ".join(f"{name} {count:,}" for name, count in sorted(total.items())))
    print(f"{failed} of {len(seeds)} seeds failed; {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
