"""What the driver wants done: first what must be durable, then what may be sent."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import UNSET

from gearing.core.book import LiveOrder
from gearing.core.journal import GENESIS, Cause, body_of, hash_of, state_hash
from gearing.core.measured import Measured
from gearing.store.records import Nav, Projected, RebalanceRow, Snapshot, Written
from gearing.store.schema import STATE_SCHEMA


class Head(NamedTuple):
    """Where a stream's journal ends: the last line's number and hash."""

    seq: int
    hash: str


START = Head(0, GENESIS)
"""Where a stream begins."""

# After every thousandth line of a stream its state is kept. A state has some thousand bytes, so that is a few bytes for
# each line; and where a program steps older events differently, at most a thousand lines of a stream are not stepped.
SNAPSHOT_LINES = 1_000


class Effects:
    """What came of one input.

    Attributes:
        lines: to be appended, in order.
        states: the projections of the streams that were touched, the last of each.
        navs: to be published.
        snapshots: states to be kept, of each stream after every `SNAPSHOT_LINES` lines.
        rebalances: what was measured of those that began, went on or ended, the last of each.
        placed: orders to be sent once the lines are durable.
        closed: ids of orders that ended.
        fetches: ids whose fills must be asked for.
        alarms: sentences that a person should read.
        cause: the command that is run; the first line that it causes takes it.
    """

    __slots__ = ("alarms", "cause", "closed", "fetches", "lines", "navs", "placed", "rebalances", "snapshots", "states")

    def __init__(self) -> None:
        self.lines: list[Written] = []
        self.states: dict[str, Projected] = {}
        self.navs: list[Nav] = []
        self.snapshots: list[Snapshot] = []
        self.rebalances: dict[tuple[str, int], Measured] = {}
        self.placed: list[LiveOrder] = []
        self.closed: list[str] = []
        self.fetches: list[str] = []
        self.alarms: list[str] = []
        self.cause: Cause | None = None

    def __bool__(self) -> bool:
        return bool(self.lines or self.fetches or self.alarms)

    def extend(self, later: Effects) -> None:
        """Adds what came of work that followed."""
        for name in self.__slots__:
            if name == "cause":
                continue
            mine, more = getattr(self, name), getattr(later, name)
            if isinstance(mine, dict):
                mine.update(more)
            else:
                mine += more

    def append(self, stream: str, before: Head, time_ms: int, line: msgspec.Struct, state: bytes) -> Head:
        """Adds a line and the body of the state after it; returns the stream's new head."""
        reference = key = None
        if self.cause is not None:
            line = msgspec.structs.replace(line, cause=self.cause)
            key, reference = self.cause.key, None if self.cause.reference is UNSET else self.cause.reference
            self.cause = None
        body = body_of(line)
        head = Head(before.seq + 1, hash_of(before.hash, body))
        self.lines.append(Written(stream, head.seq, time_ms, body, head.hash, reference, key))
        self.states[stream] = Projected(stream, head.seq, head.hash, state)
        if head.seq % SNAPSHOT_LINES == 0:
            self.snapshots.append(Snapshot(stream, head.seq, state_hash(state), STATE_SCHEMA, state))
        return head

    def rebalance_rows(self) -> tuple[RebalanceRow, ...]:
        """Returns the measured rebalances as the store keeps them."""
        return tuple(
            RebalanceRow(one.token, one.epoch, one.started_ms, body_of(one)) for one in self.rebalances.values()
        )
