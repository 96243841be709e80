"""What a verification finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

What = Literal["file", "funding", "sequence", "chain", "line", "double entry", "balances", "step", "invariant", "state",
               "snapshot", "nav", "rebalance", "supply", "outbox", "behaviour", "anchor", "head", "schema", "meta",
               "inbox", "streams", "transfer", "money", "share", "merger", "price"]  # fmt: skip

# Breaches of a stream that are named; the rest are counted.
NAMED_MAX = 100


class Breach(NamedTuple):
    """Something that does not hold: where (no stream: the database as a whole), which check, what was found, and what
    was expected. The reference page of journals explains each check."""

    stream: str
    seq: int
    what: What
    found: str
    expected: str
