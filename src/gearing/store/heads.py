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

from gearing.core.anchor import ChainPoint
from gearing.errors import InputError
from gearing.outputs import write_error
from gearing.store.keys import SigningKey, is_signed
from gearing.store.records import HeadRow

# More than the longest record: the last line of a file is looked for in its last bytes.
_TAIL = 65_536


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


class _Furthest:
    """The record of the latest line in the incarnation that began last."""

    def __init__(self) -> None:
        self.found: SignedRecord | None = None
        self._begun: set[str] = set()

    def take(self, one: SignedRecord) -> None:
        """Takes the next record of the file."""
        incarnation = one.record.incarnation
        begins = incarnation not in self._begun
        self._begun.add(incarnation)
        last = None if self.found is None else self.found.record
        if begins or last is None or (incarnation == last.incarnation and one.record.n > last.n):
            self.found = one


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
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - _TAIL, 0))
                whole = file.read().rpartition(b"\n")[0]
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return self._read(whole.rpartition(b"\n")[2], "its last line") if whole else None

    def furthest(self, key: str) -> SignedRecord | None:
        """Returns the record of the latest line in the newest incarnation, or None if there is no record.

        Records that name the given public key count, or all of them if none does. What comes last decides nothing: a
        genuine old record can be appended again, so an incarnation is as new as its first record.

        Raises:
            InputError: the file cannot be read, or a line does not hold a record.
        """
        own, other = _Furthest(), _Furthest()
        for _, one in self.records():
            (own if one.record.key == key else other).take(one)
        return own.found or other.found

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
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError(f"{place} does not hold a signed head ({error}).", where=str(self.path),
                             fix="Use an undamaged copy of the file.") from error  # fmt: skip


def _whole(handle: int) -> int:
    """Cuts off the end of a write that was interrupted, which was never a record; returns the size after it."""
    size = os.lseek(handle, 0, os.SEEK_END)
    start = max(size - _TAIL, 0)
    tail = os.pread(handle, size - start, start)
    whole = start + tail.rfind(b"\n") + 1
    if whole < size:
        os.ftruncate(handle, whole)
    return whole


def _unreadable(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError("there is no such heads file.", where=str(path), fix="Check the path.")
    return InputError(f"the heads file cannot be read: {error.strerror or error}.", where=str(path))
