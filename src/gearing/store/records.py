"""What goes into a store and comes out of it, as frozen records.

Rows that are written by the thousand are plain tuples in the order of their columns, so that the driver takes them as
they are. Times are ms UTC, money is in minor units, units in 1e-8 of a unit.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core import events as ev
from gearing.core.book import BookEvent, BookState
from gearing.core.flow_parts import FlowNamed, FlowsState
from gearing.core.holder import HolderEvent, HolderState
from gearing.core.journal import Cause, Line, line_of
from gearing.core.ledger import Entry
from gearing.core.measured import Measured
from gearing.core.references import CAUSED_SINCE

Mode = Literal["demo", "paper", "shadow", "live"]
MODES: tuple[Mode, ...] = ("demo", "paper", "shadow", "live")
OutboxStatus = Literal["ready", "sending", "done", "unknown"]
NavKind = ev.NavKind


class Written(NamedTuple):
    """A line of a journal: its stream and number, the bytes that were hashed, and the hash (64 hex digits).

    Where it is the first that a command caused, with the hashes of the payer's reference and of the command's key.
    """

    stream: str
    seq: int
    time_ms: int
    body: bytes
    hash: str
    cause_reference: str | None = None
    cause_key: str | None = None


class JournalRow(NamedTuple):
    """A line of a journal with its place over all streams: its number, and the chain up to it (64 hex digits)."""

    stream: str
    seq: int
    time_ms: int
    body: bytes
    hash: str
    n: int
    chain: str
    cause_reference: str | None = None
    cause_key: str | None = None

    @property
    def line(self) -> Written:
        """The line without its place."""
        return Written(*self[:5], self.cause_reference, self.cause_key)


class CausedLine(NamedTuple):
    """The first line that a command caused; that of a program which wrote no causes is known by its reference alone."""

    stream: str
    seq: int
    time_ms: int
    event: ev.TokenEvent | BookEvent | HolderEvent | FlowNamed
    cause: Cause | UnsetType


class HeadRow(NamedTuple):
    """A signed head as it is kept: the bytes that were signed (`store.heads.HeadRecord`), and the signature in hex."""

    n: int
    time_ms: int
    body: bytes
    signature: str


class Projected(NamedTuple):
    """A stream's state after its last line, whose number and hash it bears."""

    stream: str
    seq: int
    hash: str
    body: bytes


class Nav(NamedTuple):
    """A published NAV, minor units per whole unit, with the marks it was struck at."""

    token: str
    time_ms: int
    kind: NavKind
    nav: int
    units: int
    marks: tuple[float, ...]


class NavRow(NamedTuple):
    """A published NAV as it is kept: its marks are JSON."""

    token: str
    time_ms: int
    kind: NavKind
    nav: int
    units: int
    marks: str

    @classmethod
    def of(cls, nav: Nav) -> NavRow:
        """Returns how a NAV is kept."""
        return cls(*nav[:5], marks_text(nav.marks))


def marks_text(marks: tuple[float, ...]) -> str:
    """Returns the marks of a NAV as they are kept."""
    return msgspec.json.encode(marks).decode()


class RebalanceRow(NamedTuple):
    """What was measured of one rebalance; the last row of it counts.

    Args:
        token, epoch: which.
        started_ms: when it was decided.
        body: what was measured, as JSON.
    """

    token: str
    epoch: int
    started_ms: int
    body: bytes


class Snapshot(NamedTuple):
    """A state kept for good, so that a journal can be worked out from there.

    Args:
        stream, seq: the line it is the state after.
        state_hash: as that line says it.
        schema: number of the records' form that `body` has.
        body: the state.
    """

    stream: str
    seq: int
    state_hash: str
    schema: int
    body: bytes


class OutboxRow(NamedTuple):
    """Something to be sent once, never blindly twice.

    Args:
        id: its identity at the receiver, never used again.
        book: whose it is.
        body: what is to be sent.
        status: ready, sending (its fate is unknown until the receiver told it), done, or unknown.
        signed_ms: the signing time it is sent with; 0 while it is ready.
        dead_after_ms: from then on it can no longer arrive; 0 while it is ready.
        created_ms: when it was intended.
    """

    id: str
    book: str
    body: bytes
    status: OutboxStatus
    signed_ms: int
    dead_after_ms: int
    created_ms: int


class OutboxChange(NamedTuple):
    """A row's way to another status; it is refused if the row does not stand at `before`."""

    id: str
    before: OutboxStatus
    status: OutboxStatus
    signed_ms: int
    dead_after_ms: int


class Answer(NamedTuple):
    """What a request of the inbox is answered, and when by the world's clock, ms UTC.

    It is refused if the request was answered before.
    """

    number: int
    body: bytes
    time_ms: int


