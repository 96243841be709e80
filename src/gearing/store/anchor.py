"""Anchors a database: signs its heads as it commits, keeps them in a file, and holds a journal against that file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import sqlalchemy as sa

from gearing.core.anchor import ChainPoint
from gearing.errors import InputError
from gearing.store.errors import DatabaseError
from gearing.store.heads import UNREADABLE, HeadRecord, HeadsFile, RestoreRecord, SignedRecord, signed, signed_row
from gearing.store.keys import SigningKey, signing_key
from gearing.store.records import HeadRow, Meta
from gearing.store.store import Store

LOG = logging.getLogger("gearing.store")

# Missing heads that are appended at once, so that any number of them fits into memory.
_AT_ONCE = 10_000


def heads_path(database: Path) -> Path:
    """Returns the heads file of a database for which no other was named."""
    return database.parent / f"{database.name}.heads"


def key_path(database: Path) -> Path:
    """Returns the file of the private key of a database for which no other was named."""
    return database.parent / f"{database.name}.key"


class Anchor:
    """Signs where a journal ends, and appends what was signed to the heads file once it is committed.

    Args:
        key: signs.
        file: takes the heads.

    Attributes:
        on_failure: called with a sentence when the file cannot be written, once until it can again.
    """

    def __init__(self, key: SigningKey, file: HeadsFile) -> None:
        self.key, self.file = key, file
        self.on_failure: Callable[[str], object] = LOG.warning
        self._fails = False

    def sign(self, meta: Meta, point: ChainPoint, time_ms: int) -> SignedRecord:
        """Returns the signed head of a journal that ends at a point."""
        return signed(
            HeadRecord(database=meta.database, incarnation=meta.incarnation, n=point.n, chain=point.chain,
                       time_ms=time_ms, key=self.key.public), self.key,
        )  # fmt: skip

    def publish(self, head: SignedRecord, since: Callable[[int], Iterator[HeadRow]]) -> None:
        """Appends a committed head to the file, after a failure with all that the file lacks; a failure stops nothing.

        Args:
            head: it.
            since: yields the heads in the database after a number, this one among them.
        """
        try:
            if self._fails:
                self._append_missing(head, since)
            else:
                self.file.append([head])
            self._fails = False
        except (InputError, *UNREADABLE, sa.exc.SQLAlchemyError) as error:
            words = (
                f"signed heads cannot be appended: {error} They are kept in the database, and appended once the file "
                "can be written."
            )
            # The commit is durable, so nothing may fail any more; the loop of a desk that ends takes no alarm.
            if not self._fails:
                with contextlib.suppress(RuntimeError):
                    self.on_failure(words)
            self._fails = True

    def _append_missing(self, head: SignedRecord, since: Callable[[int], Iterator[HeadRow]]) -> None:
        known = self.file.known(self.key.public).own if self.file.exists() else None
        is_here = known is not None and known.record.incarnation == head.record.incarnation
        heads = own_heads(since(known.record.n if known is not None and is_here else 0), head.record.incarnation)
        while some := [*islice(heads, _AT_ONCE)]:
            self.file.append(some)


def open_anchor(database: Path, heads: Path | None = None, key: Path | None = None) -> Anchor:
    """Returns the anchor of a database that is about to be written, once its journal is known to fit the heads file.

    What the file lacks of the database's own heads, because a kill came between the two, is appended.

    Args:
        database: the file; it may not exist yet.
        heads: the heads file; None: the one next to the database.
        key: the file of the private key; None: the environment's, or the one next to the database.

    Raises:
        InputError: the journal does not contain the last head, the heads file is missing, or the key cannot be used.
    """
    file = HeadsFile(heads or heads_path(database))
    if not database.exists():
        _check_absent(database, file)
        anchor = Anchor(signing_key(key, key_path(database)), file)
        file.append(())
        return anchor
    with Store(database) as store:
        anchor = Anchor(signing_key(key, key_path(database)), file)
        after = check_heads_file(store, file, anchor.key.public)
        try:
            file.append(own_heads(store.heads_since(after), store.meta.incarnation))
        except UNREADABLE as error:
            raise DatabaseError(f"a row of its table heads cannot be read: {error}.", where=str(database),
                                fix=f"See what is wrong: gearing journal verify {database}") from error  # fmt: skip
    return anchor


def own_heads(rows: Iterable[HeadRow], incarnation: str) -> Iterator[SignedRecord]:
    """Yields the heads of one incarnation; those of a former one are in its heads file, before the restore.

    Raises:
        msgspec.MsgspecError: a row does not hold a record.
    """
    return (one for one in map(signed_row, rows) if one.record.incarnation == incarnation)


def check_heads_file(store: Store, file: HeadsFile, key: str) -> int:
    """Checks that a journal contains what its heads file knows, and returns up to which n the file has heads.

    That is the furthest record of the desk's own key, and the furthest of whoever (see `Furthest`). So whoever can
    append to the file cannot lower what is known, by records of another key or by old genuine ones.

    Args:
        store: the database.
        file: the heads file.
        key: the desk's own public key.

    Raises:
        InputError: it does not, or the file is missing although heads were signed.
    """
    if not file.exists():
        if store.head() is None:
            return 0
        raise InputError(
            "the heads file is missing, so nobody can tell whether this database was rolled back.",
            where=str(file.path),
            fix="Bring it back, or name it with --heads. If it is lost, write a new one from the database's own heads, "
            f"which proves nothing about the past: gearing journal head {store.path} --out {file.path}",
        )  # fmt: skip
    known = file.known(key)
    if known.binding is None or known.whoever is None:
        return 0
    for one in (known.whoever, known.binding):
        _check_record(store, file, one)
    newest = known.whoever.record.incarnation
    if newest != store.meta.incarnation:
        raise DatabaseError(
            f"it is incarnation {store.meta.incarnation}, the newest one with signed heads is {newest}.",
            where=str(store.path), fix=_restore_fix(store.path),
        )  # fmt: skip
    return known.binding.record.n


def _check_record(store: Store, file: HeadsFile, one: SignedRecord) -> None:
    """Refuses a journal that does not contain what a record says."""
    record, end = one.record, store.end().n
    if not one.is_signed:
        raise InputError(f"the signature of its record of line {record.n} is not valid.", where=str(file.path),
                         fix="Use an undamaged copy of the file.")  # fmt: skip
    if record.database != store.meta.database:
        raise InputError(f"its heads are of database {record.database}, not of {store.path} ({store.meta.database}).",
                         where=str(file.path), fix="Name this database's own heads file with --heads.")  # fmt: skip
    if record.n > end or store.chain_at(record.n) != record.chain:
        found = f"ends at line {end}" if end < record.n else f"has another history up to line {record.n}"
        raise DatabaseError(
            f"a signed head is of line {record.n}, but the journal {found}: it is an old copy, or was changed.",
            where=str(store.path), fix=_restore_fix(store.path),
        )  # fmt: skip


def _restore_fix(path: Path) -> str:
    return (
        "Move it away and bring the right database back, or restore a backup, which signs that an older state goes on: "
        f"gearing db restore BACKUP {path} --reason WHY, with the desk's own --signing-key and --heads if it names any"
    )


def restore_record(
    meta: Meta, point: ChainPoint, left: ChainPoint, key: SigningKey, *, by: str, reason: str, time_ms: int
) -> SignedRecord:
    """Returns the signed record that lets an older state go on.

    Args:
        meta: of the restored database.
        point: where its journal ends.
        left: the furthest head that is known, which is given up; of none, the start.
        key: signs.
        by, reason: who restores it, and why.
        time_ms: when, ms UTC.
    """
    return signed(
        RestoreRecord(database=meta.database, incarnation=meta.incarnation, n=point.n, chain=point.chain,
                      left_n=left.n, left_chain=left.chain, by=by, reason=reason, time_ms=time_ms, key=key.public), key,
    )  # fmt: skip


def _check_absent(database: Path, file: HeadsFile) -> None:
    """Refuses to begin a new database where a heads file says that there was another one."""
    last = file.last() if file.exists() else None
    if last is not None:
        raise InputError(
            f"there is no database {database}, but signed heads of one up to line {last.record.n}.",
            where=str(file.path), fix=f"Restore it: gearing db restore BACKUP {database} --reason WHY; or move "
            "this file away to begin a new database.",
        )  # fmt: skip
