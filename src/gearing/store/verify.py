"""Verifies a database: every journal from its first line, and all that is derived from it."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import sqlalchemy as sa

from gearing.core.holder import OWN, fees_account
from gearing.core.journal import state_of
from gearing.core.state import TokenState
from gearing.store import schema
from gearing.store.audit import Audit, Breach
from gearing.store.errors import DamagedError
from gearing.store.records import (
    NavRow,
    Projected,
    RebalanceRow,
    Snapshot,
    Written,
    book_state_of,
    holder_state_of,
)
from gearing.store.store import Store

Progress = Callable[[int, int], None]

# Below so many lines a process of its own costs more than it brings.
_LINES_A_PROCESS = 150_000
_TICK = 1_000
_POLL_S = 0.2
# SQLite keeps whatever it is given, so a forger may leave text where bytes belong.
_TYPES = (str, int, int, bytes, str)


class _WrongTypeError(Exception):
    """A row holds a value that no store wrote."""


class StreamVerdict(NamedTuple):
    """What was found in one stream.

    Args:
        stream: its name.
        lines: how many were checked.
        stepped: how many of them were stepped again.
        seq, head: number and hash of the last line.
        breaches: what does not hold, the first hundred.
        unnamed: how many more there are.
        fees: of a token: what the issuer took of its fees, in money or units, minor units.
    """

    stream: str
    lines: int
    stepped: int
    seq: int
    head: str
    breaches: tuple[Breach, ...]
    unnamed: int
    fees: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a database.

    Args:
        streams: one verdict for each, by name.
        breaches: of the file as a whole, and of every stream.
        elapsed_s: how long it took.
    """

    streams: tuple[StreamVerdict, ...]
    breaches: tuple[Breach, ...]
    elapsed_s: float

    @property
    def lines(self) -> int:
        """Lines that were checked."""
        return sum(found.lines for found in self.streams)

    @property
    def stepped(self) -> int:
        """Lines that were stepped again."""
        return sum(found.stepped for found in self.streams)


def verify(
    path: str | Path, *, again: bool = True, processes: int | None = None, progress: Progress | None = None
) -> Verdict:
    """Verifies a database; a running desk is not disturbed.

    Checked are the file, each stream's numbers and hash chain, double entry, NAV and state from the sums of the
    postings, snapshots, published NAVs; and events of the current behaviour are stepped again, invariants and what was
    measured of rebalances included.

    Args:
        path: the file.
        again: step events again.
        processes: how many streams are worked on at once; None: as many as there are cores and work for.
        progress: called with lines done and lines in all.

    Raises:
        DatabaseError: it cannot be opened.
    """
    began = time.monotonic()
    broken, streams = _looked_at(path)
    total = sum(streams.values())
    wanted = processes or min(os.cpu_count() or 1, 1 + total // _LINES_A_PROCESS)
    several = min(wanted, len(streams)) > 1
    # The longest first, so that none is begun when the others have ended.
    order = sorted(streams, key=lambda name: -streams[name])
    # A file that cannot be opened has no streams, and is not opened again.
    work = _in_processes if several else _here
    found = sorted(work(path, order, again, wanted, total, progress or _silent)) if order else []
    breaches = (
        *broken,
        *(breach for one in found for breach in one.breaches),
        *(_supplies(path, found) if found else ()),
        *(_outboxes(path) if found else ()),
    )
    return Verdict(streams=tuple(found), breaches=breaches, elapsed_s=time.monotonic() - began)


def verify_stream(store: Store, stream: str, *, again: bool, tick: Callable[[int], None]) -> StreamVerdict:
    """Verifies one stream as it stands at one instant.

    Args:
        store: the database.
        stream: its name.
        again: step events again.
        tick: called with the number of lines done since the last call.
    """
    shots, since = schema.snapshots, 0
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(shots).where(shots.c.stream == stream))
        audit = Audit(stream, again=again, shots={row.seq: Snapshot(*row) for row in rows})
        try:
            for line in _lines(connection, stream):
                audit.take(line)
                since += 1
                if since == _TICK:
                    tick(since)
                    since = 0
            audit.close(_projected(connection, stream), _navs(connection, stream), _rebalances(connection, stream))
        except (sa.exc.DBAPIError, _WrongTypeError) as error:
            audit.damaged(str(getattr(error, "orig", error)))
    tick(since)
    return StreamVerdict(
        stream, audit.lines, audit.stepped, audit.seq, audit.hash, tuple(audit.breaches), audit.unnamed, audit.fees
    )  # fmt: skip


