"""An index of answers by their age, so that old ones are deleted without reading the others."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the index; answers of before were dated by the market's time or not at all, and count as given now."""
    op.get_bind().execute(
        sa.text("UPDATE inbox SET answered_ms = :now WHERE status = 'answered'"), {"now": time.time_ns() // 1_000_000}
    )
    op.create_index("inbox_answered", "inbox", ["answered_ms"], sqlite_where=sa.text("status = 'answered'"))
