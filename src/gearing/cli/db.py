"""`gearing db`: make, upgrade, back up and restore a desk's database."""

from __future__ import annotations

import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gearing.cli.asking import named
from gearing.cli.journal import DatabaseArgument
from gearing.cli.output import JsonFlag, count, emit, pairs, say
from gearing.cli.up import HeadsOption, SigningKeyOption
from gearing.cli.watching import bar

db_app = typer.Typer(help="A desk's database: make, upgrade, back up, restore.", no_args_is_help=True)


class ModeName(StrEnum):
    """What a database is for; each mode has its own."""

    DEMO = "demo"
    PAPER = "paper"
    SHADOW = "shadow"
    LIVE = "live"


@db_app.command()
def init(
    db: DatabaseArgument,
    mode: Annotated[ModeName, typer.Option(help="What it is for; it is opened in no other mode.")] = ModeName.DEMO,
    as_json: JsonFlag = False,
) -> None:
    """Makes a new, empty database."""
    from gearing.store.database import init_database

    made = init_database(db, mode.value, _now_ms())
    emit(
        {"file": str(db), "meta": made}, "gearing.db.init/1", as_json,
        lambda: pairs([("database", str(db)), ("mode", made.mode), ("incarnation", made.incarnation)]),
    )  # fmt: skip


@db_app.command()
def upgrade(db: DatabaseArgument, as_json: JsonFlag = False) -> None:
    """Brings a database to the schema of this program, wholly or not at all."""
    from gearing.store.database import upgrade_database

    before, after = upgrade_database(db)
    words = f"{db}: schema {before} → {after}." if before != after else f"{db} has schema {after} already."
    emit({"file": str(db), "before": before, "after": after}, "gearing.db.upgrade/1", as_json, lambda: say(words))


@db_app.command()
def backup(
    db: DatabaseArgument,
    to: Annotated[Path, typer.Argument(metavar="TO", help="The backup's file.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Copies a database while its desk runs, and verifies the copy before it gets its name."""
    from gearing.store.backup import backup_database

    with bar("verifying the copy") as progress:
        found = backup_database(db, to, progress)
    emit(
        {"file": str(db), "backup": str(to), "lines": found.lines}, "gearing.db.backup/1", as_json,
        lambda: say(f"{to}: {count(found.lines, 'line')}, verified."),
    )  # fmt: skip


@db_app.command()
def restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="The backup's file.", show_default=False)],
    db: DatabaseArgument,
    reason: Annotated[str, typer.Option(help="Why; it is signed and kept in the heads file.", show_default=False)],
    by: Annotated[str | None, typer.Option(help="Who restores it, likewise.", show_default="the system's user")] = None,
    heads: HeadsOption = None,
    signing_key: SigningKeyOption = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Sign with another key than the heads so far.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Makes a database of a backup; its books stay halted until they are reconciled with the venue.

    A signed record of it is appended to the heads file. Only after that does a desk accept a journal that lacks lines
    of which heads were signed.
    """
    from gearing.outputs import Output, check_outputs, database_files
    from gearing.store.anchor import heads_path, key_path
    from gearing.store.backup import AWAY, Restorer, check_target, restore_database
    from gearing.store.heads import HeadsFile
    from gearing.store.keys import signing_key as key_of

    person, kept = named(by, reason), heads or heads_path(db)
    check_target(db, backup, fix=AWAY)
    own = () if heads is None else (*database_files(backup), *database_files(db))
    check_outputs([Output(option="--heads", path=kept, kind="heads")], own, hint="")
    file = HeadsFile(kept)
    key = partial(key_of, signing_key, key_path(db))
    if signing_key is not None:
        key(False)  # whether it can be used is said before the backup is verified
    restorer = Restorer(person, reason, key, file, new_key)
    with bar("verifying the backup") as progress:
        made = restore_database(backup, db, _now_ms(), progress, restorer)
    words = (
        f"{db} was restored, incarnation {made.incarnation}; the signed record of it is in {file.path}. Orders that "
        "were not done are unknown until the venue reports them, requests that waited are rejected, and books stay "
        "halted until they are reconciled."
    )
    emit({"backup": str(backup), "file": str(db), "meta": made}, "gearing.db.restore/1", as_json, lambda: say(words))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
