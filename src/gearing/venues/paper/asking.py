"""A venue that is asked by records: what the one in process and the one behind a socket have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

from gearing.errors import InputError
from gearing.venues.paper import requests as rq
from gearing.venues.protocol import (
    Forced,
    FundingPayment,
    InstrumentRules,
    OrderRequest,
    OrderStatus,
    Quote,
    Received,
    Report,
    Setting,
    Settled,
    Statement,
    Trade,
)

T = TypeVar("T")


class Stream(Generic[T]):
    """What one listener has not yet read; `broken` ends it once the rest is read."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[T | Exception] = asyncio.Queue()

    def put(self, item: T) -> None:
        """Adds an item."""
        self._queue.put_nowait(item)

    def broken(self, error: Exception) -> None:
        """Breaks the stream: its listener gets this error."""
        self._queue.put_nowait(error)

    async def items(self) -> AsyncIterator[T]:
        """Yields items as they come.

        Raises:
            Exception: the one that broke it.
        """
        while True:
            item = await self._queue.get()
            if isinstance(item, Exception):
                raise item
            yield item


class Asking(ABC):
    """One account at a paper exchange."""

    def __init__(self, account: str, visibility_delay_ms: int) -> None:
        if not (account.isascii() and account.isalnum()):
            raise InputError(f"{account!r} is no name of an account.", fix="Give letters and digits.")
        self.name = "paper"
        self.account = account
        self.visibility_delay_ms = visibility_delay_ms

    @abstractmethod
    async def ask(self, request: rq.Request) -> Any:
        """Asks the exchange.

        Raises:
            RefusedError: it said no.
            GatewayError, ConnectionError, TimeoutError: there was no answer.
        """

    @abstractmethod
    def quotes(self, symbols: list[str]) -> AsyncIterator[Quote]:
        """See `Venue`."""

    @abstractmethod
    def reports(self) -> AsyncIterator[Report]:
        """See `Venue`."""

    async def instruments(self) -> list[InstrumentRules]:
        """See `Venue`."""
        found: list[InstrumentRules] = await self.ask(rq.Instruments())
        return found

    async def place(self, order: OrderRequest) -> OrderStatus:
        """See `Venue`."""
        status: OrderStatus = await self.ask(rq.Place(order=order))
        return status

    async def cancel(self, client_id: str) -> None:
        """See `Venue`."""
        await self.ask(rq.Cancel(client_id=client_id))

    async def query(self, client_id: str) -> OrderStatus | None:
        """See `Venue`."""
        status: OrderStatus | None = await self.ask(rq.Query(client_id=client_id))
        return status

    async def fills(self, client_id: str) -> list[Trade]:
        """See `Venue`."""
        found: list[Trade] = await self.ask(rq.Fills(client_id=client_id))
        return found

    async def open_orders(self) -> list[OrderStatus]:
        """See `Venue`."""
        found: list[OrderStatus] = await self.ask(rq.OpenOrders())
        return found

    async def statement(self) -> Statement:
        """See `Venue`."""
        found: Statement = await self.ask(rq.GetStatement())
        return found

    async def funding_payments(self, since_ms: int) -> list[FundingPayment]:
        """See `Venue`."""
        found: list[FundingPayment] = await self.ask(rq.Payments(since_ms=since_ms))
        return found

    async def settlements(self, symbol: str, since_ms: int) -> list[Settled]:
        """See `Venue`."""
        found: list[Settled] = await self.ask(rq.Settlements(symbol=symbol, since_ms=since_ms))
        return found

    async def forced_trades(self, since_ms: int) -> list[Forced]:
        """See `Venue`."""
        found: list[Forced] = await self.ask(rq.ForcedTrades(since_ms=since_ms))
        return found

    async def received(self, since_ms: int) -> list[Received]:
        """See `Venue`."""
        found: list[Received] = await self.ask(rq.Unasked(since_ms=since_ms))
        return found

    async def setting(self, symbol: str) -> Setting:
        """See `Venue`."""
        found: Setting = await self.ask(rq.GetSetting(symbol=symbol))
        return found

    async def set_setting(self, symbol: str, setting: Setting) -> None:
        """See `Venue`."""
        await self.ask(rq.PutSetting(symbol=symbol, setting=setting))

    async def transfer(self, asset: str, amount: int, reference: str) -> None:
        """See `Venue`."""
        await self.ask(rq.Transfer(asset=asset, amount=amount, reference=reference))
