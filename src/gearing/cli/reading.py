"""Which desk a command is about: one rule for all of them, and the mode and database that every answer names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gearing.cli.output import emit, say
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.store.store import Store

DEMO = Path("gearing-demo.db")

DeskOption = Annotated[
    Path | None,
    typer.Option("--db", help="The desk's database.", show_default=f"of the only desk that runs here, else {DEMO}"),
]


class StoredDesk(NamedTuple):
    """A desk as its database tells of it.

    Args:
        store: its database.
        running: whether it runs.
    """

    store: Store
    running: bool

    @property
    def name(self) -> str:
        """What every question and answer begins with: the desk's mode and its database."""
        return f"{self.store.meta.mode.upper()} {self.store.path}"

    def emit(self, payload: Mapping[str, Any], schema: str, as_json: bool, show: Callable[[], None]) -> None:
        """Gives an answer, which names mode and database first; see `output.emit`."""

        def named() -> None:
            say(f"{self.name}: {'a desk runs' if self.running else 'no desk runs'}.")
            show()

        which = {"database": str(self.store.path), "mode": self.store.meta.mode}
        emit({**which, **payload}, schema, as_json, named)


RunningDeskOption = Annotated[
    Path | None, typer.Option("--db", help="The desk's database.", show_default="of the only desk that runs here")
]


@contextmanager
def reading(db: Path | None, *, changes: bool = False) -> Iterator[StoredDesk]:
    """The desk that a command is about, and may change.

    Raises:
        InputError: see `database_of`; or it is no desk's database.
    """
    from gearing.desk.lock import is_running
    from gearing.store.store import Store

    with Store(database_of(db, changes=changes)) as store:
        yield StoredDesk(store, is_running(store.path))


def database_of(db: Path | None, *, changes: bool = False) -> Path:
    """Returns the database that was named, else that of the only desk that runs in this folder, else the demo's.

    Args:
        db: the database that was named.
        changes: the command changes the desk: if none runs here, its database must be named.

    Raises:
        InputError: none was named, and several desks run here, or none does and the demo's may not be assumed.
    """
    if db is not None:
        return db
    from gearing.desk.lock import running_in

    running = running_in(Path())
    if len(running) == 1:
        return running[0]
    if running:
        raise InputError("several desks run in this folder.", where="--db",
                         fix=f"Name the desk's database: {_listed(running)}.")  # fmt: skip
    if DEMO.exists() and not changes:
        return DEMO
    known = _databases()
    fix = f"Start one with gearing up, or name a database: {_listed(known)}." if known else "gearing up starts a desk."
    what = "no desk runs in this folder" + ("" if changes else f", and there is no {DEMO}")
    raise InputError(f"{what}.", where="--db", fix=fix)


def _databases() -> list[Path]:
    """Returns the databases in this folder that a desk ran on; where none did, all that may be a desk's."""
    from gearing.desk.lock import lock_file
    from gearing.outputs import paper_file_of

    files = set(Path().glob("*.db"))
    found = sorted(files - {paper_file_of(path) for path in files})
    return [path for path in found if lock_file(path).exists()] or found


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))
