"""What a book's account at the venue should hold by its ledgers, and where the venue's statement differs. Pure."""

from __future__ import annotations

from msgspec import UNSET

from gearing.core.book import Difference
from gearing.drive.running import Book
from gearing.venues.protocol import Statement


def differences(book: Book, statement: Statement) -> tuple[Difference, ...]:
    """Returns where the venue's statement and the ledger differ."""
    positions: dict[str, int] = dict.fromkeys(statement.positions, 0)
    cash: dict[str, int] = dict.fromkeys(statement.wallet, 0)
    for running in book.tokens:
        for leg, symbol in zip(running.state.legs, running.symbols, strict=True):
            positions[symbol] = positions.get(symbol, 0) + leg.lots
        asset, state = running.spec.token.settlement, running.state
        cash[asset] = cash.get(asset, 0) + state.balances.wallet - sum(leg.basis for leg in state.legs)
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
    due: dict[str, int] = {}
    for running in book.tokens:
        asset, brought = running.spec.token.settlement, running.state.brought
        due[asset] = due.get(asset, 0) + (0 if brought is UNSET else brought)
    return {asset: left for asset, amount in due.items() if (left := amount - book.state.moved.get(asset, 0))}
