"""Invented markets: deterministic, consistent, and realistic in what can be measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gearing.errors import InputError
from gearing.market.files import check_overlap
from gearing.market.series import Funding, Prices
from gearing.market.synthetic import make_market

YEAR_DAYS = 365


@pytest.fixture(scope="module")
def markets() -> list[tuple[Prices, Funding]]:
    return [make_market(seed=seed, interval="15m") for seed in range(60)]


def test_the_same_seed_gives_the_same_market_and_another_one_another() -> None:
    one, two, other = make_market(seed=7, days=3), make_market(seed=7, days=3), make_market(seed=8, days=3)
    for name in ("times_ms", "open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(one[0], name), getattr(two[0], name))
    assert np.array_equal(one[1].rates, two[1].rates)
    assert not np.array_equal(one[0].close, other[0].close)


def test_the_first_price_is_known_at_the_start_and_bars_follow_without_a_gap() -> None:
    prices, funding = make_market(days=2, start="2024-02-28T00:00", price=123.45, symbol="X")
    assert prices.start == "2024-02-28T00:00:00Z"
    assert prices.end == "2024-02-29T23:59:00Z"
    assert (len(prices), prices.spacing_ms, prices.gaps()) == (2 * 1440, 60_000, [])
    assert prices.close[0] == 123.45
    assert [prices.symbol, funding.symbol] == ["X", "X"]
    assert funding.start == "2024-02-28T08:00:00Z"
    assert len(funding) == 5
    check_overlap(prices, funding)


def test_each_bar_opens_at_the_last_close_and_its_range_holds_both(
    markets: list[tuple[Prices, Funding]],
) -> None:
    for prices, _ in markets[:5]:
        assert prices.open is not None
        assert prices.high is not None
        assert prices.low is not None
        assert np.array_equal(prices.open[1:], prices.close[:-1])
        assert (prices.high >= np.maximum(prices.open, prices.close)).all()
        assert (prices.low <= np.minimum(prices.open, prices.close)).all()
        assert np.array_equal(prices.close, np.round(prices.close, 2))


def test_the_range_of_bars_is_that_of_a_brownian_motion() -> None:
    """Parkinson (1980): for a driftless Brownian motion E[ln(high/low)²] = 4·ln 2·σ²·dt."""
    prices, _ = make_market(seed=3, days=400, jumps_per_year=0, clustering=0, tick=0, interval="15m", volatility=0.5)
    assert prices.high is not None
    assert prices.low is not None
    ranges = np.log(prices.high / prices.low)
    expected = 4 * np.log(2) * 0.5**2 * (1 / (4 * 24 * YEAR_DAYS))
    assert np.mean(ranges**2) == pytest.approx(expected, rel=0.03)


def test_a_coarser_bar_has_the_range_of_the_finer_ones_in_it() -> None:
    """Highs of hourly bars and highest highs of 60 minute bars follow the same law."""
    options: dict[str, Any] = {"days": 200, "jumps_per_year": 0, "clustering": 0, "tick": 0}
    fine, _ = make_market(seed=1, interval="1m", **options)
    coarse, _ = make_market(seed=2, interval="1h", **options)
    assert fine.high is not None
    assert fine.open is not None
    assert coarse.high is not None
    assert coarse.open is not None
    above = np.log(fine.high.reshape(-1, 60).max(axis=1) / fine.open[::60])
    assert above.mean() == pytest.approx(np.log(coarse.high / coarse.open).mean(), rel=0.05)


def test_realised_volatility_is_the_one_asked_for(markets: list[tuple[Prices, Funding]]) -> None:
    variances = [np.var(np.diff(np.log(prices.close))) * 4 * 24 * YEAR_DAYS for prices, _ in markets]
    assert np.sqrt(np.mean(variances)) == pytest.approx(0.7, rel=0.06)
    calm, _ = make_market(volatility=0.2, jumps_per_year=0, clustering=0, interval="5m")
    assert np.std(np.diff(np.log(calm.close))) * np.sqrt(12 * 24 * YEAR_DAYS) == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize("drift", [0.0, 10.0])
@pytest.mark.parametrize(("jumps", "size"), [(0.0, 0.0), (2_000.0, 0.1)])
def test_the_expected_price_grows_by_the_drift_alone(drift: float, jumps: float, size: float) -> None:
    """At this volatility a forgotten half variance or jump mean would be 8 to 12 a year."""
    prices, _ = make_market(
        seed=11,
        days=3_650,
        interval="1h",
        drift=drift,
        volatility=5.0,
        jumps_per_year=jumps,
        jump_size=size,
        clustering=0,
        tick=0,
    )
    growth = prices.close[1:] / prices.close[:-1] - 1
    yearly = growth.mean() * 24 * YEAR_DAYS
    error = growth.std() / np.sqrt(len(growth)) * 24 * YEAR_DAYS
    assert abs(yearly - drift) < 3.5 * error
    assert error < 2


def test_daily_returns_have_fat_tails(markets: list[tuple[Prices, Funding]]) -> None:
    daily = np.concatenate([np.diff(np.log(prices.close[::96])) for prices, _ in markets])
    daily -= daily.mean()
    assert np.mean(daily**4) / np.mean(daily**2) ** 2 - 3 > 1.5
    plain, _ = make_market(jumps_per_year=0, clustering=0, days=3650, interval="1d")
    logs = np.diff(np.log(plain.close))
    logs -= logs.mean()
    assert abs(np.mean(logs**4) / np.mean(logs**2) ** 2 - 3) < 0.35


def test_volatility_clusters(markets: list[tuple[Prices, Funding]]) -> None:
    def autocorrelation(prices: Prices, lag: int) -> float:
        size = np.abs(np.diff(np.log(prices.close[::4])))
        return float(np.corrcoef(size[lag:], size[:-lag])[0, 1])

    assert np.mean([autocorrelation(prices, 1) for prices, _ in markets]) > 0.15
    assert np.mean([autocorrelation(prices, 24 * 5) for prices, _ in markets]) > 0.05
    returns = [np.diff(np.log(prices.close)) for prices, _ in markets]
    assert abs(np.mean([np.corrcoef(r[1:], r[:-1])[0, 1] for r in returns])) < 0.01


def test_volume_goes_with_the_size_of_moves(markets: list[tuple[Prices, Funding]]) -> None:
    prices, _ = markets[0]
    assert prices.volume is not None
    assert prices.volume.min() >= 0
    moves = np.abs(np.diff(np.log(prices.close)))
    assert np.corrcoef(moves, prices.volume[1:])[0, 1] > 0.4


def test_funding_is_like_that_of_btc(markets: list[tuple[Prices, Funding]]) -> None:
    rates = [funding.rates for _, funding in markets]
    everything = np.concatenate(rates)
    assert np.mean(everything) == pytest.approx(1e-4, abs=0.2e-4)
    assert np.abs(everything).max() <= 30e-4
    assert 0.3 < np.mean(everything == 1e-4) < 0.8
    assert np.mean([np.corrcoef(r[1:], r[:-1])[0, 1] for r in rates]) > 0.6
    leans = []
    for prices, funding in markets:
        logs = np.log(prices.close[np.searchsorted(prices.times_ms, funding.times_ms)])
        leans.append(np.corrcoef(logs[9:] - logs[:-9], funding.rates[9:])[0, 1])
    assert np.mean(leans) > 0.2
    hours = {int(time) // 3_600_000 % 24 for _, funding in markets[:2] for time in funding.times_ms}
    assert hours == {0, 8, 16}


def test_funding_never_leaves_the_bounds_of_the_venue() -> None:
    _, funding = make_market(volatility=0.7, jumps_per_year=2, jump_size=0.45, interval="1h")
    assert np.abs(funding.rates).max() == 30e-4


def test_without_funding_every_rate_is_zero() -> None:
    prices, funding = make_market(days=3, funding=False)
    assert (funding.rates == 0).all()
    assert np.array_equal(prices.close, make_market(days=3)[0].close)


@pytest.mark.parametrize("tick", [0.0, 0.01, 0.1, 0.5, 25.0])
def test_prices_are_multiples_of_the_tick(tick: float) -> None:
    prices, _ = make_market(days=2, tick=tick)
    for values in (prices.open, prices.high, prices.low, prices.close):
        assert values is not None
        if tick:
            assert np.allclose(values / tick, np.round(values / tick), rtol=0, atol=1e-6)
    assert (len(np.unique(prices.close)) > 1_000) == (tick < 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"interval": "7m"}, "interval is '7m'.*divisor of a day"),
        ({"interval": "soon"}, "interval is 'soon'"),
        ({"days": 0}, "days is 0"),
        ({"price": 0.0}, "price is 0"),
        ({"volatility": -0.1}, "volatility is -0.1"),
        ({"volatility": float("nan")}, "volatility is nan"),
        ({"volatility": 0.1}, "the jumps alone make a volatility of 0.2"),
        ({"clustering": 9.0}, "clustering is 9"),
        ({"tick": 1e9}, "tick is"),
        ({"start": "someday"}, "'someday' is no moment"),
        ({"interval": "1d", "days": 1}, "no funding settlement"),
    ],
)
def test_impossible_markets_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        make_market(**options)
    assert error.value.fix
