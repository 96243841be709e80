"""One rule on many underlyings."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import gearing as gr

TOKEN = gr.Token(symbol="3L", target=3.0, rule="ftx", costs=gr.Costs(taker_fee=0.0005))


def market(seed, symbol):
    return gr.make_market(seed=seed, days=30, interval="1h", symbol=symbol)


@pytest.fixture
def two():
    return {"BTC": market(1, "BTC"), "ETH": market(2, "ETH")}


def test_each_underlying_runs_over_its_own_life(two):
    prices, funding = {k: v[0] for k, v in two.items()}, {k: v[1] for k, v in two.items()}
    universe = gr.Universe(prices, funding=funding, listed={"ETH": "2023-01-11"}, delisted={"BTC": "2023-01-21"})
    found = gr.backtest(TOKEN, universe)
    assert len(found) == 2
    for symbol, cut in (("BTC", (None, "2023-01-21")), ("ETH", ("2023-01-11", None))):
        lived = prices[symbol].between(*cut)
        paid = funding[symbol].between(int(lived.times_ms[0]), int(lived.times_ms[-1]) + 1)
        alone = gr.backtest(TOKEN, lived, funding=paid)
        assert found[symbol].summary().final_nav == alone.summary().final_nav
        rows = found.frame.filter(pl.col("symbol") == symbol)
        assert rows["nav"].to_list() == alone.nav["nav"].to_list()
        assert rows["token"].unique().to_list() == ["3L"]
    assert found.summaries["symbol"].to_list() == ["BTC", "ETH"]
    assert found.frame.columns[:4] == ["token", "symbol", "time", "price"]
    assert "2 runs on 2 symbols" in repr(found)


def test_one_table_of_several_symbols_is_a_universe(two, tmp_path):
    table = pl.concat([prices.frame for prices, _ in two.values()])
    table.write_parquet(tmp_path / "all.parquet")
    settled = pl.concat([funding.frame for _, funding in two.values()])
    found = gr.compare([TOKEN, gr.Token(symbol="1S", target=-1.0, rule="ftx")],
                       gr.Universe(tmp_path / "all.parquet", funding=settled))  # fmt: skip
    assert list(found.results) == [("3L", "BTC"), ("3L", "ETH"), ("1S", "BTC"), ("1S", "ETH")]
    alone = gr.backtest(TOKEN, two["ETH"][0], funding=two["ETH"][1])
    assert found.results["3L", "ETH"].summary().final_nav == alone.summary().final_nav
    assert found.summaries.height == 4
    with pytest.raises(gr.InputError, match="'ETH' names 2 results"):
        _ = found["ETH"]


def test_who_gives_pandas_gets_pandas(two):
    pd = pytest.importorskip("pandas")
    found = gr.backtest(TOKEN, gr.Universe({name: prices.frame.to_pandas() for name, (prices, _) in two.items()}))
    assert isinstance(found.frame, pd.DataFrame)
    assert isinstance(found.summaries, pd.DataFrame)


def test_presets_of_one_symbol_are_told_apart_by_their_rules(two):
    tokens = [gr.presets.token(name, "", 3, name="") for name in ("ftx", "bybit")]
    found = gr.compare(tokens, gr.Universe({"BTC": two["BTC"][0]}))
    assert [name.split()[-1] for name, _ in found.results] == ["ftx", "bybit"]


def test_what_makes_no_universe_is_refused(two):
    prices = two["BTC"][0]
    with pytest.raises(gr.InputError, match="prices of at least one symbol"):
        gr.Universe({})
    with pytest.raises(gr.InputError, match="there are no prices of XRP"):
        gr.Universe({"BTC": prices}, listed={"XRP": "2023"})
    with pytest.raises(gr.DataError, match="BTC: no prices in"):
        gr.backtest(TOKEN, gr.Universe({"BTC": prices}, listed={"BTC": "2030"}))
    with pytest.raises(gr.InputError, match="says whose its rows are"):
        gr.Universe(pl.DataFrame({"time": [0, 3_600_000], "close": [1.0, 2.0]}))
    with pytest.raises(gr.InputError, match="has its own funding"):
        gr.backtest(TOKEN, gr.Universe({"BTC": prices}), funding=two["BTC"][1])
    basket = gr.Token(symbol="B", target=2.0, rule="ftx",
                      legs=tuple(gr.Perpetual(symbol=name, weight=0.5) for name in "AB"))  # fmt: skip
    with pytest.raises(gr.InputError, match="B has 2 legs"):
        gr.backtest(basket, gr.Universe({"BTC": prices}))
    with pytest.raises(gr.InputError, match="two tokens have one symbol and one rule"):
        gr.compare([TOKEN, TOKEN], gr.Universe({"BTC": prices}))
    late = gr.Funding(two["BTC"][1].times_ms + 10**11, np.zeros(len(two["BTC"][1])))
    with pytest.warns(gr.DataWarning, match="no funding while it was listed"):
        gr.backtest(TOKEN, gr.Universe({"BTC": prices}, funding={"BTC": late}))
