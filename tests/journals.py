"""Journals to test a store with: exact backtests of invented markets, line by line as a desk would write them."""

from __future__ import annotations

import io
from contextlib import closing
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import msgspec

import gearing as gr
from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core.anchor import START, leaf_of
from gearing.core.journal import GENESIS, Line, body_of, hash_of, state_body, state_hash
from gearing.core.measured import measure
from gearing.core.state import TokenState
from gearing.core.step import BEHAVIOUR, step
from gearing.core.terms import Spec
from gearing.drive.effects import Effects
from gearing.drive.outbox import row_of
from gearing.store.database import connect, init_database
from gearing.store.export import write_export
from gearing.store.records import (
    BookLine,
    Commit,
    Nav,
    OutboxChange,
    OutboxRow,
    Projected,
    RebalanceRow,
    Written,
    book_line_of,
)
from gearing.store.store import Store
from gearing.study.exact import exact_backtest
from gearing.study.exact_result import Happened

NOW_MS = 1_700_000_000_000
INCARNATION = "abc123"
COSTS = gr.Costs(taker_fee=5e-4, half_spread=2e-4)


@lru_cache(maxsize=8)
def happened(target: float = 3.0, *, days: int = 20, all_in: bool = False, volatility: float = 0.7):
    """What happened to a token in an invented market; hourly NAVs are struck between its events."""
    prices, funding = gr.make_market(seed=7, days=days, interval="1h", volatility=volatility)
    fees = gr.Fees(all_in=True) if all_in else gr.Fees(management_per_day=0.0003)
    side = "L" if target > 0 else "S"
    token = gr.Token(symbol=f"BTC{abs(target):g}{side}", target=target, rule="ftx", costs=COSTS, fees=fees,
                     legs=(gr.Perpetual(symbol="BTC"),))  # fmt: skip
    run = exact_backtest(token, prices, funding=funding)
    return tuple(_with_navs(Spec(token), run.happened))


