"""What a person may say about a table that does not say it itself, and what is said back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gearing.errors import InputError
from gearing.market.reading.names import Role

Columns = Mapping[str, str] | Sequence[str]
VolumeUnit = Literal["base", "quote"]
FundingUnit = Literal["fraction", "percent", "bp", "annual", "absolute"]

FUNDING_UNITS = ("fraction", "percent", "bp", "annual", "absolute")
VOLUME_UNITS = ("base", "quote")
EPOCHS = ("s", "ms", "us", "ns")
EXCEL = "excel"

# Where the name of a kind of column is that of another column in some venue's table.
_AS_COLUMN = {"contracts": "volume_contracts", "adjusted": "adj_close", "settled_at": "next_funding_time"}
_IGNORED = ("", "_", "-")


@dataclass(frozen=True)
class ReadOptions:
    """How a table is to be read, as far as a person says so.

    Args:
        time_format: "s", "ms", "us" or "ns" of integers; "excel" of days since 1900; "day-first" or
            "month-first" of dates; or a strptime
            format such as "%m/%d/%y".
        columns: names for the columns in their order ("_": left out), or canonical name -> the table's own.
        decimal: "." or ",".
        volume_unit: "base" or "quote"; or how many units of the underlying a contract is.
        funding_unit: "fraction" of the notional per settlement, "percent" or "bp" of it, "annual" (a fraction
            per year), or "absolute" (quote currency per unit of the underlying; a column of mark prices is needed).
        adjusted: whether adjusted closes are taken where both stand there.

    Raises:
        InputError: one is not any of these.
    """

    time_format: str | None = None
    columns: Columns | None = None
    decimal: str | None = None
    volume_unit: str | float | None = None
    funding_unit: str | None = None
    adjusted: bool = True

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise InputError(f"decimal is {self.decimal!r}.", fix='Write "." or ",".')
        if self.funding_unit not in (None, *FUNDING_UNITS):
            raise InputError(f"funding_unit is {self.funding_unit!r}.", fix=f"Write one of {', '.join(FUNDING_UNITS)}.")
        form = self.time_format
        if form is not None and form not in (*EPOCHS, EXCEL, "day-first", "month-first") and "%" not in form:
            fix = 'Write "day-first", "month-first", "s", "ms", "us", "ns", "excel" or a format such as "%m/%d/%y".'
            raise InputError(f"the time format {form!r} is not one.", fix=fix)
        if self.volume_unit is not None and self.volume_unit not in VOLUME_UNITS:
            self._check_size()
        for name in self._named():
            if name not in _IGNORED and name not in {role.value for role in Role}:
                known = ", ".join(role.value for role in Role)
                raise InputError(f"columns names {name!r}, which is not a kind of column.", fix=f"Use: {known}, or _.")

    def _check_size(self) -> None:
        try:
            size = float(self.volume_unit or 0)
        except ValueError:
            size = 0.0
        if not 0 < size < float("inf"):
            fix = "Write base, quote, or the size of a contract in units of the underlying, such as 0.01."
            raise InputError(f"volume_unit is {self.volume_unit!r}.", fix=fix)

    def _named(self) -> Sequence[str]:
        return () if self.columns is None else list(self.columns)

    def positions(self) -> list[str] | None:
        """Returns the names given for the columns in their order, or None."""
        if self.columns is None or isinstance(self.columns, Mapping):
            return None
        return [f"_{k}" if name in _IGNORED else _AS_COLUMN.get(name, name) for k, name in enumerate(self.columns)]

    def renamed(self) -> Mapping[str, str]:
        """Returns the canonical names given for columns of other names."""
        given = self.columns if isinstance(self.columns, Mapping) else {}
        return {_AS_COLUMN.get(name, name): own for name, own in given.items()}


@dataclass
class Notes:
    """What was done beyond plain reading, each a sentence with the place it is about.

    Args:
        where: the file or table.
        said: the sentences.
        present: all columns of the table; of a data frame, only those that may matter are converted.
        ragged: of a text table, finds what the reader of CSV means by a reason, and its mend.
    """

    where: str
    said: list[str] = field(default_factory=list)
    ragged: Callable[[str], tuple[str, str] | None] | None = None
    present: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Adds a sentence once."""
        if (line := f"{self.where}: {sentence}") not in self.said:
            self.said.append(line)
