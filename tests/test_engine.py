"""The engine between a keeper and a venue that a test plays: what is durable before what is sent, what silence is."""

from __future__ import annotations

import asyncio
from contextlib import closing
from types import SimpleNamespace

import msgspec
import pytest
from proof.virtual import run

import gearing as gr
from gearing.core.terms import Spec
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.counter import answer
from gearing.desk.engine import Engine
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.margins import Margins
from gearing.desk.requests import Deal, Pay
from gearing.desk.watchdog import Watchdog
from gearing.drive.breakers import BreakerLimits
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.margining import MarginChoice, wanted_settings
from gearing.drive.market import Market
from gearing.drive.outbox import Outbox
from gearing.store.database import connect, init_database
from gearing.store.errors import BusyError
from gearing.store.records import OutboxChange, OutboxRow
from gearing.store.store import Store
from gearing.venues.protocol import (
    GatewayError,
    InstrumentRules,
    OrderStatus,
    Quote,
    RefusedError,
    Setting,
    Statement,
    Trade,
)
from tests.lives import CAPITAL, NOON_MS, UNITS, token

WINDOW_MS, VISIBILITY_MS = 2_000, 1_000


class Venue:
    """A venue that does as it is told; `fails` are raised by the next placings, `hidden` hides orders from queries."""

    def __init__(self, log):
        self.log, self.fails, self.hidden, self.orders, self.arrives = log, [], False, {}, True
        self.statements, self.lot = [], "0.001"
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
        lots = sum(order.lots for order in self.orders.values())
        positions, costs = {"A": lots} if lots else {}, {"USDT": 0}
        return found or Statement(
            time_ms=NOON_MS, positions=positions, wallet={"USDT": CAPITAL}, maintenance={}, costs=costs
        )

    async def transfer(self, asset, amount, reference):
        self.log.append(("transfer", asset, amount, reference))

    async def instruments(self):
        return [InstrumentRules(symbol="A", asset="USDT", lot=self.lot)]

    async def funding_payments(self, since_ms):
        return []

    async def forced_trades(self, since_ms):
        return []

    async def reports(self):
        await asyncio.Event().wait()
        yield


class Keeper:
    """A keeper that notes what it was given, and takes its time."""

    def __init__(self, log, fails=None):
        self.log, self.fails = log, fails

    async def keep(self, effects, rows=(), answers=()):
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
        market = Market(GuardLimits())
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

    def named(self, *names):
        return [entry for entry in self.log if entry[0] in names]


def lived(prepare=lambda desk: None, keeper=None, length_s=20.0):
    async def whole():
        desk = Desk(keeper)
        prepare(desk)
        await desk.live(length_s)
        return desk

    return run(whole())


def test_an_order_and_its_sending_are_durable_before_it_is_sent():
    desk = lived()
    (ready, sending, place, done) = desk.named("ready", "sending", "place", "done")
    assert [ready[0], sending[0], place[0], done[0]] == ["ready", "sending", "place", "done"]
    assert len({entry[1] for entry in (ready, sending, place, done)}) == 1
    assert desk.running.state.legs[0].lots == 30_000_000


def test_an_order_is_signed_with_the_time_of_its_row():
    """However long the row took: a venue then refuses what a paused process sends late."""
    desk = lived()
    (sending,) = desk.named("sending")
    (place,) = desk.named("place")
    assert place[2] == sending[2]
    assert sending[3] == sending[2] + WINDOW_MS + VISIBILITY_MS


@pytest.mark.parametrize("fails", [
    TimeoutError(), ConnectionError("broke"), GatewayError(429), GatewayError(503), OSError("no route"),
    ValueError("something unheard of"),
])  # fmt: skip
def test_whatever_is_no_refusal_leaves_an_order_unknown(fails):
    """It arrived, and it is sent once."""
    desk = lived(lambda desk: desk.venue.fails.append(fails))
    assert len(desk.named("place")) == 1
    assert desk.named("query")
    assert desk.running.state.legs[0].lots == 30_000_000
    assert not desk.book.state.live


