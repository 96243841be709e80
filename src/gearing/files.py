"""Files: reading with plain errors, and writing that leaves the whole file or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gearing.errors import InputError

_WRITE_SENTENCES = {
    errno.ENOSPC: ("the disk is full; nothing was kept.", "Free some space, or write elsewhere."),
    errno.EDQUOT: ("the disk quota is used up; nothing was kept.", "Free some space, or write elsewhere."),
    errno.EACCES: ("no permission to write here.", "Choose another place, or change its permissions."),
    errno.EPERM: ("no permission to write here.", "Choose another place, or change its permissions."),
    errno.EROFS: ("this file system is read-only.", "Choose another place."),
    errno.ENOENT: ("the directory does not exist.", "Make it first, or correct the path."),
    errno.ENOTDIR: ("a part of the path is a file, not a directory.", "Correct the path."),
    errno.EISDIR: ("this is a directory, not a file.", "Give the path of a file."),
    errno.ENAMETOOLONG: ("the file name is too long.", "Choose a shorter one."),
}


def write_error(path: str | Path, error: OSError) -> InputError:
    """Returns what went wrong on writing `path`, as a plain sentence."""
    sentence, fix = _WRITE_SENTENCES.get(error.errno or 0, (f"cannot be written: {error.strerror or error}.", ""))
    return InputError(sentence, where=str(path), fix=fix)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file to write beside `path`; it takes that name only once it is whole and on the disk.

    If the block raises, or the disk fills up, the new file is removed and an older one stays as it was.
    A device or a pipe, such as /dev/stdout, is written to directly.

    Args:
        path: where the file shall stand.

    Raises:
        InputError: the place cannot be written, or the disk is full.
    """
    # The file a link points to is replaced, not the link.
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if mode is not None and not stat.S_ISREG(mode):
            with target.open("wb") as device:
                yield device
            return
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                beside.chmod(stat.S_IMODE(mode))
            beside.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
    except OSError as error:
        raise write_error(path, error) from error


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes `data` to `path`, wholly or not at all.

    Raises:
        InputError: the place cannot be written, or the disk is full.
    """
    with writing(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, wholly or not at all.

    Raises:
        InputError: the place cannot be written, or the disk is full.
    """
    write_bytes(path, text.encode())


def readable(path: str | Path, kind: type[InputError] = InputError) -> Path:
    """Returns `path` once it is known to be a file that can be read and is not empty.

    Args:
        path: the file.
        kind: the class of the error.

    Raises:
        InputError: it is missing, a directory, empty, or may not be read; of class `kind`.
    """
    place = str(path)
    try:
        with Path(path).open("rb") as file:
            # A pipe has no size and must not be consumed here.
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode) and not file.read(1):
                raise kind("the file is empty.", where=place, fix="Write it again.")
    except FileNotFoundError:
        raise kind("there is no such file.", where=place, fix="Check the path.") from None
    except IsADirectoryError:
        raise kind("this is a directory, not a file.", where=place, fix="Give the path of a file.") from None
    except PermissionError:
        raise kind("no permission to read this file.", where=place, fix="Change its permissions.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise kind(f"the file cannot be read: {reason}.", where=place) from error
    return Path(path)


def standing(path: str | Path, kind: type[InputError] = InputError) -> Path:
    """Returns `path` once it is known to be a file that is not empty, without opening it.

    That is for databases: a process that closes any handle of a file gives up every lock it holds on it, those of
    SQLite too, and a database whose locks are gone is written by two at once.

    Args:
        path: the file.
        kind: the class of the error.

    Raises:
        InputError: it is missing, a directory, empty, or may not be read; of class `kind`.

    Source: POSIX, fcntl(2), advisory record locks; SQLite, "How To Corrupt An SQLite Database File", 2.2.
    """
    place = str(path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise kind(
            "there is no such file.", where=place, fix="Check the path; `gearing up` starts a desk and makes one."
        ) from None
    except PermissionError:
        raise kind("no permission to read this file.", where=place, fix="Change its permissions.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise kind(f"the file cannot be read: {reason}.", where=place) from error
    if stat.S_ISDIR(found.st_mode):
        raise kind("this is a directory, not a file.", where=place, fix="Give the path of a file.")
    if not os.access(path, os.R_OK):
        raise kind("no permission to read this file.", where=place, fix="Change its permissions.")
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise kind("the file is empty.", where=place, fix="Write it again.")
    return Path(path)


def read_bytes(path: str | Path, kind: type[InputError] = InputError) -> bytes:
    """Returns what stands in `path`.

    Raises:
        InputError: it is missing, a directory, empty, or may not be read; of class `kind`.
    """
    try:
        return readable(path, kind).read_bytes()
    except OSError as error:
        raise kind(f"the file cannot be read: {error.strerror}.", where=str(path)) from error


def read_text(path: str | Path, kind: type[InputError] = InputError) -> str:
    """Returns the UTF-8 text in `path`.

    Raises:
        InputError: as `read_bytes`, or it is not text.
    """
    try:
        return read_bytes(path, kind).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(
            f"the file is not UTF-8 text (byte {error.start}).", where=str(path), fix="Save it as UTF-8."
        ) from None
