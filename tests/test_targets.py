"""A target that varies in time: against a plain loop, and by hand."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearing as gr
from gearing.study.ideal import ideal_of
from tests import reference
from tests.oracle import Loop
from tests.strategies import examples

HOUR = 3_600_000
RULES = [
    "ftx",
    gr.Rule(band_lower=0.5, band_upper=5.0),
    gr.Rule(schedule=(gr.Schedule(times=("00:00", "12:00")),)),
    gr.Rule(schedule=(gr.Schedule(every="7h"),), deviation=0.3),
]


class Varying(Loop):
    """The plain loop, which at the bars of a change trades to the new target in place of asking its rule."""

    def rebalance(self, i):
        if i not in self.changes:
            return super().rebalance(i)
        self.token = msgspec.structs.replace(self.token, target=self.changes[i])
        self.rule = self.token.resolved_rule
        return self.trade(i, self.token.target, False, "schedule")


def varied(token, prices, changes, funding=()):
    loop = Varying(token, prices.times_ms.tolist(), prices.close.tolist(), funding, token.costs, 1e6, {}, HOUR)
    loop.changes = changes
    loop.trade(0, token.target, False, "opening")
    loop.out.nav.append(loop.E)
    for i in range(1, len(prices)):
        if loop.E > 0:
            loop.bar(i)
        loop.out.nav.append(loop.E)
    return loop.out


@examples(6)
@given(st.integers(0, 2**32), st.sampled_from(RULES), st.integers(2, 150))
def test_the_kernel_equals_the_plain_loop(seed, rule, n):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, rng.choice([0.005, 0.02]), n)))
    prices = gr.Prices(reference.START_MS + HOUR * np.arange(n), close)
    bars = np.unique(rng.integers(1, n, rng.integers(1, 8)))
    values = rng.choice([1.0, 2.0, 3.0, -1.0, -2.0], len(bars))
    token = gr.Token(symbol="T", target=2.0, rule=rule, costs=gr.Costs(taker_fee=0.0005, half_spread=0.0002),
                     fees=gr.Fees(management_per_day=0.0003))  # fmt: skip
    rates = rng.normal(0, 1e-4, max(1, n // 8))
    times = reference.START_MS + 8 * HOUR * np.arange(1, len(rates) + 1)
    changes = dict(zip(bars.tolist(), values.tolist(), strict=True))
    truth = varied(token, prices, changes, list(zip(times.tolist(), rates.tolist(), strict=True)))
    inside = times <= prices.times_ms[-1]
    funding = gr.Funding(times[inside], rates[inside]) if inside.any() else None
    result = gr.backtest(token, prices, funding=funding, target=(prices.times_ms[bars], values))
    assert result.nav["equity"].to_numpy() == pytest.approx(np.array(truth.nav), rel=1e-9)
    made = result.attribution.money.total * result.units
    assert result.nav["equity"][-1] == pytest.approx(1e6 + made, rel=1e-9)
    assert result.summary().rebalances == len(truth.rebalances)


def test_one_target_throughout_is_the_token_with_it():
    prices, funding = gr.make_market(seed=4, days=60, interval="1h")
    token = gr.Token(symbol="T", target=1.0, rule="ftx", costs=gr.Costs(taker_fee=0.0005))
    alone = gr.backtest(msgspec.structs.replace(token, target=3.0), prices, funding=funding)
    same = gr.backtest(token, prices, funding=funding, target=(["2020-01-01"], [3.0]))
    assert same.nav["nav"].to_list() == alone.nav["nav"].to_list()
    assert same.attribution.money == alone.attribution.money
    assert same.summary().tracking_error == alone.summary().tracking_error


def test_a_change_acts_at_its_first_price_and_the_ideal_follows_it():
    times = reference.START_MS + 24 * HOUR * np.arange(5)
    prices = gr.Prices(times, np.array([100.0, 110.0, 121.0, 108.9, 98.01]))
    token = gr.Token(symbol="T", target=1.0, rule=gr.Rule(), costs=gr.Costs())
    changes = pl.DataFrame({"time": ["2023-01-02T12:00", "2023-01-03T06:00"], "target": [2.0, -1.0]})
    result = gr.backtest(token, prices, target=changes)
    # +1 on 10 %; +1 on 10 %, then +2 from 121 on, replaced on the same day's price... each at the next close.
    assert result.rebalances["time"].dt.day().to_list() == [1, 3, 4]
    navs = [100.0, 110.0, 121.0, 121 * 0.8, 121 * 0.8 * 1.1]
    assert result.nav["nav"].to_list() == pytest.approx(navs)
    assert ideal_of(result).nav.tolist() == pytest.approx(navs)
    assert result.summary().tracking_error == pytest.approx(0, abs=1e-12)
    pandas = pytest.importorskip("pandas")
    series = pandas.Series([2.0, -1.0], index=pandas.to_datetime(["2023-01-02T12:00", "2023-01-03T06:00"]))
    assert gr.backtest(token, prices, target=series).nav["nav"].to_list() == result.nav["nav"].to_list()


def test_the_report_names_both_ends(tmp_path):
    prices, funding = gr.make_market(seed=4, days=60, interval="1h")
    token = gr.Token(symbol="T", target=3.0, rule="ftx")
    result = gr.backtest(token, prices, funding=funding, target=([prices.start[:10] + "T12:00"], [-1.0]))
    result.report(tmp_path / "r.html")
    assert "−1 to +3 times each day's return" in (tmp_path / "r.html").read_text().replace("&#x27;", "'")
    assert not math.isnan(result.summary().final_nav)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (([1, 2], [1.0]), "2 times and 1 targets"),
        ((["2023-01-02", "2023-01-01"], [1.0, 2.0]), "times do not rise"),
        ((["2023-01-02"], [math.nan]), "the target is missing"),
        ((["2023-01-02"], [0.0]), "target"),
        (3.0, "not a series of targets"),
        ("targets.csv", "not read from a file"),
    ],
)
def test_what_is_no_target_is_refused(target, sentence):
    prices = gr.Prices(reference.START_MS + HOUR * np.arange(80), np.full(80, 100.0))
    with pytest.raises(gr.InputError, match=sentence):
        gr.backtest(gr.Token(symbol="T", target=3.0, rule="ftx"), prices, target=target)
