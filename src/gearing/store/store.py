"""A store: what a runner keeps, and reads back when it starts. One seam, whatever database stands behind it."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec
import sqlalchemy as sa

from gearing.core.anchor import START, ChainPoint
from gearing.core.holder import HolderState
from gearing.store import schema
from gearing.store.append import Appender, refusal
from gearing.store.database import connect, engine_of, opened
from gearing.store.errors import KeyReusedError
from gearing.store.heads import SignedRecord
from gearing.store.records import (
    Asked,
    CausedLine,
    Commit,
    HeadRow,
    JournalRow,
    Kept,
    Meta,
    Mode,
    Nav,
    OutboxRow,
    Projected,
    Question,
    RebalanceRow,
    Request,
    Snapshot,
    Written,
    caused_line,
    holder_state_of,
)

# What is known already is left as it is, and looked up.
_ASK = """
INSERT INTO inbox (principal, key, body_hash, body, status, after_n)
VALUES (?, ?, ?, ?, 'waiting', (SELECT COALESCE(MAX(n), 0) FROM journal))
ON CONFLICT (principal, key) DO NOTHING
"""
_ASKED = """
SELECT place.column1, number, body_hash, answer FROM (VALUES {}) AS place
JOIN inbox ON principal = place.column2 AND key = place.column3
"""
_WAITING = """
SELECT number, principal, key, body, COALESCE(after_n, 0) FROM inbox
WHERE status = 'waiting' AND number > ? ORDER BY number LIMIT ?
"""
_CAUSED = """
WITH wanted (digest) AS (VALUES {})
SELECT digest, stream, seq, time_ms, body FROM wanted JOIN journal ON cause_key = digest
UNION ALL
SELECT digest, stream, seq, time_ms, body FROM wanted JOIN journal ON cause_reference = digest
"""
# Rows that are taken from the database at once.
_ROWS = 2_000
_marks = msgspec.json.Decoder(tuple[float, ...]).decode


class HeadAnchor(Protocol):
    """Signs heads of a journal, and publishes them once they are committed."""

    def sign(self, meta: Meta, point: ChainPoint, time_ms: int) -> SignedRecord:
        """Returns the signed head of a journal that ends at a point."""
        ...

    def publish(self, head: SignedRecord, since: Callable[[int], Iterator[HeadRow]]) -> None:
        """Takes a head that was committed, and what yields the heads after a number, should earlier ones be missing."""
        ...


class Store:
    """A database that stands open.

    Reading and asking may be done from any thread; commits are taken one group at a time.

    Args:
        path: the file.
        mode: the mode it is used in; None: whichever it has, to look at it.
        anchor: signs and publishes heads; None: none are signed.

    Raises:
        DatabaseError: it is missing, of another mode, or of another schema.
    """

    def __init__(self, path: str | Path, mode: Mode | None = None, anchor: HeadAnchor | None = None) -> None:
        self.path = Path(path)
        self.meta = opened(path, mode)
        self.engine = engine_of(path)
        self._anchor = anchor
        self._lock = threading.Lock()
        self._appender: Appender | None = None
        self._look_lock = threading.Lock()
        self._looks: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives every connection up."""
        with self._lock:
            if self._appender is not None:
                self._appender.close()
                self._appender = None
        with self._look_lock:
            if self._looks is not None:
                self._looks.close()
                self._looks = None
        self.engine.dispose()

    # Writing.

    @property
    def appender(self) -> Appender:
        """The one connection that is written through."""
        if self._appender is None:
            sign = None if self._anchor is None else partial(self._anchor.sign, self.meta)
            self._appender = Appender(connect(self.path), sign)
        return self._appender

    def take_over(self) -> None:
        """Begins a generation of the database, see `Appender.take_over`."""
        with self._lock:
            self.appender.take_over()

    def commit(self, commits: Sequence[Commit]) -> None:
        """Writes a group of commits in one transaction, whole or not at all, and durably once it returns.

        Raises:
            StoreError: and nothing was written; its classes say why (see `Appender.commit`).
        """
        with self._lock:
            head = self.appender.commit(commits)
            if head is not None and self._anchor is not None:
                self._anchor.publish(head, self.heads_since)

    def ask(self, principal: str, key: str, body: bytes) -> Asked:
        """Puts a request into the inbox, once for each key of a principal.

        Args:
            principal: who asks.
            key: by which the same request is known again.
            body: what is asked.

        Returns:
            Its number; and its answer if the same was asked and answered before.

        Raises:
            KeyReusedError: the key stands for another body.
            StoreError: the request was not kept.
        """
        with self._looking() as connection:
            connection.execute(_ASK, (principal, key, digest_of(body), body))
            asked = _found(connection, [Question(principal, key, body)])[0]
        if isinstance(asked, KeyReusedError):
            raise asked
        return asked

    def kept(self, principal: str, key: str) -> Kept | None:
        """Returns what was asked under a key and its answer, None while it waits; None: nothing was asked."""
        c = schema.inbox.c
        wanted = sa.select(c.body, c.answer).where(c.principal == principal, c.key == key)
        with self.engine.connect() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else Kept(*row)

    def caused(self, hashes: Sequence[str]) -> dict[str, CausedLine]:
        """Returns the first line that each of these causes made, by the hash of its key or reference.

        Raises:
            StoreError: it could not be looked up.
        """
        marks = ", ".join(["(?)"] * len(hashes))
        with self._looking() as connection:
            rows = connection.execute(_CAUSED.format(marks), list(hashes)).fetchall()
        return {digest: caused_line(*row) for digest, *row in rows}

    def asked(self, questions: Sequence[Question]) -> dict[int, Asked | KeyReusedError]:
        """Returns what became of those of these questions that were put into the inbox before, by their place here.

        Raises:
            StoreError: it could not be looked up.
        """
        with self._looking() as connection:
            return _found(connection, questions)

    @contextmanager
    def _looking(self) -> Iterator[sqlite3.Connection]:
        """The connection that the inbox is looked up through; it stays open, as a desk does so all the time."""
        with self._look_lock:
            if self._looks is None:
                self._looks = connect(self.path)
            try:
                yield self._looks
            except sqlite3.Error as error:
                raise refusal(error) from error

    # Reading.

    def states(self) -> list[Projected]:
        """Returns the last state of every stream, by its name."""
        table = schema.states
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.stream)).all()
        return [Projected(*row) for row in rows]

    def state(self, stream: str) -> Projected | None:
        """Returns the last state of a stream, or None if it has none."""
        table = schema.states
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(table).where(table.c.stream == stream)).one_or_none()
        return None if row is None else Projected(*row)

    def holders(self) -> dict[str, HolderState]:
        """Returns the last state of every holder, by its name."""
        found = ((one.stream.partition(":"), one.body) for one in self.states())
        return {name: holder_state_of(body) for (kind, _, name), body in found if kind == "holder"}

    def lines(self, stream: str, since: int = 1) -> Iterator[Written]:
        """Yields the lines of a stream in order, from a number on, as they stood when it began."""
        table = schema.journal
        wanted = sa.select(*schema.LINE).where(table.c.stream == stream, table.c.seq >= since).order_by(table.c.seq)
        with self.engine.connect() as connection:
            for row in connection.execute(wanted, execution_options={"yield_per": _ROWS}):
                yield Written(*row)

    def tagged(self, stream: str, *tags: str) -> Iterator[Written]:
        """Yields the lines of a stream whose event is of one of these kinds, which are `schema.TURNS`, in order."""
        c = schema.journal.c
        wanted = sa.select(*schema.LINE).where(c.stream == stream, *schema.named(tags))
        with self.engine.connect() as connection:
            for row in connection.execute(wanted.order_by(c.seq)):
                yield Written(*row)

    def last_tagged(self, stream: str, *tags: str) -> Written | None:
        """Returns the last line of a stream whose event is of one of these kinds, see `tagged`; None: there is none."""
        c = schema.journal.c
        wanted = sa.select(*schema.LINE).where(c.stream == stream, *schema.named(tags))
        with self.engine.connect() as connection:
            row = connection.execute(wanted.order_by(c.seq.desc()).limit(1)).one_or_none()
        return None if row is None else Written(*row)

    def numbers(self, *tags: str) -> list[tuple[int, str]]:
        """Returns the number and stream of each line whose event is of one of these kinds, which are `schema.TURNS`."""
        c = schema.journal.c
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(c.n, c.stream).where(*schema.named(tags)).order_by(c.n)).all()
        return [(n, stream) for n, stream in rows]

    def lines_since(self, n: int, limit: int) -> list[JournalRow]:
        """Returns the lines of all streams after number n, in the order they were committed in, at most `limit`."""
        table = schema.journal
        wanted = sa.select(table).where(table.c.n > n).order_by(table.c.n).limit(limit)
        with self.engine.connect() as connection:
            return [JournalRow(*row) for row in connection.execute(wanted)]

    def end(self) -> ChainPoint:
        """Returns the number and the chain of the last line over all streams."""
        with self.engine.connect() as connection:
            return end_of(connection)

    def chain_at(self, n: int) -> str | None:
        """Returns the chain up to line n; None: there is no such line."""
        if n == 0:
            return START.chain
        c = schema.journal.c
        with self.engine.connect() as connection:
            return connection.execute(sa.select(c.chain).where(c.n == n)).scalar_one_or_none()

    def head(self) -> HeadRow | None:
        """Returns the last signed head, or None if there is none."""
        table = schema.heads
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(table).order_by(table.c.n.desc()).limit(1)).one_or_none()
        return None if row is None else HeadRow(*row)

    def heads_since(self, n: int) -> Iterator[HeadRow]:
        """Yields the signed heads after number n, in order."""
        table = schema.heads
        wanted = sa.select(table).where(table.c.n > n).order_by(table.c.n)
        with self.engine.connect() as connection:
            for row in connection.execute(wanted, execution_options={"yield_per": _ROWS}):
                yield HeadRow(*row)

    def streams(self) -> dict[str, int]:
        """Returns every stream with the number of its lines."""
        column = schema.journal.c.stream
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(column, sa.func.count()).group_by(column).order_by(column)).all()
        return {row[0]: row[1] for row in rows}

    def snapshot(self, stream: str) -> Snapshot | None:
        """Returns the last snapshot of a stream, or None if it has none."""
        table = schema.snapshots
        wanted = sa.select(table).where(table.c.stream == stream).order_by(table.c.seq.desc()).limit(1)
        with self.engine.connect() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else Snapshot(*row)

    def last_ms(self) -> int:
        """Returns the time of the newest line that ends a stream, ms UTC; 0 if there is none."""
        journal, states = schema.journal.c, schema.states.c
        wanted = sa.select(sa.func.max(journal.time_ms)).where(
            journal.stream == states.stream, journal.seq == states.seq
        )  # fmt: skip
        with self.engine.connect() as connection:
            return connection.execute(wanted).scalar_one() or 0

    def rebalances(self, token: str | None = None, limit: int = 1, *, before: int | None = None) -> list[RebalanceRow]:
        """Returns what was measured of the last rebalances, of one token or of all, the newest first.

        One that goes on after a roll or a flow began later than those, and was decided before them.

        Args:
            token: whose; None: of all.
            limit: at most so many.
            before: only epochs before this one.
        """
        c = schema.rebalances.c
        by_time = (c.started_ms.desc(), c.token, c.epoch.desc())
        order = by_time if token is None else (c.epoch.desc(),)
        wanted = sa.select(schema.rebalances).order_by(*order).limit(limit)
        if token is not None:
            wanted = wanted.where(c.token == token)
        if before is not None:
            wanted = wanted.where(c.epoch < before)
        with self.engine.connect() as connection:
            return [RebalanceRow(*row) for row in connection.execute(wanted)]

    def outbox_open(self, book: str | None = None) -> list[OutboxRow]:
        """Returns the rows of the outbox that are not done, of one book or of all, in the order of their making."""
        table = schema.outbox
        wanted = sa.select(table).where(table.c.status != "done").order_by(table.c.created_ms, table.c.id)
        if book is not None:
            wanted = wanted.where(table.c.book == book)
        with self.engine.connect() as connection:
            return [OutboxRow(*row) for row in connection.execute(wanted)]

    def requests(self, after: int = 0, limit: int = -1) -> list[Request]:
        """Returns the requests that wait in the inbox, in order, those after a number; at most so many, -1: all."""
        with self._looking() as connection:
            return [Request(*row) for row in connection.execute(_WAITING, (after, limit))]

    def last_request(self) -> int:
        """Returns the number of the last request that was put into the inbox and is kept; 0: none is."""
        with self._looking() as connection:
            return int(connection.execute("SELECT COALESCE(MAX(number), 0) FROM inbox").fetchone()[0])

    def answer(self, number: int) -> bytes | None:
        """Returns the answer to a request, or None while it waits."""
        c = schema.inbox.c
        with self.engine.connect() as connection:
            return connection.execute(sa.select(c.answer).where(c.number == number)).scalar_one_or_none()

    def navs(self, token: str, start_ms: int, end_ms: int) -> list[Nav]:
        """Returns the published NAVs of a token in [start, end), by time."""
        c = schema.navs.c
        wanted = sa.select(schema.navs).where(c.token == token, c.time_ms >= start_ms, c.time_ms < end_ms)
        with self.engine.connect() as connection:
            rows = connection.execute(wanted.order_by(c.time_ms, c.kind)).all()
        return [Nav(*row)._replace(marks=_marks(row.marks)) for row in rows]


def end_of(connection: sa.Connection) -> ChainPoint:
    """Returns the number and the chain of the last line over all streams, as this connection sees it."""
    c = schema.journal.c
    row = connection.execute(sa.select(c.n, c.chain).order_by(c.n.desc()).limit(1)).one_or_none()
    return START if row is None else ChainPoint(*row)


def digest_of(body: bytes) -> str:
    """Returns the hash by which a body is known to be the same as another, 64 hex digits."""
    return hashlib.sha256(body).hexdigest()


def _found(connection: sqlite3.Connection, questions: Sequence[Question]) -> dict[int, Asked | KeyReusedError]:
    values = chain.from_iterable((place, one.principal, one.key) for place, one in enumerate(questions))
    rows = connection.execute(_ASKED.format(", ".join(["(?, ?, ?)"] * len(questions))), list(values)).fetchall()
    found: dict[int, Asked | KeyReusedError] = {}
    for place, number, digest, answer in rows:
        known = Asked(number, answer)
        found[place] = known if digest == digest_of(questions[place].body) else KeyReusedError(questions[place].key)
    return found
