"""Load from one, and from many: a desk under a flood of small requests goes on publishing its NAVs in time."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.harness import Row
from bench.served import TOKENS, Served, Watched, served
from gearing.core.money import MINOR
from gearing.desk.interpreter import of_a_desk
from gearing.desk.requests import Deal, Pay
from gearing.store.verify import verify

_IN_FLIGHT = 256
# A minute of the market takes ten seconds, so that a NAV of each token falls due six times a minute.
_SPEED = 6.0
_LATEST_S, _VERIFIED, _MANY = 2.0, 10_000.0, 20_000
# All that waits is dealt within so long, or the job has failed.
_PATIENCE_S = 600.0


class _Flood(NamedTuple):
    """What came of a flood.

    Args:
        rate: answers a second.
        said: how many requests were accepted, and rejected with which code.
        dealt_s: how long it took to deal with what was accepted, after the last answer.
        late_s: after its due time, each NAV was durable so much later.
        verified: lines a second.
        lines: in all.
    """

    rate: float
    said: Counter[str]
    dealt_s: float
    late_s: list[float]
    verified: float
    lines: int


def rows(requests: int) -> Iterator[Row]:
    """Yields the rows: how late NAVs are, what is accepted of the flood, and how fast its journal is verified."""
    for holders in (1, 5_000):
        came = _measured(requests, holders)
        job = f"{requests:,} requests over {TOKENS} tokens from {holders:,}"
        said = ", ".join(f"{count:,} {what}" for what, count in came.said.most_common())
        yield Row(job=f"{job}: a NAV durable after, at most", gearing=max(came.late_s), required=_LATEST_S, unit="s",
                  repetitions=1, note=f"{len(came.late_s)} NAVs")  # fmt: skip
        yield Row(job=f"{job}: answers", gearing=came.rate, unit="requests/s", repetitions=1, note=said)
        yield Row(job=f"{job}: dealt in all that wait", gearing=came.dealt_s, unit="s", repetitions=1)
        required = _VERIFIED if came.lines >= _MANY else None  # of fewer the start of a verification is all there is
        yield Row(job=f"{job}: verified", gearing=came.verified, required=required, unit="lines/s", repetitions=1,
                  note=f"{came.lines:,} lines")  # fmt: skip


def _measured(requests: int, holders: int) -> _Flood:
    with tempfile.TemporaryDirectory() as place, of_a_desk():
        file = Path(place) / "desk.db"
        came = asyncio.run(served(file, lambda desk, watched: _flood(desk, watched, requests, holders), _SPEED))
        begun = time.perf_counter()
        found = verify(file)
        if found.breaches:
            raise AssertionError(f"the journal does not hold: {found.breaches[:3]}")
        return came._replace(verified=found.lines / (time.perf_counter() - begun), lines=found.lines)


async def _flood(desk: Served, watched: Watched, requests: int, holders: int) -> _Flood:
    """Lets holders pay in, then ask for next to nothing, each of those in flight one after the other."""
    intake, said = desk.intake, Counter[str]()
    paid = 2 * MINOR * (requests // holders)
    await asyncio.gather(*(intake.ask(f"h{k}", f"D{k}", Pay(holder=f"h{k}", asset="USDT", amount=paid,
                                                            reference=f"D{k}", by="bench"))
                           for k in range(holders)))  # fmt: skip
    await desk.window_ends()
    left = iter(range(requests))

    async def ask() -> None:
        for number in left:
            holder, token = f"h{number % holders}", desk.names[number // holders % TOKENS]
            deal = Deal(holder=holder, token=token, side="subscribe", amount=MINOR + number % 1_000)
            answered = await intake.ask(holder, f"r{number}", deal)
            said["accepted" if answered.done else getattr(answered, "code", "") or answered.words] += 1

    start = time.perf_counter()
    since_ms = desk.clock.now_ms()
    await asyncio.gather(*(ask() for _ in range(_IN_FLIGHT)))
    answered_s = time.perf_counter()
    while any(holder.state.requests for holder in desk.engine.driver.primary.holders.values()):
        await asyncio.sleep(0.1)
        if time.perf_counter() - answered_s > _PATIENCE_S:
            raise AssertionError(f"not all that was accepted is dealt after {_PATIENCE_S:g} s")
    dealt_s = time.perf_counter()
    await desk.clock.sleep_ms(125_000)  # the last NAVs
    late_ms = watched.late_ms(desk.names, since_ms, desk.clock.now_ms())
    late_s = [late / 1_000 / _SPEED for late in late_ms]
    return _Flood(requests / (answered_s - start), said, dealt_s - answered_s, late_s, 0.0, 0)
