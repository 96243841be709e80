"""What a book's account at the venue should hold by its ledgers, where its statement differs, what is no token's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from gearing.core import book as bk
from gearing.core.book import BookState, Difference, What
from gearing.core.money import as_text
from gearing.core.state import TokenState
from gearing.drive.running import Book
from gearing.venues.protocol import Received, Statement

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


class Holding(NamedTuple):
    """What a token of a book holds: its instruments, its settlement currency, and its state."""

    symbols: Sequence[str]
    asset: str
    state: TokenState


def ledger_of(book: BookState, holdings: Iterable[Holding]) -> dict[tuple[What, str], int]:
    """Returns what a book's account at the venue holds by its ledgers: lots by symbol, minor units of cash by asset.

    Args:
        book: the book's state.
        holdings: of each of its tokens.
    """
    found, brought = Counter[tuple[What, str]](), Counter[str]()
    for symbols, asset, state in holdings:
        for leg, symbol in zip(state.legs, symbols, strict=True):
            found["position", symbol] += leg.lots
        found["cash", asset] += state.balances.wallet - sum(leg.basis for leg in state.legs)
        brought[asset] += 0 if state.brought is UNSET else state.brought
    for one in ({} if book.assumed is UNSET else book.assumed).values():  # not reported by the venue yet
        found["cash", one.asset] -= one.amount
    for asset, amount in book.due(brought).items():  # what flows brought in is at the venue once it was moved
        found["cash", asset] -= amount
    return dict(found)


def differences(book: Book, statement: Statement) -> tuple[Difference, ...]:
    """Returns where the venue's statement and the ledger differ: positions first, then cash, each by name."""
    ledger = ledger_of(book.state, _holdings(book))
    stated: dict[tuple[What, str], int] = {("position", name): lots for name, lots in statement.positions.items()}
    stated |= {("cash", name): amount - statement.costs.get(name, 0) for name, amount in statement.wallet.items()}
    return tuple(
        Difference(what=what, name=name, venue=stated.get((what, name), 0), ledger=ledger.get((what, name), 0))
        for what, name in sorted({*ledger, *stated}, key=lambda key: (key[0] == "cash", key[1]))
        if stated.get((what, name), 0) != ledger.get((what, name), 0)
    )


def words_of(found: Iterable[Difference]) -> str:
    """Returns differences in words."""
    return "; ".join(
        f"{it.name}: {it.words(it.venue)} at the venue, {it.words(it.ledger)} by the ledger" for it in found
    )


def _holdings(book: Book) -> list[Holding]:
    return [Holding(one.symbols, one.spec.token.settlement, one.state) for one in book.tokens]


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
