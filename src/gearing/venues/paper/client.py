"""A paper exchange in another process, as a venue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from gearing.venues.paper import frames
from gearing.venues.paper import requests as rq
from gearing.venues.paper.asking import Asking, Stream
from gearing.venues.protocol import (
    Forced,
    FundingPayment,
    GatewayError,
    OrderStatus,
    Quote,
    RefusedError,
    Report,
    Trade,
)

_REPORTS: dict[str, type] = {kind.__name__: kind for kind in (OrderStatus, Trade, Forced, FundingPayment)}


class PaperClient(Asking):
    """One account at a paper exchange behind a Unix socket; it connects when asked, and again after a break.

    Args:
        socket: where the exchange listens.
        account: the account's name.
        timeout_s: patience with an answer, in seconds of the clock on the wall.
        visibility_delay_ms: the exchange's.
        clock: tells the exchange the time with every request, ms; None: it goes on only by `control`.
    """

    def __init__(
        self, socket: str | Path, account: str = "main", *, timeout_s: float = 5.0, visibility_delay_ms: int = 1_000,
        clock: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(account, visibility_delay_ms)
        self._socket, self._timeout_s, self._clock = Path(socket), timeout_s, clock
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[frames.Answered]] = {}
        self._number = 0
        self._reports: list[Stream[Report]] = []
        self._quotes: list[tuple[frozenset[str], Stream[Quote]]] = []

    async def ask(self, request: rq.Request) -> Any:
        """See `Asking`."""
        now_ms = 0 if self._clock is None else self._clock()
        answered = await self._exchange(
            lambda number: frames.Ask(number=number, account=self.account, request=request, now_ms=now_ms)
        )
        return msgspec.msgpack.decode(answered.value, type=rq.ANSWERS[type(request)])

    async def control(self, request: rq.Control) -> None:
        """Gives the exchange prices, time or a change of what it lists.

        Raises:
            RefusedError: it cannot be.
            ConnectionError, TimeoutError: there was no answer.
        """
        await self._exchange(lambda number: frames.Steer(number=number, request=request))

    async def quotes(self, symbols: list[str]) -> AsyncIterator[Quote]:
        """See `Venue`."""
        entry = (frozenset(symbols), Stream[Quote]())
        self._quotes.append(entry)
        try:
            await self._listen()
            async for quote in entry[1].items():
                yield quote
        finally:
            self._quotes.remove(entry)

    async def reports(self) -> AsyncIterator[Report]:
        """See `Venue`."""
        stream = Stream[Report]()
        self._reports.append(stream)
        try:
            await self._listen()
            async for report in stream.items():
                yield report
        finally:
            self._reports.remove(stream)

    async def close(self) -> None:
        """Closes the connection."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _listen(self) -> None:
        symbols = sorted({symbol for wanted, _ in self._quotes for symbol in wanted})
        account = self.account if self._reports else ""
        await self._exchange(lambda number: frames.Listen(number=number, account=account, symbols=tuple(symbols)))

    async def _exchange(self, make: Callable[[int], frames.Sent]) -> frames.Answered:
        """Sends a frame and returns its answer; never guesses what became of one that was not answered."""
        self._number += 1
        number = self._number
        future: asyncio.Future[frames.Answered] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(self._timeout_s):
            writer = await self._connected()
            self._asked[number] = future
            try:
                writer.write(frames.framed(make(number)))
                answered = await future
            finally:
                self._asked.pop(number, None)
        if answered.code:
            raise RefusedError(answered.code, answered.words)
        if answered.status:
            raise GatewayError(answered.status)
        return answered

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None:
                reader, self._writer = await asyncio.open_unix_connection(self._socket)
                self._reading = asyncio.create_task(self._read(reader, self._writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self._take(frames.decode_back(await frames.read_frame(reader)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writer = None
            writer.close()
            for future in self._asked.values():
                if not future.done():
                    future.set_exception(ConnectionError("the connection to the paper exchange broke"))
            for reports in self._reports:
                reports.broken(ConnectionError("the connection to the paper exchange broke"))
            for _, quotes in self._quotes:
                quotes.broken(ConnectionError("the connection to the paper exchange broke"))

    def _take(self, frame: frames.Back) -> None:
        match frame:
            case frames.Answered():
                future = self._asked.get(frame.number)
                if future is not None and not future.done():
                    future.set_result(frame)
            case frames.Reported():
                report: Report = msgspec.msgpack.decode(frame.report, type=_REPORTS[frame.kind])
                for stream in self._reports:
                    stream.put(report)
            case frames.Published(quote=quote):
                for symbols, quotes in self._quotes:
                    if quote.symbol in symbols:
                        quotes.put(quote)
