"""The real series that fidelity is measured on; none of them belongs to the project."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

import gearing as gr
from gearing.market.series import Floats, Times

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

PERPETUALS = "crypto/perp_binance_usdm_1h.parquet"
FUNDING = "crypto/funding_binance_usdm_8h.parquet"


def data_dir() -> Path:
    """Returns the directory of real data: GEARING_DATA, or `../shared/data` beside the project.

    Raises:
        DataError: it is not there.
    """
    place = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not (place / "etf").is_dir():
        raise gr.DataError("there is no market data.", where=str(place), fix="Set GEARING_DATA to its directory.")
    return place


def perpetual(symbol: str, start: str, end: str) -> tuple[gr.Prices, gr.Funding]:
    """Returns hourly prices known in [start, end), and 8-hourly funding, of a Binance perpetual.

    Raises:
        DataError: it is not there.
    """
    place = data_dir()
    prices = gr.read_prices(place / PERPETUALS, symbol=symbol).between(start, end)
    funding = gr.read_funding(place / FUNDING, symbol=symbol).between(start, end)
    return prices, funding


def closes(file: str, symbol: str, bar_ms: int) -> tuple[Times, Floats]:
    """Returns the ends (ms UTC) and closes of a token's bars, which may have holes.

    Args:
        file: below the data directory.
        symbol: of the token.
        bar_ms: length of a bar.
    """
    frame = pl.read_parquet(data_dir() / file).filter(pl.col("symbol") == symbol).sort("timestamp")
    times = frame["timestamp"].dt.epoch("ms").to_numpy().astype(np.int64)
    return times + bar_ms, frame["close"].to_numpy().copy()
