"""Where a book's money is, and where it would be if only a part of it were kept at the venue. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from msgspec import UNSET

from gearing.core.book import BookState
from gearing.core.money import fraction_of
from gearing.core.state import TokenState


class Account(NamedTuple):
    """What a book's account is worth in one currency, by the ledger, and what its target would move; minor units.

    Args:
        asset: the currency.
        worth: wallet and unrealised profit of its tokens, fees owed among them.
        due: of that, what flows brought in (took out: < 0) and was not moved to the venue yet, less what came in
            unasked and was not moved to the reserve yet.
        target: what is to be at the venue.
    """

    asset: str
    worth: int
    due: int
    target: int

    @property
    def at_venue(self) -> int:
        """What is at the venue."""
        return self.worth - self.due

    @property
    def to_move(self) -> int:
        """What is to be moved to the venue; from it: < 0."""
        return self.target - self.at_venue


def accounts(
    tokens: Iterable[tuple[str, TokenState]], book: BookState, collateral: Decimal
) -> list[Account]:  # fmt: skip
    """Returns a book's account by currency.

    Args:
        tokens: the settlement currency and the state of each of its tokens.
        book: what was moved to the venue and what came in unasked.
        collateral: the part of what the account is worth that is to be at the venue, 0 to 1; rounded up.
    """
    worth: dict[str, int] = {}
    brought: dict[str, int] = {}
    for asset, state in tokens:
        worth[asset] = worth.get(asset, 0) + state.balances.wallet + state.balances.unrealised
        brought[asset] = brought.get(asset, 0) + (0 if state.brought is UNSET else state.brought)
    due = book.due(brought)
    return [
        Account(asset, amount, due.get(asset, 0), fraction_of(max(amount, 0), collateral))
        for asset, amount in sorted((dict.fromkeys(due, 0) | worth).items())
    ]
