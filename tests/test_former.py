"""The database of a former program (`data/make_former.py`), taken over by this one."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from msgspec import UNSET

from gearing.cli.counter import _key
from gearing.cli.main import main
from gearing.core.events import Launched
from gearing.core.holder import Deposited, HolderState, Pricing, Quoted
from gearing.core.holder_step import HolderError, holder_step
from gearing.core.journal import line_of
from gearing.core.money import MINOR
from gearing.core.quoting import why_void
from gearing.core.state import TokenState
from gearing.core.step import BEHAVIOUR, step
from gearing.core.terms import Spec
from gearing.desk.boot import boot
from gearing.desk.causes import cause_of
from gearing.desk.inbox import Inbox
from gearing.desk.keeper import commit_of
from gearing.desk.requests import HandOn, Pay, answered_of, encode, wanted_of
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.backup import backup_database, restore_database
from gearing.store.database import connect, upgrade_database
from gearing.store.integrity import state_faults
from gearing.store.recompute import recompute
from gearing.store.records import HolderLine, Request, holder_line_of
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.journals import chained, lines_of
from tests.lives import token
from tests.older import older_database

FORMER = Path(__file__).parent / "data" / "former.db"


@pytest.fixture
def former(tmp_path):
    """The path of the database, upgraded."""
    path = shutil.copy(FORMER, tmp_path / "former.db")
    upgrade_database(path)
    return path


@pytest.fixture
def office(former):
    """The inbox of a desk that goes on with the database, in a test's hands."""
    with Store(former, "demo") as store:
        now_ms = store.last_ms() + 1_000
        driver = boot(store, Market(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=now_ms).driver
        engine = SimpleNamespace(driver=driver, clock=SimpleNamespace(now_ms=lambda: now_ms))
        yield Inbox(engine, store)


def send(inbox, wanted):
    request = Request(1, "holder:x", "k", encode(wanted))
    before = inbox._replay(request, inbox._known([SimpleNamespace(request=request)]))
    return inbox.carry_out(request) if before is None else before


def events_of(path, name):
    with Store(path) as store:
        return [holder_line_of(line.body).event for line in store.lines(f"holder:{name}")]


def sums_of(entry):
    """What an entry books on each account, in however many postings."""
    sums = Counter()
    for posting in entry:
        sums[posting.account] += posting.amount
    return {account: amount for account, amount in sums.items() if amount}


def test_each_line_is_read_and_books_the_same_when_stepped_again(former):
    with Store(former) as store:
        for stream in store.streams():
            state, spec, kind = TokenState() if "token" in stream else HolderState(), None, stream.partition(":")[0]
            for row in store.lines(stream) if kind != "book" else ():
                line = line_of(row.body) if kind == "token" else holder_line_of(row.body)
                assert line.behaviour < BEHAVIOUR
                if isinstance(line.event, Launched):
                    spec = Spec(line.event.token)
                done = step(spec, state, line.event) if kind == "token" else holder_step(state, line.event)
                state = done.state
                assert sums_of(done.entry) == sums_of(line.entry)
                assert kind != "token" or state.nav == line.nav


def test_each_command_and_answer_of_the_inbox_is_read(former):
    with closing(connect(former)) as raw:
        rows = raw.execute("SELECT principal, body, answer FROM inbox").fetchall()
    assert [answered_of(answer).done for _, _, answer in rows if answer is not None] == [True] * (len(rows) - 1)
    assert {f"holder:{wanted_of(body).holder}" for _, body, _ in rows} == {principal for principal, _, _ in rows}


def test_a_quote_without_its_inav_is_read_and_one_with_none_is_not_given(former):
    quoted = next(event for event in events_of(former, "h2") if isinstance(event, Quoted))
    assert (quoted.quote.inav, quoted.quote.difference_pct) == (UNSET, 0.0)
    empty, quote = HolderState(), msgspec.structs.replace(quoted.quote, inav=0)
    with pytest.raises(HolderError, match="must be positive"):
        holder_step(empty, msgspec.structs.replace(quoted, quote=quote))
    pricing = Pricing(time_ms=0, marks=(), accrued=(), cost=0.0)
    assert "was not recorded" in why_void(Spec(token("A")), TokenState(), pricing, quoted.quote)


def test_an_upgraded_database_is_sound(former):
    """A trade that came before the last NAV was reported to the next program, which began after that NAV."""
    with Store(former) as store:
        rows = store.lines_since(0, 1_000)
    made = [(msgspec.json.decode(row.body)["behaviour"], row.time_ms) for row in rows]
    assert [behaviour for behaviour, _ in made] == sorted(behaviour for behaviour, _ in made)
    assert [time_ms for _, time_ms in made] != sorted(time_ms for _, time_ms in made)
    assert verify(former).breaches == ()


DEPOSIT = Pay(holder="h1", asset="USDT", amount=50_000 * MINOR, reference="BANK-17", by="bob")
WITHDRAWAL = Pay(holder="h1", asset="USDT", amount=-1_000 * MINOR, reference="OUT-1", by="bob")
UNITS = HandOn(holder="h1", other="h2", token="T", amount=12 * MINOR, reference="MOVE-1")
MONEY = HandOn(holder="h1", other="h2", asset="USDT", amount=500 * MINOR, reference="MOVE-2")


@pytest.mark.parametrize("wanted", [DEPOSIT, WITHDRAWAL, UNITS, MONEY])
def test_a_reference_that_an_earlier_program_booked_counts_for_ever(office, wanted):
    again = send(office, wanted)
    assert (again.done, again.replayed) == (True, True)
    assert again.words.startswith("Already booked at 2026-01-01 12:")
    other = send(office, msgspec.structs.replace(wanted, amount=wanted.amount // 2))
    assert (other.done, other.replayed) == (False, False)
    assert "This reference was used for something else" in other.words
    assert not office._engine.driver.effects.lines


def test_the_receiver_of_a_transfer_has_not_used_its_reference(office):
    back = send(office, HandOn(holder="h2", other="h1", asset="USDT", amount=MINOR, reference="MOVE-2"))
    assert (back.done, back.replayed) == (True, False)


@pytest.mark.parametrize(
    "change", ["cause_reference = NULL WHERE cause_reference IS NOT NULL", "cause_reference = hash WHERE seq = 3"]
)
def test_a_changed_reference_of_an_older_line_is_found(former, change):
    with closing(connect(former)) as raw:
        raw.execute(f"UPDATE journal SET {change}")
    assert {breach.what for breach in verify(former).breaches} == {"line"}


def test_a_reference_that_was_used_twice_is_the_first_lines(tmp_path):
    """Whatever an earlier program let through: the upgrade goes on."""
    rows, state = [], HolderState()
    for seq, amount in enumerate((5, 7), 1):
        event = Deposited(time_ms=seq, asset="USDT", amount=amount, reference="r", by="ann")
        state = holder_step(state, event).state
        rows.append((partial(make, event=event, entry=holder_step(HolderState(), event).entry), state, ()))
    path = older_database(tmp_path / "twice.db", 3, chained("holder:h1", rows))
    upgrade_database(path)
    with Store(path) as store:
        first, second = store.lines_since(0, 10)
    assert (first.cause_reference, second.cause_reference) == (cause_of("", "", REPEATED).reference, None)
    assert verify(path).breaches == ()


REPEATED = Pay(holder="h1", asset="USDT", amount=5, reference="r", by="ann")


def make(stream, seq, digest, *, event, entry):
    return HolderLine(stream=stream, seq=seq, time_ms=seq, behaviour=7, event=event, entry=entry, state=digest)


def test_a_payment_that_waited_in_a_backup_can_be_sent_again(former, tmp_path):
    wanted, principal, now_ms = DEPOSIT, "holder:h1", 1_800_000_000_000
    with Store(former) as store:
        key = _key(store, principal, wanted)
        store.ask(principal, key, encode(wanted))
    backup_database(former, tmp_path / "backup.db")
    restored = tmp_path / "restored.db"
    restore_database(tmp_path / "backup.db", restored, now_ms)
    with Store(restored) as store:
        said = answered_of(store.kept(principal, key).answer)
        assert (said.done, said.time_ms) == (False, store.lines_since(0, 1_000)[-1].time_ms)
        assert "send it again" in said.words
        assert _key(store, principal, wanted) == f"{key.partition('.')[0]}.2"
    with closing(connect(restored)) as raw:
        ages = raw.execute("SELECT answered_ms FROM inbox WHERE key IN (?, 'pay:BANK-19')", (key,)).fetchall()
    assert ages == [(now_ms,), (now_ms,)]


def test_a_desk_goes_on_with_it_and_its_lines_are_verified(former, office):
    driver, now_ms = office._engine.driver, office._engine.clock.now_ms()
    running = driver.by_name["T"]
    assert running.state.status == "open"
    assert all(leg.lots_at(leg.changed_ms) is None for leg in running.state.legs)
    assert driver.primary.holders["h2"].state.open_quote is UNSET  # no quote of before binds
    driver.publish(running, "minute", now_ms, tuple(leg.mark for leg in running.state.legs))
    assert send(office, msgspec.structs.replace(DEPOSIT, holder="h3", reference="BANK-19")).done
    office._store.commit([commit_of(driver.taken(), (), ())])
    assert verify(former).breaches == ()
    assert state_faults(office._store) == {}


def test_it_is_backed_up_stated_and_recomputed(former, tmp_path, capsys):
    assert main(["db", "backup", str(former), str(tmp_path / "copy.db")]) == 0
    capsys.readouterr()
    assert main(["holder", "statement", "h1", "--db", str(tmp_path / "copy.db")]) == 0
    assert "management fee" in capsys.readouterr().out
    report = recompute(lines_of(tmp_path / "copy.db"))
    assert (report.lines, report.differences) == (90, [])
