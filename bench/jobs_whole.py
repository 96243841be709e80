"""The whole program: `gr.backtest` end to end, cold starts, memory, and vectorbt on the same job."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import reference as ref
from bench.harness import Row, medians
from bench.reference import Floats
from bench.subject import Indexed, Runner, make_token

_ROOT = Path(__file__).parent.parent
_TARGETS = (3.0, -3.0)
_YEARS, _RULES = 5, 1_000


def backtest_row(path: Floats, repetitions: int) -> Row:
    """`gr.backtest` on a year of minutes, warm, with everything it can tell materialised."""
    import gearing as gr

    times_ms = ref.bar_times(len(path), ref.MINUTE_MS)
    funding = ref.settlements(times_ms, ref.FUNDING_BARS)
    costs = gr.Costs(taker_fee=ref.TAKER_FEE, half_spread=ref.HALF_SPREAD)
    token = make_token(3.0, ref.DEVIATION)

    def work() -> None:
        result = gr.backtest(token, (times_ms, path), funding=funding, costs=costs, equity=ref.EQUITY)
        assert len(result.nav) == len(path)
        assert len(result.rebalances) == ref.KNOWN[1].rebalances
        assert result.attribution
        assert result.summary().rebalances == ref.KNOWN[1].rebalances

    seconds = medians({"backtest": work}, repetitions)["backtest"]
    return Row(job="gr.backtest, all results", gearing=seconds, required=0.030, unit="s", repetitions=repetitions)


def _gearing(*words: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from gearing.cli.main import main; sys.exit(main())", *words]


def _wall(command: list[str], repetitions: int) -> float:
    """Returns the median wall time of a command, after one run that fills every cache."""
    taken = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def cold_rows(path: Floats, repetitions: int) -> Iterator[Row]:
    """A fresh process each: `gearing --help`, and `gearing backtest` with its kernels on disk."""
    import polars as pl

    jobs = {"gearing --help": (["--help"], 0.3)}
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "prices.parquet")
        times = pl.Series("time", ref.bar_times(len(path), ref.MINUTE_MS)).cast(pl.Datetime("ms", "UTC"))
        pl.DataFrame({"time": times, "close": path}).write_parquet(file)
        words = ["backtest", "--preset", "ftx", "--target", "3", "--prices", file, "--json"]
        jobs["gearing backtest, cold start"] = (words, 1.5)
        for job, (words, limit) in jobs.items():
            try:
                seconds = _wall(_gearing(*words), repetitions)
            except subprocess.CalledProcessError as error:
                said = error.stderr.decode().strip().splitlines()
                yield Row(job=job, required=limit, unit="s", note=f"skipped: {said[-1] if said else 'it failed'}")
                continue
            yield Row(job=job, gearing=seconds, required=limit, unit="s", repetitions=repetitions)


def _vectorbt_python() -> Path | None:
    """Returns an interpreter that has vectorbt: this one, or that of `.venv-bench` beside the project."""
    if importlib.util.find_spec("vectorbt") is not None:
        return Path(sys.executable)
    other = _ROOT / ".venv-bench" / "bin" / "python"
    return other if other.exists() else None


def vectorbt_row(indexed: Indexed, repetitions: int) -> Row:
    """The reference job, rule B with its path, against vectorbt's simulation alone."""
    job, required = "against vectorbt, with path", 150.0
    python = _vectorbt_python()
    if python is None:
        return Row(job=job, required=required, note="skipped: `pip install vectorbt` into .venv-bench")
    command = [str(python), "-m", "bench.vectorbt_job"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return Row(job=job, required=required, note=f"skipped: {said[-1] if said else 'it failed'}")
    told = json.loads(done.stdout.splitlines()[-1])
    bars = len(indexed.series.close)
    runners = [Runner(result["target"], ref.DEVIATION, bars) for result in told["results"]]

    def work() -> None:
        for runner in runners:
            runner.with_path(indexed)

    ours = medians({"gearing": work}, repetitions)["gearing"]
    gap = max(
        abs(result["equity"] / runner.path[-1] - 1.0) for result, runner in zip(told["results"], runners, strict=True)
    )
    assert gap <= 1e-6, f"vectorbt's equity differs by {gap:.1e}"
    theirs = sum(result["seconds"] for result in told["results"])
    return Row(
        job=job,
        gearing=len(runners) * bars / ours,
        baseline=len(runners) * bars / theirs,
        baseline_name=f"vectorbt {told['version']}",
        required=required,
        repetitions=repetitions,
        note=f"NAV differs by {gap:.0e}",
    )


def peak_gib() -> float:
    """Returns this process's largest resident memory so far, GiB."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    import resource

    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def sweep_five_years() -> None:
    """Sweeps 1,000 rules over five years of minutes and prints the peak memory; run in a process of its own."""
    import gearing as gr

    bars = _YEARS * ref.YEAR_BARS
    path = ref.make_paths(3, 1, bars, ref.YEAR_BARS)[0]
    made = peak_gib()
    times_ms = ref.bar_times(bars, ref.MINUTE_MS)
    grid = {
        "target": [-3.0, -2.0, -1.0, 2.0, 3.0],
        "rule.deviation": [0.05 + 0.0425 * k for k in range(20)],
        "costs.taker_fee": [2e-4 + 6e-5 * k for k in range(10)],
    }
    assert len(list(itertools.product(*grid.values()))) == _RULES
    token = make_token(3.0, ref.DEVIATION)
    start = time.perf_counter()
    swept = gr.sweep(token, grid, (times_ms, path), funding=ref.settlements(times_ms, ref.FUNDING_BARS))
    assert len(swept.frame) == _RULES
    print(json.dumps({"gib": peak_gib(), "making_gib": made, "seconds": time.perf_counter() - start}))


def memory_row() -> Row:
    """The peak memory of that sweep, the making of its path included."""
    job = f"memory, {_RULES:,} rules × {_YEARS} years"
    command = [sys.executable, "-c", "from bench.jobs_whole import sweep_five_years; sweep_five_years()"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return Row(job=job, required=1.0, unit="GiB", note=f"skipped: {said[-1] if said else 'it failed'}")
    told = json.loads(done.stdout.splitlines()[-1])
    note = f"{told['seconds']:.1f} s; making the path alone {told['making_gib']:.2f} GiB"
    return Row(job=job, gearing=told["gib"], required=1.0, unit="GiB", repetitions=1, note=note)
