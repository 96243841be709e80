"""Tokens of every kind of instrument with their prices, in files of the working directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gearing.cli.main import main

Captured = pytest.CaptureFixture[str]


HOUR, DAY = 3_600_000, 86_400_000
START = 1_672_531_200_000
N = 24 * 30
BASKET = """
symbol = "TWO2L"
target = 2
rule = "daily-etf"
[costs]
taker_fee = "0.05%"
[[legs]]
symbol = "BTCUSDT"
weight = 0.6
[[legs]]
symbol = "ETHUSDT"
weight = 0.4
"""
CHAIN = """
symbol = "CHAIN2L"
target = 2
rule = "daily-etf"
[[legs]]
kind = "dated_future"
symbol = "BTC"
roll_days = 2
contracts = [
  { symbol = "BTC-JAN", expiry = "2023-01-15" },
  { symbol = "BTC-FEB", expiry = "2023-02-15" },
]
"""
SWAP = """
symbol = "QQQ2L"
target = 2
rule = "daily-etf"
[[legs]]
kind = "total_return_swap"
symbol = "QQQ"
spread = "0.35%"
"""
SPOT = 'symbol = "BTC1L"\ntarget = 1\nrule = "daily-etf"\n[[legs]]\nkind = "spot"\nsymbol = "BTC"\n'
INVERSE = """
symbol = "BTC2L"
target = 2
rule = "daily-etf"
settlement = "{settlement}"
[[legs]]
symbol = "BTCUSD_PERP"
inverse = true
underlying = "BTC"
multiplier = 100
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GEARING_") and name != "GEARING_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.chdir(tmp_path)
    files = {"basket": BASKET, "chain": CHAIN, "swap": SWAP, "spot": SPOT}
    files |= {"inverse": INVERSE.format(settlement="USD"), "coin": INVERSE.format(settlement="BTC")}
    for name, text in files.items():
        Path(f"{name}.toml").write_text(text)


def walk(seed: int, start: float = 100.0) -> np.ndarray:
    return start * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.006, N)))


def bars(symbol: str, close: np.ndarray, *, step: int = HOUR) -> pl.DataFrame:
    stamps = START + step * np.arange(len(close))
    columns = {"open": close, "high": close * 1.002, "low": close * 0.998, "close": close, "volume": close * 0 + 1e6}
    return pl.DataFrame({"timestamp": stamps, "symbol": symbol, **columns})


def paid(symbol: str, rate: float) -> pl.DataFrame:
    stamps = START + 8 * HOUR * np.arange(1, N // 8 + 1)
    return pl.DataFrame({"timestamp": stamps, "symbol": symbol, "funding_rate": rate})


@pytest.fixture
def coins(here: None) -> None:
    """Prices and funding of three coins in one file each, and each coin's alone, without a column of symbols."""
    frames, rates = [], []
    for name, seed, rate in (("BTCUSDT", 1, 1e-4), ("ETHUSDT", 2, 2e-4), ("XRPUSDT", 3, 3e-4)):
        frames.append(bars(name, walk(seed)))
        rates.append(paid(name, rate))
        frames[-1].drop("symbol").write_parquet(f"{name[:3].lower()}.parquet")
        rates[-1].drop("symbol").write_parquet(f"{name[:3].lower()}_funding.parquet")
    pl.concat(frames).write_parquet("all.parquet")
    pl.concat(rates).write_parquet("funding.parquet")
    frames[0].write_parquet("btc_named.parquet")
    pl.concat([frames[0], frames[2]]).write_parquet("btc_xrp.parquet")
    rates[2].write_parquet("xrp_funding_named.parquet")


@pytest.fixture
def contracts(here: None) -> None:
    spot = walk(4)
    frames = [bars("BTC-JAN", spot * 1.01), bars("BTC-FEB", spot * 1.03)]
    frames[0].drop("symbol").write_parquet("jan.parquet")
    frames[1].drop("symbol").write_parquet("feb.parquet")
    pl.concat(frames).write_parquet("contracts.parquet")
    bars("BTC", spot).write_parquet("spot.parquet")


@pytest.fixture
def fund(here: None) -> None:
    close = walk(5)[:200]
    days = bars("QQQ", close, step=DAY).with_columns(dividends=pl.Series([0.0] * 60 + [0.7] + [0.0] * 139))
    days.write_parquet("qqq.parquet")
    stamps = START + DAY * np.arange(200)
    one = pl.DataFrame({"date": stamps, "series": "DFF", "rate_pct": np.where(np.arange(200) < 50, 3.0, 5.0)})
    two = one.with_columns(pl.lit("DTB3").alias("series"), pl.col("rate_pct") + 1)
    pl.concat([one, two]).write_parquet("rates.parquet")
    one.write_parquet("dff.parquet")


def told(capsys: Captured, *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer
