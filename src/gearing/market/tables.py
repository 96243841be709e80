"""Tables of any kind (files, data frames) as one polars frame with known column names."""

from __future__ import annotations

import difflib
import gzip
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import narwhals as nw
import numpy as np
import polars as pl

from gearing import files
from gearing.errors import DataError
from gearing.market.times import SeriesError, objects_ms

TIME = ("timestamp", "time", "datetime", "open_time", "date")
SYMBOL = ("symbol",)

# What a column may be called, in order of preference; compared without regard to case.
PRICE_COLUMNS = {
    "time": TIME,
    "symbol": SYMBOL,
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "price", "c", "adj_close", "adj close"),
    "volume": ("volume", "v"),
}
FUNDING_COLUMNS = {
    "time": (*TIME, "funding_time", "fundingtime", "calc_time"),
    "symbol": SYMBOL,
    "rate": ("funding_rate", "fundingrate", "rate", "last_funding_rate"),
}

RATE_COLUMNS = {
    "time": TIME,
    "symbol": (*SYMBOL, "series"),
    "rate": ("rate", "rate_pct", "yield", "value"),
}
DIVIDEND_COLUMNS = {
    "time": ("ex_date", *TIME),
    "symbol": SYMBOL,
    "amount": ("dividends", "dividend", "amount"),
}

_KNOWN = {
    alias
    for names in (PRICE_COLUMNS, FUNDING_COLUMNS, RATE_COLUMNS, DIVIDEND_COLUMNS)
    for aliases in names.values()
    for alias in aliases
}

_ENDINGS = {
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".feather": "Feather",
    ".arrow": "Feather",
    ".ipc": "Feather",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".txt": "CSV",
}
_MAGIC = {
    b"PAR1": "Parquet",
    b"ARROW1": "Feather",
    b"PK\x03\x04": "a zip archive",
    b"FEA1": "an old Feather (version 1)",
}


class Table(NamedTuple):
    """A table with canonical column names, its symbol ("" if it names none) and the place to blame."""

    frame: pl.DataFrame
    symbol: str
    where: str


def read_table(source: Any, names: dict[str, tuple[str, ...]], required: str, symbol: str | None) -> Table:
    """Returns the known columns of a file or a data frame, of one symbol.

    Args:
        source: a path, or any data frame that narwhals takes.
        names: canonical name -> what a column may be called.
        required: the canonical name that must be there, besides time.
        symbol: which symbol's rows; needed if the table holds several.

    Raises:
        DataError: it cannot be read, a column is missing, or the symbol is unclear or not there.
    """
    frame, where = _lazy(source)
    try:
        present = frame.collect_schema().names()
        found = _resolve(present, names)
        for name in ("time", required):
            if name not in found:
                raise _missing(names[name], present, where)
        frame = frame.select(pl.col(column).alias(name) for name, column in found.items())
        if "symbol" not in found:
            return Table(frame.collect(), symbol or "", where)
        frame = frame.with_columns(pl.col("symbol").cast(pl.String).fill_null(""))
        rows = (frame if symbol is None else frame.filter(pl.col("symbol") == symbol)).collect()
        # No row at all is a fault of the series, unless the symbol asked for is what left none.
        chosen: str = rows["symbol"][0] if len(rows) else ""
        if bool((rows["symbol"] != chosen).any()) or (symbol is not None and not len(rows)):
            raise _unclear(frame.select(pl.col("symbol").unique()).collect()["symbol"], symbol, where)
        return Table(rows, chosen, where)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(error, where) from error


def kind_of(source: Any) -> Literal["prices", "funding"]:
    """Returns what a file or data frame holds, by the names of its columns.

    Raises:
        DataError: it cannot be read, or has neither prices nor funding rates.
    """
    frame, where = _lazy(source)
    present = frame.collect_schema().names()
    if "close" in _resolve(present, PRICE_COLUMNS):
        return "prices"
    if "rate" in _resolve(present, FUNDING_COLUMNS):
        return "funding"
    raise _missing((*PRICE_COLUMNS["close"], *FUNDING_COLUMNS["rate"]), present, where)


def columns_of(source: Any) -> list[str]:
    """Returns the names of the columns of a file or data frame."""
    return _lazy(source)[0].collect_schema().names()


def names_symbols(source: Any) -> bool:
    """Returns whether a file or data frame has a column that says whose row it is."""
    return any(name.strip().lower() in (*SYMBOL, "series") for name in columns_of(source))


def symbols_in(source: Any, names: dict[str, tuple[str, ...]]) -> list[str] | None:
    """Returns whose rows a file or data frame holds, sorted; None if it has no column that says so.

    Args:
        source: a path, or any data frame that narwhals takes.
        names: canonical name -> what a column may be called.

    Raises:
        DataError: it cannot be read.
    """
    frame, where = _lazy(source)
    try:
        column = _resolve(frame.collect_schema().names(), names).get("symbol")
        if column is None:
            return None
        found = frame.select(pl.col(column).cast(pl.String).fill_null("").unique()).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(error, where) from error
    return sorted(found.to_series().to_list())


