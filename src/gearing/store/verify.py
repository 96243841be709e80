"""Verifies a database: every journal from its first line, and all that is derived from it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import sqlalchemy as sa

from gearing.core.anchor import START
from gearing.core.flow_parts import FlowNamed
from gearing.store import schema
from gearing.store.anchor_check import AnchorCheck, check_anchor
from gearing.store.audit import Audit
from gearing.store.breach import Breach
from gearing.store.errors import DamagedError
from gearing.store.records import JournalRow, NavRow, OutboxRow, Projected, RebalanceRow, Snapshot, flows_line_of
from gearing.store.shares import AtOnce, Stood
from gearing.store.store import Store
from gearing.store.tables import form_breaches, inbox_breaches, meta_row_breaches, type_breaches
from gearing.store.totals import StreamFacts, meta_breaches, total_breaches

Progress = Callable[[int, int], None]

# Below so many lines a process of its own costs more than it brings.
_LINES_A_PROCESS = 150_000
_TICK = 1_000
_ORDER = {"holder": 0, "token": 2}
_POLL_S = 0.2
# A process is handed streams of so many lines at once: holders are many, and short.
_PARCEL = 2_000
# SQLite keeps whatever it is given, so a forger may leave text where bytes belong.
_TYPES = (str, int, int, bytes, str, int, str)

_STREAM: sa.BindParameter[str] = sa.bindparam("stream")
_LINES = sa.select(schema.journal).where(schema.journal.c.stream == _STREAM).order_by(schema.journal.c.seq)
_PROJECTED = sa.select(schema.states).where(schema.states.c.stream == _STREAM)
_SNAPSHOTS = sa.select(schema.snapshots).where(schema.snapshots.c.stream == _STREAM)


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
        facts: what is held against other streams.
    """

    stream: str
    lines: int
    stepped: int
    seq: int
    head: str
    breaches: tuple[Breach, ...]
    unnamed: int
    facts: StreamFacts = StreamFacts()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a database.

    Args:
        streams: one verdict for each, by name.
        breaches: of the file as a whole, and of every stream.
        elapsed_s: how long it took.
        anchor: the last line over all streams and the signed heads; None: the file cannot be read.
        came: lines that were written while it ran; not all that is checked of others is checked of them.
    """

    streams: tuple[StreamVerdict, ...]
    breaches: tuple[Breach, ...]
    elapsed_s: float
    anchor: AnchorCheck | None = None
    came: int = 0

    @property
    def lines(self) -> int:
        """Lines that were checked."""
        return sum(found.lines for found in self.streams)

    @property
    def stepped(self) -> int:
        """Lines that were stepped again."""
        return sum(found.stepped for found in self.streams)


class _Scope(NamedTuple):
    """What a verification looks at.

    Args:
        path: the file.
        again: step events again.
        end_n: the last line over all streams when it began. What is held against other streams is taken up to it, so
            that streams which are read one after the other are compared as they were at one instant.
        heads: a file of signed heads, or None.
        trusted: public keys that may sign them; empty: any.
    """

    path: str
    again: bool
    end_n: int
    heads: Path | None
    trusted: frozenset[str]


def verify(
    path: str | Path, *, again: bool = True, processes: int | None = None, progress: Progress | None = None,
    heads: Path | None = None, trusted: Iterable[str] = (),
) -> Verdict:  # fmt: skip
    """Verifies a database; a running desk is not disturbed.

    The file and its tables, each stream, all streams together, the anchor and its signed heads are checked; the
    reference page of journals lists every check.

    Args:
        path: the file.
        again: step events again.
        processes: how many streams are worked on at once; None: as many as there are cores and work for.
        progress: called with lines done and lines in all.
        heads: a file of signed heads that the journal must contain.
        trusted: public keys, in hex, that may have signed heads; empty: the key that each names.

    Raises:
        DatabaseError: it cannot be opened.
        InputError: the heads file cannot be read.
    """
    began = time.monotonic()
    broken, streams, end_n = _looked_at(path)
    scope = _Scope(str(path), again, end_n, heads, frozenset(trusted))
    total = sum(streams.values())
    wanted = processes or min(os.cpu_count() or 1, 1 + total // _LINES_A_PROCESS)
    several = min(wanted, len(streams)) > 1
    # Holders before tokens, which are held against what was dealt at once; of others the longest first, so that none is
    # begun when the rest has ended.
    order = sorted(streams, key=lambda name: (_ORDER.get(name.partition(":")[0], 1), -streams[name]))
    lines = {name: streams[name] for name in order}
    found: list[StreamVerdict] = []
    anchor: AnchorCheck | None = None
    # A file that cannot be opened has no meta row, and is not opened again.
    if order or not broken:
        work = _in_processes if several else _here
        for one in work(scope, lines, wanted, progress or _silent):
            if isinstance(one, AnchorCheck):
                anchor = one
            else:
                found.append(one)
    found.sort()
    facts = {one.stream: one.facts for one in found}
    breaches = (
        *broken,
        *(anchor.breaches if anchor else ()),
        *(breach for one in found for breach in one.breaches),
        *(total_breaches(facts) if found else ()),
        *(_meta_breaches(path, facts) if found else ()),
    )
    came = _end_n(path) - end_n if found else 0
    return Verdict(
        streams=tuple(found), breaches=breaches, elapsed_s=time.monotonic() - began, anchor=anchor, came=came
    )


def verify_stream(
    store: Store, stream: str, scope: _Scope, tick: Callable[[int], None], at_once: Iterable[AtOnce | Stood] = ()
) -> StreamVerdict:
    """Verifies one stream as it is at one instant.

    Args:
        store: the database.
        stream: its name.
        scope: what is looked at.
        tick: called with the number of lines done since the last call.
        at_once: of a token, what all holders dealt with it at once, or were quoted.
    """
    since = 0
    with store.engine.connect() as connection:
        rows = connection.execute(_SNAPSHOTS, {"stream": stream})
        audit = Audit(stream, again=scope.again, shots={row.seq: Snapshot(*row) for row in rows}, end_n=scope.end_n,
                      at_once=at_once, flows=_flows(connection, stream, scope.end_n))  # fmt: skip
        try:
            for line in _lines(connection, stream):
                audit.take(line)
                since += 1
                if since == _TICK:
                    tick(since)
                    since = 0
            audit.close(_projected(connection, stream), _navs(connection, stream), _rebalances(connection, stream),
                        _outbox(connection, stream))  # fmt: skip
        except (sa.exc.DBAPIError, _WrongTypeError) as error:
            audit.damaged(str(getattr(error, "orig", error)))
    tick(since)
    return StreamVerdict(
        stream, audit.lines, audit.stepped, audit.seq, audit.hash, tuple(audit.breaches), audit.unnamed,
        audit.facts.result()._replace(shares=audit.share_facts(), settlements=tuple(audit.settlements)),
    )  # fmt: skip


def _verify_anchor(store: Store, scope: _Scope) -> AnchorCheck:
    with store.engine.connect() as connection:
        try:
            return check_anchor(connection, store.meta, scope.end_n, scope.heads, scope.trusted)
        except sa.exc.DBAPIError as error:
            breach = Breach("", 0, "file", str(error.orig), "a file that can be read")
            return AnchorCheck(START, 0, None, (), (breach,))


def _looked_at(path: str | Path) -> tuple[list[Breach], dict[str, int], int]:
    """Returns what is found in the file's pages and tables; the streams in it; and the last line over all of them."""
    words, streams, end_n = ["ok"], dict[str, int](), 0
    found: list[Breach] = []
    try:
        with Store(path) as store:
            try:
                with store.engine.connect() as connection:
                    words = [row[0] for row in connection.exec_driver_sql("PRAGMA quick_check(10)")]
                    found += form_breaches(connection)
                    found += (wrong := list(type_breaches(connection)))
                    found += meta_row_breaches(connection)
                    found += inbox_breaches(connection)
                if not wrong:  # else nothing that is read further on could be relied on
                    streams = _all_streams(store)
                    end_n = store.end().n
            except sa.exc.DBAPIError as error:
                words = [*words, str(error.orig)]
    except DamagedError as error:
        words = [error.what]
    return [*(Breach("", 0, "file", one, "a whole file") for one in words if one != "ok"), *found], streams, end_n


