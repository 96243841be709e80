"""What the reserve owes the venue for tokens that were wiped out, and what it is owed back. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from gearing.core.state import TokenState


class Payment(NamedTuple):
    """Money that moves between the reserve and a token's account at the venue.

    Args:
        token: for which.
        asset: of what.
        amount: into the account (out of it: < 0), minor units.
        reference: the venue takes it once.
    """

    token: str
    asset: str
    amount: int
    reference: str


def payments(tokens: Iterable[tuple[str, str, TokenState]], reserve: int) -> tuple[list[Payment], list[Payment]]:
    """Returns what the reserve pays, in the order in which it was needed, and what it has no money for.

    Args:
        tokens: the name, the settlement currency and the state of every token that shares the reserve.
        reserve: of each currency, minor units.
    """
    dues = sorted(
        (cover.time_ms, name, number, asset, cover.amount)
        for name, asset, state in tokens
        for number, cover in enumerate(state.covers, 1)
    )
    spent: Counter[str] = Counter()
    paid: list[Payment] = []
    unpaid: list[Payment] = []
    for _, name, number, asset, amount in dues:
        due = Payment(name, asset, amount, f"reserve{number}x{name}")
        if spent[asset] + amount > reserve or any(other.token == name for other in unpaid):
            unpaid.append(due)
            continue
        spent[asset] += amount
        paid.append(due)
    return paid, unpaid
