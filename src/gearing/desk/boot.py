"""How a desk starts: from what is durable, and from nothing else."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from gearing.core.book import BookState
from gearing.core.events import Launched, SpecificationChanged
from gearing.core.journal import line_of, state_of
from gearing.core.terms import Spec
from gearing.core.token import Token
from gearing.drive.driver import Driver
from gearing.drive.effects import Head
from gearing.drive.market import Market
from gearing.drive.outbox import Outbox
from gearing.store.store import Store

_book_of = msgspec.json.Decoder(BookState).decode


class Booted(NamedTuple):
    """A driver and an outbox as the store left them."""

    driver: Driver
    outbox: Outbox


def boot(store: Store, market: Market, *, window_ms: int, visibility_ms: int, now_ms: int) -> Booted:
    """Returns the driver and the outbox that go on where the journal ends.

    An order that was being sent has an unknown fate until the venue tells. A book whose database was restored is
    halted: its orders may have gone on without it.

    Args:
        store: the database.
        market: for the prices.
        window_ms, visibility_ms: of the venue, see `Outbox`.
        now_ms: the time.
    """
    driver, outbox = Driver(market), Outbox(window_ms, visibility_ms)
    states = {projected.stream: projected for projected in store.states()}
    for stream, projected in states.items():
        kind, _, name = stream.partition(":")
        if kind != "book":
            continue
        book_state = _book_of(projected.body)
        book = driver.adopt_book(name, book_state, Head(projected.seq, projected.hash))
        for token in book_state.tokens:
            found = states.get(f"token:{token}")
            if found is not None:
                spec = Spec(spec_of(store, token))
                driver.adopt(book, spec, state_of(found.body), Head(found.seq, found.hash))
        if store.meta.is_foreign_to(book_state.incarnation):
            driver.reopen_book(book, store.meta.incarnation, now_ms)
    for row in store.outbox_open():
        order = driver.books[row.book].state.live.get(row.id)
        if order is not None:
            outbox.recover(row, order, now_ms)
    return Booted(driver, outbox)


def spec_of(store: Store, token: str) -> Token:
    """Returns the present specification of a token: that of its launch, or of its last change."""
    stream = f"token:{token}"
    first = line_of(next(store.lines(stream)).body).event
    changes = [line_of(row.body).event for row in store.tagged(stream, "specification_changed")]
    last = changes[-1] if changes else first
    if not isinstance(last, (Launched, SpecificationChanged)):
        raise TypeError(f"{stream} does not begin with its launch")
    return last.token
