"""The intake: many who ask at once are answered once each, after what came of it is durable."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gearing.core.money import MINOR
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.desk.inbox import Inbox
from gearing.desk.intake import Intake
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.requests import Pay, answered_of, encode
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.database import init_database
from gearing.store.errors import BusyError, KeyReusedError
from gearing.store.store import Store
from tests.lives import NOON_MS


def pay(number, amount=1):
    return Pay(holder=f"h{number}", asset="USDT", amount=amount * MINOR, reference=f"r{number}", by="ann")


@pytest.fixture
def store(tmp_path):
    init_database(tmp_path / "desk.db", "demo", NOON_MS)
    with Store(tmp_path / "desk.db", "demo") as store:
        yield store


def served(store, asking, prepare=lambda engine, inbox, intake: None):
    """Returns what `asking(intake)` returns, of a desk that serves it."""

    async def whole():
        booted = boot(store, Market(GuardLimits()), window_ms=2_000, visibility_ms=1_000, now_ms=NOON_MS)
        engine = Engine(booted.driver, booted.outbox, {}, InLoopKeeper(store), ScaledClock(NOON_MS))
        inbox = Inbox(engine, store)
        intake = Intake(store, inbox)
        prepare(engine, inbox, intake)
        running = [asyncio.ensure_future(inbox.run()), asyncio.ensure_future(intake.run())]
        try:
            return await asyncio.wait_for(asking(intake), 20.0)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    return asyncio.run(whole())


def test_who_asks_together_is_answered_one_by_one(store):
    async def asking(intake):
        return await asyncio.gather(*(intake.ask(f"h{k}", "d", pay(k, k + 1)) for k in range(300)))

    answers = served(store, asking)
    assert [one.words for one in answers[:2]] == [
        "h0 was credited 1.00000000 USDT; 1.00000000 is free.",
        "h1 was credited 2.00000000 USDT; 2.00000000 is free.",
    ]
    assert all(one.done for one in answers)
    assert store.requests() == []
    assert sum(1 for stream in store.streams() if stream.startswith("holder:")) == 300


def test_the_same_question_is_carried_out_once_and_answered_each_time(store):
    async def asking(intake):
        together = await asyncio.gather(*(intake.ask("h1", "d", pay(1)) for _ in range(5)))
        return [*together, await intake.ask("h1", "d", pay(1))]

    answers = served(store, asking)
    assert {one.words for one in answers} == {"h1 was credited 1.00000000 USDT; 1.00000000 is free."}
    assert store.streams() == {"holder:h1": 1}


def test_a_key_that_stands_for_something_else_is_refused_alone(store):
    async def asking(intake):
        await intake.ask("h1", "d", pay(1))
        return await asyncio.gather(intake.ask("h1", "d", pay(1, 2)), intake.ask("h2", "d", pay(2)),
                                    return_exceptions=True)  # fmt: skip

    refused, done = served(store, asking)
    assert isinstance(refused, KeyReusedError)
    assert done.done


def test_an_answer_that_came_before_it_was_expected_is_told_all_the_same(store):
    """The inbox may take a question up before the task that put it in hears that it is in."""
    put_in = threading.Event()

    def prepare(engine, inbox, intake):
        ask_all = store.ask_all

        def slow(questions):
            asked = ask_all(questions)
            assert put_in.wait(10.0)
            return asked

        store.ask_all = slow
        serve = inbox._serve

        async def telling(requests):
            await serve(requests)
            put_in.set()

        inbox._serve = telling

    assert served(store, lambda intake: intake.ask("h1", "d", pay(1)), prepare).done


def test_what_could_not_be_put_in_is_told_and_who_asks_next_is_served(store):
    def prepare(engine, inbox, intake):
        ask_all = store.ask_all

        def full(questions):
            store.ask_all = ask_all
            raise BusyError("another process held the database for too long.")

        store.ask_all = full

    async def asking(intake):
        with pytest.raises(BusyError):
            await intake.ask("h1", "d", pay(1))
        return await intake.ask("h1", "d", pay(1))

    assert served(store, asking, prepare).done


def test_nobody_is_answered_before_it_is_durable(store):
    seen = []

    def prepare(engine, inbox, intake):
        keep = engine.keeper.keep

        async def noted(effects, rows=(), answers=()):
            await asyncio.sleep(0.05)
            await keep(effects, rows, answers)
            seen.append([answered_of(one.body).words for one in answers])

        engine.keeper.keep = noted

    async def asking(intake):
        answered = await intake.ask("h1", "d", pay(1))
        assert seen == [[answered.words]]
        return answered

    assert served(store, asking, prepare).done


def test_another_process_asks_by_the_same_inbox(store):
    async def asking(intake):
        asked = store.ask("ann", "k", encode(pay(7)))
        while (body := store.answer(asked.number)) is None:
            await asyncio.sleep(0.01)
        return answered_of(body)

    assert served(store, asking).done


def test_nobody_waits_for_an_inbox_that_has_ended(store):
    def prepare(engine, inbox, intake):
        async def fails(effects, rows=(), answers=()):
            raise BusyError("the disk does not keep up.")

        engine.keeper.keep = fails

    with pytest.raises(asyncio.CancelledError):
        served(store, lambda intake: intake.ask("h1", "d", pay(1)), prepare)
    assert len(store.requests()) == 1  # it is kept, for the next that runs
