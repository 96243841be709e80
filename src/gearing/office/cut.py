"""All journals of a database at one instant, cut at the two ends of a period; and the hash of what was read.

A journal's order is that of its numbers. A late report may bear an earlier time than the line before it, so a period
is cut by numbers: it begins with the first line whose time is at or after its start, and ends before the first line
whose time is at or after its end. So periods that meet share no line and leave none out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from gearing.core.events import Launched, SpecificationChanged
from gearing.core.journal import line_of
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.office.periods import Period
from gearing.store import schema
from gearing.store.store import Store

L = TypeVar("L")
_ROWS = 2_000


class Bounds(NamedTuple):
    """Where a period lies in a stream: lines `first` up to `last`, whose hash is `hash`; last 0: there is none yet."""

    first: int
    last: int
    hash: str


class Cut:
    """Journals up to a period's end.

    Args:
        connection: whose transaction sees one instant.
        period: the period.
        progress: called with the number of lines read so far.
    """

    def __init__(
        self, connection: sa.Connection, period: Period, progress: Callable[[int], None] = lambda lines: None
    ) -> None:
        self._connection, self.period, self._progress = connection, period, progress
        states, journal = schema.states.c, schema.journal.c
        rows = connection.execute(sa.select(states.stream, states.seq).order_by(states.stream)).all()
        self._ends = {row.stream: row.seq for row in rows}
        newest = sa.select(sa.func.max(journal.time_ms)).where(
            journal.stream == states.stream, journal.seq == states.seq
        )  # fmt: skip
        self.last_ms: int = connection.execute(newest).scalar_one() or 0
        self.used: dict[str, Bounds] = {}
        self.read = 0

    @property
    def is_complete(self) -> bool:
        """Whether the desk lived beyond the period's end, so that nothing of it is still to come."""
        return self.last_ms >= self.period.end_ms

    def streams(self, kind: str) -> list[str]:
        """Returns the names of one kind that have a stream: "token", "holder" or "book"."""
        return [name.partition(":")[2] for name in self._ends if name.startswith(f"{kind}:")]

    def bounds(self, stream: str) -> Bounds:
        """Returns where the period lies in a stream; the export is made from it from here on."""
        if stream not in self.used:
            end, c = self._ends.get(stream, 0), schema.journal.c
            first, last = (self._before(stream, at_ms, end) for at_ms in (self.period.start_ms, self.period.end_ms))
            found = self._connection.execute(sa.select(c.hash).where(c.stream == stream, c.seq == last)).scalar()
            self.used[stream] = Bounds(first + 1, last, found or "")
        return self.used[stream]

    def lines(self, stream: str, read: Callable[[bytes], L]) -> Iterator[tuple[int, L]]:
        """Yields the number and the line of a stream from its beginning to the period's end.

        Args:
            stream: its name.
            read: makes a line of its body.
        """
        c, last = schema.journal.c, self.bounds(stream).last
        wanted = sa.select(c.seq, c.body).where(c.stream == stream, c.seq <= last).order_by(c.seq)
        for rows in self._connection.execute(wanted, execution_options={"yield_per": _ROWS}).partitions():
            for seq, body in rows:
                yield seq, read(body)
            self.read += len(rows)
            self._progress(self.read)

    def last_line(self, stream: str, read: Callable[[bytes], L]) -> L | None:
        """Returns the last line of a stream in the period or before it; None: there is none."""
        c, last = schema.journal.c, self.bounds(stream).last
        body = self._connection.execute(sa.select(c.body).where(c.stream == stream, c.seq == last)).scalar()
        return None if body is None else read(body)

    def first_line(self, stream: str, read: Callable[[bytes], L]) -> L:
        """Returns the first line of a stream."""
        c = schema.journal.c
        return read(self._connection.execute(sa.select(c.body).where(c.stream == stream, c.seq == 1)).scalar_one())

    def tagged(self, stream: str, tag: str) -> Iterator[bytes]:
        """Yields the lines of a stream up to the period's end whose event is of one kind."""
        c, last = schema.journal.c, self.bounds(stream).last
        wanted = sa.select(c.body).where(c.stream == stream, c.seq <= last, *schema.named([tag]))
        for row in self._connection.execute(wanted.order_by(c.seq)):
            yield row.body

    def state(self, stream: str) -> bytes | None:
        """Returns the kept state of a stream, if it is that at the period's end; None: more happened since."""
        c = schema.states.c
        found = self._connection.execute(sa.select(c.seq, c.body).where(c.stream == stream)).one_or_none()
        return found.body if found is not None and found.seq == self.bounds(stream).last else None

    def navs(self, token: str) -> Iterator[tuple[int, str, int, int, str]]:
        """Yields published NAVs up to the period's end: time, kind, NAV, units, and the marks as text."""
        c = schema.navs.c
        wanted = sa.select(c.time_ms, c.kind, c.nav, c.units, c.marks).where(
            c.token == token, c.time_ms < self.period.end_ms
        )  # fmt: skip
        for row in self._connection.execute(wanted.order_by(c.time_ms, c.kind)):
            yield tuple(row)

    def journal_hash(self) -> str:
        """Returns one hash of all that was read: SHA-256 over "stream seq hash", a line for each stream, by name."""
        digest = hashlib.sha256()
        for stream, found in sorted(self.used.items()):
            if found.last:
                digest.update(f"{stream} {found.last} {found.hash}\n".encode())
        return digest.hexdigest()

    def _before(self, stream: str, at_ms: int, end: int) -> int:
        """Returns the number of the line before the first one at or after a time."""
        c = schema.journal.c
        wanted = sa.select(sa.func.min(c.seq)).where(c.stream == stream, c.seq <= end, c.time_ms >= at_ms)
        found = self._connection.execute(wanted).scalar_one()
        return end if found is None else found - 1


@contextmanager
def cut(store: Store, period: Period, progress: Callable[[int], None] = lambda lines: None) -> Iterator[Cut]:
    """Opens all journals at one instant; a desk that runs is not disturbed.

    Args:
        store: the database.
        period: where they are cut.
        progress: called with the number of lines read so far.
    """
    with store.engine.connect() as connection:
        yield Cut(connection, period, progress)


def specification_of(cut: Cut, symbol: str) -> Token:
    """Returns what a token runs on at the period's end."""
    last = token_of(cut, symbol)
    for body in cut.tagged(f"token:{symbol}", "specification_changed"):
        event = line_of(body).event
        if isinstance(event, SpecificationChanged):
            last = event.token
    return last


def token_of(cut: Cut, symbol: str) -> Token:
    """Returns a token as it was launched; its settlement currency and its legs stay so.

    Raises:
        InputError: the first line is no launch.
    """
    event = cut.first_line(f"token:{symbol}", line_of).event
    if not isinstance(event, Launched):
        raise InputError(f"token:{symbol} does not begin with its launch.", fix="See: gearing journal verify.")
    return event.token
