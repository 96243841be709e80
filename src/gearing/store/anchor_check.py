"""Checks the anchor of a database: its numbering and chain over all streams, its signed heads, and a heads file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from gearing.core.anchor import START, ChainPoint, leaf_of
from gearing.store import schema
from gearing.store.breach import NAMED_MAX, Breach, What
from gearing.store.heads import UNREADABLE, Furthest, HeadRecord, HeadsFile, RestoreRecord, SignedRecord, signed_row
from gearing.store.records import HeadRow, Meta

_ROWS = 5_000


class AnchorCheck(NamedTuple):
    """What a check of the anchor found.

    Args:
        end: the last line's number and chain.
        heads: how many signed heads were checked, those of the database and of the heads file.
        signed: the last head in the database, or None.
        keys: the public keys that signed the heads.
        breaches: what does not hold, the first hundred; of signed heads one for each cause.
        unnamed: how many more there are.
        restores: those that the heads file records.
    """

    end: ChainPoint
    heads: int
    signed: HeadRecord | None
    keys: tuple[str, ...]
    breaches: tuple[Breach, ...]
    unnamed: int = 0
    restores: tuple[RestoreRecord, ...] = ()


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
                found.no_line(n, one.where)
            elif n <= end_n:
                fixed.setdefault(n, []).append(one)
    end = _follow(connection, end_n, fixed, found)
    return found.result(end, signed)


class _Findings:
    """Gathers what does not hold, and checks signed records."""

    def __init__(self, meta: Meta, trusted: frozenset[str]) -> None:
        self._meta, self._trusted = meta, trusted
        self._breaches: list[Breach] = []
        # Of signed heads the first breach of each cause, and how many there are.
        self._causes: dict[tuple[str, ...], Breach] = {}
        self._numbers = Counter[tuple[str, ...]]()
        self._broken: set[str] = set()
        self._keys: set[str] = set()
        self._checked = self._unnamed = 0
        self._restores: tuple[RestoreRecord, ...] = ()

    def result(self, end: ChainPoint, signed: HeadRecord | None) -> AnchorCheck:
        causes = [
            breach._replace(found=f"{breach.found} ({self._numbers[cause]:,} of {self._checked:,} heads)")
            for cause, breach in self._causes.items()
        ]
        return AnchorCheck(end, self._checked, signed, tuple(sorted(self._keys)), (*causes, *self._breaches),
                           self._unnamed, self._restores)  # fmt: skip

    def breach(self, what: What, found: str, expected: str, stream: str = "", seq: int = 0) -> None:
        if len(self._breaches) < NAMED_MAX:
            self._breaches.append(Breach(stream, seq, what, found, expected))
        else:
            self._unnamed += 1

    def no_line(self, n: int, where: str) -> None:
        """Notes a signed head of a line that the journal does not have."""
        self._head(("no line",), f"no line n {n}", f"line n {n}, of which {where} has a signed head")

    def other_chain(self, chain: str, claim: _ChainClaim, n: int, stream: str, seq: int) -> None:
        """Notes a signed head that the chain at its line does not fit."""
        self._head(("chain",), f"chain {chain} at n {n}", f"{claim.chain}, as {claim.where} says", stream, seq)

    def chain_breach(self, found: str, expected: str, stream: str, seq: int) -> None:
        """Names the first line of a stream that the chain does not fit; a rewritten stream has many."""
        if stream in self._broken:
            self._unnamed += 1
            return
        self._broken.add(stream)
        self.breach("anchor", found, expected, stream, seq)

    def take_row(self, row: HeadRow) -> HeadRecord | None:
        """Checks a row of the table of heads; returns its record if it can be read."""
        try:
            head = signed_row(row)
        except UNREADABLE as error:
            self._head(("unreadable",), f"row n {row.n} of the table heads cannot be read: {error}", "a signed head")
            self._checked += 1
            return None
        self._check_signature(head, f"row n {row.n} of the table heads", "the table heads")
        if not isinstance(head.record, HeadRecord) or (head.record.n, head.record.time_ms) != (row.n, row.time_ms):
            self._head(("misplaced",), f"row n {row.n} at {row.time_ms} holds another record",
                       "the head of that line and time")  # fmt: skip
            return None
        return head.record

    def take_file(self, file: HeadsFile, bodies: dict[int, bytes]) -> Iterator[tuple[int, _ChainClaim]]:
        """Checks a heads file; yields what it says the chain is, of every head that no restore gave up."""
        records, name = list(file.records()), file.path.name
        self._check_restores(records)
        records = self._of_this_history(records)
        limits = self._limits(one for _, one in records)
        for number, one in records:
            where, record = f"line {number} of {name}", one.record
            known = bodies.get(record.n)
            is_own = known == one.body or self._check_signature(one, where, name)
            if is_own and record.n == 0 and record.chain == START.chain:
                continue  # of a journal without lines
            if is_own and record.n <= limits[record.incarnation]:
                yield record.n, _ChainClaim(record.chain, where)
                if isinstance(record, HeadRecord) and known is None:
                    self._head(("no row",), f"no row n {record.n} in the table heads", f"the signed head of {where}")

    def _of_this_history(self, records: list[tuple[int, SignedRecord]]) -> list[tuple[int, SignedRecord]]:
        """Returns the records up to the restore that gave this database up, which is one breach; usually all."""
        mine, order = self._meta.incarnation, Furthest()
        for k, (_, one) in enumerate(records):
            record, later = one.record, mine in order.begun
            if self._counts(one) and order.take(one) and later and isinstance(record, RestoreRecord):
                self.breach("head", f"the heads file records a restore by {record.by} ({record.reason}): the history "
                            f"of this database, incarnation {mine}, was left at n {record.left_n}",
                            f"incarnation {record.incarnation}, which resumed at n {record.n}")  # fmt: skip
                return records[: k + 1]
        return records

    def _limits(self, records: Iterable[SignedRecord]) -> dict[str, float]:
        """Returns up to which n the journal still has the lines of each incarnation: what later restores go on from.

        A restore counts once, where its incarnation begins: a genuine one can be appended again.
        """
        limits, order = dict[str, float](), Furthest()
        for one in records:
            record = one.record
            if self._counts(one) and order.take(one) and isinstance(record, RestoreRecord):
                limits = {incarnation: min(limit, record.n) for incarnation, limit in limits.items()}
            limits.setdefault(record.incarnation, math.inf)
        return limits

    def _counts(self, one: SignedRecord) -> bool:
        """Returns whether a record is of this database, and signed with a key that may sign."""
        record = one.record
        is_trusted = not self._trusted or record.key in self._trusted
        return one.is_signed and is_trusted and record.database == self._meta.database

    def _check_restores(self, records: list[tuple[int, SignedRecord]]) -> None:
        """Each restore names the furthest record before it, so that none can be taken out between them."""
        self._restores = tuple(one.record for _, one in records if isinstance(one.record, RestoreRecord))
        before = Furthest()
        for number, one in records:
            record, point = one.record, before.point
            if not self._counts(one):
                continue
            is_again = record.incarnation in before.begun
            before.take(one)
            if isinstance(record, RestoreRecord) and (is_again or (record.left_n, record.left_chain) != point):
                was = "each restore once" if is_again else f"n {point.n}, that of the furthest record before it"
                self.breach("head", f"the restore in line {number} of the heads file gives up line n {record.left_n}",
                            was)  # fmt: skip

    def _check_signature(self, one: SignedRecord, where: str, source: str) -> bool:
        """Checks who signed a record; returns whether it is of this database."""
        record, own = one.record, self._meta.database
        self._checked += 1
        self._keys.add(record.key)
        if not one.is_signed:
            self._head(("unsigned", record.key), f"{where} has a signature that key {record.key} did not make",
                       "a valid signature")  # fmt: skip
        elif self._trusted and record.key not in self._trusted:
            self._head(("untrusted", record.key), f"a signature of key {record.key}, which is not trusted",
                       f"one of {', '.join(sorted(self._trusted))} (--trust)")  # fmt: skip
        if record.database != own:
            other = f"{source} belongs to another database, {record.database}"
            self._head(("database", source, record.database), other, f"this one, {own}")
        return record.database == own

    def _head(self, cause: tuple[str, ...], found: str, expected: str, stream: str = "", seq: int = 0) -> None:
        """Counts a head that does not hold; the first of each cause gives the words."""
        self._causes.setdefault(cause, Breach(stream, seq, "head", found, expected))
        self._numbers[cause] += 1


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
            # What the table says, the file says too.
            for one in {one.chain: one for one in reversed(fixed.pop(at))}.values() if at in fixed else ():
                if one.chain != chain:
                    found.other_chain(chain, one, at, stream, seq)
    for missing in sorted(fixed):
        found.no_line(missing, fixed[missing][0].where)
    return ChainPoint(n, chain)
