"""Measuring and telling: interleaved repetitions in one process, medians, one table."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

Work = Callable[[], object]

SCHEMA = 1


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table.

    Args:
        job: what was measured.
        baseline, gearing: bars per second, or in the unit of `unit`; None if there is none.
        required: the least ratio (unit "bars/s"), the least rate (another unit per second), else the largest value;
            None if only printed.
        tuned: the ratio to the tuned loop, for comparison only.
        baseline_name: which of the two loops was the faster.
        repetitions: how often each was run.
        note: why it was skipped, or what else there is to say.
    """

    job: str
    gearing: float | None = None
    baseline: float | None = None
    baseline_name: str = ""
    tuned: float | None = None
    required: float | None = None
    unit: str = "bars/s"
    repetitions: int = 0
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Gearing's rate over the baseline's."""
        return self.gearing / self.baseline if self.gearing and self.baseline else None

    @property
    def is_rate(self) -> bool:
        """Whether more of it is better."""
        return self.unit.endswith("/s")

    @property
    def passed(self) -> bool | None:
        """Whether the requirement is met; None if there is none or nothing was measured."""
        if self.required is None or self.gearing is None:
            return None
        if self.unit != "bars/s":
            return self.gearing >= self.required if self.is_rate else self.gearing <= self.required
        return self.ratio is not None and self.ratio >= self.required


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one run of the benchmark found."""

    schema: int = SCHEMA
    machine: str
    rows: list[Row]


def machine() -> str:
    """Returns one line about the machine and what runs on it."""
    import numba
    import numpy

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1] for line in info.read_text().splitlines() if line.startswith("model name")]
        name = names[0].strip() if names else name
    versions = f"Python {platform.python_version()}, numba {numba.__version__}, numpy {numpy.__version__}"
    return f"{name}, {os.cpu_count()} cores, {versions}"


def _seconds(work: Work, loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        work()
    return (time.perf_counter() - start) / loops


def medians(works: Mapping[str, Work], repetitions: int, sample_s: float = 0.004) -> dict[str, float]:
    """Returns the median seconds of each, measured in turn (A B A B …) so that a slow spell hits all alike.

    A work shorter than `sample_s` is repeated within one sample until it is that long.
    """
    loops = dict.fromkeys(works, 1)
    for name, work in works.items():
        work()
        loops[name] = max(1, min(1_000, int(sample_s / max(_seconds(work, 1), 1e-7))))
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repetitions):
        for name, work in works.items():
            taken[name].append(_seconds(work, loops[name]))
    return {name: statistics.median(times) for name, times in taken.items()}


def compare(
    job: str,
    bars: int,
    straight: Mapping[str, Work],
    tuned: Work,
    gearing: Work,
    *,
    required: float | None,
    repetitions: int,
    copying: Work | None = None,
) -> Row:
    """Measures the loops and Gearing on the same bars; the faster straight loop is the baseline.

    `copying` does nothing but copy what is written, which tells what the machine's memory allows at that moment.
    """
    bare = {} if copying is None else {"copying": copying}
    times = medians({**straight, "tuned": tuned, "gearing": gearing, **bare}, repetitions)
    best = min(straight, key=lambda name: times[name])
    note = f"a bare copy {bars / times['copying'] / 1e6:,.0f} M/s" if bare else ""
    return Row(
        job=job,
        gearing=bars / times["gearing"],
        baseline=bars / times[best],
        baseline_name=best,
        tuned=times["tuned"] / times["gearing"],
        required=required,
        repetitions=repetitions,
        note=note,
    )


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit == "bars/s":
        return f"{value / 1e6:,.0f} M/s" if value >= 1e7 else f"{value / 1e6:.2f} M/s"
    if unit == "s":
        return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"
    if unit.endswith("/s"):
        return f"{value:,.0f}/s"
    return f"{value:.3g} {unit}"


def _required(row: Row) -> str:
    if row.required is None:
        return "–"
    if row.unit == "bars/s":
        return f"≥ {row.required:g}×"
    return f"{'≥' if row.is_rate else '≤'} {_value(row.required, row.unit)}"


_MARKS = {True: "pass", False: "FAIL", None: ""}


def table(report: Report) -> Any:
    """Returns the report as a Rich table."""
    from rich.table import Table

    result = Table(title=report.machine, title_justify="left", title_style="", box=None, pad_edge=False)
    result.add_column("job", no_wrap=True)
    for name in ("baseline", "Gearing", "ratio", "required", "", "vs tuned", "n"):
        result.add_column(name, justify="right", no_wrap=True)
    result.add_column("note")
    for row in report.rows:
        mark = "skip" if row.gearing is None else _MARKS[row.passed]
        note = ", ".join(part for part in (row.baseline_name, row.note) if part)
        result.add_row(
            row.job,
            _value(row.baseline, row.unit),
            _value(row.gearing, row.unit),
            "–" if row.ratio is None else f"{row.ratio:.1f}×",
            _required(row),
            mark,
            "–" if row.tuned is None else f"{row.tuned:.1f}×",
            str(row.repetitions or ""),
            note,
            style={"FAIL": "red", "skip": "dim"}.get(mark, ""),
        )
    return result
