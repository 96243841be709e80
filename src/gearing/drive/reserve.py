"""What the reserve owes the venue for tokens that were wiped out, and what it is owed back. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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


def _covers(state: TokenState) -> Iterator[tuple[int, int, int]]:
    """Yields when each of a token's covers is due, its number, and its amount.

    They stay in the order in which they were booked: what a late report gives back was paid in before.
    """
    time_ms = 0
    for number, cover in enumerate(state.covers, 1):
        time_ms = max(time_ms, cover.time_ms)
        yield time_ms, number, cover.amount


def payments(
    tokens: Iterable[tuple[str, str, TokenState]], reserve: int, more: Mapping[str, int]
) -> tuple[list[Payment], list[Payment]]:
    """Returns what the reserve pays, in the order in which it was needed, and what it has no money for.

    Args:
        tokens: the name, the settlement currency and the state of every token that shares the reserve.
        reserve: of each currency, minor units.
        more: what it has besides, by currency: what came into accounts unasked.
    """
    dues = sorted(
        (time_ms, name, number, asset, amount)
        for name, asset, state in tokens
        for time_ms, number, amount in _covers(state)
    )
    spent: Counter[str] = Counter()
    paid: list[Payment] = []
    unpaid: list[Payment] = []
    for _, name, number, asset, amount in dues:
        due = Payment(name, asset, amount, f"reserve{number}x{name}")
        if spent[asset] + amount > reserve + more.get(asset, 0) or any(other.token == name for other in unpaid):
            unpaid.append(due)
            continue
        spent[asset] += amount
        paid.append(due)
    return paid, unpaid


def left(tokens: Iterable[tuple[str, str, TokenState]], reserve: int, more: Mapping[str, int], asset: str) -> int:
    """Returns what the reserve has of a currency beyond what tokens that were wiped out need; see `payments`."""
    needed = sum(amount for _, mine, state in tokens if mine == asset for *_, amount in _covers(state))
    return reserve + more.get(asset, 0) - needed
