"""The public API as the documentation shows it."""

from __future__ import annotations

import math
import warnings
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

import gearing as gr
from gearing.study.ideal import ideal_of
from tests import reference

TOKEN = gr.Token(symbol="BTC3L", target=3.0, rule="ftx", fees=gr.Fees(management_per_day=0.0003))
LOOSE: Any = gr  # to call the API with what its types forbid
COSTS = gr.Costs(taker_fee=5e-4, half_spread=2e-4)


@pytest.fixture(scope="module")
def market():
    return gr.make_market(seed=7, days=60, interval="5m")


@pytest.fixture(scope="module")
def result(market):
    return gr.backtest(TOKEN, market[0], funding=market[1], costs=COSTS, equity=1_000_000)


def test_the_nav_frame(result, market):
    nav = result.nav
    assert nav.columns == ["time", "price", "nav", "equity", "exposure", "leverage"]
    assert nav.schema["time"] == pl.Datetime("ms", "UTC")
    assert len(nav) == len(market[0])
    assert nav["equity"].to_numpy() == pytest.approx(nav["nav"].to_numpy() * 10_000)
    assert nav["leverage"].to_numpy() == pytest.approx((nav["exposure"] / nav["equity"]).to_numpy())
    assert nav["nav"][-1] == pytest.approx(result.summary().final_nav, rel=1e-12)


def test_rebalances_lead_to_their_aim(result):
    trades = result.rebalances
    assert trades["reason"][0] == "opening"
    assert len(trades) == result.summary().rebalances
    assert (trades["cost"] >= 0).all()
    paid = trades["spread"] + trades["impact"] + trades["commission"]
    assert trades["cost"].to_numpy() == pytest.approx(paid.to_numpy())
    # The aim is met but for the trade's own cost.
    assert trades["leverage_after"].to_numpy() == pytest.approx(trades["aim"].to_numpy(), rel=0.01)


def test_everything_shows_itself(result, market):
    comparison = gr.compare([TOKEN], market[0], funding=market[1])
    swept = gr.sweep(TOKEN, {"rule.band_upper": [4.0, 5.0], "target": [2.0, 3.0]}, market[0])
    shown = [result, result.attribution, result.summary(), TOKEN, TOKEN.resolved_rule, TOKEN.fees, comparison, swept]
    shown += [gr.sweep(TOKEN, {"target": [2.0, 3.0]}, market[0]), *market]
    three = {"target": [2.0, 3.0], "rule.side": ["both", "reduce"], "costs.taker_fee": [0.0, "0.05%"]}
    shown.append(gr.sweep(TOKEN, three, market[0]))
    for thing in shown:
        assert len(repr(thing)) < 500
        assert "<" in thing._repr_html_()
        assert thing.plot().to_json()


def test_to_pandas_and_time_zones(result):
    here, there = result.to_pandas(), result.to_pandas(tz="Asia/Hong_Kong")
    assert str(here.index.tz) == "UTC"
    assert str(there.index.tz) == "Asia/Hong_Kong"
    assert (there.index[0].hour - here.index[0].hour) % 24 == 8
    assert (there.index == here.index).all()


def test_who_gives_pandas_gets_pandas(tmp_path):
    pd = pytest.importorskip("pandas")
    prices, funding = gr.make_market(seed=3, days=40, interval="1h")
    token = gr.Token(symbol="T", target=3.0, rule="ftx")
    theirs = gr.backtest(token, prices.frame.to_pandas(), funding=funding.frame.to_pandas())
    ours = gr.backtest(token, prices, funding=funding)
    assert theirs.summary() == ours.summary()
    for name in ("nav", "rebalances", "events", "legs", "consolidations"):
        frame = getattr(theirs, name)
        assert isinstance(frame, pd.DataFrame), name
        assert list(frame.columns) == getattr(ours, name).columns
        assert len(frame) == getattr(ours, name).height
    assert str(theirs.nav["time"].dt.tz) == "UTC"
    assert isinstance(theirs.returns("1d"), pd.DataFrame)
    assert isinstance(theirs.history(adjusted=True), pd.DataFrame)
    assert theirs.polars.nav.equals(ours.nav)
    indexed = prices.frame.drop("open_time", "symbol").to_pandas().set_index("time")["close"]
    assert isinstance(gr.backtest(token, indexed).nav, pd.DataFrame)
    assert isinstance(gr.backtest(token, {"": indexed}).nav, pd.DataFrame)
    compared = gr.compare([token], prices.frame.to_pandas())
    assert isinstance(compared.frame, pd.DataFrame)
    swept = gr.sweep(token, {"target": [2.0, 3.0]}, prices.frame.to_pandas())
    assert isinstance(swept.frame, pd.DataFrame)
    for shown in (theirs, compared, swept):
        shown.report(tmp_path / "report.html")
        assert shown.plot() is not None
        assert "<" in shown._repr_html_()


