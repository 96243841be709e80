"""The hot way in: a group of commits as one transaction of the driver, whole or not at all."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as dialect

from gearing.core.anchor import START, ChainPoint, leaf_of
from gearing.core.journal import GENESIS, hash_of
from gearing.store import schema
from gearing.store.errors import BusyError, FencedError, FullError, ReadOnlyError, StaleError, StoreError, TornError
from gearing.store.heads import SignedRecord
from gearing.store.records import Commit, NavRow, Projected, Written

Head = tuple[int, str]
Sign = Callable[[ChainPoint, int], SignedRecord]
"""Signs where a journal ends at a time, ms UTC."""


def _text(statement: Any) -> str:
    return str(statement.compile(dialect=dialect.dialect()))


def _upsert(table: sa.Table) -> str:
    fresh = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {c.name: fresh.excluded[c.name] for c in table.columns if c.name not in keys}
    return _text(fresh.on_conflict_do_update(index_elements=keys, set_=changed))


_LINES, _OUTBOX = _text(sa.insert(schema.journal)), _text(sa.insert(schema.outbox))
_STATES, _NAVS, _SNAPSHOTS = _upsert(schema.states), _upsert(schema.navs), _upsert(schema.snapshots)
_REBALANCES = _upsert(schema.rebalances)
_HEADS = _text(sa.insert(schema.heads))
_CHANGE = "UPDATE outbox SET status = ?, signed_ms = ?, dead_after_ms = ? WHERE id = ? AND status = ?"
_ANSWER = """
UPDATE inbox SET status = 'answered', answer = given.column1, answered_ms = given.column3
FROM (VALUES (?, ?, ?)) AS given WHERE number = given.column2 AND status = 'waiting'
"""
_PUT_IN = """
INSERT INTO inbox (principal, key, body_hash, body, answer, answered_ms, status) VALUES (?, ?, ?, ?, ?, ?, 'answered')
ON CONFLICT (principal, key) DO NOTHING
"""
_FORGET = """
DELETE FROM inbox WHERE number IN (
    SELECT number FROM inbox WHERE status = 'answered' AND answered_ms < ? ORDER BY answered_ms LIMIT ?
)
"""
# Answers are kept for seven days as they were given, and are rebuilt from the journal afterwards.
ANSWERS_KEPT_MS = 7 * 86_400_000
# With each group of answers, as many old ones are deleted as are given, and so many more.
_FORGET_MORE = 64
_HEAD = "SELECT seq, hash FROM journal WHERE stream = ? ORDER BY seq DESC LIMIT 1"
_END = "SELECT n, chain FROM journal ORDER BY n DESC LIMIT 1"
_GENERATION = "SELECT generation FROM meta"
_TAKE_OVER = "UPDATE meta SET generation = generation + 1 RETURNING generation"
# Rows of one statement at most.
_ROWS = 64


@cache
def _of_many(statement: str, rows: int) -> str:
    """Returns the statement that takes so many rows where this takes one."""
    before, values, row = statement.partition("VALUES (")
    row, closed, after = row.partition(")")
    return before + values + ", (".join([row + closed] * rows) + after


class Appender:
    """The one connection that a runner writes through, and where each stream ends.

    A line must follow on the line that stands last in the database, by number and by hash; so a commit that was
    worked out on a state that was never kept, or on one that another runner went past, is refused.

    Args:
        connection: of the driver; the appender owns it.
        sign: signs the head of each group that publishes a minute NAV; None: heads are not signed.
    """

    def __init__(self, connection: sqlite3.Connection, sign: Sign | None = None) -> None:
        self.connection, self._sign = connection, sign
        self._heads: dict[str, Head] = {}
        self._generation: int | None = None

    def take_over(self) -> None:
        """Begins a generation: whoever took the database over before commits nothing any more.

        Raises:
            StoreError: the database refuses it.
        """
        try:
            (self._generation,) = self.connection.execute(_TAKE_OVER).fetchone()
        except sqlite3.Error as error:
            raise refusal(error) from error

    def commit(self, commits: Sequence[Commit]) -> SignedRecord | None:
        """Writes a group of commits in one transaction.

        Returns:
            The head that was signed with it, if one was.

        Raises:
            FencedError: another runner wrote these lines, or moved these rows.
            StaleError: lines before these are missing.
            FullError: the disk is full.
            BusyError: another process held the database for too long.
            StoreError: anything else that the database refuses.
        """
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            if self._generation is not None and self.connection.execute(_GENERATION).fetchone() != (self._generation,):
                raise FencedError("another desk has begun on this database since.")
            heads: dict[str, Head] = {}
            for commit in commits:
                self._follow(commit, heads)
            head = self._write(commits)
            self.connection.execute("COMMIT")
        except BaseException as error:
            self._take_back(commits)
            if isinstance(error, sqlite3.Error):
                raise self._refusal(error, commits) from error
            raise
        self._heads.update(heads)
        return head

    def close(self) -> None:
        """Gives the connection up."""
        self.connection.close()

    def _follow(self, commit: Commit, heads: dict[str, Head]) -> None:
        """Checks that a commit's lines follow on what stands, and that its states are those after them."""
        touched = set()
        for line in commit.lines:
            stream = line.stream
            seq, before = heads.get(stream) or self._head(stream)
            if line.seq <= seq:
                raise FencedError(f"line {line.seq} stands already; another runner owns the stream.", stream=stream)
            if line.seq > seq + 1:
                raise StaleError(f"line {line.seq} follows on line {seq}; those between were not kept.", stream=stream)
            if hash_of(before, line.body) != line.hash:
                raise FencedError(f"line {line.seq} does not follow on the line {seq} that stands.", stream=stream)
            heads[stream] = (line.seq, line.hash)
            touched.add(stream)
        for state in commit.states:
            if heads.get(state.stream) != (state.seq, state.hash):
                raise StoreError(f"the state of line {state.seq} is not that of its last line.", stream=state.stream)
            touched.discard(state.stream)
        if touched:
            raise StoreError("its lines come without the state after them.", stream=min(touched))

    def _head(self, stream: str) -> Head:
        known = self._heads.get(stream)
        if known is None:
            known = self.connection.execute(_HEAD, (stream,)).fetchone() or (0, GENESIS)
            self._heads[stream] = known
        return known

    def _write(self, commits: Sequence[Commit]) -> SignedRecord | None:
        many = self._insert
        point = self._append([line for commit in commits for line in commit.lines])
        last: dict[str, Projected] = {state.stream: state for commit in commits for state in commit.states}
        many(_STATES, list(last.values()))
        many(_NAVS, [NavRow.of(nav) for commit in commits for nav in commit.navs])
        many(_REBALANCES, [row for commit in commits for row in commit.rebalances])
        many(_SNAPSHOTS, [shot for commit in commits for shot in commit.snapshots])
        many(_OUTBOX, [row for commit in commits for row in commit.outbox])
        changes = [
            (c.status, c.signed_ms, c.dead_after_ms, c.id, c.before) for commit in commits for c in commit.changes
        ]
        # An order may change twice in one group, so these go one after the other.
        if changes and self.connection.executemany(_CHANGE, changes).rowcount != len(changes):
            raise FencedError("an order of the outbox does not stand where it was left; another runner owns it.")
        answers = [(answer.body, answer.number, answer.time_ms) for commit in commits for answer in commit.answers]
        if many(_ANSWER, answers) != len(answers):
            raise FencedError("a request of the inbox was answered already; another runner owns it.")
        put_in = [one for commit in commits for one in commit.put_in]
        many(_PUT_IN, put_in)
        self._forget([answer[2] for answer in answers] + [one.answered_ms for one in put_in])
        return self._sign_head(commits, point)

    def _forget(self, answered_ms: Sequence[int]) -> None:
        """Deletes old answers of the inbox, the oldest first, with those that are given at these times.

        So the inbox stays as large as seven days of answers, and no group of commits deletes more than it can bear.
        """
        if answered_ms:
            self.connection.execute(_FORGET, (max(answered_ms) - ANSWERS_KEPT_MS, len(answered_ms) + _FORGET_MORE))

    def _sign_head(self, commits: Sequence[Commit], point: ChainPoint) -> SignedRecord | None:
        """Signs the end of a group that publishes a minute NAV, once for the whole group."""
        times_ms = [nav.time_ms for commit in commits for nav in commit.navs if nav.kind == "minute"]
        if self._sign is None or not times_ms or not any(commit.lines for commit in commits):
            return None
        head = self._sign(point, max(times_ms))
        self._insert(_HEADS, [head.row])
        return head

    def _append(self, lines: Sequence[Written]) -> ChainPoint:
        """Numbers and chains lines over all streams, writes them, and returns where the journal ends then."""
        # Read within the transaction: another runner may have appended to streams of its own.
        point = ChainPoint(*(self.connection.execute(_END).fetchone() or START))
        rows = []
        for line in lines:
            point = point.after(leaf_of(line.stream, line.seq, line.hash))
            rows.append((*line[:5], *point, *line[5:]))
        self._insert(_LINES, rows)
        return point

    def _insert(self, statement: str, rows: list[Any]) -> int:
        """Takes rows, many in one statement: the interpreter is let go of, and fought for, once for all of them.

        Returns:
            How many rows of the table were touched.
        """
        touched = 0
        for first in range(0, len(rows), _ROWS):
            some = rows[first : first + _ROWS]
            values = list(chain.from_iterable(some))
            touched += self.connection.execute(_of_many(statement, len(some)), values).rowcount
        return touched

    def _take_back(self, commits: Iterable[Commit]) -> None:
        """Ends the transaction with nothing kept, and forgets where its streams were thought to end."""
        for commit in commits:
            for line in commit.lines:
                self._heads.pop(line.stream, None)
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # a full disk may have ended it
                self.connection.execute("ROLLBACK")

    def _refusal(self, error: sqlite3.Error, commits: Sequence[Commit]) -> StoreError:
        if "journal.cause" in str(error):
            return StoreError("a command was run that had been run already; it is looked up and answered again.")
        if "journal.stream" not in str(error):
            return refusal(error)
        # The first line that stands already is the one that was refused.
        lines = (line for commit in commits for line in commit.lines)
        taken = next(line for line in lines if line.seq <= self._head(line.stream)[0])
        return FencedError(f"line {taken.seq} stands already; another runner owns the stream.", stream=taken.stream)


def refusal(error: sqlite3.Error) -> StoreError:
    """Returns the driver's error by its name."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return FullError("there is no room left on the disk of the database.", fix="Free some; what was kept stands.")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return BusyError("another process holds the database.", fix="End it, or try the same again.")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return ReadOnlyError("the database cannot be written.", fix="Make its file, folder and disk writable; as it is "
                             "it can be read and verified.")  # fmt: skip
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR}:
        return TornError(f"the disk failed, or the database is damaged ({error}).", fix="Keep a copy, look at it with "
                         "gearing journal verify, and restore a backup: gearing db restore.")  # fmt: skip
    return StoreError(f"the database refused it: {error}.")