class Question(NamedTuple):
    """What is to be put into the inbox: who asks, by which key it is known again, and what."""

    principal: str
    key: str
    body: bytes


class PutIn(NamedTuple):
    """A question that is put into the inbox together with its answer.

    If another process has put the key in meanwhile, its row stays and is answered by itself: what the question caused
    is in the journal under that key, so it is not done again.
    """

    principal: str
    key: str
    body_hash: str
    body: bytes
    answer: bytes
    answered_ms: int


class Request(NamedTuple):
    """A request that waits in the inbox.

    Args:
        number: in the inbox.
        principal: who asks.
        key: by which the same request is known again.
        body: what is asked.
        after_n: the number of the journal's last line when it was put in; 0: unknown.
    """

    number: int
    principal: str
    key: str
    body: bytes
    after_n: int = 0


class Kept(NamedTuple):
    """What stands in the inbox under a key, and its answer; None while it waits."""

    body: bytes
    answer: bytes | None


class Asked(NamedTuple):
    """What became of a request that was put in: its number, and its answer or None while it waits."""

    number: int
    answer: bytes | None


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one transaction does.

    Args:
        lines: to be appended, those of each stream in order.
        states: the projections after them.
        navs: published.
        rebalances: measured.
        outbox: new rows.
        changes: of outbox rows.
        answers: to requests of the inbox.
        put_in: questions that are put into the inbox with their answers.
        snapshots: to be kept.
    """

    lines: tuple[Written, ...] = ()
    states: tuple[Projected, ...] = ()
    navs: tuple[Nav, ...] = ()
    rebalances: tuple[RebalanceRow, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    changes: tuple[OutboxChange, ...] = ()
    answers: tuple[Answer, ...] = ()
    put_in: tuple[PutIn, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What a database says of itself.

    Args:
        schema: number of its tables' form.
        mode: demo, paper, shadow or live; it is opened in no other.
        incarnation: six letters and digits, part of every order's id; drawn at init, and anew at a restore.
        created_ms: when it was made.
        restored_ms: when it was last restored from a backup; 0: never.
        database: its id, 32 hex digits drawn at init; backups and what is restored from them keep it.
    """

    schema: int
    mode: Mode
    incarnation: str
    created_ms: int
    restored_ms: int = 0
    database: str = ""

    def is_foreign_to(self, incarnation: str) -> bool:
        """Returns whether a book of this incarnation has not been reconciled since the database was restored.

        Args:
            incarnation: of the book's state; empty for a book that was never opened.
        """
        return bool(self.restored_ms and incarnation and incarnation != self.incarnation)


class BookLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a book's journal; see `core.journal.Line`."""

    stream: str
    seq: int
    time_ms: int
    behaviour: int
    event: BookEvent
    state: str
    cause: Cause | UnsetType = UNSET


class FlowsLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal of a token's flows; see `core.journal.Line`."""

    stream: str
    seq: int
    time_ms: int
    behaviour: int
    event: FlowNamed
    state: str
    cause: Cause | UnsetType = UNSET


class HolderLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a holder's journal: what happened, and what was booked for it; see `core.journal.Line`."""

    stream: str
    seq: int
    time_ms: int
    behaviour: int
    event: HolderEvent
    entry: Entry
    state: str
    cause: Cause | UnsetType = UNSET


# What a body holds, bytes of JSON; `core.journal` reads those of a token. Each raises `msgspec.DecodeError`.
book_line_of = msgspec.json.Decoder(BookLine).decode
book_state_of = msgspec.json.Decoder(BookState).decode
flows_line_of = msgspec.json.Decoder(FlowsLine).decode
flows_state_of = msgspec.json.Decoder(FlowsState).decode
holder_line_of = msgspec.json.Decoder(HolderLine).decode
holder_state_of = msgspec.json.Decoder(HolderState).decode
measured_of = msgspec.json.Decoder(Measured).decode


AnyLine = Line | BookLine | HolderLine | FlowsLine


def any_line_of(kind: str, body: bytes) -> AnyLine:
    """Returns the line of a stream of a kind.

    Raises:
        msgspec.DecodeError: it is no such line.
    """
    match kind:
        case "token":
            return line_of(body)
        case "book":
            return book_line_of(body)
        case "flows":
            return flows_line_of(body)
        case _:
            return holder_line_of(body)


def caused_line(stream: str, seq: int, time_ms: int, body: bytes) -> CausedLine:
    """Returns the line of a stream that a command caused.

    Raises:
        msgspec.DecodeError: it is not such a line.
    """
    line = any_line_of(stream.partition(":")[0], body)
    if line.cause is UNSET and line.behaviour >= CAUSED_SINCE:
        raise msgspec.DecodeError(f"line {seq} of {stream} carries no cause")
    return CausedLine(stream, seq, time_ms, line.event, line.cause)
