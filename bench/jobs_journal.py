"""A million journalled events: how soon a desk is ready after a restart, and how long it takes to verify them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.harness import Row
from gearing.core.record import DAY_MS
from gearing.desk.boot import boot
from gearing.desk.config import DeskConfig
from gearing.desk.past import STEP_MS, Past
from gearing.desk.planned import Placed, Planned, planned
from gearing.drive.driver import Driver
from gearing.drive.market import Market
from gearing.store.database import init_database
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.paper.engine import Engine

_TOKENS = 100
_HOUR_MS = 3_600_000


def rows(lines: int) -> Iterator[Row]:
    """Yields the rows; the journal is that of the demo's tokens, each several times, in books of their own."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "desk.db"
        plan = _plan(Path(name))
        written = _lived(plan, file, lines)
        with Store(file, "demo") as store:
            start = time.perf_counter()
            booted = boot(store, Market(plan.guard), window_ms=2_000, visibility_ms=1_000, now_ms=store.last_ms())
            taken = time.perf_counter() - start
        yield Row(job=f"restart after {written:,} events", gearing=taken, required=5.0, unit="s", repetitions=1,
                  note=f"{len(booted.driver.tokens)} tokens")  # fmt: skip
        start = time.perf_counter()
        found = verify(file)
        taken = time.perf_counter() - start
        if found.breaches:
            raise AssertionError(f"the journal does not hold: {found.breaches[:3]}")
        yield Row(job=f"verify of {found.lines:,} lines", gearing=taken, required=120.0, unit="s", repetitions=1,
                  note="each stepped again")  # fmt: skip


def _plan(place: Path) -> Planned:
    plan = planned(DeskConfig(), place)
    many = []
    for number in range(_TOKENS):
        token, _, capital = plan.tokens[number % len(plan.tokens)]
        named = msgspec.structs.replace(token, symbol=f"{token.symbol}N{number}")
        many.append(Placed(named, named.symbol, capital))
    return plan._replace(tokens=tuple(many))


def _lived(plan: Planned, file: Path, lines: int) -> int:
    """Lets tokens live until their journal is long enough; returns how long it became."""
    init_database(file, "demo", plan.start_ms)
    driver = Driver(Market(plan.guard), nav_ms=_HOUR_MS, on_deleveraging=plan.config.breakers.on_deleveraging)
    past = Past(driver, Engine(plan.setup(quick=True)), plan.feed)
    written, now_ms = 0, plan.start_ms - 350 * DAY_MS
    with Store(file, "demo") as store:
        past.launch(plan.tokens, store.meta.incarnation, now_ms)
        while written < lines:
            past.live(now_ms + STEP_MS, now_ms + DAY_MS, STEP_MS, lambda done, of: None)
            now_ms += DAY_MS
            written += sum(len(commit.lines) for commit in past.commits)
            store.commit(past.commits)
            past.commits.clear()
    return written
