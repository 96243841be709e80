"""What goes over the socket: frames of four bytes of length and a msgpack body."""

from __future__ import annotations

import asyncio
import struct

import msgspec

from gearing.venues.paper.requests import Control, Request
from gearing.venues.protocol import Quote, Report

_LENGTH = struct.Struct(">I")
FRAME_MAX = 2**24


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame"):
    """A frozen frame."""


class Ask(_Frame, frozen=True, kw_only=True, tag="ask"):
    """A request of an account; `now_ms` is the asking side's time, 0: it has none."""

    number: int
    account: str
    request: Request
    now_ms: int = 0


class Steer(_Frame, frozen=True, kw_only=True, tag="steer"):
    """Prices, time or a change of what is listed."""

    number: int
    request: Control


class Listen(_Frame, frozen=True, kw_only=True, tag="listen"):
    """From now on reports of an account (empty: none) and prices of some symbols are sent."""

    number: int
    account: str = ""
    symbols: tuple[str, ...] = ()


class Answered(_Frame, frozen=True, kw_only=True, tag="answered"):
    """The answer; refused where `code` is not empty, a gateway's where `status` is not 0."""

    number: int
    value: msgspec.Raw = msgspec.Raw(b"\xc0")
    code: str = ""
    words: str = ""
    status: int = 0


class Reported(_Frame, frozen=True, kw_only=True, tag="reported"):
    """A report."""

    kind: str
    report: msgspec.Raw


class Published(_Frame, frozen=True, kw_only=True, tag="published"):
    """A price."""

    quote: Quote


Sent = Ask | Steer | Listen
Back = Answered | Reported | Published

encode = msgspec.msgpack.Encoder().encode
decode_sent = msgspec.msgpack.Decoder(Sent).decode
decode_back = msgspec.msgpack.Decoder(Back).decode


def framed(frame: Sent | Back) -> bytes:
    """Returns a frame as the bytes that are sent."""
    body = encode(frame)
    return _LENGTH.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Returns the body of the next frame.

    Raises:
        asyncio.IncompleteReadError: the other side closed the connection.
        ConnectionError: it is no frame.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > FRAME_MAX:
        raise ConnectionError(f"a frame of {length} bytes")
    return await reader.readexactly(length)


def reported(report: Report) -> Reported:
    """Returns a report as a frame."""
    return Reported(kind=type(report).__name__, report=msgspec.Raw(encode(report)))
