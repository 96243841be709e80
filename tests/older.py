"""Databases of earlier schemas, as earlier programs made them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from gearing.store.database import MIGRATIONS, connect
from gearing.store.records import Commit


def older_database(path: Path, schema: int, commits: Iterable[Commit] = ()) -> Path:
    """A database of an earlier schema with the lines and states of these commits."""
    with closing(connect(path, create=True)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")  # a file that is not empty
    engine = sa.create_engine("sqlite://", creator=lambda: connect(path), poolclass=sa.NullPool)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, str(schema))
    engine.dispose()
    with closing(connect(path)) as raw:
        raw.execute("INSERT INTO meta (schema, mode, incarnation, created_ms, restored_ms) "
                    f"VALUES ({schema}, 'demo', 'abc123', 1, 0)")  # fmt: skip
        raw.execute("BEGIN")
        for commit in commits:
            raw.executemany("INSERT INTO journal (stream, seq, time_ms, body, hash) VALUES (?, ?, ?, ?, ?)",
                            [line[:5] for line in commit.lines])  # fmt: skip
            raw.executemany("INSERT OR REPLACE INTO states (stream, seq, hash, body) VALUES (?, ?, ?, ?)",
                            commit.states)  # fmt: skip
        raw.execute("COMMIT")
    return path
