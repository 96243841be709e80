"""Text tables: encoding, separator, what stands above the header, and the header itself."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import NamedTuple

import polars as pl

from gearing.errors import DataError
from gearing.market.reading.layouts import named_columns
from gearing.market.reading.names import fold, is_field, is_instrument, is_known, is_time
from gearing.market.reading.options import Notes, ReadOptions

_SEPARATORS = (",", ";", "\t", "|")
_HEAD_LINES = 40
# Pandas writes an index without a name under one of these.
UNNAMED = ("", "unnamed0", "index")


class Head(NamedTuple):
    """Where a text table begins.

    Args:
        separator: between cells.
        skip: lines before the first row.
        names: of the columns, as the header writes them; None: it has none.
        levels: of a header of two rows, the instrument of each column; else empty.
    """

    separator: str
    skip: int
    names: list[str] | None
    levels: list[str]


def read_text_table(data: Path | bytes, head: bytes, options: ReadOptions, notes: Notes) -> pl.LazyFrame:
    """Returns a text table with its own names for its columns, all of them text.

    Args:
        data: the file, or its bytes once unpacked.
        head: its first bytes.
        options: a person's word on it.
        notes: what was done is added.

    Raises:
        DataError: it has no header and no known layout, or is no text.
    """
    encoding = _encoding(head, notes)
    if encoding not in ("utf-8", "utf-8-sig"):
        raw = data.read_bytes() if isinstance(data, Path) else data
        data = raw.decode(encoding, errors="replace").lstrip("\ufeff").encode()
        head, encoding = data[:65_536], "utf-8"
    lines = head.decode(encoding, errors="ignore").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    begins = find_head(lines[:-1] if len(lines) > _HEAD_LINES else lines, options, notes)
    found = begins.names if begins.names is not None else []
    while begins.skip < len(lines) - 1 and not lines[begins.skip].strip():
        begins = begins._replace(skip=begins.skip + 1)
    width = len(found) or _width(lines, begins)
    names = _distinct(found) if found else [f"column_{place}" for place in range(width)]
    if found and not found[-1] and _width(lines, begins) == width - 1:
        names = names[:-1]
    elif found:
        names += _beyond(lines, begins, len(found), notes)
    notes.ragged = lambda reason: _fault(data, begins, len(names), reason)
    source = data if isinstance(data, Path) else io.BytesIO(data)
    frame = pl.scan_csv(
        source,
        separator=begins.separator,
        has_header=False,
        skip_lines=begins.skip,
        schema=dict.fromkeys(names, pl.String),
        truncate_ragged_lines=False,
        glob=False,
    )
    if begins.names is None:
        rows = frame.filter(~pl.all_horizontal(pl.all().is_null())).collect()
        return named_columns(rows, options, notes).lazy()
    if begins.levels:
        notes.add("a header of two rows is joined")
        return _long(frame.collect(), found, begins.levels)
    return frame


def _encoding(head: bytes, notes: Notes) -> str:
    """How the text is encoded.

    Raises:
        DataError: it is no text.
    """
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        notes.add("the text is UTF-16")
        return "utf-16"
    sample = head[:4_000]
    for name, zeros, others in (("utf-16-le", sample[1::2], sample[::2]), ("utf-16-be", sample[::2], sample[1::2])):
        if len(zeros) > 4 and zeros.count(0) > 0.9 * len(zeros) and not others.count(0):
            notes.add("the text is UTF-16")
            return name
    if is_utf8(head):
        return "utf-8"
    notes.add("the text is not UTF-8; it is read as Windows-1252")
    return "cp1252"


def is_utf8(head: bytes) -> bool:
    """Returns whether the first bytes of a text are UTF-8; the last of them may cut a character in two."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def find_head(lines: list[str], options: ReadOptions, notes: Notes) -> Head:
    """Returns where a text table begins.

    Args:
        lines: its first lines.
        options: a person's word on it.
        notes: skipped lines are added.

    Raises:
        DataError: it has no header and its first line is no row.
    """
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    given = None
    if lines and lines[first].strip().lower().startswith("sep="):
        given, first = lines[first].strip()[4:5] or ",", first + 1
    separators = (given,) if given else _SEPARATORS
    levels = _levels_below(lines, first)
    if levels is not None:
        return levels
    for place in range(first, min(len(lines), first + _HEAD_LINES)):
        scores = [(_score(_cells(lines[place], separator), options), separator) for separator in separators]
        score, separator = max(scores, key=lambda scored: scored[0])
        if score:
            _note_skipped(lines, first, place, notes)
            return Head(separator, place + 1, _cells(lines[place], separator), [])
        if _looks_like_row(lines[place]):
            break
    return _without_header(lines, first, separators, options, notes)


