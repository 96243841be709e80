"""Causes: which command a line comes from, so that a command and a payer's reference count once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; lines of before have no cause, and answers of before are as old as they say."""
    for name in ("cause_reference", "cause_key"):
        op.add_column("journal", sa.Column(name, sa.String))
        op.create_index(f"journal_{name}", "journal", [name], unique=True,
                        sqlite_where=sa.text(f"{name} IS NOT NULL"))  # fmt: skip
    op.add_column("inbox", sa.Column("answered_ms", sa.BigInteger))
    op.execute("UPDATE inbox SET answered_ms = coalesce(json_extract(CAST(answer AS TEXT), '$.time_ms'), 0) "
               "WHERE status = 'answered'")  # fmt: skip
