"""An engine with one token between a keeper and a venue that a test plays."""

from __future__ import annotations

import asyncio

from proof.virtual import run

from gearing.core.terms import Spec
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.drive.outbox import Outbox
from gearing.store.records import OutboxChange, OutboxRow
from gearing.venues.protocol import InstrumentRules, OrderStatus, Quote, RefusedError, Setting, Statement, Trade
from tests.lives import CAPITAL, NOON_MS, UNITS, token

WINDOW_MS, VISIBILITY_MS = 2_000, 1_000


class Venue:
    """A venue that does as it is told; `fails` are raised by the next placings, `hidden` hides orders from queries."""

    def __init__(self, log):
        self.log, self.fails, self.hidden, self.orders, self.arrives = log, [], False, {}, True
        self.statements, self.lot, self.gifts, self.forced = [], "0.001", [], []
        self.moved = {}
        self.settings, self.obeys = [Setting(leverage=20.0, margin_mode="cross")], True

    async def setting(self, symbol):
        """The last setting; those before it are what the next queries meet, errors are raised."""
        found = self.settings.pop(0) if len(self.settings) > 1 else self.settings[0]
        if isinstance(found, Exception):
            raise found
        self.log.append(("setting", symbol, found.leverage))
        return found

    async def set_setting(self, symbol, setting):
        self.log.append(("set", symbol, setting.leverage, setting.margin_mode))
        if isinstance(self.obeys, Exception):
            raise self.obeys
        if self.obeys:
            self.settings[-1] = setting

    async def place(self, order):
        self.log.append(("place", order.client_id, order.signed_ms))
        fails = self.fails.pop(0) if self.fails else None
        if isinstance(fails, RefusedError):
            raise fails
        if self.arrives:
            self.orders[order.client_id] = order
        if fails is not None:
            raise fails
        return self.status(order)

    def status(self, order):
        return OrderStatus(client_id=order.client_id, symbol=order.symbol, word="filled", lots=order.lots,
                           filled=order.lots, time_ms=NOON_MS)  # fmt: skip

    async def query(self, client_id):
        self.log.append(("query", client_id))
        order = None if self.hidden else self.orders.get(client_id)
        return None if order is None else self.status(order)

    async def fills(self, client_id):
        order = self.orders[client_id]
        return [Trade(trade_id=f"t{client_id}", client_id=client_id, symbol=order.symbol, lots=order.lots, price=100.0,
                      commission=0, asset="USDT", realised=0, time_ms=NOON_MS)]  # fmt: skip

    async def statement(self):
        self.log.append(("statement",))
        found = self.statements.pop(0) if self.statements else None
        if isinstance(found, Exception):
            raise found
        lots = sum(order.lots for order in self.orders.values()) + sum(one.lots for one in self.forced)
        positions, costs = {"A": lots} if lots else {}, {"USDT": 0}
        return found or Statement(
            time_ms=NOON_MS, positions=positions, wallet=self.wallet(), maintenance={}, costs=costs
        )

    def wallet(self):
        """The capital, with what came unasked and what was moved."""
        found = {"USDT": CAPITAL}
        for asset, amount in [(one.asset, one.amount) for one in self.gifts] + list(self.moved.values()):
            found[asset] = found.get(asset, 0) + amount
        return found

    async def transfer(self, asset, amount, reference):
        self.log.append(("transfer", asset, amount, reference))
        self.moved[reference] = (asset, amount)

    async def instruments(self):
        return [InstrumentRules(symbol="A", asset="USDT", lot=self.lot)]

    async def funding_payments(self, since_ms):
        return []

    async def forced_trades(self, since_ms):
        return [one for one in self.forced if one.time_ms > since_ms]

    async def received(self, since_ms):
        return [one for one in self.gifts if one.time_ms > since_ms]

    async def reports(self):
        await asyncio.Event().wait()
        yield


class Keeper:
    """A keeper that notes what it was given, and takes its time."""

    def __init__(self, log, fails=None):
        self.log, self.fails, self.meanwhile = log, fails, {}

    async def keep(self, effects, rows=(), answers=()):
        for row in rows:
            self.meanwhile.pop("ready" if isinstance(row, OutboxRow) else row.status, lambda: None)()
        # An intent takes longest, so that whatever does not wait for it is seen to overtake it.
        await asyncio.sleep(0.5 if any(isinstance(row, OutboxRow) for row in rows) else 0.05)
        if self.fails is not None:
            raise self.fails
        for row in rows:
            if isinstance(row, OutboxRow):
                self.log.append(("ready", row.id))
            elif isinstance(row, OutboxChange):
                self.log.append((row.status, row.id, row.signed_ms, row.dead_after_ms))


class Desk:
    """An engine with one token that wants to open."""

    def __init__(self, keeper=None):
        self.log = []
        self.clock, self.venue = ScaledClock(NOON_MS), Venue(self.log)
        market = Market(GuardLimits(warm_ms=0))
        market.list_token(0, ("A",))
        self.driver = Driver(market)
        self.driver.on_quotes([self.quote(NOON_MS)], NOON_MS)
        book = self.driver.open_book("T", "abc123", ["T"], NOON_MS)
        self.running = self.driver.launch(book, Spec(token("A")), ("0.001",), CAPITAL, UNITS, NOON_MS)
        self.book = book
        self.driver.taken()
        outbox = Outbox(WINDOW_MS, VISIBILITY_MS)
        self.engine = Engine(self.driver, outbox, {"T": self.venue}, keeper or Keeper(self.log), self.clock)

    def quote(self, time_ms):
        return Quote(symbol="A", time_ms=time_ms, mark=100.0, index=100.0)

    async def live(self, length_s=20.0):
        """Runs for so long, with a price every second."""

        async def feed():
            self.log.append(("prices",))
            while True:
                await self.engine.on_quotes([self.quote(self.clock.now_ms())])
                await asyncio.sleep(1.0)

        running = asyncio.ensure_future(self.engine.run(feed))
        await asyncio.wait({running}, timeout=length_s)
        if running.done():
            running.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def keeper_waits(self, status, act):
        """Lets something happen while the first row of this status becomes durable."""
        self.engine.keeper.meanwhile[status] = act

    def named(self, *names):
        return [entry for entry in self.log if entry[0] in names]


def lived(prepare=lambda desk: None, keeper=None, length_s=20.0):
    async def whole():
        desk = Desk(keeper)
        prepare(desk)
        await desk.live(length_s)
        return desk

    return run(whole())
