"""A desk that begins again where a kill left it: cash that was to be moved, windows that have ended, requests."""

from __future__ import annotations

import asyncio

import pytest
from proof.virtual import run

from gearing.core.money import MINOR
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.desk.inbox import Inbox
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.moves import CashMoves
from gearing.desk.requests import Deal, Operate, Pay, answered_of, encode
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.drive.merging import Merger, merge
from gearing.drive.reconciling import due_cash
from gearing.store.errors import BusyError
from gearing.store.verify import verify
from gearing.venues.protocol import Quote, RefusedError
from tests.test_store_dealing import kept  # noqa: F401


class KilledError(Exception):
    """The process ends here."""


class Venue:
    """Takes each reference once; `dies` names where in the next transfer the desk is killed."""

    def __init__(self):
        self.taken, self.asked, self.dies = {}, 0, ""

    async def transfer(self, asset, amount, reference):
        self.asked += 1
        if self.dies == "before":
            raise KilledError
        assert self.taken.setdefault(reference, (asset, amount)) == (asset, amount)
        if self.dies == "after":
            raise KilledError


def life(desk, venue, *, fails=None):
    """A new process on the desk's database: its book, and what moves its cash."""
    booted = boot(desk.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=desk.now_ms)
    clock = ScaledClock(desk.now_ms)
    engine = Engine(booted.driver, booted.outbox, {"main": venue}, InLoopKeeper(desk.store), clock)

    async def settle():
        await asyncio.sleep(0.1)
        if fails is not None:
            raise fails
        await engine.settle()

    return booted.driver.books["main"], CashMoves(booted.driver, {"main": venue}, clock, settle)


def paid_in(desk):
    """A flow brings in so much money, which the venue does not have yet."""
    desk.deposit("h1", 20_000)
    desk.ask("h1", "subscribe", 6_000 * MINOR)
    desk.window()
    (asset,) = due_cash(desk.book)
    return asset, due_cash(desk.book)[asset]


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_desk_that_is_killed_between_journalling_a_move_and_making_it_makes_it_once(kept, where):  # noqa: F811
    due, venue = paid_in(kept), Venue()

    async def killed():
        book, moves = life(kept, venue)
        venue.dies = where
        with pytest.raises(KilledError):
            await moves.move(book)
        assert not moves.is_done(book)

    async def again():
        book, moves = life(kept, venue)
        assert due_cash(book) == {}  # the journal has it
        assert not moves.is_done(book)
        await moves.move(book)
        assert moves.is_done(book)
        await moves.move(book)
        assert book.state.moves == 1

    run(killed())
    venue.dies = ""
    run(again())
    assert list(venue.taken.values()) == [due]
    assert venue.asked == 2


def test_no_move_is_made_before_it_is_durable_by_whoever_reconciles_meanwhile(kept):  # noqa: F811
    paid_in(kept)
    venue = Venue()

    async def twice():
        book, moves = life(kept, venue, fails=BusyError("no"))
        first = asyncio.ensure_future(moves.move(book))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(moves.move(book))
        await asyncio.wait({first}, timeout=1.0)
        assert isinstance(first.exception(), BusyError)
        asked = venue.asked
        second.cancel()
        return asked

    assert run(twice()) == 0


def test_a_window_that_ended_before_a_kill_is_not_put_off(kept):  # noqa: F811
    kept.deposit("h1", 20_000)
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.take()
    now_ms = kept.now_ms + 90_500
    booted = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=now_ms)
    booted.driver.on_quotes([Quote(symbol="A", time_ms=now_ms, mark=100.0, index=100.0)], now_ms)
    assert booted.driver.by_name["T"].flow


def asked(desk, *wanted):
    return [desk.store.ask("ann", f"k{n}", encode(one)).number for n, one in enumerate(wanted)]


def pay(holder, amount, reference):
    return Pay(holder=holder, asset="USDT", amount=amount * MINOR, reference=reference, by="ann")


@pytest.mark.parametrize("priced", [True, False])
def test_a_desk_that_begins_waits_for_its_first_price_before_it_refuses_for_want_of_one(kept, priced):  # noqa: F811
    """What holders asked after it keeps its order; what operators ask does not wait."""
    deal = Deal(holder="h1", token="T", side="subscribe", amount=500 * MINOR)
    numbers = asked(
        kept,
        pay("h1", 900, "a"),
        deal,
        pay("h1", -400, "b"),
        pay("h2", 5, "c"),
        Operate(action="halt", token="X", by="ann", reason="test"),
    )

    def answers():
        found = [kept.store.answer(number) for number in numbers]
        return [None if one is None else answered_of(one).done for one in found]

    async def lived():
        booted = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms)
        engine = Engine(booted.driver, booted.outbox, {}, InLoopKeeper(kept.store), ScaledClock(kept.now_ms))
        taking = asyncio.ensure_future(Inbox(engine, kept.store).run())
        await asyncio.sleep(5.0)
        assert answers() == [True, None, None, None, False]
        if priced:
            now_ms = engine.clock.now_ms()
            await engine.on_quotes([Quote(symbol="A", time_ms=now_ms, mark=100.0, index=100.0)])
            await asyncio.sleep(1.0)
            assert answers() == [True, True, True, True, False]
        else:
            await asyncio.sleep(6.0)
            assert answers() == [True, False, True, True, False]
            assert "has no good price now" in answered_of(kept.store.answer(numbers[1])).words
        taking.cancel()

    run(lived())


