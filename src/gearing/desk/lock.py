"""One desk on one database: a lock that a kill gives back."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from gearing.errors import InputError


def lock_file(database: Path) -> Path:
    """Returns the file that a desk holds while it runs on a database."""
    return database.with_name(f"{database.name}-lock")


class DeskLock:
    """Held by the desk that runs on a database. SQLite's own lock is used, which every system gives back on a kill.

    Args:
        database: the desk's.
        wait_s: for a command that only looks whether one runs.

    Raises:
        InputError: another desk holds it, or its file cannot be written.
    """

    def __init__(self, database: Path, *, wait_s: float = 1.0) -> None:
        try:
            self._held = sqlite3.connect(lock_file(database), isolation_level=None, timeout=wait_s)
            self._held.execute("PRAGMA journal_mode = OFF")
            self._held.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise InputError("another desk runs on this database.", where=str(database),
                                 fix="Stop it first, or give another database with --db.") from None  # fmt: skip
            raise InputError(f"no file can be written here ({error}).", where=str(database.parent)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def is_running(database: Path) -> bool:
    """Returns whether a desk runs on a database."""
    if not lock_file(database).exists():
        return False
    try:
        with DeskLock(database, wait_s=0.0):
            return False
    except InputError:
        return True
