"""A paper exchange in the desk's own process, whose time goes on with the desk's clock."""

from __future__ import annotations

import asyncio
from typing import Any

from gearing.desk.clock import Clock
from gearing.venues.paper import requests as rq
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.venue import Hub


class PumpedHub(Hub):
    """A hub that lets what is on its way arrive in time, without being asked.

    Args:
        exchange: the exchange.
        clock: the market's time.
    """

    def __init__(self, exchange: PaperExchange, clock: Clock) -> None:
        super().__init__(exchange, clock.now_ms)
        self._desk_clock = clock
        self._sent = asyncio.Event()

    async def ask(self, account: str, request: rq.Request) -> Any:
        """See `Hub`."""
        self._sent.set()
        return await super().ask(account, request)

    def control(self, request: rq.Control) -> None:
        """See `Hub`."""
        super().control(request)
        self._sent.set()

    async def pump(self) -> None:
        """Runs until it is cancelled."""
        while True:
            self._sent.clear()
            due_ms = self.exchange.next_ms
            if due_ms is None:
                await self._sent.wait()
            else:
                await self._desk_clock.sleep_or(self._sent, due_ms - self._desk_clock.now_ms())
            super().control(rq.Advance(now_ms=self._desk_clock.now_ms()))