def test_returns_feed_quantstats(result):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantstats as qs
    daily = result.returns("1d").to_pandas().set_index("time")["return"]
    daily.index = daily.index.tz_localize(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert qs.stats.sharpe(daily, periods=365) == pytest.approx(result.summary().sharpe, rel=1e-6)
        assert qs.stats.worst(daily) == pytest.approx(result.summary().worst_day, rel=1e-9)
    assert len(result.returns("1h")) == 60 * 24 - 1
    with pytest.raises(gr.InputError, match="no duration"):
        result.returns("daily")


def test_a_preset_named_by_text_takes_the_tokens_target():
    assert TOKEN.resolved_rule == gr.rules.preset("ftx", target=3.0)
    with pytest.raises(gr.SpecError, match="target"):
        gr.Token(symbol="X", target=-3.0, rule=gr.rules.preset("ftx", target=3.0))
    token = gr.presets.token("ftx", "BTC", 3)
    assert (token.symbol, token.fees.management_per_day, token.fees.creation) == ("BTC3L", 0.0003, 0.001)


def test_a_wipe_out_is_final_and_told():
    prices = gr.Prices(reference.START_MS + 60_000 * np.arange(5), np.array([100.0, 90.0, 60.0, 120.0, 130.0]))
    result = gr.backtest(gr.Token(symbol="T", target=3.0), prices)
    summary = result.summary()
    assert summary.wiped_out
    assert summary.wiped_out_at == "2023-01-01T00:02:00Z"
    assert summary.total_return == -1.0
    assert result.nav["nav"].to_list() == pytest.approx([100.0, 70.0, 0.0, 0.0, 0.0])
    assert result.attribution.log is None
    assert result.attribution.money.total == pytest.approx(-100.0)
    assert result.attribution.money.gap == pytest.approx(-100.0)
    assert result.plot().to_json()


def test_compare_shows_own_fees_and_none(market):
    prices, funding = market
    tokens = [gr.presets.token(name, "BTC", 3) for name in ("ftx", "gate", "bybit")]
    found = gr.compare(tokens, prices, funding=funding, costs=COSTS)
    assert found.frame["rule"].to_list() == ["ftx", "gate", "bybit"]
    for row, token in zip(found.frame.iter_rows(named=True), tokens, strict=True):
        alone = gr.backtest(token, prices, funding=funding, costs=COSTS).summary()
        bare = gr.backtest(msgspec.structs.replace(token, fees=gr.Fees()), prices, funding=funding, costs=COSTS)
        assert row["final_nav"] == alone.final_nav
        assert row["final_nav_without_fees"] == pytest.approx(bare.summary().final_nav, rel=1e-12)
    # An all-in fee leaves no funding and no cost to pay.
    gate = found.results[1].attribution.money
    assert gate.funding == gate.commission == gate.spread == 0.0
    assert gate.management_fee < 0


def test_sweep_rows_are_backtests(market):
    prices, funding = market
    grid = {"rule.band_upper": [3.6, 4.0], "target": [2.0, 3.0], "fees.management_per_day": ["0.03%", 0.001]}
    found = gr.sweep(TOKEN, grid, prices, funding=funding, costs=COSTS)
    assert len(found.frame) == 8
    for row in found.frame.iter_rows(named=True):
        rule = msgspec.structs.replace(gr.rules.preset("ftx", target=row["target"]), band_upper=row["rule.band_upper"])
        fee = gr.Fees(management_per_day=row["fees.management_per_day"])
        token = gr.Token(symbol="T", target=row["target"], rule=rule, fees=fee)
        alone = gr.backtest(token, prices, funding=funding, costs=COSTS).summary()
        assert row["final_nav"] == pytest.approx(alone.final_nav, rel=1e-12)
        assert row["rebalances"] == alone.rebalances
    assert found.best()["final_nav"] == found.frame["final_nav"].max()


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({}, "list of values"),
        ({"target": 3.0}, "list of values"),
        ({"target": []}, "no values"),
        ({"rule.band_uper": [4.0]}, "no field 'band_uper'"),
        ({"rule.schedule.4.times": [("00:00",)]}, "no item '4'"),
        ({"target": [3.0, 40.0]}, "at target = 40.0"),
        ({"symbol.x": [1]}, "nothing below"),
    ],
)
def test_a_wrong_grid_is_refused(market, grid, words):
    with pytest.raises(gr.InputError, match=words):
        gr.sweep(TOKEN, grid, market[0])


