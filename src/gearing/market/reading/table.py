"""One table of any source with known columns, of one instrument, in order of time."""

from __future__ import annotations

import difflib
import gzip
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gearing import files
from gearing.errors import DataError
from gearing.market.reading.frames import read_frame
from gearing.market.reading.json import read_json_table
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
from gearing.market.reading.numbers import MISSING, Number, numbers
from gearing.market.reading.options import Notes, ReadOptions
from gearing.market.reading.stamps import order, stamps_ms
from gearing.market.reading.text import UNNAMED, read_text_table
from gearing.market.times import iso

Times = npt.NDArray[np.int64]

_ENDINGS = {
    ".parquet": "Parquet", ".pq": "Parquet", ".feather": "Feather", ".arrow": "Feather", ".ipc": "Feather",
    ".csv": "CSV", ".tsv": "CSV", ".txt": "CSV", ".json": "JSON", ".jsonl": "JSON", ".ndjson": "JSON",
}  # fmt: skip
_MAGIC = {
    b"PAR1": "Parquet",
    b"ARROW1": "Feather",
    b"FEA1": "an old Feather (version 1)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF",
    b"\x80\x04\x95": "a pickle, which is never read",
    b"\x80\x05\x95": "a pickle, which is never read",
    b"BZh": "a bz2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"SQLite format 3": "a SQLite database",
}
_READ = "Give a CSV, JSON, Parquet or Feather file, or one of these in a zip or gz."
_UNPACKED_MAX = 4 << 30


@dataclass(frozen=True)
class RawTable:
    """A table under its own names.

    Args:
        frame: the table.
        names: its columns.
        notes: what was done to read it.
        file: the name of its file, or "".
    """

    frame: pl.LazyFrame
    names: list[str]
    notes: Notes
    file: str

    @property
    def where(self) -> str:
        """The place to blame."""
        return self.notes.where


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


def open_table(source: Any, options: ReadOptions) -> RawTable:
    """Returns a file or data frame under its own names.

    Args:
        source: a path, or any data frame that narwhals takes.
        options: a person's word on it.

    Raises:
        DataError: it cannot be read, or is no table.
    """
    is_file = isinstance(source, (str, os.PathLike))
    notes = Notes(Path(source).name if is_file else "the table")
    frame = _scan(Path(source), options, notes) if is_file else read_frame(source, options, notes)
    try:
        names = frame.collect_schema().names()
        if options.positions() is not None and not is_file:
            frame = _by_position(frame, names, options, notes)
        missing = [own for own in options.renamed().values() if own not in names]
        if missing:
            there = ", ".join(names[:30])
            raise DataError(f"there is no column {missing[0]!r}; the columns are: {there}.", where=notes.where,
                            fix="Name one of these in columns.")  # fmt: skip
        frame = _by_name(frame, names, options)
        return RawTable(frame, frame.collect_schema().names(), notes, Path(source).name if is_file else "")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(error, notes) from error


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
        raise _unreadable(error, raw.notes) from error


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
        raise _unreadable(error, raw.notes) from error
    return sorted(_instruments(raw.names)) or None if _is_wide(roles, kind) else None


def names_symbols(source: Any) -> bool:
    """Returns whether a file or data frame says whose rows it holds."""
    return any(symbols_in(source, kind) is not None for kind in (TableKind.PRICES, TableKind.FUNDING))


