"""The engine between a keeper and a venue that a test plays: what is durable before what is sent, what silence is."""

from __future__ import annotations

import asyncio
from contextlib import closing
from types import SimpleNamespace

import msgspec
import pytest
from proof.virtual import run

import gearing as gr
from gearing.core import book as bk
from gearing.core.money import MINOR
from gearing.core.terms import Spec
from gearing.desk.boot import boot
from gearing.desk.counter import answer
from gearing.desk.engine import Engine
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.requests import Deal, Pay
from gearing.desk.watchdog import Watchdog
from gearing.drive.breakers import BreakerLimits
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.database import connect, init_database
from gearing.store.errors import BusyError
from gearing.store.store import Store
from gearing.venues.protocol import Forced, GatewayError, Received, RefusedError, Statement, Trade
from tests.lives import CAPITAL, NOON_MS, UNITS, token
from tests.played import VISIBILITY_MS, WINDOW_MS, Desk, Keeper, lived


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


def halted_at(moment, what):
    """A desk whose token or book is halted while a row of its first order becomes durable, and resumed later."""

    async def whole():
        desk = Desk()
        desk.keeper_waits(moment, lambda: halt(desk, what))
        living = asyncio.ensure_future(desk.live(10.0))
        await asyncio.sleep(5.0)
        seen = desk.named("ready", "sending", "place", "done")
        if what == "token":
            desk.driver.operate(desk.running, "resume", "ann", "looked", desk.clock.now_ms())
        else:
            desk.driver.note(desk.book, bk.BookResumed(time_ms=desk.clock.now_ms(), by="ann", reason="looked"))
        await living
        return desk, seen

    return run(whole())


def halt(desk, what):
    if what == "token":
        desk.driver.operate(desk.running, "halt", "ann", "look", desk.clock.now_ms())
    else:
        desk.driver.note(desk.book, bk.BookHalted(time_ms=desk.clock.now_ms(), by="ann", reason="look"))


@pytest.mark.parametrize("moment", ["ready", "sending"])
def test_an_order_of_a_token_that_was_halted_before_it_was_sent_is_not_sent(moment):
    desk, seen = halted_at(moment, "token")
    assert [entry[0] for entry in seen] == (["ready", "done"] if moment == "ready" else ["ready", "sending", "done"])
    assert len(desk.named("place")) == 1  # once resumed, the rule asks again
    assert desk.running.state.legs[0].lots == 30_000_000
    assert not desk.book.state.live
    assert len(desk.engine.outbox) == 0


@pytest.mark.parametrize("moment", ["ready", "sending"])
def test_an_order_of_a_book_that_was_halted_before_it_was_sent_is_not_sent(moment):
    _, seen = halted_at(moment, "book")
    assert [name for name, *_ in seen if name == "place"] == []
    assert [name for name, *_ in seen if name == "sending"] == (["sending"] if moment == "sending" else [])


