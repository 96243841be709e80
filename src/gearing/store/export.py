"""Exports journals as JSON lines, each body byte for byte what was hashed, in the order of n.

A line is `{"n":…,"hash":"…","prev":"…","body":…}`: its number over all streams, its own hash, that of the line before
it in its stream, and the body. The hash is SHA-256 of the 64 letters of `prev`, a line feed, and every byte between
`"body":` and the last brace. A line that is not shown is `{"n":…,"leaf":"…"}`; so n and the chain can be followed from
the first line to the last (`core.anchor`). The last signed head is written after the line that it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from gearing.core.anchor import leaf_of
from gearing.core.journal import GENESIS, export_line
from gearing.store import schema
from gearing.store.errors import DatabaseError
from gearing.store.heads import signed_row
from gearing.store.records import HeadRow, JournalRow
from gearing.store.store import Store

_ROWS = 2_000


def exported(path: str | Path, stream: str | None = None) -> Iterator[bytes]:
    """Yields the lines of one stream and the leaves of all others, or all lines, each with its line feed.

    Args:
        path: the database.
        stream: such as "token:BTC3L"; None: all.

    Raises:
        DatabaseError: there is no such stream, or a line is too damaged to be written.
    """
    with Store(path) as store:
        known = store.streams()
        if stream is not None and stream not in known:
            names = ", ".join(known) or "none"
            raise DatabaseError(f"there is no stream {stream!r}.", where=str(path), fix=f"There are: {names}.")
        with store.engine.connect() as connection:  # head and lines at one instant
            head = connection.execute(sa.select(schema.heads).order_by(schema.heads.c.n.desc()).limit(1)).one_or_none()
            yield from _lines(connection, store.path, stream, None if head is None else HeadRow(*head))


def write_export(
    path: str | Path, write: Callable[[bytes], object], stream: str | None = None,
    progress: Callable[[int], None] = lambda lines: None,
) -> int:  # fmt: skip
    """Writes an export and returns how many journal lines it shows.

    Args:
        path: the database.
        write: takes the bytes.
        stream: such as "token:BTC3L"; None: all.
        progress: called with the number of lines so far.
    """
    count = shown = 0
    for count, line in enumerate(exported(path, stream), 1):
        write(line)
        shown += b'"hash":"' in line[:40]
        if count % 1_000 == 0:
            progress(count)
    progress(count)
    return shown


def _lines(connection: sa.Connection, path: Path, stream: str | None, head: HeadRow | None) -> Iterator[bytes]:
    before: dict[str, str] = {}
    rows = connection.execute(sa.select(schema.journal).order_by(schema.journal.c.n),
                              execution_options={"yield_per": _ROWS})  # fmt: skip
    for line in map(JournalRow._make, rows):
        if stream is None or line.stream == stream:
            if not isinstance(line.body, bytes) or b"\n" in line.body or not line.body:
                raise DatabaseError(
                    f"line {line.seq} of {line.stream} is damaged.", where=str(path),
                    fix=f"See what else is: gearing journal verify {path}",
                )  # fmt: skip
            prev = before.get(line.stream, GENESIS)
            yield export_line(line.n, line.hash, prev, line.body)
            before[line.stream] = line.hash
        else:
            yield b'{"n":%d,"leaf":"%b"}\n' % (line.n, leaf_of(line.stream, line.seq, line.hash).encode())
        if head is not None and line.n == head.n:
            yield signed_row(head).line
