"""The writer: one thread that commits what a runner submits, in groups, so that one fsync serves many."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from gearing.store.errors import BusyError
from gearing.store.records import Commit
from gearing.store.store import Store

# Commits that share a transaction at most, and that may wait for one.
GROUP_MAX = 256
WAITING_MAX = 65_536

Done = Callable[[BaseException | None], object]
"""Is told from the writer's thread: None once a commit is durable, or the error for which it never will be."""

_Item = tuple[Commit, Done]


class Writer:
    """Commits in groups, in the order of submission; nothing is durable until its `Done` was told so.

    A group that fails is tried again commit by commit, so that a bad one fails alone. What was submitted for a stream
    after a commit of it that failed, fails too: those lines follow on one that does not stand.

    Args:
        store: the database; nothing else may commit to it meanwhile.
        group_max: commits that share a transaction at most.
    """

    def __init__(self, store: Store, *, group_max: int = GROUP_MAX) -> None:
        self.store = store
        self._group_max = group_max
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="gearing-writer")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, commit: Commit, done: Done) -> None:
        """Hands a commit over; `done` is told what became of it.

        Raises:
            BusyError: it was not taken: too many wait, or the writer was closed.
        """
        with self._lock:
            if self._closing:
                raise BusyError("the store is being closed.")
            if self._queue.qsize() >= WAITING_MAX:
                raise BusyError(f"{WAITING_MAX:,} commits wait already; the disk does not keep up.")
            self._queue.put((commit, done))

    def close(self) -> None:
        """Commits what was submitted, and ends the thread."""
        with self._lock:
            if not self._closing:
                self._closing = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            group, last = self._group()
            if group:
                self._commit(group)
            if last:
                return

    def _group(self) -> tuple[list[_Item], bool]:
        """Waits for a commit and takes all that wait with it; says whether it was the last."""
        group: list[_Item] = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) >= self._group_max:
                return group, False
            try:
                item = self._queue.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Item]) -> None:
        failed = self._try(group)
        for item in group:
            item[1](failed if failed is None or len(group) == 1 else self._try([item]))

    def _try(self, group: list[_Item]) -> BaseException | None:
        # Whatever goes wrong belongs to those who wait; a thread that died would leave them waiting.
        try:
            self.store.commit([commit for commit, _ in group])
        except BaseException as error:
            return error
        return None
