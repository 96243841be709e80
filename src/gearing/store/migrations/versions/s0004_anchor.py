"""The anchor: a number and a chain for every line over all streams, signed heads, and an id of the database."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from gearing.core.anchor import START, leaf_of

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None

# One program after the other wrote the lines of all streams, and a later one may write earlier times, such as that of a
# trade which is reported late: behaviour comes first, and then time. Neither goes back within a stream, since each line
# is placed by the highest behaviour and the latest time up to it.
_BEHAVIOUR = "iif(json_valid(CAST(body AS TEXT)), json_extract(CAST(body AS TEXT), '$.behaviour'), 0)"
_IN_ORDER = f"""
SELECT row, stream, seq, hash FROM (
    SELECT rowid AS row, stream, seq, hash,
           max({_BEHAVIOUR}) OVER (PARTITION BY stream ORDER BY seq) AS reached,
           max(time_ms) OVER (PARTITION BY stream ORDER BY seq) AS reached_ms
    FROM journal
) ORDER BY reached, reached_ms, stream, seq
"""
_ROWS = 10_000


def upgrade() -> None:
    """Adds the columns and the table, and numbers the lines of an older database."""
    op.add_column("meta", sa.Column("database", sa.String, nullable=False, server_default=""))
    op.get_bind().execute(sa.text("UPDATE meta SET database = :drawn"), {"drawn": secrets.token_hex(16)})
    op.add_column("journal", sa.Column("n", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("journal", sa.Column("chain", sa.String, nullable=False, server_default=""))
    _number()
    op.create_index("journal_n", "journal", ["n"], unique=True)
    op.create_table(
        "heads",
        sa.Column("n", sa.BigInteger, primary_key=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.String, nullable=False),
    )


def _number() -> None:
    """Numbers lines by behaviour, time, stream and seq, a few at a time, so that a long journal fits into memory."""
    connection, point = op.get_bind(), START
    # The order is kept apart, since a query must not read a table that is being changed.
    connection.exec_driver_sql(f"CREATE TEMP TABLE in_order AS {_IN_ORDER}")
    while True:
        wanted = f"SELECT row, stream, seq, hash FROM in_order WHERE rowid > {point.n} ORDER BY rowid LIMIT {_ROWS}"
        rows = connection.exec_driver_sql(wanted).all()
        if not rows:
            break
        changes = []
        for row, stream, seq, line_hash in rows:
            point = point.after(leaf_of(stream, seq, line_hash))
            changes.append((point.n, point.chain, row))
        connection.exec_driver_sql("UPDATE journal SET n = ?, chain = ? WHERE rowid = ?", changes)
    connection.exec_driver_sql("DROP TABLE in_order")
