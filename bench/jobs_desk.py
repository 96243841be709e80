"""The desk: ticks from bytes to decision, events through step, ledger and store, and a restart."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

import gearing as gr
from bench.harness import Row
from gearing.core.terms import Spec
from gearing.core.watch import Watch
from gearing.desk.boot import boot
from gearing.desk.keeper import commit_of
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.anchor import Anchor
from gearing.store.database import init_database
from gearing.store.heads import HeadsFile
from gearing.store.keys import make_key
from gearing.store.records import Commit, Written
from gearing.store.store import Store
from gearing.store.writer import Writer
from gearing.venues.protocol import Quote

_UNDERLYINGS = 50
_TICKS = 50_000
_NOW_MS = 1_767_225_600_000


def rows(repetitions: int) -> Iterator[Row]:
    """Yields the rows of the desk."""
    few = _ticking(1_000, repetitions)
    yield few[0]
    yield few[1]
    many = _ticking(100_000, repetitions)
    note = f"{many[0].gearing / few[0].gearing:.0%} of that with 1,000" if many[0].gearing and few[0].gearing else ""
    yield msgspec.structs.replace(many[0], note=note)
    yield _arming(100_000)
    with tempfile.TemporaryDirectory() as place:
        yield from _storing(Path(place), repetitions)


def _market(tokens: int) -> Market:
    market = Market(GuardLimits())
    draw = np.random.default_rng(5)
    symbols = [f"C{k:02d}USDT" for k in range(_UNDERLYINGS)]
    for symbol in symbols:
        market.take(Quote(symbol=symbol, time_ms=_NOW_MS, mark=100.0, index=100.0), _NOW_MS)
    for number in range(tokens):
        symbol = symbols[number % _UNDERLYINGS]
        market.list_token(number, (symbol,))
        below, above = 100.0 * (1 - draw.uniform(0.03, 0.3)), 100.0 * (1 + draw.uniform(0.03, 0.3))
        market.arm(number, (symbol,), Watch(float("inf"), (below,), (above,)), float("inf"))
    return market


def _messages(count: int) -> list[bytes]:
    """Prices of all underlyings in turn, a small walk that crosses nothing."""
    draw = np.random.default_rng(6)
    marks = 100.0 * np.exp(
        np.clip(np.cumsum(draw.standard_normal((count // _UNDERLYINGS, _UNDERLYINGS)), 0) * 1e-5, -1, 1)
    )
    encode = msgspec.json.Encoder().encode
    return [
        encode(Quote(symbol=f"C{k:02d}USDT", time_ms=_NOW_MS + 100 * n, mark=round(mark, 4), index=round(mark, 4)))
        for n, row in enumerate(marks.tolist())
        for k, mark in enumerate(row)
    ]


def _plainly(messages: Sequence[bytes]) -> float:
    """Returns ticks/s of the least there is to do: decode, look up, hold against two numbers, guard nothing."""
    decode, asleep = msgspec.json.Decoder(Quote).decode, {f"C{k:02d}USDT": (50.0, 200.0) for k in range(_UNDERLYINGS)}
    start = time.perf_counter()
    for message in messages:
        quote = decode(message)
        low, high = asleep[quote.symbol]
        if not low <= quote.mark <= high:
            raise AssertionError("a tick crossed a barrier")
    return len(messages) / (time.perf_counter() - start)


def _ticking(tokens: int, repetitions: int) -> tuple[Row, Row]:
    """Message bytes to decision: decoded, guarded, held against the barriers; the messages of an instant together.

    How long one takes is measured of messages that come alone.
    """
    messages = _messages(_TICKS)
    rates, plain, worst = [], [], []
    for _ in range(repetitions):
        plain.append(_plainly(messages))
        driver, decode = Driver(_market(tokens)), msgspec.json.Decoder(Quote).decode
        start = time.perf_counter()
        for first in range(0, len(messages), _UNDERLYINGS):
            quotes = [decode(message) for message in messages[first : first + _UNDERLYINGS]]
            if driver.on_quotes(quotes, quotes[-1].time_ms):
                raise AssertionError("a tick crossed a barrier")
        rates.append(len(messages) / (time.perf_counter() - start))
        driver, each = Driver(_market(tokens)), []
        for message in messages:
            begun = time.perf_counter_ns()
            quote = decode(message)
            driver.on_quotes((quote,), quote.time_ms)
            each.append(time.perf_counter_ns() - begun)
        worst.append(float(np.quantile(each, 0.99)) * 1e-9)
    job = f"ticks, {tokens:,} tokens on {_UNDERLYINGS} underlyings"
    rate = Row(
        job=job,
        baseline=statistics.median(plain),
        gearing=statistics.median(rates),
        required=500_000.0,
        unit="ticks/s",
        repetitions=repetitions,
    )
    slow = Row(job=f"{job}, p99", gearing=statistics.median(worst) * 1e6, required=5.0, unit="µs",
               repetitions=repetitions)  # fmt: skip
    return rate, slow


def _arming(tokens: int) -> Row:
    """How long a token takes to be armed anew among many."""
    market = _market(tokens)
    start = time.perf_counter()
    for number in range(0, tokens, 10):
        symbol = f"C{number % _UNDERLYINGS:02d}USDT"
        market.arm(number, (symbol,), Watch(float("inf"), (80.0,), (120.0,)), float("inf"))
    taken = (time.perf_counter() - start) / (tokens / 10)
    return Row(job=f"re-arming one of {tokens:,} tokens", gearing=taken * 1e6, unit="µs", repetitions=1)


def _driven(times: Sequence[int], close: Sequence[float]) -> Iterator[Commit]:
    """Yields the commits of a token over hours: NAVs, fees, rebalances."""
    token = gr.Token(symbol="BTC3L", target=3.0, rule="ftx", legs=(gr.Perpetual(symbol="BTC"),))
    driver = Driver(Market(GuardLimits(jump_deviations=1e9)))
    driver.market.list_token(0, ("BTC",))
    driver.market.take(Quote(symbol="BTC", time_ms=times[0], mark=close[0], index=close[0]), times[0])
    book = driver.open_book("BTC3L", "bench0", ["BTC3L"], times[0])
    driver.launch(book, Spec(token), ("1E-13",), 10**14, 10**12, times[0])
    yield commit_of(driver.taken(), (), ())
    for now_ms, mark in zip(times[1:], close[1:], strict=True):
        driver.on_quotes([Quote(symbol="BTC", time_ms=now_ms, mark=mark, index=mark)], now_ms)
        effects = driver.taken()
        if effects.lines:
            yield commit_of(effects, (), ())


def _storing(place: Path, repetitions: int) -> Iterator[Row]:
    """Events through step, invariants and group commit with fsync; the raw insert rate beside it; and a restart."""
    prices, _ = gr.make_market(seed=7, days=365, interval="1h")
    times, close = prices.times_ms.tolist(), prices.close.tolist()
    for _ in _driven(times[:240], close[:240]):  # what is compiled is loaded with the first of them
        pass
    events, kept, raw = 0, [], []
    for number in range(repetitions):
        events, taken = _kept(place / f"{number}.db", times, close)
        kept.append(events / taken)
        raw.append(events / _inserted(place / f"{number}-raw.db", events))
    yield Row(
        job="events through step, invariants, group commit",
        gearing=statistics.median(kept),
        required=6_000.0,
        unit="events/s",
        repetitions=repetitions,
        note=f"raw inserts {statistics.median(raw):,.0f}/s",
    )
    with Store(place / "0.db", "demo") as store:
        start = time.perf_counter()
        boot(store, Market(GuardLimits()), window_ms=2_000, visibility_ms=1_000, now_ms=_NOW_MS)
        yield Row(job=f"restart after {events:,} events", gearing=time.perf_counter() - start, required=5.0, unit="s",
                  repetitions=1)  # fmt: skip


def _kept(file: Path, times: Sequence[int], close: Sequence[float]) -> tuple[int, float]:
    """Lets a token live into a fresh database; returns its events and the seconds until all of them were durable."""
    init_database(file, "demo", _NOW_MS)
    events = 0
    errors: list[BaseException | None] = []
    anchor = Anchor(make_key(file.with_suffix(".key")), HeadsFile(file.with_suffix(".heads")))
    with Store(file, "demo", anchor) as store:
        start = time.perf_counter()
        with Writer(store) as writer:  # it ends when all of them are durable
            for commit in _driven(times, close):
                events += len(commit.lines)
                writer.submit(commit, errors.append)
        taken = time.perf_counter() - start
    if not errors or any(errors):
        raise AssertionError(f"a commit was not kept: {errors}")
    return events, taken


def _inserted(file: Path, events: int) -> float:
    """Inserts so many rows of that size into a fresh database and does nothing else; returns the seconds."""
    init_database(file, "demo", _NOW_MS)
    raw = [Written("token:raw", n, 0, b"x" * 300, "0" * 64) for n in range(1, events + 1)]
    start = time.perf_counter()
    with Store(file, "demo") as store:
        connection = store.appender.connection
        for first in range(0, events, 256):
            connection.execute("BEGIN IMMEDIATE")
            rows = [(*line, line.seq, "0" * 64) for line in raw[first : first + 256]]
            connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
    return time.perf_counter() - start
