"""The file that a download fills: read to go on from, replaced whole, verified at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from gearing import files
from gearing.errors import DataError, FetchError
from gearing.market.series import Funding, Gap, Prices
from gearing.market.times import duration_text
from gearing.market.write import kind_of_table, write_frame
from gearing.outputs import Output, check_outputs

Kind = Literal["prices", "funding"]

_COLUMNS = {
    "prices": ("timestamp", "open", "high", "low", "close", "volume", "symbol"),
    "funding": ("timestamp", "funding_rate", "symbol"),
}


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a download left in its file.

    Args:
        path: the file.
        kind: "prices" or "funding".
        symbol: the exchange's own name of the market, as in the file.
        rows: rows now in the file.
        added: rows of this download.
        start: first stamp, ISO text; of bars, their open.
        end: last stamp.
        gaps: stretches in which rows are missing.
    """

    path: Path
    kind: Kind
    symbol: str
    rows: int
    added: int
    start: str
    end: str
    gaps: tuple[Gap, ...]


class FetchFile:
    """The rows of one market, in memory and in their file."""

    def __init__(self, path: Path, kind: Kind, symbol: str, step_ms: int) -> None:
        self.path, self.kind, self.symbol, self.step_ms = path, kind, symbol, step_ms
        # Before anything is downloaded.
        check_outputs([Output(option="", path=path, kind=kind_of_table(path))], hint="")
        names = _COLUMNS[kind]
        kinds = {"timestamp": pl.Datetime("ms", "UTC"), "symbol": pl.String()}
        self.schema: dict[str, pl.DataType] = {name: kinds.get(name, pl.Float64()) for name in names}
        self.saved = self._read() if path.exists() else pl.DataFrame(schema=self.schema)
        self.fresh: list[list[Any]] = []
        self.added = 0

    @property
    def rows(self) -> int:
        """Rows in the file and in memory."""
        return len(self.saved) + len(self.fresh)

    def _read(self) -> pl.DataFrame:
        where = str(self.path)
        fix = "Choose another file for this download."
        try:
            frame = pl.read_parquet(files.readable(self.path, DataError), glob=False)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise DataError("the file to continue is no Parquet file.", where=where, fix=fix) from error
        if tuple(frame.columns) != _COLUMNS[self.kind] or not len(frame):
            raise DataError(f"the file to continue does not hold {self.kind} of a download.", where=where, fix=fix)
        frame = frame.cast(self.schema)  # type: ignore[arg-type]
        held = frame["symbol"].unique().to_list()
        if held != [self.symbol]:
            raise DataError(f"the file to continue holds {', '.join(held)}, not {self.symbol}.", where=where, fix=fix)
        stamps = frame["timestamp"].to_physical().to_numpy()
        spacing = Funding(stamps, stamps * 0.0).spacing_ms
        if self.kind == "prices" and spacing not in (0, self.step_ms):
            held_text, step_text = duration_text(spacing), duration_text(self.step_ms)
            raise DataError(f"the file to continue holds bars of {held_text}, not {step_text}.", where=where, fix=fix)
        return frame

    def next_ms(self, since_ms: int) -> int:
        """Returns the first stamp still to be asked for."""
        if not len(self.saved):
            return since_ms
        last = int(self.saved["timestamp"].to_physical()[-1])
        return last + (self.step_ms if self.kind == "prices" else 1)

    def add(self, rows: list[list[Any]]) -> None:
        """Takes a page of rows [stamp, values...]."""
        self.fresh += [[*row, self.symbol] for row in rows]
        self.added += len(rows)

    def save(self) -> None:
        """Writes what is in memory to the file, wholly or not at all."""
        if not self.fresh:
            return
        stamps = pl.Series("timestamp", [int(row[0]) for row in self.fresh]).cast(self.schema["timestamp"])
        values = [
            pl.Series(name, [row[column] for row in self.fresh], dtype=self.schema[name], strict=False)
            for column, name in enumerate(_COLUMNS[self.kind])
            if column
        ]
        frame = pl.concat([self.saved, pl.DataFrame([stamps, *values])])
        write_frame(frame, self.path)
        self.saved, self.fresh = frame, []

    def verified(self, exchange_id: str, market: str) -> Fetched:
        """Returns what the file holds, once it has been checked like any series."""
        if not len(self.saved):
            raise FetchError(f"{exchange_id} has no {self.kind} of {market} in this period.", fix="Give another one.")
        stamps = self.saved["timestamp"].to_physical().to_numpy()
        columns: dict[str, Any] = {name: self.saved[name].to_numpy() for name in _COLUMNS[self.kind][1:-1]}
        series: Prices | Funding
        if self.kind == "prices":
            series = Prices(stamps, symbol=self.symbol, **columns)
        else:
            series = Funding(stamps // 1_000 * 1_000, columns["funding_rate"], symbol=self.symbol)
        return Fetched(
            path=self.path,
            kind=self.kind,
            symbol=self.symbol,
            rows=len(series),
            added=self.added,
            start=series.start,
            end=series.end,
            gaps=tuple(series.gaps()),
        )
