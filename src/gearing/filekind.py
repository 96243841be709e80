"""The kind of a file, judged by its first bytes and never by its name."""

from __future__ import annotations

import csv
import json
import re
from typing import Any, Literal

Kind = Literal["database", "parquet", "feather", "html", "json", "journal", "log", "heads", "csv", "toml", "xlsx"]
"""What a command writes: `journal`, `log` and `heads` are JSON lines: an export, a desk's log, and signed heads."""

KINDS_BY_ENDING: dict[str, Kind] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".feather": "feather", ".arrow": "feather",
    ".ipc": "feather", ".xlsx": "xlsx", ".html": "html", ".htm": "html", ".json": "json", ".jsonl": "journal",
}  # fmt: skip
"""What a command writes under a name with this ending."""

HEAD_BYTES = 65_536

NAMES: dict[str, str] = {
    "empty": "nothing", "database": "a database", "parquet": "a Parquet table", "feather": "a Feather table",
    "html": "an HTML page", "json": "JSON", "journal": "an exported journal", "log": "a desk's log",
    "heads": "signed heads", "csv": "CSV", "xlsx": "an Excel workbook",
    "toml": "TOML", "lines": "JSON lines", "text": "other text", "binary": "other binary data",
}  # fmt: skip

# Source: SQLite, "Database File Format", 1.3, 3.2 and 4.1 (database, rollback journal, write-ahead log).
_DATABASE = (b"SQLite format 3\0", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
# Source: Apache Parquet, "File Format"; Apache Arrow, "IPC File Format".
_TABLES = ((b"PAR1", "parquet"), (b"ARROW1", "feather"))
_HTML = ("<!doctype html", "<html")
_TOML = re.compile(r"\s*(\[\[?[\w.\s\"'-]+\]\]?|[\w.\"'-]+\s*=.*)\s*(#.*)?$")
_COLUMN = re.compile(r"[^\W\d][\w .%/:()-]*")


def kinds_of(head: bytes) -> tuple[str, ...]:
    """Returns the kinds that a file may be of, by its first `HEAD_BYTES`; the likeliest first.

    Only a single line of JSON is of two: it may be an answer, or one line of a journal or a log.
    """
    if not head:
        return ("empty",)
    if head.startswith(_DATABASE):
        return ("database",)
    for magic, kind in _TABLES:
        if head.startswith(magic):
            return (kind,)
    # Source: ECMA-376, part 2: a package is a zip archive that names the types of its parts.
    if head.startswith(b"PK\x03\x04") and b"[Content_Types].xml" in head:
        return ("xlsx",)
    # A character may be cut in two at the end of the head.
    text = head.decode("utf-8-sig", "replace")
    if "\0" in text or "\ufffd" in text[:-1]:
        return ("binary",)
    text = text.lstrip()
    if text.lower().startswith(_HTML):
        return ("html",)
    if text.startswith("{"):
        return _kinds_of_json(text)
    return (_kind_of_lines(text.splitlines()),)


def _kinds_of_json(text: str) -> tuple[str, ...]:
    first, _, rest = text.partition("\n")
    kind = _kind_of_line(first)
    if kind:
        return (kind,) if rest.strip() else (kind, "json")
    # A line of a journal may be longer than the head; the first line of a log may have been cut short by a kill.
    if first.startswith(('{"hash":"', '{"n":')):
        return ("journal",)
    return ("log",) if any(_kind_of_line(line) == "log" for line in rest.splitlines()) else ("json",)


def _kind_of_line(line: str) -> str:
    """Returns the kind of JSON lines that a line belongs to; empty if it is not a whole record."""
    record = _parsed(line) if line.startswith("{") else None
    if not isinstance(record, dict):
        return ""
    if {"hash", "prev", "body"} <= record.keys() or record.keys() == {"n", "leaf"}:
        return "journal"
    if record.keys() == {"record", "signature"}:
        return "heads"
    return "log" if {"event", "timestamp"} <= record.keys() else "lines"


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _kind_of_lines(lines: list[str]) -> str:
    """Returns whether the lines are CSV, TOML or other text; lines that begin with "#" are comments in both."""
    content = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if content and _TOML.fullmatch(content[0]):
        return "toml"
    try:
        rows = list(csv.reader(content[:2]))
    except csv.Error:
        return "text"
    is_header = bool(rows) and len(rows[0]) > 1 and all(_COLUMN.fullmatch(name.strip()) for name in rows[0])
    return "csv" if is_header and len({len(row) for row in rows}) == 1 else "text"
