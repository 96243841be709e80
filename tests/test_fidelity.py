"""Listed leveraged funds, reproduced from their index, published fees and one financing spread for all of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import gearing as gr
from tests.test_market_real import DATA

pytestmark = [
    pytest.mark.skipif(not (DATA / "etf").exists(), reason=f"the market data of the development set is not at {DATA}"),
    pytest.mark.filterwarnings("ignore::gearing.errors.DataWarning"),
]

# Not fitted: a round figure between bank funding and a dealer's margin, the same for every fund.
SPREAD = 0.0035
UNTIL = "2026-01-30"


def closes(symbol):
    table = pl.read_parquet(DATA / "etf" / "etf_adjclose_1d.parquet")
    return gr.read_prices(table.filter(pl.col("symbol") == symbol), end=UNTIL)


def differences(fund, target, expenses, index):
    """Daily log returns of the real fund minus those of the token, over all days they share."""
    real, path = closes(fund), closes(index)
    rates = pl.read_parquet(DATA / "etf" / "us_short_rates_1d.parquet").filter(pl.col("series") == "DFF")
    token = gr.Token(
        symbol=fund, target=target, rule="daily-etf", fees=gr.Fees(management_per_year=expenses),
        legs=(gr.TotalReturnSwap(symbol=index, spread=SPREAD),),
    )  # fmt: skip
    result = gr.backtest(token, path.between(real.start), rates=gr.read_rates(rates))
    both = result.nav.select("time", "nav").join(real.frame.select("time", "close"), on="time")
    return np.diff(np.log(both["close"].to_numpy())) - np.diff(np.log(both["nav"].to_numpy()))


@pytest.mark.parametrize(("fund", "target", "expenses"), [("TQQQ", 3, 0.0082), ("QLD", 2, 0.0095), ("PSQ", -1, 0.0095)])
def test_a_listed_fund_is_reproduced(fund, target, expenses):
    off = differences(fund, target, expenses, "QQQ")
    assert len(off) > 4_000
    assert abs(off.mean()) * 252 <= 0.0040
    assert off.std(ddof=1) <= 0.0030


def test_a_bitcoin_fund_moves_as_its_token():
    # Its futures cost more than the spread of the others, so only the daily differences are held to a bound.
    assert differences("BITX", 2, 0.0185, "IBIT").std(ddof=1) <= 0.0035
