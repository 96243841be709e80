"""A database is made, opened in its own mode only, and brought to the current schema whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa

from gearing.core import events as ev
from gearing.store import database as db
from gearing.store import schema
from gearing.store.database import connect, init_database, opened, read_meta, upgrade_database
from gearing.store.errors import DatabaseError
from gearing.store.store import Store
from tests.journals import NOW_MS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    init_database(tmp_path / "desk.db", "demo", NOW_MS)
    return tmp_path / "desk.db"


@pytest.fixture
def store(path: Path):
    with Store(path, "demo") as found:
        yield found


def test_a_database_is_opened_in_its_own_mode_only(path):
    assert opened(path).mode == "demo"
    for mode in ("paper", "shadow", "live"):
        with pytest.raises(DatabaseError, match=f"database of mode demo; it is not opened as {mode}"):
            Store(path, mode)


def test_each_database_has_an_incarnation_of_its_own(tmp_path):
    metas = [init_database(tmp_path / f"{k}.db", "paper", NOW_MS) for k in range(3)]
    assert len({meta.incarnation for meta in metas}) == 3
    assert all(len(meta.incarnation) == 6 and meta.incarnation.isalnum() for meta in metas)
    assert read_meta(tmp_path / "0.db") == metas[0]


def test_a_database_takes_its_name_only_once_it_is_whole(tmp_path, monkeypatch):
    """Killed on the way it leaves nothing of that name, and is made anew over what it left."""
    path = tmp_path / "desk.db"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gearing.store.database._migrate", killed)
        with pytest.raises(KeyboardInterrupt):
            init_database(path, "demo", NOW_MS)
    assert [file.name for file in tmp_path.iterdir()] == ["desk.db-making"]
    assert init_database(path, "demo", NOW_MS) == opened(path, "demo")
    assert [file.name for file in tmp_path.iterdir()] == ["desk.db"]


def test_what_is_no_database_is_said(tmp_path, path):
    (tmp_path / "text.db").write_text("It is a text, long enough to be looked at." * 50)
    connect(tmp_path / "empty.db", create=True).execute("CREATE TABLE a (b)")
    for name, words in (("none.db", "no such file"), ("text.db", "not a database of Gearing"),
                        ("empty.db", "no.* database of Gearing")):  # fmt: skip
        with pytest.raises(DatabaseError, match=words):
            Store(tmp_path / name)
    with pytest.raises(DatabaseError, match="a file of this name already"):
        init_database(path, "demo", NOW_MS)
    with pytest.raises(DatabaseError, match="no mode"):
        init_database(tmp_path / "new.db", "play", NOW_MS)


def test_another_schema_is_not_opened(path, monkeypatch):
    monkeypatch.setattr(schema, "SCHEMA", schema.SCHEMA + 1)
    with pytest.raises(DatabaseError, match="gearing db upgrade"):
        Store(path)
    monkeypatch.setattr(schema, "SCHEMA", 0)
    for use in (opened, upgrade_database):
        with pytest.raises(DatabaseError, match="Use the newer Gearing"):
            use(path)


NEXT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{revision}", "{before}"
def upgrade():
    op.add_column("navs", sa.Column("note", sa.String))
    {fault}
"""


def test_an_older_database_is_upgraded_whole_or_not_at_all(path, tmp_path, monkeypatch):
    later, before = tmp_path / "later", schema.SCHEMA
    later.mkdir()
    monkeypatch.setattr(schema, "SCHEMA", before + 1)
    monkeypatch.setattr(db, "VERSIONS", [*db.VERSIONS, later])
    note = NEXT.replace("{revision}", str(before + 1)).replace("{before}", str(before))
    (later / "note.py").write_text(note.format(fault="raise RuntimeError('power')"))
    with pytest.raises(RuntimeError):
        upgrade_database(path)
    columns = "SELECT count(*) FROM pragma_table_info('navs') WHERE name = 'note'"
    assert connect(path).execute(columns).fetchone() == (0,)
    assert read_meta(path).schema == before
    (later / "note.py").write_text(note.format(fault=""))
    assert upgrade_database(path) == (before, before + 1)
    assert connect(path).execute(columns).fetchone() == (1,)
    assert upgrade_database(path) == (before + 1, before + 1)
    assert Store(path, "demo").meta.schema == before + 1


def test_the_migrations_make_the_tables_that_the_queries_name(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.tables) == []
        for table in schema.tables.tables.values():  # checks and partial indexes, which the comparison passes over
            made = connection.exec_driver_sql(f"SELECT sql FROM sqlite_master WHERE name = '{table.name}'").scalar()
            for check in [c for c in table.constraints if c.__visit_name__ == "check_constraint"]:
                assert str(check.sqltext) in made
        indexes = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE sql LIKE '%WHERE%'").scalars()
        assert sorted(indexes) == ["inbox_answered", "inbox_waiting", "journal_cause_key", "journal_cause_reference",
                                   "journal_turns", "outbox_open"]  # fmt: skip


def test_a_process_that_ends_does_not_take_the_log_away_from_one_that_runs(tmp_path):
    # A file that a process opens and closes beside SQLite gives up SQLite's locks on it.
    path = tmp_path / "a.db"
    init_database(path, "demo", 1)
    look = f"from gearing.store.store import Store\nwith Store({str(path)!r}) as s: s.states()"
    with Store(path, "demo") as store:
        store.appender.connection.execute("UPDATE meta SET created_ms = 2")
        read_meta(path)
        subprocess.run([sys.executable, "-c", look], check=True)
        assert path.with_name("a.db-wal").exists()
        store.appender.connection.execute("UPDATE meta SET created_ms = 3")
    assert read_meta(path).created_ms == 3


def test_the_turns_of_a_journal_are_found_by_an_index_of_their_own(store):
    """Among all kinds of lines, however long the name of their stream is."""
    stream = "token:" + "T" * 64
    kinds = [kind.__struct_config__.tag for kind in get_args(ev.TokenEvent)]
    assert set(schema.TURNS) <= set(kinds)
    rows = [
        (stream, seq, seq, f'{{"stream":"{stream}","seq":{seq},"time_ms":1767225600000,"behaviour":5,'
         f'"event":{{"event":"{kind}","time_ms":1767225600000}},"entry":[]}}'.encode(), "", seq, "")
        for seq, kind in enumerate(kinds, 1)
    ]  # fmt: skip
    with connect(store.path) as connection:
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)", rows)
    for kind in schema.TURNS:
        assert [line.seq for line in store.tagged(stream, kind)] == [kinds.index(kind) + 1]
        assert store.last_tagged(stream, kind) == next(iter(store.tagged(stream, kind)))
    assert len(list(store.tagged(stream, *schema.TURNS))) == len(schema.TURNS)
    assert store.last_tagged(stream, *schema.TURNS) == list(store.tagged(stream, *schema.TURNS))[-1]
    assert store.last_tagged("token:U", *schema.TURNS) is None
    with pytest.raises(ValueError, match="not in the index"):
        list(store.tagged(stream, "marked"))
    wanted = sa.select(schema.journal).where(schema.journal.c.stream == stream, *schema.named(schema.TURNS[:1]))
    number = schema.journal.c.seq
    plans = [one.compile(store.engine, compile_kwargs={"literal_binds": True})
             for one in (wanted.order_by(number), wanted.order_by(number.desc()).limit(1))]  # fmt: skip
    with store.engine.connect() as connection:
        steps = [row[3] for plan in plans for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {plan}")]
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'journal_turns'").scalar()
    assert ["INDEX journal_turns" in step for step in steps] == [True, True]
    assert schema.IS_TURN in made
