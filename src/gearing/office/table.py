"""Tables that are exported: columns of a kind each, rows of plain values; and the frame that both formats come from."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import polars as pl

# Money and units are integers of 1e-8 here, and decimals with eight digits in a file.
Kind = Literal["time", "text", "amount", "whole"]
_DIGITS = 8
_PRECISION = 38


class Table(NamedTuple):
    """What is exported.

    Args:
        columns: each column's kind, by its name, in order.
        rows: the cells; times are ms UTC, amounts integers of 1e-8.
        words: one sentence on what was found, for whoever made it.
    """

    columns: dict[str, Kind]
    rows: Sequence[Sequence[Any]]
    words: str = ""


def frame_of(table: Table, zone: str) -> pl.DataFrame:
    """Returns a table as a frame: amounts as exact decimals, times in a zone.

    Args:
        table: the table.
        zone: the name of the time zone.
    """
    cells = list(zip(*table.rows, strict=True)) if table.rows else [()] * len(table.columns)
    return pl.DataFrame(
        [_series(name, kind, values, zone) for (name, kind), values in zip(table.columns.items(), cells, strict=True)]
    )


def _series(name: str, kind: Kind, values: Sequence[Any], zone: str) -> pl.Series:
    if kind == "time":
        series = pl.Series(name, values, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC"))
        return series.dt.convert_time_zone(zone)
    if kind == "amount":
        exact = [None if value is None else Decimal(value).scaleb(-_DIGITS) for value in values]
        return pl.Series(name, exact, dtype=pl.Decimal(_PRECISION, _DIGITS))
    return pl.Series(name, values, dtype=pl.String if kind == "text" else pl.Int64)
