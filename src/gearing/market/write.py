"""Writing series and frames to files, wholly or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from gearing import files
from gearing.errors import InputError
from gearing.market.series import Funding, Prices


def write_frame(frame: pl.DataFrame, path: str | Path) -> None:
    """Writes a frame as Parquet, CSV or Feather, by the ending of `path`; without one, as Parquet.

    Raises:
        InputError: the ending is none of these, or the place cannot be written.
    """
    ending = Path(path).suffix.lower()
    buffer = io.BytesIO()
    # Through memory, so that a full disk is the operating system's own error and not the encoder's.
    if ending == ".csv":
        frame.write_csv(buffer, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")
    elif ending in (".feather", ".arrow", ".ipc"):
        frame.write_ipc(buffer, compression="zstd")
    elif ending in (".parquet", ".pq", ""):
        frame.write_parquet(buffer, compression="zstd")
    else:
        raise InputError(f"the ending {ending!r} names no format.", where=str(path), fix="Write .parquet or .csv.")
    with files.writing(path) as file:
        file.write(buffer.getbuffer())


def price_table(prices: Prices) -> pl.DataFrame:
    """Returns prices as a table stamped with each bar's open, so that `read_prices` restores them."""
    frame = prices.frame
    stamps = (prices.times_ms - prices.spacing_ms).astype("datetime64[ms]")
    columns = [pl.Series("timestamp", stamps).dt.replace_time_zone("UTC"), *frame.drop("time").get_columns()]
    return pl.DataFrame([*columns, pl.Series("symbol", [prices.symbol]).new_from_index(0, len(prices))])


def funding_table(funding: Funding) -> pl.DataFrame:
    """Returns funding as a table: timestamp, funding_rate, symbol."""
    frame = funding.frame.rename({"time": "timestamp"})
    return frame.with_columns(pl.lit(funding.symbol).alias("symbol"))


def write_series(series: Prices | Funding, path: str | Path) -> None:
    """Writes a series so that `read_prices` or `read_funding` gives back the same arrays.

    Args:
        series: prices or funding.
        path: where; its ending names the format (.parquet, .csv, .feather).

    Raises:
        InputError: the place cannot be written, or the disk is full; nothing half-written is left.
    """
    write_frame(price_table(series) if isinstance(series, Prices) else funding_table(series), path)
