"""One table of any source with known columns, of one instrument, in order of time."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gearing.errors import DataError
from gearing.market.reading.names import (
    NAMES,
    REQUIRED,
    SHOWN,
    SYMBOLS,
    Role,
    TableKind,
    fold,
    is_instrument,
    is_time,
    resolve,
)
from gearing.market.reading.numbers import Number, numbers
from gearing.market.reading.opening import RawTable, open_table, unreadable
from gearing.market.reading.options import Notes, ReadOptions
from gearing.market.reading.rows import is_empty, without_copies, without_empty
from gearing.market.reading.stamps import order, stamps_ms
from gearing.market.reading.text import UNNAMED

Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """The known columns of one instrument, in order of time.

    Args:
        times_ms: its stamps, ms UTC, shape (n,).
        columns: the numbers of each role that it has.
        names: what each role's column is called in the table.
        symbol: whose rows; "" if it does not say.
        notes: what was done to read it.
        closes: the stamps of the bars' ends, where it has them beside those of their beginnings.
        only_ends: whether its stamps are those of the bars' ends.
        dated: whether its stamps are days.
    """

    times_ms: npt.NDArray[np.int64]
    columns: dict[Role, Number]
    names: dict[Role, str]
    symbol: str
    notes: Notes
    closes: npt.NDArray[np.int64] | None = None
    only_ends: bool = False
    settled_at: npt.NDArray[np.int64] | None = None

    @property
    def where(self) -> str:
        """The place to blame."""
        return self.notes.where

    def values(self, role: Role) -> npt.NDArray[np.float64] | None:
        """Returns the numbers of a role, or None."""
        return self.columns[role].values if role in self.columns else None


def read_table(
    source: Any, kind: TableKind, symbol: str | None, options: ReadOptions, *, ends: bool = False
) -> Table:  # fmt: skip
    """Returns the known columns of a file or a data frame, of one instrument, in order of time.

    Args:
        source: a path, or any data frame that narwhals takes.
        kind: what it is read as.
        symbol: whose rows; needed if the table holds several.
        options: a person's word on it.
        ends: whether its times are those of the bars' ends.

    Raises:
        DataError: it cannot be read, a column is missing, or the instrument is unclear or not there.
    """
    raw = open_table(source, options)
    try:
        return _known(raw, kind, symbol, options, ends=ends)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise unreadable(error, raw.notes) from error


def kind_of(source: Any, options: ReadOptions | None = None) -> TableKind:
    """Returns whether a file or data frame holds prices or funding rates, by the names of its columns.

    Raises:
        DataError: it cannot be read, or has neither.
    """
    raw = open_table(source, options or ReadOptions())
    if "funding_rate" in raw.file.lower() or "fundingrate" in fold(raw.file):
        return TableKind.FUNDING
    prices, funding = resolve(raw.names, TableKind.PRICES), resolve(raw.names, TableKind.FUNDING)
    bars = all(role in prices for role in (Role.OPEN, Role.HIGH, Role.LOW, Role.CLOSE))
    if Role.RATE in funding and fold(funding[Role.RATE]) not in ("rate", "r", "fr") and not bars:
        return TableKind.FUNDING
    if Role.CLOSE in prices or Role.ADJUSTED in prices:
        return TableKind.PRICES
    if Role.RATE in funding:
        return TableKind.FUNDING
    if _instruments(raw.names):
        return TableKind.PRICES
    shown = (*SHOWN[Role.CLOSE], *SHOWN[Role.RATE])
    raise _missing("close", shown, raw)


def symbols_in(source: Any, kind: TableKind, options: ReadOptions | None = None) -> list[str] | None:
    """Returns whose rows a file or data frame holds, sorted; None if it does not say.

    Raises:
        DataError: it cannot be read.
    """
    raw = open_table(source, options or ReadOptions())
    roles = resolve(raw.names, kind)
    try:
        if Role.SYMBOL in roles:
            column = pl.col(roles[Role.SYMBOL]).cast(pl.String).str.strip_chars().fill_null("")
            found = raw.frame.select(column.unique()).collect().to_series().to_list()
            return sorted(name for name in found if fold(name) not in SYMBOLS or not name)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise unreadable(error, raw.notes) from error
    return sorted(_instruments(raw.names)) or None if _is_wide(roles, kind) else None


def names_symbols(source: Any) -> bool:
    """Returns whether a file or data frame says whose rows it holds."""
    return any(symbols_in(source, kind) is not None for kind in (TableKind.PRICES, TableKind.FUNDING))


def _known(raw: RawTable, kind: TableKind, symbol: str | None, options: ReadOptions, *, ends: bool) -> Table:
    roles = resolve(raw.names, kind, ends=ends)
    folded = {fold(name) for name in raw.names}
    if kind is TableKind.PRICES and {"nav", "equity", "price"} <= folded and not options.renamed():
        raise DataError(
            "it holds NAVs beside the prices of what they were held in, both at the moment each was known.",
            where=raw.where,
            fix='Say which: --columns time=time,close=nav or close=price, with --stamp close (stamp="close").',
        )
    time, clock = _times(raw, roles, kind)
    required, shown = REQUIRED[kind]
    if _is_wide(roles, kind):
        return _wide(raw, kind, symbol, options, time, clock)
    if (
        required not in roles
        and not (required is Role.CLOSE and Role.ADJUSTED in roles)
        and not _is_freqtrade(kind, roles)
    ):
        raise _missing(shown, _shown(kind), raw)
    wanted = [time, *([clock] if clock else []), *(c for r, c in roles.items() if r not in (Role.TIME, Role.CLOCK))]
    _check_twins(raw, roles)
    frame = raw.frame.select(pl.col(name) for name in dict.fromkeys(wanted))
    if raw.notes.ragged is not None and len(frame.collect_schema()) > 1:
        # Of text, lines without anything; those of a data frame are faults.
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    rows, chosen = _of_symbol(frame, roles.get(Role.SYMBOL), time, symbol, raw)
    kept = without_empty(rows, time, raw.notes, [c for r, c in roles.items() if r in _VALUED and c in rows.columns])
    return _in_order(kept, roles, time, clock, chosen, options, raw)


def _in_order(
    rows: pl.DataFrame, roles: dict[Role, str], time: str, clock: str | None, symbol: str, options: ReadOptions,
    raw: RawTable,
) -> Table:  # fmt: skip
    """The rows as a table, oldest first."""
    notes = raw.notes
    name = "time" if fold(time) in UNNAMED else time
    times = stamps_ms(rows[time], None if clock is None else rows[clock], options.time_format, notes, name)
    valued = {r: c for r, c in roles.items() if r in _VALUED and c in rows.columns}
    read = numbers({c: rows[c] for c in valued.values()}, options.decimal, notes)
    columns = {r: read[c] for r, c in valued.items() if c in read}
    extra = {}
    for role in (Role.CLOSE_TIME, Role.SETTLED_AT):
        column = roles.get(role)
        if column is not None and column in rows.columns and column != time and not rows[column].null_count():
            extra[role] = stamps_ms(rows[column], None, options.time_format, Notes(notes.where), column)
    reversed_ = order(times)
    if reversed_ is not None:
        notes.add("rows that stand newest first are reversed")
        times = np.ascontiguousarray(times[reversed_])
        extra = {role: values[reversed_] for role, values in extra.items()}
        columns = {r: n._replace(values=np.ascontiguousarray(n.values[reversed_])) for r, n in columns.items()}
    times, columns, extra = without_copies(times, columns, extra, notes)
    only_ends = fold(time) in NAMES[TableKind.PRICES][Role.CLOSE_TIME]
    return Table(times, columns, dict(roles), symbol, notes, extra.get(Role.CLOSE_TIME), only_ends,
                 extra.get(Role.SETTLED_AT))  # fmt: skip


_VALUED = frozenset(Role) - {Role.TIME, Role.CLOCK, Role.CLOSE_TIME, Role.SYMBOL, Role.SETTLED_AT}


def _times(raw: RawTable, roles: dict[Role, str], kind: TableKind) -> tuple[str, str | None]:
    """The column of times, and that of the time of day where it stands apart.

    Raises:
        DataError: there is none.
    """
    if Role.TIME in roles:
        time = roles[Role.TIME]
        dates = [name for name in raw.names if fold(name) in ("date", "day", "tradedate", "tradingday", "yyyymmdd")]
        clocks = [name for name in raw.names if fold(name) in NAMES[kind][Role.CLOCK]]
        if dates and clocks and time in (*dates, *clocks):
            from gearing.market.reading.dates import is_clock

            head = raw.frame.select(pl.col(clocks[0])).head(1_000).collect().to_series().drop_nulls()
            if len(head) and is_clock(head):
                return dates[0], clocks[0]
        return time, None
    ends = [name for name in raw.names if kind is TableKind.PRICES and fold(name) in NAMES[kind][Role.CLOSE_TIME]]
    if ends:
        raw.notes.add(f"the times are the bars' ends ({ends[0]})")
        return ends[0], None
    ids = next((name for name in raw.names if fold(name) == "id"), None)
    if ids is not None and Role.OPEN in roles and _are_full_minutes(raw, ids):
        raw.notes.add(f"the times are those of the column {ids}")
        return ids, None
    first = raw.names[0] if raw.names else ""
    if len(raw.names) > 1 and fold(first) in UNNAMED and not _counts_rows(raw, first):
        raw.notes.add("the first column, which has no name, is read as the times")
        return first, None
    raise _missing("timestamp", SHOWN[Role.TIME], raw)


def _integers_of(raw: RawTable, name: str) -> npt.NDArray[np.int64] | None:
    """The first integers of a column; None if it holds others."""
    head = raw.frame.select(pl.col(name)).head(1_000).collect().to_series()
    whole = head.cast(pl.Int64, strict=False) if head.dtype == pl.String or head.dtype.is_numeric() else None
    if whole is None or whole.null_count() or len(whole) < 2:
        return None
    values: npt.NDArray[np.int64] = whole.to_numpy()
    return values


def _counts_rows(raw: RawTable, name: str) -> bool:
    """Whether a column without a name counts the rows, whatever it begins with."""
    values = _integers_of(raw, name)
    if values is None or 19_700_101 <= values[0] < 21_010_101:
        return False
    return bool((np.abs(np.diff(values)) == 1).all())


def _are_full_minutes(raw: RawTable, name: str) -> bool:
    """Whether a column of ids holds the seconds at which bars begin, as at HTX."""
    values = _integers_of(raw, name)
    return values is not None and bool((values % 60 == 0).all() and (values > 100_000_000).all())


def _is_freqtrade(kind: TableKind, roles: dict[Role, str]) -> bool:
    """Whether funding stands in the column `open` of bars, as freqtrade keeps it."""
    return kind is TableKind.FUNDING and all(r in roles for r in (Role.OPEN, Role.HIGH, Role.LOW, Role.CLOSE))


def _shown(kind: TableKind) -> Sequence[str]:
    """A few names of what a table is read for."""
    return ("rate", "yield", "value") if kind is TableKind.RATES else SHOWN[REQUIRED[kind][0]]


def _check_twins(raw: RawTable, roles: dict[Role, str]) -> None:
    """Sees that no two columns of different values have one name.

    Raises:
        DataError: two have.
    """
    for own in roles.values():
        alike = re.compile(rf"{re.escape(own)}[._]\d+")
        for other in raw.names:
            twin = other != own and len(other) > 1 and (fold(other) == fold(own) or alike.fullmatch(other))
            if not twin or other in roles.values():
                continue
            same = (pl.col(own).cast(pl.String) == pl.col(other).cast(pl.String)).all()
            if not raw.frame.select(same).collect().item():
                raise DataError(
                    f"the columns {own!r} and {other!r} have one name and different values.",
                    where=raw.where,
                    fix="Say which is meant with --columns, or leave one out.",
                )


def _is_wide(roles: dict[Role, str], kind: TableKind) -> bool:
    """Whether no column says what the numbers are, so that each is an instrument's."""
    if kind not in (TableKind.PRICES, TableKind.RATES) or REQUIRED[kind][0] in roles:
        return False
    return Role.ADJUSTED not in roles and Role.OPEN not in roles and Role.SYMBOL not in roles


