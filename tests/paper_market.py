"""Paper exchanges for tests: listings, quotes, orders, and one in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

import gearing
from gearing.core.fees import Costs
from gearing.core.instruments import MarginTier
from gearing.venues.paper import requests as rq
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.setup import Faults, Latency, Listing, Setup
from gearing.venues.paper.wire import Answer, Told
from gearing.venues.protocol import InstrumentRules, OrderRequest, Quote

T0 = 1_700_000_000_000
TIERS = (
    MarginTier(notional_max=50_000.0, rate=0.004),
    MarginTier(notional_max=600_000.0, rate=0.005, amount=50.0),
    MarginTier(rate=0.01, amount=3_050.0),
)


def listing(symbol="BTC", lot="0.001", costs=None, depth=0, **rules):
    given = {"asset": "USDT", "tiers": TIERS, "funding_interval_ms": 28_800_000, **rules}
    costs = costs or Costs(taker_fee=5e-4, half_spread=2e-4, liquidation_fee=0.01)
    return Listing(rules=InstrumentRules(symbol=symbol, lot=lot, **given), costs=costs, depth_lots=depth)


def setup(*listings, faults=None, latency=None, seed=0, leverage=20.0):
    return Setup(listings=listings or (listing(),), faults=faults or Faults(), latency=latency or Latency(),
                 seed=seed, leverage=leverage)  # fmt: skip


def quote(time_ms, mark, symbol="BTC"):
    return Quote(symbol=symbol, time_ms=time_ms, mark=mark, index=mark)


def order(client_id, lots, time_ms=T0, symbol="BTC", **more):
    return OrderRequest(client_id=client_id, symbol=symbol, lots=lots, signed_ms=time_ms, **more)


class Desk:
    """One account at an exchange, without asyncio: what came out is kept."""

    def __init__(self, given, file=None, account="main"):
        self.exchange = PaperExchange(given, file)
        self.account = account
        self.answers, self.told, self.prices = {}, [], []

    @property
    def now_ms(self):
        return self.exchange.now_ms

    def take(self, time_ms, mark, symbol="BTC"):
        self.control(rq.TakeQuotes(quotes=(quote(time_ms, mark, symbol),)))

    def control(self, request):
        self.exchange.control(request)
        self.collect()

    def send(self, request):
        call = self.exchange.send(self.account, request)
        self.exchange.run()
        self.collect()
        return call

    def ask(self, request):
        """The answer, which has to be there at once; raises what the caller learned."""
        answer = self.answers.pop(self.send(request))
        if answer.error is not None:
            raise answer.error
        return answer.value

    def place(self, client_id, lots, **more):
        more.setdefault("time_ms", self.now_ms)
        return self.ask(rq.Place(order=order(client_id, lots, **more)))

    def fund(self, amount=10_000 * 10**8):
        self.ask(rq.Transfer(asset="USDT", amount=amount, reference="capital"))

    def statement(self):
        return self.exchange.engine.statement(self.account)

    def collect(self):
        for item in self.exchange.taken():
            if isinstance(item, Answer):
                self.answers[item.call] = item
            elif isinstance(item, Told):
                self.told.append((self.now_ms, item.report))
            else:
                self.prices.append(item)


def opened(given=None, mark=40_000.0, **more):
    """A desk with money and a price."""
    desk = Desk(given or setup(), **more)
    desk.take(T0, mark)
    desk.fund()
    return desk


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(gearing.__file__).parents[1])}


def started(directory, given, file_blocks_max=None):
    """The exchange as a process, once it listens; its files cannot grow beyond so many blocks."""
    file = directory / "setup.json"
    file.write_bytes(msgspec.json.encode(given))
    command = [sys.executable, "-m", "gearing.venues.paper", "--file", directory / "paper.db",
               "--socket", directory / "s", "--setup", file]  # fmt: skip

    if file_blocks_max is not None:
        command = ["sh", "-c", f'ulimit -f {file_blocks_max}; exec "$@"', "sh", *command]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if process.stdout.readline() != "ready\n":
        killed(process)
        raise AssertionError("the exchange did not start")
    return process


@contextlib.contextmanager
def exchange_process(directory, given):
    process = started(directory, given)
    try:
        yield directory / "s"
    finally:
        killed(process)


def killed(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
