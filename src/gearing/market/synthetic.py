"""An invented market: minute bars with jumps and clustered volatility, and funding that follows a premium."""

from __future__ import annotations

import math

import numpy as np

from gearing.core.record import duration_ms
from gearing.errors import InputError
from gearing.market.series import Floats, Funding, Prices
from gearing.market.times import DAY_MS, Moment, moment_ms

HOUR_MS = 3_600_000
YEAR_MS = 365 * DAY_MS
SETTLEMENT_MS = 8 * HOUR_MS

# Half-lives of the two volatility states, in hours: bursts within a day, regimes of weeks.
_HALF_LIVES_H = (8.0, 20.0 * 24.0)

# Rate per 8 h = P + clamp(1 bp − P, ±5 bp), P the average premium, and never beyond ±30 bp.
# Source: Binance, "Introduction to Binance Futures Funding Rates"; ±30 bp is BTCUSDT's bound.
_INTEREST = 1e-4
_INTEREST_CLAMP = 5e-4
_FUNDING_LIMIT = 30e-4

# With these the rate is exactly 1 bp in about half of the settlements and spreads by some 2.5 bp, as BTC's
# did in 2020 and 2021.
_PREMIUM_SPREAD = 6e-4
_PREMIUM_HALF_LIFE_H = 48.0
_PREMIUM_ON_RETURNS = 0.6


