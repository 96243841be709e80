"""Files and data frames opened: what a file holds, whatever its ending says, and what its columns are called."""

from __future__ import annotations

import gzip
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gearing import files
from gearing.errors import DataError
from gearing.market.reading.frames import read_frame
from gearing.market.reading.json import read_json_table
from gearing.market.reading.names import NAMES, fold
from gearing.market.reading.options import Notes, ReadOptions
from gearing.market.reading.text import is_utf8, read_text_table

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
    try:
        frame = _scan(Path(source), options, notes) if is_file else read_frame(source, options, notes)
        names = frame.collect_schema().names()
        if options.positions() is not None and not is_file:
            frame = _by_position(frame, names, options, notes)
        missing = [own for own in options.renamed().values() if own not in names]
        if missing:
            there = ", ".join(names[:30])
            raise DataError(f"there is no column {missing[0]!r}; the columns are: {there}.", where=notes.where,
                            fix="Name one of these in columns.")  # fmt: skip
        frame = _by_name(frame, names, options)
        notes.present = notes.present or names
        return RawTable(frame, frame.collect_schema().names(), notes, Path(source).name if is_file else "")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise unreadable(error, notes) from error


def unreadable(error: BaseException, notes: Notes) -> DataError:
    """Returns the error for a table that cannot be read.

    Args:
        error: why not.
        notes: of the table.
    """
    reason = str(error).strip().split("\n")[0].rstrip(".")
    fault = notes.ragged(str(error)) if notes.ragged is not None else None
    if fault is not None:
        return DataError(f"{fault[0]}.", where=notes.where, fix=fault[1])
    what = f"the table cannot be read: {reason}."
    return DataError(what, where=notes.where, fix="It may be damaged; write it again.")


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
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and (wide := _utf16_json(data)) is not None:
        notes.add("the text is UTF-16")
        data, head = wide, wide[:65_536]
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


def _utf16_json(data: Path | bytes) -> bytes | None:
    """JSON in UTF-16 as UTF-8; None if it is a table in another form."""
    raw = data.read_bytes() if isinstance(data, Path) else data
    text = raw.decode("utf-16", errors="replace").lstrip("\ufeff \t\r\n")
    return text.encode() if text[:1] in ("[", "{") else None


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
    if is_utf8(head):
        return False
    controls = sum(byte < 32 and byte not in (9, 10, 13) for byte in head)
    return controls > 0 or sum(byte > 127 for byte in head) > len(head) // 10
