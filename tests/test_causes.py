"""Causes: a command counts once by its key, a payment by the payer's reference, and the journal alone decides it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
from msgspec import UNSET

from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.desk.boot import boot
from gearing.desk.causes import cause_of
from gearing.desk.counter import answer
from gearing.desk.inbox import Inbox
from gearing.desk.keeper import commit_of
from gearing.desk.requests import AskQuote, Deal, HandOn, Operate, Pay, answered_of, encode
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.store.append import _FORGET, _PUT_IN, ANSWERS_KEPT_MS
from gearing.store.database import connect
from gearing.store.errors import StoreError
from gearing.store.integrity import state_faults
from gearing.store.records import Question, Request, holder_line_of
from gearing.store.store import Store, digest_of
from gearing.store.verify import verify
from tests.journals import rows_of
from tests.lives import NOON_MS
from tests.test_acceptances import Running as Served
from tests.test_store_dealing import busy, kept

__all__ = ["kept"]


def wall_time(time_ms):
    return datetime.fromtimestamp(time_ms / 1000, UTC)


class Counter:
    """An inbox over a real database, driven by hand: each group is carried out and committed."""

    def __init__(self, kept):
        self.kept = self.desk = kept
        clock = SimpleNamespace(now_ms=lambda: self.desk.now_ms, wall_time=wall_time)
        self.engine = SimpleNamespace(driver=self.desk.driver, clock=clock, settle=self.settle)
        self.inbox = Inbox(self.engine, kept.store)
        self.keys = 0

    async def settle(self, answers=()):
        effects = self.desk.driver.taken()
        self.kept.store.commit([commit_of(effects, rows_of(effects), answers)])

    def ask(self, wanted, key=None, principal="ann"):
        """Puts commands in and carries them out as one group; returns their answers."""
        group = wanted if isinstance(wanted, list) else [wanted]
        numbers = []
        for one in group:
            self.keys += 1
            numbers.append(self.kept.store.ask(principal, key or f"k{self.keys}", encode(one)).number)

        async def serve():
            self.inbox._look_s = 0.0
            self.inbox._look()
            asked = self.inbox._next(begins=False)
            if asked:
                await self.inbox._serve(asked)

        asyncio.run(serve())
        found = [answered_of(self.kept.store.answer(number)) for number in numbers]
        return found if isinstance(wanted, list) else found[0]

    def cash(self, name):
        return self.desk.primary.state_of(name).cash("USDT")


def forget(counter):
    """Deletes every answer, as happens to old ones."""
    with closing(connect(counter.kept.path)) as raw:
        raw.execute("DELETE FROM inbox")


@pytest.fixture
def counter(kept):
    busy(kept)
    return Counter(kept)


def pay(amount=5, holder="h7", reference="r1", by="ann"):
    return Pay(holder=holder, asset="USDT", amount=amount * MINOR, reference=reference, by=by)


def test_a_reference_counts_once_whoever_books_it_under_whatever_key(counter):
    first = counter.ask(pay())
    assert (first.done, first.replayed) == (True, False)
    for by, principal in (("ann", "ann"), ("bob", "bob"), ("eve", "holder:h7")):
        again = counter.ask(pay(by=by), principal=principal)
        assert (again.done, again.replayed) == (True, True)
        assert again.words.startswith("Already booked at 2026-01-0")
        assert "h7 was credited 5.00000000 USDT by ann; nothing was credited again" in again.words
    assert counter.cash("h7") == 5 * MINOR
    assert counter.ask(pay(holder="h8")).replayed is False  # another holder's reference
    assert verify(counter.kept.path).breaches == ()


def test_a_reference_of_something_else_is_rejected_and_says_of_what(counter):
    counter.ask(pay())
    for wanted in (pay(6), pay(-5), msgspec.structs.replace(pay(), asset="USDC")):
        answered = counter.ask(wanted)
        assert not answered.done
        assert (
            "This reference was used for something else, or another amount: h7 was credited 5.00000000 USDT by ann."
            in answered.words
        )
    assert counter.cash("h7") == 5 * MINOR
    # A transfer's references are its own.
    moved = counter.ask(HandOn(holder="h7", other="h8", asset="USDT", amount=MINOR, reference="r1"))
    assert (moved.done, moved.replayed) == (True, False)
    assert counter.ask(HandOn(holder="h7", other="h8", asset="USDT", amount=MINOR, reference="r1")).replayed
    assert counter.cash("h8") == MINOR


def test_a_rejected_payment_has_not_used_its_reference_up(counter):
    assert not counter.ask(pay(-5)).done
    counter.ask(pay(9, reference="r2"))
    assert counter.ask(pay(-5)).done
    assert counter.cash("h7") == 4 * MINOR


def test_the_same_reference_within_one_group_counts_once(counter):
    answers = counter.ask([pay(), pay(by="bob"), pay(6), pay()])
    assert [(one.done, one.replayed) for one in answers] == [(True, False), (True, True), (False, False), (True, True)]
    assert counter.cash("h7") == 5 * MINOR


def test_a_command_that_is_on_its_way_to_the_disk_is_not_run_again(counter):
    inbox, store = counter.inbox, counter.kept.store
    assert store.requests() == []
    first = inbox.carry_out(_request("k"))
    again = inbox._replay(_request("k"), {})
    assert (first.done, first.replayed, again.done, again.replayed) == (True, False, True, True)
    assert counter.cash("h7") == 5 * MINOR


def _request(key, wanted=None):
    return Request(1, *Question("ann", key, encode(wanted or pay())))


@pytest.mark.parametrize(
    "wanted",
    [
        Deal(holder="h1", token="T", side="subscribe", amount=100 * MINOR),
        Deal(holder="h1", token="T", side="redeem", amount=MINOR),
        HandOn(holder="h1", other="h9", asset="USDT", amount=MINOR, reference="x"),
        Operate(action="halt", token="T", by="ann", reason="test"),
    ],
    ids=["subscribe", "redeem", "transfer", "operate"],
)
def test_an_answer_that_was_forgotten_is_rebuilt_from_the_line(counter, wanted):
    first = counter.ask(wanted, key="mine")
    assert first.done, first.words
    seqs = counter.kept.store.streams()
    forget(counter)
    again = counter.ask(wanted, key="mine")
    assert (again.done, again.replayed, again.time_ms) == (True, True, first.time_ms)
    assert first.id in again.words
    assert again.id == first.id
    assert counter.kept.store.streams() == seqs
    forget(counter)
    other = counter.ask(Operate(action="resume", token="T", by="ann", reason="other"), key="mine")
    assert not other.done
    assert "This key was used for something else" in other.words


def test_answers_are_kept_for_seven_days_of_the_worlds_clock(counter, monkeypatch):
    """A demo's market runs through seven days in minutes."""
    wall_ms = NOON_MS
    monkeypatch.setattr("gearing.desk.inbox.time", SimpleNamespace(time_ns=lambda: wall_ms * 1_000_000))
    first = counter.ask(pay(), key="mine")
    counter.desk.now_ms += 2 * ANSWERS_KEPT_MS
    wall_ms += ANSWERS_KEPT_MS
    counter.ask(pay(reference="r2"), key="other")
    assert counter.kept.store.kept("ann", "mine") is not None
    wall_ms += 1
    counter.ask(pay(reference="r3"), key="third")
    assert counter.kept.store.kept("ann", "mine") is None
    assert counter.ask(pay(), key="mine").replayed
    assert first.done


