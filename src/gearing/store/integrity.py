"""What a desk checks before it runs: each state is the one that its stream's last line names."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from gearing.core.journal import state_hash
from gearing.store import schema
from gearing.store.store import Store


class _Digest(msgspec.Struct):
    state: str


_digest_of = msgspec.json.Decoder(_Digest).decode


def state_faults(store: Store) -> dict[str, str]:
    """Returns what is wrong with states that are not those of their stream's last line, by stream.

    Args:
        store: the database.
    """
    s, j = schema.states.c, schema.journal.c
    every = schema.journal.alias()
    last = sa.select(sa.func.max(every.c.seq)).where(every.c.stream == s.stream).scalar_subquery()
    wanted = sa.select(s.stream, s.seq, s.hash, s.body, last, j.hash, j.body).select_from(
        schema.states.outerjoin(schema.journal, sa.and_(j.stream == s.stream, j.seq == s.seq))
    )
    found = {}
    with store.engine.connect() as connection:
        for stream, seq, kept_hash, state, last_seq, line_hash, line in connection.execute(wanted):
            words = _fault(seq, kept_hash, state, last_seq, line_hash, line)
            if words:
                found[stream] = f"{stream} is not run: {words}. See everything: gearing journal verify {store.path}"
    return found


def _fault(seq: int, kept_hash: str, state: object, last_seq: int | None, line_hash: str | None, line: object) -> str:
    if last_seq != seq or line_hash != kept_hash:
        return f"its state is that of line {seq}, and its journal ends with line {last_seq or 0}"
    if not isinstance(state, bytes) or not isinstance(line, bytes):
        return "its state or its last line cannot be read"
    try:
        digest = _digest_of(line).state
    except msgspec.MsgspecError:
        return f"its last line, {seq}, cannot be read"
    return "" if state_hash(state) == digest else f"its state is not the one that its last line, {seq}, names"
