"""A database as a file: made, opened in its own mode only, and brought to the current schema.

SQLite in WAL mode with `synchronous=FULL`: what was committed is on the disk, and readers never wait for the writer.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from gearing.errors import InputError
from gearing.files import standing
from gearing.outputs import SIDE_SUFFIXES, SQLITE_SUFFIXES, Output, ProtectedFile, check_outputs, kinds_at
from gearing.store import schema
from gearing.store.errors import DamagedError, DatabaseError, ReadOnlyError
from gearing.store.records import MODES, Meta, Mode

# How long a process waits for another one's transaction before it gives up.
BUSY_S = 5.0
# Statements that a connection keeps ready: those for many rows are as many as there may be rows.
_STATEMENTS = 1_024
INCARNATION_LENGTH = 6
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
# Where the migrations stand; Alembic reads the files of these directories.
MIGRATIONS = Path(__file__).with_name("migrations")
VERSIONS = [MIGRATIONS / "versions"]
# Databases that this process claimed, by device and inode: the path that each is used by.
_CLAIMED: dict[tuple[int, int], str] = {}


def connect(path: str | Path, *, create: bool = False) -> sqlite3.Connection:
    """Returns a connection of the driver that begins no transaction by itself.

    Args:
        path: the file.
        create: make it if it is missing.

    Raises:
        DatabaseError: the file is missing, has several names, or cannot be opened.
    """
    if not create:
        standing(path, DatabaseError)
        check_names(path)
    mode = "rwc" if create else "rw"
    if not create and _is_read_only(path):
        mode = "ro&immutable=1"  # nobody can write there, so SQLite needs no files beside it
        _check_whole(path)
    uri = f"{Path(path).absolute().as_uri()}?mode={mode}"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False,
                                     cached_statements=_STATEMENTS)  # fmt: skip
        # FULL: a commit returns once the disk has it. WAL itself is a property of the file, set when it is made.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return connection


def _is_read_only(path: str | Path) -> bool:
    """Returns whether a file's disk takes nothing that is written."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY) if hasattr(os, "statvfs") else False


def _check_whole(path: str | Path) -> None:
    """Refuses a database on a read-only disk of which a part stands in its write-ahead log.

    Raises:
        ReadOnlyError: it does.
    """
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise ReadOnlyError(f"{path}: its disk is read-only, and its last changes stand in {log.name}.",
                            fix="Copy both files to a disk that can be written, and use the copy.")  # fmt: skip


def claim(path: str | Path) -> None:
    """Has a database be used by its present name in this process, whatever others it is given from now on.

    Raises:
        DatabaseError: it has several already.
    """
    check_names(path)
    found = Path(path).stat()
    _CLAIMED[found.st_dev, found.st_ino] = os.path.realpath(path)


def check_names(path: str | Path) -> None:
    """Refuses a database that has several names, but for the one that it is in use under.

    What SQLite keeps beside that one is missing beside the others: under them the last commits are not seen, and what
    is written damages it.

    Raises:
        DatabaseError: it has.
    """
    place = Path(path)
    found = place.stat()
    names, claimed = found.st_nlink, _CLAIMED.get((found.st_dev, found.st_ino))
    if names > 1 and claimed != os.path.realpath(place) and not place.with_name(f"{place.name}-wal").exists():
        raise DatabaseError(f"this database has {names} names (hard links); it is used under one alone.",
                            where=str(path), fix="Remove the others, or copy it with gearing db backup.")  # fmt: skip


