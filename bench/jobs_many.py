"""Many rules on one path and one rule on many paths, on every core."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench import baseline
from bench import reference as ref
from bench.harness import Row, compare
from bench.reference import Floats
from bench.subject import Indexed, fig, index, make_token, pack
from gearing.kernels.many import run_paths, run_rules

_HOURS, _PATHS, _SEED = 8_760, 1_000, 11
_HOUR_FUNDING, _HOUR_DAY = 8, 24


def _check(found: Floats, expected: Floats, name: str) -> None:
    """Holds Gearing's figures against a loop's: equity, rebalances, turnover, and what else both have."""
    assert np.array_equal(found[:, fig.REBALANCES], expected[:, baseline.REBALANCES]), f"{name}: rebalances"
    pairs = [(fig.EQUITY, baseline.FINAL), (fig.TURNOVER, baseline.TURNOVER)]
    if expected.shape[1] > baseline.DRAWDOWN:
        pairs += [(fig.DRAWDOWN_MAX, baseline.DRAWDOWN)]
    for ours, theirs in pairs:
        gap = np.abs(found[:, ours] - expected[:, theirs])
        assert (gap <= ref.TOLERANCE * np.abs(expected[:, theirs]).clip(1.0)).all(), f"{name}: {fig.FIGURES[ours]}"


def sweep_rows(path: Floats, indexed: Indexed, repetitions: int) -> Iterator[Row]:
    """The sweep of 1,008 rules, final figures first, then with drawdown and tracking error."""
    rules = ref.sweep_rules()
    n = len(rules.targets)
    flats = [pack(make_token(*rule)) for rule in zip(*(values.tolist() for values in rules), strict=True)]
    calendars = [indexed.calendar] * n
    clock = baseline.make_clock(len(path))
    for measured, job, required in ((False, "sweep", 25.0), (True, "sweep with drawdown and tracking", 2.0)):
        out = np.empty((n, baseline.N_FIGURES if measured else 3))

        def work(loops: baseline.Loops, measured: bool = measured, out: Floats = out) -> None:
            (loops.measured if measured else loops.sweep)(path, *rules, clock, out)

        def gearing(measured: bool = measured) -> Floats:
            return run_rules(flats, indexed.series, calendars, ref.EQUITY, measured=measured)

        work(baseline.FLAGS)
        _check(gearing(), out, job)
        straight = {name: lambda loops=loops: work(loops) for name, loops in baseline.STRAIGHT.items()}
        yield compare(
            f"{job}, {n:,} rules",
            n * len(path),
            straight,
            lambda: work(baseline.TUNED),
            gearing,
            required=required,
            repetitions=repetitions,
        )


def paths_rows(repetitions: int) -> Iterator[Row]:
    """One rule on many hourly paths; indexing is part of the work, since every path is new."""
    paths = ref.make_paths(_SEED, _PATHS, _HOURS, _HOURS)
    times_ms = ref.bar_times(_HOURS, ref.HOUR_MS)
    shape, calendar = index(times_ms, paths[0], ref.HOUR_MS, _HOUR_FUNDING)
    flat = pack(make_token(3.0, ref.DEVIATION))
    clock = baseline.make_clock(_HOURS, _HOUR_FUNDING, _HOUR_DAY)
    out = np.empty((_PATHS, 3))

    def work(loops: baseline.Loops) -> None:
        loops.paths(paths, 3.0, ref.DEVIATION, ref.TAKER_FEE, clock, out)

    def gearing() -> Floats:
        return run_paths(flat, shape, calendar, paths, ref.EQUITY)

    work(baseline.FLAGS)
    _check(gearing(), out, "many paths")
    straight = {name: lambda loops=loops: work(loops) for name, loops in baseline.STRAIGHT.items()}
    yield compare(
        f"many paths, {_PATHS:,} × {_HOURS:,} bars",
        paths.size,
        straight,
        lambda: work(baseline.TUNED),
        gearing,
        required=1.5,
        repetitions=repetitions,
    )