def _known(raw: RawTable, kind: TableKind, symbol: str | None, options: ReadOptions, *, ends: bool) -> Table:
    roles = resolve(raw.names, kind, ends=ends)
    time, clock = _times(raw, roles, kind)
    required, shown = REQUIRED[kind]
    if _is_wide(roles, kind):
        return _wide(raw, kind, symbol, options, time, clock)
    if (
        required not in roles
        and not (required is Role.CLOSE and Role.ADJUSTED in roles)
        and not _is_freqtrade(kind, roles)
    ):
        raise _missing(shown, SHOWN[required], raw)
    wanted = [time, *([clock] if clock else []), *(c for r, c in roles.items() if r not in (Role.TIME, Role.CLOCK))]
    frame = raw.frame.select(pl.col(name) for name in dict.fromkeys(wanted))
    rows, chosen = _of_symbol(frame, roles.get(Role.SYMBOL), time, symbol, raw)
    kept = _without_empty(rows, time, raw, [c for r, c in roles.items() if r in _VALUED and c in rows.columns])
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
    times, columns, extra = _without_copies(times, columns, extra, notes)
    only_ends = fold(time) in NAMES[TableKind.PRICES][Role.CLOSE_TIME]
    return Table(times, columns, dict(roles), symbol, notes, extra.get(Role.CLOSE_TIME), only_ends,
                 extra.get(Role.SETTLED_AT))  # fmt: skip


def _without_copies(
    times: Times, columns: dict[Role, Number], extra: dict[Role, Times], notes: Notes
) -> tuple[Times, dict[Role, Number], dict[Role, Times]]:
    """The rows without those that say the same as the row above, value by value."""
    steps = np.diff(times)
    if not len(steps) or bool((steps > 0).all()):
        return times, columns, extra
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

            head = raw.frame.select(pl.col(clocks[0])).head(1_000).collect().to_series()
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
    return values is not None and bool((np.abs(np.diff(values)) == 1).all()) and not 19_700_101 <= values[0] < 21_010_101


def _are_full_minutes(raw: RawTable, name: str) -> bool:
    """Whether a column of ids holds the seconds at which bars begin, as at HTX."""
    values = _integers_of(raw, name)
    return values is not None and bool((values % 60 == 0).all() and (values > 100_000_000).all())


def _is_freqtrade(kind: TableKind, roles: dict[Role, str]) -> bool:
    """Whether funding stands in the column `open` of bars, as freqtrade keeps it."""
    return kind is TableKind.FUNDING and all(r in roles for r in (Role.OPEN, Role.HIGH, Role.LOW, Role.CLOSE))


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
    if not instruments:
        raise _missing(shown, SHOWN[required], raw)
    if symbol is None and len(instruments) > 1:
        raise _unclear(instruments, None, raw.where)
    chosen = instruments[0] if symbol is None else symbol
    if chosen not in instruments and (chosen not in raw.names or is_time(chosen)):
        raise _unclear(instruments, symbol, raw.where)
    rows = raw.frame.select(pl.col(name) for name in dict.fromkeys([time, *([clock] if clock else []), chosen]))
    held = _without_empty(rows.collect(), time, raw, [chosen])
    empty = held.select(_is_empty(held, chosen)).to_series()
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


def _without_empty(rows: pl.DataFrame, time: str, raw: RawTable, valued: Sequence[str]) -> pl.DataFrame:
    """The rows without blank lines, repeated headers, lines below the table, and rows that hold nothing but a time."""
    if rows[time].dtype == pl.String:
        again = (rows[time].str.strip_chars() == time).fill_null(False)
        if again.any():
            row = int(again.arg_max() or 0)
            count = int(again.sum())
            where = f"row {row + 1}" if count == 1 else f"row {row + 1} and {count - 1} more"
            raw.notes.add(f"the header is repeated in {where}, and skipped")
            rows = rows.filter(~again)
        if rows[time].null_count() and rows.width > 1:
            rows = rows.filter(~pl.all_horizontal(pl.all().is_null()))
        rows = _without_footer(rows, time, raw, valued)
    if len(valued) < 2 or not len(rows):
        return rows
    if not rows.select(_is_empty(rows, valued[0]).any()).item():
        return rows
    empty = rows.select(pl.all_horizontal(_is_empty(rows, name) for name in valued)).to_series()
    count = int(empty.sum())
    if not count or count == len(rows):
        return rows
    row = int(empty.arg_max() or 0)
    raw.notes.add(f"{count:,} row{'s' if count > 1 else ''} without any value, the first row {row + 1}, left out")
    return rows.filter(~empty)


