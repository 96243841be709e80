"""An export: a table of a period with what it was made from, as CSV or Parquet; and whether a file still says the same.

Both formats are written of one frame, so they hold the same rows. What a file says of itself stands in a CSV's first
lines as "# key: value", and in a Parquet file's own key-value metadata.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from gearing.core.holder import omnibus_of
from gearing.errors import InputError
from gearing.files import read_bytes, readable
from gearing.market.workbook import workbook_bytes
from gearing.office.cut import Cut, cut
from gearing.office.holdings import holdings
from gearing.office.movements import statements
from gearing.office.navs import nav_table
from gearing.office.periods import Period, moment_text, period_of
from gearing.office.table import Table, frame_of
from gearing.office.trial_balance import trial_balance
from gearing.store.store import Store
from gearing.typed import safe_cells

What = Literal["nav", "trial-balance", "holders", "statement", "lots"]
WHATS: tuple[What, ...] = ("nav", "trial-balance", "holders", "statement", "lots")
Format = Literal["csv", "parquet", "xlsx"]
FORMATS: tuple[Format, ...] = ("csv", "parquet")

_KIND, _VERSION = "gearing.export", 1
_MARK = "# "
# What Parquet files keep beside that: their columns, as Arrow has them.
_ARROW = "ARROW:schema"


class Export(NamedTuple):
    """A table that was made.

    Args:
        head: what it says of itself.
        frame: its rows.
        words: what was found on the way.
    """

    head: dict[str, str]
    frame: pl.DataFrame
    words: str


def made(
    store: Store, what: What, period: Period, *, token: str = "", holder: str = "",
    progress: Callable[[int], None] = lambda lines: None,
) -> Export:  # fmt: skip
    """Returns an export of a database, whether or not a desk runs on it.

    Args:
        store: the database.
        what: which table.
        period: of when.
        token: only this one; of NAVs and the trial balance.
        holder: only this one; of holders, statement and lots.
        progress: called with the number of lines read so far.

    Raises:
        InputError: there is no such token or holder, or a journal does not hold.
    """
    with cut(store, period, progress) as journals:
        table = _table(journals, what, token, holder)
        head = {
            _KIND: f"{what}/{_VERSION}", "mode": store.meta.mode, "period": period.text, "zone": period.zone,
            "start": moment_text(period.start_ms, period.zone), "end": moment_text(period.end_ms, period.zone),
            "complete": "yes" if journals.is_complete else "no",
            **({"token": token} if token else {}), **({"holder": holder} if holder else {}),
            "journal": journals.journal_hash(), "rows": str(len(table.rows)),
        }  # fmt: skip
    return Export(head, frame_of(table, period.zone), table.words)


def written(export: Export, form: Format, *, plain: bool = False) -> bytes:
    """Returns an export as the bytes of a file.

    Args:
        export: what to write.
        form: of the file.
        plain: a CSV without the comment rows that say what it is, which `export check` needs.
    """
    if form == "xlsx":
        return workbook_bytes(export.frame, {**export.head, "times": "UTC"})
    if form == "csv":
        if plain:
            return _as_csv(export.frame)
        head = "".join(f"{_MARK}{key}: {value}\n" for key, value in export.head.items())
        return head.encode() + _as_csv(export.frame)
    buffer = io.BytesIO()
    export.frame.write_parquet(buffer, compression="zstd", metadata=export.head)
    return buffer.getvalue()


def head_of(path: Path) -> tuple[dict[str, str], bytes]:
    """Returns what an exported file says of itself, and its rows as CSV.

    Raises:
        InputError: it is no exported file.
    """
    readable(path)
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        if is_parquet:
            head = {key: value for key, value in pl.read_parquet_metadata(path).items() if key != _ARROW}
            rows = _as_csv(pl.read_parquet(path))
        else:
            lines = read_bytes(path).decode().splitlines(keepends=True)
            marked = [line for line in lines if line.startswith(_MARK)]
            pairs = (line.removeprefix(_MARK).strip().partition(": ") for line in marked)
            head = {key: value for key, _, value in pairs}
            rows = "".join(lines[len(marked) :]).encode()
    except (pl.exceptions.PolarsError, UnicodeDecodeError):
        head = {}
    if head.get(_KIND, "").partition("/")[0] not in WHATS:
        raise InputError("this is no file that `gearing export` wrote.", where=str(path), fix="Export it anew.")
    return head, rows


def differences(
    path: Path, store: Store, progress: Callable[[int], None] = lambda lines: None
) -> tuple[dict[str, str], list[str]]:  # fmt: skip
    """Makes an exported file anew from a database; returns what the file says of itself, and where the two differ.

    Args:
        path: the file.
        store: the database.
        progress: called with the number of lines read so far.

    Raises:
        InputError: it is no exported file, or cannot be made anew.
    """
    head, rows = head_of(path)
    what = next(one for one in WHATS if head[_KIND].startswith(f"{one}/"))
    period = period_of(head.get("period", ""), head.get("zone", ""))
    anew = made(store, what, period, token=head.get("token", ""), holder=head.get("holder", ""), progress=progress)
    keys = [*anew.head, *(key for key in head if key not in anew.head)]
    found = [
        f"{key}: the file says {head.get(key, 'nothing')}, the journal {anew.head.get(key, 'nothing')}"
        for key in keys
        if head.get(key) != anew.head.get(key)
    ]
    ours, theirs = _as_csv(anew.frame).splitlines(), rows.splitlines()
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if mine != other:
            found.append(f"row {number}: the file says {other.decode()}, the journal {mine.decode()}")
            break
    if len(ours) != len(theirs):
        found.append(f"rows: the file has {len(theirs) - 1:,}, the journal makes {len(ours) - 1:,}")
    return head, found


def _table(journals: Cut, what: What, token: str, holder: str) -> Table:
    tokens, holders = _chosen(journals, "token", token), _chosen(journals, "holder", holder)
    match what:
        case "nav":
            return nav_table(journals, tokens)
        case "trial-balance":
            return trial_balance(journals, tokens, () if token else holders)
        case "holders":
            return holdings(journals, holders)
        case "statement":
            return statements(journals, holders)
        case "lots":  # only these need the engine, which takes seconds to load
            from gearing.office.lots import lot_table

            return lot_table(journals, holders)


def _chosen(journals: Cut, kind: str, name: str) -> list[str]:
    """Returns the tokens or holders that were asked for; a holder's sub-holders are among them."""
    known = journals.streams(kind)
    if not name:
        return known
    if kind == "holder" and (found := [one for one in known if name in {one, omnibus_of(one)}]):
        return found
    if name not in known:
        some = ", ".join(known[:10]) or "none"
        some += f" and {len(known) - 10:,} more" if len(known) > 10 else ""
        raise InputError(f"there is no {kind} {name} in this database.", where=f"--{kind}", fix=f"There are: {some}.")
    return [name]


def _as_csv(frame: pl.DataFrame) -> bytes:
    # Texts are quoted, so that a "#" in a reference begins no comment.
    buffer = io.BytesIO()
    safe_cells(frame).write_csv(buffer, datetime_format="%Y-%m-%dT%H:%M:%S%.3f%:z", quote_style="non_numeric")
    return buffer.getvalue()
