"""Data frames of any library as one polars frame with the columns that matter."""

from __future__ import annotations

import datetime as dt
from typing import Any

import narwhals as nw
import polars as pl

from gearing.errors import DataError
from gearing.market.reading.names import LATER_TIMES, fold, is_instrument, is_known, is_time
from gearing.market.reading.options import Notes, ReadOptions
from gearing.market.reading.text import UNNAMED, long_table

_FIX = "Give a path, a polars, pandas or pyarrow table, or (times, values)."


def read_frame(source: Any, options: ReadOptions, notes: Notes) -> pl.LazyFrame:
    """Returns a data frame's columns under their own names.

    Args:
        source: a frame of polars, pandas, pyarrow or any other library that narwhals takes.
        options: a person's word on it.
        notes: what was done is added.

    Raises:
        DataError: it is no table.
    """
    if isinstance(source, pl.DataFrame):
        return source.lazy()
    if isinstance(source, pl.LazyFrame):
        return source
    try:
        if nw.dependencies.is_pandas_dataframe(source):
            source = _pandas(source, notes)
            if isinstance(source, pl.DataFrame):
                return source.lazy()
        native = nw.from_native(source)
        present = native.collect_schema().names()
        notes.present = list(present)
        renamed = set(options.renamed().values())
        wanted = [
            name
            for place, (name, kind) in enumerate(native.collect_schema().items())
            if is_known(name) or is_instrument(name) or name in renamed or kind.is_numeric()
            or (place == 0 and fold(name) in UNNAMED)
        ]  # fmt: skip
        if not wanted or options.positions() is not None:
            wanted = present
        chosen = native.select(*wanted)
        eager = chosen.collect() if isinstance(chosen, nw.LazyFrame) else chosen
        return eager.to_polars().lazy()
    except DataError:
        raise
    except Exception as error:
        # Each kind of data frame has exceptions of its own; to a person they all mean this.
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise DataError(f"a {type(source).__name__} cannot be read as a table: {reason}.", fix=_FIX) from error


def _pandas(frame: Any, notes: Notes) -> Any:
    """The frame with its times as a column of one kind, and one level of columns."""
    import pandas as pd

    if isinstance(frame.columns, pd.MultiIndex):
        return _levels(_indexed(frame, pd), notes)
    frame = _indexed(frame.rename(columns=str), pd)
    twice = list(frame.columns[frame.columns.duplicated()])
    if twice:
        raise DataError(f"there are two columns {twice[0]!r}.", where=notes.where, fix="Leave out the one not meant.")
    for name in frame.columns:
        # Conversion would silently take times without a zone for those of the others.
        if is_time(name) and frame[name].dtype == object:
            frame = _one_kind(frame, name, notes)
        elif isinstance(frame[name].dtype, pd.PeriodDtype):
            frame = frame.assign(**{name: frame[name].dt.to_timestamp()})
    return frame


def _one_kind(frame: Any, name: str, notes: Notes) -> Any:
    """The frame with a column of Python's times as one of milliseconds; texts and empty cells stay."""
    from gearing.market.reading.stamps import objects_ms

    values = frame[name].tolist()
    if any(isinstance(value, (str, int, float)) or value is None for value in values):
        return frame
    times = objects_ms(values, f"{notes.where}, column {name}").astype("datetime64[ms]")
    return frame.assign(**{name: times})


def _indexed(frame: Any, pd: Any) -> Any:
    """The frame with its index as columns where that holds times or names."""
    index = frame.index
    if isinstance(index, pd.PeriodIndex):
        frame = frame.set_axis(index.to_timestamp())
        index = frame.index
    named = [str(name) for name in index.names if name is not None]
    if isinstance(index, pd.DatetimeIndex):
        # Beside a column of times the index is whatever pandas made of them; the index is meant.
        name = str(index.name) if index.name is not None and is_time(str(index.name)) else "time"
        if any(fold(str(_first(column))) == fold(name) for column in frame.columns):
            return frame.reset_index(drop=True)
        others = [column for column in frame.columns if fold(str(_first(column))) in LATER_TIMES]
        return frame.drop(columns=others).rename_axis(name).reset_index()
    if isinstance(index, pd.MultiIndex) or any(is_time(name) for name in named):
        kept = [name for name in index.names if name not in frame.columns]
        levels = [
            name if name is not None else "time" if isinstance(level, pd.DatetimeIndex) else "symbol"
            for name, level in zip(index.names, getattr(index, "levels", [index]), strict=True)
        ]
        frame = frame.rename_axis(levels if len(levels) > 1 else levels[0])
        return frame.reset_index() if len(kept) == len(index.names) else frame.reset_index(drop=True)
    in_words = len(index) > 0 and isinstance(index[:1].tolist()[0], (str, dt.date))
    if in_words and not any(is_time(str(_first(column))) for column in frame.columns):
        # Dates that stayed text.
        return frame.rename_axis("time").reset_index()
    return frame


def _first(column: Any) -> Any:
    return column[0] if isinstance(column, tuple) else column


def _levels(frame: Any, notes: Notes) -> pl.DataFrame:
    """A frame with two levels of columns, as yfinance gives, one instrument below the other."""
    pairs = [tuple(str(part) for part in column) for column in frame.columns]
    time = next((place for place, pair in enumerate(pairs) if is_time(pair[0]) and not any(pair[1:])), None)
    if time is None or any(len(pair) != 2 for pair in pairs):
        shown = ", ".join(" ".join(pair) for pair in pairs[:8])
        raise DataError(f"the frame has no index of times above its columns: {shown}.", where=notes.where, fix=_FIX)
    from gearing.market.reading.names import is_field

    rest = [pair for place, pair in enumerate(pairs) if place != time]
    level = 0 if all(is_field(pair[0]) or not is_field(pair[1]) for pair in rest) else 1
    flat = frame.copy()
    flat.columns = [f"{place}" for place in range(len(pairs))]
    order = [time, *(place for place in range(len(pairs)) if place != time)]
    table = nw.from_native(flat).select(*(str(place) for place in order)).to_polars()
    notes.add("columns of two levels are joined")
    names = [pairs[place][0 if place == time else level] for place in order]
    symbols = ["" if place == time else pairs[place][1 - level] for place in order]
    return long_table(table, table.columns[0], names, symbols, table.columns)
