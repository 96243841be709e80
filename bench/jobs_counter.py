"""The counter: requests through inbox, step, invariants and group commit to their answers, while a desk runs."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.harness import Row
from bench.served import TOKENS, Served, served
from gearing.core.holder import ISSUER
from gearing.core.money import MINOR
from gearing.desk.interpreter import of_a_desk
from gearing.desk.requests import Deal, HandOn, Pay
from gearing.store.verify import verify

_HOLDERS, _IN_FLIGHT = 10_000, 256
# Each of these has so much waiting that its state is kilobytes, and a line says the hash of all of it.
_FEW_HOLDERS = 1_000


class _Answers(NamedTuple):
    rate: float
    waits_s: list[float]
    dealt_s: float
    longest_s: float

    @property
    def p99_ms(self) -> float:
        """What 99 of 100 wait at most."""
        return float(np.quantile(self.waits_s, 0.99)) * 1e3


def rows(requests: int) -> Iterator[Row]:
    """Yields the rows: how many requests are answered a second, and how long the slowest wait."""
    came = _measured(requests, _HOLDERS)
    job = f"forward requests, {_IN_FLIGHT} in flight, {TOKENS} tokens"
    yield Row(job=job, gearing=came.rate, required=5_000.0, unit="requests/s", repetitions=1,
              note=f"{requests:,} of {_HOLDERS:,} holders")  # fmt: skip
    yield Row(job=f"{job}, p99", gearing=came.p99_ms, required=100.0, unit="ms", repetitions=1)
    yield Row(job=f"dealing in all {requests:,} of them", gearing=came.dealt_s, unit="s", repetitions=1,
              note="windows of ten tokens that end at once")  # fmt: skip
    yield Row(job="longest that nothing else is done meanwhile", gearing=came.longest_s, unit="s", repetitions=1)
    came = _measured(requests, _FEW_HOLDERS)
    job, note = f"the same of {_FEW_HOLDERS:,} holders", f"{requests // _FEW_HOLDERS} of each wait to be dealt"
    yield Row(job=job, gearing=came.rate, unit="requests/s", repetitions=1, note=note)
    yield Row(job=f"{job}, p99", gearing=came.p99_ms, unit="ms", repetitions=1)


def _measured(requests: int, holders: int) -> _Answers:
    with tempfile.TemporaryDirectory() as place, of_a_desk():
        file = Path(place) / "desk.db"
        came = asyncio.run(_Counter(file, holders).served(requests))
        found = verify(file)
        if found.breaches:
            raise AssertionError(f"the journal does not hold: {found.breaches[:3]}")
    return came


class _Counter:
    """Those who come to a desk."""

    def __init__(self, file: Path, holders: int) -> None:
        self.file, self.holders = file, holders

    async def served(self, requests: int) -> _Answers:
        return await served(self.file, lambda desk, _: self._come(desk, requests))

    async def _come(self, desk: Served, requests: int) -> _Answers:
        """Lets holders pay in, and then ask, each of those in flight one after the other."""
        intake = desk.intake
        deals = [self._deal(desk, number) for number in range(requests)]
        pays = [Pay(holder=f"h{k}", asset="USDT", amount=10**6 * MINOR, reference=f"D{k}", by="bench")
                for k in range(self.holders)]  # fmt: skip
        gifts = [HandOn(holder=ISSUER, other=deal.holder, token=deal.token, amount=deal.amount, reference=f"G{number}")
                 for number, deal in enumerate(deals) if deal.side == "redeem"]  # fmt: skip
        await asyncio.gather(*(intake.ask(pay.holder, pay.reference, pay) for pay in pays))
        await asyncio.gather(*(intake.ask(ISSUER, gift.reference, gift) for gift in gifts))
        await desk.window_ends()
        left, waits = iter(enumerate(deals)), []

        async def ask() -> None:
            for number, deal in left:
                began = time.perf_counter()
                answered = await intake.ask(deal.holder, f"r{number}", deal)
                waits.append(time.perf_counter() - began)
                if not answered.done:
                    raise AssertionError(answered.words)

        start = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(_IN_FLIGHT)))
        rate = requests / (time.perf_counter() - start)
        await desk.window_ends()
        start = seen = time.perf_counter()
        longest = 0.0
        while any(holder.state.requests for holder in desk.engine.driver.primary.holders.values()):
            await asyncio.sleep(0.02)
            longest, seen = max(longest, time.perf_counter() - seen), time.perf_counter()
        return _Answers(rate, waits, seen - start, longest)

    def _deal(self, desk: Served, number: int) -> Deal:
        holder, name = f"h{number % self.holders}", desk.names[number // 7 % TOKENS]
        if number % 2:
            return Deal(holder=holder, token=name, side="subscribe", amount=100 * MINOR)
        return Deal(holder=holder, token=name, side="redeem", amount=MINOR)
