"""The crash harness: a desk is killed at every boundary, again while it recovers, and stopped while another takes over.

A boundary is where something becomes durable, is sent or is answered. After each kill the desk is started again, to
the end of its script; then fills, ledger, NAV, what holders have and were answered, and the cash at the exchange have
to be those of a run that nobody interrupted, the exchange, which lives on in its own process, has taken no order and
no transfer twice, and the journal holds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.progress import Progress

import gearing
from gearing.core.terms import Spec
from gearing.desk.keeper import InLoopKeeper
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.store.database import init_database
from gearing.store.store import Store
from gearing.venues.paper import requests as rq
from gearing.venues.paper.client import PaperClient
from proof import crash_script as script
from proof.crash_desk import AMID, BUSY, FENCED
from proof.crash_result import Result, differences, result_of

_PATIENCE_S = 120.0
_LIVES_MAX = 6
# What a recovery passes depends on who is faster; a boundary that one did not pass is waited for in so many more.
_TRIES = 3
# Where a first kill leaves the most to recover; the recovery is then killed at each of its own boundaries.
RECOVERED = ("decision.after:2", "sending.after:2", "send.sent:2", "send.answered:2", "fill.before:2", "end.before:2",
             "funding.before:1", "answer.before:3", "dealing.after:2", "settled.before:3", "cash.after:2")  # fmt: skip
STOPPED = ("decision.after:2", "sending.before:2", "sending.after:2", "send.before:3", "send.sent:2",
           "send.answered:2", "fill.before:2", "end.before:1", "reconcile.before:1", f"{AMID}:8",
           "answer.before:4", "dealing.before:2", "dealing.after:3", "settled.before:2", "cash.after:1",
           "transfer.before:2")  # fmt: skip


class Case(NamedTuple):
    """One way to go down.

    Args:
        at: the boundary where the first life ends.
        again: where the second one does; empty: it lives on.
        stops: whether the first is stopped there, and goes on after another took over and finished.
    """

    at: str
    again: str = ""
    stops: bool = False

    def earlier(self) -> Case | None:
        """Returns the case one passage earlier: how many commits share one varies, so the last ones may not come."""
        name, _, number = self.at.partition(":")
        return None if self.again or int(number) <= 1 else self._replace(at=f"{name}:{int(number) - 1}")

    def __str__(self) -> str:
        return f"{'stopped' if self.stops else 'killed'} at {self.at}{f', then at {self.again}' if self.again else ''}"


class Ended(NamedTuple):
    """What a case came to.

    Args:
        case: which.
        failures: what does not hold.
        reached: whether the boundaries were passed at all.
        recovery: the boundaries of the life after the first kill, up to its first step.
    """

    case: Case
    failures: tuple[str, ...]
    reached: bool
    recovery: tuple[str, ...]


def environment() -> dict[str, str]:
    """Returns the environment of a child: it imports what this process does."""
    places = [str(Path(gearing.__file__).parents[1]), str(Path(__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


@contextmanager
def exchange(place: Path) -> Iterator[None]:
    """The paper exchange in a process of its own, with its own file."""
    (place / "setup.json").write_bytes(msgspec.json.encode(script.setup()))
    command = [sys.executable, "-m", "gearing.venues.paper", "--file", str(place / "paper.db"), "--socket",
               str(place / "s"), "--setup", str(place / "setup.json")]  # fmt: skip
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("the paper exchange did not start")
        yield
    finally:
        process.kill()
        process.communicate()


async def launch(place: Path, *, together: bool = False) -> None:
    """Launches the tokens, each in a book of its own or all of them in one, with their capital at the exchange."""
    control, rules = PaperClient(place / "s", "control"), {}
    await control.control(rq.TakeQuotes(quotes=script.quotes(0)))
    rules = {rule.symbol: rule for rule in await control.instruments()}
    init_database(place / "desk.db", "paper", script.START_MS)
    with Store(place / "desk.db", "paper") as store:
        market = Market(GuardLimits())
        driver = Driver(market)
        for number, token in enumerate(script.tokens()):
            market.list_token(number, tuple(leg.symbol for leg in token.legs))
        for quote in script.quotes(0):
            market.take(quote, quote.time_ms)
        tokens = script.tokens()
        for group in [tokens] if together else [[token] for token in tokens]:
            names = [token.symbol for token in group]
            name = "".join(names)
            client = PaperClient(place / "s", name)
            book = driver.open_book(name, store.meta.incarnation, names, script.START_MS)
            for token in group:
                await client.transfer("USDT", script.AMOUNT, f"seed{token.symbol}")
                lots = tuple(rules[leg.symbol].lot for leg in token.legs)
                driver.launch(book, Spec(token), lots, script.AMOUNT, script.UNITS, script.START_MS)
            await client.close()
            await control.control(rq.Give(account=name, asset="USDT", amount=script.GIFT))
        await InLoopKeeper(store).keep(driver.taken())
    await control.close()


class Lives:
    """The lives of one desk, one after the other, on files of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.traces: list[list[str]] = []

    def begin(self, at: str = "", *, stops: bool = False) -> subprocess.Popen[str]:
        """Begins a life at the step and the time where the last one ended."""
        passed = [line.split() for trace in self.traces for line in trace]
        steps = [int(name[4:]) for name, _ in passed if name.startswith("step")]
        now_ms = max([script.START_MS, *(int(now) for _, now in passed)])
        command = [sys.executable, "-m", "proof.crash_desk", str(self.place), "--now", str(now_ms), "--first",
                   str(max(steps, default=0)), "--at", at, *(["--stop"] if stops else [])]  # fmt: skip
        return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Waits for a life's end; returns its exit code and what it said."""
        try:
            _, words = process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _, words = process.communicate()
            words += "it hung"
        self.note()
        return process.returncode, words

    def note(self) -> None:
        """Takes the boundaries that were passed since."""
        trace = self.place / "trace"
        known = sum(len(lines) for lines in self.traces)
        self.traces.append(trace.read_text().splitlines()[known:] if trace.exists() else [])


