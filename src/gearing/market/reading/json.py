"""JSON as venues answer and clients save: lists of rows, lists of records, columns, each perhaps inside an envelope."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from gearing.errors import DataError
from gearing.market.reading.layouts import named_columns
from gearing.market.reading.names import SYMBOLS, fold, is_known
from gearing.market.reading.options import Notes, ReadOptions

_INSTRUMENT = re.compile(r"(?=.*[A-Z])[A-Z0-9][A-Z0-9/:._-]*[A-Z0-9]")
_DEPTH = 5
_ERRORS = ("msg", "message", "error", "errors", "errormessage", "retmsg", "errmsg", "description", "note",
           "information", "errmessage", "reason")  # fmt: skip
# A key that is a moment: a date, or seconds since 1970 and finer.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?|\d{9,19}")


def read_json_table(data: bytes, options: ReadOptions, notes: Notes) -> pl.DataFrame:
    """Returns the table that JSON holds, with its own names for its columns.

    Args:
        data: the text; also one record a line.
        options: a person's word on it.
        notes: the envelope is added.

    Raises:
        DataError: it is no JSON, holds no table, or is a venue's error.
    """
    import msgspec

    try:
        decoded = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            decoded = [msgspec.json.decode(line) for line in data.splitlines() if line.strip()]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            reason = str(error).rstrip(".")
            raise DataError(f"the JSON cannot be read: {reason}.", where=notes.where, fix="Save it again.") from error
    found = _found(decoded, "", "", 0)
    if not found:
        raise _nothing(decoded, notes.where)
    rows, path, symbol = max(found, key=lambda one: len(one[0]))
    if len({len(one[0]) for one in found}) == 1 and len(found) > 1:
        return _joined(found, options, notes)
    if path:
        notes.add(f"the table is {path!r} of the JSON")
    if zone := _zone(decoded, 0):
        notes.add(f"the JSON names the time zone {zone}, but moments without one are read as UTC")
    return _named(rows, symbol, options, notes)


_Found = tuple[Sequence[Any], str, str]


def _found(value: Any, path: str, symbol: str, depth: int) -> list[_Found]:
    """Every table inside JSON, with its path and the instrument that the answer names beside it."""
    if depth > _DEPTH:
        return []
    if isinstance(value, list):
        if value and (all(isinstance(row, list) for row in value) or all(isinstance(row, dict) for row in value)):
            inner = [t for row in value[:1] if isinstance(row, dict) for t in _found(row, path, symbol, depth + 1)]
            # A list of one envelope, as Yahoo's chart, holds the table inside.
            return inner if len(value) == 1 and inner else [(value, path, symbol)]
        return []
    if not isinstance(value, dict):
        return []
    own = next((value[k] for k in value if fold(k) in SYMBOLS and isinstance(value[k], str)), symbol)
    own = "" if own in ("ok", "linear", "inverse") else own
    own = next((_named_beside(inner) for inner in value.values() if _named_beside(inner)), own)
    columns = _columns(value) or _keyed(value)
    if columns:
        return [(columns, path, own)]
    tables: list[_Found] = []
    for name, inner in value.items():
        below = f"{path}.{name}".lstrip(".")
        # A key such as "BTC" or Kraken's "XXBTZUSD" says whose the rows below it are.
        tables += _found(inner, below, own or (name if _INSTRUMENT.fullmatch(name) else ""), depth + 1)
    return tables


def _named_beside(value: Any) -> str:
    """The instrument in what describes a table, such as Alpha Vantage's "Meta Data"."""
    if not isinstance(value, dict):
        return ""
    names = ("symbol", "digitalcurrencycode")
    return next((v for k, v in value.items() if fold(k) in names and isinstance(v, str)), "")


def _zone(value: Any, depth: int) -> str:
    """The time zone other than UTC that an answer names, or ""."""
    if depth > _DEPTH or not isinstance(value, dict):
        return ""
    for name, inner in value.items():
        if isinstance(inner, str) and fold(name).endswith(("timezone", "timezonename")):
            return "" if inner.upper() in ("UTC", "GMT", "ETC/UTC", "Z") else inner
    return next((zone for inner in value.values() if (zone := _zone(inner, depth + 1))), "")