def test_a_refusal_is_an_answer():
    desk = lived(lambda desk: desk.venue.fails.append(RefusedError("margin")))
    first, second = desk.named("place")
    assert first[1] != second[1]
    assert not desk.named("query")


def test_not_found_counts_only_after_the_order_can_no_longer_arrive():
    async def whole():
        desk = Desk()
        desk.venue.fails.append(TimeoutError())
        desk.venue.arrives = False
        living = asyncio.ensure_future(desk.live())
        await asyncio.sleep(2.5)
        assert len(desk.named("query")) > 2
        assert len(desk.named("place")) == 1
        desk.venue.arrives = True
        await living
        return desk

    desk = run(whole())
    (sending, _), (first, second) = desk.named("sending"), desk.named("place")
    assert first[1] != second[1]
    assert second[2] > sending[3]
    assert desk.running.state.legs[0].lots == 30_000_000


def test_an_order_that_is_hidden_for_a_while_is_not_sent_again():
    async def whole():
        desk = Desk()
        desk.venue.fails.append(TimeoutError())
        desk.venue.hidden = True
        living = asyncio.ensure_future(desk.live())
        await asyncio.sleep(2.0)
        desk.venue.hidden = False
        await living
        return desk

    desk = run(whole())
    assert len(desk.named("place")) == 1
    assert desk.running.state.legs[0].lots == 30_000_000


def test_a_statement_that_fails_is_not_flat_and_no_price_comes_in_before_one_does_not():
    def prepare(desk):
        desk.venue.statements += [TimeoutError(), GatewayError(503), ConnectionError("broke")]

    desk = lived(prepare)
    log = [entry[0] for entry in desk.log if entry[0] in {"statement", "prices"}]
    assert log[:5] == ["statement"] * 4 + ["prices"]
    assert desk.book.state.halted == ""


def test_a_difference_that_stays_halts_and_sends_nothing():
    empty = Statement(time_ms=NOON_MS, positions={"A": 7}, costs={}, wallet={"USDT": CAPITAL}, maintenance={})
    desk = lived(lambda desk: desk.venue.statements.extend([empty] * 50))
    assert "C1" in desk.book.state.halted
    assert desk.named("ready", "place") == []


def test_a_contract_of_another_size_halts_before_anything_is_sent():
    desk = lived(lambda desk: setattr(desk.venue, "lot", "0.01"))
    assert desk.book.state.halted == "rules: the venue counts A in lots of 0.01, the ledger in lots of 0.001"
    assert desk.named("ready", "place") == []


def test_a_commit_that_fails_ends_the_engine_and_nothing_is_sent():
    failing = Keeper([], BusyError("no"))
    with pytest.raises(BusyError):
        lived(keeper=failing)
    assert failing.log == []


def test_while_an_order_is_under_way_statements_are_not_held_against_the_ledger():
    async def whole():
        desk = Desk()
        desk.venue.fails.append(TimeoutError())
        desk.venue.hidden = True
        living = asyncio.ensure_future(desk.live(length_s=4.0))
        await asyncio.sleep(1.5)
        assert desk.book.state.live
        assert not await desk.engine._reconcile("T")
        assert desk.book.state.halted == ""
        desk.venue.hidden = False
        await living

    run(whole())


def test_a_book_whose_database_was_restored_is_halted_under_a_new_incarnation(tmp_path):
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOON_MS)

    async def launched():
        desk = Desk()
        with Store(path, "demo") as store:
            driver = Driver(desk.driver.market)
            book = driver.open_book("T", store.meta.incarnation, ["T"], NOON_MS)
            driver.launch(book, Spec(token("A")), ("0.001",), CAPITAL, UNITS, NOON_MS)
            await InLoopKeeper(store).keep(driver.taken())

    run(launched())
    with Store(path, "demo") as store:
        booted = boot(store, Market(GuardLimits()), window_ms=1, visibility_ms=1, now_ms=NOON_MS)
        assert booted.driver.books["T"].state.halted == ""
        assert not booted.driver.taken()
    with closing(connect(path)) as connection:
        connection.execute("UPDATE meta SET incarnation = 'zzz999', restored_ms = 5")
    with Store(path, "demo") as store:
        book = boot(store, Market(GuardLimits()), window_ms=1, visibility_ms=1, now_ms=NOON_MS).driver.books["T"]
    assert book.state.halted.startswith("restore")
    assert book.state.incarnation == "zzz999"


