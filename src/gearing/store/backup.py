"""Backups: a copy of a running database that is checked before it counts, and the way back."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from gearing.core.anchor import START
from gearing.errors import InputError
from gearing.outputs import database_files, write_error
from gearing.store.anchor import restore_record
from gearing.store.database import check_new_database, connect, fresh_incarnation, opened, read_meta
from gearing.store.errors import DatabaseError
from gearing.store.heads import HeadsFile
from gearing.store.keys import NAME_KEY, SigningKey
from gearing.store.records import Meta
from gearing.store.store import Store
from gearing.store.verify import Progress, Verdict, verify

# A runner that still lived when its database was restored can have sent an order so long after.
STILL_SENT_MS = 60_000

AWAY = ("Give another name; or stop the desk that runs on it, and move {name} away together with its -wal, -shm, -lock "
         "and -pid: what was written last may stand in -wal alone. Its heads and key stay where they are.")  # fmt: skip
_NOT_DONE = (
    "The database was restored from a backup before this was answered. Check whether it was done, and send it again."
)


def backup_database(path: str | Path, target: str | Path, progress: Progress | None = None) -> Verdict:
    """Copies a database as it stands at one instant, verifies the copy, and only then gives it its name.

    The desk may go on meanwhile. Events are not stepped again; `verify` does that.

    Args:
        path: the database.
        target: the backup, one file; nothing may exist there.
        progress: of the verification, with lines done and lines in all.

    Returns:
        What was found in the copy; no breach.

    Raises:
        DatabaseError: a file exists there, or the copy does not hold.
    """
    opened(path)
    check_target(target, path)
    with _beside(target) as part:
        _copy(path, part)
        return _sound(part, path, progress)


class Restorer(NamedTuple):
    """Who restores a database and why, and where that is signed.

    Args:
        by, reason: for the record.
        key: returns what signs it; it is told whether it may make one that is missing: only once all else is known to
            be in order, and where no heads were signed with another key.
        file: the heads file that takes it.
        is_new_key: whether another key may sign than that of the heads so far.
    """

    by: str
    reason: str
    key: Callable[[bool], SigningKey]
    file: HeadsFile
    is_new_key: bool = False


def restore_database(
    backup: str | Path, target: str | Path, now_ms: int, progress: Progress | None = None,
    restorer: Restorer | None = None,
) -> Meta:  # fmt: skip
    """Makes a database of a backup, with an incarnation of its own and the mark that it was restored.

    What may have happened after the backup is not known here: so orders that were not done are unknown until the
    venue told of them, and requests that waited are answered with a refusal. A book stays halted until it was
    reconciled (see `Meta.is_foreign_to`).

    Args:
        backup: the file.
        target: the new database; nothing may exist there.
        now_ms: ms UTC.
        progress: of the verification, with lines done and lines in all.
        restorer: signs that the older state goes on, without which a desk refuses it where later heads were signed;
            None: nothing is signed.

    Raises:
        DatabaseError: a file exists there, or there is no such backup, or it does not hold.
        InputError: the record cannot be written into the heads file.
    """
    if not Path(backup).exists():
        raise DatabaseError("there is no such backup.", where=str(backup), fix="Check the path.")
    former = opened(backup)
    check_target(target, backup, fix=AWAY)
    _sound(backup, backup, progress)
    with _beside(target) as part:
        _copy(backup, part)
        with closing(connect(part)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            incarnation = fresh_incarnation()
            while incarnation == former.incarnation:
                incarnation = fresh_incarnation()
            connection.execute("UPDATE meta SET incarnation = ?, restored_ms = ?", (incarnation, now_ms))
            connection.execute(
                "UPDATE outbox SET status = 'unknown', dead_after_ms = max(dead_after_ms, ?) WHERE status <> 'done'",
                (now_ms + STILL_SENT_MS,),
            )
            connection.execute(
                "UPDATE inbox SET status = 'answered', answer = ?, answered_ms = ? WHERE status = 'waiting'",
                (_rejection(connection), now_ms),
            )
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        made = read_meta(part)
        if restorer is not None:
            _sign(part, made, restorer, now_ms)
        return made


def _rejection(connection: sqlite3.Connection) -> bytes:
    """Returns the answer to what waited, at the time that the market had reached."""
    time_ms = connection.execute("SELECT max(time_ms) FROM journal").fetchone()[0] or 0
    return msgspec.json.encode({"done": False, "words": _NOT_DONE, "time_ms": time_ms})


def _sign(part: Path, made: Meta, restorer: Restorer, now_ms: int) -> None:
    """Signs that an older state goes on, before the database takes its name: a kill between leaves none to start."""
    file = restorer.file
    last = file.last() if file.exists() else None
    if last is not None and last.record.database != made.database:
        raise InputError(f"its heads are of database {last.record.database}, the backup is of {made.database}.",
                         where=str(file.path), fix="Name the backup's own heads file with --heads.")  # fmt: skip
    file.append(())  # whether it can be written is known before a key is made
    key = restorer.key(last is None or restorer.is_new_key)
    known = file.known(key.public)
    furthest = known.whoever
    if furthest is not None and (not furthest.is_signed or furthest.record.database != made.database):
        what = (
            f"its record of line {furthest.record.n} is not signed with the key that it names, or of another database."
        )
        raise InputError(what, where=str(file.path), fix="Use an undamaged copy of the file.")
    if furthest is not None and furthest is not known.own and not restorer.is_new_key:
        raise InputError(f"its furthest head was signed with key {furthest.record.key}, and this is key {key.public}.",
                         where=str(file.path), fix=NAME_KEY)  # fmt: skip
    with Store(part) as store:
        end = store.end()
    left = START if furthest is None else furthest.record.point
    record = restore_record(made, end, left, key, by=restorer.by, reason=restorer.reason, time_ms=now_ms)
    file.append([record])


def _sound(path: str | Path, named: str | Path, progress: Progress | None) -> Verdict:
    found = verify(path, again=False, progress=progress)
    if found.breaches:
        first = found.breaches[0]
        place = f"{first.stream} line {first.seq}, " if first.stream else ""
        raise DatabaseError(
            f"the copy does not hold: {place}{first.what}: {first.found}, expected {first.expected}.",
            where=str(named), fix="See everything: gearing journal verify",
        )  # fmt: skip
    return found


def _copy(path: str | Path, part: Path) -> None:
    """Copies in one step, so that a desk that writes all the time does not make it begin anew."""
    try:
        with closing(connect(path)) as source, closing(connect(part, create=True)) as copy:
            source.backup(copy)
            # One file and nothing beside it, which can be carried away.
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise DatabaseError(f"it cannot be copied: {error}.", where=str(path)) from error


def check_target(target: str | Path, source: str | Path, *, fix: str = "Give another name.") -> None:
    """Refuses a target before the source is read: nothing is overwritten.

    Args:
        target, source: the files.
        fix: what to do where the target exists; {name} is its name.

    Raises:
        DatabaseError: something exists there, or see `check_new_database`.
    """
    place = Path(target)
    if os.path.lexists(place):
        raise DatabaseError("a file of this name exists already.", where=str(place), fix=fix.format(name=place.name))
    check_new_database(place, database_files(Path(source)))


@contextlib.contextmanager
def _beside(target: str | Path) -> Iterator[Path]:
    """Gives a name beside the target; what is made there becomes the target if all goes well, or is removed."""
    place = Path(target)
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        yield part
        _to_disk(part)
        part.rename(place)
        _to_disk(place.absolute().parent)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        for name in (part, Path(f"{part}-wal"), Path(f"{part}-shm"), Path(f"{part}-journal")):
            name.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
