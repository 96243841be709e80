"""The files of a desk: each is one of its own, and the database is a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gearing.desk.planned import Planned
from gearing.errors import Problem, SpecError
from gearing.filekind import NAMES, Kind
from gearing.outputs import (
    SIDE_SUFFIXES,
    Location,
    Output,
    ProtectedFile,
    check_outputs,
    is_database,
    kinds_at,
    locate,
    paper_file_of,
    side_files,
)  # fmt: skip

_ONLY_READ = {"feed.prices", "feed.funding"}


class _DeskFile(NamedTuple):
    """A file of a desk: the setting that names it, what it is, and where."""

    place: str
    role: str
    path: Path


def check_desk_files(
    plan: Planned, *, config: Path | None = None, log: Path | None = None, heads: Path | None = None,
    key: Path | None = None,
) -> None:  # fmt: skip
    """Refuses a desk two of whose files are one, before anything is written.

    Args:
        plan: the desk.
        config: the desk's own file.
        log: its log; None: it writes none.
        heads: where its signed heads go; None: next to the database.
        key: what they are signed with; None: the one next to the database.

    Raises:
        SpecError: two files are one, the database has the name of a side file or is something else, or its paper
            exchange's file is that of another desk.
        InputError: the log is in no directory, is a database, or holds anything but a desk's log; or standard output
            is redirected to one of these files.
    """
    files = list(_files_of(plan, config))
    protected = [ProtectedFile(path=file.path, role=file.role) for file in files]
    outputs = []
    named: tuple[tuple[Path | None, Kind, str, Path | None], ...] = (
        (log, "log", "the log", plan.log_file), (heads, "heads", "the heads file", plan.heads_file),
    )  # fmt: skip
    for path, name, role, configured in named:
        if path is not None:
            place = name if path == configured else f"--{name}"
            files.append(_DeskFile(place, role, path))
            outputs.append(Output(option=place, path=path, kind=name))
    if key is not None:
        files.append(_DeskFile("signing_key" if key == plan.key_file else "--signing-key", "the signing key", key))
    problems = [*_database_problems(plan), *_shared(files)]
    if problems:
        raise SpecError(problems)
    check_outputs(outputs, protected, hint="")


def _files_of(plan: Planned, config: Path | None) -> Iterator[_DeskFile]:
    if config is not None:
        yield _DeskFile("config", "the desk's own file", config)
    for number, entry in enumerate(plan.config.tokens):
        yield _DeskFile(f"tokens[{number}].file", "a token's file", plan.base / entry.file)
    for name in ("prices", "funding"):
        given = getattr(plan.config.feed, name)
        if plan.config.feed.kind == "replay" and given:
            yield _DeskFile(f"feed.{name}", f"the file of {name}", plan.base / given)
    for path, role in ((plan.database, "the database"), (plan.paper_file, "the paper exchange's file")):
        yield _DeskFile(_place_of(plan), role, path)
        yield from (_DeskFile(_place_of(plan), f"a side file of {role}", side) for side in side_files(path))


def _place_of(plan: Planned) -> str:
    return "database" if plan.database == plan.base / plan.config.database else "--db"


def _shared(files: list[_DeskFile]) -> Iterator[Problem]:
    """Yields each pair of files that are one; prices and funding, which are only read, may share theirs."""
    seen: list[tuple[_DeskFile, Location]] = []
    for file in files:
        location = locate(file.path)
        if not location.is_replaceable:
            continue
        other = next((other for other, there in seen if location.is_same(there) and _is_another(file, other)), None)
        if other is not None:
            yield Problem(file.place, f"{str(file.path)!r} as {file.role}, which is also {other.role}",
                          "a file of its own", "Give another name.")  # fmt: skip
        seen.append((file, location))


def _is_another(file: _DeskFile, other: _DeskFile) -> bool:
    """Returns whether two files must differ; side files are named by the path given, and by the one it leads to."""
    return (file.place, file.role) != (other.place, other.role) and {file.place, other.place} != _ONLY_READ


def _database_problems(plan: Planned) -> Iterator[Problem]:
    database, place = plan.database, _place_of(plan)
    ending = next((suffix for suffix in SIDE_SUFFIXES if database.name.lower().endswith(suffix)), None)
    if ending is not None:
        yield Problem(place, repr(str(database)), f"a name that does not end with {ending}",
                      "That is kept for a side file of a database. Give another name.")  # fmt: skip
    elif database.is_file() and not is_database(database) and kinds_at(database) != ("empty",):
        yield Problem(place, f"{str(database)!r}, which holds {NAMES[kinds_at(database)[0]]}",
                      "a database of Gearing, or no file", "Give another name.")  # fmt: skip
    rival = _rival_of(database)
    if rival is not None:
        yield Problem(place, f"{str(database)!r}, whose paper exchange's file is that of {str(rival)!r} too",
                      "a database whose paper exchange's file is its own", "Give another name.")  # fmt: skip


def _rival_of(database: Path) -> Path | None:
    """Returns the other database that the same paper file belongs to: "a" has that of "a.db"."""
    for name in (database.stem, f"{database.name}.db"):
        rival = database.with_name(name)
        if rival != database and paper_file_of(rival) == paper_file_of(database) and is_database(rival):
            return rival
    return None
