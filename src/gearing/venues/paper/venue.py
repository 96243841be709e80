"""The paper exchange in the caller's own process, as a venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from gearing.venues.paper import requests as rq
from gearing.venues.paper.asking import Asking, Stream
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.wire import Answer, Told
from gearing.venues.protocol import Quote, Report


class Hub:
    """A paper exchange and who listens to it, within one event loop.

    Args:
        exchange: the exchange.
        clock: its time goes on to this at every request, ms; None: it goes on only by `control`.
    """

    def __init__(self, exchange: PaperExchange, clock: Callable[[], int] | None = None) -> None:
        self.exchange = exchange
        self._clock = clock
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._reports: list[tuple[str, Stream[Report]]] = []
        self._quotes: list[tuple[frozenset[str], Stream[Quote]]] = []

    async def ask(self, account: str, request: rq.Request) -> Any:
        """Asks the exchange; with latency the answer comes when its time has gone on far enough."""
        if self._clock is not None:
            self.exchange.control(rq.Advance(now_ms=self._clock()))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[self.exchange.send(account, request)] = future
        self.exchange.run()
        self._hand_out()
        return await future

    def control(self, request: rq.Control) -> None:
        """Gives the exchange prices, time or a change of what it lists."""
        self.exchange.control(request)
        self._hand_out()

    async def reports(self, account: str) -> AsyncIterator[Report]:
        """Yields the reports of an account from now on."""
        entry = (account, Stream[Report]())
        self._reports.append(entry)
        try:
            async for report in entry[1].items():
                yield report
        finally:
            self._reports.remove(entry)

    async def quotes(self, symbols: frozenset[str]) -> AsyncIterator[Quote]:
        """Yields the published prices of some symbols from now on."""
        entry = (symbols, Stream[Quote]())
        self._quotes.append(entry)
        try:
            async for quote in entry[1].items():
                yield quote
        finally:
            self._quotes.remove(entry)

    def break_streams(self) -> None:
        """Breaks every stream, as a lost connection does."""
        for _, reports in self._reports:
            reports.broken(ConnectionError("the connection broke"))
        for _, quotes in self._quotes:
            quotes.broken(ConnectionError("the connection broke"))

    def _hand_out(self) -> None:
        for item in self.exchange.taken():
            if isinstance(item, Answer):
                future = self._asked.pop(item.call)
                if future.done():
                    continue
                if item.error is None:
                    future.set_result(item.value)
                else:
                    future.set_exception(item.error)
            elif isinstance(item, Told):
                for account, reports in self._reports:
                    if account == item.account:
                        reports.put(item.report)
            else:
                for symbols, quotes in self._quotes:
                    if item.symbol in symbols:
                        quotes.put(item)


class PaperVenue(Asking):
    """One account at a paper exchange in this process.

    Args:
        hub: the exchange.
        account: the account's name.
    """

    def __init__(self, hub: Hub, account: str = "main") -> None:
        super().__init__(account, hub.exchange.visibility_ms)
        self._hub = hub

    async def ask(self, request: rq.Request) -> Any:
        """See `Asking`."""
        return await self._hub.ask(self.account, request)

    def quotes(self, symbols: list[str]) -> AsyncIterator[Quote]:
        """See `Venue`."""
        return self._hub.quotes(frozenset(symbols))

    def reports(self) -> AsyncIterator[Report]:
        """See `Venue`."""
        return self._hub.reports(self.account)
