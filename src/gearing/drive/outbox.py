"""The outbox: what is to be asked of a venue, and when; an order is never sent twice.

An order is `ready` until its row says `sending`, with the time it is signed for and the time after which it can no
longer arrive. Once it is `sending`, only an answer counts: the venue's status, its refusal, or "not found" after that
time. Whatever else happens (a timeout, a dropped connection, a kill) leaves it unknown, and it is asked for by its id.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Literal, NamedTuple

from gearing.core.book import LiveOrder
from gearing.core.journal import body_of
from gearing.store.records import OutboxChange, OutboxRow, OutboxStatus

Word = Literal["ready", "sending", "unknown", "live"]

# An order that the venue holds is asked for this often, in case its reports were lost.
POLL_MS = 5_000
# An unknown one this often; the wait between two does not grow, so nobody is left unhedged by it.
ASK_MS = 500


class Ask(NamedTuple):
    """Something to do at the venue: send an order, query its id, or fetch its fills."""

    kind: Literal["send", "query", "fills"]
    id: str


class _Pending:
    __slots__ = ("asked", "book", "dead_after_ms", "order", "row", "signed_ms", "word")

    def __init__(
        self, order: LiveOrder, book: str, word: Word, row: OutboxStatus, signed_ms: int, dead_after_ms: int
    ) -> None:
        self.order, self.book, self.word = order, book, word
        self.row = row  # what its row says, which a change of it has to name
        self.signed_ms, self.dead_after_ms = signed_ms, dead_after_ms
        self.asked = 0


class Outbox:
    """The orders of all books that have not ended.

    Args:
        window_ms: the venue refuses an order so long after it was signed.
        visibility_ms: an order that arrived may be missing from a query for so long.
    """

    def __init__(self, window_ms: int, visibility_ms: int) -> None:
        self.window_ms, self._visibility_ms = window_ms, visibility_ms
        self._pending: dict[str, _Pending] = {}
        self._due: list[tuple[int, int, str]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._pending

    def add(self, book: str, order: LiveOrder, now_ms: int) -> None:
        """Takes an order whose intent is durable."""
        self._pending[order.id] = _Pending(order, book, "ready", "ready", 0, 0)
        self._at(now_ms, order.id)

    def recover(self, row: OutboxRow, order: LiveOrder, now_ms: int) -> None:
        """Takes up an order as its row was left: one that was being sent has an unknown fate.

        The clock may have jumped since, so its window counts from now on: it was signed before. Of a restored
        database (`unknown`) its restoration says when.
        """
        word: Word = "ready" if row.status == "ready" else "unknown"
        dead_after_ms = now_ms + self.window_ms + self._visibility_ms
        if row.status == "unknown":
            dead_after_ms = max(dead_after_ms, row.dead_after_ms)
        self._pending[order.id] = _Pending(order, row.book, word, row.status, row.signed_ms, dead_after_ms)
        self._at(now_ms, order.id)

    def next_ms(self) -> float:
        """Returns when something is to be done next; ∞ if nothing is."""
        return self._due[0][0] if self._due else float("inf")

    def take(self, now_ms: int) -> list[Ask]:
        """Returns what is to be done now; each order is asked about again later, until it ended."""
        asks: list[Ask] = []
        while self._due and self._due[0][0] <= now_ms:
            _, number, client_id = heappop(self._due)
            pending = self._pending.get(client_id)
            if pending is None or number != pending.asked:
                continue
            if pending.word == "ready":
                asks.append(Ask("send", client_id))
                continue  # its row comes first; `sending` says when to ask again
            asks.append(Ask("query", client_id))
            self._at(now_ms + (POLL_MS if pending.word == "live" else ASK_MS), client_id)
        return asks

    def order(self, client_id: str) -> LiveOrder:
        """Returns an order that has not ended."""
        return self._pending[client_id].order

    def book_of(self, client_id: str) -> str:
        """Returns the book an order belongs to."""
        return self._pending[client_id].book

    def sending(self, client_id: str, now_ms: int) -> OutboxChange:
        """Marks an order as about to be sent; returns the change of its row, which is made durable before it is."""
        pending = self._pending[client_id]
        if pending.word != "ready":
            raise ValueError(f"order {client_id} is {pending.word}, and is never sent again")
        pending.word, pending.row, pending.signed_ms = "sending", "sending", now_ms
        pending.dead_after_ms = now_ms + self.window_ms + self._visibility_ms
        self._at(pending.dead_after_ms, client_id)
        return OutboxChange(client_id, "ready", "sending", now_ms, pending.dead_after_ms)

    def is_known(self, client_id: str, now_ms: int) -> None:
        """The venue holds the order: it is asked for now and then."""
        self._become(client_id, "live", now_ms + POLL_MS)

    def is_unknown(self, client_id: str, now_ms: int) -> None:
        """Nobody knows what became of it: it is asked for soon."""
        self._become(client_id, "unknown", now_ms + ASK_MS)

    def is_lost(self, client_id: str, asked_ms: int) -> bool:
        """Returns whether "not found", asked for at a time, means that the order can no longer arrive."""
        return asked_ms > self._pending[client_id].dead_after_ms

    def unknown(self) -> list[str]:
        """Returns the orders whose fate is unknown."""
        return sorted(key for key, pending in self._pending.items() if pending.word == "unknown")

    def done(self, client_id: str) -> OutboxChange | None:
        """Takes an order off that ended; returns the change of its row."""
        pending = self._pending.pop(client_id, None)
        if pending is None:
            return None
        return OutboxChange(client_id, pending.row, "done", pending.signed_ms, pending.dead_after_ms)

    def _become(self, client_id: str, word: Word, due_ms: int) -> None:
        pending = self._pending.get(client_id)
        if pending is not None and pending.word != word:
            pending.word = word
            self._at(due_ms, client_id)

    def _at(self, due_ms: int, client_id: str) -> None:
        self._count += 1
        self._pending[client_id].asked = self._count
        heappush(self._due, (due_ms, self._count, client_id))


def row_of(book: str, order: LiveOrder, now_ms: int) -> OutboxRow:
    """Returns the row of an order that is intended."""
    return OutboxRow(order.id, book, body_of(order), "ready", 0, 0, now_ms)
