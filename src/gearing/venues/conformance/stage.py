"""Where the cards are played: a venue, an instrument, a way to let time pass; and what the cards have in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from itertools import count
from typing import Literal, NamedTuple, NoReturn, TypeVar

from gearing.venues.protocol import (
    InstrumentRules,
    OrderRequest,
    OrderStatus,
    Quote,
    RefusedError,
    Statement,
    Trade,
    Venue,
)

_POLL_MS, _POLLS_MAX = 200, 100

# So long the event loop is given for what is on its way to a listener.
_BREATH_S = 0.01

T = TypeVar("T")


class CardFailedError(Exception):
    """The venue does not do what the card asks for."""


class NotApplicableError(Exception):
    """The card asks for what this venue, or this account, has not got."""


class Verdict(NamedTuple):
    """What a card found: words say why, where it did not pass."""

    number: str
    title: str
    outcome: Literal["passed", "failed", "not applicable"]
    words: str


class Stage:
    """A venue made ready for the cards: an account that is flat, with money, and nobody else on it.

    Args:
        venue: the venue.
        symbol: the instrument that is traded.
        lots: of an ordinary order, above its least notional twice.
        now_ms: the venue's time.
        wait: lets so many ms of the venue's time pass; prices come meanwhile.
        settle: makes a settlement of funding happen; None: it comes when it comes, and the card is left out.
        give: lets somebody send so many minor units of the settlement currency into the account; None likewise.
        prefix: of the client ids, different for each run.
    """

    def __init__(
        self, venue: Venue, symbol: str, lots: int, *, now_ms: Callable[[], int],
        wait: Callable[[int], Awaitable[None]], settle: Callable[[], Awaitable[None]] | None = None,
        give: Callable[[int], Awaitable[None]] | None = None, prefix: str = "card",
    ) -> None:  # fmt: skip
        self.venue, self.symbol, self.lots = venue, symbol, lots
        self.now_ms, self.wait, self.settle, self.give = now_ms, wait, settle, give
        self._prefix, self._count = prefix, count(1)

    def client_id(self) -> str:
        """Returns a client id that was not used before."""
        return f"{self._prefix}{next(self._count)}"

    def order(
        self, lots: int, *, reduce_only: bool = False, worst_price: float | None = None, symbol: str = "",
        client_id: str = "",
    ) -> OrderRequest:  # fmt: skip
        """Returns an order that is signed now."""
        return OrderRequest(
            client_id=client_id or self.client_id(), symbol=symbol or self.symbol, lots=lots, reduce_only=reduce_only,
            worst_price=worst_price, signed_ms=self.now_ms(),
        )  # fmt: skip

    async def rules(self) -> InstrumentRules:
        """Returns the instrument's rules."""
        for rules in await self.venue.instruments():
            if rules.symbol == self.symbol:
                return rules
        failed(f"{self.symbol} is not among the instruments")

    async def asset(self) -> str:
        """Returns what the instrument settles in."""
        return (await self.rules()).asset

    async def ended(self, client_id: str) -> OrderStatus:
        """Waits for an order to end and returns its last status."""
        for _ in range(_POLLS_MAX):
            status = await self.venue.query(client_id)
            if status is not None and status.word != "open":
                return status
            await self.wait(_POLL_MS)
        failed(f"order {client_id} did not end within {_POLLS_MAX * _POLL_MS} ms")

    async def traded(self, lots: int, *, reduce_only: bool = False) -> tuple[OrderStatus, list[Trade]]:
        """Places an order, waits for its end, and returns its last status and its fills."""
        order = self.order(lots, reduce_only=reduce_only)
        await self.venue.place(order)
        status = await self.ended(order.client_id)
        return status, await self.venue.fills(order.client_id)

    async def held(self) -> int:
        """Returns the position."""
        return (await self.venue.statement()).positions.get(self.symbol, 0)

    async def flatten(self) -> None:
        """Closes the position."""
        for _ in range(_POLLS_MAX):
            held = await self.held()
            if held == 0:
                return
            await self.traded(-held, reduce_only=True)
        failed("the position cannot be closed")

    async def refusal(self, order: OrderRequest, why: str) -> RefusedError:
        """Places an order that has to be refused, and returns the refusal."""
        try:
            await self.venue.place(order)
        except RefusedError as refused:
            return refused
        failed(f"an order {why} was accepted")

    async def price(self) -> Quote:
        """Returns the next price."""
        async with collected(self.venue.quotes([self.symbol])) as quotes:
            for _ in range(_POLLS_MAX):
                await self.wait(_POLL_MS)
                await asyncio.sleep(_BREATH_S)
                if quotes:
                    return quotes[-1]
        failed("no price came")


@contextlib.asynccontextmanager
async def collected(stream: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    """Collects what a stream yields while the block runs."""
    items: list[T] = []

    async def read() -> None:
        async for item in stream:
            items.append(item)  # noqa: PERF401 what came before a break is kept

    task = asyncio.create_task(read())
    await asyncio.sleep(_BREATH_S)  # the listener has to be there before the venue speaks
    try:
        yield items
    finally:
        await asyncio.sleep(_BREATH_S)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def failed(words: str) -> NoReturn:
    """Says that the venue failed the card."""
    raise CardFailedError(words)


def expect(holds: bool, words: str) -> None:
    """Fails the card unless something holds."""
    if not holds:
        raise CardFailedError(words)


def notional(lots: int, rules: InstrumentRules, price: float) -> Decimal:
    """Returns the exact value of lots at a price."""
    return lots * Decimal(rules.lot) * Decimal(repr(price))


def wallet_of(statement: Statement, asset: str) -> int:
    """Returns the wallet of an asset."""
    return statement.wallet.get(asset, 0)
