"""The mutation check: each guard is taken out once, in a copy of the sources, and its test has to fail.

A guard whose removal no test notices is no guard. Before that, every test named here has to pass on the copy as it is.
"""

from __future__ import annotations

import argparse
import os
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


class Verdict(NamedTuple):
    """What became of a guard's removal: empty words say that its test failed, as it must."""

    guard: Guard
    words: str


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

    def run(self, tests: list[str], patience_s: float = _PATIENCE_S) -> tuple[int, str]:
        """Runs tests on the copy; returns pytest's exit code and the end of what it said."""
        names = [f"tests/{name.replace('::', '.py::', 1) if '::' in name else f'{name}.py'}" for name in tests]
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join([str(self.place / "src"), str(self.place)]),
            "GEARING_CACHE": str(self.place / "cache"), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *names]
        try:
            done = subprocess.run(command, check=False, cwd=self.place, env=environment, capture_output=True,
                                  text=True, timeout=patience_s)  # fmt: skip
        except subprocess.TimeoutExpired:
            return 1, "it hung"
        return done.returncode, done.stdout[-1500:] + done.stderr[-500:]

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
            code, said = self.run([guard.test])
        finally:
            file.write_text(whole)
        if code == 1:
            return Verdict(guard, "")
        return Verdict(guard, f"{guard.test} passes without it" if code == 0 else f"pytest ended with {code}: {said}")

    def _keep_kernels(self, before: str, guard: Guard) -> None:
        """Lets compiled code be used again: the file that was changed holds none, though the cache goes by all."""
        kernels, after = self.place / "cache" / "kernels", source_hash(self.package)
        compiles = "@compiled" in (self.package / guard.file).read_text()
        if before != after and not compiles and (kernels / before).exists():
            shutil.copytree(kernels / before, kernels / after, dirs_exist_ok=True)


def run_all(guards: list[Guard], workers: int) -> list[Verdict]:
    """Takes each guard out once."""
    with tempfile.TemporaryDirectory(prefix="mutate") as name:
        copies: SimpleQueue[Copy] = SimpleQueue()
        made = [Copy(Path(name) / str(n)) for n in range(workers)]
        tests = sorted({guard.test for guard in guards})
        with ThreadPoolExecutor(workers) as pool, Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("tests as they are", total=len(guards))
            # Each copy compiles its kernels first; then the tests are shared out.
            for code, said in pool.map(lambda n: made[n].run(tests[n::workers], _ALL_PATIENCE_S), range(workers)):
                if code:
                    raise SystemExit(f"a test fails with every guard in its place:\n{said}")
            for copy in made:
                copies.put(copy)

            def run(guard: Guard) -> Verdict:
                copy = copies.get()
                try:
                    return copy.without(guard)
                finally:
                    copies.put(copy)
                    progress.advance(task)

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
    for guard, words in failed:
        print(f"{guard.name} ({guard.file}): {words}")
    print(f"{len(verdicts) - len(failed)} of {len(verdicts)} guards are missed when they are gone; "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
