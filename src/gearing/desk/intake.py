"""The intake: what the desk's own process asks, put into the inbox in groups and answered when it is durable.

It is the same inbox that other processes write to, with the same keys; whoever asks here is woken by the answer
instead of looking for it, and one fsync serves many who ask at the same time.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from gearing.desk.inbox import Inbox
from gearing.desk.requests import Answered, Wanted, answered_of, encode
from gearing.errors import GearingError
from gearing.store.records import Question, Request
from gearing.store.store import Store

# Questions that are put in together at most.
_GROUP_MAX = 256


class _Waiting(NamedTuple):
    question: Question
    answer: asyncio.Future[Answered]


class Intake:
    """Takes questions from the tasks of one process.

    Args:
        store: the database of the inbox.
        inbox: which is told of what was put in.
    """

    def __init__(self, store: Store, inbox: Inbox) -> None:
        self._store, self._inbox = store, inbox
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()

    async def ask(self, principal: str, key: str, wanted: Wanted) -> Answered:
        """Asks, and returns the answer once it is durable; the same question of the same key is answered once.

        Args:
            principal: who asks; keys are theirs.
            key: by which the same question is known again.
            wanted: what is asked.

        Raises:
            KeyReusedError: the key stands for another question.
            StoreError: the question was not kept.
        """
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Waiting(Question(principal, key, encode(wanted)), answer))
        return await answer

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            group = [await self._waiting.get()]
            while len(group) < _GROUP_MAX and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            try:
                put_in = await asyncio.to_thread(self._store.ask_all, [one.question for one in group])
            except GearingError as error:
                for one in group:
                    _fail(one.answer, error)
                continue
            fresh: list[Request] = []
            for one, asked in zip(group, put_in, strict=True):
                if isinstance(asked, GearingError):
                    _fail(one.answer, asked)
                elif asked.answer is None:
                    fresh.append(Request(asked.number, *one.question))
                    self._inbox.expect(asked.number, one.answer)
                elif not one.answer.done():
                    one.answer.set_result(answered_of(asked.answer))
            self._inbox.hand(fresh)


def _fail(answer: asyncio.Future[Answered], error: GearingError) -> None:
    if not answer.done():  # whoever asked may have left
        answer.set_exception(error)
