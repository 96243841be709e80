"""Databases whose heads are signed, as a desk leaves them."""

from __future__ import annotations

from pathlib import Path

from gearing.store.anchor import Anchor, heads_path, key_path
from gearing.store.heads import HeadsFile
from gearing.store.keys import make_key, read_key
from gearing.store.store import Store
from tests.journals import book_commits, happened, new_database, token_commits


def anchor_of(path: Path) -> Anchor:
    """The anchor that a desk uses on a database, with the files beside it."""
    place = key_path(path)
    return Anchor(read_key(place) if place.exists() else make_key(place), HeadsFile(heads_path(path)))


def commit(path: Path, *groups) -> None:
    """Commits groups one after the other, each signed."""
    with Store(path, "demo", anchor_of(path)) as store:
        for group in groups:
            store.commit(group)


def anchored(path: Path, lines: int = 60, each: int = 10) -> Path:
    """A database with a book and a token, committed in groups, whose heads are signed."""
    new_database(path)
    token = token_commits(happened())[:lines]
    commit(path, book_commits(), *(token[k : k + each] for k in range(0, lines, each)))
    return path


def further(path: Path, first: int = 60, last: int = 80) -> None:
    """Lets the token of `anchored` go on."""
    commit(path, token_commits(happened())[first:last])
