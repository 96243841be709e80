"""What the desk asks of durability: one call that returns when everything in it is safe."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from gearing.drive.effects import Effects
from gearing.store.records import Answer, Commit, OutboxChange, OutboxRow, PutIn
from gearing.store.store import Store
from gearing.store.writer import Writer

Rows = Sequence[OutboxRow | OutboxChange]
Answers = Sequence[Answer | PutIn]


class Keeper(Protocol):
    """A store as the desk sees it."""

    async def keep(self, effects: Effects | None, rows: Rows = (), answers: Answers = ()) -> None:
        """Makes lines, states, published NAVs, outbox rows and answers durable, all or none, in the order of calls.

        What is asked for the first time is put into the inbox with its answer.

        Raises:
            StoreError: nothing of it is durable; the desk starts anew from what is.
        """
        ...


class StoreKeeper:
    """Keeps through the writer's thread, whose groups share one fsync.

    The loop is woken once for all that became durable meanwhile, however many wait.

    Args:
        writer: of the store.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._settled: deque[tuple[asyncio.Future[None], BaseException | None]] = deque()

    async def keep(self, effects: Effects | None, rows: Rows = (), answers: Answers = ()) -> None:
        """See `Keeper`."""
        waiter = asyncio.get_running_loop().create_future()
        self._writer.submit(commit_of(effects, rows, answers), partial(self._done, waiter))
        await waiter

    def _done(self, waiter: asyncio.Future[None], error: BaseException | None) -> None:
        """Is told by the writer's thread."""
        self._settled.append((waiter, error))
        if len(self._settled) <= 1:  # else one who came before has called the loop already, and it takes all there are
            with contextlib.suppress(RuntimeError):  # the loop was closed; nobody waits any more
                waiter.get_loop().call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        while self._settled:
            waiter, error = self._settled.popleft()
            if waiter.done():  # whoever waited was cancelled
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


class InLoopKeeper:
    """Keeps within the event loop, so that a simulation has no threads.

    Args:
        store: what it keeps in.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, effects: Effects | None, rows: Rows = (), answers: Answers = ()) -> None:
        """See `Keeper`."""
        self._store.commit([commit_of(effects, rows, answers)])
        await asyncio.sleep(0)


def commit_of(effects: Effects | None, rows: Rows, answers: Answers) -> Commit:
    """Returns the transaction that makes effects, rows and answers durable."""
    return Commit(
        lines=tuple(effects.lines) if effects else (),
        states=tuple(effects.states.values()) if effects else (),
        navs=tuple(effects.navs) if effects else (),
        rebalances=effects.rebalance_rows() if effects else (),
        snapshots=tuple(effects.snapshots) if effects else (),
        outbox=tuple(row for row in rows if isinstance(row, OutboxRow)),
        changes=tuple(row for row in rows if isinstance(row, OutboxChange)),
        answers=tuple(one for one in answers if isinstance(one, Answer)),
        put_in=tuple(one for one in answers if isinstance(one, PutIn)),
    )