def _meta_breaches(path: str | Path, facts: dict[str, StreamFacts]) -> list[Breach]:
    with Store(path) as store:
        return list(meta_breaches(store.meta, facts))


def _end_n(path: str | Path) -> int:
    with Store(path) as store:
        return store.end().n


def _all_streams(store: Store) -> dict[str, int]:
    """Returns every stream that any table names, with the number of its lines."""
    streams = {state.stream: 0 for state in store.states()} | store.streams()
    with store.engine.connect() as connection:
        named = {*connection.execute(sa.select(schema.snapshots.c.stream).distinct()).scalars()}
        for kind, column in (("token", schema.navs.c.token), ("token", schema.rebalances.c.token),
                             ("book", schema.outbox.c.book)):  # fmt: skip
            named |= {f"{kind}:{name}" for name in connection.execute(sa.select(column).distinct()).scalars()}
    return dict.fromkeys(sorted(named), 0) | streams


def _lines(connection: sa.Connection, stream: str) -> Iterator[JournalRow]:
    for row in connection.execute(_LINES, {"stream": stream}, execution_options={"yield_per": _TICK}):
        line = JournalRow(*row)
        if tuple(map(type, line[: len(_TYPES)])) != _TYPES or not all(
            one is None or isinstance(one, str) for one in line[len(_TYPES) :]
        ):
            raise _WrongTypeError(f"line {line.seq} holds values of another type")
        yield line


