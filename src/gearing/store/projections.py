"""Tables that are rebuilt from the lines of a stream and held against what is kept: published NAVs, and the outbox."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import UNSET

from gearing.core.book import BookEvent, LiveOrder, OrderClosed, OrderPlaced
from gearing.core.events import NavStruck
from gearing.core.journal import Line, body_of
from gearing.store.records import NavRow, OutboxRow, marks_text

Fault = tuple[str, str]
"""What was found, and what was expected."""

_order_of = msgspec.json.Decoder(LiveOrder).decode
# Of each kind of fault of one stream, as many are named.
_NAMED_MAX = 20


class Navs:
    """The NAVs that a token's lines struck."""

    def __init__(self) -> None:
        # By time and kind, the last of each: NAV, units, and the marks as they are kept.
        self._by_kind: dict[tuple[int, str], tuple[int, int, str]] = {}
        # Lines of before kinds were journalled, by time alone.
        self._by_time: dict[int, set[tuple[int, int, str]]] = {}

    def take(self, line: Line, event: NavStruck) -> None:
        """Takes a line that strikes a NAV."""
        nav = line.nav, line.units, marks_text(event.prices)
        if event.kind is UNSET:
            self._by_time.setdefault(line.time_ms, set()).add(nav)
        else:
            self._by_kind[line.time_ms, event.kind] = nav

    def faults(self, rows: Iterable[NavRow]) -> Iterator[Fault]:
        """Yields where published NAVs are not those that were struck, and the other way round."""
        # Without units there is no NAV to be published.
        lacking = {key for key, nav in self._by_kind.items() if nav[1]}
        times = set[int]()
        for row in rows:
            nav = row.nav, row.units, row.marks
            times.add(row.time_ms)
            lacking.discard((row.time_ms, row.kind))
            if self._by_kind.get((row.time_ms, row.kind)) != nav and nav not in self._by_time.get(row.time_ms, ()):
                found = f"NAV {row.nav} of {row.units} units, {row.kind}, published at {row.time_ms}, marks {row.marks}"
                yield found, "a line of that time and kind that says the same"
        missing = sorted(time_ms for time_ms, _ in lacking)
        missing += [at for at, struck in self._by_time.items() if at not in times and any(nav[1] for nav in struck)]
        if missing:
            more = f", nor at {len(missing) - 1} other times" if len(missing) > 1 else ""
            yield f"no NAV published at {missing[0]}{more}", "each NAV that was struck"


class Orders:
    """The orders that a book's lines placed, and which of them were closed.

    Args:
        book: its name.
    """

    def __init__(self, book: str) -> None:
        self._book = book
        self._placed: dict[str, bytes] = {}
        self._closed: set[str] = set()

    def take(self, event: BookEvent) -> None:
        """Takes an event of the book."""
        if isinstance(event, OrderPlaced):
            self._placed[event.order.id] = _digest(event.order)
        elif isinstance(event, OrderClosed):
            self._closed.add(event.id)

    def faults(self, rows: Iterable[OutboxRow]) -> Iterator[Fault]:
        """Yields where the outbox is not what the book's lines placed and closed."""
        named = 0
        lacking = dict(self._placed)
        for row in rows:
            fault = self._fault(row, lacking.pop(row.id, None))
            if fault is not None and named < _NAMED_MAX:
                named += 1
                yield fault
        for order in sorted(lacking)[:_NAMED_MAX]:
            yield f"no row of order {order}", "one, since the book placed it"

    def _fault(self, row: OutboxRow, placed: bytes | None) -> Fault | None:
        if placed is None:
            return f"a row of order {row.id}", f"none: book {self._book} did not place it"
        try:
            body = _digest(_order_of(row.body))
        except (msgspec.MsgspecError, TypeError, UnicodeDecodeError) as error:
            return f"the row of order {row.id} cannot be read: {error}", "the order that was placed"
        if body != placed:
            return f"the row of order {row.id} has another order in it", "the order that was placed"
        if (row.status == "done") != (row.id in self._closed):
            closed = "done, since the book closed it" if row.id in self._closed else "not done: the book waits for it"
            return f"order {row.id} {row.status}", closed
        times = row.signed_ms, row.dead_after_ms, row.created_ms
        if not all(isinstance(time, int) for time in times) or (row.status == "ready" and any(times[:2])):
            return f"order {row.id} {row.status}, signed at {times[0]}, dead after {times[1]}", "0 while it is ready"
        return None


def _digest(order: LiveOrder) -> bytes:
    return hashlib.sha256(body_of(order)).digest()[:16]
