"""Causes: which command a line comes from, so that a command and a payer's reference count once."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from alembic import op

from gearing.core.references import reference_hash

revision = "5"
down_revision = "4"
branch_labels = None
depends_on = None

# Programs from this behaviour on write the cause into the line.
_CAUSED_SINCE = 8
# Lines that are read, and columns that are filled, at once.
_ROWS = 10_000
_LINES = f"""
SELECT stream, seq, body FROM journal
WHERE stream >= 'holder:' AND stream < 'holder;' AND (stream, seq) > (?, ?) ORDER BY stream, seq LIMIT {_ROWS}
"""
_FILL = "UPDATE journal SET cause_reference = ? WHERE stream = ? AND seq = ?"


def upgrade() -> None:
    """Adds the columns, fills in the references that were used before, and one for how old an answer is.

    Older lines carry no cause, and stay as they are: of them, the column alone says that a reference was used.
    """
    for name in ("cause_reference", "cause_key"):
        op.add_column("journal", sa.Column(name, sa.String))
    _fill_references()
    for name in ("cause_reference", "cause_key"):
        op.create_index(f"journal_{name}", "journal", [name], unique=True,
                        sqlite_where=sa.text(f"{name} IS NOT NULL"))  # fmt: skip
    op.add_column("inbox", sa.Column("answered_ms", sa.BigInteger))


def _fill_references() -> None:
    """Fills in the reference of the first line of each holder that used it."""
    connection, place, used = op.get_bind(), ("", 0), set[str]()
    while rows := connection.exec_driver_sql(_LINES, place).all():
        changes = []
        for stream, seq, body in rows:
            if stream != place[0]:
                used.clear()
            place = (stream, seq)
            reference = _reference(stream.partition(":")[2], body)
            if reference is not None and reference not in used:
                used.add(reference)
                changes.append((reference, stream, seq))
        if changes:
            connection.exec_driver_sql(_FILL, changes)


def _reference(holder: str, body: bytes) -> str | None:
    """Returns the hash of the reference that a line of an earlier program used; None: it used none."""
    try:
        line = msgspec.json.decode(body)
        event = line["event"]
        if line["behaviour"] >= _CAUSED_SINCE:
            return None
        if event["event"] in {"deposited", "withdrawn"}:
            return reference_hash(holder, "pay", event["reference"])
        if event["event"] == "handed" and (event["units"] < 0 or event["cash"] < 0):
            return reference_hash(holder, "transfer", event["reference"])
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError):
        pass  # not a line of a holder, as the verification reports
    return None