def _instruments(names: Sequence[str]) -> list[str]:
    """The columns that are instruments, of a table with a column for each."""
    return [name for name in names if is_instrument(name) and not is_time(name)]


def _wide(
    raw: RawTable, kind: TableKind, symbol: str | None, options: ReadOptions, time: str, clock: str | None
) -> Table:  # fmt: skip
    """A table with a column for each instrument."""
    instruments = [name for name in _instruments(raw.names) if name not in (time, clock)]
    required, shown = REQUIRED[kind]
    if symbol is not None and symbol in raw.names and not is_time(symbol):
        instruments = [symbol, *instruments]
    if not instruments:
        raise _missing(shown, _shown(kind), raw)
    if symbol is None and len(instruments) > 1:
        raise _unclear(instruments, None, raw.where)
    chosen = instruments[0] if symbol is None else symbol
    if chosen not in instruments:
        raise _unclear(instruments, symbol, raw.where)
    rows = raw.frame.select(pl.col(name) for name in dict.fromkeys([time, *([clock] if clock else []), chosen]))
    held = without_empty(rows.collect(), time, raw.notes, [chosen])
    empty = held.select(is_empty(held, chosen)).to_series()
    raw.notes.add(f"column {chosen!r} is read as the {'closes' if kind is TableKind.PRICES else 'rates'} of {chosen}")
    if empty.any():
        raw.notes.add(f"{int(empty.sum()):,} rows without a value for {chosen} are left out")
        held = held.filter(~empty)
    return _in_order(held, {required: chosen, Role.TIME: time}, time, clock, chosen, options, raw)


