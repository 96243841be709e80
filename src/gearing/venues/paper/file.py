"""The exchange's own file: SQLite, written before anything is acknowledged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from gearing.errors import InputError
from gearing.outputs import SQLITE_SUFFIXES
from gearing.venues.paper.records import Account, Clock, Moved, Order, Rate
from gearing.venues.paper.setup import Listing, Setup
from gearing.venues.paper.state import Key, State
from gearing.venues.protocol import Forced, FundingPayment, Quote, Received, Settled

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (kind TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, key))
WITHOUT ROWID
"""

# The row that names the database whose desk an exchange serves.
_OWNER = "owner"

# Raised when a record changes so that files of before cannot be read.
_VERSION = 1

_KINDS: dict[str, type] = {
    "account": Account, "listing": Listing, "order": Order, "rate": Rate, "transfer": Moved,
    "payment": FundingPayment, "settled": Settled, "forced": Forced, "received": Received, "clock": Clock,
    "quote": Quote,
}  # fmt: skip


class PaperFile:
    """The file of a paper exchange. One process has it at a time.

    Args:
        path: where; it is made if absent.
        owner: the id of the database whose desk it serves; None: nobody asks.
        begun: whether that desk has traded at it already, so that it must be there.

    Raises:
        InputError: it is something else, of another version, another process has it, it serves another desk, or it is
            missing.
    """

    def __init__(self, path: str | Path, *, owner: str | None = None, begun: bool = False) -> None:
        self._path = Path(path)
        if begun and not self._path.exists():
            raise _missing(self._path, "the file of the paper exchange that this desk trades at is missing")
        try:
            _check_tables(self._path)
            self._base = sqlite3.connect(path, isolation_level=None, timeout=1.0)
            try:
                self._begin(owner, begun=begun)
            except BaseException:
                self._base.close()
                raise
        except sqlite3.Error as error:
            raise InputError(
                f"the paper exchange cannot use its file ({error}).", where=str(path),
                fix="Stop the exchange that has it open, or name another file.",
            ) from error  # fmt: skip

    def _begin(self, owner: str | None, *, begun: bool) -> None:
        self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")
        self._base.execute("BEGIN IMMEDIATE")
        version = self._base.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _VERSION}:
            raise InputError(
                f"this is a paper exchange's file of version {version}, here is {_VERSION}.", where=str(self._path),
                fix="Use the release that wrote it, or begin with another file.",
            )  # fmt: skip
        self._base.execute(_SCHEMA)
        self._base.execute(f"PRAGMA user_version = {_VERSION}")
        if owner is not None:
            self._check_owner(owner, begun=begun)
        self._base.execute("COMMIT")

    def _check_owner(self, owner: str, *, begun: bool) -> None:
        """Refuses the exchange of another desk; one that knows no desk yet becomes this one's."""
        kept = dict(self._base.execute("SELECT kind, body FROM kept WHERE kind IN (?, 'account')", (_OWNER,)))
        known = kept.get(_OWNER)
        if known is None and begun and not kept:
            raise _missing(self._path, "this paper exchange knows no desk, and this desk has traded at one")
        if known is None:
            self._base.execute("INSERT INTO kept VALUES (?, '', ?)", (_OWNER, owner.encode()))
        elif known != owner.encode():
            raise _missing(self._path, "this paper exchange serves another desk")

    def commit(self, changed: Mapping[Key, msgspec.Struct | None], state: State) -> None:
        """Makes changes durable, with the time, the generator and the quotes of now."""
        encode = msgspec.msgpack.encode
        rows = [(kind, key, encode(record)) for (kind, key), record in changed.items() if record is not None]
        rows.append(("clock", "", encode(state.stood())))
        rows.extend(("quote", symbol, encode(quote)) for symbol, quote in state.quotes.items())
        gone = [key for key, record in changed.items() if record is None]
        self._base.execute("BEGIN IMMEDIATE")
        try:
            self._base.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)
            self._base.executemany("DELETE FROM kept WHERE kind = ? AND key = ?", gone)
            self._base.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk may have ended it
                self._base.execute("ROLLBACK")
            raise

    def load(self, setup: Setup) -> State:
        """Returns the state that the file holds; of an empty file, a new one."""
        state = State(setup)
        for kind, key, body in self._base.execute("SELECT kind, key, body FROM kept WHERE kind != ? ORDER BY kind, key",
                                                 (_OWNER,)):  # fmt: skip
            _put_back(state, key, msgspec.msgpack.decode(body, type=_KINDS[kind]))
        # In memory they stand in the order in which they came.
        orders = sorted(state.orders.values(), key=lambda order: order.number)
        state.orders = {order.key: order for order in orders}
        state.live = {order.key: order for order in orders if order.word == "open"}
        for payments in state.payments.values():
            payments.sort(key=lambda payment: (payment.settlement_ms, payment.symbol))
        for settled in state.settled.values():
            settled.sort(key=lambda one: one.settlement_ms)
        for forced in state.forced.values():
            forced.sort(key=lambda trade: int(trade.trade_id))
        state.due_ms = 0
        return state

    def close(self) -> None:
        """Closes the file."""
        self._base.close()


def _missing(path: Path, words: str) -> InputError:
    return InputError(
        f"{words}.", where=str(path),
        fix="Put its file back. If it is lost: gearing up --new-exchange begins with an empty one, at which the books "
            "that held anything are halted.",
    )  # fmt: skip


def remove_paper_file(path: Path) -> None:
    """Removes the file of a paper exchange and SQLite's files next to it, if there is one.

    Raises:
        InputError: it is another file.
    """
    if os.path.lexists(path):
        PaperFile(path).close()
    for suffix in ("", *SQLITE_SUFFIXES):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


def _check_tables(path: Path) -> None:
    """Refuses the database of another program, or of a desk, and changes nothing in it.

    Raises:
        InputError: it is one.
    """
    if not path.exists():
        return
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as reader:
        tables = {name for (name,) in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables - {"kept"}:
        raise InputError("this database is not that of a paper exchange.", where=str(path),
                         fix="Give another name.")  # fmt: skip


def _put_back(state: State, key: str, record: object) -> None:
    match record:
        case Account():
            state.put_account(record)
        case Listing():
            state.listings[key] = record
        case Order():
            state.orders[key] = record
        case Rate():
            state.rates[key] = record
        case Moved():
            state.transfers[key] = record
        case Quote():
            state.quotes[key] = record
        case FundingPayment():
            state.payments.setdefault(key.split("/", maxsplit=1)[0], []).append(record)
        case Settled():
            state.settled.setdefault(record.symbol, []).append(record)
        case Received():
            state.received.setdefault(key.split("/", maxsplit=1)[0], []).append(record)
        case Forced():
            state.forced.setdefault(key.split("/", maxsplit=1)[0], []).append(record)
        case Clock():
            state.clock, state.now_ms, state.draws.state = record, record.now_ms, record.draws