def make_market(
    *,
    seed: int = 0,
    days: int = 365,
    interval: str = "1m",
    start: Moment = "2023-01-01",
    price: float = 40_000.0,
    volatility: float = 0.7,
    drift: float = 0.0,
    jumps_per_year: float = 25.0,
    jump_size: float = 0.04,
    clustering: float = 0.6,
    funding: bool = True,
    symbol: str = "BTC",
    tick: float = 0.01,
) -> tuple[Prices, Funding]:
    """Invents a market; the same arguments give the same market.

    Log prices follow a Brownian motion whose volatility is e^y, y being the sum of two mean-reverting
    (Ornstein-Uhlenbeck) states that move each hour, times a daily pattern that peaks at 15:00 UTC, plus
    jumps. Each bar's high and low are exact extremes of the Brownian bridge between its open and close.
    Volume grows with volatility and with the bar's own move. Funding settles at 00:00, 08:00 and 16:00 UTC.

    Args:
        seed: of numpy's `default_rng`.
        days: length, whole days.
        interval: of a bar, a divisor of one day: "1s" to "1d".
        start: the moment the first price is known (ISO text, datetime or ms; without a zone, UTC).
        price: the first price.
        volatility: annualised standard deviation of log returns, jumps included (0.7 is 70 %).
        drift: annualised expected log growth of E[price]; at 0 the price is a martingale.
        jumps_per_year: expected number of jumps.
        jump_size: standard deviation of a jump's log size.
        clustering: standard deviation of the log volatility; 0 is constant volatility.
        funding: False leaves every rate 0.
        symbol, tick: name of the series, and the step its prices are rounded to (0: none).

    Returns:
        Prices (bar i known at start + i·interval) and funding within the same period.

    Raises:
        InputError: an argument is out of range.

    Source: stochastic volatility as in S. J. Taylor (1986), jumps as in R. C. Merton (1976); the maximum of a
        Brownian bridge is (a + b + √((b − a)² − 2σ²·ln U))/2, from the reflection principle.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"the seed {seed!r} is no whole number of 0 or more.", where="seed", fix="Give 7, say.")
    step_ms = _checked(days, interval, price, volatility, drift, jumps_per_year, jump_size, clustering, tick)
    start_ms = moment_ms(start)
    rng = np.random.default_rng(seed)
    n = days * DAY_MS // step_ms
    times = start_ms + step_ms * np.arange(n, dtype=np.int64)
    dt = step_ms / YEAR_MS
    sigma = _sigmas(rng, times, math.sqrt(volatility**2 - jumps_per_year * jump_size**2), clustering)
    deviation = sigma * math.sqrt(dt)
    diffusion = rng.standard_normal(n) * deviation
    jumps, jumped = np.zeros(n), np.flatnonzero(rng.random(n) < jumps_per_year * dt)
    jumps[jumped] = rng.standard_normal(len(jumped)) * jump_size
    compensator = jumps_per_year * dt * math.expm1(jump_size**2 / 2)
    moves = diffusion + jumps + (drift * dt - deviation**2 / 2 - compensator)
    moves[0] = jumps[0] = 0.0
    path = np.cumsum(moves)
    before = np.concatenate((path[:1], path[:-1]))
    high, low = _extremes(rng, before, path, jumps, deviation)
    open_, high, low, close = (_ticked(price * np.exp(log), tick) for log in (before, high, low, path))
    high, low = np.maximum(high, np.maximum(open_, close)), np.minimum(low, np.minimum(open_, close))
    volume = _volumes(rng, moves, sigma / volatility, deviation, step_ms)
    prices = Prices(times, close, open=open_, high=high, low=low, volume=volume, symbol=symbol)
    return prices, _funding(rng, prices, path, volatility, symbol, zero=not funding)


def _checked(
    days: int,
    interval: str,
    price: float,
    volatility: float,
    drift: float,
    jumps_per_year: float,
    jump_size: float,
    clustering: float,
    tick: float,
) -> int:
    """The interval in ms, once every argument is known to make sense."""
    try:
        step_ms = duration_ms(interval)
    except (ValueError, TypeError):
        step_ms = 0
    if not 1_000 <= step_ms <= DAY_MS or DAY_MS % step_ms:
        raise InputError(f"interval is {interval!r}.", fix='Give a divisor of a day, such as "1m", "5m" or "1h".')
    for name, value, holds, expected in (
        ("days", days, days >= 1 and days == int(days), "a whole number of at least 1"),
        ("price", price, 0 < price < math.inf, "above 0"),
        ("volatility", volatility, 0 < volatility <= 10, "above 0 and at most 10 (0.7 is 70 % a year)"),
        ("drift", drift, abs(drift) <= 10, "between -10 and 10"),
        ("jumps_per_year", jumps_per_year, 0 <= jumps_per_year <= 10_000, "between 0 and 10,000"),
        ("jump_size", jump_size, 0 <= jump_size <= 0.5, "between 0 and 0.5"),
        ("clustering", clustering, 0 <= clustering <= 2, "between 0 and 2"),
        ("tick", tick, 0 <= tick <= price / 100, "at least 0 and at most a hundredth of the price"),
    ):
        if not holds:
            raise InputError(f"{name} is {value!r}.", fix=f"It must be {expected}.")
    if jumps_per_year * jump_size**2 >= volatility**2:
        raise InputError(
            f"the jumps alone make a volatility of {math.sqrt(jumps_per_year) * jump_size:.3g}, "
            f"no less than the {volatility:g} asked for.",
            fix="Ask for more volatility, or for fewer or smaller jumps.",
        )
    return step_ms


def _sigmas(rng: np.random.Generator, times: np.ndarray, level: float, clustering: float) -> Floats:
    """Annualised volatility of each bar; the mean of its square over time and chance is level²."""
    hours = times // HOUR_MS
    count = int(hours[-1] - hours[0]) + 1
    log_vol = np.zeros(count)
    for half_life in _HALF_LIVES_H:
        log_vol += clustering / math.sqrt(len(_HALF_LIVES_H)) * _reverting(rng.standard_normal(count), half_life)
    # E[e^{2y}] = e^{2·Var y}; the daily pattern 1 + 0.3·cos has mean square 1 + 0.3²/2.
    hour_of_day = (hours[0] + np.arange(count)) % 24
    daily = (1 + 0.3 * np.cos(2 * np.pi * (hour_of_day - 15) / 24)) / math.sqrt(1 + 0.3**2 / 2)
    hourly = level * daily * np.exp(log_vol - clustering**2)
    sigmas: Floats = hourly[hours - hours[0]]
    return sigmas


def _reverting(shocks: Floats, half_life: float) -> Floats:
    """A stationary AR(1) of unit variance from standard normal shocks, one per step."""
    keep = 0.5 ** (1 / half_life)
    states = np.empty_like(shocks)
    state = shocks[0]
    spread = math.sqrt(1 - keep * keep)
    # One year is 8,760 steps: a plain loop takes milliseconds.
    for row, shock in enumerate(shocks.tolist()):
        state = state if row == 0 else keep * state + spread * shock
        states[row] = state
    return states


def _extremes(
    rng: np.random.Generator, before: Floats, after: Floats, jumps: Floats, deviation: Floats
) -> tuple[Floats, Floats]:
    """Highest and lowest log price of each bar: a Brownian bridge's; a jump stands at the bar's end."""
    landing = after - jumps
    square = (landing - before) ** 2
    variance = 2 * deviation**2
    middle = before + landing
    # 1 - U lies in (0, 1], so its logarithm is finite.
    high = (middle + np.sqrt(square - variance * np.log(1 - rng.random(len(after))))) / 2
    low = (middle - np.sqrt(square - variance * np.log(1 - rng.random(len(after))))) / 2
    return np.maximum(high, after), np.minimum(low, after)


def _ticked(values: Floats, tick: float) -> Floats:
    if not tick:
        return values
    # Where the tick is a decimal, rounding by its decimals gives the floats a person would write.
    decimals = round(-math.log10(tick))
    exact = math.isclose(tick, 10.0**-decimals)
    rounded: Floats = np.round(values, decimals) if exact else np.round(values / tick) * tick
    return np.maximum(rounded, tick)


def _volumes(rng: np.random.Generator, moves: Floats, state: Floats, deviation: Floats, step_ms: int) -> Floats:
    """Units traded per bar: 250 a minute on average, more when volatile and when the bar moves."""
    surprise = np.abs(moves) / deviation
    noise = np.exp(0.6 * rng.standard_normal(len(moves)) - 0.18)
    volumes: Floats = np.round(250.0 * step_ms / 60_000 * state * (0.4 + 0.75 * surprise) * noise, 3)
    return volumes


def _funding(
    rng: np.random.Generator, prices: Prices, path: Floats, volatility: float, symbol: str, *, zero: bool
) -> Funding:
    """Rates from a mean-reverting premium whose shocks lean on the last settlement period's return."""
    first, last = int(prices.times_ms[0]), int(prices.times_ms[-1])
    times = np.arange(first // SETTLEMENT_MS + 1, last // SETTLEMENT_MS + 1, dtype=np.int64) * SETTLEMENT_MS
    if not len(times):
        raise InputError("the period holds no funding settlement.", fix="Ask for more days or finer bars.")
    logs = path[np.searchsorted(prices.times_ms, times, side="right") - 1]
    returns = np.diff(logs, prepend=path[0]) / (volatility * math.sqrt(SETTLEMENT_MS / YEAR_MS))
    shocks = rng.standard_normal(len(times))
    lean = _PREMIUM_ON_RETURNS
    shocks = lean * returns + math.sqrt(1 - lean**2) * shocks
    premium = _INTEREST + _PREMIUM_SPREAD * _reverting(shocks, _PREMIUM_HALF_LIFE_H / 8)
    due = premium + np.clip(_INTEREST - premium, -_INTEREST_CLAMP, _INTEREST_CLAMP)
    rates = np.asarray(np.round(np.clip(due, -_FUNDING_LIMIT, _FUNDING_LIMIT), 8), dtype=np.float64)
    return Funding(times, np.zeros_like(rates) if zero else rates, symbol=symbol)
