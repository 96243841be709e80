"""The requests that wait for a token, in the order of their turns."""

from __future__ import annotations

from typing import NamedTuple

from gearing.core.dealing import Side
from gearing.core.holder import Request
from gearing.core.record import DAY_MS
from gearing.drive.undo import Restorable


class Accepted(NamedTuple):
    """A request that was accepted: its name, and its place among those of its token and side that wait, from 1."""

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
        money: that its subscriptions set aside, and that its redemptions were worth when accepted; minor units.
        counted: what of a side counts against the caps of a day, by side and day; minor units.
    """

    __slots__ = ("counted", "money", "numbers", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[str, Waiting] = {}
        self.money: dict[Side, int] = {"subscribe": 0, "redeem": 0}
        self.counted: dict[tuple[Side, int], int] = {}
        self.numbers: dict[Side, int] = {"subscribe": 0, "redeem": 0}

    @property
    def sides(self) -> list[Side]:
        """The sides of which anything waits."""
        return [side for side, number in self.numbers.items() if number]

    def count(self, request: Request, sign: int) -> None:
        """Counts the money of a request that comes, +1, or goes, −1."""
        self.numbers = {**self.numbers, request.side: self.numbers[request.side] + sign}
        counts = request.money or 0
        money = request.amount if request.side == "subscribe" else counts
        self.money = {**self.money, request.side: self.money[request.side] + sign * money}
        day = request.side, request.accepted_ms // DAY_MS
        left = self.counted.get(day, 0) + sign * counts
        self.counted = {
            **{one: sum_ for one, sum_ in self.counted.items() if one != day},
            **({day: left} if left else {}),
        }

    def sort(self) -> None:
        """Puts the requests back in order, after some were added out of turn."""
        by_turn = sorted(self.waiting.items(), key=lambda item: item[1].turn)
        self.waiting.clear()
        self.waiting.update(by_turn)


class Turns(Restorable):
    """The last turn that was given to a request, and how many mergers of units there have been.

    Mergers are counted since the desk began; if something waited for it by then, since the journal began.
    """

    __slots__ = ("mergers", "turn")

    def __init__(self) -> None:
        self.turn = self.mergers = 0