def test_old_answers_are_deleted_a_few_with_each_group_and_without_reading_the_others(counter):
    rows = [("p", f"k{age}", digest_of(b"x"), b"x", b"{}", age) for age in range(1, 301)]
    with closing(connect(counter.kept.path)) as raw:
        raw.executemany(_PUT_IN, rows)
        plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {_FORGET}", (0, 0))]
    assert not [step for step in plan if step.startswith("SCAN")]
    assert [step for step in plan if "inbox_answered (answered_ms<?)" in step]
    counter.ask(pay())
    with closing(connect(counter.kept.path)) as raw:
        left = [row[0] for row in raw.execute("SELECT answered_ms FROM inbox WHERE principal = 'p' ORDER BY 1")]
    assert left == list(range(66, 301))


def test_only_the_first_line_of_a_command_carries_its_cause_and_it_is_part_of_what_is_hashed(counter):
    counter.ask(pay(20, "h7", "d"))
    counter.ask(HandOn(holder="h7", other="h8", asset="USDT", amount=MINOR, reference="t1"), key="k")
    lines = [holder_line_of(line.body) for name in ("h7", "h8") for line in counter.kept.store.lines(f"holder:{name}")]
    moved = [line for line in lines if isinstance(line.event, ho.Handed)]
    assert [line.cause is not UNSET for line in moved] == [True, False]
    assert moved[0].cause == cause_of("ann", "k", HandOn(holder="h7", other="h8", asset="USDT", amount=MINOR,
                                                         reference="t1"))  # fmt: skip
    assert verify(counter.kept.path).breaches == ()
    for column in ("cause_reference", "cause_key"):
        with closing(connect(counter.kept.path)) as raw:
            raw.execute(f"UPDATE journal SET {column} = 'x' WHERE {column} = ?",
                        (getattr(moved[0].cause, column.removeprefix("cause_")),))  # fmt: skip
        assert any("columns of its cause" in breach.found for breach in verify(counter.kept.path).breaches)
        with closing(connect(counter.kept.path)) as raw:
            raw.execute(f"UPDATE journal SET {column} = ? WHERE {column} = 'x'",
                        (getattr(moved[0].cause, column.removeprefix("cause_")),))  # fmt: skip
    assert verify(counter.kept.path).breaches == ()


def test_a_cause_that_the_journal_has_is_refused_by_the_database_as_an_answer_not_as_another_runner(counter):
    counter.ask(pay())
    counter.inbox._causes.known = lambda causes: {}
    with pytest.raises(StoreError) as raised:
        counter.ask(pay(by="bob"))
    assert type(raised.value) is StoreError
    assert "looked up and answered again" in str(raised.value)


