"""What the machine refuses is told as that, waited for where it may pass, and loses nothing that was kept."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from gearing.cli import main as cli
from gearing.cli.main import main
from gearing.errors import StorageError
from gearing.store import database
from gearing.store.append import refusal
from gearing.store.errors import BusyError, FullError, ReadOnlyError, StoreError, TornError
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.test_desk_up import grows, lines, place, until, up

__all__ = ["place"]


def told(child):
    """Reads what a desk printed, to its end."""
    return child.stdout.read() if child.stdout else ""


def happened(place, words):
    return lambda: words in (place / "desk.jsonl").read_text()


def test_a_desk_waits_for_a_database_that_another_process_holds(place):
    with up(place) as child:
        until(grows(place))
        with closing(sqlite3.connect("desk.db", isolation_level=None, timeout=10.0)) as other:
            other.execute("BEGIN IMMEDIATE")
            until(happened(place, "another process holds the database"))
            stood = lines(place)
            time.sleep(2.0)
            assert lines(place) == stood
            other.execute("ROLLBACK")
        until(happened(place, "the storage takes what is written again"))
        until(grows(place))
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    assert verify("desk.db").breaches == ()


@pytest.mark.parametrize("victim", ["desk.db", "desk-paper.db"])
def test_a_desk_waits_for_room_on_the_disk(place, victim, monkeypatch, tmp_path):
    """A limit of pages stands for a full disk: SQLite refuses both with the same code."""
    patch = f"""
import os, sqlite3
connect = sqlite3.connect
class Limited(sqlite3.Connection):
    def execute(self, statement, *more):
        if statement.startswith("BEGIN"):
            most = 1 if os.path.exists({str(tmp_path / "full")!r}) else 10**6
            if self.mine:
                super().execute(f"PRAGMA max_page_count = {{most}}")
        return super().execute(statement, *more)
def limited(path, *more, **options):
    made = connect(path, *more, factory=Limited, **options)
    made.mine = str(path).partition("?")[0].endswith("/{victim}") or str(path) == "{victim}"
    return made
sqlite3.connect = limited
"""
    (tmp_path / "sitecustomize.py").write_text(patch)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with up(place) as child:
        until(grows(place))
        (tmp_path / "full").touch()
        until(happened(place, "no room left on the disk"))
        time.sleep(3.0)
        assert child.poll() is None
        (tmp_path / "full").unlink()
        until(happened(place, "the storage takes what is written again"))
        until(grows(place))
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    with Store("desk.db") as store:
        assert not [one for one in store.states() if b'"halted":"C1' in one.body]
    assert verify("desk.db").breaches == ()


def test_a_desk_whose_database_is_damaged_ends_and_says_how_to_repair_it(place):
    with up(place) as child:
        until(grows(place))
        child.kill()
        child.wait()
    with closing(sqlite3.connect("desk.db")) as base:
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray((place / "desk.db").read_bytes())
    data[4096 * 2 :] = os.urandom(len(data) - 4096 * 2)
    (place / "desk.db").write_bytes(data)
    with up(place) as child:
        assert child.wait(40) == StorageError.exit_code
        assert "damaged" in (words := told(child)), words
        assert "gearing db restore" in words


def test_a_removed_log_is_found_at_the_start_and_repaired_by_a_backup(place, capsys):
    with up(place) as child:
        until(grows(place))
        assert main(["db", "backup", "desk.db", "backup.db"]) == 0
        shutil.copy("desk.db", "as-it-was.db")
        with closing(sqlite3.connect("desk.db")) as base:
            base.execute("PRAGMA wal_checkpoint(PASSIVE)")
        until(grows(place))
        time.sleep(3.0)
        child.kill()
        child.wait()
    (place / "desk.db-wal").unlink()
    with up(place) as child:
        assert child.wait(40) == 2
        assert "it is an old copy, or was changed" in (words := told(child)), words
        assert "gearing db restore" in words
    for left in place.glob("desk.db*"):
        if left.suffix not in {".heads", ".key"}:
            left.unlink()
    assert main(["db", "restore", "backup.db", "desk.db", "--reason", "the log was removed"]) == 0
    with up(place) as child:
        until(grows(place))


def test_a_lost_last_line_is_found_at_the_start(place):
    with up(place) as child:
        until(grows(place))
        child.send_signal(signal.SIGTERM)
        child.wait()
    with closing(sqlite3.connect("desk.db")) as base:
        (signed,) = base.execute("SELECT max(n) FROM heads").fetchone()
        base.execute("DELETE FROM journal WHERE n >= ?", (signed,))
        base.commit()
    verdict = verify("desk.db")
    assert verdict.breaches
    with up(place, "--speed", "1") as child:
        assert child.wait(20) == 2
        assert "it is an old copy, or was changed" in (words := told(child)), words


def test_a_database_on_a_read_only_disk_is_read_and_verified_and_not_written(place, monkeypatch, capsys):
    with up(place) as child:
        until(grows(place))
        child.send_signal(signal.SIGTERM)
        child.wait()
    monkeypatch.setattr(database, "_is_read_only", lambda path: True)
    assert main(["status", "--db", "desk.db"]) == 0
    assert verify("desk.db").breaches == ()
    capsys.readouterr()
    assert main(["deposit", "h7", "5", "--reference", "X1", "--yes", "--db", "desk.db"]) == StorageError.exit_code
    assert "the database cannot be written" in capsys.readouterr().err
    (place / "desk.db-wal").write_bytes(b"changes")
    assert main(["status", "--db", "desk.db"]) == StorageError.exit_code
    assert "its last changes stand in desk.db-wal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLITE_FULL", FullError), ("SQLITE_BUSY", BusyError), ("SQLITE_LOCKED", BusyError),
        ("SQLITE_READONLY", ReadOnlyError), ("SQLITE_CANTOPEN", ReadOnlyError), ("SQLITE_CORRUPT", TornError),
        ("SQLITE_NOTADB", TornError), ("SQLITE_IOERR", TornError), ("SQLITE_IOERR_WRITE", TornError),
        ("SQLITE_CONSTRAINT", StoreError),
    ],
)  # fmt: skip
def test_what_the_storage_refuses_has_a_class_a_code_and_a_mend(name, kind, capsys):
    error = sqlite3.OperationalError("it said so")
    error.sqlite_errorcode = getattr(sqlite3, name)
    refused = refusal(error)
    assert type(refused) is kind
    assert cli._answer(refused) == (5 if isinstance(refused, StorageError) else 1)
    said = capsys.readouterr().err
    assert ("fault of Gearing" in said) == (kind is StoreError)
    if kind is not StoreError:
        assert refused.fix in said
    assert (refused.patience_s > 0) == (kind in {FullError, BusyError}) if kind is not StoreError else True


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_what_the_machine_lacks_is_no_fault_of_the_program(number, capsys):
    assert cli._answer(OSError(number, os.strerror(number), "file")) == 5
    assert capsys.readouterr().err == f"error: file: {os.strerror(number)}.\n"


def test_too_little_memory_is_no_fault_of_the_program(capsys):
    assert cli._answer(MemoryError()) == 5
    assert "there is not enough memory" in capsys.readouterr().err


def test_too_few_files_are_told_as_that(place, monkeypatch):
    monkeypatch.setattr("tests.test_desk_up._as_of_a_terminal",
                        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)))  # fmt: skip
    with up(place) as child:
        code, words = child.wait(40), told(child)
        assert code in {2, 5}, words
        assert "fault of Gearing" not in words