def _looked_at(path: str | Path) -> tuple[list[Breach], dict[str, int]]:
    """Returns what SQLite itself finds in the file's pages, trees and constraints; and the streams in it."""
    words, streams = ["ok"], dict[str, int]()
    try:
        with Store(path) as store:
            try:
                with store.engine.connect() as connection:
                    words = [row[0] for row in connection.exec_driver_sql("PRAGMA quick_check(10)")]
                streams = _all_streams(store)
            except sa.exc.DBAPIError as error:
                words = [*words, str(error.orig)]
    except DamagedError as error:
        words = [error.what]
    return [Breach("", 0, "file", found, "a whole file") for found in words if found != "ok"], streams


def _supplies(path: str | Path, streams: Iterable[StreamVerdict]) -> list[Breach]:
    """U1: what the holders of a token have, and paid for it, is what it issued and took; by the last states of all.

    And what the issuer was credited as fees is what the token paid it.
    """
    units, money = Counter[str](), Counter[str]()
    tokens: dict[str, TokenState] = {}
    with Store(path) as store:
        for one in store.states():
            kind, _, name = one.stream.partition(":")
            try:
                if kind == "token":
                    tokens[name] = state_of(one.body)
                elif kind == "holder":
                    for account, amount in holder_state_of(one.body).balances.items():
                        counted, asset, where = account.split(":")
                        if counted == "units" and where in OWN:
                            units[asset] += amount
                        elif counted == "cash":
                            money[where] += amount
            except msgspec.MsgspecError:
                continue  # its own stream says so
    found = []
    for name, state in tokens.items():
        held, issued = units[name], state.balances.units
        # A desk of before there were holders has none; it names the issuer as the holder of all when it starts.
        if (held or money[name]) and held != issued:
            found.append(Breach(f"token:{name}", 0, "supply", f"holders with {held} units", f"{issued}, as issued"))
        elif held and money[name] != -state.balances.capital:
            paid = f"holders who paid {money[name]}"
            found.append(Breach(f"token:{name}", 0, "supply", paid, f"{-state.balances.capital}, as it took"))
    for name, fees in ((one.stream.removeprefix("token:"), one.fees) for one in streams):
        earned = -money[fees_account(name)]
        if name in tokens and earned != fees:
            found.append(Breach(f"token:{name}", 0, "supply", f"fees of {earned} earned", f"{fees}, as it paid"))
    return found


def _outboxes(path: str | Path) -> list[Breach]:
    """Whatever is on its way, or may be, is what a book waits for, and the other way round."""
    states, rows, sent = schema.states.c, schema.outbox.c, defaultdict[str, set[str]](set)
    with Store(path) as store, store.engine.connect() as connection:  # both at one instant
        books = connection.execute(sa.select(states.stream, states.body).where(states.stream.startswith("book:"))).all()
        for name, order in connection.execute(sa.select(rows.book, rows.id).where(rows.status != "done")):
            sent[f"book:{name}"].add(order)
    waits: dict[str, set[str]] = {}
    for stream, body in books:
        try:
            waits[stream] = set(book_state_of(body).live)
        except msgspec.MsgspecError:
            sent.pop(stream, None)  # its own stream says so
    return [
        Breach(stream, 0, "outbox", f"orders on their way: {_named(sent[stream])}", _named(waits.get(stream, set())))
        for stream in sorted({*sent, *waits})
        if sent[stream] != waits.get(stream, set())
    ]


