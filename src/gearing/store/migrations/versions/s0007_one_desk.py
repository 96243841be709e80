"""What a request's sender did not know yet: all lines after `after_n`. And how often a desk took the database over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; of requests from before it is unknown after which line they came."""
    op.add_column("inbox", sa.Column("after_n", sa.BigInteger))
    op.add_column("meta", sa.Column("generation", sa.BigInteger, nullable=False, server_default="0"))
