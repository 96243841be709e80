"""What a book's account at the venue should hold by its ledgers, where its statement differs, what is no token's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import UNSET

from gearing.core import book as bk
from gearing.core.book import Difference
from gearing.core.money import as_text
from gearing.drive.running import Book
from gearing.venues.protocol import Received, Statement

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


def differences(book: Book, statement: Statement) -> tuple[Difference, ...]:
    """Returns where the venue's statement and the ledger differ."""
    positions: dict[str, int] = dict.fromkeys(statement.positions, 0)
    cash: dict[str, int] = dict.fromkeys(statement.wallet, 0)
    for running in book.tokens:
        for leg, symbol in zip(running.state.legs, running.symbols, strict=True):
            positions[symbol] = positions.get(symbol, 0) + leg.lots
        asset, state = running.spec.token.settlement, running.state
        cash[asset] = cash.get(asset, 0) + state.balances.wallet - sum(leg.basis for leg in state.legs)
    for one in ({} if book.state.assumed is UNSET else book.state.assumed).values():  # not reported by the venue yet
        cash[one.asset] = cash.get(one.asset, 0) - one.amount
    for asset, amount in due_cash(book).items():  # what flows brought in is at the venue once it was moved
        cash[asset] = cash.get(asset, 0) - amount
    found = [
        Difference(what="position", name=name, venue=statement.positions.get(name, 0), ledger=lots)
        for name, lots in sorted(positions.items())
    ]
    found += [
        Difference(what="cash", name=name, venue=statement.wallet.get(name, 0) - statement.costs.get(name, 0),
                   ledger=amount)
        for name, amount in sorted(cash.items())
    ]  # fmt: skip
    return tuple(one for one in found if one.venue != one.ledger)


def due_cash(book: Book) -> dict[str, int]:
    """Returns what is still to be moved to a book's account at the venue (from it: < 0), minor units by asset."""
    brought: dict[str, int] = {}
    for running in book.tokens:
        asset, mine = running.spec.token.settlement, running.state.brought
        brought[asset] = brought.get(asset, 0) + (0 if mine is UNSET else mine)
    return book.state.due(brought)


def take_unasked(driver: Driver, book: Book, arrival: Received) -> None:
    """Books money that came into a book's account unasked, once: it goes to the reserve, and no token's NAV has it."""
    if book.state.has_booked(arrival.id) or arrival.amount <= 0:
        return
    driver.note(book, bk.Received(time_ms=arrival.time_ms, id=arrival.id, asset=arrival.asset, amount=arrival.amount))
    money = f"{as_text(arrival.amount, grouped=True)} {arrival.asset}"
    driver.effects.alarms.append(f"{book.name}: {money} came into its account unasked; it goes to the reserve")


def unasked(books: Iterable[Book]) -> Counter[str]:
    """Returns what came into the accounts of books unasked, in all, minor units by asset."""
    found: Counter[str] = Counter()
    for book in books:
        found.update({} if book.state.received is UNSET else book.state.received)
    return found
