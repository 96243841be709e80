"""Gearing under test: its tokens, its indexed series, its kernels, as the jobs drive them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench import reference as ref
from bench.reference import Floats, Ints
from gearing.core import attribution as att
from gearing.core.fees import Costs, Fees
from gearing.core.pack import pack, schedule_times_ms
from gearing.core.rule import Rule, Schedule
from gearing.core.token import Token
from gearing.kernels import figures as fig
from gearing.kernels.calendar import Calendar, build_calendar
from gearing.kernels.one import equity_path
from gearing.kernels.run import N_COLUMNS, run
from gearing.kernels.series import Series, build_series


def make_token(target: float, deviation: float, taker_fee: float = ref.TAKER_FEE) -> Token:
    """Returns the reference job's token: daily at 00:00, and at once beyond a deviation (∞: never)."""
    daily = Schedule(times=("00:00",))
    rule = Rule(schedule=(daily,), deviation=None if deviation == ref.NEVER else deviation)
    costs = Costs(taker_fee=taker_fee, half_spread=ref.HALF_SPREAD)
    fees = Fees(management_per_day=ref.FEE_PER_DAY)
    return Token(symbol="BENCH", target=target, rule=rule, fees=fees, costs=costs)


class Indexed(NamedTuple):
    """A price path, indexed, with its calendar."""

    series: Series
    calendar: Calendar


def index(times_ms: Ints, path: Floats, spacing_ms: int, funding_bars: int) -> Indexed:
    """Returns the path indexed for a token that trades daily at 00:00."""
    series = build_series(times_ms, path, spacing_ms=spacing_ms)
    funding_times, rates = ref.settlements(times_ms, funding_bars)
    schedules = schedule_times_ms(make_token(3.0, ref.NEVER).resolved_rule)
    calendar = build_calendar(times_ms, spacing_ms, series.close, series.blocks, funding_times, rates, schedules)
    return Indexed(series, calendar)


class Runner:
    """One token on one path with its buffers made beforehand, as a study reuses them."""

    def __init__(self, target: float, deviation: float, bars: int) -> None:
        self.flat = pack(make_token(target, deviation))
        self.figures = np.zeros(fig.N_FIGURES)
        self.path = np.empty(bars)
        self._row, self._no_ledger, self._no_rows = np.zeros(N_COLUMNS), np.zeros(0), np.empty((0, N_COLUMNS))

    def final(self, indexed: Indexed) -> None:
        """Final figures and counts."""
        run(
            self.flat, indexed.series, indexed.calendar, ref.EQUITY, False, self.figures, self._no_ledger,
            self._no_rows, self._row,
        )  # fmt: skip

    def with_path(self, indexed: Indexed) -> None:
        """Final figures, counts and the equity of every bar."""
        equity_path(
            self.flat, indexed.series, indexed.calendar, ref.EQUITY, figures=self.figures, out=self.path
        )  # fmt: skip


__all__ = ["Indexed", "Runner", "att", "fig", "index", "make_token", "pack"]
