"""Checks the anchor of a database: its numbering and chain over all streams, its signed heads, and a heads file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from gearing.core.anchor import START, ChainPoint, leaf_of
from gearing.store import schema
from gearing.store.breach import NAMED_MAX, Breach, What
from gearing.store.heads import HeadRecord, HeadsFile, RestoreRecord, SignedRecord, signed_row
from gearing.store.records import HeadRow, Meta

_ROWS = 5_000
_Faults = (msgspec.MsgspecError, UnicodeDecodeError)


class AnchorCheck(NamedTuple):
    """What a check of the anchor found.

    Args:
        end: the last line's number and chain.
        heads: how many signed heads were checked, those of the database and of the heads file.
        signed: the last head in the database, or None.
        keys: the public keys that signed the heads.
        breaches: what does not hold, the first hundred.
        unnamed: how many more there are.
    """

    end: ChainPoint
    heads: int
    signed: HeadRecord | None
    keys: tuple[str, ...]
    breaches: tuple[Breach, ...]
    unnamed: int = 0


class _ChainClaim(NamedTuple):
    """A place where somebody says what the chain is: the table or the file, and its line there."""

    chain: str
    where: str


def check_anchor(
    connection: sa.Connection, meta: Meta, end_n: int, heads: Path | None, trusted: frozenset[str]
) -> AnchorCheck:
    """Checks the lines up to number `end_n`, every signed head, and what a heads file says.

    Args:
        connection: of the database, which sees one instant.
        meta: of the database.
        end_n: the last line that is looked at.
        heads: a file of signed heads, or None.
        trusted: public keys that may sign; empty: whichever key a head names.

    Raises:
        InputError: the heads file cannot be read.
    """
    found, fixed = _Findings(meta, trusted), dict[int, list[_ChainClaim]]()
    signed = None
    bodies = dict[int, bytes]()
    for row in connection.execute(sa.select(schema.heads).order_by(schema.heads.c.n)):
        head = found.take_row(HeadRow(*row))
        if head is not None:
            if heads is not None:
                bodies[row.n] = row.body
            if head.n <= end_n:
                fixed.setdefault(head.n, []).append(_ChainClaim(head.chain, "the table heads"))
                signed = head
    newest = connection.execute(sa.select(sa.func.max(schema.journal.c.n))).scalar() or 0
    beyond = connection.execute(sa.select(sa.func.max(schema.heads.c.n))).scalar() or 0
    if isinstance(beyond, int) and beyond > newest:
        found.breach("head", f"a signed head of line n {beyond}", f"no line after n {newest}, which is the last")
    if heads is not None:
        for n, one in found.take_file(HeadsFile(heads), bodies):
            if n > end_n and n > newest:
                found.breach("head", f"no line n {n}", f"line n {n}, of which {one.where} has a signed head")
            elif n <= end_n:
                fixed.setdefault(n, []).append(one)
    end = _follow(connection, end_n, fixed, found)
    return AnchorCheck(end, found.checked, signed, tuple(sorted(found.keys)), tuple(found.breaches), found.unnamed)


class _Findings:
    """Gathers what does not hold, and checks signed records."""

    def __init__(self, meta: Meta, trusted: frozenset[str]) -> None:
        self._meta, self._trusted = meta, trusted
        self.breaches: list[Breach] = []
        self.keys: set[str] = set()
        self.checked = self.unnamed = 0
        self._broken: set[str] = set()

    def breach(self, what: What, found: str, expected: str, stream: str = "", seq: int = 0) -> None:
        if len(self.breaches) < NAMED_MAX:
            self.breaches.append(Breach(stream, seq, what, found, expected))
        else:
            self.unnamed += 1

    def chain_breach(self, found: str, expected: str, stream: str, seq: int) -> None:
        """Names the first line of a stream that the chain does not fit; a rewritten stream has many."""
        if stream in self._broken:
            self.unnamed += 1
            return
        self._broken.add(stream)
        self.breach("anchor", found, expected, stream, seq)

    def take_row(self, row: HeadRow) -> HeadRecord | None:
        """Checks a row of the table of heads; returns its record if it can be read."""
        try:
            head = signed_row(row)
        except _Faults as error:
            self.breach("head", f"row n {row.n} of the table heads cannot be read: {error}", "a signed head")
            return None
        self._check_signature(head, f"row n {row.n} of the table heads")
        if not isinstance(head.record, HeadRecord) or (head.record.n, head.record.time_ms) != (row.n, row.time_ms):
            self.breach(
                "head", f"row n {row.n} at {row.time_ms} holds another record", "the head of that line and time"
            )
            return None
        return head.record

    def take_file(self, file: HeadsFile, bodies: dict[int, bytes]) -> Iterator[tuple[int, _ChainClaim]]:
        """Checks a heads file; yields what it says the chain is, of every head that no restore gave up."""
        records = list(file.records())
        self._check_restores(records)
        limit: float = float("inf")
        for number, one in reversed(records):
            where = f"line {number} of {file.path.name}"
            record = one.record
            known = bodies.get(record.n)
            if known != one.body:
                self._check_signature(one, where)
            if record.n <= limit:
                yield record.n, _ChainClaim(record.chain, where)
                if isinstance(record, HeadRecord) and known is None:
                    self.breach("head", f"no row n {record.n} in the table heads", f"the signed head of {where}")
            if isinstance(record, RestoreRecord):
                limit = min(limit, record.n)

    def _check_restores(self, records: Iterable[tuple[int, SignedRecord]]) -> None:
        """Each restore names the record before it, so that none can be taken out between them."""
        before = START
        for number, one in records:
            record = one.record
            if isinstance(record, RestoreRecord) and (record.left_n, record.left_chain) != before:
                self.breach("head", f"the restore in line {number} of the heads file gives up line n {record.left_n}",
                            f"n {before.n}, that of the record before it")  # fmt: skip
            before = record.point

    def _check_signature(self, one: SignedRecord, where: str) -> None:
        record = one.record
        self.checked += 1
        self.keys.add(record.key)
        if not one.is_signed:
            self.breach("head", f"{where} has a signature that key {record.key} did not make", "a valid signature")
        elif self._trusted and record.key not in self._trusted:
            self.breach("head", f"{where} is signed by key {record.key}", f"one of {', '.join(sorted(self._trusted))}")
        if record.database != self._meta.database:
            self.breach("head", f"{where} is of database {record.database}", self._meta.database)


def _follow(connection: sa.Connection, end_n: int, fixed: dict[int, list[_ChainClaim]], found: _Findings) -> ChainPoint:
    """Follows number and chain from line to line; each line is compared with the chain as stored at the line before."""
    c = schema.journal.c
    wanted = sa.select(c.n, c.stream, c.seq, c.hash, c.chain).where(c.n <= end_n).order_by(c.n)
    n, chain = START
    ends: dict[str, int] = {}
    for rows in connection.execute(wanted, execution_options={"yield_per": _ROWS}).partitions():
        for at, stream, seq, line_hash, kept in rows:
            if at != n + 1:
                found.breach("anchor", f"line n {at} after n {n}", f"n {n + 1}", stream, seq)
            chain = ChainPoint(n, chain).after(leaf_of(stream, seq, line_hash)).chain
            if kept != chain:
                found.chain_breach(f"chain {kept} at n {at}", chain, stream, seq)
                chain = kept if isinstance(kept, str) else chain
            if seq != ends.get(stream, 0) + 1:
                found.breach("anchor", f"line {seq} at n {at}, after line {ends.get(stream, 0)} of its stream",
                             f"line {ends.get(stream, 0) + 1}", stream, seq)  # fmt: skip
            ends[stream], n = seq, at
            for one in fixed.pop(at, ()) if at in fixed else ():
                if one.chain != chain:
                    found.breach("head", f"chain {chain} at n {at}", f"{one.chain}, as {one.where} says", stream, seq)
    for missing in sorted(fixed):
        expected = f"line n {missing}, of which {fixed[missing][0].where} has a signed head"
        found.breach("head", f"no line n {missing}", expected)
    return ChainPoint(n, chain)
