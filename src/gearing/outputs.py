"""Which files may be written: never a database, an input of the command, or another of its outputs.

A file is identified by its device and inode, so that no spelling, link, mount or letter case hides it. A database is
never opened here: a process that closes any handle of it gives up the locks that it holds on it (see `files.standing`).
"""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from gearing.errors import InputError
from gearing.filekind import HEAD_BYTES, NAMES, Kind, kinds_of

SQLITE_SUFFIXES = ("-wal", "-shm", "-journal")
SIDE_SUFFIXES = (
    *SQLITE_SUFFIXES, "-lock", "-pid", "-making", "-making-wal", "-making-shm", "-making-journal", ".key", ".heads",
)  # fmt: skip
"""What the name of a file next to a database ends with: SQLite's, the desk's lock and process, a half-made database,
the signing key and the signed heads."""

_IN_USE = (*SQLITE_SUFFIXES, "-lock")
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(\d+)(/task/\d+)?/fd")
_LINKS_MAX = 40

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


class ProtectedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a command must not overwrite.

    Args:
        path: the file, which need not exist.
        role: what it is, such as "an input of this command".
    """

    path: Path
    role: str


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a command writes.

    Args:
        option: the option or argument that names it; empty in Python.
        path: the file.
        kind: what is written; an existing file of another kind is refused. None: any file may be replaced.
        replaces: whether an existing file of its kind is replaced without `--force`.
    """

    option: str
    path: Path
    kind: Kind | None
    replaces: bool = True

    @property
    def where(self) -> str:
        """The option and the path, for messages."""
        return f"{self.option} {self.path}".strip()


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a path leads, whatever its spelling.

    Args:
        file: device and inode; None where nothing exists.
        mode: of the file, as `os.stat` has it; 0 where nothing exists.
        entry: device and inode of the directory, and the name in it without its letter case. Only names that do not
            exist are compared by it: whether the file system distinguishes case cannot be asked of them.
    """

    file: tuple[int, int] | None
    mode: int
    entry: tuple[int, int, str]

    @property
    def is_replaceable(self) -> bool:
        """Whether writing creates or replaces a file there, which it does not with a device or a pipe."""
        return self.file is None or stat.S_ISREG(self.mode)

    def is_same(self, other: Location) -> bool:
        """Returns whether two paths lead to the same file."""
        if self.file is None and other.file is None:
            return self.entry == other.entry
        return self.file == other.file


def locate(path: str | Path) -> Location:
    """Returns where a path leads."""
    real = os.path.realpath(path)
    # A path through a missing directory, "missing/../a", leads nowhere for the system, but is written as "a".
    found = _stat(path) or _stat(real)
    parent = _stat(os.path.dirname(real))
    name = unicodedata.normalize("NFC", os.path.basename(real)).casefold()
    entry = (parent.st_dev, parent.st_ino, name) if parent is not None else (0, 0, real)
    if found is None:
        return Location(file=None, mode=0, entry=entry)
    return Location(file=(found.st_dev, found.st_ino), mode=found.st_mode, entry=entry)


def side_files(database: str | Path) -> tuple[Path, ...]:
    """Returns the files next to a database that belong to it, whether or not they exist."""
    given, real = Path(database), Path(os.path.realpath(database))
    names = dict.fromkeys((given, real))
    return tuple(path.parent / f"{path.name}{suffix}" for path in names for suffix in SIDE_SUFFIXES)


def paper_file_of(database: Path) -> Path:
    """Returns the file of the paper exchange of a desk's database."""
    return database.parent / f"{database.stem}-paper{database.suffix or '.db'}"


def database_files(database: Path) -> Iterator[ProtectedFile]:
    """Yields a desk's database, its paper exchange's file, and the side files of both."""
    for path, role in ((database, "the desk's database"), (paper_file_of(database), "the paper exchange's file")):
        yield ProtectedFile(path=path, role=role)
        yield from (ProtectedFile(path=side, role=f"a side file of {role}") for side in side_files(path))


def input_files(paths: Iterable[Path | None]) -> Iterator[ProtectedFile]:
    """Yields the files that a command reads, as files that it must not overwrite."""
    return (ProtectedFile(path=path, role="an input of this command") for path in paths if path is not None)


def check_outputs(
    outputs: Iterable[Output], protected: Iterable[ProtectedFile] = (), *, force: bool = False, hint: str = "--force"
) -> None:
    """Refuses outputs that would destroy a file, before anything is computed or written.

    Standard output counts as an output where it is redirected to a file.

    Args:
        outputs: the files to be written.
        protected: files that must not be overwritten, the inputs of the command among them.
        force: replace existing files of another kind, too; never a database, a protected file or another output.
        hint: how a person asks for that; empty where nobody can.

    Raises:
        InputError: an output is a protected file, a database or a side file of one, another output, a directory, in no
            directory, or an existing file of another kind.
    """
    kept = [(file, locate(file.path)) for file in protected]
    stdout = _located_stdout()
    if stdout is not None:
        _check_protected("standard output", stdout, kept)
    written: list[tuple[str, Location]] = []
    for output in outputs:
        location = locate(output.path)
        _check_place(output, location)
        if not location.is_replaceable:
            continue
        _check_protected(output.where, location, kept)
        for option, other in written:
            if location.is_same(other):
                raise InputError(f"this is also the file of {option}.", where=output.where,
                                 fix="Give each output a file of its own.")  # fmt: skip
        written.append((output.option, location))
        if descriptor_of(output.path) is None:
            if stdout is not None and location.is_same(stdout):
                raise InputError("standard output is redirected to this file.", where=output.where,
                                 fix="Give another name, or redirect elsewhere.")  # fmt: skip
            _check_content(output, location, force=force, hint=hint)
        elif is_database(output.path):
            raise _database_error(output)


