"""Soaks the demo: a desk at speed, with clients that deal without pause, until the time is up or something is wrong.

    python -m proof.soak --minutes 60 --speed 3600

The desk is the one that `gearing up` runs, and clients ask through its database as the command line does. The desk
must run without one inner restart, one failed input or one internal error, must answer everything, and end with a
journal that `gearing journal verify` finds sound.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gearing.core.money import MINOR
from gearing.desk.requests import (
    Answered,
    AskQuote,
    Cancel,
    Deal,
    HandOn,
    Pay,
    TakeFees,
    TakeQuote,
    answered_of,
    encode,
)
from gearing.store.store import Store

_GEARING = str(Path(sys.executable).with_name("gearing"))
_PATIENCE_S = 60.0
_POLL_S = 0.02


class Client(threading.Thread):
    """Deals for one holder, one command after another.

    Args:
        number: names the holder.
        db: the desk's database.
        tokens: what it deals in.
        seed: of its choices.
        stop: is set when it is to end.

    Attributes:
        seen: how often what was asked, and what came of it.
        waits_s: how long each answer took.
    """

    def __init__(self, number: int, db: Path, tokens: list[str], seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._name, self._other = f"soak{number}", f"soak{number + 1}"
        self._db, self._tokens, self._stop_asked = db, tokens, stop
        self._draw, self._count = random.Random(f"{seed} {number}"), 0
        self.seen, self.waits_s, self.lost = Counter[str](), list[float](), list[str]()

    def run(self) -> None:
        """See `threading.Thread`."""
        with Store(self._db) as store:
            while not self._stop_asked.is_set():
                for wanted in self._some():
                    said = self._ask(store, wanted)
                    if said is None:
                        return
                    if isinstance(wanted, AskQuote) and said.done and self._draw.random() < 0.7:
                        self._ask(store, TakeQuote(holder=self._name, id=said.id))
                    if isinstance(wanted, Deal) and said.done and self._draw.random() < 0.1:
                        self._ask(store, Cancel(holder=self._name, id=said.id))

    def _some(self) -> Iterator[msgspec.Struct]:
        draw, name, token = self._draw, self._name, self._draw.choice(self._tokens)
        self._count += 1
        reference = f"{name}.{self._count}"
        money = draw.randrange(1, 20_000 * MINOR)
        yield Pay(holder=name, asset="USDT", amount=money, reference=reference, by="soak")
        yield AskQuote(holder=name, token=token, side=draw.choice(["subscribe", "redeem"]), amount=money // 200 + 1)
        instant = draw.random() < 0.5
        yield Deal(holder=name, token=token, side="subscribe", amount=draw.randrange(1, money + 1), instant=instant)
        yield Deal(holder=name, token=token, side="redeem", amount=draw.randrange(1, 10 * MINOR), instant=not instant)
        yield HandOn(holder=name, other=self._other, asset="USDT", amount=money // 50 + 1, reference=reference)
        if draw.random() < 0.05:
            yield TakeFees(token=token, amount=0, how="units", by="soak", reason="soak")

    def _ask(self, store: Store, wanted: msgspec.Struct) -> Answered | None:
        begun_s, kind = time.monotonic(), type(wanted).__name__
        asked = store.ask(self._name, f"{self._count}.{self._draw.getrandbits(64):x}", encode(wanted))
        while (body := store.answer(asked.number)) is None:
            if time.monotonic() - begun_s > _PATIENCE_S:
                self.lost.append(f"{kind} {asked.number} of {self._name}")
                return None
            time.sleep(_POLL_S)
        said = answered_of(body)
        self.waits_s.append(time.monotonic() - begun_s)
        self.seen[f"{kind} {'done' if said.done else 'rejected'}"] += 1
        if "internal error" in said.words.lower():
            self.lost.append(said.words)
        return said


def soak(folder: Path, minutes: float, speed: float, clients: int, seed: int) -> list[str]:
    """Runs the desk and its clients; returns what is wrong, and prints what was seen."""
    db, log = folder / "soak.db", folder / "soak.jsonl"
    command = [_GEARING, "up", "--db", str(db), "--speed", f"{speed:g}", "--no-console", "--log", str(log)]
    desk = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    stop = threading.Event()
    tokens: list[str] = []
    while not tokens and desk.poll() is None:  # it writes 90 days of history first
        time.sleep(1.0)
        if log.exists() and db.exists():
            with Store(db) as store:
                tokens = [stream.partition(":")[2] for stream in store.streams() if stream.startswith("token:")]
    ends_s = time.monotonic() + 60.0 * minutes
    threads = [Client(number, db, tokens, seed, stop) for number in range(clients)]
    for one in threads:
        one.start()
    while time.monotonic() < ends_s and desk.poll() is None and all(one.is_alive() for one in threads):
        time.sleep(1.0)
    stop.set()
    for one in threads:
        one.join(_PATIENCE_S)
    wrong = [words for one in threads for words in one.lost]
    if desk.poll() is not None:
        wrong.append(f"the desk ended by itself with {desk.returncode}")
    desk.send_signal(signal.SIGTERM)  # a shell that runs this in the background has INT ignored
    _, said = desk.communicate(timeout=120)
    if desk.returncode != 0:
        wrong.append(f"the desk ended with {desk.returncode}: {said[-2_000:]}")
    wrong += _wrong_in(log)
    done = subprocess.run([_GEARING, "journal", "verify", str(db)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        wrong.append(done.stdout + done.stderr)
    _show(threads, log)
    print(done.stdout.strip().rpartition("\n")[2])
    return wrong


def _wrong_in(log: Path) -> list[str]:
    """Returns the lines of a log that tell of a restart, a failed input or an internal error."""
    marks = ("the desk begins anew", "internal error", "input_failed", "invariants", "C1:")
    return [line for line in log.read_text().splitlines() if any(mark in line for mark in marks)]


def _show(threads: list[Client], log: Path) -> None:
    seen, waits_s = (
        sum((one.seen for one in threads), Counter[str]()),
        sorted(w for one in threads for w in one.waits_s),
    )
    for what, count in sorted(seen.items()):
        print(f"{what:28}{count:10,}")
    if waits_s:
        middle, late = (waits_s[int(part * (len(waits_s) - 1))] * 1e3 for part in (0.5, 0.99))
        print(f"answers after {middle:,.0f} ms (median), {late:,.0f} ms (99 %), {waits_s[-1] * 1e3:,.0f} ms (longest)")
    told = Counter(json.loads(line).get("kind", "") for line in log.read_text().splitlines())
    print("log: " + ", ".join(f"{kind} {count:,}" for kind, count in told.most_common()))


def main() -> int:
    """Soaks; the exit code is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m proof.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--speed", type=float, default=3600.0)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = soak(Path(folder), given.minutes, given.speed, given.clients, given.seed)
    for words in wrong[:20]:
        print(f"WRONG {words}", file=sys.stderr)
    print(f"{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
