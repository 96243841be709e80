"""The mutation check: each guard is taken out once, in a copy of the sources, and its test has to fail.

A guard whose removal no test notices is no guard. It is noticed only where a test that the guard names fails: a test
that does not end, one that cannot be collected or set up, and code that is no program any more prove nothing. Before
that, every test named here has to pass on the copy as it is.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from rich.progress import Progress

from gearing.jit import source_hash
from proof.guards import GUARDS, Guard

ROOT = Path(__file__).parents[1]
_COPIED = ("src", "tests", "proof", "pyproject.toml")
# One guard's test is waited for so long; all of them together, kernels compiled on the way, the longer time.
_PATIENCE_S, _ALL_PATIENCE_S = 300.0, 3_600.0


# What the removal of a guard broke rather than let through; the text that was put in its place is wrong.
_BROKEN = ("NameError", "UnboundLocalError", "SyntaxError", "IndentationError", "ImportError", "ModuleNotFoundError")


class Run(NamedTuple):
    """A run of pytest.

    Args:
        code: its exit code; None: it did not end in time.
        said: all that it said.
    """

    code: int | None
    said: str


class Verdict(NamedTuple):
    """What became of a guard's removal: empty words say that its test failed, as it must.

    Args:
        guard: which.
        words: why it counts as not noticed.
        is_timeout: whether its test did not end in time.
    """

    guard: Guard
    words: str
    is_timeout: bool = False


def path_of(test: str) -> str:
    """Returns where pytest finds a test that a guard names, or the file of tests."""
    file, _, name = test.partition("::")
    return f"tests/{file}.py{name and f'::{name}'}"


def judged(guard: Guard, run: Run) -> Verdict:
    """Returns what a run of a guard's test without the guard says."""
    if run.code is None:
        return Verdict(guard, f"{guard.test} did not end without it, which proves nothing", is_timeout=True)
    if run.code == 0:
        return Verdict(guard, f"{guard.test} passes without it")
    wanted = re.compile(rf"FAILED {re.escape(path_of(guard.test))}(?:::[^\[\s]+)?(?:\[.*?\])?(?: - (?P<why>.*))?")
    failed = [found for line in run.said.splitlines() if (found := wanted.fullmatch(line.strip()))]
    if run.code != 1 or not failed:
        return Verdict(guard, f"{guard.test} did not fail; pytest ended with {run.code}: {run.said[-2_000:]}")
    why = failed[0]["why"] or ""
    return Verdict(guard, f"what it left is no program: {why}" if why.startswith(_BROKEN) else "")


class Copy:
    """A copy of the sources, in which one guard at a time is taken out.

    Args:
        place: where it stands.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.package = place, place / "src" / "gearing"
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(source, place / name)

    def run(self, tests: list[str], patience_s: float = _PATIENCE_S) -> Run:
        """Runs tests on the copy."""
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join([str(self.place / "src"), str(self.place)]),
            "GEARING_CACHE": str(self.place / "cache"), "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "1000",  # else pytest cuts off why a test failed
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", *map(path_of, tests)]
        try:
            done = subprocess.run(command, check=False, cwd=self.place, env=environment, capture_output=True,
                                  text=True, timeout=patience_s)  # fmt: skip
        except subprocess.TimeoutExpired:
            return Run(None, "")
        return Run(done.returncode, done.stdout + done.stderr)

    def without(self, guard: Guard) -> Verdict:
        """Takes a guard out, runs its test, and puts it back."""
        file = self.package / guard.file
        whole = file.read_text()
        if whole.count(guard.old) != 1:
            return Verdict(guard, f"its text stands {whole.count(guard.old)} times in {guard.file}, not once")
        before = source_hash(self.package)
        file.write_text(whole.replace(guard.old, guard.new))
        try:
            self._keep_kernels(before, guard)
            run = self.run([guard.test])
        finally:
            file.write_text(whole)
        return judged(guard, run)

    def _keep_kernels(self, before: str, guard: Guard) -> None:
        """Lets compiled code be used again: the file that was changed holds none, though the cache goes by all."""
        kernels, after = self.place / "cache" / "kernels", source_hash(self.package)
        compiles = "@compiled" in (self.package / guard.file).read_text()
        if before != after and not compiles and (kernels / before).exists():
            shutil.copytree(kernels / before, kernels / after, dirs_exist_ok=True)


def run_all(guards: list[Guard], workers: int) -> list[Verdict]:
    """Takes each guard out once, and prints at once which of them nobody missed."""
    with tempfile.TemporaryDirectory(prefix="mutate") as name:
        copies: SimpleQueue[Copy] = SimpleQueue()
        made = [Copy(Path(name) / str(n)) for n in range(workers)]
        tests = sorted({guard.test for guard in guards})
        with ThreadPoolExecutor(workers) as pool, Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("tests as they are", total=len(guards))
            # Each copy compiles its kernels first; then the tests are shared out.
            for code, said in pool.map(lambda n: made[n].run(tests[n::workers], _ALL_PATIENCE_S), range(workers)):
                if code != 0:
                    why = "the tests do not end" if code is None else "a test fails"
                    raise SystemExit(f"{why} with every guard in its place:\n{said[-2_000:]}")
            for copy in made:
                copies.put(copy)

            def run(guard: Guard) -> Verdict:
                copy = copies.get()
                try:
                    verdict = copy.without(guard)
                finally:
                    copies.put(copy)
                    progress.advance(task)
                if verdict.words:
                    print(f"{guard.name} ({guard.file}): {verdict.words}", flush=True)
                return verdict

            return list(pool.map(run, guards))


def main() -> int:
    """Runs the check; returns 1 if a guard can be taken out unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m proof.mutate", description=__doc__)
    parser.add_argument("--only", default="", help="guards whose name or file holds this")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    guards = [guard for guard in GUARDS if given.only in guard.name or given.only in guard.file]
    began = time.monotonic()
    verdicts = run_all(guards, min(given.workers, max(len(guards), 1)))
    failed = [verdict for verdict in verdicts if verdict.words]
    late = sum(verdict.is_timeout for verdict in failed)
    print(f"{len(verdicts) - len(failed)} of {len(verdicts)} guards are missed when they are gone; "
          f"the tests of {late} did not end; {time.monotonic() - began:.0f} s")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
