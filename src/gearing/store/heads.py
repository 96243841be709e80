"""Signed heads: what a journal was at a moment, in records that can be kept and checked away from its database.

A head says of which database it is, where its journal ended (n and chain, see `core.anchor`), and when. Its signature
is Ed25519 over the record's JSON, byte for byte as it is written. The heads file has one such record on each line and
only grows; a restored database continues an older state only after a signed `RestoreRecord` in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from gearing.core.anchor import START, ChainPoint
from gearing.errors import InputError
from gearing.outputs import write_error
from gearing.store.keys import SigningKey, is_signed
from gearing.store.records import HeadRow

# So much of a file is read at once, backwards, to find where its last line begins.
_PIECE = 65_536


class HeadRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="format", tag="gearing.head/1"):
    """Where a journal ended.

    Args:
        database: the database's id.
        incarnation: which incarnation of it.
        n, chain: number of the last line, and the chain up to it.
        time_ms: the market's time of the NAV that was published with it, ms UTC.
        key: the public key, 64 hex digits.
    """

    database: str
    incarnation: str
    n: int
    chain: str
    time_ms: int
    key: str

    @property
    def point(self) -> ChainPoint:
        """Which line it is of, and the chain up to it."""
        return ChainPoint(self.n, self.chain)


class RestoreRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="format", tag="gearing.restore/1"):
    """An older state of a database goes on, because a person decided it.

    Args:
        database: the database's id, which a restore keeps.
        incarnation: that of the restored database.
        n, chain: where the backup's journal ended, which is continued.
        left_n, left_chain: the last head before, which is given up; 0 and `GENESIS` if none was known.
        by, reason: who restored it, and why.
        time_ms: when, ms UTC.
        key: the public key, 64 hex digits.
    """

    database: str
    incarnation: str
    n: int
    chain: str
    left_n: int
    left_chain: str
    by: str
    reason: str
    time_ms: int
    key: str

    @property
    def point(self) -> ChainPoint:
        """Which line it goes on after, and the chain up to it."""
        return ChainPoint(self.n, self.chain)


AnchorRecord = HeadRecord | RestoreRecord


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    record: msgspec.Raw
    signature: str


class SignedRecord(NamedTuple):
    """A record, the bytes of it that were signed, and the signature (128 hex digits)."""

    record: AnchorRecord
    body: bytes
    signature: str

    @property
    def is_signed(self) -> bool:
        """Whether the signature was made with the key that the record names."""
        return is_signed(self.body, self.signature, self.record.key)

    @property
    def line(self) -> bytes:
        """Its line in a heads file and in an export, with the line feed."""
        return b'{"record":%b,"signature":"%b"}\n' % (self.body, self.signature.encode())

    @property
    def row(self) -> HeadRow:
        """Its row in the table of heads."""
        return HeadRow(self.record.n, self.record.time_ms, self.body, self.signature)


# What reading a record raises: it is no JSON, nested too deeply, or something else.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_encode = msgspec.json.Encoder(order="deterministic").encode
_record_of = msgspec.json.Decoder(AnchorRecord).decode
_entry_of = msgspec.json.Decoder(_Entry).decode


def signed(record: AnchorRecord, key: SigningKey) -> SignedRecord:
    """Returns a record with its signature."""
    body = _encode(record)
    return SignedRecord(record, body, key.sign(body))


def signed_row(row: HeadRow) -> SignedRecord:
    """Returns the head that a row holds; its signature is not checked.

    Raises:
        msgspec.MsgspecError: the row does not hold a record.
    """
    return SignedRecord(_record_of(row.body), row.body, row.signature)


def signed_line(line: bytes) -> SignedRecord:
    """Returns the record that a line of a heads file holds; its signature is not checked.

    Raises:
        msgspec.MsgspecError: the line does not hold a record.
    """
    entry = _entry_of(line)
    return SignedRecord(_record_of(entry.record), bytes(entry.record), entry.signature)


class Furthest:
    """The record of the latest line in the newest incarnation, among records that are taken in their file's order.

    What comes last decides nothing: a genuine old record can be appended again, so an incarnation is as new as its
    first record. Only a restore that gives up the furthest record before it begins one; any other is of another file.

    Attributes:
        found: it; None: none was taken.
        begun: the incarnations, the oldest first.
    """

    def __init__(self) -> None:
        self.found: SignedRecord | None = None
        self.begun: dict[str, None] = {}

    @property
    def point(self) -> ChainPoint:
        """Which line it is of, and the chain up to it; of none, the start."""
        return START if self.found is None else self.found.record.point

    def take(self, one: SignedRecord) -> bool:
        """Takes the next record; returns whether an incarnation begins with it."""
        record = one.record
        begins = record.incarnation not in self.begun
        goes_on = isinstance(record, RestoreRecord) and (record.left_n, record.left_chain) == self.point
        if begins and self.found is not None and not goes_on:
            return False
        self.begun[record.incarnation] = None
        last = None if self.found is None else self.found.record
        if begins or last is None or (record.incarnation == last.incarnation and record.n > last.n):
            self.found = one
        return begins


class Known(NamedTuple):
    """What a heads file knows.

    Args:
        own: the furthest record that names the desk's key.
        whoever: the furthest record, whichever key it names.
        keys: all keys that are named.
    """

    own: SignedRecord | None
    whoever: SignedRecord | None
    keys: frozenset[str]

    @property
    def binding(self) -> SignedRecord | None:
        """The one that a journal must contain: the desk's own; if there is none, whoever's."""
        return self.own or self.whoever


class HeadsFile:
    """A file of signed records that only grows.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Returns whether there is such a file."""
        return self.path.exists()

    def last(self) -> SignedRecord | None:
        """Returns the last whole record, or None if there is none; the end of a write that was cut off is passed over.

        Raises:
            InputError: the file cannot be read, or its last line does not hold a record.
        """
        try:
            with self.path.open("rb") as file:
                end = _whole_size(file.fileno())
                begin = _after_newline(file.fileno(), max(end - 1, 0))
                line = os.pread(file.fileno(), max(end - 1 - begin, 0), begin)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return self._read(line, "its last line") if end else None

    def known(self, key: str) -> Known:
        """Returns the furthest records of a public key and of whoever. All of the file is read.

        Raises:
            InputError: the file cannot be read, or a line does not hold a record.
        """
        own, whoever, keys = Furthest(), Furthest(), set[str]()
        for _, one in self.records():
            keys.add(one.record.key)
            whoever.take(one)
            if one.record.key == key:
                own.take(one)
        return Known(own.found, whoever.found, frozenset(keys))

    def records(self) -> Iterator[tuple[int, SignedRecord]]:
        """Yields each whole record with the number of its line.

        Raises:
            InputError: the file cannot be read, or a line does not hold a record.
        """
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.endswith(b"\n"):
                        yield number, self._read(line[:-1], f"line {number}")
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def append(self, records: Iterable[SignedRecord]) -> None:
        """Appends records and makes them durable.

        Raises:
            InputError: the file cannot be written; `last` tells which records it has.
        """
        data = b"".join(one.line for one in records)
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            with closing(os.fdopen(handle, "r+b", buffering=0)) as file:
                size = _whole(file.fileno())
                if data and file.write(data) != len(data):
                    os.ftruncate(file.fileno(), size)
                    raise OSError("the disk took a part of it only")
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error

    def _read(self, line: bytes, place: str) -> SignedRecord:
        try:
            return signed_line(line)
        except UNREADABLE as error:
            raise InputError(f"{place} does not hold a signed head ({error}).", where=str(self.path),
                             fix="Use an undamaged copy of the file.") from error  # fmt: skip


def _whole(handle: int) -> int:
    """Cuts off the end of a write that was interrupted, which was never a record; returns the size after it."""
    whole = _whole_size(handle)
    if whole < os.lseek(handle, 0, os.SEEK_END):
        os.ftruncate(handle, whole)
    return whole


def _whole_size(handle: int) -> int:
    """Returns the size of a file's whole lines."""
    return _after_newline(handle, os.lseek(handle, 0, os.SEEK_END))


def _after_newline(handle: int, end: int) -> int:
    """Returns where the last line feed before a place in a file ends; 0 if there is none."""
    while end > 0:
        begin = max(end - _PIECE, 0)
        found = os.pread(handle, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _unreadable(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError("there is no such heads file.", where=str(path), fix="Check the path.")
    return InputError(f"the heads file cannot be read: {error.strerror or error}.", where=str(path))
