"""A dealing at once waits in the inbox for the first good price after its arrival, and holds up nobody else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

import gearing as gr
from gearing.core.holder import DEALER
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.counter import answer
from gearing.desk.engine import Engine
from gearing.desk.inbox import Inbox
from gearing.desk.intake import Intake
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.requests import AskQuote, Deal, HandOn, Merge, Pay, TakeQuote, answered_of, encode
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.database import init_database
from gearing.store.errors import BusyError, StoreError
from gearing.store.store import Store
from gearing.venues.protocol import Quote
from tests.journals import lines_of
from tests.lives import NOON_MS, token
from tests.test_primary import COSTS, market
from tests.test_quotes import dealing, quoted
from tests.test_store_dealing import Kept

ACCEPT, PRICED = TakeQuote(holder="h1", id="h1.q1"), AskQuote(holder="h1", token="T", side="subscribe", amount=10**11)
NOW = Deal(holder="h1", token="T", side="subscribe", amount=10**11, instant=True)
DEPOSIT = Pay(holder="h2", asset="USDT", amount=MINOR, reference="r", by="ann")


@pytest.fixture
def kept(tmp_path):
    """A database of a desk that gives quotes."""
    init_database(tmp_path / "desk.db", "demo", NOON_MS)
    with Store(tmp_path / "desk.db", "demo") as store:
        Kept.store = store
        desk = Kept(token("A", costs=COSTS, primary=Terms(quote_valid="1h")))
        desk.opened()
        for name in ("h1", DEALER):
            desk.deposit(name, 100_000)
        desk.take()
        Kept.store = None
        yield store


class Running:
    """A desk that runs on the kept database, at a thousandth of the time of the world: prices come when a test says."""

    def __init__(self, store, keeper=None, speed=0.001):
        self.now_ms = store.last_ms() + 1_000
        self.clock = ScaledClock(self.now_ms, speed)
        booted = boot(store, Market(GuardLimits(warm_ms=0)), window_ms=2_000, visibility_ms=1_000, now_ms=self.now_ms)
        self.driver, self.store = booted.driver, store
        self.engine = Engine(booted.driver, booted.outbox, {}, keeper or InLoopKeeper(store), self.clock)
        self.inbox = Inbox(self.engine, store)
        self.intake = Intake(store, self.inbox)

    async def price(self, mark=100.0, after_ms=5):
        quote = Quote(symbol="A", time_ms=self.clock.now_ms() + after_ms, mark=mark, index=mark)
        await self.engine.on_quotes([quote])

    async def ask(self, wanted, key):
        return await self.intake.ask("p", key, wanted)

    def begin(self, wanted, key):
        return asyncio.ensure_future(self.ask(wanted, key))


def served(store, asking, **more):
    async def whole():
        desk = Running(store, **more)
        running = [asyncio.ensure_future(desk.inbox.run()), asyncio.ensure_future(desk.intake.run())]
        try:
            await desk.price(after_ms=0)
            return await asyncio.wait_for(asking(desk), 20.0)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    return asyncio.run(whole())


async def held_back(desk, *tasks):
    await asyncio.sleep(0.15)
    return [not task.done() for task in tasks]


def test_an_acceptance_waits_for_a_price_and_others_are_not_held_up(kept):
    async def asking(desk):
        given = await desk.ask(PRICED, "q")
        waits = [desk.begin(ACCEPT, "a"), desk.begin(msgspec.structs.replace(PRICED, amount=10**10), "b")]
        await asyncio.sleep(0.05)
        other = await desk.ask(DEPOSIT, "d")
        before = await held_back(desk, *waits)
        await desk.price(100.01)
        return given, before, other, await asyncio.gather(*waits)

    given, before, other, (accepted, later) = served(kept, asking)
    assert before == [True, True]  # and what its holder asked after it
    assert other.done
    assert (accepted.done, accepted.quote) == (True, given.quote)
    assert later.id == "h1.q2"
    assert kept.requests() == []


def test_the_same_holders_commands_keep_their_order(kept):
    """One after the other: two instant dealings at two prices, and what depends on them."""
    all_of_it = 100_000 * MINOR - 2 * 10**11

    async def asking(desk):
        pay_out = Pay(holder="h1", asset="USDT", amount=-all_of_it, reference="o", by="ann")
        waits = [desk.begin(one, str(k)) for k, one in enumerate((NOW, NOW, pay_out))]
        await held_back(desk)
        await desk.price(100.0)
        held = await held_back(desk, *waits)
        await desk.price(101.0)
        return held, await asyncio.gather(*waits)

    held, (first, second, paid) = served(kept, asking)
    assert held == [False, True, True]
    assert first.quote.inav < second.quote.inav
    assert paid.words.endswith("; 0.00000000 is free.")


def test_the_answer_and_its_effects_are_one_transaction(kept):
    class Fails(InLoopKeeper):
        broken = False

        async def keep(self, effects, rows=(), answers=()):
            if self.broken:
                raise BusyError("the disk is full")
            await super().keep(effects, rows, answers)

    keeper = Fails(kept)

    async def asking(desk):
        await desk.ask(PRICED, "q")
        waits = desk.begin(ACCEPT, "a")
        await held_back(desk)
        keeper.broken = True
        with pytest.raises(BusyError):
            await desk.price()
        return waits

    waits = served(kept, asking, keeper=keeper)
    with pytest.raises(StoreError, match="Ask the same again"):
        waits.result()
    assert not any(b'"exchanged"' in one for one in lines_of(kept.path))


def test_a_rejected_acceptance_is_void_on_the_disk(kept):
    async def asking(desk):
        await desk.ask(PRICED, "q")
        waits = desk.begin(ACCEPT, "a")
        await held_back(desk)
        await desk.price(101.0)
        return await waits

    rejected = served(kept, asking)
    assert "iNAV has moved" in rejected.words
    assert kept.holders()["h1"].open_quote is msgspec.UNSET
    (line,) = [one for one in lines_of(kept.path) if b'"quote_voided"' in one]
    assert b"iNAV has moved" in line


def test_without_a_price_in_time_it_is_rejected_and_void(kept):
    async def asking(desk):
        await desk.ask(PRICED, "q")
        return await desk.ask(ACCEPT, "a"), await desk.ask(NOW, "n")

    accepted, dealt = served(kept, asking, speed=20.0)
    assert accepted.words == "quote h1.q1 is void: T had no good price within 10 s of its arrival"
    assert dealt.words.startswith("Not at once: T had no good price within 10 s of its arrival. ") or not dealt.done
    assert kept.holders()["h1"].open_quote is msgspec.UNSET


def test_a_row_of_the_database_is_judged_again_after_a_restart(kept):
    async def first(desk):
        await desk.ask(PRICED, "q")
        kept.ask("p", "a", encode(ACCEPT))
        await held_back(desk)

    async def second(desk):
        await held_back(desk)
        assert kept.answer(asked) is None  # its arrival is now; the price that began this desk is not after it
        await desk.price()
        return answered_of(kept.answer(asked))

    served(kept, first)
    (asked,) = [one.number for one in kept.requests()]
    assert served(kept, second).done


def test_a_caller_in_the_process_is_told_to_ask_again_when_the_desk_stops(kept):
    async def asking(desk):
        await desk.ask(PRICED, "q")
        waits = desk.begin(ACCEPT, "a")
        await held_back(desk)
        return waits

    with pytest.raises(StoreError, match="Ask the same again"):
        served(kept, asking).result()


def test_a_quote_shows_its_expiry_on_the_world_clock(kept):
    async def asking(desk):
        return await desk.ask(PRICED, "q")

    began = datetime.now(UTC)
    terms = served(kept, asking, speed=600.0).terms
    expires = datetime.fromisoformat(terms.expires_at)
    assert began + timedelta(seconds=5.9) < expires < datetime.now(UTC) + timedelta(seconds=6.1)
    assert terms.expires_ms > NOON_MS + 3_600_000
    assert (terms.unit_price, terms.inav, terms.fee) == (pytest.approx(terms.inav * 1.001, rel=1e-6), terms.inav, 0)


def test_an_expired_quote_says_since_when_on_the_readers_clock(kept):
    """Not in seconds of a market that runs faster."""

    async def asking(desk):
        until_ms = (await desk.ask(PRICED, "q")).quote.until_ms
        desk.clock._start_ms += until_ms - desk.clock.now_ms() + 600 * 40_000
        return await desk.ask(ACCEPT, "a")

    assert served(kept, asking, speed=600.0).words == "quote h1.q1 expired 40 s ago; request a new one"


# The driver by itself.


def test_every_leg_needs_a_price_after_the_arrival():
    desk = market(token("A", "B", costs=gr.Costs(), primary=Terms(quote_valid="10s")))
    for name in ("h1", DEALER):
        desk.deposit(name, 100_000)
    answers = desk.submit(NOW)
    for symbol, judged in (("A", []), ("A", []), ("B", [True])):
        desk.now_ms += 1
        desk.driver.on_quotes([Quote(symbol=symbol, time_ms=desk.now_ms, mark=100.0, index=100.0)], desk.now_ms)
        assert [one.done for one in answers] == judged


@pytest.mark.parametrize("quoted_before", [True, False])
def test_a_price_that_came_before_the_arrival_judges_nothing_though_its_venues_clock_is_ahead(quoted_before):
    desk = dealing(more_tokens=(msgspec.structs.replace(token("B"), symbol="U"),))
    desk.quote(100.0, 100.0)

    def price(symbol, mark, ahead_ms=0):
        at_ms = desk.now_ms + ahead_ms
        desk.driver.on_quotes([Quote(symbol=symbol, time_ms=at_ms, mark=mark, index=mark)], desk.now_ms)

    quote = quoted(desk)
    price("A", 100.0, ahead_ms=1_500)
    answers = desk.submit(TakeQuote(holder="h1", id=quote.id) if quoted_before else NOW)
    for after_ms in (0, 1, 100):  # prices of others look for what may be judged
        desk.now_ms += after_ms
        price("B", 100.0)
        assert answers == []
    price("A", 102.0, ahead_ms=1_500)
    (answered,) = answers
    assert answered.quote is None if quoted_before else answered.quote.inav > 105 * MINOR


def test_a_price_that_is_refused_judges_nothing():
    desk = dealing()
    desk.quote(100.0)
    answers = desk.submit(NOW)
    desk.now_ms += 1
    desk.driver.on_quotes([Quote(symbol="A", time_ms=desk.now_ms, mark=150.0, index=100.0)], desk.now_ms)
    assert answers == []


def test_a_command_that_could_never_be_dealt_at_once_does_not_wait():
    desk = dealing()
    for wanted in (TakeQuote(holder="h1", id="h1.q9"), msgspec.structs.replace(NOW, amount=0),
                   msgspec.structs.replace(NOW, token="X"), msgspec.structs.replace(NOW, holder="h 1")):  # fmt: skip
        (answered,) = desk.submit(wanted)
        assert not answered.done


def test_a_command_that_was_not_submitted_is_judged_at_no_price_that_may_have_been_known():
    desk = dealing()
    quote = quoted(desk)
    rejected = answer(desk.driver, TakeQuote(holder="h1", id=quote.id), desk.now_ms)
    assert rejected.words == "quote h1.q1 is void: T has no price yet that follows the arrival of this command"


def test_an_accepted_quote_binds_beyond_its_expiry_until_it_is_judged():
    desk = dealing()
    quote = quoted(desk)
    aside = desk.primary.quotes.set_aside(desk.now_ms).money("USDT")
    desk.now_ms += 9_999
    answers = desk.submit(TakeQuote(holder="h1", id=quote.id))
    desk.now_ms += 5_000
    assert desk.primary.quotes.set_aside(desk.now_ms).money("USDT") == aside > 0
    desk.driver.on_quotes([Quote(symbol="A", time_ms=desk.now_ms, mark=100.0, index=100.0)], desk.now_ms)
    assert answers[0].quote == quote


def test_an_internal_error_at_the_judgement_voids_the_quote_and_is_answered(kept, monkeypatch):
    async def asking(desk):
        await desk.ask(PRICED, "q")
        waits = desk.begin(ACCEPT, "a")
        await held_back(desk)
        monkeypatch.setattr(desk.driver.primary.quotes, "accept", lambda *args: 1 / 0)
        await desk.price()
        return await waits

    assert "Internal error (ZeroDivisionError" in served(kept, asking).words
    assert kept.holders()["h1"].open_quote is msgspec.UNSET


def test_whoever_was_held_back_is_told_if_the_commit_of_its_answer_fails(kept):
    """A deposit waits behind an instant dealing; the disk is full when it is carried out."""

    async def asking(desk):
        waits = desk.begin(NOW, "a")
        await held_back(desk)
        later = desk.begin(msgspec.structs.replace(DEPOSIT, holder="h1"), "d")
        await held_back(desk)
        real = desk.engine.settle

        async def full(rows=()):
            if any(b'"pay"' in row.body for row in rows):
                raise StoreError("the disk is full")
            await real(rows)

        desk.engine.settle = full
        await desk.price()
        return await asyncio.gather(waits, later, return_exceptions=True)

    dealt, deposit = served(kept, asking)
    assert dealt.done
    assert isinstance(deposit, StoreError)


@pytest.mark.parametrize("other", [NOW, msgspec.structs.replace(NOW, amount=2 * 10**11)])
def test_a_key_that_another_process_puts_in_while_its_dealing_waits_is_dealt_once(kept, other):
    async def asking(desk):
        waits = desk.begin(NOW, "k")
        await held_back(desk)
        row = kept.ask("p", "k", encode(other))
        await held_back(desk)
        await desk.price()
        dealt = await waits
        await held_back(desk)
        return dealt, answered_of(kept.answer(row.number))

    dealt, second = served(kept, asking)
    assert dealt.done
    assert second.replayed if other == NOW else "This key was used for something else" in second.words
    assert sum(b'"exchanged"' in one and b'"stream":"holder:h1"' in one for one in lines_of(kept.path)) == 1
    assert kept.requests() == []


def test_what_its_holder_sent_before_a_merger_is_not_run_in_merged_units(kept):
    """They wait behind a dealing at once: an instant redemption, a forward one, and a transfer of units."""
    instant = Deal(holder="issuer", token="T", side="redeem", amount=10 * MINOR, instant=True)
    forward = msgspec.structs.replace(instant, instant=False)
    handed = HandOn(holder="issuer", other="h1", token="T", amount=MINOR, reference="t")
    paid = Pay(holder="issuer", asset="USDT", amount=MINOR, reference="p", by="ann")

    async def asking(desk):
        waits = [desk.begin(one, str(key)) for key, one in enumerate((instant, instant, forward, handed, paid))]
        await held_back(desk)
        units = desk.driver.primary.state_of("issuer").units("T")
        merged = await desk.ask(Merge(token="T", factor=10.0, by="ann", reason="r"), "m")
        assert merged.done, merged.words
        for _ in range(3):
            await desk.price(100.0)
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*waits)
        return units, desk.driver.primary.state_of("issuer").units("T"), answers, await desk.ask(forward, "later")

    before, after, answers, later = served(kept, asking)
    assert after == before // 10
    assert [one.done for one in answers] == [False, False, False, False, True]
    assert all("merged after this was sent" in one.words for one in answers[:4])
    assert later.done
