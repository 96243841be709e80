"""A guard."""

from __future__ import annotations

from typing import NamedTuple


class Guard(NamedTuple):
    """One guard.

    Args:
        name: the promise it keeps, by its number where it has one.
        file: where it stands, below the package.
        old: its text, which stands there once.
        new: what is put in place of that.
        test: the test, or the tests, that its removal must fail: below `tests`, without the `.py`.
    """

    name: str
    file: str
    old: str
    new: str
    test: str
