"""What is committed stands, whole, and is read back; what must not be committed is refused, whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import msgspec
import pytest

from gearing.core.journal import line_of, state_of
from gearing.store import database as db
from gearing.store import schema
from gearing.store.append import Appender
from gearing.store.database import connect, init_database
from gearing.store.errors import (
    BusyError,
    FencedError,
    FullError,
    KeyReusedError,
    StaleError,
    StoreError,
)
from gearing.store.records import (
    Answer,
    Commit,
    HeadRow,
    JournalRow,
    Nav,
    OutboxChange,
    OutboxRow,
    RebalanceRow,
    Snapshot,
    Written,
)
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.store.writer import Writer
from tests.journals import NOW_MS, book_commits, database, happened, new_database, token_commits

STREAM = "token:BTC3L"
ROW = OutboxRow("abc1", "main", b"order", "ready", 0, 0, NOW_MS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    new_database(tmp_path / "desk.db")
    return tmp_path / "desk.db"


@pytest.fixture
def store(path: Path):
    with Store(path, "demo") as found:
        yield found


def test_what_was_committed_is_read_back(path):
    events, commits = happened(), token_commits(happened())
    database(path.with_name("b.db"), commits, book_commits())
    with Store(path.with_name("b.db"), "demo") as store:
        lines = list(store.lines(STREAM))
        assert [line_of(line.body).event for line in lines] == [seen.event for seen in events]
        assert [line.seq for line in store.lines(STREAM, 100)] == list(range(100, len(events) + 1))
        assert store.streams() == {"book:main": 13, STREAM: len(events)}
        states = store.states()
        assert [state.stream for state in states] == ["book:main", STREAM]
        assert state_of(states[1].body) == events[-1].state
        assert (states[1].seq, states[1].hash) == (lines[-1].seq, lines[-1].hash)
        assert store.state(STREAM) == states[1]
        assert store.state("token:NONE") is None
        navs = [nav for commit in commits for nav in commit.navs]
        first, last = navs[3].time_ms, navs[9].time_ms
        assert store.navs("BTC3L", first, last) == navs[3:9]


def test_a_large_group_is_kept_like_one_by_one(path):
    """Rows that share a statement, and those left over; a NAV that is published again takes the place of the former."""
    commits = token_commits(happened())
    again = commits[-1].navs or next(commit.navs for commit in reversed(commits) if commit.navs)
    commits[-1] = msgspec.structs.replace(commits[-1], navs=tuple(nav._replace(nav=nav.nav + 1) for nav in again))
    read = []
    for name, groups in (("one.db", [[commit] for commit in commits]), ("all.db", [commits])):
        init_database(path.with_name(name), "demo", NOW_MS)
        with Store(path.with_name(name), "demo") as store:
            for group in groups:
                store.commit(group)
            read.append((list(store.lines(STREAM)), store.states(), store.navs("BTC3L", 0, 2 * NOW_MS)))
    assert len(read[0][0]) > 100
    assert read[0] == read[1]


def test_the_file_is_written_ahead_and_to_the_disk(store):
    pragma = {name: store.appender.connection.execute(f"PRAGMA {name}").fetchone()[0]
              for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_another_runner_is_fenced_off_and_writes_nothing(path, store):
    commits = token_commits(happened())
    with Store(path, "demo") as other:
        store.commit(commits[:3])
        other.commit(commits[3:5])  # the other took the stream over
        with pytest.raises(FencedError) as caught:
            store.commit([Commit(lines=commits[3].lines, states=commits[3].states, outbox=(ROW,))])
        assert caught.value.stream == STREAM
        assert "another runner" in str(caught.value)
        assert store.outbox_open() == []
        assert store.streams() == {STREAM: 5}
        store.commit(commits[5:6])  # and what follows on what stands is kept
    assert not verify(path).breaches


def test_the_fence_is_the_table_s_own(path):
    """Without the look at the heads before, the key of the table still refuses it."""
    lines = token_commits(happened())[0].lines
    connection = connect(path)
    insert = "INSERT INTO journal (stream, seq, time_ms, body, hash, n) VALUES (?, ?, ?, ?, ?, ?)"
    connection.execute(insert, (*lines[0][:5], 1))
    with pytest.raises(Exception, match=r"UNIQUE constraint failed: journal.stream, journal.seq"):
        connection.execute(insert, (*lines[0][:5], 2))
    with pytest.raises(Exception, match=r"UNIQUE constraint failed: journal.n"):
        connection.execute(insert, (*lines[0]._replace(seq=2)[:5], 1))


def test_a_line_on_a_state_that_was_never_kept_is_refused(store):
    commits = token_commits(happened())
    store.commit(commits[:2])
    with pytest.raises(StaleError, match="line 4 follows on line 2"):
        store.commit(commits[3:4])
    with pytest.raises(FencedError, match="line 2 stands already"):
        store.commit(commits[1:2])
    line = commits[2].lines[0]
    with pytest.raises(FencedError, match="does not follow"):
        store.commit([Commit(lines=(line._replace(hash="0" * 64),), states=commits[2].states)])
    assert store.streams() == {STREAM: 2}


def test_lines_come_with_the_state_after_them(store):
    first, second = token_commits(happened())[:2]
    with pytest.raises(StoreError, match="without the state"):
        store.commit([Commit(lines=first.lines)])
    with pytest.raises(StoreError, match="not that of its last line"):
        store.commit([Commit(lines=first.lines, states=second.states)])
    with pytest.raises(StoreError, match="not that of its last line"):
        store.commit([Commit(states=first.states)])
    assert store.streams() == {}


def handed(writer: Writer, commit: Commit) -> Future[None]:
    """Hands a commit over; returns what it becomes of it."""
    future: Future[None] = Future()
    writer.submit(commit, lambda error: future.set_exception(error) if error else future.set_result(None))
    return future


def test_a_bad_commit_does_not_take_its_neighbours_down(store):
    token, book = token_commits(happened()), book_commits()
    unknown = OutboxChange("nobody", "ready", "sending", 1, 2)
    bad = Commit(lines=token[1].lines, states=token[1].states, changes=(unknown,))
    with Writer(store) as writer:
        with store._lock:  # all of them come into one group
            first = handed(writer, token[0])
            futures = [handed(writer, c) for c in (book[0], bad, book[1], token[2], book[2])]
        first.result(10)
        errors = [future.exception(10) for future in futures]
        assert [type(error) for error in errors] == [type(None), FencedError, type(None), StaleError, type(None)]
        for commit in (*token[1:4], *book[3:5]):  # the stream was loaded anew, and goes on
            handed(writer, commit).result(10)
    assert store.streams() == {"book:main": 5, STREAM: 4}
    assert not verify(store.path).breaches


def test_a_writer_that_was_closed_takes_nothing_more(store):
    commits = token_commits(happened())
    writer = Writer(store)
    futures = [handed(writer, commit) for commit in commits]
    writer.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(BusyError):
        writer.submit(commits[0], print)
    assert store.streams() == {STREAM: len(commits)}


def until_full(commits: list[Commit], commit: Callable[[Commit], None]) -> int:
    """Commits one by one until there is no room, and returns how many were kept."""
    for kept, one in enumerate(commits):
        try:
            commit(one)
        except FullError:
            return kept
    pytest.fail("there was room for all of them")


def test_a_full_database_refuses_whole_and_goes_on_after_room_is_made(store):
    commits = token_commits(happened())
    run = store.appender.connection.execute
    pages = run("PRAGMA page_count").fetchone()[0]
    run(f"PRAGMA max_page_count = {pages + 12}")
    with Writer(store) as writer:
        kept = until_full(commits, lambda commit: handed(writer, commit).result(10))
        assert 0 < kept < len(commits)
        assert store.streams() == {STREAM: kept}
        assert isinstance(handed(writer, commits[kept + 1]).exception(10), (StaleError, FullError))
        run("PRAGMA max_page_count = 1000000")
        for commit in commits[kept:]:
            handed(writer, commit).result(10)
    assert not verify(store.path).breaches


@pytest.fixture
def small_disk(tmp_path: Path):
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=False,
                             capture_output=True)  # fmt: skip
    if mounted.returncode:
        pytest.skip("mounting a small disk needs the rights of root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_refuses_whole_and_goes_on_after_room_is_made(small_disk):
    commits = token_commits(happened())
    init_database(small_disk / "desk.db", "demo", NOW_MS)
    stuffing = small_disk / "stuffing"
    with Store(small_disk / "desk.db", "demo") as store:
        store.commit(commits[:1])
        free = os.statvfs(small_disk)
        stuffing.write_bytes(bytes(free.f_bavail * free.f_frsize - 40_000))
        kept = 1 + until_full(commits[1:], lambda commit: store.commit([commit]))
        assert 1 < kept < len(commits)
        assert store.streams() == {STREAM: kept}
        stuffing.unlink()
        store.commit(commits[kept:])
    assert not verify(small_disk / "desk.db").breaches


def test_a_group_is_written_in_one_transaction(store, monkeypatch):
    commits = token_commits(happened())
    broken = commits[2].lines[0]._replace(body=b"x")
    with pytest.raises(FencedError):
        store.commit([*commits[:2], Commit(lines=(broken,), states=commits[2].states)])
    assert store.streams() == {}
    # A fault after the rows were written takes them back too.
    write = Appender._write

    def written_and_gone(self, given):
        write(self, given)
        raise RuntimeError("power")

    monkeypatch.setattr(Appender, "_write", written_and_gone)
    with pytest.raises(RuntimeError):
        store.commit(commits[:2])
    assert store.streams() == {}


def test_an_order_of_the_outbox_leaves_its_status_once(store):
    store.commit([Commit(outbox=(ROW,))])
    assert store.outbox_open("main") == [ROW]
    assert store.outbox_open("another") == []
    send = OutboxChange("abc1", "ready", "sending", NOW_MS, NOW_MS + 3_000)
    store.commit([Commit(changes=(send,))])
    with pytest.raises(FencedError):
        store.commit([Commit(changes=(send,))])  # a second sender does not get it
    assert store.outbox_open()[0][3:6] == ("sending", NOW_MS, NOW_MS + 3_000)
    store.commit([Commit(changes=(OutboxChange("abc1", "sending", "done", NOW_MS, NOW_MS + 3_000),))])
    assert store.outbox_open() == []
    with pytest.raises(StoreError, match=r"UNIQUE constraint failed: outbox.id"):
        store.commit([Commit(outbox=(ROW,))])


def test_the_same_request_is_asked_once(path, store):
    first = store.ask("ann", "k1", b"halt")
    assert store.ask("ann", "k1", b"halt") == first
    with pytest.raises(KeyReusedError, match="'k1' stands for another request"):
        store.ask("ann", "k1", b"resume")
    second = store.ask("bob", "k1", b"resume")  # another principal's key is another key
    assert [(r.number, r.principal, r.body) for r in store.requests()] == [
        (first.number, "ann", b"halt"), (second.number, "bob", b"resume"),
    ]  # fmt: skip
    assert [r.number for r in store.requests(first.number)] == [second.number]
    store.commit([Commit(answers=(Answer(first.number, b"done", 0),))])
    assert store.ask("ann", "k1", b"halt") == (first.number, b"done")
    assert (store.answer(first.number), store.answer(second.number)) == (b"done", None)
    assert [r.number for r in store.requests()] == [second.number]
    with pytest.raises(FencedError, match="answered already"):
        store.commit([Commit(answers=(Answer(first.number, b"again", 0),))])
    assert store.answer(first.number) == b"done"


def test_nobody_is_answered_before_the_commit(store):
    asked = store.ask("ann", "k", b"halt")
    line = token_commits(happened())[3]
    with pytest.raises(StaleError):
        store.commit([Commit(lines=line.lines, states=line.states, answers=(Answer(asked.number, b"done", 0),))])
    assert store.answer(asked.number) is None


def test_another_process_that_holds_the_database_is_said(path, store, monkeypatch):
    monkeypatch.setattr(db, "BUSY_S", 0.05)
    other = connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match="try the same again"):
        store.commit(token_commits(happened())[:1])
    with pytest.raises(BusyError):
        store.ask("ann", "k", b"halt")
    other.execute("ROLLBACK")
    store.commit(token_commits(happened())[:1])


def test_snapshots_and_navs_are_kept(store):
    commits = token_commits(happened())
    digest = line_of(commits[4].lines[0].body).state
    shot = Snapshot(STREAM, 5, digest, schema.STATE_SCHEMA, commits[4].states[0].body)
    store.commit(commits[:5])
    assert store.snapshot(STREAM) is None
    store.commit([Commit(snapshots=(shot,), navs=(Nav("BTC3L", 7, "dealing", 5, 6, (1.5, 2.0)),))])
    assert store.snapshot(STREAM) == shot
    assert store.navs("BTC3L", 7, 8) == [Nav("BTC3L", 7, "dealing", 5, 6, (1.5, 2.0))]
    with pytest.raises(StoreError, match="nav_kind"):
        store.commit([Commit(navs=(Nav("BTC3L", 7, "hourly", 5, 6, ()),))])


def test_the_last_rebalance_of_a_token_is_the_one_that_began_last(store):
    """One that goes on after a flow was decided before it."""
    flow, goes_on = RebalanceRow("A", 2, 90, b"flow"), RebalanceRow("A", 3, 50, b"goes on")
    other = RebalanceRow("B", 1, 70, b"other")
    store.commit([Commit(rebalances=(flow, goes_on, other))])
    assert store.rebalances("A") == [goes_on]
    assert store.rebalances("A", 9) == [goes_on, flow]
    assert store.rebalances(limit=9) == [flow, other, goes_on]


def test_rows_are_in_the_order_of_their_columns():
    for record, table in ((JournalRow, schema.journal), (HeadRow, schema.heads), (OutboxRow, schema.outbox),
                          (Snapshot, schema.snapshots), (Nav, schema.navs)):  # fmt: skip
        assert record._fields == tuple(column.name for column in table.columns)
    assert Written._fields[:5] == tuple(column.name for column in schema.LINE) == JournalRow._fields[:5]
    assert Written._fields[5:] == JournalRow._fields[7:]