def floats(column: pl.Series, name: str, where: str) -> np.ndarray | None:
    """Returns a column of numbers (or of texts that are numbers) as float64; None if it is wholly empty.

    Raises:
        DataError: a value is no number.
    """
    if column.null_count() == len(column) and name != "close":
        return None
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        column = column.cast(pl.String)
    place = f"{where}, column {name}"
    if column.dtype == pl.String:
        parsed = column.str.strip_chars().cast(pl.Float64, strict=False)
        bad = parsed.is_null() & column.is_not_null() & (column.str.strip_chars() != "")
        if bad.any():
            row = int(bad.arg_max() or 0)
            raise SeriesError(
                f"{column[row]!r} stands where a number should.",
                where=f"{place}, row {row + 1}",
                fix="Mend this row.",
            )
        column = parsed
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise SeriesError(f"the column is of type {column.dtype}, not numbers.", where=place)
    values: np.ndarray = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values


def _lazy(source: Any) -> tuple[pl.LazyFrame, str]:
    if isinstance(source, (str, os.PathLike)):
        return _scan(Path(source)), Path(source).name
    if isinstance(source, pl.DataFrame):
        return source.lazy(), "the table"
    if isinstance(source, pl.LazyFrame):
        return source, "the table"
    if nw.dependencies.is_pandas_dataframe(source):
        source = _pandas(source)
    try:
        native = nw.from_native(source)
        chosen = native.select(*(name for name in native.collect_schema().names() if name.lower() in _KNOWN))
        eager = chosen.collect() if isinstance(chosen, nw.LazyFrame) else chosen
        if not eager.columns:
            raise _missing((*TIME, *PRICE_COLUMNS["close"]), native.collect_schema().names(), "the table")
        return eager.to_polars().lazy(), "the table"
    except DataError:
        raise
    except Exception as error:
        # Each kind of data frame has exceptions of its own; to a person they all mean this.
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise DataError(
            f"a {type(source).__name__} cannot be read as a table: {reason}.",
            fix="Give a path, a polars, pandas or pyarrow table, or (times, values).",
        ) from error


def _pandas(frame: Any) -> Any:
    """The frame with its times as a column of one kind."""
    # A frame of prices usually carries its times as the index.
    if not any(str(name).lower() in TIME for name in frame.columns):
        frame = frame.rename_axis("time").reset_index()
    frame = frame.rename(columns=str)
    for name in frame.columns:
        # Conversion would silently take times without a zone for those of the others.
        if name.lower() in TIME and frame[name].dtype == object:
            values = frame[name].tolist()
            if not all(isinstance(value, str) for value in values):
                times = objects_ms(values, f"the table, column {name}").astype("datetime64[ms]")
                frame = frame.assign(**{name: times})
    return frame


def _scan(path: Path) -> pl.LazyFrame:
    files.readable(path, DataError)
    where = path.name
    with path.open("rb") as file:
        head = file.read(65_536)
    if zipped := head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as inner:
                head = inner.read(65_536)
        except (OSError, EOFError) as error:
            raise DataError("the gzip file is damaged.", where=where, fix="Write it again.") from error
    held = _held(head)
    ending = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    claimed = _ENDINGS.get(ending, held)
    if held not in _ENDINGS.values() or held != claimed or (zipped and held != "CSV"):
        claim = f"the ending {ending!r} says {claimed}, but " if claimed != held else ""
        raise DataError(f"{claim}the file holds {held}.", where=where, fix="Give a CSV, Parquet or Feather file.")
    if held == "Parquet":
        return pl.scan_parquet(path, glob=False)
    if held == "Feather":
        return pl.scan_ipc(path)
    return _scan_csv(path, head, where)


def _held(head: bytes) -> str:
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    # The last bytes of the head may cut a character in two.
    if b"\0" in head or len(head.decode("utf-8", errors="ignore").encode()) < len(head) - 3:
        return "bytes that are no table"
    return "CSV"


def _scan_csv(path: Path, head: bytes, where: str) -> pl.LazyFrame:
    first = head.decode("utf-8-sig", errors="ignore").split("\n", 1)[0]
    separator = max((",", ";", "\t"), key=first.count)
    names = [name.strip().strip('"').strip() for name in first.split(separator)]
    if not any(name and not _is_number(name) for name in names):
        raise DataError(
            "the first line holds numbers, not the names of the columns.",
            where=where,
            fix='Put a line such as "timestamp,open,high,low,close,volume" before it.',
        )
    # As text, so that a word among the numbers can be named with its row.
    return pl.scan_csv(path, separator=separator, infer_schema=False, glob=False)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _resolve(present: Iterable[str], names: dict[str, tuple[str, ...]]) -> dict[str, str]:
    folded: dict[str, str] = {}
    for column in present:
        folded.setdefault(column.strip().lower(), column)
    found = {}
    for name, aliases in names.items():
        for alias in aliases:
            if alias in folded:
                found[name] = folded[alias]
                break
    return found


def _missing(aliases: tuple[str, ...], present: list[str], where: str) -> DataError:
    there = ", ".join(present[:30]) or "none"
    return DataError(
        f"there is no column {aliases[0]!r}; the columns are: {there}.",
        where=where,
        fix=f"Name it one of: {', '.join(aliases)}.",
    )


def _unreadable(error: BaseException, where: str) -> DataError:
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return DataError(f"the table cannot be read: {reason}.", where=where, fix="It may be damaged; write it again.")


def _unclear(symbols: pl.Series, symbol: str | None, where: str) -> DataError:
    known = sorted(symbols.to_list())
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    if symbol is None:
        return DataError(f"it holds {len(known)} symbols: {shown}.", where=where, fix="Choose one with symbol.")
    near = difflib.get_close_matches(symbol.upper(), known, n=3, cutoff=0.5)
    near = near or [name for name in known if symbol.upper() in name.upper()][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"It holds: {shown or 'none'}."
    return DataError(f"there is no symbol {symbol!r}.", where=where, fix=hint)
