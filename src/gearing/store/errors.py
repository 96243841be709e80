"""What a store refuses, as sentences for people."""

from __future__ import annotations

from gearing.errors import GearingError, InputError


class DatabaseError(InputError):
    """A database cannot be used: it is missing, of another mode, of another schema, or damaged."""


class DamagedError(DatabaseError):
    """The file of a database is torn or overwritten; SQLite cannot read it."""


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


class FullError(StoreError):
    """There is no room left on the disk; once there is, commits are kept again."""


class BusyError(StoreError):
    """Another process held the database for too long; the same commit may be tried again."""


class KeyReusedError(InputError):
    """A request came under a key that stands for another request.

    Args:
        key: which.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} stands for another request.", fix="Give each request a key of its own.")
