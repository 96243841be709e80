"""The line of a journal: one event with what it booked, chained to the line before by its hash.

A line is canonical JSON, so that an exported file is byte for byte what was hashed. Its hash is
SHA-256 of the hash before it, a line feed, and the body; a stream's first line follows on `GENESIS`.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core.events import TokenEvent
from gearing.core.ledger import Entry
from gearing.core.state import TokenState

GENESIS = "0" * 64

_encoder = msgspec.json.Encoder(order="deterministic")


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """The command that a line comes from; the first line that it causes carries it.

    Args:
        key: SHA-256 of the sender and the sender's key, 64 hex digits.
        body: SHA-256 of what was asked.
        reference: SHA-256 of holder, kind and the payer's reference, where there is one; it counts once for ever.
    """

    key: str
    body: str
    reference: str | UnsetType = UNSET


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a token's journal.

    Args:
        stream: such as "token:BTC3L".
        seq: counted from 1 in its stream.
        time_ms: when it happened, ms UTC.
        behaviour: the number of `step` that made it; another one's results are not worked out again.
        event: what happened.
        entry: what was booked, debits positive, minor units.
        nav: after the event, minor units per whole unit.
        units: outstanding after it, in 1e-8 of a unit.
        state: hash of the state after it.
        cause: the command that it is the first line of; unset: it comes from none, or is not the first.
    """

    stream: str
    seq: int
    time_ms: int
    behaviour: int
    event: TokenEvent
    entry: Entry
    nav: int
    units: int
    state: str
    cause: Cause | UnsetType = UNSET


def body_of(line: msgspec.Struct) -> bytes:
    """Returns a line as the bytes that are hashed."""
    return _encoder.encode(line)


def hash_of(before: str, body: bytes) -> str:
    """Returns the hash of a line: 64 hex digits."""
    return hashlib.sha256(before.encode() + b"\n" + body).hexdigest()


def export_line(n: int, own: str, before: str, body: bytes) -> bytes:
    """Returns a line as exported files have it, with its line feed.

    Args:
        n: its number over all streams.
        own, before: its hash, and that of the line before it in its stream.
        body: the bytes that were hashed.
    """
    return b'{"n":%d,"hash":"%b","prev":"%b","body":%b}\n' % (n, own.encode(), before.encode(), body)


def state_body(state: msgspec.Struct) -> bytes:
    """Returns a state as the bytes that its projection keeps and its hash is of."""
    return _encoder.encode(state)


def state_hash(body: bytes) -> str:
    """Returns the hash of a state: 32 hex digits."""
    return hashlib.sha256(body).hexdigest()[:32]


def line_of(body: bytes) -> Line:
    """Returns the line that a body is.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decode_line(body)


def state_of(body: bytes) -> TokenState:
    """Returns the state that a projection holds.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _decode_state(body)


_decode_line = msgspec.json.Decoder(Line).decode
_decode_state = msgspec.json.Decoder(TokenState).decode