def _projected(connection: sa.Connection, stream: str) -> Projected | None:
    row = connection.execute(_PROJECTED, {"stream": stream}).one_or_none()
    return None if row is None else Projected(*row)


def _flows(connection: sa.Connection, stream: str, end_n: int) -> dict[int, FlowNamed]:
    """Returns what the flows of a token's stream are made of, by their number, up to a line n over all streams.

    A line that cannot be read is left out.

    Raises:
        _WrongTypeError: a row holds a value that no store wrote.
    """
    kind, _, name = stream.partition(":")
    found: dict[int, FlowNamed] = {}
    rows = _lines(connection, f"flows:{name}") if kind == "token" else ()
    for row in (one for one in rows if one.n <= end_n):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            event = flows_line_of(row.body).event
            found[event.number] = event
    return found


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


def _outbox(connection: sa.Connection, stream: str) -> Iterator[OutboxRow]:
    """Yields the orders of a book's outbox."""
    kind, _, name = stream.partition(":")
    if kind == "book":
        wanted = sa.select(schema.outbox).where(schema.outbox.c.book == name)
        for row in connection.execute(wanted, execution_options={"yield_per": _TICK}):
            yield OutboxRow(*row)


def _silent(done: int, total: int) -> None:
    """Reports nothing."""


class _AtOnce:
    """What holders dealt at once, or were quoted, by the stream of the token."""

    def __init__(self) -> None:
        self._found: defaultdict[str, list[AtOnce | Stood]] = defaultdict(list)

    def take(self, found: StreamVerdict) -> None:
        for one in found.facts.shares.at_once:
            self._found[f"token:{one.token}"].append(one)

    def of(self, stream: str) -> tuple[AtOnce | Stood, ...]:
        return tuple(self._found.get(stream, ()))


def _here(
    scope: _Scope, streams: Mapping[str, int], wanted: int, progress: Progress
) -> Iterator[StreamVerdict | AnchorCheck]:
    done, total = 0, sum(streams.values())

    def tick(lines: int) -> None:
        nonlocal done
        done += lines
        progress(done, total)

    at_once = _AtOnce()
    with Store(scope.path) as store:
        for stream in streams:
            found = verify_stream(store, stream, scope, tick, at_once.of(stream))
            at_once.take(found)
            yield found
        yield _verify_anchor(store, scope)


def _in_processes(
    scope: _Scope, streams: Mapping[str, int], wanted: int, progress: Progress
) -> Iterator[StreamVerdict | AnchorCheck]:
    total, context = sum(streams.values()), multiprocessing.get_context("spawn")
    counter = context.Value("Q", 0)
    begin = (scope.path, counter)
    with ProcessPoolExecutor(wanted, mp_context=context, initializer=_begin, initargs=begin) as pool:
        at_once = _AtOnce()
        tokens = [stream for stream in streams if stream.startswith("token:")]
        holders = sum(1 for stream in streams if stream.startswith("holder:"))
        others = {stream: lines for stream, lines in streams.items() if not stream.startswith("token:")}
        waiting: set[Any] = {pool.submit(_work, some, scope, ()) for some in _parcels(others)}
        waiting.add(pool.submit(_work_anchor, scope))
        while waiting or tokens:
            if not holders:
                waiting |= {pool.submit(_work, (stream,), scope, at_once.of(stream)) for stream in tokens}
                tokens = []
            ended, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            progress(counter.value, total)
            for future in ended:
                for one in future.result():
                    if isinstance(one, StreamVerdict):
                        at_once.take(one)
                        holders -= one.stream.startswith("holder:")
                    yield one


def _parcels(streams: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """Yields the streams in parcels of so many lines that handing one to a process costs little."""
    parcel: list[str] = []
    lines = 0
    for stream, length in streams.items():
        parcel.append(stream)
        lines += length
        if lines >= _PARCEL:
            yield tuple(parcel)
            parcel, lines = [], 0
    yield tuple(parcel)


_worker: dict[str, Any] = {}


def _begin(path: str, counter: Synchronized[int]) -> None:
    _worker["store"], _worker["counter"] = Store(path), counter


def _work(streams: tuple[str, ...], scope: _Scope, at_once: tuple[AtOnce | Stood, ...]) -> list[StreamVerdict]:
    counter = cast("Synchronized[int]", _worker["counter"])

    def tick(lines: int) -> None:
        with counter.get_lock():
            counter.value += lines

    return [verify_stream(_worker["store"], stream, scope, tick, at_once) for stream in streams]


def _work_anchor(scope: _Scope) -> list[AnchorCheck]:
    return [_verify_anchor(_worker["store"], scope)]
