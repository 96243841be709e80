"""Writing series and frames to files, wholly or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from gearing import files
from gearing.errors import InputError
from gearing.filekind import KINDS_BY_ENDING, Kind
from gearing.market.series import Funding, Prices
from gearing.market.workbook import workbook_bytes
from gearing.typed import safe_cells

_TABLES = frozenset({"parquet", "csv", "feather", "xlsx"})


def kind_of_table(path: str | Path) -> Kind:
    """Returns the format that the ending of a path names; without one, Parquet.

    Raises:
        InputError: the ending names no format.
    """
    ending = Path(path).suffix.lower()
    kind = KINDS_BY_ENDING.get(ending or ".parquet")
    if kind is None or kind not in _TABLES:
        raise InputError(
            f"the ending {ending!r} names no format.", where=str(path), fix="Write .parquet, .csv or .xlsx."
        )
    return kind


def write_frame(
    frame: pl.DataFrame, path: str | Path, *, force: bool = False, about: Mapping[str, str] | None = None
) -> None:  # fmt: skip
    """Writes a frame as Parquet, CSV, Feather or an Excel workbook, by the ending of `path`; without one, as Parquet.

    Args:
        frame: the table.
        path: the file to write.
        force: replace an existing file of another kind; a database is never replaced.
        about: what a workbook says of the table, such as the command that made it.

    Raises:
        InputError: the ending names no format, the path holds another kind of file, or it cannot be written.
    """
    kind = kind_of_table(path)
    buffer = io.BytesIO()
    # Through memory, so that a full disk is the operating system's own error and not the encoder's.
    if kind == "csv":
        safe_cells(frame).write_csv(buffer, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")
    elif kind == "xlsx":
        buffer.write(workbook_bytes(frame, about or {}))
    elif kind == "feather":
        frame.write_ipc(buffer, compression="zstd")
    else:
        frame.write_parquet(buffer, compression="zstd")
    with files.writing(path, kind, force=force) as file:
        file.write(buffer.getbuffer())


def price_table(prices: Prices) -> pl.DataFrame:
    """Returns prices as a table stamped with each bar's open, so that `read_prices` restores them."""
    frame = prices.frame.drop("time", "open_time", "symbol", strict=False)
    stamps = (prices.times_ms - prices.spacing_ms).astype("datetime64[ms]")
    columns = [pl.Series("timestamp", stamps).dt.replace_time_zone("UTC"), *frame.get_columns()]
    return pl.DataFrame([*columns, pl.Series("symbol", [prices.symbol]).new_from_index(0, len(prices))])


def funding_table(funding: Funding) -> pl.DataFrame:
    """Returns funding as a table: timestamp, funding_rate, symbol."""
    frame = funding.frame.drop("symbol", strict=False).rename({"time": "timestamp"})
    return frame.with_columns(pl.lit(funding.symbol).alias("symbol"))


def write_series(series: Prices | Funding, path: str | Path, *, force: bool = False) -> None:
    """Writes a series so that `read_prices` or `read_funding` gives back the same arrays.

    Args:
        series: prices or funding.
        path: the file to write; its ending names the format (.parquet, .csv, .feather).
        force: replace an existing file of another kind; a database is never replaced.

    Raises:
        InputError: the path holds another kind of file, it cannot be written, or the disk is full; nothing half-written
            is left.
    """
    write_frame(price_table(series) if isinstance(series, Prices) else funding_table(series), path, force=force)
