"""Checks what a database holds apart from its journals: the form of its tables, its meta row, and the inbox."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import sqlalchemy as sa

from gearing.store import schema
from gearing.store.breach import Breach
from gearing.store.database import connect, init_database
from gearing.store.records import MODES
from gearing.store.store import digest_of

_NAMED_MAX = 20
# Statistics that ANALYZE leaves, which change no result.
_STATISTICS = "sqlite_stat"
_KINDS: dict[type, str] = {
    sa.String: "text", sa.BigInteger: "integer", sa.Integer: "integer", sa.LargeBinary: "blob",
}  # fmt: skip
_FORM = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"


@cache
def _expected_form() -> dict[tuple[str, str], str]:
    """Returns the tables and indices that the migrations make."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "form.db"
        init_database(path, "demo", 0)
        connection = connect(path)
        try:
            return {(kind, name): sql or "" for kind, name, sql in connection.execute(_FORM)}
        finally:
            connection.close()


def form_breaches(connection: sa.Connection) -> Iterator[Breach]:
    """Yields where tables, constraints and indices are not those that the migrations make, which make no trigger."""
    expected = dict(_expected_form())
    for kind, name, sql in connection.exec_driver_sql(_FORM):
        if str(name).startswith(_STATISTICS):
            continue
        wanted = expected.pop((kind, name), None)
        if wanted is None:
            yield Breach("", 0, "schema", f"a {kind} {name}", "no such thing")
        elif wanted != (sql or ""):
            yield Breach("", 0, "schema", f"{kind} {name} made by {_one_line(sql or '')}", _one_line(wanted))
    for kind, name in expected:
        yield Breach("", 0, "schema", f"no {kind} {name}", f"a {kind} {name}")
    found = [row[0] for row in connection.exec_driver_sql("SELECT version_num FROM alembic_version")]
    if found != [str(schema.SCHEMA)]:
        yield Breach("", 0, "schema", f"migrations up to {', '.join(found) or 'none'}", str(schema.SCHEMA))


def type_breaches(connection: sa.Connection) -> Iterator[Breach]:
    """Yields values of another type than their column's: SQLite does not enforce them."""
    for table in schema.tables.sorted_tables:
        kinds = {
            column.name: [_KINDS[type(column.type)], *(["null"] if column.nullable else [])] for column in table.columns
        }
        wrong = [sa.func.typeof(table.c[name]).not_in(allowed) for name, allowed in kinds.items()]
        counts = connection.execute(sa.select(*(sa.func.sum(sa.case((one, 1), else_=0)) for one in wrong))).one()
        for (name, allowed), count in zip(kinds.items(), counts, strict=True):
            if count:
                yield Breach("", 0, "file", f"{count} rows of {table.name} with values of another type in {name}",
                             f"{' or '.join(allowed)} values")  # fmt: skip


def meta_row_breaches(connection: sa.Connection) -> Iterator[Breach]:
    """Yields what the database says of itself that cannot be."""
    rows = connection.execute(sa.select(schema.meta)).all()
    if len(rows) != 1:
        yield Breach("", 0, "meta", f"{len(rows)} rows", "1 row")
        return
    row = rows[0]
    if row.schema != schema.SCHEMA:
        yield Breach("", 0, "meta", f"schema {row.schema}", str(schema.SCHEMA))
    if row.mode not in MODES:
        yield Breach("", 0, "meta", f"mode {row.mode!r}", f"one of {', '.join(MODES)}")
    times = row.created_ms, row.restored_ms
    whole = all(isinstance(time, int) and time >= 0 for time in times)
    if not whole or 0 < row.restored_ms < row.created_ms:
        yield Breach("", 0, "meta", f"made at {row.created_ms!r}, restored at {row.restored_ms!r}",
                     "times in ms UTC, restored after it was made, or 0")  # fmt: skip


def inbox_breaches(connection: sa.Connection) -> Iterator[Breach]:
    """Yields rows of the inbox whose hash, status or answer does not fit; that a request came at all is not proven."""
    c, named = schema.inbox.c, 0
    rows = connection.execute(sa.select(c.number, c.body, c.body_hash, c.status, c.answer),
                              execution_options={"yield_per": 2_000})  # fmt: skip
    for row in rows:
        words = _inbox_fault(row.body, row.body_hash, row.status, row.answer)
        if words is not None and named < _NAMED_MAX:
            named += 1
            yield Breach("", 0, "inbox", f"request {row.number} {words[0]}", words[1])


def _inbox_fault(body: object, body_hash: object, status: object, answer: object) -> tuple[str, str] | None:
    if not isinstance(body, bytes) or digest_of(body) != body_hash:
        return f"has the hash {body_hash!r}", "the SHA-256 of its body"
    if (status == "answered") != isinstance(answer, bytes):
        return f"is {status}, its answer is {answer!r}", "an answer where it is answered, and none where it waits"
    if isinstance(answer, bytes):
        try:
            msgspec.json.decode(answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return f"has an answer that cannot be read: {error}", "an answer in JSON"
    return None


def _one_line(sql: str) -> str:
    return " ".join(sql.split())[:300]
