"""An index of the few lines that a desk looks for when it starts: it is ready as soon after years as after a day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None

_NAME = """
substr(CAST(substr(body, 1, 200) AS TEXT), instr(CAST(substr(body, 1, 200) AS TEXT), '{"event":"') + 10, 9)
""".strip()
_IS_TURN = f"""
{_NAME} IN ('launched"', 'seeded","', 'operated"', 'specifica', 'consolida', 'fees_take', 'dealing_b')
""".strip()


def upgrade() -> None:
    """Adds the index over the lines that stand."""
    op.create_index("journal_turns", "journal", ["stream", "seq"], sqlite_where=sa.text(_IS_TURN))