def _without_header(
    lines: list[str], first: int, separators: tuple[str, ...], options: ReadOptions, notes: Notes
) -> Head:
    """A table whose first lines are not a header that is known."""
    while first < len(lines) - 1 and _is_comment(lines[first], separators) and not _looks_like_row(lines[first]):
        if _names_the_row_below(lines, first, separators):
            break
        first += 1
    separator = _row_separator(lines[first:], separators)
    cells = _cells(lines[first] if first < len(lines) else "", separator)
    if _looks_like_row(lines[first] if first < len(lines) else "", separator):
        _note_skipped(lines, 0, first, notes)
        return Head(separator, first, None, [])
    if options.positions() is not None and len(options.positions() or ()) == len(cells):
        notes.add("the names of the header are replaced by --columns")
        return Head(separator, first + 1, options.positions(), [])
    return Head(separator, first + 1, cells, [])


def _score(names: list[str], options: ReadOptions) -> int:
    """How much a line looks like a header: its known names, if one of them is a time."""
    if options.positions() is not None and not all(_is_number(name) for name in names):
        return 0
    renamed = set(options.renamed().values())
    timed = any(is_time(name) or (name in renamed) for name in names)
    # An index that pandas wrote has no name.
    timed = timed or (fold(names[0]) in UNNAMED and len(names) > 1)
    known = sum(is_known(name) or is_instrument(name) or name in renamed for name in names if not _is_cell(name))
    if not timed or not known:
        return 0
    return 2 * known + (len(names) > 1)


def _levels_below(lines: list[str], first: int) -> Head | None:
    """The header of yfinance: a row of fields, a row of tickers (in either order), and a row with the index alone."""
    for separator in (",", ";", "\t"):
        rows = [_cells(line, separator) for line in lines[first : first + 3]]
        if len(rows) < 3 or len(rows[0]) < 2 or len({len(row) for row in rows}) != 1:
            continue
        if not is_time(rows[2][0]) or any(rows[2][1:]):
            continue
        fields = next((k for k in (0, 1) if all(is_field(name) or _is_extra(name) for name in rows[k][1:])), None)
        if fields is None:
            continue
        return Head(separator, first + 3, [rows[2][0], *rows[fields][1:]], ["", *rows[1 - fields][1:]])
    return None


def _is_extra(name: str) -> bool:
    return fold(name) in ("dividends", "stocksplits", "capitalgains", "repaired")


def _long(frame: pl.DataFrame, names: list[str], levels: list[str]) -> pl.LazyFrame:
    """A table with a column for each field and instrument, one below the other by instrument."""
    return long_table(frame, frame.columns[0], names, levels, frame.columns).lazy()


def long_table(frame: pl.DataFrame, time: str, names: list[str], levels: list[str], columns: list[str]) -> pl.DataFrame:
    """Returns a table with a column for each field and instrument, one below the other by instrument.

    Args:
        frame: the table.
        time: its column of times.
        names: the field of each column; that of the times first.
        levels: the instrument of each column.
        columns: the columns' own names.
    """
    parts = []
    for instrument in dict.fromkeys(levels[1:]):
        own = [place for place in range(1, len(names)) if levels[place] == instrument]
        # A field without any value, of one that is not there, is left out with its rows.
        part = frame.select(
            pl.col(time).alias(names[0]), *(pl.col(columns[place]).alias(names[place]) for place in own)
        ).with_columns(pl.lit(instrument).alias("symbol"))
        held = pl.all_horizontal(pl.col(name).is_null() for name in dict.fromkeys(names[place] for place in own))
        parts.append(part.filter(~held))
    return pl.concat(parts, how="diagonal_relaxed")


def _note_skipped(lines: list[str], first: int, place: int, notes: Notes) -> None:
    skipped = [line for line in lines[first:place] if line.strip()]
    if skipped:
        count = "a line" if len(skipped) == 1 else f"{len(skipped)} lines"
        notes.add(
            f"{count} above the table {'is' if len(skipped) == 1 else 'are'} skipped ({skipped[0].strip()[:40]!r})"
        )


def _is_comment(line: str, separators: tuple[str, ...]) -> bool:
    """Whether a line is neither a row nor a header: blank, marked, a link, a title."""
    text = line.strip().strip('"')
    if not text or text.startswith(("#", "//", "http://", "https://", "%", "!")):
        return True
    return max(len(_cells(line, separator)) for separator in separators) <= 2 and not _looks_like_row(line)


