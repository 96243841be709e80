"""The anchor of a journal shard: one gapless numbering of its lines over all streams, and one hash chain over them.

A shard is everything that one writer appends to; a SQLite database has one. Line n of a shard has the leaf

    leaf = SHA-256(stream, line feed, seq in decimal, line feed, hash of the line)

and the chain up to it is SHA-256(chain up to line n - 1, leaf), both as 64 lower-case hex digits in ASCII; before the
first line it is `GENESIS`. The texts are unambiguous: a hash has 64 digits, and a seq holds no line feed. So n and
its chain fix every line up to n, and a leaf replaces a line that is not shown.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from gearing.core.journal import GENESIS


class ChainPoint(NamedTuple):
    """A place in a shard: the number of a line, and the chain up to it (64 hex digits)."""

    n: int
    chain: str

    def after(self, leaf: str) -> ChainPoint:
        """Returns the place one line further on."""
        return ChainPoint(self.n + 1, chain_of(self.chain, leaf))


START = ChainPoint(0, GENESIS)
"""Where a shard begins."""


def leaf_of(stream: str, seq: int, hash: str) -> str:
    """Returns the leaf of a line: 64 hex digits.

    Args:
        stream, seq: which line.
        hash: the line's own hash.
    """
    return hashlib.sha256(f"{stream}\n{seq}\n{hash}".encode()).hexdigest()


def chain_of(before: str, leaf: str) -> str:
    """Returns the chain after a leaf: 64 hex digits."""
    return hashlib.sha256((before + leaf).encode()).hexdigest()
