"""An endless market: prices and funding of several correlated coins as a pure function of seed and time.

Any second of any day can be asked for by itself, and is the same however one gets there: days are drawn from the
origin on in one go, the seconds of a day by a generator of that day's own, tied to its open and close.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gearing.core.record import DAY_MS, Check, Record
from gearing.market.series import Floats

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01 00:00 UTC, where every path starts
_DAY_S = DAY_MS // 1000
_HOUR_MS = 3_600_000
_JUMPS_A_DAY_MAX = 3


class Coin(Record, frozen=True, kw_only=True):
    """One coin of the market.

    Args:
        symbol: of its perpetual.
        price: at the origin.
        volatility: per year, without jumps.
        volume: traded a day, in coins.
    """

    symbol: str
    price: float
    volatility: float = 0.7
    volume: float = 100_000.0

    def __post_init__(self) -> None:
        check = Check(self)
        check.text("symbol", empty=False)
        for place in ("price", "volatility", "volume"):
            check.number(place, 0, strict=True)
        check.done()


COINS = (
    Coin(symbol="BTCUSDT", price=64_000.0, volatility=0.55, volume=250_000.0),
    Coin(symbol="ETHUSDT", price=3_100.0, volatility=0.75, volume=4_000_000.0),
    Coin(symbol="SOLUSDT", price=145.0, volatility=0.95, volume=30_000_000.0),
)


class EndlessMarket:
    """Correlated coins with clustered volatility, jumps, and funding that follows the last hours' move.

    Args:
        seed: of everything that is drawn.
        coins: what is traded.
        correlation: between any two coins' moves.
        jumps_per_year: of the whole market.
        jump_deviation: of a jump's log size.
    """

    def __init__(
        self,
        seed: int,
        coins: tuple[Coin, ...] = COINS,
        *,
        correlation: float = 0.75,
        jumps_per_year: float = 30.0,
        jump_deviation: float = 0.035,
    ) -> None:
        self.seed, self.coins = seed, coins
        count = len(coins)
        matrix = np.full((count, count), correlation) + (1 - correlation) * np.eye(count)
        self._mix = np.linalg.cholesky(matrix)
        self._daily = np.array([coin.volatility / math.sqrt(365.0) for coin in coins])
        self._jump_chance = jumps_per_year / 365.0 / _JUMPS_A_DAY_MAX
        self._jump_deviation = jump_deviation
        self._day = lru_cache(maxsize=4)(self._drawn_day)
        self._week = lru_cache(maxsize=4)(self._drawn_week)
        self._levels: list[Floats] = [np.log(np.array([coin.price for coin in coins]))]
        self._days: list[NDArray[np.float64]] = []

    def marks(self, time_ms: int) -> Floats:
        """Returns the mark of each coin at a time, rounded to six digits as a venue's tick would."""
        second = (time_ms - ORIGIN_MS) // 1000
        path = self._day(second // _DAY_S)
        return _rounded(np.exp(path[:, second % _DAY_S]))

    def window(self, start_ms: int, stop_ms: int, step_ms: int) -> tuple[NDArray[np.int64], Floats]:
        """Returns times from start up to stop, a step apart, and the marks of each coin, shape (coins, n)."""
        times = np.arange(start_ms, stop_ms, step_ms, dtype=np.int64)
        seconds = (times - ORIGIN_MS) // 1000
        marks = np.empty((len(self.coins), len(times)))
        for day in np.unique(seconds // _DAY_S).tolist():
            here = seconds // _DAY_S == day
            marks[:, here] = np.exp(self._day(day)[:, seconds[here] % _DAY_S])
        return times, _rounded(marks)

    def indexes(self, time_ms: int) -> Floats:
        """Returns the price of each coin elsewhere: the mark less a small premium that turns with the hours."""
        phase = time_ms / (11 * _HOUR_MS) * 2 * math.pi
        premium = np.array([4e-4 * math.sin(phase + 1.7 * k) for k in range(len(self.coins))], dtype=np.float64)
        return _rounded(np.asarray(self.marks(time_ms) / (1.0 + premium), dtype=np.float64))

    def funding_rates(self, settlement_ms: int) -> Floats:
        """Returns the rate of each coin at a settlement: a hundredth of a percent, and more after a rise."""
        moved = np.log(self.marks(settlement_ms) / self.marks(settlement_ms - 8 * _HOUR_MS))
        rates = np.round(np.clip(1e-4 + 0.01 * moved, -0.0075, 0.0075), 8)
        return np.asarray(rates, dtype=np.float64)

    def _drawn_day(self, day: int) -> Floats:
        """Returns the log prices of a day's seconds, shape (coins, 86400); the last one precedes the next open."""
        opened, closed, jumps = self._ends(day)
        draw = np.random.default_rng([self.seed, 2, day])
        count = len(self.coins)
        steps = self._mix @ draw.standard_normal((count, _DAY_S)).astype(np.float64)
        activity, _ = self._activity(day)
        walk = np.cumsum(steps, axis=1) * (self._daily * activity / math.sqrt(_DAY_S))[:, None]
        total = closed - opened - jumps.sum(axis=1)
        along = np.arange(1, _DAY_S + 1) / _DAY_S
        path = opened[:, None] + walk + (total - walk[:, -1])[:, None] * along
        seconds = draw.integers(1, _DAY_S, _JUMPS_A_DAY_MAX)
        for n, second in enumerate(seconds.tolist()):
            path[:, second:] += jumps[:, n : n + 1]
        return np.concatenate([opened[:, None], path[:, :-1]], axis=1)

    def _activity(self, day: int) -> tuple[float, NDArray[np.bool_]]:
        """Returns how lively a day is against the average, and which of its jumps happen."""
        happens = np.random.default_rng([self.seed, 3, day]).random(_JUMPS_A_DAY_MAX) < self._jump_chance
        return self._week(day // 7), happens

    def _drawn_week(self, week: int) -> float:
        draw = np.random.default_rng([self.seed, 1, week])
        return math.exp(0.45 * float(draw.standard_normal()) - 0.1)

    def _ends(self, day: int) -> tuple[Floats, Floats, Floats]:
        """Returns a day's open, the next day's open (logs), and its jumps, shape (coins, jumps)."""
        if day < 0:
            raise ValueError("the market begins on 2025-01-01")
        while len(self._days) <= day:
            number = len(self._days)
            draw = np.random.default_rng([self.seed, 4, number])
            activity, happens = self._activity(number)
            shared = draw.standard_normal(_JUMPS_A_DAY_MAX) * self._jump_deviation * happens
            jumps = shared * (0.8 + 0.4 * draw.random((len(self.coins), 1)))
            moved = self._mix @ draw.standard_normal(len(self.coins)) * self._daily * activity
            moved -= 0.5 * (self._daily * activity) ** 2
            self._days.append(jumps)
            self._levels.append(self._levels[-1] + moved + jumps.sum(axis=1))
        return self._levels[day], self._levels[day + 1], self._days[day]


def _rounded(prices: Floats) -> Floats:
    """Returns prices to six significant digits, the decimals that a venue would quote."""
    digits = 5 - np.floor(np.log10(prices))
    scale = 10.0**digits
    return np.asarray(np.round(prices * scale) / scale)