_FOOTER_LINES = 5


def _without_footer(rows: pl.DataFrame, time: str, raw: RawTable, valued: Sequence[str]) -> pl.DataFrame:
    """The rows without what stands below them, such as a line on where they come from."""
    last = rows.tail(_FOOTER_LINES)
    if not len(last) or not valued:
        return rows
    words = last.select(
        pl.all_horizontal(_is_empty(last, name) for name in valued)
        & pl.col(time).str.contains(r"[A-Za-z]{3}").fill_null(False)
        & ~pl.col(time).str.contains(r"^\W*(\d|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))").fill_null(True)
    ).to_series()
    count = 0
    while count < len(words) and words[len(words) - 1 - count]:
        count += 1
    if not count or count == len(rows):
        return rows
    shown = str(last[time][len(last) - count]).strip()[:40]
    raw.notes.add(f"{'a line' if count == 1 else f'{count} lines'} below the table skipped ({shown!r})")
    return rows.head(len(rows) - count)


_NOTHING = sorted({" ", "NaN", *MISSING, *(m.upper() for m in MISSING), *(m.capitalize() for m in MISSING)})


def _is_empty(rows: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    kind = rows.schema[name]
    if kind == pl.String:
        return column.is_null() | column.is_in(_NOTHING)
    return column.is_null() | column.is_nan() if kind.is_float() else column.is_null()


def _by_position(frame: pl.LazyFrame, names: list[str], options: ReadOptions, notes: Notes) -> pl.LazyFrame:
    given = options.positions() or []
    if len(given) != len(names):
        what = f"columns names {len(given)} columns, but there are {len(names)}."
        raise DataError(what, where=notes.where, fix="Name each of them; _ leaves one out.")
    return frame.rename(dict(zip(names, given, strict=True)))


def _by_name(frame: pl.LazyFrame, names: list[str], options: ReadOptions) -> pl.LazyFrame:
    """The frame with the columns that a person named under those names, and without others for the same."""
    renamed = options.renamed()
    others = {alias for name in renamed for aliases in _aliases_of(name) for alias in aliases}
    rest = [name for name in names if name not in renamed.values() and (fold(name) in others or name in renamed)]
    return frame.drop(rest).rename({own: name for name, own in renamed.items()})


def _aliases_of(name: str) -> list[tuple[str, ...]]:
    found = [aliases for roles in NAMES.values() for aliases in roles.values() if fold(name) in aliases]
    return found[:1]


def _scan(path: Path, options: ReadOptions, notes: Notes) -> pl.LazyFrame:
    files.readable(path, DataError)
    with path.open("rb") as file:
        head = file.read(65_536)
    data: Path | bytes = path
    ending = path.suffix.lower()
    if head.startswith(b"\x1f\x8b"):
        data, ending = _gunzipped(path, notes.where), Path(path.stem).suffix.lower()
        ending = "" if ending not in _ENDINGS else ending
    elif head.startswith(b"PK\x03\x04"):
        data, inner = _unzipped(path, notes)
        ending = Path(inner).suffix.lower()
        if inner.lower().endswith(".gz"):
            data, ending = _gunzipped(data, notes.where), Path(Path(inner).stem).suffix.lower()
    if isinstance(data, bytes):
        head = data[:65_536]
    held = _held(head)
    claimed = _ENDINGS.get(ending, held)
    if held not in _ENDINGS.values() or (held != claimed and {held, claimed} != {"CSV", "JSON"}):
        claim = f"the ending {ending!r} says {claimed}, but " if claimed != held else ""
        raise DataError(f"{claim}the file holds {held}.", where=notes.where, fix=_READ)
    if held == "Parquet":
        return pl.scan_parquet(data, glob=False)
    if held == "Feather":
        return pl.scan_ipc(data) if isinstance(data, Path) else pl.read_ipc(data).lazy()
    if held == "JSON":
        raw = data.read_bytes() if isinstance(data, Path) else data
        return read_json_table(raw.removeprefix(b"\xef\xbb\xbf"), options, notes).lazy()
    return read_text_table(data, head, options, notes)


def _gunzipped(packed: Path | bytes, where: str) -> bytes:
    try:
        data = packed.read_bytes() if isinstance(packed, Path) else packed
        return gzip.decompress(data)
    except (OSError, EOFError, ValueError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError("the gzip file is damaged.", where=where, fix="Write it again.") from error


def _unzipped(path: Path, notes: Notes) -> tuple[bytes, str]:
    """The one file inside a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            inner = [i for i in archive.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX")]
            if len(inner) != 1:
                listed = ", ".join(one.filename for one in inner[:8]) or "nothing"
                if any(one.filename.startswith("xl/") for one in inner):
                    raise DataError("the file holds an Excel workbook.", where=notes.where, fix="Save it as CSV.")
                raise DataError(f"the zip archive holds {len(inner)} files: {listed}.", where=notes.where,
                                fix="Unpack the one that is meant.")  # fmt: skip
            if inner[0].file_size > _UNPACKED_MAX:
                raise DataError("the file in the zip archive is larger than 4 GiB.", where=notes.where,
                                fix="Unpack it first.")  # fmt: skip
            return archive.read(inner[0]), inner[0].filename
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise DataError("the zip archive is damaged or encrypted.", where=notes.where, fix="Write it again.") from error


def _held(head: bytes) -> str:
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    sample = head[:4_000]
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        len(sample) > 8 and any(sample[k::2].count(0) > 0.9 * len(sample[k::2]) for k in (0, 1))
    )
    if not utf16 and (b"\0" in head or _is_binary(head)):
        return "bytes that are no table"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"[", b"{"):
        return "JSON"
    if text[:1] == b"<" and text[:200].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page"
    return "CSV"


def _is_binary(head: bytes) -> bool:
    """Whether bytes are neither UTF-8 nor a text of Windows with few letters beyond ASCII."""
    if len(head.decode("utf-8", errors="ignore").encode()) >= len(head) - 3:
        return False
    controls = sum(byte < 32 and byte not in (9, 10, 13) for byte in head)
    return controls > 0 or sum(byte > 127 for byte in head) > len(head) // 10


def _missing(name: str, aliases: Sequence[str], raw: RawTable) -> DataError:
    there = ", ".join(name or "(without a name)" for name in (raw.notes.present or raw.names)[:30]) or "none"
    more = " docs/reference/files.md has all names." if len(aliases) < 20 else ""
    return DataError(
        f"there is no column {name!r}; the columns are: {there}.",
        where=raw.where,
        fix=f"Name it one of: {', '.join(aliases)}; or say which it is with --columns.{more}",
    )


def _unreadable(error: BaseException, notes: Notes) -> DataError:
    reason = str(error).strip().split("\n")[0].rstrip(".")
    if notes.ragged is not None and ("extra" in reason or "more fields" in reason):
        fix = "Write a name above each column, or mend this line."
        return DataError(f"{notes.ragged()}.", where=notes.where, fix=fix)
    return DataError(f"the table cannot be read: {reason}.", where=notes.where, fix="It may be damaged; write it again.")


def _unclear(symbols: Sequence[str], symbol: str | None, where: str) -> DataError:
    known = sorted(symbols)
    shown = ", ".join(name or "rows without one" for name in known[:20]) + (", …" if len(known) > 20 else "")
    if symbol is None:
        return DataError(f"it holds {len(known)} symbols: {shown}.", where=where, fix="Choose one with symbol.")
    near = difflib.get_close_matches(symbol.upper(), known, n=3, cutoff=0.5)
    near = near or [name for name in known if symbol.upper() in name.upper()][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"It holds: {shown or 'none'}."
    return DataError(f"there is no symbol {symbol!r}.", where=where, fix=hint)