def run_case(template: Path, case: Case, expected: Result | None) -> Ended:
    """Runs one case on a copy of the launched desk and exchange."""
    with tempfile.TemporaryDirectory(prefix="crash") as name:
        place = Path(name)
        copied(template, place)
        lives = Lives(place)
        failures: list[str] = []
        with exchange(place):
            reached = (_stopped if case.stops else _killed)(lives, case, failures)
        found = result_of(place)
        if expected is not None:
            failures += differences(found, expected)
        recovery = [line.split()[0] for line in lives.traces[1]] if len(lives.traces) > 1 else []
        stop = next((n for n, passed in enumerate(recovery) if passed.startswith("step")), len(recovery))
        return Ended(case, tuple(failures), reached, tuple(dict.fromkeys(recovery[:stop])))


def _killed(lives: Lives, case: Case, failures: list[str]) -> bool:
    """Kills a desk once or twice, and lets it end; returns whether it was."""
    plans, kills = [case.at, case.again], 0
    for life in range(_LIVES_MAX):
        code, words = lives.end(lives.begin(plans[life] if life < len(plans) else ""))
        if code == 0:
            break
        if code != -signal.SIGKILL:
            failures.append(f"life {life + 1} ended with {code}: {words[-600:]}")
            break
        kills += 1
    return kills == sum(map(bool, plans))


