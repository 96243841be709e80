"""A backup is a whole, verified copy; what is restored from it is another incarnation that trusts nothing."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from gearing.core.book import BookState
from gearing.store import backup as backing
from gearing.store.backup import STILL_SENT_MS, backup_database, restore_database
from gearing.store.database import connect, read_meta
from gearing.store.errors import DatabaseError
from gearing.store.records import Commit, Meta, OutboxChange
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.journals import NOW_MS, book_commits, database, happened, live_of, token_commits

LATER_MS = NOW_MS + 1_000
BOOK = book_commits(live=3)
LIVE = live_of(BOOK)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = database(tmp_path / "desk.db", token_commits(happened())[:100], BOOK)
    with Store(place, "demo") as store:
        store.commit([Commit(changes=(
            OutboxChange(LIVE[1], "ready", "sending", 5, 9),
            OutboxChange(LIVE[2], "ready", "sending", 5, LATER_MS + 10**9),
        ))])  # fmt: skip
        store.ask("ann", "k", b"halt")
    return place


def test_a_backup_of_a_running_database_is_whole(path, tmp_path):
    copy = tmp_path / "backup.db"
    with Store(path, "demo") as store:
        store.commit(token_commits(happened())[100:120])  # it stands in the write-ahead log only
        found = backup_database(path, copy)
        store.commit(token_commits(happened())[120:130])
        assert found.lines == 120 + 16
        assert store.streams()["token:BTC3L"] == 130
    assert not verify(copy).breaches
    assert read_meta(copy) == read_meta(path)
    assert {file.name for file in tmp_path.iterdir() if "desk" not in file.name} == {"backup.db"}


def test_a_copy_that_does_not_hold_gets_no_name(path, tmp_path):
    connect(path).execute("UPDATE journal SET body = x'00' WHERE stream = 'token:BTC3L' AND seq = 50")
    with pytest.raises(DatabaseError, match="does not hold: token:BTC3L line 50, chain"):
        backup_database(path, tmp_path / "backup.db")
    with pytest.raises(DatabaseError, match="does not hold"):
        restore_database(path, tmp_path / "restored.db", LATER_MS)
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith("desk")] == []


@pytest.mark.parametrize("name", ["there.db", "there.db-wal"])
def test_nothing_is_overwritten(path, tmp_path, name):
    (tmp_path / name).write_text("precious")
    for act in (lambda to: backup_database(path, to), lambda to: restore_database(path, to, LATER_MS)):
        with pytest.raises(DatabaseError, match=r"Move it away first|Give another name"):
            act(tmp_path / "there.db")
        with pytest.raises(DatabaseError, match="the directory does not exist"):
            act(tmp_path / "none" / "there.db")
    assert (tmp_path / name).read_text() == "precious"


def test_what_is_restored_is_another_incarnation_with_the_same_journals(path, tmp_path, monkeypatch):
    backup_database(path, tmp_path / "backup.db")
    former = read_meta(path)
    drawn = iter([former.incarnation, "zzzzzz"])  # the same one again is not taken
    monkeypatch.setattr(backing, "fresh_incarnation", lambda: next(drawn))
    meta = restore_database(tmp_path / "backup.db", tmp_path / "new.db", LATER_MS)
    assert (meta.incarnation, meta.restored_ms, meta.mode) == ("zzzzzz", LATER_MS, "demo")
    assert read_meta(tmp_path / "new.db") == meta
    assert not verify(tmp_path / "new.db").breaches
    with Store(tmp_path / "new.db", "demo") as store, Store(path, "demo") as old:
        assert store.states() == old.states()
        store.commit(token_commits(happened())[100:])  # and it goes on
        assert store.appender.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_orders_and_requests_of_a_backup_are_not_acted_on(path, tmp_path):
    restore_database(path, tmp_path / "new.db", LATER_MS)
    with Store(tmp_path / "new.db", "demo") as store:
        sent = LATER_MS + STILL_SENT_MS
        assert [(row.id, row.status, row.dead_after_ms) for row in store.outbox_open()] == [
            (LIVE[0], "unknown", sent), (LIVE[1], "unknown", sent), (LIVE[2], "unknown", LATER_MS + 10**9),
        ]  # fmt: skip
        assert store.requests() == []
        answer = store.ask("ann", "k", b"halt").answer
        assert answer is not None
        assert "restored from a backup" in json.loads(answer)["words"]


def test_a_book_that_was_not_reconciled_since_is_known():
    fresh = Meta(schema=1, mode="demo", incarnation="new111", created_ms=1)
    restored = msgspec.structs.replace(fresh, restored_ms=LATER_MS)
    assert restored.is_foreign_to("old111")
    assert not restored.is_foreign_to("new111")
    assert not restored.is_foreign_to(BookState().incarnation)
    assert not fresh.is_foreign_to("old111")