def engine_of(path: str | Path) -> sa.Engine:
    """Returns an SQLAlchemy engine on a database that stands; its transactions see one instant."""
    engine = sa.create_engine("sqlite://", creator=lambda: connect(path), poolclass=sa.QueuePool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def init_database(path: str | Path, mode: Mode, now_ms: int) -> Meta:
    """Makes a new, empty database, which takes its name only once it is whole, and returns what it says of itself.

    Args:
        path: where; nothing may stand there but what a kill left of an earlier try.
        mode: demo, paper, shadow or live, for good.
        now_ms: ms UTC.

    Raises:
        DatabaseError: something stands there already, or the mode is none.
    """
    if mode not in MODES:
        raise DatabaseError(f"{mode!r} is no mode.", where=str(path), fix=f"Choose one of {', '.join(MODES)}.")
    if os.path.lexists(path):
        raise DatabaseError("there is a file of this name already.", where=str(path), fix="Choose another name.")
    check_new_database(path)
    making = Path(path).with_name(f"{Path(path).name}-making")
    # Other names that begin so are a person's own files.
    for suffix in ("", *SQLITE_SUFFIXES):
        making.with_name(f"{making.name}{suffix}").unlink(missing_ok=True)
    with closing(connect(making, create=True)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    made = Meta(schema=schema.SCHEMA, mode=mode, incarnation=fresh_incarnation(), created_ms=now_ms,
                database=secrets.token_hex(16))  # fmt: skip
    _migrate(making, made)
    making.replace(path)
    return made


def check_new_database(path: str | Path, protected: Iterable[ProtectedFile] = ()) -> None:
    """Refuses a path at which a new database would not be one of its own.

    Args:
        path: where nothing exists yet.
        protected: files that it must not be: those of the database that it is copied from.

    Raises:
        DatabaseError: it is one of these files, it has the name of a side file, or a side file of an earlier database
            has been left there, which SQLite would read into the new one.
    """
    place = Path(path)
    try:
        check_outputs([Output(option="", path=place, kind="database")], protected)
    except InputError as error:
        raise DatabaseError(error.what, where=error.where, fix=error.fix) from None
    ending = next((suffix for suffix in SIDE_SUFFIXES if place.name.lower().endswith(suffix)), None)
    if ending is not None:
        raise DatabaseError(f"a name that ends with {ending} is kept for a side file of a database.", where=str(path),
                            fix="Give another name.")  # fmt: skip
    for suffix in SQLITE_SUFFIXES:
        left = place.with_name(f"{place.name}{suffix}")
        if os.path.lexists(left):
            raise DatabaseError("this side file belongs to an earlier database.", where=str(left),
                                fix="Move it away first.")  # fmt: skip


def fresh_incarnation() -> str:
    """Returns a new incarnation: six letters and digits that no earlier one is likely to have been."""
    return "".join(secrets.choice(_LETTERS) for _ in range(INCARNATION_LENGTH))


def read_meta(path: str | Path) -> Meta:
    """Returns what a database says of itself, whatever its schema.

    Raises:
        DatabaseError: the file is missing, or no database of Gearing.
    """
    with closing(connect(path)) as connection:
        try:
            row = connection.execute("SELECT * FROM meta").fetchone()
            names = [column[0] for column in connection.execute("SELECT * FROM meta LIMIT 0").description]
        except sqlite3.Error as error:
            raise _unusable(path, error) from error
    if row is None:
        raise DatabaseError("the database was not finished.", where=str(path), fix="Remove it, and make it again.")
    # An older schema has fewer columns; the secret is never part of it.
    return Meta(**{name: value for name, value in zip(names, row, strict=True) if name in Meta.__struct_fields__})


def read_secret(path: str | Path) -> str:
    """Returns the database's secret, which nothing else of it tells; backups hold it too.

    Raises:
        DatabaseError: the file is missing, or of an older schema.
    """
    with closing(connect(path)) as connection:
        try:
            return str(connection.execute("SELECT secret FROM meta").fetchone()[0])
        except (sqlite3.Error, TypeError) as error:
            raise DatabaseError("the database has no secret.", where=str(path),
                                fix=f"Run: gearing db upgrade {path}") from error  # fmt: skip


def opened(path: str | Path, mode: Mode | None = None) -> Meta:
    """Returns what a database says of itself, once it is known to be fit for use.

    Args:
        path: the file.
        mode: the mode it shall be used in; None: it is only looked at.

    Raises:
        DatabaseError: it is missing, of another mode, or of another schema than this program's.
    """
    found = read_meta(path)
    if found.schema > schema.SCHEMA:
        raise DatabaseError(
            f"the database has schema {found.schema}, this program knows {schema.SCHEMA}.", where=str(path),
            fix="Use the newer Gearing that wrote it.",
        )  # fmt: skip
    if found.schema < schema.SCHEMA:
        raise DatabaseError(
            f"the database has schema {found.schema}, this program needs {schema.SCHEMA}.", where=str(path),
            fix=f"Back it up, then run: gearing db upgrade {path}",
        )  # fmt: skip
    if mode is not None and mode != found.mode:
        raise DatabaseError(
            f"this is a database of mode {found.mode}; it is not opened as {mode}.", where=str(path),
            fix=f"Each mode has its own database: use mode {found.mode}, or another file.",
        )  # fmt: skip
    return found


def upgrade_database(path: str | Path) -> tuple[int, int]:
    """Brings a database to this program's schema, whole or not at all; returns the schema before and after.

    Raises:
        DatabaseError: it is missing, newer than this program, or in use.
    """
    before = read_meta(path).schema
    if before > schema.SCHEMA:
        opened(path)  # which says why not
    if before < schema.SCHEMA:
        _migrate(path)
    return before, schema.SCHEMA


def _migrate(path: str | Path, fresh: Meta | None = None) -> None:
    """Runs the migrations that are missing, and notes the schema, in one transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(place) for place in VERSIONS))
    with _exclusive(path) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, str(schema.SCHEMA))
        if fresh is not None:
            connection.execute(sa.insert(schema.meta).values(
                schema=fresh.schema, mode=fresh.mode, incarnation=fresh.incarnation, created_ms=fresh.created_ms,
                restored_ms=fresh.restored_ms, secret=secrets.token_hex(32), database=fresh.database,
            ))  # fmt: skip
        connection.execute(sa.update(schema.meta).values(schema=schema.SCHEMA))


@contextmanager
def _exclusive(path: str | Path) -> Iterator[sa.Connection]:
    """A transaction that keeps every other writer out, and takes the change of the tables back if it fails."""
    engine = sa.create_engine("sqlite://", creator=lambda: connect(path), poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        raise _unusable(path, cast(sqlite3.Error, error.orig)) from error
    finally:
        engine.dispose()


def _unusable(path: str | Path, error: sqlite3.Error) -> DatabaseError:
    words = str(error)
    if ("not a database" in words or "no such table" in words) and "journal" in kinds_at(path):
        return DatabaseError("this is an exported journal, not a database.", where=str(path),
                             fix=f"Recompute it: gearing journal recompute {path}")  # fmt: skip
    if "not a database" in words or "no such table" in words:
        return DatabaseError(
            "this is not a database of Gearing.",
            where=str(path),
            fix="Check the path; gearing up starts a desk and makes its database.",
        )
    if "locked" in words or "busy" in words:
        return DatabaseError("another process is using the database.", where=str(path), fix="Stop it first.")
    if "malformed" in words:
        return DamagedError("the database is damaged.", where=str(path), fix="Restore a backup: gearing db restore")
    return DatabaseError(f"the database cannot be used: {words}.", where=str(path))
