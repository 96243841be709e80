"""One desk on one database: a lock that a kill gives back, and the number of the process that holds it.

The lock is on a file beside the database, behind whatever links; and on the database's own file (device and inode),
where the system has locks that belong to whoever opened a file (Linux), since a file may have several names.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from gearing.errors import InputError
from gearing.files import followed
from gearing.store.database import claim

try:
    import fcntl
except ImportError:  # not on this system
    _OFD_SETLK = _OFD_GETLK = None
else:
    _OFD_SETLK, _OFD_GETLK = getattr(fcntl, "F_OFD_SETLK", None), getattr(fcntl, "F_OFD_GETLK", None)

_LOCK = "-lock"
# A byte of the database's file that it never reaches, so that SQLite's own locks stand elsewhere.
_PLACE = 1 << 62
_FLOCK = "@hhqqi0q"
_AGAIN_S = 0.02
_FILES: dict[tuple[int, int, int], list[int]] = {}


def lock_file(database: Path) -> Path:
    """Returns the file that a desk holds while it runs on a database."""
    database = followed(database)
    return database.parent / f"{database.name}{_LOCK}"


def _process_file(database: Path) -> Path:
    """Returns the file in which a desk says which process it is; it means nothing once the lock is free."""
    database = followed(database)
    return database.parent / f"{database.name}-pid"


class DeskLock:
    """Held by the desk that runs on a database. SQLite's own lock is used, which every system gives back on a kill.

    Args:
        database: the desk's; where there is none yet, `hold` is called once there is.
        wait_s: for a command that only looks whether one runs.

    Raises:
        InputError: another desk holds it, or its file cannot be written.
    """

    def __init__(self, database: Path, *, wait_s: float = 1.0) -> None:
        self._database = database
        self._file: _File | None = None
        self._held = _held(database, wait_s)
        if database.exists():
            self.hold(wait_s)

    def hold(self, wait_s: float = 1.0) -> None:
        """Locks the database's own file, under whatever name it is known to others.

        Args:
            wait_s: for a command that only looks whether a desk runs.

        Raises:
            InputError: another desk holds it.
        """
        if self._file is None:
            self._file = _file_of(self._database, os.O_RDWR)
            until_s = time.monotonic() + wait_s
            while not _lock(self._file.number):
                if time.monotonic() >= until_s:
                    self.close()
                    raise _held_by_another(self._database)
                time.sleep(_AGAIN_S)
            try:
                claim(self._database)
            except InputError:
                self.close()
                raise

    def close(self) -> None:
        """Gives it back."""
        self._held.close()
        if self._file is not None:
            self._file.give_back()
            self._file = None

    def tell(self, database: Path) -> Self:
        """Writes down which process holds it, for whoever finds it held."""
        number = _process_file(database)
        try:
            _check_side_file(number, lambda path: path.read_bytes().strip().isdigit() or path.stat().st_size == 0)
        except InputError:
            self.close()
            raise
        number.write_text(f"{os.getpid()}\n", "ascii")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _File(NamedTuple):
    """A database's own file, open, and what it is: device, inode, and how it is opened."""

    number: int
    key: tuple[int, int, int]

    def give_back(self) -> None:
        """Keeps it for the next who wants it: to close it would end SQLite's own locks of this process."""
        _unlock(self.number)
        _FILES[self.key].append(self.number)


def _file_of(database: Path, flags: int) -> _File:
    found = database.stat()
    key = (found.st_dev, found.st_ino, flags)
    free = _FILES.setdefault(key, [])
    return _File(free.pop() if free else os.open(database, flags | getattr(os, "O_CLOEXEC", 0)), key)


def _held(database: Path, wait_s: float) -> sqlite3.Connection:
    """Locks the file beside a database.

    Raises:
        InputError: another desk holds it, or it cannot be written.
    """
    check_lock_file(database)
    try:
        held = sqlite3.connect(lock_file(database), isolation_level=None, timeout=wait_s)
        held.execute("PRAGMA journal_mode = OFF")
        held.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise _held_by_another(database) from None
        raise InputError(f"no file can be written here ({error}).", where=str(database.parent)) from None
    return held


def _lock(file: int) -> bool:
    """Takes the lock on an open file; returns whether that could be done, or the system has no such locks."""
    try:
        return _OFD_SETLK is None or bool(fcntl.fcntl(file, _OFD_SETLK, _place(fcntl.F_WRLCK)))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno == errno.EINVAL:  # a file system without such locks
            return True
        raise


def _unlock(file: int) -> None:
    if _OFD_SETLK is not None:
        with suppress(OSError):
            fcntl.fcntl(file, _OFD_SETLK, _place(fcntl.F_UNLCK))


def _is_locked(database: Path) -> bool:
    """Returns whether anybody holds the lock on a database's own file."""
    if _OFD_GETLK is None:
        return False
    with suppress(OSError):
        file = _file_of(database, os.O_RDONLY)
        try:
            found = fcntl.fcntl(file.number, _OFD_GETLK, _place(fcntl.F_WRLCK))
        finally:
            file.give_back()
        return bool(struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK)
    return False


def _place(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, _PLACE, 1, 0)


def _check_side_file(path: Path, is_own: Callable[[Path], bool]) -> None:
    """Refuses a file that a desk did not write, or a link, behind which another file would be written.

    Raises:
        InputError: it is one of these.
    """
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file() or not is_own(path):
        raise InputError("this name is kept for a desk's side file, and another file has it.", where=str(path),
                         fix="Move that file away, or give another database with --db.")  # fmt: skip


def check_lock_file(database: Path) -> None:
    """Refuses a lock that no desk made: SQLite writes nothing into one.

    Raises:
        InputError: another file has its name.
    """
    _check_side_file(lock_file(database), lambda path: path.stat().st_size == 0)


def is_running(database: Path) -> bool:
    """Returns whether a desk runs on a database.

    Raises:
        InputError: another file has the name of its lock.
    """
    if _is_locked(database):
        return True
    if not lock_file(database).exists():
        return False
    check_lock_file(database)
    try:
        _held(database, 0.0).close()
    except InputError:
        return True
    return False


def running_in(folder: Path) -> list[Path]:
    """Returns the databases in a folder that a desk runs on."""
    found = []
    for lock in sorted(folder.glob(f"*{_LOCK}")):
        database = lock.with_name(lock.name.removesuffix(_LOCK))
        with suppress(InputError):  # another file has such a name
            if database.exists() and is_running(database):
                found.append(database)
    return found


def _held_by_another(database: Path) -> InputError:
    number = ""
    with suppress(OSError):
        number = _process_file(database).read_text("ascii").strip()
    if not number.isdigit():
        return InputError("another desk runs on this database.", where=str(database),
                          fix="Stop it first, or give another database with --db.")  # fmt: skip
    if _is_stopped(number):
        # It may hold the database in the middle of a commit, so nobody can take over before it goes on or is gone.
        return InputError(f"another desk holds this database, process {number}, which is stopped.", where=str(database),
                          fix=f"Let it go on: kill -CONT {number}, or end it: kill -9 {number}")  # fmt: skip
    return InputError(f"another desk runs on this database, process {number}.", where=str(database),
                      fix=f"Stop it first: kill {number}, or give another database with --db.")  # fmt: skip


def _is_stopped(number: str) -> bool:
    """Returns whether a process is stopped, where the system tells (Linux)."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{number}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] == "T"
    return False
