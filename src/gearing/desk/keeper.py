"""What the desk asks of durability: one call that returns when everything in it is safe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gearing.drive.effects import Effects
from gearing.drive.outbox import Row


class Answer(NamedTuple):
    """What a request in the inbox came to."""

    number: int
    body: bytes


class Keeper(Protocol):
    """A store as the desk sees it."""

    async def keep(self, effects: Effects, rows: Sequence[Row], answers: Sequence[Answer] = ()) -> None:
        """Makes lines, states, published NAVs, outbox rows and answers durable, all or none, in the order of calls.

        Raises:
            Exception: nothing of it is durable; the desk starts anew from what is.
        """
        ...
