"""Rows that are none: blank lines, repeated headers, lines below a table, rows without values, exact copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from gearing.market.reading.names import Role
from gearing.market.reading.numbers import MISSING, Number
from gearing.market.reading.options import Notes
from gearing.market.times import iso

Times = npt.NDArray[np.int64]


def without_empty(rows: pl.DataFrame, time: str, notes: Notes, valued: Sequence[str]) -> pl.DataFrame:
    """Returns the rows without blank lines, repeated headers, lines below the table, and rows of nothing but a time.

    Args:
        rows: a table.
        time: its column of times.
        notes: what is left out is added.
        valued: its columns of numbers.
    """
    if rows[time].dtype == pl.String:
        again = (rows[time].str.strip_chars() == time).fill_null(False)
        if again.any():
            row = int(again.arg_max() or 0)
            count = int(again.sum())
            where = f"row {row + 1}" if count == 1 else f"row {row + 1} and {count - 1} more"
            notes.add(f"the header is repeated in {where}, and skipped")
            rows = rows.filter(~again)
        if rows[time].null_count() and rows.width > 1:
            rows = rows.filter(~pl.all_horizontal(pl.all().is_null()))
        rows = _without_footer(rows, time, notes, valued)
    if len(valued) < 2 or not len(rows):
        return rows
    if not rows.select(is_empty(rows, valued[0]).any()).item():
        return rows
    empty = rows.select(pl.all_horizontal(is_empty(rows, name) for name in valued)).to_series()
    count = int(empty.sum())
    if not count or count == len(rows):
        return rows
    row = int(empty.arg_max() or 0)
    notes.add(f"{count:,} row{'s' if count > 1 else ''} without any value, the first row {row + 1}, left out")
    return rows.filter(~empty)


_FOOTER_LINES = 5


def _without_footer(rows: pl.DataFrame, time: str, notes: Notes, valued: Sequence[str]) -> pl.DataFrame:
    """The rows without what stands below them, such as a line on where they come from."""
    last = rows.tail(_FOOTER_LINES)
    if not len(last) or not valued:
        return rows
    words = last.select(
        pl.all_horizontal(is_empty(last, name) for name in valued)
        & pl.col(time).str.contains(r"[A-Za-z]{3}").fill_null(False)
        & ~pl.col(time).str.contains(r"^\W*(\d|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))").fill_null(True)
    ).to_series()
    count = 0
    while count < len(words) and words[len(words) - 1 - count]:
        count += 1
    if not count or count == len(rows):
        return rows
    shown = str(last[time][len(last) - count]).strip()[:40]
    notes.add(f"{'a line' if count == 1 else f'{count} lines'} below the table skipped ({shown!r})")
    return rows.head(len(rows) - count)


_NOTHING = sorted({" ", "NaN", *MISSING, *(m.upper() for m in MISSING), *(m.capitalize() for m in MISSING)})


def is_empty(rows: pl.DataFrame, name: str) -> pl.Expr:
    """Returns whether a column holds no value, row by row.

    Args:
        rows: a table.
        name: the column.
    """
    column = pl.col(name)
    kind = rows.schema[name]
    if kind == pl.String:
        return column.is_null() | column.is_in(_NOTHING)
    return column.is_null() | column.is_nan() if kind.is_float() else column.is_null()


def without_copies(
    times: Times, columns: dict[Role, Number], extra: dict[Role, Times], notes: Notes
) -> tuple[Times, dict[Role, Number], dict[Role, Times]]:
    """Returns the rows without those that say the same as the row above, value by value.

    Args:
        times: the stamps, oldest first.
        columns: the numbers of each role.
        extra: other stamps of each role.
        notes: what is left out is added.
    """
    if bool((times[1:] > times[:-1]).all()):
        return times, columns, extra
    steps = np.diff(times)
    same = steps == 0
    for number in columns.values():
        above, below = number.values[:-1], number.values[1:]
        same &= (above == below) | (np.isnan(above) & np.isnan(below))
    if not same.any() or (same.sum() != (steps == 0).sum()):
        return times, columns, extra
    row, count = int(np.argmax(same)) + 1, int(same.sum())
    also = f" and {count - 1} more" if count > 1 else ""
    notes.add(f"the row of {iso(int(times[row]))}{also} stands there twice with the same values, and counts once")
    kept = np.append(True, ~same)
    columns = {role: number._replace(values=number.values[kept]) for role, number in columns.items()}
    return times[kept], columns, {role: values[kept] for role, values in extra.items()}
