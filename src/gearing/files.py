"""Files: reading with plain errors, and writing that leaves the whole file or nothing."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gearing.errors import InputError
from gearing.filekind import Kind
from gearing.outputs import Output, check_outputs, descriptor_of, write_error

_TEXT_MAX = 2**24


def followed(path: Path) -> Path:
    """Returns the file that a path names, behind whatever links; a path without any stays as it was written."""
    real = Path(os.path.realpath(path))
    return path if real == Path(os.path.abspath(path)) else real


@contextlib.contextmanager
def writing(path: str | Path, kind: Kind | None = None, *, force: bool = False) -> Iterator[BinaryIO]:
    """Opens a new file next to `path`; it takes that name only once it is whole and on the disk.

    If the block raises, or the disk fills up, the new file is removed and an older one is kept unchanged. A device, a
    pipe or an open descriptor, such as /dev/stdout, is written to directly.

    Args:
        path: the file to write.
        kind: what is written; an existing file of another kind is refused. None: any file but a database is replaced.
        force: replace an existing file of another kind; never a database or a side file of one.

    Raises:
        InputError: the path is a database or holds another kind of file, it cannot be written, or the disk is full.
    """
    check_outputs([Output(option="", path=Path(path), kind=kind)], force=force, hint="force=True")
    # The file that a link points to is replaced, not the link.
    target = Path(os.path.realpath(path))
    try:
        descriptor = descriptor_of(path)
        if descriptor is not None:
            # Opened by its name, a file that standard output appends to would lose what it holds.
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                yield stream
            return
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            with target.open("wb") as device:
                yield device
            return
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        # A process of the same number may have left this name, or it is a link: the file behind it is not written to.
        part.unlink(missing_ok=True)
        with part.open("xb") as file, _removed_on_error(part):
            yield file
            file.flush()
            os.fsync(file.fileno())
            if mode is not None:
                part.chmod(stat.S_IMODE(mode))
            part.replace(target)
    except OSError as error:
        raise write_error(path, error) from error


@contextlib.contextmanager
def _removed_on_error(part: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def write_bytes(path: str | Path, data: bytes, kind: Kind | None = None, *, force: bool = False) -> None:
    """Writes `data` to `path`, wholly or not at all; see `writing`.

    Raises:
        InputError: the path is a database or holds another kind of file, it cannot be written, or the disk is full.
    """
    with writing(path, kind, force=force) as file:
        file.write(data)


def write_text(path: str | Path, text: str, kind: Kind | None = None, *, force: bool = False) -> None:
    """Writes `text` as UTF-8 to `path`, wholly or not at all; see `writing`.

    Raises:
        InputError: the path is a database or holds another kind of file, it cannot be written, or the disk is full.
    """
    write_bytes(path, text.encode(), kind, force=force)


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
        _refuse_device(os.stat(path).st_mode, place, kind)
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
    _refuse_device(found.st_mode, place, kind)
    if not os.access(path, os.R_OK):
        raise kind("no permission to read this file.", where=place, fix="Change its permissions.")
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise kind("the file is empty.", where=place, fix="Write it again.")
    return Path(path)


def _refuse_device(mode: int, place: str, kind: type[InputError]) -> None:
    """Refuses a device, which may never end; a pipe may be read."""
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise kind("this is a device, not a file.", where=place, fix="Give the path of a file.")


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
    """Returns the UTF-8 text in `path`, which is a specification: nobody writes one of 16 MiB.

    Raises:
        InputError: as `read_bytes`, or it is not text, or too long.
    """
    try:
        with readable(path, kind).open("rb") as file:
            data = file.read(_TEXT_MAX + 1)
    except OSError as error:
        raise kind(f"the file cannot be read: {error.strerror}.", where=str(path)) from error
    if len(data) > _TEXT_MAX:
        raise kind(f"the file is longer than {_TEXT_MAX / 2**20:.0f} MiB.", where=str(path),
                   fix="Give a specification, in TOML.")  # fmt: skip
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(
            f"the file is not UTF-8 text (byte {error.start}).", where=str(path), fix="Save it as UTF-8."
        ) from None