@pytest.mark.parametrize("equity", [0, -5.0, math.nan, math.inf, "much", None, True])
def test_a_capital_that_is_none_is_refused(market, equity):
    with pytest.raises(gr.InputError, match="capital"):
        gr.backtest(TOKEN, market[0], equity=equity)


def test_compare_without_tokens_is_refused(market):
    for tokens in ([], TOKEN, ["ftx"]):
        with pytest.raises(gr.InputError, match="list of tokens"):
            gr.compare(tokens, market[0])


def test_plain_arrays_are_taken_as_they_are():
    times = reference.START_MS + 60_000 * np.arange(3)
    nav = gr.backtest(gr.Token(symbol="T", target=2.0), (times, [100.0, 110.0, 99.0])).nav
    assert nav["time"].dt.epoch("ms").to_list() == times.tolist()
    assert nav["nav"].to_list() == pytest.approx([100.0, 120.0, 98.0])


def test_the_face_names_what_it_has():
    for name in gr.__all__:
        assert getattr(gr, name) is not None
    assert set(gr.__all__) <= set(dir(gr))
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = gr.nothing_here


def test_the_day_of_a_wipe_out_counts_as_a_day():
    minutes = 5 * 1440
    path = np.full(minutes, 100.0)
    path[3 * 1440 + 700 :] = 60.0
    result = gr.backtest(gr.Token(symbol="T", target=3.0), (reference.START_MS + 60_000 * np.arange(minutes), path))
    summary = result.summary()
    assert result.returns("1d")["return"].to_list() == pytest.approx([0.0, 0.0, 0.0, -1.0])
    assert summary.worst_day == -1.0
    assert summary.volatility == pytest.approx(np.std([0, 0, 0, -1], ddof=1) * math.sqrt(365))
    # No figure leaves that day out.
    assert math.isnan(summary.tracking_difference)
    assert math.isnan(summary.sharpe_log)
    assert summary.ideal_wiped_out_at is not None


@pytest.mark.parametrize("scale", [1.0, 0.7, 1 / 3, 1e-3])
def test_an_ideal_day_that_loses_everything_ends_it_whatever_rounding_leaves_of_it(scale):
    rule = gr.Rule()  # never rebalances, so that the token lives on
    closes = [90.0, 30.0, 40.0, 40.0]  # three times short, a rise of a third is ideally the end
    path = np.repeat(closes, 1440) * scale
    times = reference.START_MS + 60_000 * np.arange(len(path))
    result = gr.backtest(gr.Token(symbol="T", target=-3.0, rule=rule), (times, path))
    summary = result.summary()
    assert summary.ideal_wiped_out_at == "2023-01-03T00:00:00Z"
    assert math.isnan(summary.tracking_error)
    assert ideal_of(result).nav.tolist()[2:] == [0.0] * len(ideal_of(result).nav[2:])


