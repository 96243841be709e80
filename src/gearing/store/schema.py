"""The tables of a store, as queries see them; the migrations make them.

The journal's identity is (stream, seq): it orders the lines, and it is the fence between two runners. Over all streams
its lines are numbered by n and chained (see `core.anchor`).
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

# The number of the tables' form, which is that of the last migration; and of the records that snapshots hold.
SCHEMA = 7
STATE_SCHEMA = 1

# The events that a desk looks for among millions of lines when it starts; an index of the journal holds these alone.
TURNS = ("launched", "seeded", "operated", "specification_changed", "consolidated", "fees_taken", "dealing_begun")
_PREFIX = 9
# The name of a line's event, as far as it tells the kinds apart. It stands near the line's beginning.
_BEGINNING = "CAST(substr(body, 1, 200) AS TEXT)"
_NAME = f'substr({_BEGINNING}, instr({_BEGINNING}, \'{{"event":"\') + 10, {_PREFIX})'
_NAMES = ", ".join("'" + f'{name}","time_ms'[:_PREFIX] + "'" for name in TURNS)
IS_TURN = f"{_NAME} IN ({_NAMES})"

tables = sa.MetaData()

meta = sa.Table(
    "meta", tables,
    sa.Column("schema", sa.Integer, nullable=False),
    sa.Column("mode", sa.String, nullable=False),
    sa.Column("incarnation", sa.String, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("restored_ms", sa.BigInteger, nullable=False),
    sa.Column("secret", sa.String, nullable=False, server_default=""),
    sa.Column("database", sa.String, nullable=False, server_default=""),
    sa.Column("generation", sa.BigInteger, nullable=False, server_default="0"),
)  # fmt: skip

journal = sa.Table(
    "journal", tables,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("chain", sa.String, nullable=False, server_default=""),
    sa.Column("cause_reference", sa.String),
    sa.Column("cause_key", sa.String),
    sa.Index("journal_n", "n", unique=True),
    sa.Index("journal_cause_reference", "cause_reference", unique=True,
             sqlite_where=sa.text("cause_reference IS NOT NULL")),
    sa.Index("journal_cause_key", "cause_key", unique=True, sqlite_where=sa.text("cause_key IS NOT NULL")),
    sa.Index("journal_turns", "stream", "seq", sqlite_where=sa.text(IS_TURN)),
)  # fmt: skip

# A line without its place over all streams, in the order of `records.Written`.
LINE = (journal.c.stream, journal.c.seq, journal.c.time_ms, journal.c.body, journal.c.hash)

heads = sa.Table(
    "heads", tables,
    sa.Column("n", sa.BigInteger, primary_key=True),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.String, nullable=False),
)  # fmt: skip

states = sa.Table(
    "states", tables,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)  # fmt: skip

snapshots = sa.Table(
    "snapshots", tables,
    sa.Column("stream", sa.String, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("state_hash", sa.String, nullable=False),
    sa.Column("schema", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)  # fmt: skip

navs = sa.Table(
    "navs", tables,
    sa.Column("token", sa.String, primary_key=True),
    sa.Column("time_ms", sa.BigInteger, primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("nav", sa.BigInteger, nullable=False),
    sa.Column("units", sa.BigInteger, nullable=False),
    sa.Column("marks", sa.String, nullable=False),
    sa.CheckConstraint("kind IN ('minute', 'rebalance', 'dealing', 'close')", name="nav_kind"),
)  # fmt: skip

rebalances = sa.Table(
    "rebalances", tables,
    sa.Column("token", sa.String, primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)  # fmt: skip

outbox = sa.Table(
    "outbox", tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("book", sa.String, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("signed_ms", sa.BigInteger, nullable=False),
    sa.Column("dead_after_ms", sa.BigInteger, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.CheckConstraint("status IN ('ready', 'sending', 'done', 'unknown')", name="outbox_status"),
    sa.Index("outbox_open", "book", "status", sqlite_where=sa.text("status <> 'done'")),
)  # fmt: skip

inbox = sa.Table(
    "inbox", tables,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("body_hash", sa.String, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("answer", sa.LargeBinary),
    sa.Column("answered_ms", sa.BigInteger),
    sa.Column("after_n", sa.BigInteger),
    sa.UniqueConstraint("principal", "key", name="inbox_key"),
    sa.CheckConstraint("status IN ('waiting', 'answered')", name="inbox_status"),
    sa.Index("inbox_waiting", "number", sqlite_where=sa.text("status = 'waiting'")),
    sa.Index("inbox_answered", "answered_ms", sqlite_where=sa.text("status = 'answered'")),
    sqlite_autoincrement=True,
)  # fmt: skip


def named(tags: Collection[str]) -> tuple[sa.TextClause, sa.ColumnElement[bool]]:
    """Returns the conditions by which the index finds the lines of these kinds of events.

    Args:
        tags: of `TURNS`.
    """
    if not set(tags) <= set(TURNS):
        raise ValueError(f"{sorted(set(tags) - set(TURNS))} are not in the index of {TURNS}")
    text = sa.cast(journal.c.body, sa.Text)
    return sa.text(IS_TURN), sa.or_(*(text.contains(f'"event":"{tag}"', autoescape=True) for tag in tags))
