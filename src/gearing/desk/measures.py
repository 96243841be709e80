"""The desk's figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gearing.desk.keeper import Answers, Keeper, Rows
from gearing.desk.view import DeskView
from gearing.drive.effects import Effects
from gearing.drive.tally import Tally
from gearing.errors import InputError

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Measures(Collector):
    """What is measured; the last view that it was given is what a scrape sees.

    Args:
        tally: the driver's counters.
    """

    def __init__(self, tally: Tally) -> None:
        self.registry = CollectorRegistry()
        self.commit = Histogram("gearing_commit_seconds", "Time to make a commit durable", buckets=_BUCKETS,
                                registry=self.registry)  # fmt: skip
        self.commit_s = 0.0
        self._tally, self._view = tally, DeskView(mode="", database="", running=False, market_ms=0)
        self._ages: dict[str, int] = {}
        self.registry.register(self)

    def serve(self, port: int) -> None:
        """Answers scrapes on 127.0.0.1.

        Raises:
            InputError: the port is taken.
        """
        try:
            start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}).", where="metrics_port",
                             fix="Choose another one.") from None  # fmt: skip

    def took(self, seconds: float) -> None:
        """Notes how long a commit took."""
        self.commit.observe(seconds)
        self.commit_s = seconds

    def see(self, view: DeskView, ages_ms: dict[str, int]) -> None:
        """Takes what the next scrape shall see."""
        self._view, self._ages = view, ages_ms

    def collect(self) -> Iterator[Metric]:
        """Yields every metric, as Prometheus asks."""
        tally, mode = self._tally, [self._view.mode]
        yield _gauge("gearing_market_time_seconds", "The market's time", [(mode, self._view.market_ms / 1000.0)])
        yield _counter("gearing_ticks", "Prices taken", [(mode, tally.ticks)])
        yield _counter("gearing_crossings", "Prices that concerned a token", [(mode, tally.crossings)])
        yield _counter("gearing_reconciliation_differences", "Differences between venue and ledger",
                       [(mode, tally.differences)])  # fmt: skip
        orders = [([*mode, outcome], count) for outcome, count in sorted(tally.orders.items())]
        yield _counter("gearing_orders", "Orders that ended", orders, "outcome")
        ages = [([*mode, symbol], age_ms / 1000.0) for symbol, age_ms in sorted(self._ages.items())]
        yield _gauge("gearing_price_age_seconds", "Age of the last good price, market time", ages, "symbol")
        tokens = self._view.tokens
        for name, words, values in (
            ("gearing_nav", "NAV at the marks of now", [one.outlook.nav for one in tokens]),
            ("gearing_leverage", "Real leverage, signed", [one.outlook.leverage for one in tokens]),
            ("gearing_equity", "Equity, settlement currency", [one.outlook.equity for one in tokens]),
            ("gearing_open", "1 where a token trades", [float(one.health == "ok") for one in tokens]),
        ):
            rows = [([*mode, one.outlook.token], value) for one, value in zip(tokens, values, strict=True)]
            yield _gauge(name, words, rows, "token")


def _gauge(name: str, words: str, rows: Sequence[tuple[list[str], float]], label: str = "") -> Metric:
    return _filled(GaugeMetricFamily(name, words, labels=["mode", *([label] if label else [])]), rows)


def _counter(name: str, words: str, rows: Sequence[tuple[list[str], float]], label: str = "") -> Metric:
    return _filled(CounterMetricFamily(name, words, labels=["mode", *([label] if label else [])]), rows)


def _filled(family: Any, rows: Sequence[tuple[list[str], float]]) -> Metric:
    for labels, value in rows:
        family.add_metric(labels, value)
    made: Metric = family
    return made


class TimedKeeper:
    """A keeper whose commits are timed.

    Args:
        keeper: which keeps.
        measures: told how long each took.
        now_s: a clock of the world, s.
    """

    def __init__(self, keeper: Keeper, measures: Measures, now_s: Callable[[], float]) -> None:
        self._keeper, self._measures, self._now_s = keeper, measures, now_s

    async def keep(self, effects: Effects | None, rows: Rows = (), answers: Answers = ()) -> None:
        """See `Keeper`."""
        began_s = self._now_s()
        await self._keeper.keep(effects, rows, answers)
        self._measures.took(self._now_s() - began_s)