def descriptor_of(path: str | Path) -> int | None:
    """Returns the descriptor of this process that a path such as /dev/stdout or /proc/self/fd/1 names, or None."""
    current = os.fspath(path)
    for _ in range(_LINKS_MAX):
        directory, name = os.path.split(os.path.abspath(current))
        directory = os.path.realpath(directory)
        match = _DESCRIPTORS.fullmatch(directory)
        if match is not None:
            return int(name) if name.isdigit() and match[1] in (None, str(os.getpid())) else None
        try:
            current = os.path.join(directory, os.readlink(os.path.join(directory, name)))
        except OSError:
            return None
    return None


def is_database(path: str | Path) -> bool:
    """Returns whether a path is a database, or named like a side file of one.

    A file with SQLite's side files or a desk's lock next to it is a database in use, and is not opened.
    """
    names = _names_of(os.path.realpath(path))
    owners = (name[: -len(suffix)] for name in names for suffix in SIDE_SUFFIXES if name.lower().endswith(suffix))
    return any(_holds_database(name) for name in (*names, *owners))


def kinds_at(path: str | Path) -> tuple[str, ...]:
    """Returns the kinds that an existing file may be of, see `filekind.kinds_of`."""
    real = os.path.realpath(path)
    return ("database",) if _holds_database(real) else kinds_of(_head(real))


def _holds_database(real: str) -> bool:
    found = _stat(real)
    if found is None or not stat.S_ISREG(found.st_mode):
        return False
    if any(os.path.lexists(f"{real}{suffix}") for suffix in _IN_USE):
        return True
    return kinds_of(_head(real)) == ("database",)


def _names_of(real: str) -> list[str]:
    """Returns the names that a file has in its directory: an empty lock, hard linked, shows nothing but its names."""
    found, directory = _stat(real), os.path.dirname(real)
    if found is None or found.st_nlink == 1 or not stat.S_ISREG(found.st_mode):
        return [real]
    with suppress(OSError), os.scandir(directory) as entries:
        # An entry's inode alone does not tell a file that is mounted there.
        same = [entry.path for entry in entries if entry.inode() == found.st_ino and entry.is_file()]
        return list(dict.fromkeys((real, *same)))
    return [real]


def _head(real: str) -> bytes:
    """Returns the first bytes of a file; empty if it cannot be read.

    If this process has the file open already, they are read through that handle: closing another one could give up
    the locks of a database.
    """
    found = _stat(real)
    for descriptor in _open_descriptors():
        with suppress(OSError):
            if found is not None and os.path.samestat(found, os.fstat(descriptor)):
                return os.pread(descriptor, HEAD_BYTES, 0)
    with suppress(OSError), open(real, "rb") as file:
        return file.read(HEAD_BYTES)
    return b"\0"


def _open_descriptors() -> list[int]:
    for directory in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return [int(name) for name in os.listdir(directory) if name.isdigit()]
    return []


def _check_place(output: Output, location: Location) -> None:
    if stat.S_ISDIR(location.mode):
        raise write_error(output.path, OSError(errno.EISDIR, ""))
    if location.file is None:
        parent = _stat(os.path.dirname(os.path.realpath(output.path)))
        if parent is None:
            raise write_error(output.path, OSError(errno.ENOENT, ""))
        if not stat.S_ISDIR(parent.st_mode):
            raise write_error(output.path, OSError(errno.ENOTDIR, ""))


def _check_protected(where: str, location: Location, kept: list[tuple[ProtectedFile, Location]]) -> None:
    for file, other in kept:
        if location.is_same(other):
            raise InputError(f"this is {file.role}, {file.path}, which must not be overwritten.", where=where,
                             fix="Give another name.")  # fmt: skip


def _check_content(output: Output, location: Location, *, force: bool, hint: str) -> None:
    if is_database(output.path) and not _is_lost_heads_file(output, location):
        raise _database_error(output)
    if location.file is None or force:
        return
    fix = f"Give another name, or {hint} to overwrite it." if hint else "Give another name."
    if not output.replaces:
        raise InputError("the file exists already.", where=output.where, fix=fix)
    if output.kind is None:
        return
    kinds = kinds_at(output.path)
    if kinds != ("empty",) and output.kind not in kinds:
        raise InputError(f"the file exists and holds {NAMES[kinds[0]]}, not {NAMES[output.kind]}.",
                         where=output.where, fix=fix)  # fmt: skip


def _is_lost_heads_file(output: Output, location: Location) -> bool:
    """Returns whether a database's heads file is written that does not exist any more."""
    return output.kind == "heads" and location.file is None and output.path.name.lower().endswith(".heads")


def _database_error(output: Output) -> InputError:
    return InputError("this is a database, or a side file of one, which must not be overwritten.",
                      where=output.where, fix="Give another name.")  # fmt: skip


def _located_stdout() -> Location | None:
    try:
        found = os.fstat(1)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Location(file=(found.st_dev, found.st_ino), mode=found.st_mode, entry=(0, 0, ""))


def _stat(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None