def _keyed(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Rows of an object of objects: keyed by their times, or, as pandas writes frames, by column and then by row."""
    if not value or not all(isinstance(inner, dict) and inner for inner in value.values()):
        return None
    if all(_MOMENT.fullmatch(key) for key in value):
        return [{"time": key, **inner} for key, inner in value.items()]
    keys = [tuple(inner) for inner in value.values()]
    scalars = not any(isinstance(cell, (list, dict)) for inner in value.values() for cell in inner.values())
    if len(set(keys)) != 1 or not scalars or not any(is_known(name) for name in value):
        return None
    rows = [{name: inner[key] for name, inner in value.items()} for key in keys[0]]
    if all(_MOMENT.fullmatch(key) for key in keys[0]):
        return [{"time": key, **row} for key, row in zip(keys[0], rows, strict=True)]
    return rows


def _columns(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Rows of an object of equally long lists, such as TradingView's {t, o, h, l, c} and Yahoo's chart."""
    lists = dict(_flat(value))
    if not lists:
        return None
    length = max(map(len, lists.values()))
    lists = {name: column for name, column in lists.items() if len(column) == length}
    if length == 0 or not any(is_known(name) for name in lists) or len(lists) < 2:
        return None
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _flat(value: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """The lists of scalars in an object; those of `indicators` too, where Yahoo puts them."""
    lists = []
    for name, inner in value.items():
        if isinstance(inner, list) and inner and not isinstance(inner[0], (list, dict)):
            lists.append((name, inner))
        elif name == "indicators" and isinstance(inner, dict):
            for group in inner.values():
                if isinstance(group, list) and len(group) == 1 and isinstance(group[0], dict):
                    lists += _flat(group[0])
    return lists


def _named(rows: Sequence[Any], symbol: str, options: ReadOptions, notes: Notes) -> pl.DataFrame:
    try:
        if isinstance(rows[0], dict):
            frame = pl.DataFrame([{k: _scalar(v) for k, v in row.items()} for row in rows], infer_schema_length=None,
                                 strict=False)  # fmt: skip
        else:
            widths = {len(row) for row in rows}
            if len(widths) > 1:
                what = f"its rows have {min(widths)} to {max(widths)} values."
                raise DataError(what, where=notes.where, fix="Write rows of equal length.")
            columns = [[_scalar(row[place]) for row in rows] for place in range(widths.pop())]
            frame = pl.DataFrame(
                {f"column_{place}": pl.Series(column, strict=False) for place, column in enumerate(columns)}
            )
            frame = named_columns(frame, options, notes)
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise DataError(f"the JSON is not a table: {reason}.", where=notes.where, fix="Save it again.") from error
    if symbol and not any(fold(name) in SYMBOLS for name in frame.columns):
        frame = frame.with_columns(pl.lit(symbol).alias("symbol"))
    return frame


def _scalar(value: Any) -> Any:
    return None if isinstance(value, (list, dict)) else value


def _joined(found: list[_Found], options: ReadOptions, notes: Notes) -> pl.DataFrame:
    """Several tables of one answer, joined: pairs [time, value] are columns, others are those of instruments."""
    names = [path.rpartition(".")[2] for _, path, _ in found]
    pairs = all(isinstance(row, list) and len(row) == 2 for rows, _, _ in found for row in rows)
    if pairs and "prices" in names:
        frame = pl.DataFrame(
            {"time": [row[0] for row in found[names.index("prices")][0]]}
            | {name: [row[1] for row in rows] for (rows, _, _), name in zip(found, names, strict=True)},
            strict=False,
        )
        notes.add("prices and volumes are joined")
        return frame.rename({"prices": "price"})
    listed = ", ".join(path or "the first" for _, path, _ in found[:8])
    raise DataError(f"it holds {len(found)} tables: {listed}.", where=notes.where, fix="Save one of them alone.")


def _nothing(decoded: Any, where: str) -> DataError:
    said = ""
    if isinstance(decoded, dict):
        said = next((str(decoded[k]) for k in decoded if fold(k) in _ERRORS and decoded[k]), "")
    if said:
        return DataError(f"the JSON holds no rows; it says {said[:100]!r}.", where=where, fix="Download it again.")
    return DataError("the JSON holds no rows of numbers or records.", where=where, fix="Save a list of rows.")
