"""The intake: many who ask at once are answered once each, after what came of it is durable."""

from __future__ import annotations

import asyncio
import math

import pytest

from gearing.core.money import MINOR
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.engine import Engine
from gearing.desk.inbox import Inbox
from gearing.desk.intake import Intake
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.requests import Answered, Pay, answered_of, encode
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.database import connect, init_database
from gearing.store.errors import BusyError, KeyReusedError, StoreError
from gearing.store.records import Answer, Commit
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
        booted = boot(store, Market(GuardLimits(warm_ms=0)), window_ms=2_000, visibility_ms=1_000, now_ms=NOON_MS)
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
    """Another process may put the same in, and be answered before this one expects it."""
    number = store.ask("h1", "d", encode(pay(1))).number

    def prepare(engine, inbox, intake):
        asked = store.asked

        def then_answered(questions):
            known = asked(questions)
            store.commit([Commit(answers=(Answer(number, encode(Answered(done=True, words="done", time_ms=0)), 0),))])
            return known

        store.asked = then_answered
        inbox._look_s = math.inf  # it was served, and is not looked for again

    assert served(store, lambda intake: intake.ask("h1", "d", pay(1)), prepare).words == "done"


def test_who_leaves_takes_nobody_along(store):
    async def asking(intake):
        first, second = (asyncio.ensure_future(intake.ask("h1", "d", pay(1))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert served(store, asking).done
    assert store.streams() == {"holder:h1": 1}


def test_what_cannot_be_looked_up_is_told_and_who_asks_next_is_served(store):
    def prepare(engine, inbox, intake):
        asked = store.asked

        def busy(questions):
            store.asked = asked
            raise BusyError("another process held the database for too long.")

        store.asked = busy

    async def asking(intake):
        with pytest.raises(BusyError):
            await intake.ask("h1", "d", pay(1))
        return await intake.ask("h1", "d", pay(1))

    assert served(store, asking, prepare).done


def test_a_database_that_cannot_be_read_is_told_like_any_other_failure(store):
    """What SQLite raises itself is a refusal with a name, and leaves nobody waiting."""

    async def asking(intake):
        with pytest.raises(StoreError, match="no such table"):
            await intake.ask("h1", "d", pay(1))

    def prepare(engine, inbox, intake):
        inbox._look_s = math.inf
        with connect(store.path) as connection:
            connection.execute("ALTER TABLE inbox RENAME TO elsewhere")

    served(store, asking, prepare)


def test_nobody_waits_for_an_intake_that_has_ended(store):
    async def asking():
        intake = Intake(store, None)
        running = asyncio.ensure_future(intake.run())
        await asyncio.sleep(0)
        asked = asyncio.ensure_future(intake.ask("h1", "d", pay(1)))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(StoreError, match="Ask the same again"):
            await asyncio.wait_for(asked, 5.0)

    asyncio.run(asking())


def test_a_key_that_another_process_puts_in_before_the_commit_counts_once(store):
    """Between the look and the commit, with another body: what was run first stands, the other is rejected."""

    def prepare(engine, inbox, intake):
        keep = engine.keeper.keep

        async def late(effects, rows=(), answers=()):
            store.ask("h1", "d", encode(pay(1, 2)))
            await keep(effects, rows, answers)

        engine.keeper.keep = late

    assert served(store, lambda intake: intake.ask("h1", "d", pay(1)), prepare).done
    assert served(store, lambda intake: intake.ask("h2", "d", pay(2))).done
    assert store.streams() == {"holder:h1": 1, "holder:h2": 1}
    kept = store.kept("h1", "d")
    assert kept.body == encode(pay(1, 2))
    assert "was used for something else, or another amount: h1 was credited" in answered_of(kept.answer).words


def test_nobody_is_answered_before_it_is_durable(store):
    seen = []

    def prepare(engine, inbox, intake):
        keep = engine.keeper.keep

        async def noted(effects, rows=(), answers=()):
            await asyncio.sleep(0.05)
            await keep(effects, rows, answers)
            seen.append([answered_of(one.answer).words for one in answers])

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

    with pytest.raises(StoreError, match="under the same key: it is done once"):
        served(store, lambda intake: intake.ask("h1", "d", pay(1)), prepare)
    assert (store.requests(), store.streams()) == ([], {})  # nothing of it stands
    assert served(store, lambda intake: intake.ask("h1", "d", pay(1))).done
    assert store.streams() == {"holder:h1": 1}
