"""What holds over all streams together, and what the tables beside the journals say: every fault in them is found."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from gearing.core import holder as ho
from gearing.core.holder_step import holder_step
from gearing.core.journal import body_of, hash_of, line_of, state_body, state_hash
from gearing.core.ledger import Posting
from gearing.core.money import MINOR
from gearing.core.step import BEHAVIOUR
from gearing.desk.counter import answer
from gearing.desk.requests import HandOn
from gearing.drive.effects import SNAPSHOT_LINES, START, Effects
from gearing.store.database import connect
from gearing.store.projections import Navs
from gearing.store.records import Commit, HolderLine, NavRow, PutIn, holder_line_of
from gearing.store.store import Store, digest_of
from gearing.store.verify import verify
from tests.journals import book_commits, database, happened, number_again, token_commits
from tests.test_store_dealing import busy, kept, quoting
from tests.test_store_verify import STREAM, body, chain_anew, change, found, set_body

__all__ = ["kept"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return database(tmp_path / "desk.db", token_commits(happened()), book_commits())


def whats(path: Path, **options) -> set[str]:
    return {breach.what for breach in verify(path, **options).breaches}


def rewritten(path: Path, stream: str, change_line) -> None:
    """The stream as a forger leaves it who can step holders: lines changed or left out, and all that follows fits."""
    connection = connect(path)
    rows = connection.execute("SELECT seq, body FROM journal WHERE stream = ? ORDER BY seq", (stream,)).fetchall()
    state, before, seq = ho.HolderState(), "0" * 64, 0
    connection.execute("BEGIN")
    for at, stored in rows:
        line = change_line(holder_line_of(stored))
        if line is None:
            connection.execute("DELETE FROM journal WHERE stream = ? AND seq = ?", (stream, at))
            continue
        seq += 1
        done = holder_step(state, line.event)
        state = done.state
        line = msgspec.structs.replace(line, seq=seq, time_ms=line.event.time_ms, entry=done.entry,
                                       state=state_hash(state_body(state)))  # fmt: skip
        text = body_of(line)
        before = hash_of(before, text)
        connection.execute("UPDATE journal SET seq = ?, body = ?, hash = ?, time_ms = ? WHERE stream = ? AND seq = ?",
                           (seq, text, before, line.time_ms, stream, at))  # fmt: skip
    connection.execute("UPDATE states SET seq = ?, hash = ?, body = ? WHERE stream = ?",
                       (seq, before, state_body(state), stream))  # fmt: skip
    connection.execute("COMMIT")
    connection.close()
    number_again(path)


def event_changed(kind, **changed):
    def change_line(line: HolderLine) -> HolderLine:
        if not isinstance(line.event, kind):
            return line
        return msgspec.structs.replace(line, event=msgspec.structs.replace(line.event, **changed))

    return change_line


# Transfers.


@pytest.fixture
def handed(kept):
    """h1 handed money, and then units, to h2."""
    busy(kept)
    for token, asset, amount in (("", "USDT", 7 * MINOR), ("T", "", 3 * MINOR)):
        wanted = HandOn(holder="h1", other="h2", token=token, asset=asset, amount=amount, reference=f"r{token}{asset}")
        assert answer(kept.driver, wanted, kept.now_ms).done
    kept.take()
    assert verify(kept.path).breaches == ()
    return kept.path


@pytest.mark.parametrize(
    ("changed", "more"),
    [
        ({"reference": "another"}, set()),
        ({"cash": 6 * MINOR, "units": 0, "token": "", "asset": "USDT", "bearing": None}, {"money"}),
        ({"other": "h0"}, set()),
        ({"time_ms": 1_800_000_000_000}, set()),
    ],
)
def test_a_transfer_whose_sides_differ_is_found(handed, changed, more):
    rewritten(handed, "holder:h2", event_changed(ho.Handed, **changed))
    assert {"transfer"} | more <= whats(handed)


def test_a_transfer_that_came_from_nobody_is_found(handed):
    rewritten(handed, "holder:h1", lambda line: None if isinstance(line.event, ho.Handed) else line)
    breaches = verify(handed).breaches
    assert {breach.what for breach in breaches} == {"transfer", "money", "supply"}
    sides = [(breach.stream, breach.seq) for breach in breaches if breach.what == "transfer"]
    with Store(handed) as store:
        lines = [line for line in store.lines("holder:h2") if b'"event":"handed"' in line.body]
    assert sides == [("holder:h2", line.seq) for line in lines]


def test_a_transfer_booked_twice_on_one_side_is_found(handed):
    def twice(line: HolderLine) -> HolderLine:
        if not isinstance(line.event, ho.Deposited):
            return line
        return msgspec.structs.replace(line, event=first)  # a deposit turned into the same transfer again

    with Store(handed) as store:
        text = next(line.body for line in store.lines("holder:h2") if b'"event":"handed"' in line.body)
    first = msgspec.structs.replace(holder_line_of(text).event, cash=20_000 * MINOR)
    rewritten(handed, "holder:h2", twice)
    assert {"transfer", "money"} <= whats(handed)


@pytest.mark.parametrize("changed", [{"fee": 1}, {"asset": "USDC"}, {"other": "h2"}, {"time_ms": 1_800_000_000_000}])
def test_an_instant_dealing_whose_sides_differ_is_found(kept, changed):
    quoting(kept)
    assert verify(kept.path).breaches == ()
    rewritten(kept.path, "holder:dealer", event_changed(ho.Exchanged, **changed))
    assert "transfer" in whats(kept.path)


# Money and units.


def test_money_that_came_from_nowhere_is_found(kept):
    """A deposit of an earlier behaviour says less than what was posted for it, so that no step tells."""
    busy(kept)
    stream = "holder:h1"
    text = connect(kept.path).execute("SELECT body FROM journal WHERE stream = ? AND seq = 1", (stream,)).fetchone()[0]
    line = holder_line_of(text)
    assert isinstance(line.event, ho.Deposited)
    forged = msgspec.structs.replace(line, event=msgspec.structs.replace(line.event, amount=line.event.amount - 5))
    set_body(kept.path, 1, body_of(forged), stream)
    chain_anew(kept.path, stream)
    breaches = verify(kept.path, again=False).breaches
    assert {breach.what for breach in breaches} == {"money"}
    (breach,) = breaches
    assert int(breach.found.split()[0]) == int(breach.expected.split(",")[0]) + 5


def test_postings_of_a_holder_that_do_not_balance_are_found(kept):
    busy(kept)
    text = connect(kept.path).execute("SELECT body FROM journal WHERE stream = 'holder:h1' AND seq = 1").fetchone()[0]
    line = holder_line_of(text)
    entry = (Posting(line.entry[0].account, line.entry[0].amount + 5), *line.entry[1:])
    set_body(kept.path, 1, body_of(msgspec.structs.replace(line, entry=entry)), "holder:h1")
    chain_anew(kept.path, "holder:h1")
    assert {"double entry", "balances", "money"} <= whats(kept.path, again=False)


def test_units_of_a_token_that_has_no_stream_are_found(kept):
    busy(kept)
    for table in ("journal", "states"):
        change(kept.path, f"DELETE FROM {table} WHERE stream = 'token:T'")
    for table in ("navs", "rebalances"):
        change(kept.path, f"DELETE FROM {table}")
    number_again(kept.path)
    assert {"streams", "supply", "money"} <= whats(kept.path)


def test_a_token_that_its_book_does_not_name_is_found(tmp_path):
    path = database(tmp_path / "desk.db", token_commits(happened()), book_commits())
    text = body(path, 1, "book:main").replace(b'"tokens":["BTC3L"]', b'"tokens":["NONE"]')
    set_body(path, 1, text, "book:main")
    streams = [one for one in verify(path).breaches if one.what == "streams"]
    assert [(one.stream, one.found) for one in streams] == [
        ("book:main", "no stream token:NONE"), ("token:BTC3L", "0 books that hold the token"),
    ]  # fmt: skip


# Behaviour.


def with_behaviour(path: Path, stream: str, seqs, behaviour: int) -> None:
    for seq in seqs:
        text = re.sub(rb'"behaviour":\d+', b'"behaviour":%d' % behaviour, body(path, seq, stream))
        set_body(path, seq, text, stream)
    chain_anew(path, stream)


def test_a_behaviour_that_falls_is_found(path):
    last = len(happened())
    with_behaviour(path, STREAM, [last], BEHAVIOUR - 1)
    assert (STREAM, last, "behaviour") in found(path)


def test_a_behaviour_above_the_programs_is_found(path):
    with_behaviour(path, STREAM, range(1, len(happened()) + 1), BEHAVIOUR + 1)
    breaches = [one for one in found(path) if one[2] == "behaviour"]
    assert breaches[0] == (STREAM, 1, "behaviour")
    assert [one for one in breaches if one[0] == STREAM] == [(STREAM, 1, "behaviour")]  # said once


def test_a_whole_stream_whose_behaviour_was_lowered_is_found(path):
    """Then nothing of it is stepped again; that other streams had the present behaviour before, tells."""
    with_behaviour(path, "book:main", range(1, 14), BEHAVIOUR - 1)
    assert [(one.stream, one.what) for one in verify(path).breaches] == [("book:main", "behaviour")]


# Published NAVs.


def test_the_kind_of_a_nav_is_that_of_its_line(kept):
    assert verify(kept.path).breaches == ()
    with Store(kept.path) as store:
        struck = [line_of(line.body) for line in store.lines("token:T") if b'"nav_struck"' in line.body]
    assert {line.event.kind for line in struck} <= {"minute", "rebalance", "dealing", "close"}
    change(kept.path, "UPDATE navs SET kind = 'close' WHERE time_ms = (SELECT min(time_ms) FROM navs)")
    breaches = verify(kept.path).breaches
    assert {(one.stream, one.what) for one in breaches} == {("token:T", "nav")}
    assert len(breaches) == 2  # one that no line struck, and one that is missing


def test_navs_of_one_time_are_told_apart_by_their_kind():
    commits = token_commits(happened())
    line = next(line_of(one.lines[0].body) for one in commits if one.navs)

    def struck(*kinds):
        navs = Navs()
        for kind in kinds:
            navs.take(line, msgspec.structs.replace(line.event, kind=kind))
        return navs

    marks = msgspec.json.encode(line.event.prices).decode()
    rows = [NavRow("BTC3L", line.time_ms, kind, line.nav, line.units, marks) for kind in ("minute", "rebalance")]
    assert list(struck("minute", "rebalance").faults(rows)) == []
    assert len(list(struck("minute", "rebalance").faults(rows[:1]))) == 1
    assert len(list(struck("minute").faults(rows))) == 1
    assert list(struck(msgspec.UNSET).faults(rows)) == []  # a line of an earlier program does not say which it was


# Snapshots.


def test_a_state_is_kept_after_every_so_many_lines():
    effects, head, line = Effects(), START, line_of(token_commits(happened())[0].lines[0].body)
    for _ in range(2 * SNAPSHOT_LINES + 5):
        head = effects.append("token:A", head, 1, line, b"state %d" % head.seq)
    assert [(one.stream, one.seq, one.state_hash) for one in effects.snapshots] == [
        ("token:A", seq, state_hash(one.body)) for seq, one in zip((1_000, 2_000), effects.snapshots, strict=True)
    ]  # fmt: skip
    assert effects.snapshots[0].body == b"state 999"


@pytest.mark.parametrize("stream", ["token:T", "book:main", "holder:h1"])
def test_snapshots_of_every_kind_of_stream_are_written_and_checked(kept, stream, monkeypatch):
    monkeypatch.setattr("gearing.drive.effects.SNAPSHOT_LINES", 3)
    busy(kept)
    with Store(kept.path) as store:
        shot = store.snapshot(stream)
    assert shot is not None
    assert shot.seq % 3 == 0
    assert verify(kept.path).breaches == ()
    change(kept.path, "UPDATE snapshots SET body = x'7b7d' WHERE stream = ?", stream)
    assert {(one.stream, one.what) for one in verify(kept.path).breaches} == {(stream, "snapshot")}


# Tables.


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TRIGGER quiet AFTER INSERT ON journal BEGIN DELETE FROM navs; END",
        "CREATE VIEW richer AS SELECT * FROM states",
        "CREATE TABLE notes (a)",
        "CREATE INDEX more ON journal (time_ms)",
        "DROP INDEX journal_turns",
        "DROP INDEX journal_n",
        "DROP TABLE snapshots",
        "ALTER TABLE states ADD COLUMN note",
    ],
)
def test_tables_of_another_form_are_found(path, text):
    assert verify(path).breaches == ()
    connect(path).execute(text)
    assert "schema" in whats(path, processes=1)


def test_a_constraint_that_was_taken_out_is_found(path):
    connection = connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'CHECK', '-- ' || char(10) || ' CHECK') "
                       "WHERE name = 'outbox'")  # fmt: skip
    connection.close()
    assert "schema" in whats(path)


def test_what_analyze_leaves_is_no_fault(path):
    connect(path).execute("ANALYZE")
    assert verify(path).breaches == ()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("UPDATE meta SET incarnation = 'zzzzzz'", "meta"),
        ("UPDATE meta SET mode = 'play'", "meta"),
        ("UPDATE meta SET restored_ms = 5", "meta"),
        ("UPDATE meta SET created_ms = -1", "meta"),
        ("INSERT INTO meta SELECT * FROM meta", "meta"),
        ("UPDATE alembic_version SET version_num = '3'", "schema"),
        ("DELETE FROM alembic_version", "schema"),
    ],
)
def test_what_a_database_says_of_itself_is_checked(path, text, what):
    assert verify(path).breaches == ()
    change(path, text)
    assert what in whats(path)


def test_a_restored_database_may_have_books_of_another_incarnation(path):
    change(path, "UPDATE meta SET incarnation = 'zzzzzz', restored_ms = created_ms + 1")
    assert verify(path).breaches == ()


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE inbox SET body = x'7b'",
        "UPDATE inbox SET body_hash = 'a'",
        "UPDATE inbox SET status = 'waiting' WHERE status = 'answered'",
        "UPDATE inbox SET answer = NULL WHERE status = 'answered'",
        "UPDATE inbox SET answer = x'7b' WHERE status = 'answered'",
        "UPDATE inbox SET answer = x'22ff22' WHERE status = 'answered'",
        "UPDATE inbox SET answer = x'7b7d' WHERE status = 'waiting'",
    ],
)
def test_a_row_of_the_inbox_that_does_not_fit_is_found(path, text):
    with Store(path, "demo") as store:
        store.ask("ann", "k1", b"waits")
        store.commit([Commit(put_in=(PutIn("ann", "k2", digest_of(b"b"), b"b", b"{}", 0),))])
    assert verify(path).breaches == ()
    change(path, text)
    assert whats(path) == {"inbox"}


def test_a_running_desk_is_compared_at_one_instant(kept, monkeypatch):
    """Lines that come while streams are read one after the other are not held against those that were read before."""
    busy(kept)
    from gearing.store import verify as verifying

    usual, passed = verifying.verify_stream, []

    def while_it_runs(store, stream, scope, tick, at_once):
        if stream == "holder:h1":  # h1 is read after this, h0 was before
            wanted = HandOn(holder="h1", other="h2", asset="USDT", amount=7, reference=f"r{len(passed)}")
            assert answer(kept.driver, wanted, kept.now_ms).done
            kept.take()
            passed.append(stream)
        return usual(store, stream, scope, tick, at_once)

    monkeypatch.setattr(verifying, "verify_stream", while_it_runs)
    for first in ("holder:h2", "holder:h1"):
        monkeypatch.setattr(verifying, "_all_streams", lambda store, first=first: {
            name: 10_000 * (name == first) + count for name, count in store.streams().items()
        })  # fmt: skip
        assert verify(kept.path, processes=1).breaches == ()
    assert len(passed) == 2
