"""What a run left behind, as a person sees it: of one perpetual, of a coin-settled one, or of any legs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, final

import numpy as np
import polars as pl

from gearing.core.decide import REASONS
from gearing.core.fees import Costs
from gearing.core.instruments import DatedFuture
from gearing.core.token import Token
from gearing.kernels import run as columns
from gearing.kernels.one import Run, path_of
from gearing.kernels.pyramid import Floats
from gearing.market.legs import LegSeries, RanOn
from gearing.market.series import Prices
from gearing.study.inputs import Inputs

# A basket's index is shown from this level on, as indices are.
INDEX_START = 100.0

Times = Callable[[Any], pl.Series]


class Seen(NamedTuple):
    """The rows of a run in settlement currency and contracts; `traded` is NaN where there are several contracts."""

    price: Floats
    exposure: Floats
    leverage_before: Floats
    aim: Floats
    traded: Floats
    notional: Floats
    more: dict[str, Floats]


class Outcome(ABC):
    """What one run left behind.

    Args:
        token: what ran.
        prices: what the result is held against.
        ran_on: the series of its legs, and what else was given.
        run: the rows, figures and ledger of the run.
    """

    def __init__(self, token: Token, prices: Prices, ran_on: RanOn, run: Any) -> None:
        self.token, self.prices, self.ran_on = token, prices, ran_on
        self.rows: Floats = run.rows
        self.figures: Floats = run.figures
        self.ledger: Floats = run.ledger

    @property
    def rolls(self) -> dict[int, str]:
        """What is rolled on a bar, in words: "roll from BTC-27JUN25 to BTC-26SEP25"."""
        told: dict[int, list[str]] = {}
        for leg, held in zip(self.token.legs, self.ran_on.legs, strict=True):
            contracts = leg.contracts if isinstance(leg, DatedFuture) else ()
            for (old, new), roll in zip(pairwise(contracts), held.rolls, strict=False):
                bar = int(np.searchsorted(self.ran_on.times_ms, roll.time_ms))
                told.setdefault(bar, []).append(f"roll from {old.symbol} to {new.symbol}")
        return {bar: ", ".join(words) for bar, words in told.items()}

    def reasons(self, rows: Floats) -> list[str]:
        """Returns why each row was posted: what made the rule trade, and what was rolled."""
        names = [REASONS[reason] for reason in rows[:, columns.REASON].astype(np.int64).tolist()]
        rolls = self.rolls
        for k, bar in enumerate(rows[:, columns.BAR].astype(np.int64).tolist() if rolls else ()):
            if bar in rolls:
                names[k] = rolls[bar] if names[k] == REASONS[0] else f"{names[k]}, {rolls[bar]}"
        return names

    @abstractmethod
    def path(self) -> tuple[Floats, Floats]:
        """Returns (equity, exposure) per bar."""

    @abstractmethod
    def seen(self, rows: Floats) -> Seen:
        """Returns rows of the run as a person sees them."""

    @abstractmethod
    def leg_frame(self, times: Times) -> pl.DataFrame:
        """Returns a frame with one row per event and leg; see `Result.legs`."""


@final
class PlainOutcome(Outcome):
    """The outcome of one perpetual, linear or settled in its coin.

    Args:
        inner: the prices that the kernel ran on; those of y = 1/p for a coin-settled token.
    """

    def __init__(self, token: Token, ran_on: RanOn, run: Run, inner: Prices) -> None:
        super().__init__(token, ran_on.legs[0].prices, ran_on, run)
        self._run, self._inner = run, inner
        # A position on y = 1/p is one of the opposite sign on p.
        self._sign = -1.0 if token.settles_in_coin else 1.0

    def path(self) -> tuple[Floats, Floats]:
        """Returns (equity, exposure) per bar."""
        equity, position = path_of(self._run, self._inner.index)
        return equity, self._sign * position * self._inner.close

    def seen(self, rows: Floats) -> Seen:
        """Returns rows of the run as a person sees them."""
        column, sign = rows.T, self._sign
        at = column[columns.PRICE]
        return Seen(
            price=at if sign > 0 else 1 / at,
            exposure=sign * column[columns.POSITION] * at,
            leverage_before=sign * column[columns.LEVERAGE],
            aim=sign * column[columns.AIM],
            traded=sign * column[columns.TRADED] / self.token.legs[0].multiplier,
            notional=sign * column[columns.TRADED] * at,
            more={},
        )

    def leg_frame(self, times: Times) -> pl.DataFrame:
        """Returns a frame with one row per event and leg; see `Result.legs`."""
        seen, leg = self.seen(self.rows), self.token.legs[0]
        position = self._sign * self.rows[:, columns.POSITION] / leg.multiplier
        return _leg_frame(self.reasons(self.rows), self.rows, times, leg.symbol, seen.price, seen.traded, position)


@final
class LegsOutcome(Outcome):
    """The outcome of a token of any legs.

    Args:
        series: the series of its legs.
    """

    def __init__(self, token: Token, series: LegSeries, ran_on: RanOn, run: Any) -> None:
        super().__init__(token, _held_against(token, series, run.path[2]), ran_on, run)
        self._path, self._market = run.path, series.index
        self._scale = self.prices.close[0] / run.path[2][0]

    def path(self) -> tuple[Floats, Floats]:
        """Returns (equity, exposure) per bar."""
        return self._path[0], self._path[1]

    def seen(self, rows: Floats) -> Seen:
        """Returns rows of the run as a person sees them."""
        from gearing.kernels.legs_settle import FIRST_POSITION, MORE_COLUMNS

        column = rows.T
        traded = np.full(len(rows), np.nan)
        if len(self.token.legs) == 1:
            unit = 1 / column[columns.PRICE] / self._scale if self.token.is_inverse else 1.0
            traded = column[FIRST_POSITION + 1] / unit / self.token.legs[0].multiplier
        return Seen(
            price=column[columns.PRICE] * self._scale,
            exposure=column[columns.POSITION],
            leverage_before=column[columns.LEVERAGE],
            aim=column[columns.AIM],
            traded=traded,
            notional=column[columns.TRADED],
            more={name: column[len(columns.COLUMNS) + n] for n, name in enumerate(MORE_COLUMNS)},
        )

    def leg_frame(self, times: Times) -> pl.DataFrame:
        """Returns a frame with one row per event and leg; see `Result.legs`."""
        from gearing.kernels.legs_settle import FIRST_POSITION

        frames = []
        for k, leg in enumerate(self.token.legs):
            column = self.rows.T
            bars = column[columns.BAR].astype(np.int64)
            price = self._market.close[k][bars]
            position, traded = column[FIRST_POSITION + 2 * k], column[FIRST_POSITION + 2 * k + 1]
            if self.token.is_inverse:
                # Contracts are notional: the exposure without the coin that is the collateral.
                position = position * price - column[columns.EQUITY]
                traded = traded * price
            frames.append(
                _leg_frame(
                    self.reasons(self.rows),
                    self.rows,
                    times,
                    leg.symbol,
                    price,
                    traded / leg.multiplier,
                    position / leg.multiplier,
                )
            )
        return pl.concat(frames).sort("time", maintain_order=True)


def _leg_frame(
    reasons: list[str], rows: Floats, times: Times, symbol: str, price: Floats, traded: Floats, position: Floats
) -> pl.DataFrame:
    return pl.DataFrame(
        [
            times(rows[:, columns.BAR]),
            pl.Series("reason", reasons, dtype=pl.String),
            pl.Series("symbol", [symbol] * len(rows), dtype=pl.String),
            pl.Series("price", price),
            pl.Series("traded", traded + 0.0),
            pl.Series("position", position + 0.0),
        ]
    )


def _held_against(token: Token, series: LegSeries, path: Floats) -> Prices:
    """Returns the price a result is shown against: the underlying's, the single leg's, or the index."""
    if series.underlying is not None:
        return series.underlying
    first = series.legs[0]
    if len(series.legs) == 1 and not series.held[0].rolls:
        return first
    if len(series.legs) > 1:
        return Prices(series.times_ms, path * (INDEX_START / path[0]), symbol=f"{token.symbol} index")
    close = path * (first.close[0] / path[0])
    return Prices(series.times_ms, close, symbol=first.symbol, **_ranges(series, close))


def _ranges(series: LegSeries, close: Floats) -> dict[str, Any]:
    """Returns lows and highs of a chain's contracts, on the scale on which they are joined without jumps."""
    market, held = series.index, series.legs[0]
    if held.low is None or held.high is None:
        return {}
    # At a roll the range is that of the old contract, whose move the joined price made.
    against = held.close.copy()
    for roll in series.held[0].rolls:
        bar = int(np.searchsorted(series.times_ms, roll.time_ms))
        if bar < len(against):
            against[bar] = roll.price
    ratio = close / against
    return {"low": np.minimum(market.low * ratio, close), "high": np.maximum(market.high * ratio, close)}


def outcome_of(token: Token, inputs: Inputs, costs: Costs, equity: float) -> Outcome:
    """Runs a token and returns what its run left behind.

    Raises:
        InputError: the series cannot be used.
    """
    if inputs.is_plain(token):
        run, inner = inputs.run_plain(token, costs, equity)
        return PlainOutcome(token, inputs.ran_on(token), run, inner)
    return LegsOutcome(token, inputs.legs(token), inputs.ran_on(token), inputs.run_legs(token, costs, equity))