def _of_symbol(
    frame: pl.LazyFrame, column: str | None, time: str, symbol: str | None, raw: RawTable
) -> tuple[pl.DataFrame, str]:  # fmt: skip
    """The rows of one instrument, and its name.

    Raises:
        DataError: there are several, or the one asked for is not there.
    """
    if column is None:
        return frame.collect(), symbol or ""
    frame = frame.with_columns(pl.col(column).cast(pl.String).str.strip_chars().fill_null(""))
    if frame.collect_schema()[time] == pl.String:
        # A header that stands in the middle again is no instrument.
        frame = frame.filter(pl.col(time).is_null() | (pl.col(time).str.strip_chars() != time))
    rows = (frame if symbol is None else frame.filter(pl.col(column) == symbol)).collect()
    # No row at all is a fault of the series, unless the symbol asked for is what left none.
    chosen: str = rows[column][0] if len(rows) else ""
    if bool((rows[column] != chosen).any()) or (symbol is not None and not len(rows)):
        raise _unclear(frame.select(pl.col(column).unique()).collect()[column].to_list(), symbol, raw.where)
    return rows, chosen


def _missing(name: str, aliases: Sequence[str], raw: RawTable) -> DataError:
    there = ", ".join(name or "(without a name)" for name in (raw.notes.present or raw.names)[:30]) or "none"
    more = " docs/reference/files.md has all names." if len(aliases) < 20 else ""
    return DataError(
        f"there is no column {name!r}; the columns are: {there}.",
        where=raw.where,
        fix=f"Name it one of: {', '.join(aliases)}; or say which it is with --columns.{more}",
    )


def _unclear(symbols: Sequence[str], symbol: str | None, where: str) -> DataError:
    known = sorted(symbols)
    shown = ", ".join(name or "rows without one" for name in known[:20]) + (", …" if len(known) > 20 else "")
    if symbol is None:
        return DataError(
            f"it holds {len(known)} symbols: {shown}.", where=where, fix="Choose one with --symbol (symbol= in Python)."
        )
    near = difflib.get_close_matches(symbol.upper(), known, n=3, cutoff=0.5)
    near = near or [name for name in known if symbol.upper() in name.upper()][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"It holds: {shown or 'none'}."
    return DataError(f"there is no symbol {symbol!r}.", where=where, fix=hint)
