"""Numbers as tables write them: decimal commas, thousands separators, percent signs, currency signs, 12.5K."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from gearing.market.reading.options import Notes
from gearing.market.times import SeriesError

Floats = npt.NDArray[np.float64]

MISSING = ("", "-", "--", ".", "null", "none", "nan", "nil", "na", "#n/a", "<na>")
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_POINT = r"^[+-]?(\d{1,3}(,\d{3})+(\.\d*)?|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)$"
_COMMA = r"^[+-]?(\d{1,3}(\.\d{3})+(,\d*)?|(\d+,?\d*|,\d+)([eE][+-]?\d+)?)$"
_SCALES = {"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "t": 1e12}


class Number(NamedTuple):
    """A column of numbers, NaN where none stands; and whether all of them had a percent sign."""

    values: Floats
    percent: bool = False


def numbers(columns: Mapping[str, pl.Series], decimal: str | None, notes: Notes) -> dict[str, Number]:
    """Returns the columns of a table as numbers; one without any value is left out.

    Args:
        columns: by name; text or numbers.
        decimal: "." or ","; None: whichever is the only one that fits all of them.
        notes: what was done is added.

    Raises:
        SeriesError: a value is not a number, or both readings of a comma are possible.
    """
    plain: dict[str, Number] = {}
    texts: dict[str, pl.Series] = {}
    floats: dict[str, pl.Series] = {}
    for name, column in columns.items():
        given = _text_of(column)
        if given.dtype != pl.String:
            if given.null_count() == len(given) and len(given):
                continue
            if not (given.dtype.is_numeric() or given.dtype == pl.Null):
                what = f"the column is of type {given.dtype}, not numbers."
                raise SeriesError(what, where=f"{notes.where}, column {name}", fix="Write numbers there.")
            plain[name] = Number(given.cast(pl.Float64).fill_null(float("nan")).to_numpy())
            continue
        text = given.str.strip_chars()
        read = text.cast(pl.Float64, strict=False)
        if decimal != "," and not bool((read.is_null() & text.is_not_null() & (text != "")).any()):
            # A column without any value is none.
            if read.null_count() < len(read) or not len(read):
                plain[name] = Number(read.fill_null(float("nan")).to_numpy())
                floats[name] = text
            continue
        texts[name] = text
    if not texts:
        return plain
    comma = decimal or _decimal({name: _bare(column) for name, column in texts.items()}, notes)
    if comma == ",":
        # What looks like a number with a point has separators of thousands in a table of decimal commas.
        pointed = {name: one for name, one in floats.items() if bool(one.str.contains(".", literal=True).any())}
        texts |= pointed
        plain = {name: number for name, number in plain.items() if name not in pointed}
    return {**plain, **_worded(texts, comma, notes)}


def _text_of(column: pl.Series) -> pl.Series:
    """A column of categories or Python objects as text; any other as it is."""
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        return column.cast(pl.String)
    if column.dtype == pl.Object:
        return pl.Series(column.name, [None if value is None else str(value) for value in column.to_list()], pl.String)
    return column


def _worded(texts: Mapping[str, pl.Series], comma: str, notes: Notes) -> dict[str, Number]:
    bare = {name: _bare(column) for name, column in texts.items()}
    if comma == ",":
        notes.add("numbers are read with a decimal comma")
    found = {}
    for name, column in bare.items():
        text = column.str.replace_all(".", "", literal=True) if comma == "," else column
        text = text.str.replace_all(",", "." if comma == "," else "", literal=True)
        suffix = text.str.extract(r"([A-Za-z]+)$").str.to_lowercase()
        scale = suffix.replace_strict(_SCALES, default=None, return_dtype=pl.Float64)
        scaled = suffix.is_not_null() & scale.is_not_null()
        percent = text.str.ends_with("%")
        digits = text.str.strip_suffix("%").zip_with(~scaled.fill_null(False), text.str.replace(r"\s*[A-Za-z]+$", ""))
        shape = column.str.strip_suffix("%").str.replace(r"\s*[A-Za-z]+$", "")
        valid = shape.str.contains(_COMMA if comma == "," else _POINT)
        read = digits.str.strip_chars().cast(pl.Float64, strict=False)
        # A separator of thousands that stands elsewhere than before three digits is no number.
        read = read.zip_with(valid.fill_null(True) | ~scaled & read.is_infinite(), pl.Series([None], dtype=pl.Float64))
        _refuse(texts[name], read, name, notes.where)
        given = percent.drop_nulls()
        if given.any() and not given.all():
            row = int((percent != percent.drop_nulls()[0]).fill_null(False).arg_max() or 0)
            first = texts[name].drop_nulls()[0]
            what = f"{texts[name][row]!r} and {first!r}: some values have a percent sign, others none."
            raise SeriesError(what, where=f"{notes.where}, column {name}, row {row + 1}", fix="Write all in one unit.")
        values = (read * scale.fill_null(1.0)).fill_null(float("nan")).to_numpy()
        if not len(values) or not np.isnan(values).all():
            found[name] = Number(values, bool(given.all()) if len(given) else False)
    return found


def _bare(column: pl.Series) -> pl.Series:
    """Text without blanks, currency signs and separators that nobody mistakes; null where no value stands."""
    text = column.str.replace_all(r"[\s\u00a0\u202f'’_$€£¥₿]", "")
    return text.set(text.str.to_lowercase().is_in(MISSING).fill_null(False), None)


def _decimal(bare: Mapping[str, pl.Series], notes: Notes) -> str:
    """Which of the two signs is the decimal one in all columns of a table.

    Raises:
        SeriesError: both readings are possible.
    """
    cells = pl.concat([column.str.strip_suffix("%").str.replace(r"[A-Za-z]+$", "") for column in bare.values()])
    cells = cells.drop_nulls()
    with_comma = cells.str.contains(",", literal=True)
    if not with_comma.any():
        return "."
    point = bool(cells.str.contains(_POINT).all())
    comma = bool(cells.str.contains(_COMMA).all())
    if point and comma:
        cell = cells.filter(with_comma)[0]
        raise SeriesError(
            f"{cell!r} may have a decimal comma or a comma between thousands.",
            where=notes.where,
            fix='Say which: --decimal "," or --decimal "." (decimal= in Python).',
        )
    return "," if comma else "."


def _refuse(column: pl.Series, read: pl.Series, name: str, where: str) -> None:
    """Raises SeriesError for the first text that is not a number."""
    missing = column.str.to_lowercase().is_in(MISSING).fill_null(True)
    bad = read.is_null() & ~missing
    if bad.any():
        row = int(bad.arg_max() or 0)
        place = f"{where}, column {name}, row {row + 1}"
        raise SeriesError(f"{column[row]!r} stands where a number should.", where=place, fix="Fix this row.")