def test_no_two_causes_are_alike_unless_they_are_the_same():
    seen = {
        (cause.key, cause.reference)
        for cause in (
            cause_of("a", "bc", pay()), cause_of("ab", "c", pay()), cause_of("a", "bc", pay(holder="h7r")),
            cause_of("a", "bc", pay(holder="h", reference="7r1")), cause_of("a", "bc", pay(reference="r11")),
            cause_of("a", "bc", HandOn(holder="h7", other="x", asset="USDT", amount=1, reference="r1")),
        )
    }  # fmt: skip
    assert len(seen) == 6
    assert cause_of("a", "b", pay()).body == cause_of("c", "d", pay(by="bob", reference="r1")).body
    assert cause_of("a", "b", pay()).body != cause_of("a", "b", pay(reference="r2")).body
    assert cause_of("a", "b", AskQuote(holder="h", token="T", side="redeem", amount=1)).reference is UNSET


# What a desk looks at before it runs.


def change(path, statement, *values):
    with closing(connect(path)) as raw:
        raw.execute(statement, values)


class SlowDisk:
    """Keeps groups in the order of their calls, each once a test opens its gate."""

    def __init__(self, store):
        self.store, self.gates, self._last = store, [], None

    async def keep(self, effects, rows=(), answers=()):
        gate, before, mine = asyncio.Event(), self._last, asyncio.Event()
        self.gates.append(gate)
        self._last = mine
        if before is not None:
            await before.wait()
        await gate.wait()
        try:
            self.store.commit([commit_of(effects, rows, answers)])
        finally:
            mine.set()

    async def reached(self, count):
        while len(self.gates) < count:
            await asyncio.sleep(0.005)


def test_a_payment_that_was_rejected_and_sent_again_twice_counts_once_though_the_disk_is_slow(kept):
    """The first is rejected for want of money; while that is on its way the second is done, and the third comes."""
    disk, out = SlowDisk(kept.store), msgspec.structs.replace(pay(-5), reference="out")
    fill = [msgspec.structs.replace(pay(1), reference=f"f{k}") for k in range(63)]  # so that groups are full

    async def asking():
        desk = Served(kept.store, keeper=disk)
        tasks = [asyncio.ensure_future(one.run()) for one in (desk.inbox, desk.intake)]
        try:
            first = desk.begin(out, "k1")
            rest = [desk.begin(one, f"f{k}") for k, one in enumerate([*fill, pay(9)])]
            second = desk.begin(out, "k2")
            await disk.reached(2)
            third = desk.begin(out, "k3")
            disk.gates[0].set()
            rejected = await first
            await disk.reached(3)
            for gate in disk.gates:
                gate.set()
            return rejected, *await asyncio.wait_for(asyncio.gather(second, third, *rest), 10.0)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    rejected, second, third, *rest = asyncio.run(asking())
    assert (rejected.done, second.done, second.replayed) == (False, True, False)
    assert (third.done, third.replayed) == (True, True)
    assert all(one.done for one in rest)
    assert verify(kept.path).breaches == ()


def booted(kept):
    with Store(kept.path) as store:
        return boot(store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms)


@pytest.mark.parametrize("stream", ["token:T", "book:main", "holder:h1"])
@pytest.mark.parametrize("how", ["state", "line", "removed", "no state"])
def test_a_stream_whose_state_is_not_that_of_its_last_line_is_not_run(counter, stream, how):
    kept = counter.kept
    counter.ask(pay(20, "h1", "d"))
    counter.ask(pay(20, "h2", "d"))
    assert state_faults(kept.store) == {}
    if how == "state":
        change(kept.path, "UPDATE states SET body = (SELECT body FROM snapshots UNION SELECT x'7b7d' LIMIT 1) "
                          "WHERE stream = ?", stream)  # fmt: skip
    elif how == "line":
        change(kept.path, "UPDATE states SET seq = seq - 1 WHERE stream = ?", stream)
    elif how == "no state":
        change(kept.path, "DELETE FROM states WHERE stream = ?", stream)
    else:
        last = "(SELECT max(seq) FROM journal WHERE stream = ?)"
        change(kept.path, f"DELETE FROM journal WHERE stream = ? AND seq = {last}", stream, stream)
    words = state_faults(kept.store)[stream]
    why = "it has lines and no state" if how == "no state" else "its state is"
    assert words.startswith(f"{stream} is not run: {why}")
    assert "gearing journal verify" in words
    found = booted(kept)
    assert words in found.alarms
    if stream.startswith("holder"):
        assert "h1" not in found.driver.primary.holders
        answered = answer(found.driver, pay(5, "h1", "z"), kept.now_ms)
        assert not answered.done
        assert "is not run" in answered.words
        assert answer(found.driver, pay(5, "h2", "z"), kept.now_ms).done
    else:
        assert found.driver.books == {}
