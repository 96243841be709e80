"""The first form of the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes every table."""
    _whole, _text, _bytes = sa.BigInteger(), sa.String(), sa.LargeBinary()
    op.create_table(
        "meta",
        sa.Column("schema", sa.Integer, nullable=False),
        sa.Column("mode", _text, nullable=False),
        sa.Column("incarnation", _text, nullable=False),
        sa.Column("created_ms", _whole, nullable=False),
        sa.Column("restored_ms", _whole, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("stream", _text, primary_key=True),
        sa.Column("seq", _whole, primary_key=True),
        sa.Column("time_ms", _whole, nullable=False),
        sa.Column("body", _bytes, nullable=False),
        sa.Column("hash", _text, nullable=False),
    )
    op.create_table(
        "states",
        sa.Column("stream", _text, primary_key=True),
        sa.Column("seq", _whole, nullable=False),
        sa.Column("hash", _text, nullable=False),
        sa.Column("body", _bytes, nullable=False),
    )
    op.create_table(
        "snapshots",
        sa.Column("stream", _text, primary_key=True),
        sa.Column("seq", _whole, primary_key=True),
        sa.Column("state_hash", _text, nullable=False),
        sa.Column("schema", sa.Integer, nullable=False),
        sa.Column("body", _bytes, nullable=False),
    )
    _navs_and_boxes()


def _navs_and_boxes() -> None:
    _whole, _text, _bytes = sa.BigInteger(), sa.String(), sa.LargeBinary()
    op.create_table(
        "navs",
        sa.Column("token", _text, primary_key=True),
        sa.Column("time_ms", _whole, primary_key=True),
        sa.Column("kind", _text, primary_key=True),
        sa.Column("nav", _whole, nullable=False),
        sa.Column("units", _whole, nullable=False),
        sa.Column("marks", _text, nullable=False),
        sa.CheckConstraint("kind IN ('minute', 'rebalance', 'dealing', 'close')", name="nav_kind"),
    )
    op.create_table(
        "rebalances",
        sa.Column("token", _text, primary_key=True),
        sa.Column("epoch", _whole, primary_key=True),
        sa.Column("started_ms", _whole, nullable=False),
        sa.Column("body", _bytes, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _text, primary_key=True),
        sa.Column("book", _text, nullable=False),
        sa.Column("body", _bytes, nullable=False),
        sa.Column("status", _text, nullable=False),
        sa.Column("signed_ms", _whole, nullable=False),
        sa.Column("dead_after_ms", _whole, nullable=False),
        sa.Column("created_ms", _whole, nullable=False),
        sa.CheckConstraint("status IN ('ready', 'sending', 'done', 'unknown')", name="outbox_status"),
    )
    op.create_index("outbox_open", "outbox", ["book", "status"], sqlite_where=sa.text("status <> 'done'"))
    op.create_table(
        "inbox",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("principal", _text, nullable=False),
        sa.Column("key", _text, nullable=False),
        sa.Column("body_hash", _text, nullable=False),
        sa.Column("body", _bytes, nullable=False),
        sa.Column("status", _text, nullable=False),
        sa.Column("answer", _bytes),
        sa.UniqueConstraint("principal", "key", name="inbox_key"),
        sa.CheckConstraint("status IN ('waiting', 'answered')", name="inbox_status"),
        sqlite_autoincrement=True,
    )
    op.create_index("inbox_waiting", "inbox", ["number"], sqlite_where=sa.text("status = 'waiting'"))
