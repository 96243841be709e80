"""One path: the reference job with and without the path of equity, indexed and with indexing included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench import baseline
from bench import reference as ref
from bench.harness import Row, compare
from bench.reference import Floats
from bench.subject import Indexed, Runner, fig, index

_NO_PATH = np.empty(0)
_TARGETS = (3.0, -3.0)


def check_known(path: Floats, indexed: Indexed) -> None:
    """Holds every loop and Gearing against the known results before anything is timed.

    Raises:
        AssertionError: an equity, a count, a turnover or a path differs.
    """
    clock, kept = baseline.make_clock(len(path)), np.empty(len(path))
    for known in ref.KNOWN:
        runner = Runner(known.target, known.deviation, len(path))
        runner.with_path(indexed)
        found = {"Gearing": runner.figures[[fig.EQUITY, fig.REBALANCES, fig.TURNOVER]]}
        for name, loops in (*baseline.STRAIGHT.items(), ("tuned", baseline.TUNED)):
            rule = (path, known.target, known.deviation, ref.TAKER_FEE, clock)
            found[name] = loops.final(*rule, _NO_PATH)
            assert loops.path(*rule, kept) == found[name], f"{name}: with and without the path differ"
            assert np.allclose(kept, runner.path, rtol=ref.TOLERANCE, atol=0.0), f"{name}: another path"
        for name, (equity, rebalances, turnover) in found.items():
            assert abs(equity / known.equity - 1.0) <= ref.TOLERANCE, f"{name} {known}: equity {equity!r}"
            assert rebalances == known.rebalances, f"{name} {known}: {rebalances} rebalances"
            assert abs(turnover / known.turnover - 1.0) <= ref.TOLERANCE, f"{name} {known}: turnover {turnover!r}"


class OnePath:
    """The jobs on one path, each over both targets."""

    def __init__(self, path: Floats, indexed: Indexed, repetitions: int) -> None:
        self.path, self.indexed, self.repetitions = path, indexed, repetitions
        self.times_ms = ref.bar_times(len(path), ref.MINUTE_MS)
        self.clock, self.kept = baseline.make_clock(len(path)), np.empty(len(path))

    def _loops(self, loops: baseline.Loops, deviation: float, with_path: bool) -> Any:
        loop, kept = (loops.path, self.kept) if with_path else (loops.final, _NO_PATH)

        def work() -> None:
            for target in _TARGETS:
                loop(self.path, target, deviation, ref.TAKER_FEE, self.clock, kept)

        return work

    def _gearing(self, deviation: float, with_path: bool, indexing: bool) -> Any:
        runners = [Runner(target, deviation, len(self.path)) for target in _TARGETS]

        def work() -> None:
            for runner in runners:
                indexed = self.indexed
                if indexing:
                    indexed = index(self.times_ms, self.path, ref.MINUTE_MS, ref.FUNDING_BARS)
                (runner.with_path if with_path else runner.final)(indexed)

        return work

    def row(self, job: str, deviation: float, *, with_path: bool, indexing: bool = False, required: float) -> Row:
        """Measures one job."""
        straight = {name: self._loops(loops, deviation, with_path) for name, loops in baseline.STRAIGHT.items()}
        return compare(
            job,
            len(_TARGETS) * len(self.path),
            straight,
            self._loops(baseline.TUNED, deviation, with_path),
            self._gearing(deviation, with_path, indexing),
            required=required,
            repetitions=self.repetitions,
            copying=self._copying() if with_path else None,
        )

    def _copying(self) -> Any:
        """Copies the path into a place of its own for each target: memory traffic and nothing else."""
        places = [np.empty(len(self.path)) for _ in _TARGETS]

        def work() -> None:
            for place in places:
                np.copyto(place, self.path)

        return work

    def rows(self) -> Iterator[Row]:
        """Measures the jobs in turn."""
        for with_path, required in ((True, 5.0), (False, 15.0)):
            name = "with path" if with_path else "final only"
            yield self.row(f"one path, {name}", ref.DEVIATION, with_path=with_path, required=required)
            yield self.row(
                f"one path, {name}, and indexing",
                ref.DEVIATION,
                with_path=with_path,
                indexing=True,
                required=1.0,
            )
            for width in (0.03, 0.01):
                yield self.row(f"band of {width:.0%}, {name}", width, with_path=with_path, required=1.0)
