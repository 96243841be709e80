"""The readers against facts known of real series; skipped where the data is absent."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from gearing.errors import DataWarning
from gearing.market.files import check_overlap, read_funding, read_prices
from gearing.market.inspect import inspect_series
from gearing.market.series import Prices

DATA = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")

pytestmark = pytest.mark.skipif(
    not (DATA / "crypto").is_dir(), reason="no market data: set GEARING_DATA to the directory that holds it"
)


@pytest.fixture(scope="module")
def btc() -> Prices:
    return read_prices(DATA / "crypto" / "perp_binance_usdm_1h.parquet", symbol="BTCUSDT")


def test_funding_of_btc() -> None:
    funding = read_funding(DATA / "crypto" / "funding_binance_usdm_8h.parquet", symbol="BTCUSDT")
    assert round(funding.rates.mean() * 1e4, 2) == 1.08
    assert (funding.rates.min(), funding.rates.max()) == (-0.003, 0.003)
    assert funding.start == "2019-09-10T08:00:00Z"
    assert funding.gaps() == []
    assert (funding.times_ms % 60_000 == 0).all()


def test_the_crash_of_march_2020(btc: Prices) -> None:
    day = btc.between("2020-03-12T01:00", "2020-03-13T00:00:00.001")
    assert day.open is not None
    assert day.low is not None
    assert len(day) == 24
    assert round(day.open[0]) == 7_938
    assert day.low.min() == 4_347.0


def test_bars_are_known_at_their_end(btc: Prices) -> None:
    assert btc.start == "2019-09-08T18:00:00Z"
    stamped = read_prices(DATA / "crypto" / "perp_binance_usdm_1h.parquet", symbol="BTCUSDT", stamp="close")
    assert stamped.start == "2019-09-08T17:00:00Z"


def test_prices_and_funding_overlap(btc: Prices) -> None:
    funding = read_funding(DATA / "crypto" / "funding_binance_usdm_8h.parquet", symbol="BTCUSDT")
    with pytest.warns(DataWarning, match="no funding is known for 2019-09-08T18"):
        check_overlap(btc, funding)


def test_daily_bars_of_a_listed_fund_have_no_gaps() -> None:
    tqqq = read_prices(DATA / "etf" / "etf_adjclose_1d.parquet", symbol="TQQQ")
    assert tqqq.spacing_ms == 86_400_000
    assert tqqq.gaps() == []
    qqq = read_prices(DATA / "etf" / "etf_adjclose_1d.parquet", symbol="QQQ")
    both = tqqq.frame.join(qqq.frame, on="time").select("close", "close_right").to_numpy()
    returns = both[1:] / both[:-1] - 1
    beta, _ = np.polyfit(returns[:, 1], returns[:, 0], 1)
    assert round(beta, 3) == 2.957
    correlation: float = np.corrcoef(returns[:, 0], returns[:, 1])[0, 1]
    assert round(correlation**2, 3) == 0.998


def test_spot_has_maintenance_holes_and_the_crash_of_doge_is_seen() -> None:
    with pytest.warns(DataWarning, match="ETHUSDT: 5 gaps"):
        read_prices(DATA / "levtok" / "underlying_spot_1h.parquet")
    doge = read_prices(DATA / "crypto" / "perp_binance_usdm_5m_2025_2026.parquet", symbol="DOGEUSDT")
    largest = inspect_series(doge)["largest_moves"][0]
    assert largest["time"] == "2025-10-10T21:20:00Z"
    assert round(largest["move"], 2) == -0.44


def test_the_stall_of_october_2024_is_seen() -> None:
    btc = read_prices(DATA / "crypto" / "perp_binance_usdm_30m.parquet", symbol="BTCUSDT", stamp="close")
    facts = inspect_series(btc.between("2024-10-28", "2024-10-29"))
    assert facts["flat_stretches"] == [{"after": "2024-10-28T19:30:00Z", "rows": 2}]
    assert facts["zero_volume_rows"] == 2
    assert facts["faults"] == []


@pytest.mark.parametrize("path", sorted(DATA.glob("crypto/perp_*.parquet")), ids=lambda path: path.name)
def test_every_symbol_of_every_file_is_read(path: Path) -> None:
    import polars as pl

    for symbol in pl.read_parquet(path, columns=["symbol"])["symbol"].unique().to_list():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            assert len(read_prices(path, symbol=symbol)) > 1_000
