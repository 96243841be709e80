"""Exports journals as JSON lines, each body byte for byte what was hashed.

A line is `{"hash":"…","prev":"…","body":…}`: its own hash, that of the line before it, and the body. The hash is
SHA-256 of the 64 letters of `prev`, a line feed, and every byte between `"body":` and the last brace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from gearing.core.journal import GENESIS
from gearing.store.errors import DatabaseError
from gearing.store.store import Store


def exported(path: str | Path, stream: str | None = None) -> Iterator[bytes]:
    """Yields the lines of one stream, or of all one after the other, each with its line feed.

    Args:
        path: the database.
        stream: such as "token:BTC3L"; None: all.

    Raises:
        DatabaseError: there is no such stream, or a line is so damaged that it cannot stand in the file.
    """
    with Store(path) as store:
        known = store.streams()
        if stream is not None and stream not in known:
            names = ", ".join(known) or "none"
            raise DatabaseError(f"there is no stream {stream!r}.", where=str(path), fix=f"There are: {names}.")
        for name in known if stream is None else (stream,):
            yield from _lines(store, name)


def write_export(
    path: str | Path, write: Callable[[bytes], object], stream: str | None = None,
    progress: Callable[[int], None] = lambda lines: None,
) -> int:  # fmt: skip
    """Writes an export and returns the number of its lines.

    Args:
        path: the database.
        write: takes the bytes.
        stream: such as "token:BTC3L"; None: all.
        progress: called with the number of lines so far.
    """
    count = 0
    for count, line in enumerate(exported(path, stream), 1):
        write(line)
        if count % 1_000 == 0:
            progress(count)
    progress(count)
    return count


def _lines(store: Store, stream: str) -> Iterator[bytes]:
    before = GENESIS
    for line in store.lines(stream):
        if not isinstance(line.body, bytes) or b"\n" in line.body or not line.body:
            raise DatabaseError(
                f"line {line.seq} of {stream} is damaged.", where=str(store.path),
                fix=f"See what else is: gearing journal verify {store.path}",
            )  # fmt: skip
        yield b'{"hash":"%b","prev":"%b","body":%b}\n' % (line.hash.encode(), before.encode(), line.body)
        before = line.hash