def test_an_exact_tie_at_liquidation_leaves_nothing_alive():
    """Maintenance margin equal to the liquidation fee: what is left is zero up to rounding, so it is zero."""
    leg = gr.Perpetual(margin_tiers=(gr.MarginTier(rate=0.01),))
    costs = gr.Costs(liquidation_fee=0.01)
    for seed in range(40):
        path = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(-0.002, 0.02, 400)))
        prices = gr.Prices(
            reference.START_MS + 60_000 * np.arange(400), path, open=path, low=path * 0.99, high=path * 1.01
        )
        summary = gr.backtest(gr.Token(symbol="T", target=7.0, legs=(leg,)), prices, costs=costs).summary()
        assert summary.wiped_out == (summary.liquidations == 1)


def test_the_last_margin_bracket_has_no_edge_and_jumps_are_refused():
    for edge in (1000.0, math.inf):
        leg = gr.Perpetual(margin_tiers=(gr.MarginTier(notional_max=edge, rate=0.05),))
        prices = (reference.START_MS + 60_000 * np.arange(3), [100.0, 60.0, 70.0])
        assert gr.backtest(gr.Token(symbol="T", target=3.0, legs=(leg,)), prices).summary().wiped_out
        near = (reference.START_MS + 60_000 * np.arange(3), [100.0, 69.0, 70.0])
        assert gr.backtest(gr.Token(symbol="T", target=3.0, legs=(leg,)), near).summary().liquidations == 1
    with pytest.raises(gr.SpecError, match="about 200"):
        gr.Perpetual(margin_tiers=(gr.MarginTier(notional_max=10_000.0, rate=0.01), gr.MarginTier(rate=0.03)))


@pytest.mark.parametrize(
    "call",
    [
        lambda p: LOOSE.backtest("ftx", p),
        lambda p: LOOSE.backtest(None, p),
        lambda p: LOOSE.backtest(LOOSE.rules.preset("ftx", target=3), p),
        lambda p: LOOSE.backtest(TOKEN, p, costs={"taker_fee": 0.1}),
        lambda p: LOOSE.sweep("ftx", {"target": [2]}, p),
        lambda p: LOOSE.sweep(TOKEN, [1], p),
        lambda p: LOOSE.sweep(TOKEN, {1: [1]}, p),
        lambda p: LOOSE.sweep(TOKEN, {"target": [2]}, p, costs=0.1),
        lambda p: LOOSE.compare(5, p),
        lambda p: LOOSE.Rule(schedule=LOOSE.Schedule(every="1h")),
        lambda p: LOOSE.make_market(seed="x"),
        lambda p: LOOSE.make_market(seed=-1),
        lambda p: LOOSE.backtest(TOKEN, p).to_pandas(tz="Mars/X"),
        lambda p: LOOSE.backtest(TOKEN, p).to_pandas(tz=5),
        lambda p: LOOSE.Prices(times_ms=[1, 2], close=["a", 1]),
        lambda p: LOOSE.Prices(times_ms=[1, 2], close=None),
        lambda p: LOOSE.Funding(times_ms=[1, 2], rates=None),
    ],
)
def test_wrong_input_gets_a_sentence_not_a_traceback(market, call):
    with pytest.raises(gr.InputError) as told:
        call(market[0])
    assert len(str(told.value)) > 15


def test_values_may_come_as_arrays_and_tokens_from_a_generator(market):
    swept = gr.sweep(TOKEN, {"target": np.array([2.0, 3.0]), "rule.band_upper": pl.Series([4.0, 5.0])}, market[0])
    assert len(swept) == 4
    assert len(gr.compare((TOKEN for _ in range(2)), market[0])) == 2
    assert gr.Token(symbol="T", target=np.int64(3)).target == 3.0
    clock = gr.backtest(TOKEN, (np.arange(5) * 60_000, np.ones(5))).nav["time"].dt.epoch("ms")
    assert clock.to_list() == [0, 60_000, 120_000, 180_000, 240_000]