def _stopped(lives: Lives, case: Case, failures: list[str]) -> bool:
    """Stops a desk, lets another take over and finish, and lets the first go on: it has to be fenced off.

    Who is stopped amid a commit holds the database: nobody takes over, and the first finishes once it goes on.
    """
    first = lives.begin(case.at, stops=True)
    _, status = os.waitpid(first.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        first.returncode = os.waitstatus_to_exitcode(status)
        failures.append(f"it ended with {first.returncode} before it was stopped")
        return False
    lives.note()
    holds = case.at.startswith(AMID)
    code, words = lives.end(lives.begin())
    if code != (BUSY if holds else 0):
        failures.append(f"who took over ended with {code}: {words[-600:]}")
    os.kill(first.pid, signal.SIGCONT)
    code, words = lives.end(first)
    if code != (0 if holds else FENCED):
        failures.append(f"who was stopped ended with {code}, not {0 if holds else FENCED}: {words[-600:]}")
    return True


def cases_of(passed: Counter[str]) -> list[Case]:
    """Returns the single kills: at each boundary the first time, the last, and one in between; and the stops."""
    found = []
    for name, count in sorted(passed.items()):
        found += [Case(f"{name}:{number}") for number in sorted({1, (count + 1) // 2, count})]
    return found + [Case(at, stops=True) for at in STOPPED]


def run_all(share: float, seed: int, *, together: bool = False) -> list[Ended]:
    """Runs a share of all cases, on as many cores as there are."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="crash") as name, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        template = Path(name)
        with exchange(template):
            asyncio.run(launch(template, together=together))
        with tempfile.TemporaryDirectory(prefix="crash") as whole:
            copied(template, Path(whole))
            expected, passed = undisturbed(Path(whole))
        cases = cases_of(passed)
        recovered = [Case(at) for at in RECOVERED]
        if share < 1.0:
            cases = draw.sample(cases, max(round(share * len(cases)), 1))
            recovered = draw.sample(recovered, max(round(share * len(recovered)), 1))
        with Progress(transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("killing", total=len(cases) + len(recovered))

            def run(case: Case) -> Ended:
                ended = run_case(template, case, expected)
                for _ in range(_TRIES):
                    if ended.reached or ended.failures:
                        break
                    case = case.earlier() or case
                    ended = run_case(template, case, expected)
                progress.advance(task)
                return ended

            ended = list(pool.map(run, [*cases, *recovered]))
            again = [Case(one.case.at, name) for one in ended[len(cases) :] for name in one.recovery]
            if share < 1.0:
                again = draw.sample(again, min(max(round(share * len(again)), 1), len(again)))
            progress.update(task, total=len(ended) + len(again))
            return ended + list(pool.map(run, again))


def undisturbed(place: Path) -> tuple[Result, Counter[str]]:
    """Returns what a run comes to that nobody interrupts, and how often it passed each boundary."""
    lives = Lives(place)
    with exchange(place):
        code, words = lives.end(lives.begin())
    if code:
        raise RuntimeError(f"the undisturbed run ended with {code}: {words}")
    names = [line.split()[0] for line in lives.traces[0]]
    return result_of(place), Counter(name for name in names if not name.startswith("step"))


def copied(template: Path, place: Path) -> None:
    """Copies databases with their write-ahead logs: the exchange is never closed, only killed."""
    for file in template.iterdir():
        if ".db" in file.name:
            shutil.copy(file, place / file.name)


def main() -> int:
    """Runs the harness; returns 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m proof.crash", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of all cases, by seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--together", action="store_true", help="both tokens in one book, whose trades are netted")
    parser.add_argument("--list", action="store_true", help="name each case")
    given = parser.parse_args()
    began = time.monotonic()
    ended = run_all(given.share, given.seed, together=given.together)
    for one in ended:
        if one.failures or not one.reached or given.list:
            print(f"{one.case}:", *(one.failures or ["holds" if one.reached else "not passed"]), sep="\n  ")
    failed, missed = sum(bool(one.failures) for one in ended), sum(not one.reached for one in ended)
    stops = sum(one.case.stops for one in ended)
    twice = sum(bool(one.case.again) for one in ended)
    print(f"{len(ended)} cases, {twice} of them killed again while recovering, {stops} stopped and taken over from; "
          f"{missed} not passed, {failed} failed; {time.monotonic() - began:.0f} s")  # fmt: skip
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