# Leverage and margin mode.


def test_r5_leverage_is_set_and_read_back_before_anything_is_sent():
    desk = lived()
    assert [entry for entry in desk.log if entry[0] in {"setting", "set", "prices", "place"}][:4] == [
        ("setting", "A", 20.0), ("set", "A", 6.0, "cross"), ("setting", "A", 6.0), ("prices",),
    ]  # fmt: skip
    assert desk.book.state.halted == ""
    assert len(desk.named("place")) == 1


@pytest.mark.parametrize("obeys", [False, RefusedError("leverage", "not offered")])
def test_r5_a_venue_that_does_not_set_it_halts_the_book(obeys):
    told = []

    def prepare(desk):
        desk.venue.obeys = obeys
        desk.engine.on_alarm = told.append

    desk = lived(prepare)
    words = "R5: A is margined cross at 20 times, specified is cross at 6"
    assert desk.book.state.halted == f"settings: {words}"
    assert f"T: halted, {words}" in told
    assert told.count(f"T: halted, {words}") == 1
    assert desk.named("place", "ready") == []


def test_r5_a_query_that_fails_is_not_as_specified():
    silence = [TimeoutError(), GatewayError(503), ConnectionError("broke"), RefusedError("busy")]

    def prepare(desk):
        desk.venue.settings[:0] = silence

    desk = lived(prepare)
    assert desk.venue.settings == [Setting(leverage=6.0, margin_mode="cross")]
    assert [entry[0] for entry in desk.log if entry[0] in {"setting", "place"}].index("place") >= 2
    for error in silence:

        def mute(desk, error=error):
            desk.venue.settings = [error]

        stays = lived(mute)
        assert stays.named("place", "prices", "ready") == []
        assert stays.book.state.halted == ""


@pytest.mark.parametrize(
    ("lasts_s", "told"),
    [(170.0, []),
     (400.0, ["T: for 180 s the venue has not told its settings (no); the book is not reconciled until it does"])],
)  # fmt: skip
def test_a_person_hears_once_of_a_venue_that_stays_silent_about_a_book(lasts_s, told):
    alarms = []

    async def whole():
        desk = Desk()
        desk.engine.on_alarm = alarms.append
        known, desk.venue.settings = desk.venue.settings, [TimeoutError("no")]
        asyncio.get_running_loop().call_later(lasts_s, lambda: setattr(desk.venue, "settings", known))
        await desk.live(lasts_s + 20.0)
        return desk

    assert run(whole()).named("prices") == [("prices",)]
    assert alarms == told


def test_r5_the_margin_mode_is_not_changed_while_something_is_held():
    def prepare(desk):
        held = desk.running.state.legs[0]
        desk.running.state = msgspec.structs.replace(
            desk.running.state, opened=True, legs=(msgspec.structs.replace(held, lots=5),)
        )
        desk.venue.settings = [Setting(leverage=6.0, margin_mode="isolated")]

    desk = lived(prepare)
    assert desk.named("set", "place") == []
    assert "A is margined isolated at 6 times, specified is cross at 6" in desk.book.state.halted


def test_r5_an_order_of_before_waits_for_the_settings_and_a_halted_book_sends_it_never():
    for obeys in (True, False):

        def prepare(desk, obeys=obeys):
            """As a restart finds it: an order that is ready, and a venue whose setting was not read yet."""
            desk.venue.obeys = obeys
            desk.venue.settings[:0] = [TimeoutError()] * 3
            desk.driver.on_quotes([desk.quote(NOON_MS + 1)], NOON_MS + 1)
            (order,) = desk.driver.taken().placed
            desk.engine.outbox.add("T", order, NOON_MS)

        desk = lived(prepare)
        kinds = [entry[0] for entry in desk.log]
        if obeys:
            assert kinds.index("place") > kinds.index("set")
            assert len(desk.named("place")) == 1
        else:
            assert "place" not in kinds
            assert desk.book.state.live == {}
            assert desk.running.state.status == "halted"
            assert not desk.running.state.is_working


