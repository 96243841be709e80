"""What a run of the crash harness came to for holders: what each has, what it was answered, and where the cash is."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from gearing.core.book import BookState
from gearing.desk.requests import answered_of
from gearing.store import schema
from gearing.store.records import holder_state_of
from gearing.store.store import Store
from gearing.venues.paper.state import State
from proof import crash_script as script


def is_book(stream: str) -> bool:
    """Returns whether a stream is a book's."""
    return stream.startswith("book:")


def holdings(store: Store) -> dict[str, object]:
    """Returns what each holder has, what it waits for, and what happened to it in order, but for the times of it."""
    found: dict[str, object] = {}
    for one in store.states():
        if one.stream.startswith("holder:"):
            state = holder_state_of(one.body)
            happened = [_timeless(msgspec.json.decode(row.body)["event"]) for row in store.lines(one.stream)]
            found[one.stream] = (state.balances, state.requests, state.accepted, happened)
    return found


def answered(store: Store) -> dict[str, object]:
    """Returns the answer to each request of the inbox, without the time it was given."""
    c = schema.inbox.c
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(c.key, c.answer).order_by(c.number)).all()
    answers = {key: None if answer is None else answered_of(answer) for key, answer in rows}
    return {
        key: None if one is None else (one.done, one.words, one.status, one.id, one.place)
        for key, one in answers.items()
    }


def moved(state: State, books: dict[str, BookState]) -> tuple[dict[str, object], list[str]]:
    """Returns what of each book's cash was moved and is at the exchange, and what of it went wrong."""
    found: dict[str, object] = {}
    wrong = []
    for name, book in books.items():
        transfers = {key: one for key, one in state.transfers.items() if key.startswith(f"{name}/")}
        arrived = sum(one.amount for one in transfers.values()) - script.AMOUNT * len(book.tokens)
        if arrived != sum(book.moved.values()):
            wrong.append(f"{name} moved {book.moved}, and {arrived} arrived")
        if len(transfers) != book.moves + len(book.tokens):
            wrong.append(f"{name} made {book.moves} moves, the exchange {len(transfers)} with its capital")
        if unasked_of(book) != {"USDT": script.GIFT}:
            wrong.append(f"{name} booked {book.received} of what came unasked")
        if book.halted:
            wrong.append(f"{name} is halted: {book.halted}")
        account = state.account(name)
        held = {symbol: one.lots for symbol, one in account.positions.items()}
        found[name] = (book.moved, account.wallet, held)
    return found, wrong


def unasked_of(book: BookState) -> dict[str, int]:
    """Returns what came into a book's account unasked, minor units by asset."""
    return {} if book.received is UNSET else book.received


def _timeless(event: Any) -> Any:
    """Returns an event without its times, wherever in it they stand; a turn is one, it counts from a desk's start."""
    if isinstance(event, dict):
        return {name: _timeless(one) for name, one in event.items() if not name.endswith("_ms") and name != "turn"}
    return [_timeless(one) for one in event] if isinstance(event, list) else event
