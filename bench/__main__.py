"""`python -m bench`: every job of the reference benchmark in one run, as a table or as JSON."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

# The baselines' idle threads would otherwise spin on a core for a while after each parallel loop, and slow
# down whatever is measured next. It is read when the threads start, so it is set before anything is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from bench import reference as ref
from bench.harness import Report, Row, machine, table

GROUPS = ("one", "sweep", "paths", "backtest", "cold", "vectorbt", "memory", "desk", "counter", "load", "journal")


def measure(groups: list[str], quick: bool) -> Iterator[Row]:
    """Yields the rows of the wanted groups, after all results have been held against the known ones."""
    from bench import jobs_one, jobs_whole
    from bench.subject import index

    path = ref.reference_path()
    times_ms = ref.bar_times(len(path), ref.MINUTE_MS)
    indexed = index(times_ms, path, ref.MINUTE_MS, ref.FUNDING_BARS)
    jobs_one.check_known(path, indexed)
    repetitions = 5 if quick else 25
    few = 3 if quick else 7
    if "one" in groups:
        yield from jobs_one.OnePath(path, indexed, repetitions).rows()
    if "sweep" in groups or "paths" in groups:
        from bench import jobs_many

        if "sweep" in groups:
            yield from jobs_many.sweep_rows(path, indexed, few)
        if "paths" in groups:
            yield from jobs_many.paths_rows(repetitions)
    if "backtest" in groups:
        yield jobs_whole.backtest_row(path, repetitions)
    if "cold" in groups:
        yield from jobs_whole.cold_rows(path, 3 if quick else 5)
    if "vectorbt" in groups:
        yield jobs_whole.vectorbt_row(indexed, repetitions)
    if "memory" in groups:
        yield jobs_whole.memory_row()
    if "desk" in groups:
        from bench import jobs_desk

        yield from jobs_desk.rows(few)
    if "counter" in groups:
        from bench import jobs_counter

        yield from jobs_counter.rows(5_000 if quick else 30_000)
    if "load" in groups:
        from bench import jobs_load

        yield from jobs_load.rows(20_000 if quick else 100_000)
    if "journal" in groups:
        from bench import jobs_journal

        yield from jobs_journal.rows(50_000 if quick else 1_000_000)


def main() -> int:
    """Runs the benchmark; returns 3 if a requirement is missed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", choices=GROUPS, help=", ".join(GROUPS))
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    options = parser.parse_args()
    rows = []
    for row in measure(options.only or list(GROUPS), options.quick):
        rows.append(row)
        print(f"{row.job} …", file=sys.stderr, flush=True)
    report = Report(machine=machine(), rows=rows)
    if options.json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        from rich.console import Console

        console = Console(width=max(Console().width, 150))
        console.print(table(report))
    return 3 if any(row.passed is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
