"""What a study runs on: the series it was given, brought to the form each token needs, each only once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gearing.core.fees import Costs
from gearing.core.instruments import DatedFuture, Leg
from gearing.core.legs import is_plain, pack_legs
from gearing.core.mirror import mirrored
from gearing.core.pack import pack, schedule_times_ms
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.kernels.one import Run, run_one
from gearing.market.files import check_overlap, read_funding, read_prices
from gearing.market.legs import Held, LegSeries, RanOn, Sources, named
from gearing.market.series import Funding, Prices
from gearing.study.native import library_of
from gearing.study.targets import Targets, run_varying


class Inputs:
    """The series of a study.

    Args:
        sources: what was given.
        periods_per_year: what figures per year are scaled with; None: by the calendar of the prices.
        intrabar: where triggers act: "close", at the price that a bar ends with; "worst", where its low or high
            reaches them, the adverse side first.
        targets: of a target that varies in time.

    Raises:
        InputError: the periods are no number above 0, or `intrabar` is neither.
    """

    def __init__(
        self, sources: Sources, periods_per_year: float | None = None, intrabar: str = "close",
        targets: Targets | None = None,
    ) -> None:  # fmt: skip
        if intrabar not in ("close", "worst"):
            raise InputError(f"intrabar is {intrabar!r}.", fix='Write intrabar="close" or intrabar="worst".')
        if periods_per_year is not None and not (
            isinstance(periods_per_year, (int, float)) and 0 < periods_per_year < float("inf")
        ):
            raise InputError(f"periods_per_year is {periods_per_year!r}.", fix="Give a number above 0, such as 252.")
        self.sources, self.periods_per_year, self.intrabar = sources, periods_per_year, intrabar
        self.targets = targets
        self.library = library_of(sources.prices, sources.funding)
        self._plain: dict[str, tuple[Prices, Funding | None]] = {}
        self._turned: dict[str, tuple[Prices, Funding | None]] = {}
        self._legs: dict[object, LegSeries] = {}

    def is_plain(self, token: Token) -> bool:
        """Returns whether a token is one perpetual and nothing else, so that the quick kernel serves it."""
        given = {name: getattr(self.sources, name) is not None for name in ("rates", "dividends", "underlying")}
        return is_plain(token, **given)

    def plain(self, token: Token) -> tuple[Prices, Funding | None]:
        """Returns prices and funding of a plain token.

        Raises:
            InputError: they cannot be used.
        """
        name = token.legs[0].symbol
        if name not in self._plain:
            prices = named(self.sources.prices, name, read_prices, "prices", alone=True)
            funding = named(self.sources.funding, name, read_funding, "funding", alone=True)
            if funding is not None:
                check_overlap(prices, funding)
            self._plain[name] = prices, funding
        return self._plain[name]

    def turned(self, token: Token) -> tuple[Prices, Funding | None]:
        """Returns prices and funding of a coin-settled token on y = 1/p."""
        name = token.legs[0].symbol
        if name not in self._turned:
            prices, funding = self.plain(token)
            paid = None if funding is None else replace(funding, rates=-funding.rates)
            self._turned[name] = upside_down(prices), paid
        return self._turned[name]

    def legs(self, token: Token) -> LegSeries:
        """Returns the series of a token's legs on one time axis.

        Raises:
            InputError: they cannot be used.
        """
        key = tuple(_series_of(leg) for leg in token.legs)
        if key not in self._legs:
            self._legs[key] = self.sources.of(token)
        return self._legs[key]

    def ran_on(self, token: Token) -> RanOn:
        """Returns what a token runs on.

        Raises:
            InputError: the series cannot be used.
        """
        if self.is_plain(token):
            prices, funding = self.plain(token)
            return RanOn(prices.times_ms, (Held(prices, funding=funding),))
        series = self.legs(token)
        return RanOn(series.times_ms, tuple(series.held), series.rates, series.given)

    def has_volume(self, token: Token) -> bool:
        """Returns whether the volume is known that a token's trades move the price against."""
        series = [self.plain(token)[0]] if self.is_plain(token) else self.legs(token).legs
        return all(prices.volume is not None and bool((prices.volume > 0).any()) for prices in series)

    def run_plain(self, token: Token, costs: Costs, equity: float) -> tuple[Run, Prices]:
        """Returns the run of a plain token, and the prices of its kernel (turned, if it settles in coin)."""
        if self.targets is not None:
            return self._run_varying(token, self.targets, costs, equity)
        inner = mirrored(token) if token.settles_in_coin else token
        prices, funding = self.turned(token) if token.settles_in_coin else self.plain(token)
        calendar = prices.calendar(funding, schedule_times_ms(inner.resolved_rule))
        if self.intrabar == "close":
            return run_one(pack(inner, costs), prices.index, calendar, equity), prices
        from gearing.kernels.intrabar import run_one_inside

        if prices.low is None or prices.high is None:
            what = 'intrabar="worst" needs the low and high of each bar, and the prices have none.'
            raise InputError(what, where=prices.symbol or "prices", fix='Give them, or say intrabar="close".')
        opens = np.append(prices.close[:1], prices.close[:-1]) if prices.open is None else prices.open
        return run_one_inside(pack(inner, costs), prices.index, opens, calendar, equity), prices

    def _run_varying(self, token: Token, targets: Targets, costs: Costs, equity: float) -> tuple[Run, Prices]:
        if token.settles_in_coin or self.intrabar != "close":
            what = (
                f'a target that varies is for a linear perpetual and intrabar="close"; {token.symbol} is run otherwise.'
            )
            raise InputError(what, where="target", fix="Leave one of the two out.")
        prices, funding = self.plain(token)
        return run_varying(token, targets.beside(prices), prices, funding, costs, equity), prices

    def run_legs(self, token: Token, costs: Costs, equity: float) -> Any:
        """Returns the run of a token of any legs."""
        from gearing.kernels.legs_run import run_portfolio

        if self.targets is not None:
            what = f"{token.symbol} is more than one perpetual, and a target that varies is for one."
            raise InputError(what, where="target", fix="Give a token with one target.")
        if self.intrabar != "close":
            what = f'{token.symbol} is more than one perpetual, and intrabar="worst" knows the way of one price only.'
            raise InputError(what, where="intrabar", fix='Say intrabar="close".')
        series = self.legs(token)
        calendar = series.calendar(schedule_times_ms(token.resolved_rule))
        flat, share = pack(token, costs), token.interest_share
        return run_portfolio(flat, share, pack_legs(token), series.index, calendar, equity)


def _series_of(leg: Leg) -> tuple[object, ...]:
    """Returns what decides on the series of a leg, so that tokens of the same legs share them."""
    chain = (leg.contracts, leg.roll_days) if isinstance(leg, DatedFuture) else ()
    return type(leg), leg.symbol, chain


def upside_down(prices: Prices) -> Prices:
    """Returns y = 1/p of a series; the volume is then the notional traded."""
    volume = None if prices.volume is None else prices.volume * prices.close
    ends = {"open": prices.open, "high": prices.low, "low": prices.high}
    columns: dict[str, Any] = {name: None if values is None else 1 / values for name, values in ends.items()}
    return replace(prices, close=1 / prices.close, volume=volume, **columns)