def test_settings_that_are_read_again_while_a_row_becomes_durable_are_waited_for():
    async def whole():
        desk = Desk()

        def forget():
            desk.venue.settings[:0] = [TimeoutError()] * 3
            desk.engine.recheck("T")

        desk.keeper_waits("sending", forget)
        await desk.live()
        return desk

    desk = run(whole())
    names = [entry[0] for entry in desk.named("setting", "sending", "place")]
    assert names[names.index("sending") + 1] == "setting"


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
        booted = boot(store, Market(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=NOON_MS)
        assert booted.driver.books["T"].state.halted == ""
        assert not booted.driver.taken()
    with closing(connect(path)) as connection:
        connection.execute("UPDATE meta SET incarnation = 'zzz999', restored_ms = 5")
    with Store(path, "demo") as store:
        book = boot(store, Market(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=NOON_MS).driver.books[
            "T"
        ]
    assert book.state.halted.startswith("restore")
    assert book.state.incarnation == "zzz999"


# Leverage and margin mode.


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


def gift(number, amount, asset="USDT", time_ms=NOON_MS):
    return Received(id=f"in{number}", time_ms=time_ms, asset=asset, amount=amount)


def test_money_that_came_unasked_is_the_reserves_and_nobodys_nav():
    """However much an attacker gives: no NAV moves, nothing is halted, and the venue has what the ledger says."""
    given = [gift(1, CAPITAL), gift(2, 7, "BNB"), gift(3, 5)]
    desk, plain = lived(lambda desk: desk.venue.gifts.extend(given)), lived()
    state, other = desk.running.state, plain.running.state
    assert (state.nav, state.balances, state.legs) == (other.nav, other.balances, other.legs)
    assert desk.book.state.halted == ""
    assert sorted(entry[1:3] for entry in desk.named("transfer")) == [("BNB", -7), ("USDT", -CAPITAL - 5)]
    assert desk.venue.wallet() == {"USDT": CAPITAL, "BNB": 0}
    assert desk.book.state.received == {"USDT": CAPITAL + 5, "BNB": 7}


def test_each_arrival_is_told_and_booked_once():
    alarms = []

    def prepare(desk):
        desk.engine.on_alarm = alarms.append
        desk.engine.reconcile_ms = 1_000
        # Of the time of the statement: it may have come after it, and is told again by the venue.
        desk.venue.gifts.append(gift(1, 7_50000000))

    desk = lived(prepare)
    assert len(desk.named("statement")) > 10
    assert desk.book.state.received == {"USDT": 7_50000000}
    words = "T: 7.50000000 USDT came into its account unasked; it goes to the reserve"
    assert [one for one in alarms if "unasked" in one] == [words]


def test_a_capital_below_the_smallest_trade_is_told_once_until_it_is_enough():
    engine, alarms = Engine.__new__(Engine), []
    engine._small, engine.on_alarm = set(), alarms.append
    legs = (gr.Perpetual(symbol="A", min_notional=100.0),)
    one = SimpleNamespace(name="T", spec=SimpleNamespace(token=gr.Token(symbol="T", target=3.0, legs=legs)))

    def look(equity, lot="0.001", more=()):
        held = (SimpleNamespace(mark=100.0, lot=lot), *more)
        one.state = SimpleNamespace(equity=round(equity * MINOR), legs=held)
        engine._tell_of_small(SimpleNamespace(tokens=[one]))

    look(33.0)
    look(33.0)
    words = "T: its capital of 33.00 USDT is too small to hold A: 99.00 of it is below the smallest trade, 100.00"
    assert alarms == [words]
    look(34.0, more=(SimpleNamespace(mark=0.0, lot="1"),))
    look(0.0)
    assert alarms == [words]
    look(34.0, lot="2")
    assert alarms[1:] == [words.replace("33.00", "34.00").replace("99.00", "102.00").replace("100.00", "200.00")]


def test_a_difference_that_nobody_explains_still_halts():
    desk = lived(lambda desk: desk.venue.moved.update(x=("USDT", 5)))
    assert desk.book.state.halted.startswith("reconciliation: C1: USDT: ")


def lived_on(happens):
    """A desk after five seconds; what happens comes right after the first statement that agreed, and bears its time."""

    async def whole():
        desk = Desk()
        desk.engine.reconcile_ms = 1_000
        living = asyncio.ensure_future(desk.live(5.0))
        while desk.book.state.reconciled_ms == 0:
            await asyncio.sleep(0.01)
        happens(desk.venue, desk.book.state.reconciled_ms)
        await living
        return desk

    return run(whole())


def test_of_a_token_that_is_over_no_payments_of_long_ago_are_asked_for():
    asked = []

    async def whole():
        desk = Desk()

        async def listed(since_ms):
            asked.append(since_ms)
            return []

        desk.venue.funding_payments = listed
        desk.driver.operate(desk.running, "close", "ann", "it is over", NOON_MS)
        await desk.live(2.0)
        return desk

    desk = run(whole())
    assert desk.running.state.status == "closed"
    assert min(asked) >= NOON_MS


def test_what_came_in_the_millisecond_of_a_statement_is_not_missed():
    desk = lived_on(lambda venue, now_ms: venue.gifts.append(gift(1, 5, time_ms=now_ms)))
    assert desk.book.state.received == {"USDT": 5}


def test_what_was_closed_in_the_millisecond_of_a_statement_is_not_missed():
    closed = Forced(trade_id="f1", symbol="A", lots=-10_000_000, price=100.0, charge=0, realised=0, time_ms=0,
                    deleveraged=False)  # fmt: skip
    desk = lived_on(lambda venue, now_ms: venue.forced.append(msgspec.structs.replace(closed, time_ms=now_ms)))
    assert desk.book.state.closures == {"f1": NOON_MS}
    assert desk.book.state.halted == ""


@pytest.mark.parametrize("is_told", [True, False])
def test_fills_before_a_trade_that_the_venue_made_by_itself_are_booked_before_it(is_told):
    """Whether its report comes or the venue is asked for it; a fill after it stays where it is."""
    closed = Forced(trade_id="f1", symbol="A", lots=-10_000_000, price=100.0, charge=0, realised=0,
                    time_ms=NOON_MS + 2_000, deleveraged=True)  # fmt: skip
    booked = []

    def prepare(desk):
        venue = desk.venue
        live = venue.status

        async def fills(client_id):
            return [Trade(trade_id=f"t{n}", client_id=client_id, symbol="A", lots=15_000_000, price=100.0, commission=0,
                          asset="USDT", realised=0, time_ms=NOON_MS + 1_000 + 2_000 * n)
                    for n in range(2) if client_id == next(iter(venue.orders))]  # fmt: skip

        async def reports():
            await asyncio.sleep(3.0)
            venue.forced.append(closed)
            if is_told:
                yield closed
                await asyncio.Event().wait()

        venue.status = lambda order: msgspec.structs.replace(live(order), word="open", filled=0)
        venue.fills, venue.reports = fills, reports
        trade, forced = desk.driver.on_trade, desk.driver.on_forced
        desk.driver.on_trade = lambda book, it: (booked.append(it.trade_id), trade(book, it))
        desk.driver.on_forced = lambda book, it: (booked.append(it.trade_id), forced(book, it))

    desk = lived(prepare, length_s=4.5)
    assert booked[:2] == ["t0", "f1"]
    assert set(booked[2:]) <= {"f1"}
    assert desk.running.state.legs[0].lots == 15_000_000 - 10_000_000


def test_a_trade_that_the_venue_made_by_itself_is_booked_though_it_does_not_return_fills():
    closed = Forced(trade_id="f1", symbol="A", lots=-10_000_000, price=100.0, charge=0, realised=0,
                    time_ms=NOON_MS + 2_000, deleveraged=False)  # fmt: skip

    def prepare(desk):
        live = desk.venue.status

        async def silent(client_id):
            raise GatewayError("no answer")

        async def reports():
            await asyncio.sleep(3.0)
            yield closed
            await asyncio.Event().wait()

        desk.venue.status = lambda order: msgspec.structs.replace(live(order), word="open", filled=0)
        desk.venue.fills, desk.venue.reports = silent, reports

    desk = lived(prepare, length_s=4.5)
    assert desk.book.state.has_closed("f1", closed.time_ms)
