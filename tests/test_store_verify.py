"""Whatever is changed in a database is found, and said where it stands."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from gearing.core import step as stepping
from gearing.core.events import Marked
from gearing.core.journal import GENESIS, body_of, hash_of, line_of, state_body, state_hash, state_of
from gearing.core.ledger import Posting
from gearing.core.step import BEHAVIOUR
from gearing.store import audit as auditing
from gearing.store.database import connect
from gearing.store.records import Commit, Nav, Snapshot, any_line_of, book_line_of
from gearing.store.schema import STATE_SCHEMA
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.journals import book_commits, chained, database, happened, live_of, measured, number_again, token_commits

STREAM, BOOK = "token:BTC3L", "book:main"
ENCODE = msgspec.json.Encoder(order="deterministic").encode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return database(tmp_path / "desk.db", token_commits(happened()), book_commits())


def change(path: Path, text: str, *values: object) -> None:
    connection = connect(path)
    assert connection.execute(text, values).rowcount > 0
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def body(path: Path, seq: int, stream: str = STREAM) -> bytes:
    found = connect(path).execute("SELECT body FROM journal WHERE stream = ? AND seq = ?", (stream, seq)).fetchone()
    return bytes(found[0])


def set_body(path: Path, seq: int, fresh: bytes, stream: str = STREAM) -> None:
    change(path, "UPDATE journal SET body = ? WHERE stream = ? AND seq = ?", fresh, stream, seq)


def chain_anew(path: Path, stream: str = STREAM) -> None:
    """What a forger does who can write to the database: every hash from the first line on is made to fit."""
    connection, before = connect(path), GENESIS
    rows = connection.execute("SELECT seq, body FROM journal WHERE stream = ? ORDER BY seq", (stream,)).fetchall()
    for seq, text in rows:
        before = hash_of(before, text)
        connection.execute("UPDATE journal SET hash = ? WHERE stream = ? AND seq = ?", (before, stream, seq))
    connection.execute("UPDATE states SET hash = ? WHERE stream = ?", (before, stream))
    connection.close()
    number_again(path)


def found(path: Path, **options: object) -> list[tuple[str, int, str]]:
    verdict = verify(path, **options)  # type: ignore[arg-type]
    return [(breach.stream, breach.seq, breach.what) for breach in verdict.breaches]


def seq_of(kind: str, nth: int = 0) -> int:
    return [k for k, seen in enumerate(happened(), 1) if type(seen.event).__name__ == kind][nth]


def test_a_sound_database_is_found_sound(path):
    seen = []
    verdict = verify(path, progress=lambda done, total: seen.append((done, total)))
    assert verdict.breaches == ()
    lines = len(happened())
    assert (verdict.lines, verdict.stepped) == (lines + 13, lines + 13)
    assert seen[-1] == (verdict.lines, verdict.lines)
    with Store(path) as store:
        assert {s.stream: s.head for s in verdict.streams} == {s.stream: s.hash for s in store.states()}


def test_several_processes_find_the_same(path):
    set_body(path, 7, body(path, 7).replace(b"7", b"8", 1))
    one, two = verify(path, processes=1), verify(path, processes=2)
    assert one.breaches
    assert (two.streams, two.breaches) == (one.streams, one.breaches)


@pytest.mark.parametrize("stream", [STREAM, BOOK])
def test_a_flipped_byte_in_the_file_is_found(path, stream):
    connection = connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    text = body(path, 5, stream)
    data = path.read_bytes()
    assert data.count(text) == 1
    for bit, at in ((1, 20), (1, len(text) // 2), (64, len(text) - 4)):
        place = data.index(text) + at
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        assert (stream, 5, "chain") in found(path)
    path.write_bytes(data)
    assert found(path) == []


def test_a_torn_record_is_found(path):
    set_body(path, 9, body(path, 9)[:-40])
    assert found(path) == [(STREAM, 9, "chain"), (STREAM, 9, "line"), *found_after_a_lost_line(9)]


def found_after_a_lost_line(seq: int) -> list[tuple[str, int, str]]:
    """Only sums that need the lost line fail after it; that what follows is unknown is no breach."""
    entry = happened()[seq - 1].entry
    if not entry:
        return []
    last = len(happened())
    accounts = {line.account for line in entry}
    return [(STREAM, seq + 1, "balances"), *[(STREAM, last, "state")] * len(accounts)]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("journal", "body", "CAST(body AS TEXT)"), ("journal", "n", "'abc'"), ("journal", "n", "n + 0.5"),
        ("journal", "seq", "'abc'"), ("journal", "stream", "CAST(stream AS BLOB)"), ("journal", "chain", "x'00'"),
        ("states", "body", "CAST(body AS TEXT)"), ("states", "stream", "x'00'"), ("navs", "time_ms", "'x'"),
        ("navs", "token", "x'00'"), ("outbox", "created_ms", "0.5"), ("rebalances", "epoch", "x'00'"),
        ("meta", "created_ms", "'x'"), ("meta", "mode", "x'00'"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_found(path, table, column, value):
    """Whatever it is, it is told, and nothing that is read further on fails by it."""
    change(path, f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT max(rowid) FROM {table})")
    breaches = verify(path).breaches
    assert breaches[0].what == "file"
    assert breaches[0].found == f"1 rows of {table} with values of another type in {column}"


def torn(data: bytes) -> bytes:
    return data[: len(data) // 2 // 4096 * 4096]


def wiped_pages(data: bytes) -> bytes:
    middle = len(data) // 2 // 4096 * 4096
    return data[:middle] + bytes(4096) + data[middle + 4096 :]


@pytest.mark.parametrize("damage", [torn, wiped_pages])
def test_a_damaged_file_is_found(path, damage):
    change(path, "UPDATE states SET seq = seq")
    path.write_bytes(damage(path.read_bytes()))
    assert ("", 0, "file") in found(path)


def test_a_missing_line_is_found(path):
    seq = seq_of("OrderEnded")  # it books nothing, so that only its absence can be seen
    change(path, "DELETE FROM journal WHERE stream = ? AND seq = ?", STREAM, seq)
    breaches = found(path)
    # The number over all streams is missing, the stream's own, and the chains of both do not fit.
    assert breaches[:3] == [(STREAM, seq + 1, "anchor")] * 3
    assert breaches[3:5] == [(STREAM, seq + 1, "sequence"), (STREAM, seq + 1, "chain")]
    assert (STREAM, seq + 1, "step") in breaches


def test_a_missing_end_is_found(path):
    last = len(happened())
    change(path, "DELETE FROM journal WHERE stream = ? AND seq = ?", STREAM, last)
    assert (STREAM, last - 1, "state") in found(path)
    change(path, "DELETE FROM journal WHERE stream = ?", STREAM)
    assert (STREAM, 0, "state") in found(path)
    change(path, "DELETE FROM states WHERE stream = ?", BOOK)
    assert (BOOK, 13, "state") in found(path)


def test_two_lines_that_were_swapped_are_found(path):
    first, second = body(path, 11), body(path, 12)
    set_body(path, 11, second)
    set_body(path, 12, first)
    assert {(STREAM, 11, "chain"), (STREAM, 12, "chain"), (STREAM, 11, "line"), (STREAM, 12, "line")} <= {*found(path)}
    chain_anew(path)
    breaches = found(path)
    assert {(STREAM, 11, "line"), (STREAM, 12, "line")} <= {*breaches}
    assert "chain" not in {what for _, _, what in breaches}


def forged(path: Path, seq: int, **changed: object) -> None:
    line = line_of(body(path, seq))
    set_body(path, seq, ENCODE(msgspec.structs.replace(line, **changed)))
    chain_anew(path)


def test_a_posting_changed_by_a_forger_is_found(path):
    seq = seq_of("FundingSettled", 3)
    entry = list(line_of(body(path, seq)).entry)
    entry[0] = Posting(entry[0].account, entry[0].amount + 1)
    forged(path, seq, entry=tuple(entry))
    assert {what for _, at, what in found(path) if at == seq} >= {"double entry", "step"}


def test_an_entry_that_was_invented_is_found_though_it_balances(path):
    seq = seq_of("FundingSettled", 3)
    line = line_of(body(path, seq))
    forged(path, seq, entry=(*line.entry, Posting("wallet", 100_000_000_000), Posting("funding", -100_000_000_000)))
    last = len(happened())
    assert [b for b in found(path, again=False) if b[2] != "nav"] == [
        (STREAM, seq, "balances"), (STREAM, last, "state"), (STREAM, last, "state"),
    ]  # fmt: skip
    assert (STREAM, seq, "step") in found(path)


def test_what_is_wrong_from_one_line_on_is_said_once(path):
    forged(path, 10, entry=(Posting("wallet", 10**11), Posting("funding", -(10**11))))
    verdict = verify(path, again=False)
    assert [breach.what for breach in verdict.breaches].count("balances") == 1
    assert sum(stream.unnamed for stream in verdict.streams) == len(happened()) - 10


@pytest.mark.parametrize("field", ["nav", "units"])
def test_a_changed_nav_is_found(path, field):
    line = line_of(body(path, 20))
    forged(path, 20, **{field: getattr(line, field) + 1})
    assert (STREAM, 20, "balances") in found(path)


def test_an_event_changed_by_a_forger_is_found(path):
    seq = seq_of("Marked", 5)
    event = line_of(body(path, seq)).event
    assert isinstance(event, Marked)
    forged(path, seq, event=msgspec.structs.replace(event, prices=(event.prices[0] * 1.01,)))
    assert found(path) == [(STREAM, seq, "step")]
    assert found(path, again=False) == []


def test_a_state_hash_changed_by_a_forger_is_found(path):
    for stream in (STREAM, BOOK):
        set_body(path, 4, re.sub(rb'"state":"[0-9a-f]{32}"', b'"state":"' + b"0" * 32 + b'"', body(path, 4, stream)),
                 stream)  # fmt: skip
        chain_anew(path, stream)
    assert found(path) == [(BOOK, 4, "step"), (STREAM, 4, "step")]


def test_an_event_that_cannot_happen_is_found(tmp_path):
    rows = book_commits()
    lines = [commit.lines[0] for commit in rows]
    path = database(tmp_path / "desk.db", token_commits(happened()), rows)
    twice = lines[2].body.replace(b'"seq":3', b'"seq":4')  # the same trade booked again
    set_body(path, 4, twice, BOOK)
    chain_anew(path, BOOK)
    assert found(path) == [(BOOK, 4, "step")]
    assert "already" in verify(path).breaches[0].expected


def test_a_changed_projection_is_found(path):
    with Store(path) as store:
        kept = store.state(STREAM)
    assert kept is not None
    state = state_of(kept.body)
    richer = msgspec.structs.replace(state, balances=msgspec.structs.replace(state.balances, wallet=1))
    change(path, "UPDATE states SET body = ? WHERE stream = ?", state_body(richer), STREAM)
    last = len(happened())
    assert found(path) == [(STREAM, last, "state"), (STREAM, last, "state")]
    assert any("the sum of its postings" in breach.expected for breach in verify(path).breaches)
    for torn_state in (b"{", b'{"\xff":1}'):
        change(path, "UPDATE states SET body = ? WHERE stream = ?", torn_state, STREAM)
        assert (STREAM, last, "state") in found(path)


def test_a_changed_published_nav_is_found(path):
    assert found(path) == []
    change(path, "UPDATE navs SET nav = nav + 1 WHERE time_ms = (SELECT min(time_ms) FROM navs)")
    assert found(path) == [(STREAM, 0, "nav")]
    with Store(path) as store:
        store.commit([Commit(navs=(Nav("NONE", 7, "minute", 1, 1, (1.0,)),))])
    assert ("token:NONE", 0, "nav") in found(path)


def test_a_published_nav_that_is_gone_or_has_other_marks_is_found(path):
    change(path, "UPDATE navs SET marks = '[1.0]' WHERE time_ms = (SELECT min(time_ms) FROM navs)")
    assert found(path) == [(STREAM, 0, "nav")]
    change(path, "UPDATE navs SET marks = 'x' WHERE time_ms = (SELECT min(time_ms) FROM navs)")
    assert found(path) == [(STREAM, 0, "nav")]
    change(path, "DELETE FROM navs WHERE time_ms = (SELECT min(time_ms) FROM navs)")
    assert found(path) == [(STREAM, 0, "nav")]


def test_a_changed_snapshot_is_found(path):
    def shoot(seq: int, stored: bytes, digest: str) -> None:
        with Store(path) as store:
            store.commit([Commit(snapshots=(Snapshot(STREAM, seq, digest, STATE_SCHEMA, stored),))])

    whole = state_body(happened()[39].state)
    shoot(40, whole, state_hash(whole))
    assert found(path) == []
    shoot(40, whole.replace(b'"epoch"', b'"epocH"'), state_hash(whole))
    assert found(path) == [(STREAM, 40, "snapshot")]
    shoot(9_999, whole, state_hash(whole))
    assert found(path) == [(STREAM, 40, "snapshot"), (STREAM, 9_999, "snapshot")]


def of_another_behaviour(number: int, upto: int):
    """The same journal, whose first lines say that another `step` made them."""
    commits = token_commits(happened())
    lines = [line_of(commit.lines[0].body) for commit in commits]

    def row(seen, line, navs, rows):
        behaviour = number if line.seq <= upto else line.behaviour
        make = lambda stream, seq, digest: msgspec.structs.replace(line, behaviour=behaviour)  # noqa: E731
        return make, seen.state, navs, *rows

    navs = [commit.navs for commit in commits]
    every = zip(happened(), lines, navs, measured(happened(), "BTC3L"), strict=True)
    return chained(STREAM, [row(*one) for one in every])


def test_the_outbox_is_what_the_book_placed_and_closed(tmp_path):
    book = book_commits(live=2)
    path = database(tmp_path / "desk.db", token_commits(happened()), book)
    assert found(path) == []
    live = live_of(book)[0]
    (done,) = connect(path).execute("SELECT min(id) FROM outbox WHERE status = 'done'").fetchone()
    order = book_line_of(body(path, 2, BOOK)).event.order
    other = body_of(msgspec.structs.replace(order, lots=order.lots + 1))
    for column, value, key, words in (
        ("status", "done", live, "not done: the book waits for it"), ("status", "ready", done, "done, since the book"),
        ("body", other, done, "the order that was placed"), ("body", b"{", done, "the order that was placed"),
        ("body", b'{"id":"\xff"}', done, "the order that was placed"),
        ("signed_ms", 7, live, "0 while it is ready"),
    ):  # fmt: skip
        before = connect(path).execute(f"SELECT {column} FROM outbox WHERE id = ?", (key,)).fetchone()[0]
        change(path, f"UPDATE outbox SET {column} = ? WHERE id = ?", value, key)
        (breach,) = verify(path).breaches
        assert (breach.stream, breach.what) == (BOOK, "outbox")
        assert words in breach.expected
        assert key in breach.found
        change(path, f"UPDATE outbox SET {column} = ? WHERE id = ?", before, key)
        assert found(path) == []


def test_a_row_of_the_outbox_that_was_removed_added_or_moved_is_found(tmp_path):
    path = database(tmp_path / "desk.db", token_commits(happened()), book_commits())
    change(path, "UPDATE outbox SET id = 'x' WHERE rowid = 1")
    assert found(path) == [(BOOK, 0, "outbox")] * 2
    change(path, "DELETE FROM outbox WHERE id = 'x'")
    assert found(path) == [(BOOK, 0, "outbox")]
    path = database(tmp_path / "other.db", token_commits(happened()), book_commits())
    change(path, "UPDATE outbox SET book = 'other' WHERE rowid = 1")
    assert {("book:other", 0, "outbox"), (BOOK, 0, "outbox")} <= {*found(path)}


def test_what_is_measured_of_a_rebalance_is_what_its_lines_say(path):
    with Store(path) as store:
        rows = store.rebalances("BTC3L", limit=1_000)
    assert len(rows) > 10
    one = rows[4]
    for column, other in (("body", one.body.replace(b'"fills":1', b'"fills":2')), ("started_ms", one.started_ms + 1)):
        assert other not in one
        change(path, f"UPDATE rebalances SET {column} = ? WHERE epoch = ?", other, one.epoch)
        assert found(path) == [(STREAM, 0, "rebalance")]
        change(path, f"UPDATE rebalances SET {column} = ? WHERE epoch = ?", getattr(one, column), one.epoch)
    change(path, "UPDATE rebalances SET epoch = 9999 WHERE epoch = ?", one.epoch)
    assert found(path) == [(STREAM, 0, "rebalance")] * 2  # one that never was, and nothing of one that was
    change(path, "DELETE FROM rebalances WHERE epoch = 9999")
    assert found(path) == [(STREAM, 0, "rebalance")]
    assert found(path, again=False) == []
    change(path, "UPDATE rebalances SET token = 'NONE'")
    assert ("token:NONE", 0, "rebalance") in found(path)


def test_a_rebalance_that_was_not_seen_whole_is_held_against_nothing(tmp_path):
    """Of its lines some are of another behaviour; another program may have measured it."""
    every = enumerate(measured(happened(), "BTC3L"), 1)
    seqs = [seq for seq, rows in every if any(b'"fills":0' in row.body for row in rows)]
    for first, faults in ((seqs[5], 0), (seqs[5] - 1, 1)):
        path = database(tmp_path / f"{first}.db", of_another_behaviour(BEHAVIOUR - 1, first))
        assert found(path) == []
        epoch = happened()[seqs[5] - 1].state.epoch
        change(path, "UPDATE rebalances SET started_ms = 7 WHERE epoch IN (?, ?)", epoch - 1, epoch)
        assert found(path) == [(STREAM, 0, "rebalance")] * faults


def test_events_of_another_behaviour_are_not_held_against_this_one(tmp_path, monkeypatch):
    commits = of_another_behaviour(BEHAVIOUR - 1, 30)
    path = database(tmp_path / "desk.db", commits)
    verdict = verify(path, processes=1)
    # Their results prove to be the same, so the state is known where the current behaviour begins.
    assert (verdict.breaches, verdict.stepped) == ((), len(happened()) - 30)

    # Where they are not, the state is unknown from there on, until a snapshot gives it.
    usual = stepping.step

    def other(spec, state, event):
        done = usual(spec, state, event)
        return done._replace(state=msgspec.structs.replace(done.state, trades=77)) if event is changed else done

    changed = None

    def watched(kind: str, stored: bytes):
        nonlocal changed
        line = any_line_of(kind, stored)
        changed = line.event if line.seq == 20 else changed
        return line

    monkeypatch.setattr(auditing, "step", other)
    monkeypatch.setattr(auditing, "any_line_of", watched)
    verdict = verify(path, processes=1)
    assert (verdict.breaches, verdict.stepped) == ((), 0)
    body_40 = state_body(happened()[39].state)
    with Store(path) as store:
        store.commit([Commit(snapshots=(Snapshot(STREAM, 40, state_hash(body_40), STATE_SCHEMA, body_40),))])
    verdict = verify(path, processes=1)
    assert (verdict.breaches, verdict.stepped) == ((), len(happened()) - 40)


def test_an_invariant_that_breaks_is_found(path, monkeypatch):
    monkeypatch.setattr(auditing, "breaches", lambda before, after, entry: ["U2: made up"] if entry else [])
    booked = [k for k, seen in enumerate(happened(), 1) if seen.entry]
    assert found(path, processes=1)[:3] == [(STREAM, seq, "invariant") for seq in booked[:3]]
    verdict = verify(path, processes=1)
    assert len(verdict.breaches) == auditing.NAMED_MAX
    assert len(verdict.breaches) + verdict.streams[1].unnamed == len(booked)


def test_of_an_unknown_stream_the_chain_is_checked(tmp_path):
    rows = [(lambda stream, seq, digest, k=k: Thing(stream=stream, seq=seq, time_ms=k, what="bought"), Thing(
        stream="study:x1", seq=0, time_ms=0, what="state"), ()) for k in range(5)]  # fmt: skip
    path = database(tmp_path / "desk.db", chained("study:x1", rows))
    assert found(path) == []
    set_body(path, 3, b'{"what":"sold"}', "study:x1")
    assert found(path) == [("study:x1", 3, "chain")]


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    seq: int
    time_ms: int
    what: str
