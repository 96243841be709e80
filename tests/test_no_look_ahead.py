"""What is stamped with a day is known at its end, counts once, and belongs to whom it is given for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gearing as gr
from gearing.errors import DataError, DataWarning, InputError
from gearing.study.evidence import distributions

DAY = 86_400_000
T0 = 1_672_531_200_000


def daily(n=300, seed=3):
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2023-01-01", periods=n, name="date")
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, n)))
    return pandas, pandas.DataFrame({"close": close}, index=days)


def test_a_signal_of_a_days_close_never_earns_that_days_return():
    pandas, frame = daily()
    moves = np.diff(np.log(frame["close"].to_numpy()), prepend=np.nan)
    signal = pandas.Series(np.where(moves > 0, 2.0, -2.0), index=frame.index)
    token = gr.Token(symbol="X", target=2.0, rule="daily-etf", costs=gr.Costs())
    found = gr.backtest(token, frame, target=signal).polars
    nav, close = found.nav["nav"].to_numpy(), frame["close"].to_numpy()
    # The position that a day's close decides on earns the next day's return.
    held = np.append(2.0, signal.to_numpy()[:-1])
    held[1] = signal.iloc[0]
    expected = 100 * np.cumprod(np.append(1.0, 1 + held[1:] * (close[1:] / close[:-1] - 1)))
    assert nav == pytest.approx(expected, rel=1e-9)
    by_days = gr.backtest(token, frame, target=([f"{day:%Y-%m-%d}" for day in frame.index], signal.tolist()))
    assert by_days.polars.nav["nav"].to_list() == nav.tolist()
    as_frame = pl.DataFrame({"date": frame.index.date.tolist(), "target": signal.tolist()})
    assert gr.backtest(token, frame, target=as_frame).polars.nav["nav"].to_list() == nav.tolist()


def test_a_change_within_a_day_leaves_no_tracking():
    prices, _ = gr.make_market(seed=1, days=20, interval="1h")
    token = gr.Token(symbol="X", target=3.0, rule="daily-etf", costs=gr.Costs())
    noon = gr.backtest(token, prices, target=(["2023-01-05T12:00"], [-3.0])).summary()
    assert np.isnan(noon.tracking_difference)
    midnight = gr.backtest(token, prices, target=(["2023-01-05T00:00"], [-3.0])).summary()
    assert midnight.tracking_difference == pytest.approx(0, abs=1e-12)


def test_a_target_is_the_callers_no_more_once_it_is_read():
    prices, _ = gr.make_market(seed=1, days=20, interval="1h")
    values = np.array([-3.0])
    result = gr.backtest(gr.Token(symbol="X", target=3.0, rule="ftx"), prices, target=(["2023-01-05T12:00"], values))
    values[:] = 9.0
    assert result.targets.values.tolist() == [-3.0]


def test_every_trading_day_is_in_a_window_of_a_day():
    days = np.array([d for d in range(4, 90) if (d + 4) % 7 not in (6, 0)])
    moves = np.zeros(len(days))
    monday = int(np.flatnonzero((days + 4) % 7 == 1)[5])
    moves[monday] = np.log(0.83)
    prices = gr.Prices((days + 1) * DAY, 100 * np.exp(np.cumsum(moves)))
    result = gr.backtest(gr.Token(symbol="X", target=2.0, rule="daily-etf", costs=gr.Costs()), prices)
    (one,) = distributions(result, (1,))
    assert one.worst == pytest.approx(result.summary().worst_day)
    assert one.count == len(days) - 1


def test_dividends_are_counted_once(tmp_path: Path):
    rows = ["Date,Adj Close,Close,Dividends", *(f"2024-01-{d:02d},98,100,0" for d in range(1, 6)),
            "2024-01-06,98,98,2", *(f"2024-01-{d:02d},98,98,0" for d in range(7, 11))]  # fmt: skip
    file = tmp_path / "p.csv"
    file.write_text("\n".join(rows) + "\n")
    token = gr.Token(symbol="Q", target=1.5, legs=(gr.TotalReturnSwap(symbol=""),), rule="daily-etf", costs=gr.Costs())
    with pytest.warns(DataWarning, match="Adj Close is taken"):
        adjusted = gr.read_prices(file)
    with pytest.raises(DataError, match="adjusted closes, which hold the dividends already"):
        gr.backtest(token, adjusted, dividends=file, rates=0.0)
    with pytest.warns(DataWarning, match="since dividends are given"):
        raw = gr.backtest(token, file, dividends=file, rates=0.0)
    assert raw.summary().total_return == pytest.approx(0, abs=1e-9)
    other = gr.read_dividends(pl.DataFrame({"ex_date": ["2024-01-06"], "amount": [2.0], "symbol": ["SPY"]}))
    held = gr.Token(symbol="Q", target=1.5, legs=(gr.TotalReturnSwap(symbol="QQQ"),), rule="daily-etf")
    prices = gr.Prices(T0 + DAY * np.arange(10), np.full(10, 100.0), symbol="QQQ")
    with pytest.raises(DataError, match="holds QQQ, but the dividends are of SPY"):
        gr.backtest(held, prices, dividends=other, rates=0.0)


def test_dividends_of_days_beside_closes_at_their_dates_are_told():
    weekdays = np.array([d for d in range(4, 40) if (d + 4) % 7 not in (6, 0)])
    token = gr.Token(symbol="Q", target=1.5, legs=(gr.TotalReturnSwap(symbol=""),), rule="daily-etf")
    paid = gr.read_dividends(pl.DataFrame({"ex_date": ["1970-01-20"], "amount": [1.0]}))
    with pytest.warns(DataWarning, match='say stamp="close" of both'):
        gr.backtest(token, gr.Prices(weekdays * DAY, np.full(len(weekdays), 100.0)), dividends=paid, rates=0.0)
    gr.backtest(token, gr.Prices((weekdays + 1) * DAY, np.full(len(weekdays), 100.0)), dividends=paid, rates=0.0)


def test_dividends_read_back_whatever_the_stamp():
    paid = gr.Dividends(T0 + DAY * np.array([1, 9]), np.array([1.0, 2.0]), symbol="QQQ")
    for stamp in ("open", "close"):
        assert gr.read_dividends(paid.frame, stamp=stamp).times_ms.tolist() == paid.times_ms.tolist()


def test_funding_of_another_underlying_is_told():
    prices, funding = gr.make_market(seed=1, days=5, interval="1h", symbol="BTCUSDT")
    other = gr.Funding(funding.times_ms, funding.rates, symbol="ETHUSDT")
    with pytest.warns(DataWarning, match="the prices are of BTCUSDT, the funding of ETHUSDT"):
        gr.backtest(gr.Token(symbol="X", target=2.0, rule="ftx"), prices, funding=other)


def test_a_table_of_navs_is_not_taken_for_one_of_bars(tmp_path: Path):
    prices, _ = gr.make_market(seed=1, days=5, interval="1h")
    result = gr.backtest(gr.Token(symbol="X", target=2.0, rule="ftx"), prices)
    result.nav.write_csv(tmp_path / "nav.csv")
    for source in (result.nav, tmp_path / "nav.csv"):
        with pytest.raises(DataError, match="holds NAVs beside the prices"):
            gr.read_prices(source)
    chosen = gr.read_prices(tmp_path / "nav.csv", columns={"time": "time", "close": "nav"}, stamp="close")
    assert chosen.close.tolist() == pytest.approx(result.nav["nav"].to_list())
    assert chosen.times_ms.tolist() == prices.times_ms.tolist()


def test_a_key_of_json_is_its_symbol(tmp_path: Path):
    rows = [{"time": T0 + DAY * k, "close": 100.0 + k} for k in range(4)]
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"BTC": rows}))
    with pytest.warns(DataWarning):
        assert gr.read_prices(file).symbol == "BTC"
    with pytest.raises(DataError, match="no symbol 'ETH'"):
        gr.read_prices(file, symbol="ETH")
    file.write_text(json.dumps({"meta": {"exchange_timezone": "America/New_York"}, "values": rows}))
    with pytest.warns(DataWarning) as noted:
        gr.read_prices(file)
    assert any("names the time zone America/New_York" in str(one.message) for one in noted)


def test_ticks_of_windows_are_no_nanoseconds():
    stamps = [621_355_968_000_000_000 + (T0 + DAY * k) * 10_000 for k in range(4)]
    with pytest.raises(DataError, match=r"\.NET or Windows ticks"):
        gr.read_prices(pl.DataFrame({"ticks": stamps, "close": [1.0, 2.0, 3.0, 4.0]}))


def test_a_decimal_comma_holds_for_the_whole_table(tmp_path: Path):
    (tmp_path / "p.csv").write_text("date;open;close;volume\n2020-01-01;7.194,89;7.200;98.765\n"
                                    "2020-01-02;7.201,5;7.210;12.000\n")  # fmt: skip
    with pytest.warns(DataWarning, match="decimal comma"):
        prices = gr.read_prices(tmp_path / "p.csv")
    assert prices.close.tolist() == [7200.0, 7210.0]
    assert prices.volume is not None
    assert prices.volume.tolist() == [98_765.0, 12_000.0]


def test_a_yearly_rate_pays_for_its_interval_and_not_for_a_gap():
    times = [T0 + DAY // 3 * k for k in (0, 1, 2, 33, 34)]
    with pytest.warns(DataWarning):
        found = gr.read_funding(pl.DataFrame({"time": times, "funding_rate_annualized": [0.1] * 5}))
    assert found.rates.tolist() == pytest.approx([0.1 / 365 / 3] * 5)


def test_a_wipe_out_inside_a_bar_is_a_drawdown_of_everything():
    close = np.array([100.0, 100.0, 99.0, 99.0])
    low = np.array([100.0, 100.0, 60.0, 99.0])
    prices = gr.Prices(T0 + 3_600_000 * np.arange(4), close, open=close, low=low, high=close + 1)
    for where, path in (("worst", prices), ("close", gr.Prices(prices.times_ms, np.array([100.0, 100.0, 60.0, 60.0])))):
        summary = gr.backtest(gr.Token(symbol="X", target=3.0, rule=gr.Rule()), path, intrabar=where).summary()
        assert (summary.wiped_out, summary.max_drawdown) == (True, -1.0)


def test_a_universe_and_a_sweep_say_what_they_do_not_take():
    prices, _ = gr.make_market(seed=1, days=5, interval="1h")
    token = gr.Token(symbol="X", target=2.0, rule="ftx")
    with pytest.raises(InputError, match="a universe has several"):
        gr.sweep(token, {"target": [2.0]}, gr.Universe({"BTC": prices}))
    with pytest.raises(InputError, match="dividends belong to one underlying"):
        gr.backtest(token, gr.Universe({"BTC": prices}), dividends=gr.Dividends(prices.times_ms[:1], np.ones(1)))
