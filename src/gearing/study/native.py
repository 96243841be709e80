"""Frames in the library that a person uses: who gives pandas gets pandas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import narwhals as nw
import polars as pl

Library = Literal["polars", "pandas"]


def library_of(*given: Any) -> Library:
    """Returns "pandas" where one of the series given is a frame or Series of pandas, alone or in a dictionary."""
    for source in given:
        parts = source.values() if isinstance(source, Mapping) else (source,)
        if any(nw.dependencies.is_pandas_dataframe(part) or nw.dependencies.is_pandas_series(part) for part in parts):
            return "pandas"
    return "polars"


def native(frame: pl.DataFrame, library: Library) -> Any:
    """Returns a frame in a library; times of pandas have the zone UTC."""
    return frame.to_pandas() if library == "pandas" else frame
