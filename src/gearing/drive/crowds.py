"""How many requests may wait: so that nobody takes all the time there is, and no state grows without bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

from gearing.core.holder import omnibus_of, together

CROWDED_TOKEN, QUOTE_EXPIRED = "waiting_in_token", "quote_expired"
OF_HOLDER_IN_TOKEN, OF_HOLDER, OF_OMNIBUS_IN_TOKEN, OF_TOKEN = 32, 256, 5_000, 10_000


class Rejection(str):
    """Why something is rejected, in words; programs know it by its code."""

    code: str

    def __new__(cls, words: str, code: str) -> Self:
        """Makes one.

        Args:
            words: for people.
            code: for programs.
        """
        made = super().__new__(cls, words)
        made.code = code
        return made


class Crowd(NamedTuple):
    """Requests that are counted together.

    Args:
        key: of the count: whose, and in which token; empty: anybody's, in any.
        most: that may wait.
        code: of the rejection.
        whose: of whom and where, in words.
    """

    key: tuple[str, str]
    most: int
    code: str
    whose: str


def crowds_of(name: str, token: str) -> Iterator[Crowd]:
    """Yields the crowds that a holder's request in a token belongs to, the smallest first."""
    omnibus = omnibus_of(name) or name
    yield Crowd((name, token), OF_HOLDER_IN_TOKEN, "waiting_of_holder_in_token", f"of {name} in {token}")
    yield Crowd((name, ""), OF_HOLDER, "waiting_of_holder", f"of {name}")
    yield Crowd((together(omnibus), token), OF_OMNIBUS_IN_TOKEN, "waiting_of_omnibus_in_token",
                f"of {omnibus} and its sub-holders in {token}")  # fmt: skip
    yield Crowd(("", token), OF_TOKEN, CROWDED_TOKEN, f"in {token}")


def why_crowded(counts: Mapping[tuple[str, str], int], name: str, token: str) -> Rejection | None:
    """Returns why one more request is not taken; None: it is."""
    for crowd in crowds_of(name, token):
        if counts.get(crowd.key, 0) >= crowd.most:
            words = (
                f"{crowd.most:,} requests {crowd.whose} wait already, and no more may; ask again once some were dealt"
            )
            return Rejection(words, crowd.code)
    return None