def _names_the_row_below(lines: list[str], first: int, separators: tuple[str, ...]) -> bool:
    """Whether a line stands above the first row as its header does: as many names as that has values."""
    below = next((line for line in lines[first + 1 :] if line.strip()), "")
    if not _looks_like_row(below):
        return False
    separator = _row_separator(lines[first + 1 :], separators)
    names = _cells(lines[first], separator)
    return len(names) > 1 and all(names) and len(names) == len(_cells(below, separator))


def _looks_like_row(line: str, separator: str | None = None) -> bool:
    separator = separator or max(_SEPARATORS, key=line.count)
    cells = [cell for cell in _cells(line, separator) if cell]
    return bool(cells) and sum(_is_cell(cell) for cell in cells) >= (len(cells) + 1) // 2 and _is_cell(cells[0])


def _row_separator(lines: list[str], separators: tuple[str, ...]) -> str:
    """The separator of rows without a header: the one that gives every line the same number of cells, and the most."""
    sample = [line for line in lines[:_HEAD_LINES] if line.strip()]
    counts = {}
    for separator in separators:
        widths = {len(_cells(line, separator)) for line in sample}
        counts[separator] = min(widths) if len(widths) == 1 else 0
    # A comma may be that of the decimals where another separator fits as well.
    others = [s for s in counts if s != "," and counts[s] > 1]
    if others:
        return max(others, key=counts.__getitem__)
    return max(counts, key=counts.__getitem__) if any(counts.values()) else max(separators, key="".join(sample).count)


def _width(lines: list[str], begins: Head) -> int:
    rows = [line for line in lines[begins.skip :] if line.strip()]
    return len(_cells(rows[0], begins.separator)) if rows else 0


def _beyond(lines: list[str], begins: Head, width: int, notes: Notes) -> list[str]:
    """Names for the empty cells that end each row, where rows end with a separator and the header does not.

    Raises:
        DataError: a row has more values than the header has names.
    """
    rows = [_cells(line, begins.separator) for line in lines[begins.skip :][:_HEAD_LINES] if line.strip()]
    for place, row in enumerate(rows):
        if any(row[width:]) or (place == 0 and len(row) < width):
            raise _uneven(place + 1, row, width, notes.where)
    return [f"_beyond_{place}" for place in range(max((len(row) for row in rows), default=0) - width)]


def _uneven(row: int, cells: list[str], width: int, where: str) -> DataError:
    return DataError(
        f"the row has {len(cells)} values, but the table has {width} columns.",
        where=f"{where}, row {row}",
        fix="Write one name above each column (a column of row numbers needs one too), or mend this row.",
    )


def _fault(data: Path | bytes, begins: Head, width: int, reason: str) -> tuple[str, str] | None:
    """What is wrong with a text that the reader of CSV rejects, and its mend; None if that is not known."""
    raw = data.read_bytes() if isinstance(data, Path) else data
    if "utf-8" in reason:
        line = next((k for k, one in enumerate(raw.split(b"\n"), start=1) if not is_utf8(one)), 1)
        return f"line {line} is not UTF-8, though the first lines are", "Save the file as UTF-8."
    odd = next((k for k, one in enumerate(raw.split(b"\n"), start=1) if one.count(b'"') % 2), None)
    if odd is not None and ("malformed" in reason or "parse" in reason or "quote" in reason):
        return f"line {odd} has a quotation mark that no other one closes", "Mend this line."
    if "not found in CSV" in reason:
        return f"the first row has fewer values than the table has columns ({width})", "Mend this row."
    if "extra" not in reason and "more fields" not in reason:
        return None
    return _ragged(raw, begins, width), "Write a name above each column, or mend this line."


def _ragged(raw: bytes, begins: Head, width: int) -> str:
    """The first row that has more cells than the table has columns, in words."""
    reader = csv.reader(io.StringIO(raw.decode("utf-8-sig", errors="replace"), newline=""), delimiter=begins.separator)
    for place, row in enumerate(reader):
        if place >= begins.skip and len(row) > width:
            return f"line {place + 1} has {len(row)} values, but the table has {width} columns"
    return "a row has more values than the table has columns"


def _cells(line: str, separator: str) -> list[str]:
    row = next(csv.reader([line], delimiter=separator), [])
    return [cell.strip().lstrip("\ufeff").strip() for cell in row] or [""]


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ".").rstrip("%"))
    except ValueError:
        return False
    return True


def _is_cell(text: str) -> bool:
    """Whether a cell holds a number or a date, and not a name."""
    return bool(text) and (_is_number(text) or (text[0].isdigit() and any(c in text for c in "-/.: ")))


def _distinct(names: list[str]) -> list[str]:
    """Names with a number after those that stood there before."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return distinct
