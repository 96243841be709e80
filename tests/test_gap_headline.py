"""The gap budget's headline alone against the whole budget, its kernels against plain loops, and its bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import gearing as gr
from gearing.core import catalog
from gearing.core.instruments import Perpetual
from gearing.core.rule import Rule, Schedule
from gearing.core.token import Token
from gearing.market.series import Prices
from gearing.study.gap import gap_budget, zero_at_worst
from gearing.study.gap_count import Data
from gearing.study.gap_passage import Jumps, is_negligible, passages_with_jumps
from gearing.study.gap_replay import replay, stand
from tests.strategies import cases

START, HOUR = 1_672_531_200_000, 3_600_000


def walk(seed: int, count: int, sigma: float, crash: float = 0.0, *, bars: bool = True) -> Prices:
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, sigma, count)
    moves[count // 2] += crash
    close = 100 * np.exp(np.cumsum(moves))
    low, high = close * rng.uniform(0.98, 1, count), close * rng.uniform(1, 1.02, count)
    times = START + HOUR * np.arange(count)
    return Prices(times, close, low=low, high=high) if bars else Prices(times, close)


PATHS = {
    "calm": walk(1, 2_400, 0.003),
    "wild": walk(2, 2_400, 0.03),
    "fall": walk(3, 2_400, 0.006, -0.6),
    "rise": walk(4, 2_400, 0.006, 0.6),
    "closes": walk(5, 2_400, 0.02, -0.3, bars=False),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("target", [3.0, -3.0])
def test_it_is_the_budgets_own_figure(path, target):
    data = Data(PATHS[path])
    found = {name: zero_at_worst(catalog.token(name, "BTC", target), data) for name in catalog.names()}
    budgets = {name: gap_budget(catalog.token(name, "BTC", target), PATHS[path]) for name in found}
    assert found == pytest.approx({name: b.zero_per_year_at_worst for name, b in budgets.items()}, rel=1e-9, abs=1e-7)
    if path == "calm":
        assert min(found.values()) == 0


@given(cases())
@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
def test_it_is_the_budgets_own_figure_for_any_rule(case):
    prices = Prices(np.array(case.times), np.array(case.prices), **{k: np.array(v) for k, v in case.bars.items()})
    expected = gap_budget(case.token, prices, equity=case.equity).zero_per_year_at_worst
    assert zero_at_worst(case.token, Data(prices), case.equity) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("target", [6.0, -6.0])
@pytest.mark.parametrize("path", ["wild", "fall", "rise", "closes"])
def test_the_rows_of_a_run_tell_what_its_bars_do(path, target):
    prices = PATHS[path]
    token = Token(symbol="X", target=target, rule=Rule(schedule=(Schedule(times=("00:00",)),)))
    seen = replay(token, Data(prices), lambda levels: -np.sign(target) / levels)
    quick = stand(token, prices)
    assert quick.ended == seen.ended
    assert (seen.ended > 0) is ((path, target) not in {("fall", -6.0), ("rise", 6.0)})
    assert (quick.lowest, quick.highest) == pytest.approx((seen.leverage.min(), seen.leverage.max()))
    (table, shares), (same, weights, bars) = seen.weights(), quick.weights()
    assert bars == len(seen.leverage)
    assert same == pytest.approx(table)
    assert weights == pytest.approx(shares, abs=1e-9)
    # The mean of what is straight between two leverages of the table is exact.
    assert weights @ np.log(same) == pytest.approx(np.log(seen.leverage).mean())


@given(
    st.floats(0.005, 1).flatmap(lambda b: st.sampled_from([b, -b])),
    st.floats(0.05, 2),
    st.sampled_from([1 / 525_600, 1 / 8_760, 1 / 365]),
    st.floats(0, 5_000),
    st.floats(-0.1, 0.1),
    st.floats(0, 0.1),
)
@settings(max_examples=60)
def test_what_is_called_negligible_is(b, sigma, years, per_year, mean, deviation):
    jumps = Jumps(per_year, mean, deviation)
    if not is_negligible(b, sigma, 0.0, years, jumps):
        return
    # One jump that goes all the way is a part of all that may happen.
    sign = math.copysign(1.0, b)
    one = math.erfc((abs(b) - sign * mean) / max(deviation, 1e-300) / math.sqrt(2)) / 2
    assert per_year * years * math.exp(-per_year * years) * one <= 2e-13
    assert math.erfc(abs(b) / (sigma * math.sqrt(years)) / math.sqrt(2)) <= 2e-13
    assert passages_with_jumps([b], sigma, 0.0, years, jumps) == pytest.approx([0.0], abs=1e-13)


def test_what_may_happen_is_not_called_negligible():
    hour = 1 / 8_760
    assert not is_negligible(-0.3, 0.5, 0.0, hour, Jumps(1.0, -0.1, 0.05))
    assert not is_negligible(0.01, 0.7, 0.0, hour, Jumps())
    assert is_negligible(-0.3, 0.5, 0.0, hour, Jumps())
    assert is_negligible(-0.3, 0.5, 0.0, hour, Jumps(1.0, 0.2, 0.01))


def test_a_comparison_has_it_for_each_token_that_has_one():
    prices = PATHS["fall"]
    legs = (Perpetual(symbol="BTC", weight=0.5), Perpetual(symbol="ETH", weight=0.5))
    basket = Token(symbol="TWO", target=3.0, rule="daily-etf", legs=legs)
    coin = Perpetual(inverse=True, underlying="BTC")
    tokens = [
        catalog.token("daily-etf", "BTC", 3),
        Token(symbol="C", target=3.0, rule="ftx", legs=(coin,), settlement="BTC"),
    ]
    alone = gr.compare(tokens, prices)
    expected = gap_budget(tokens[0], prices).zero_per_year_at_worst
    assert alone.gap_budget == [pytest.approx(expected), None]
    assert alone.frame["gap_budget"].to_list() == alone.gap_budget
    together = gr.compare([basket], {"BTC": prices, "ETH": PATHS["calm"]})
    assert together.frame["gap_budget"].to_list() == [None]
    assert together.frame.schema["gap_budget"].is_float()