def _with_navs(spec: Spec, seen: list[Happened]):
    """The same events, each stepped anew, with a NAV struck half way to each price that a token was asked at."""
    state = TokenState()
    for before, now in pairwise([seen[0], *seen]):
        event = now.event
        prices = getattr(event, "prices", ())
        if event.time_ms > before.event.time_ms and prices:
            half = tuple((leg.mark + price) / 2 for leg, price in zip(state.legs, prices, strict=True))
            struck = ev.NavStruck(time_ms=(event.time_ms + before.event.time_ms) // 2, prices=half)
            done = step(spec, state, struck)
            state = done.state
            yield Happened(now.bar, struck, done.entry, state)
        done = step(spec, state, event)
        state = done.state
        yield Happened(now.bar, event, done.entry, state)


def chained(stream: str, rows) -> list[Commit]:
    """One commit for each (record without its place in a stream, state after it, published NAVs, rebalances)."""
    before, commits = GENESIS, []
    for seq, (make, state, navs, *rebalances) in enumerate(rows, 1):
        body_after = state_body(state)
        line = make(stream, seq, state_hash(body_after))
        body = body_of(line)
        before = hash_of(before, body)
        commits.append(Commit(
            lines=(Written(stream, seq, line.time_ms, body, before),),
            states=(Projected(stream, seq, before, body_after),), navs=navs,
            rebalances=tuple(rebalances),
        ))  # fmt: skip
    return commits


def token_commits(events: tuple[Happened, ...]) -> list[Commit]:
    """The commits of a token's journal."""
    launched = events[0].event
    assert isinstance(launched, ev.Launched)
    symbol = launched.token.symbol
    every = zip(events, measured(events, symbol), strict=True)
    return chained(f"token:{symbol}", [(*_row(symbol, seen), *rows) for seen, rows in every])


def measured(events: tuple[Happened, ...], symbol: str):
    """What is measured of rebalances with each event."""
    before, last = TokenState(), None
    for seen in events:
        found = measure(last, symbol, ("BTC",), before, seen.state, seen.event)
        before, last = seen.state, found[-1] if found else last
        yield [RebalanceRow(one.token, one.epoch, one.started_ms, body_of(one)) for one in found]


def _row(symbol: str, seen: Happened):
    event, state = seen.event, seen.state

    def make(stream: str, seq: int, digest: str) -> Line:
        return Line(stream=stream, seq=seq, time_ms=event.time_ms, behaviour=BEHAVIOUR, event=event, entry=seen.entry,
                    nav=state.nav, units=state.balances.units, state=digest)  # fmt: skip

    navs: tuple[Nav, ...] = ()
    if isinstance(event, ev.NavStruck):
        navs = (Nav(symbol, event.time_ms, "minute", state.nav, state.balances.units, event.prices),)
    return make, state, navs


def book_commits(name: str = "main", orders: int = 3, live: int = 0) -> list[Commit]:
    """The commits of a book that placed some orders and saw them filled in two parts, and waits for some more.

    Each order has its row in the outbox.
    """
    state, rows = bk.BookState(), []

    def note(event):
        nonlocal state
        state = bk.book_step(state, event)

        def make(stream, seq, digest):
            return BookLine(stream=stream, seq=seq, time_ms=event.time_ms, behaviour=BEHAVIOUR, event=event,
                            state=digest)  # fmt: skip

        rows.append((make, state, ()))

    note(bk.BookOpened(time_ms=NOW_MS, number=0, incarnation=INCARNATION, tokens=("BTC3L",)))
    for k in range(orders + live):
        purpose = bk.Purpose(token="BTC3L", leg=0, epoch=k + 1, slice=0, attempt=0)
        order = bk.LiveOrder(id=bk.order_id(state), symbol="BTC", lots=10, reduces=False, purpose=purpose)
        note(bk.OrderPlaced(time_ms=NOW_MS + k, order=order))
        if k >= orders:
            continue
        for part, lots in enumerate((4, 6)):
            note(bk.Traded(time_ms=NOW_MS + k, id=order.id, trade=f"t{k}.{part}", lots=lots, price=40000.5,
                           commission=7))  # fmt: skip
        note(bk.OrderClosed(time_ms=NOW_MS + k, id=order.id, outcome="filled"))
    return [_with_orders(name, commit) for commit in chained(f"book:{name}", rows)]


def _with_orders(book: str, commit: Commit) -> Commit:
    event = book_line_of(commit.lines[0].body).event
    if isinstance(event, bk.OrderPlaced):
        return msgspec.structs.replace(commit, outbox=(row_of(book, event.order, event.time_ms),))
    if isinstance(event, bk.OrderClosed):
        return msgspec.structs.replace(commit, changes=(OutboxChange(event.id, "ready", "done", 5, 9),))
    return commit


def rows_of(effects: Effects, book: str = "main") -> list[OutboxRow | OutboxChange]:
    """The outbox rows of what a driver without a desk placed and closed."""
    placed = {order.id: row_of(book, order, NOW_MS) for order in effects.placed}
    ended = [row._replace(status="done") if key in effects.closed else row for key, row in placed.items()]
    return [*ended, *(OutboxChange(key, "ready", "done", 5, 9) for key in effects.closed if key not in placed)]


def live_of(commits: list[Commit]) -> list[str]:
    """The ids of the orders that a book waits for after these commits."""
    return list(msgspec.json.decode(commits[-1].states[0].body, type=bk.BookState).live)


def new_database(path: Path, now_ms: int = NOW_MS) -> None:
    """A new database of the incarnation that books in tests are opened with."""
    init_database(path, "demo", now_ms)
    with closing(connect(path)) as connection:
        connection.execute("UPDATE meta SET incarnation = ?", (INCARNATION,))


def number_again(path: Path) -> None:
    """What a forger does who can write to the database: n and chain of all lines are made to fit."""
    with closing(connect(path)) as connection:
        rows = connection.execute("SELECT rowid, stream, seq, hash FROM journal ORDER BY n").fetchall()
        point, changes = START, []
        for row, stream, seq, line_hash in rows:
            point = point.after(leaf_of(stream, seq, line_hash))
            changes.append((point.n, point.chain, row))
        connection.execute("BEGIN")
        connection.execute("UPDATE journal SET n = -n")  # so that no number is taken meanwhile
        connection.executemany("UPDATE journal SET n = ?, chain = ? WHERE rowid = ?", changes)
        connection.execute("COMMIT")


def database(path, *journals: list[Commit]):
    """A new database with these journals in it."""
    new_database(path)
    with Store(path, "demo") as store:
        for commits in journals:
            store.commit(commits)
    return path


def lines_of(path: Path, stream: str | None = None) -> list[bytes]:
    """The lines of an export of a database."""
    out = io.BytesIO()
    count = write_export(path, out.write, stream)
    lines = out.getvalue().splitlines(keepends=True)
    assert count == sum(b'"hash":' in line for line in lines)
    return lines


__all__ = ["COSTS", "INCARNATION", "NOW_MS", "Spec", "book_commits", "chained", "database", "happened", "lines_of",
           "live_of", "measured", "new_database", "number_again", "rows_of", "token_commits"]  # fmt: skip
