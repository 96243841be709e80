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
    """Returns what is wrong with states that are missing, or not those of their stream's last line, by stream.

    Args:
        store: the database.
    """
    s, j = schema.states.c, schema.journal.c
    every = schema.journal.alias()
    last = sa.select(sa.func.max(every.c.seq)).where(every.c.stream == s.stream).scalar_subquery()
    wanted = sa.select(s.stream, s.seq, s.hash, s.body, last, j.hash, j.body).select_from(
        schema.states.outerjoin(schema.journal, sa.and_(j.stream == s.stream, j.seq == s.seq))
    )
    found: dict[str, str] = {}
    with store.engine.connect() as connection:
        for stream in connection.scalars(_stateless()):
            found[stream] = _words(store, stream, "it has lines and no state")
        for stream, seq, kept_hash, state, last_seq, line_hash, line in connection.execute(wanted):
            words = _fault(seq, kept_hash, state, last_seq, line_hash, line)
            if words:
                found[stream] = _words(store, stream, words)
    return found


def _words(store: Store, stream: str, why: str) -> str:
    return f"{stream} is not run: {why}. See everything: gearing journal verify {store.path}"


def _stateless() -> sa.Select[str]:
    """Selects the streams that have lines and no state; each step finds the next stream, so lines are not counted."""
    c = schema.journal.c.stream
    streams = sa.select(sa.func.min(c).label("stream")).cte("streams", recursive=True)
    following = sa.select(sa.func.min(c)).where(c > streams.c.stream).scalar_subquery()
    streams = streams.union_all(sa.select(following).where(streams.c.stream.is_not(None)))
    return sa.select(streams.c.stream).where(
        streams.c.stream.is_not(None), streams.c.stream.not_in(sa.select(schema.states.c.stream))
    )


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