@pytest.mark.parametrize("merges_first", [False, True])
def test_a_command_that_waited_in_the_inbox_over_a_merger_and_a_kill_is_rejected(kept, merges_first):  # noqa: F811
    """Its units are those of before; one that was put in after the merger counts in those of now."""
    kept.deposit("h1", 20_000)
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.window()
    redeem = Deal(holder="h1", token="T", side="redeem", amount=5 * MINOR)
    numbers = [] if merges_first else asked(kept, redeem)
    assert isinstance(merge(kept.driver, kept.it, 2.0, "ann", "too small", kept.now_ms), Merger)
    kept.take()
    numbers = numbers or asked(kept, redeem)

    async def lived():
        booted = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms)
        engine = Engine(booted.driver, booted.outbox, {}, InLoopKeeper(kept.store), ScaledClock(kept.now_ms))
        taking = asyncio.ensure_future(Inbox(engine, kept.store).run())
        await engine.on_quotes([Quote(symbol="A", time_ms=engine.clock.now_ms(), mark=100.0, index=100.0)])
        while (body := kept.store.answer(numbers[0])) is None:
            await asyncio.sleep(0.01)
        taking.cancel()
        return answered_of(body)

    answered = run(lived())
    assert answered.done == merges_first
    assert merges_first or "units of T were merged after this was sent" in answered.words


def test_a_command_that_was_put_in_before_a_merger_is_rejected_however_late_it_is_found(kept):  # noqa: F811
    """The inbox is looked at every tenth of a second; units were merged meanwhile."""
    kept.deposit("h1", 20_000)
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.window()

    async def lived():
        booted = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms)
        engine = Engine(booted.driver, booted.outbox, {}, InLoopKeeper(kept.store), ScaledClock(kept.now_ms))
        taking = asyncio.ensure_future(Inbox(engine, kept.store).run())
        await engine.on_quotes([Quote(symbol="A", time_ms=engine.clock.now_ms(), mark=100.0, index=100.0)])
        await asyncio.sleep(0.03)
        (number,) = asked(kept, Deal(holder="h1", token="T", side="redeem", amount=5 * MINOR))
        running = booted.driver.by_name["T"]
        assert isinstance(merge(booted.driver, running, 2.0, "ann", "too small", engine.clock.now_ms()), Merger)
        while (body := kept.store.answer(number)) is None:
            await asyncio.sleep(0.01)
        taking.cancel()
        return answered_of(body)

    answered = run(lived())
    assert not answered.done
    assert "units of T were merged after this was sent" in answered.words


def test_however_many_wait_those_of_after_a_merger_are_not_taken_for_those_of_before(kept):  # noqa: F811
    """More than are taken up at once: the merger comes while the first are carried out."""
    kept.deposit("h1", 20_000)
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.window()
    redeem = Deal(holder="h1", token="T", side="redeem", amount=MINOR)

    async def lived():
        booted = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms)
        engine = Engine(booted.driver, booted.outbox, {}, InLoopKeeper(kept.store), ScaledClock(kept.now_ms))
        inbox, running = Inbox(engine, kept.store), booted.driver.by_name["T"]
        await engine.on_quotes([Quote(symbol="A", time_ms=engine.clock.now_ms(), mark=100.0, index=100.0)])
        before = asked(kept, *[redeem] * 150)
        inbox._look()
        assert isinstance(merge(booted.driver, running, 2.0, "ann", "too small", engine.clock.now_ms()), Merger)
        inbox._look()
        after = [kept.store.ask("ann", f"after{n}", encode(redeem)).number for n in range(150)]
        while inbox._taken < after[-1]:
            inbox._look()
        return before, after, {one.request.number: one.mergers for one in inbox._queue}, running.merged

    before, after, mergers, merged = run(lived())
    assert all(mergers[number] < merged for number in before)
    assert all(mergers[number] >= merged for number in after)


def test_a_move_that_the_venue_refuses_is_told_of_once_and_due_again(kept):  # noqa: F811
    paid_in(kept)
    venue = Venue()

    async def refused(asset, amount, reference):
        venue.asked += 1
        raise RefusedError("margin", "at most 0 can be taken out")

    async def whole():
        book, moves = life(kept, venue)
        driver, due, makes = moves._driver, due_cash(book), venue.transfer
        venue.transfer = refused
        told = []
        take = driver.taken
        driver.taken = lambda: (told.extend(driver.effects.alarms), take())[1]
        for _ in range(2):
            await moves.move(book)
            assert due_cash(book) == due
            assert not moves.is_done(book)
        assert (venue.asked, venue.taken, book.state.move) == (2, {}, None)
        assert [words for words in told if "cannot be moved into its account" in words] == told[:1] != []
        venue.transfer = makes
        await moves.move(book)
        assert moves.is_done(book)
        assert list(venue.taken.values()) == list(due.items())

    run(whole())
    assert verify(kept.path).breaches == ()