def _named(orders: set[str]) -> str:
    return ", ".join(sorted(orders)) or "none"


def _all_streams(store: Store) -> dict[str, int]:
    """Returns every stream that any table names, with the number of its lines."""
    streams = {state.stream: 0 for state in store.states()} | store.streams()
    with store.engine.connect() as connection:
        named = {*connection.execute(sa.select(schema.snapshots.c.stream).distinct()).scalars()}
        for column in (schema.navs.c.token, schema.rebalances.c.token):
            named |= {f"token:{name}" for name in connection.execute(sa.select(column).distinct()).scalars()}
    return dict.fromkeys(sorted(named), 0) | streams


def _lines(connection: sa.Connection, stream: str) -> Iterator[Written]:
    table = schema.journal
    wanted = sa.select(*schema.LINE).where(table.c.stream == stream).order_by(table.c.seq)
    for row in connection.execute(wanted, execution_options={"yield_per": _TICK}):
        line = Written(*row)
        if tuple(map(type, line)) != _TYPES:
            raise _WrongTypeError(f"line {line.seq} holds values of another type")
        yield line


def _projected(connection: sa.Connection, stream: str) -> Projected | None:
    row = connection.execute(sa.select(schema.states).where(schema.states.c.stream == stream)).one_or_none()
    return None if row is None else Projected(*row)


def _navs(connection: sa.Connection, stream: str) -> Iterator[NavRow]:
    """Yields the published NAVs of a token's stream, as they are kept."""
    kind, _, name = stream.partition(":")
    if kind == "token":
        wanted = sa.select(schema.navs).where(schema.navs.c.token == name)
        for row in connection.execute(wanted, execution_options={"yield_per": _TICK}):
            yield NavRow(*row)


def _rebalances(connection: sa.Connection, stream: str) -> Iterator[RebalanceRow]:
    """Yields what was measured of the rebalances of a token's stream."""
    kind, _, name = stream.partition(":")
    if kind == "token":
        table = schema.rebalances
        wanted = sa.select(table).where(table.c.token == name).order_by(table.c.epoch)
        for row in connection.execute(wanted, execution_options={"yield_per": _TICK}):
            yield RebalanceRow(*row)


def _silent(done: int, total: int) -> None:
    """Reports nothing."""


def _here(
    path: str | Path, streams: list[str], again: bool, wanted: int, total: int, progress: Progress
) -> Iterator[StreamVerdict]:
    done = 0

    def tick(lines: int) -> None:
        nonlocal done
        done += lines
        progress(done, total)

    with Store(path) as store:
        for stream in streams:
            yield verify_stream(store, stream, again=again, tick=tick)


def _in_processes(
    path: str | Path, streams: list[str], again: bool, wanted: int, total: int, progress: Progress
) -> Iterator[StreamVerdict]:
    context = multiprocessing.get_context("spawn")
    counter = context.Value("Q", 0)
    begin = (str(path), counter)
    with ProcessPoolExecutor(wanted, mp_context=context, initializer=_begin, initargs=begin) as pool:
        waiting: set[Any] = {pool.submit(_work, stream, again) for stream in streams}
        while waiting:
            ended, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            progress(counter.value, total)
            for future in ended:
                yield future.result()


_worker: dict[str, Any] = {}


def _begin(path: str, counter: Synchronized[int]) -> None:
    _worker["store"], _worker["counter"] = Store(path), counter


def _work(stream: str, again: bool) -> StreamVerdict:
    counter = cast("Synchronized[int]", _worker["counter"])

    def tick(lines: int) -> None:
        with counter.get_lock():
            counter.value += lines

    return verify_stream(_worker["store"], stream, again=again, tick=tick)
