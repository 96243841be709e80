"""Attackers of the simulation: holders who try to take money that is not theirs, or to stop the desk."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from gearing.core.events import FeesHow
from gearing.core.holder import HolderState
from gearing.core.money import INT64_MAX, MINOR
from gearing.desk.requests import AskQuote, AtCounter, Cancel, Deal, HandOn, Merge, Pay, TakeFees, TakeQuote
from gearing.drive.crowds import OF_HOLDER_IN_TOKEN
from gearing.drive.driver import Driver
from gearing.venues.paper.venue import PaperVenue
from gearing.venues.protocol import OrderRequest, OrderStatus, RefusedError

NAMES = ("x1", "x2", "x3")
# So often an attack is a crowd of requests, which takes as long as twenty others.
_CROWDS = 0.06
_EDGE = (1, 7, INT64_MAX // 4, INT64_MAX // 4 + 1, INT64_MAX // 2, INT64_MAX - 1, INT64_MAX)


class Attackers:
    """What attackers send.

    Args:
        draw: theirs alone, so that the rest of a run is what it was without them.
        tokens: the symbols that they deal in.
    """

    def __init__(self, draw: random.Random, tokens: Sequence[str]) -> None:
        self._draw, self._tokens, self._count = draw, tokens, 0

    def commands(self, driver: Driver) -> Iterator[AtCounter | TakeFees | Merge]:
        """Yields the commands of one attack."""
        draw = self._draw
        token, (name, other) = draw.choice(self._tokens), draw.sample(NAMES, 2)
        holder = driver.primary.holders.get(name)
        state = HolderState() if holder is None else holder.state
        attacks = [self._at_bounds, self._dust, self._crossing_quotes, self._replayed, self._around]
        attack = self._crowd if draw.random() < _CROWDS else draw.choice(attacks)
        yield from attack(token, name, other, state)

    def _reference(self) -> str:
        self._count += 1
        return f"x{self._count}"

    def _pay(self, name: str, amount: int) -> Pay:
        return Pay(holder=name, asset="USDT", amount=amount, reference=self._reference(), by="x")

    def _at_bounds(self, token: str, name: str, other: str, state: HolderState) -> Iterator[Any]:
        """Sends amounts at the edge of what an account holds, to and fro, so that counter accounts grow."""
        edge = self._draw.choice(_EDGE)
        yield self._pay(name, edge)
        yield HandOn(holder=name, other=other, asset="USDT", amount=edge, reference=self._reference())
        yield self._pay(other, -edge)
        yield self._pay(name, edge)
        yield HandOn(holder=name, other=other, asset="USDT", amount=max(edge - 1, 1), reference=self._reference())
        yield Deal(holder=name, token=token, side="subscribe", amount=edge)
        yield HandOn(
            holder=name, other=other, token=token, amount=max(state.units(token), 1), reference=self._reference()
        )

    def _dust(self, token: str, name: str, other: str, state: HolderState) -> Iterator[Any]:
        """Redeems what is worth nothing, or next to it, and subscribes for the least there is."""
        yield self._pay(name, 5 * MINOR)
        yield Deal(holder=name, token=token, side="subscribe", amount=MINOR)
        for units in (1, 2, self._draw.randrange(1, 5_000)):
            yield Deal(holder=name, token=token, side="redeem", amount=min(units, max(state.units(token), 1)))
        yield Deal(holder="issuer", token=token, side="redeem", amount=self._draw.randrange(1, 100))

    def _crowd(self, token: str, name: str, other: str, state: HolderState) -> Iterator[Any]:
        """Asks for next to nothing, on both sides, more often than anybody may, and takes some of it back."""
        yield self._pay(name, 100 * MINOR)
        for _ in range(OF_HOLDER_IN_TOKEN // 2 + 2):
            yield Deal(holder=name, token=token, side="subscribe", amount=self._draw.choice([MINOR, MINOR + 1]))
            yield Deal(holder=name, token=token, side="redeem", amount=self._draw.randrange(1, MINOR))
            if self._draw.random() < 0.1:
                yield Cancel(holder=name, id=f"{name}.{state.accepted + self._draw.randrange(1, 9)}")

    def _crossing_quotes(self, token: str, name: str, other: str, state: HolderState) -> Iterator[Any]:
        """Asks for quotes both ways, and accepts the old and the fresh one."""
        yield self._pay(name, 30_000 * MINOR)
        yield AskQuote(holder=name, token=token, side="subscribe", amount=10_000 * MINOR)
        yield AskQuote(holder=name, token=token, side="redeem", amount=max(state.units(token), 1))
        number = 0 if state.quoted is UNSET else state.quoted
        for last in (number, number + 1, number + 2):
            yield TakeQuote(holder=name, id=f"{name}.q{last}")

    def _replayed(self, token: str, name: str, other: str, state: HolderState) -> Iterator[Any]:
        """Sends the same again, and takes back what was never there."""
        paid = self._pay(name, 1_000 * MINOR)
        yield from (paid, paid)
        yield Deal(holder=name, token=token, side="subscribe", amount=900 * MINOR)
        for last in (state.accepted, state.accepted + 1, state.accepted + 1):
            yield Cancel(holder=name, id=f"{name}.{last}")
        yield HandOn(holder=name, other=name, asset="USDT", amount=1, reference="self")

    def _around(self, token: str, name: str, other: str, state: HolderState) -> Iterator[Any]:
        """Comes and goes at once, and has fees taken and units merged in between."""
        yield self._pay(name, 50_000 * MINOR)
        yield Deal(holder=name, token=token, side="subscribe", amount=20_000 * MINOR)
        yield Deal(holder=name, token=token, side="redeem", amount=max(state.units(token), 1), instant=True)
        ways: tuple[FeesHow, ...] = ("cash", "units", "burn")
        how = self._draw.choice(ways)
        yield TakeFees(token=token, amount=0, how=how, by="x", reason="attack")
        if self._draw.random() < 0.1:
            yield Merge(token=token, factor=self._draw.choice([2.0, 10.0, 1e6]), by="x", reason="attack")


class RefusingVenue(PaperVenue):
    """A venue that refuses every order of some instruments, as one does that halts them.

    Attributes:
        refused: the instruments.
    """

    refused: frozenset[str] = frozenset()

    async def place(self, order: OrderRequest) -> OrderStatus:
        """See `Venue`."""
        if order.symbol in self.refused:
            raise RefusedError("halted", f"{order.symbol} is halted")
        return await super().place(order)
