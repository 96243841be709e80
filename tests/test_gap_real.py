"""The gap budget on real crashes; skipped where the data is absent."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from gearing.core import catalog
from gearing.market.files import read_prices
from gearing.study.gap import gap_budget
from gearing.study.gap_record import GapBudget, GapRow

DATA = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "crypto"
HOURS = DATA / "perp_binance_usdm_1h.parquet"
DOGE = DATA / "perp_binance_usdm_5m_2025_2026.parquet"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="no market data: set GEARING_DATA to the directory that holds it"
)


def own(budget: GapBudget) -> dict[tuple[str, str], GapRow]:
    return {(row.trigger, row.start): row for row in budget.rows if row.side == budget.side}


def test_the_crash_of_march_2020_counted_from_the_table_itself() -> None:
    budget = gap_budget(catalog.token("ftx", "BTC", 3), read_prices(HOURS, symbol="BTCUSDT"))
    rows = own(budget)
    table = pl.read_parquet(HOURS).filter(pl.col("symbol") == "BTCUSDT").sort("timestamp")
    # Bar by bar: from a close to the low of the next bar.
    moves = table.select(pl.col("low") / pl.col("close").shift() - 1)["low"].drop_nulls().to_numpy()
    edge = rows["band_upper", "edge"]
    assert (edge.zero.counted, edge.windows) == ((moves <= -0.25).sum(), len(moves))
    assert edge.zero.counted == 2
    assert edge.worst_move == moves.min()
    assert edge.worst_at == "2020-03-12T11:00:00Z"
    # Day by day: known at 01:00, the first bar after 00:02, until the next day's.
    # The bar that opens at 00:00 is known at 01:00 and trades, so its low still belongs to the day before.
    day = (pl.col("timestamp") - pl.duration(minutes=1)).dt.date()
    days = table.group_by(day.alias("day"), maintain_order=True).agg(pl.col("low").min(), pl.col("close").last())
    daily = days.select(pl.col("low") / pl.col("close").shift() - 1)["low"].drop_nulls().to_numpy()
    row = rows["daily 00:02 UTC", "target"]
    assert row.zero.counted == (daily <= -1 / 3).sum() == 1
    assert row.worst_move == daily.min() < -0.45


def test_in_hours_the_band_of_three_is_too_slow_and_that_of_two_is_not() -> None:
    prices = read_prices(HOURS, symbol="BTCUSDT")
    long, short = (gap_budget(catalog.token("ftx", "BTC", beta), prices) for beta in (3, -3))
    assert own(long)["whole rule", "path"].zero.counted == 1
    assert 0.13 < long.zero_per_year < 0.15
    assert short.zero_per_year < 1e-5
    two = gap_budget(catalog.token("daily-etf", "BTC", 2), prices)
    assert two.zero_per_year < 1e-6
    assert two.warnings == ()


def test_one_bar_of_doge_is_more_than_any_rule_can_act_in() -> None:
    prices = read_prices(DOGE, symbol="DOGEUSDT")
    for name, beta, chance in (("ftx", 3, 0.59), ("gate", 5, 0.83), ("daily-etf", 2, 0.59)):
        budget = gap_budget(catalog.token(name, "DOGE", beta), prices)
        assert budget.zero_per_year == pytest.approx(chance, abs=0.01)
        assert "2025-10-10" in own(budget)["whole rule", "path"].worst_at
        assert budget.warnings
    assert gap_budget(catalog.token("ftx", "DOGE", -3), prices).zero_per_year < 1e-6
