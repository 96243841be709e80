"""The intake: what the desk's own process asks, carried out in groups and answered when it is durable.

It comes into the same inbox that other processes write to, under the same keys; but a question, its answer and all that
came of it are one transaction. So whoever is not answered asks the same again, and it is done once.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import NamedTuple

import msgspec

from gearing.desk.inbox import Inbox, unanswered
from gearing.desk.requests import Answered, Wanted, answered_of, encode
from gearing.errors import GearingError
from gearing.store.errors import KeyReusedError, StoreError
from gearing.store.records import Asked, Question
from gearing.store.store import Store

# Questions that are looked up together at most.
_GROUP_MAX = 256

_Answer = asyncio.Future[Answered]


class _Waiting(NamedTuple):
    question: Question
    answer: _Answer


class _UnderWay(NamedTuple):
    body: bytes
    answers: list[_Answer]


class Intake:
    """Takes questions from the tasks of one process.

    Args:
        store: where it is looked whether the same was asked before.
        inbox: which carries out what was not.
    """

    def __init__(self, store: Store, inbox: Inbox) -> None:
        self._store, self._inbox = store, inbox
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        # What was handed on and is in no database yet, by principal and key.
        self._under_way: dict[tuple[str, str], _UnderWay] = {}

    async def ask(self, principal: str, key: str, wanted: Wanted) -> Answered:
        """Asks, and returns the answer once it is durable; the same question of the same key is answered once.

        Args:
            principal: who asks; keys are theirs.
            key: by which the same question is known again.
            wanted: what is asked.

        Raises:
            KeyReusedError: the key stands for another question.
            StoreError: there is no answer; ask the same again, under the same key.
        """
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(Question(principal, key, encode(wanted)), answer))
        self._wake.set()
        return await answer

    async def run(self) -> None:
        """Runs until it is cancelled."""
        try:
            while True:
                await self._wake.wait()
                group, self._waiting = self._waiting[:_GROUP_MAX], self._waiting[_GROUP_MAX:]
                if not self._waiting:
                    self._wake.clear()
                try:
                    known = self._store.asked([one.question for one in group])
                except StoreError as error:
                    for one in group:
                        _tell(one.answer, error)
                    continue
                for place, one in enumerate(group):
                    try:
                        self._take(one, known.get(place))
                    except msgspec.MsgspecError as error:  # what is kept of one question stops no other
                        _tell(one.answer, StoreError(f"what was answered before cannot be read: {error}"))
        finally:
            for one in self._waiting:  # the next that runs is asked anew
                _tell(one.answer, unanswered())

    def _take(self, one: _Waiting, known: Asked | KeyReusedError | None) -> None:
        principal, key, body = one.question
        same = self._under_way.get((principal, key))
        if isinstance(known, KeyReusedError) or (same is not None and same.body != body):
            _tell(one.answer, KeyReusedError(key))
        elif same is not None:
            same.answers.append(one.answer)
        elif known is None:
            self._under_way[principal, key] = _UnderWay(body, [one.answer])
            self._inbox.hand(one.question, partial(self._tell_all, principal, key))
        elif known.answer is not None:
            _tell(one.answer, answered_of(known.answer))
        else:  # another process put it in
            self._inbox.expect(known.number, partial(_tell, one.answer))

    def _tell_all(self, principal: str, key: str, answered: Answered | StoreError) -> None:
        for answer in self._under_way.pop((principal, key)).answers:
            _tell(answer, answered)


def _tell(answer: _Answer, answered: Answered | GearingError) -> None:
    if answer.done():  # whoever asked may have left
        return
    if isinstance(answered, GearingError):
        answer.set_exception(answered)
    else:
        answer.set_result(answered)
