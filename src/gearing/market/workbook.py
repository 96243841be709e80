"""Tables as Excel workbooks: real dates and numbers, long numbers as text, and a sheet on where they come from."""

from __future__ import annotations

import datetime as dt
import io
import math
import platform
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import polars as pl

from gearing.errors import InputError

# Source: Microsoft, "Excel specifications and limits": rows of a sheet, and significant digits of a number.
_ROWS_MAX = 1_048_576
_DIGITS_MAX = 15
_WIDTH_MIN, _WIDTH_MAX = 9, 48
_SAMPLE = 200
# A workbook of the same table has the same bytes.
_MADE = dt.datetime(2000, 1, 1)


def workbook_bytes(frame: pl.DataFrame, about: Mapping[str, str]) -> bytes:
    """Returns a table as a workbook of two sheets, "Table" and "About".

    Times are UTC. A text is never a formula. A number of more than 15 digits is text, since Excel keeps no more.

    Args:
        frame: the table.
        about: what is said of it: the command, the head of a journal; the versions are added.

    Raises:
        InputError: it has more rows than a sheet.
    """
    import xlsxwriter

    if frame.height >= _ROWS_MAX:
        what = f"a sheet has {_ROWS_MAX:,} rows, and the table has {frame.height:,} and its names."
        raise InputError(what, where="xlsx", fix="Write .parquet or .csv.")
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "default_date_format": "yyyy-mm-dd hh:mm:ss"})
    book.set_properties({"created": _MADE})
    bold = book.add_format({"bold": True})
    moments = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    days = book.add_format({"num_format": "yyyy-mm-dd"})
    sheet = book.add_worksheet("Table")
    sheet.freeze_panes(1, 0)
    for place, name in enumerate(frame.columns):
        sheet.write_string(0, place, name, bold)
        column = frame[name]
        sheet.set_column(place, place, _width(name, column))
        for row, value in enumerate(_plain(column), start=1):
            _write(sheet, row, place, value, moments, days)
    told = book.add_worksheet("About")
    told.set_column(0, 0, 20)
    told.set_column(1, 1, 100)
    for row, (key, value) in enumerate({**about, **versions()}.items()):
        told.write_string(row, 0, key, bold)
        told.write_string(row, 1, value)
    book.close()
    return buffer.getvalue()


def versions() -> dict[str, str]:
    """Returns the versions that made a table."""
    from importlib.metadata import version

    return {"gearing": version("gearing"), "python": platform.python_version(), "polars": pl.__version__}


def _plain(column: pl.Series) -> list[Any]:
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.to_list()


def _write(sheet: Any, row: int, place: int, value: Any, moments: Any, days: Any) -> None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, dt.datetime):
        sheet.write_datetime(row, place, value, moments)
    elif isinstance(value, dt.date):
        sheet.write_datetime(row, place, value, days)
    elif _is_number(value):
        sheet.write_number(row, place, value)
    else:
        sheet.write_string(row, place, str(value))


def _is_number(value: Any) -> bool:
    """Whether Excel can keep a value as a number."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (int, Decimal)) and _digits(value) <= _DIGITS_MAX


def _digits(value: int | Decimal) -> int:
    """The significant digits of a number, zeros at its end left out where they follow a decimal point."""
    if isinstance(value, int):
        return len(str(abs(value)))
    sign, digits, exponent = value.as_tuple()
    del sign
    text = "".join(map(str, digits))
    if isinstance(exponent, int) and exponent < 0:
        kept = text.rstrip("0")
        whole = len(text) + exponent
        text = text[: max(len(kept), whole)]
    return len(text.lstrip("0")) or 1


def _width(name: str, column: pl.Series) -> float:
    texts = [len(str(value)) for value in column.head(_SAMPLE).to_list() if value is not None]
    return float(min(max([len(name), *texts, _WIDTH_MIN]) + 1, _WIDTH_MAX))
