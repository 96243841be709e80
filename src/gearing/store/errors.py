"""What a store refuses, as sentences for people."""

from __future__ import annotations

import math

from gearing.errors import GearingError, InputError, StorageError


class DatabaseError(InputError):
    """A database cannot be used: it is missing, of another mode, of another schema, or damaged."""


class DamagedError(DatabaseError):
    """The file of a database is torn or overwritten; SQLite cannot read it."""

    exit_code = StorageError.exit_code


class StoreError(GearingError):
    """A commit was not kept; nothing of it stands in the database.

    Args:
        what: one plain sentence about what is wrong.
        stream: the journal it concerns, if it is one.
    """

    def __init__(self, what: str, *, stream: str = "") -> None:
        self.what, self.stream = what, stream
        super().__init__(f"{stream}: {what}" if stream else what)


class FencedError(StoreError):
    """Another runner owns this stream or row: what it wrote stands, this commit does not."""


class StaleError(StoreError):
    """A commit was worked out on a state that was never kept; the stream has to be loaded again."""


class StorageRefusedError(StoreError, StorageError):
    """The machine's storage refused a commit: see `StorageError`."""

    def __init__(self, what: str, *, fix: str = "") -> None:
        self.where = self.fix = ""
        StoreError.__init__(self, what)
        self.fix = fix

    def __str__(self) -> str:
        return StorageError.__str__(self)


class FullError(StorageRefusedError):
    """There is no room left on the disk; once there is, commits are kept again."""

    patience_s = math.inf


class BusyError(StorageRefusedError):
    """Another process held the database for too long; the same commit may be tried again."""

    patience_s = 600.0


class ReadOnlyError(StorageRefusedError):
    """The database cannot be written; it can be read and verified."""


class TornError(StorageRefusedError):
    """The disk failed, or the database's pages are damaged."""


class KeyReusedError(InputError):
    """A request came under a key that stands for another request.

    Args:
        key: which.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} stands for another request.", fix="Give each request a key of its own.")
