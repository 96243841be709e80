"""The journal's last line when a request was put into the inbox: of what came after that its sender did not know."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; of requests from before it is unknown."""
    op.add_column("inbox", sa.Column("after_n", sa.BigInteger))
