"""A secret of the database's own, by which starts are put off."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the secret, and draws it for a database that stands."""
    op.add_column("meta", sa.Column("secret", sa.String, nullable=False, server_default=""))
    op.get_bind().execute(sa.text("UPDATE meta SET secret = :drawn"), {"drawn": secrets.token_hex(32)})