def test_r5_settings_are_read_anew_with_each_reconciliation_and_when_they_were_forgotten():
    async def whole():
        desk = Desk()
        living = asyncio.ensure_future(desk.live(length_s=100.0))
        await asyncio.sleep(50.0)
        read = len(desk.named("setting"))
        desk.engine.recheck("T")
        await asyncio.sleep(1.0)
        assert len(desk.named("setting")) == read + 1
        desk.venue.settings, desk.venue.obeys = [Setting(leverage=3.0, margin_mode="cross")], False
        await living
        assert "R5" in desk.book.state.halted

    run(whole())


def test_r5_what_was_asked_before_it_was_forgotten_counts_no_more():
    async def whole():
        margins = Margins({})
        turn = margins.turn("T")
        margins.forget("T")
        assert not margins.know("T", turn)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(margins.known("T"), 1.0)
        assert margins.know("T", margins.turn("T"))
        await margins.known("T")

    run(whole())


@pytest.mark.parametrize(
    ("it", "choice", "leverage"),
    [
        (token("A"), MarginChoice(), 6.0),
        (token("A", target=-1.0), MarginChoice(), 2.0),
        (token("A", target=1.3), MarginChoice(), 3.0),
        (token("A", "B", weights=[1.5, -0.5]), MarginChoice(), 12.0),
        (token("A"), MarginChoice(4.0), 4.0),
        (gr.Token(symbol="T", target=3.0, legs=(gr.Perpetual(symbol="A", margin_tiers=(gr.MarginTier(rate=0.3),)),)),
         MarginChoice(), 3.0),
    ],
)  # fmt: skip
def test_r5_the_default_is_twice_what_the_target_needs_as_far_as_the_venue_offers_it(it, choice, leverage):
    assert {one.leverage for one in wanted_settings(it, choice).values()} == {leverage}


def test_the_money_of_a_flow_is_at_the_venue_before_its_hedge_is_sent():
    """A flow larger than the token is margined by what it brings in, not by what was there before it."""

    async def whole():
        desk = Desk()
        desk.engine.reconcile_ms = 600_000
        life = asyncio.ensure_future(desk.live(70.0))
        await asyncio.sleep(5.0)
        answer(desk.driver, Pay(holder="h", asset="USDT", amount=3 * CAPITAL, reference="r", by="ann"), NOON_MS)
        asked = Deal(holder="h", token=desk.running.name, side="subscribe", amount=3 * CAPITAL)
        assert answer(desk.driver, asked, desk.clock.now_ms()).done
        await life
        return desk

    log = run(whole()).log
    moved = next(n for n, entry in enumerate(log) if entry[0] == "transfer")
    assert log[moved][1:3] == ("USDT", 3 * CAPITAL)
    hedge = [n for n, entry in enumerate(log) if entry[0] == "place"][-1]
    assert moved < hedge
    assert len([entry for entry in log if entry[0] == "transfer"]) == 1


def test_while_an_order_is_unknown_the_nav_is_told_both_ways():
    seen = []

    async def whole():
        desk = Desk()
        desk.venue.fails, desk.venue.hidden = [TimeoutError()], True
        nothing = SimpleNamespace(navs=lambda *asked: [], tagged=lambda *asked: [])
        watchdog = Watchdog(desk.engine, nothing, BreakerLimits(), NOON_MS)
        life = asyncio.ensure_future(desk.live(20.0))
        for _ in range(3):
            await asyncio.sleep(1.0)
            seen.append(watchdog.view(desk.running, desk.clock.now_ms()))
        desk.venue.hidden = False
        await asyncio.sleep(3.0)
        seen.append(watchdog.view(desk.running, desk.clock.now_ms()))
        await life

    run(whole())
    assert seen[2].nav_filled is not None
    assert seen[2].health == f"an order is unknown: if it was filled, NAV is {seen[2].nav_filled:,.4f}"
    assert (seen[3].nav_filled, seen[3].health) == (None, "ok")
