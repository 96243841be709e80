"""The requests that wait for a token, in the order of their turns."""

from __future__ import annotations

from typing import NamedTuple

from gearing.drive.undo import Restorable


class Accepted(NamedTuple):
    """A request that was accepted: its name, and its place among those of its token that wait, from 1."""

    id: str
    place: int


class Waiting(NamedTuple):
    """A request in a token's queue: its place among all requests of the desk, and whose it is."""

    turn: int
    holder: str


class RequestQueue(Restorable):
    """The requests that wait for one token, in the order of their turns.

    Attributes:
        waiting: by request id; changed in place, through the driver's undo log.
        money: that its subscriptions set aside, minor units.
    """

    __slots__ = ("money", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[str, Waiting] = {}
        self.money = 0

    def sort(self) -> None:
        """Puts the requests back in order, after some were added out of turn."""
        by_turn = sorted(self.waiting.items(), key=lambda item: item[1].turn)
        self.waiting.clear()
        self.waiting.update(by_turn)


class Turns(Restorable):
    """The last turn that was given to a request; and how many mergers of units there have been since the desk began."""

    __slots__ = ("mergers", "turn")

    def __init__(self) -> None:
        self.turn = self.mergers = 0
