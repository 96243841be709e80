"""Holds what a book says was booked before the venue reported it against what its tokens book."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gearing.store.breach import Breach


class Settlement(NamedTuple):
    """A settlement as a token's line books it.

    Args:
        seq: the line.
        symbol: the instrument; empty: it is not known.
        time_ms: the settlement's.
        amount: received (paid < 0), minor units.
    """

    seq: int
    symbol: str
    time_ms: int
    amount: int


class AssumedFunding(NamedTuple):
    """A settlement that a book says was booked before the venue reported it: its line, and what it says."""

    seq: int
    symbol: str
    time_ms: int
    asset: str
    amount: int


def funding_breaches(
    book: str, tokens: Mapping[str, tuple[str, Iterable[Settlement]]], early: Iterable[AssumedFunding]
) -> Iterator[Breach]:  # fmt: skip
    """Yields what was assumed otherwise than it was booked.

    Args:
        book: its name.
        tokens: for each of its tokens the settlement currency and its settlements.
        early: those that were booked before the venue reported them.
    """
    booked: defaultdict[tuple[str, int], list[tuple[str, Settlement]]] = defaultdict(list)
    for name, (_, settlements) in tokens.items():
        for one in settlements:
            if not one.symbol:
                return
            booked[one.symbol, one.time_ms].append((name, one))
    for it in early:
        those = booked[it.symbol, it.time_ms]
        found = (it.amount, {it.asset})
        expected = (sum(one.amount for _, one in those), {tokens[name][0] for name, _ in those} or {it.asset})
        if found != expected:
            yield Breach(f"book:{book}", it.seq, "funding", f"{it.amount} {it.asset} booked before it was reported",
                         f"{expected[0]} {' '.join(sorted(expected[1]))}, as its tokens book it")  # fmt: skip
