"""The paper exchange as a process of its own, behind a Unix socket."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import msgspec

from gearing.errors import InputError
from gearing.venues.paper import frames
from gearing.venues.paper import requests as rq
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.wire import Answer, Told
from gearing.venues.protocol import GatewayError, RefusedError


class _Connection:
    """One client: whom it listens to, and where its answers go."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.account = ""
        self.symbols: frozenset[str] = frozenset()

    def send(self, frame: frames.Back) -> None:
        """Sends a frame, if the client is still there."""
        if not self.writer.is_closing():
            self.writer.write(frames.framed(frame))


class Server:
    """Serves a paper exchange. Requests that come together share one commit.

    Args:
        exchange: the exchange.
    """

    def __init__(self, exchange: PaperExchange) -> None:
        self._exchange = exchange
        self._connections: set[_Connection] = set()
        self._asked: dict[int, tuple[_Connection, int]] = {}
        self._done: list[tuple[_Connection, frames.Answered]] = []
        self._flush_waits = False
        self._broken: asyncio.Future[None] | None = None

    async def serve(self, socket: Path) -> None:
        """Serves until it is cancelled; "ready" on stdout says that it listens.

        Raises:
            InputError: another kind of file has the socket's name.
            sqlite3.Error: the file could not be written; what was not made durable was told to nobody.
        """
        self._broken = asyncio.get_running_loop().create_future()
        if socket.is_socket():
            socket.unlink()  # of a server that was killed
        elif os.path.lexists(socket):
            raise InputError("this file is not a socket.", where=str(socket), fix="Give another name.")
        server = await asyncio.start_unix_server(self._client, path=socket)
        print("ready", flush=True)
        async with server:
            await self._broken

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            while True:
                self._take(connection, frames.decode_sent(await frames.read_frame(reader)))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            pass  # the client is gone, or speaks something else; what it asked for stands
        finally:
            self._connections.discard(connection)
            writer.close()

    def _take(self, connection: _Connection, frame: frames.Sent) -> None:
        match frame:
            case frames.Ask():
                if frame.now_ms:
                    self._exchange.control(rq.Advance(now_ms=frame.now_ms))
                self._asked[self._exchange.send(frame.account, frame.request)] = connection, frame.number
            case frames.Steer():
                self._done.append((connection, self._steered(frame)))
            case frames.Listen():
                connection.account, connection.symbols = frame.account, frozenset(frame.symbols)
                self._done.append((connection, frames.Answered(number=frame.number)))
        if not self._flush_waits:
            self._flush_waits = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _steered(self, frame: frames.Steer) -> frames.Answered:
        try:
            self._exchange.control(frame.request)
        except (RefusedError, ValueError) as error:
            code = error.code if isinstance(error, RefusedError) else "value"
            return frames.Answered(number=frame.number, code=code, words=str(error))
        return frames.Answered(number=frame.number)

    def _flush(self) -> None:
        """Carries out what came, commits, and only then tells."""
        self._flush_waits = False
        self._exchange.run()
        try:
            out = self._exchange.taken()
        except sqlite3.Error as error:
            if self._broken is not None and not self._broken.done():
                self._broken.set_exception(error)
            return
        done, self._done = self._done, []
        for item in out:
            if isinstance(item, Answer):
                self._answer(item)
            elif isinstance(item, Told):
                for connection in self._listeners():
                    if connection.account == item.account:
                        connection.send(frames.reported(item.report))
            else:
                for connection in self._listeners():
                    if item.symbol in connection.symbols:
                        connection.send(frames.Published(quote=item))
        for connection, answered in done:
            connection.send(answered)

    def _listeners(self) -> list[_Connection]:
        return [connection for connection in self._connections if connection.account or connection.symbols]

    def _answer(self, item: Answer) -> None:
        connection, number = self._asked.pop(item.call)
        match item.error:
            case None:
                value = msgspec.Raw(frames.encode(item.value))
                connection.send(frames.Answered(number=number, value=value))
            case RefusedError() as refused:
                connection.send(frames.Answered(number=number, code=refused.code, words=str(refused)))
            case GatewayError(status=status):
                connection.send(frames.Answered(number=number, status=status))
            case ConnectionError():
                connection.writer.close()
            case _:
                pass  # a lost answer: the client's own patience ends it
