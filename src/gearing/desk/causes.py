"""Causes: each command counts once by its key, and a payment or transfer by the payer's reference, whoever books it.

The first line that a command causes carries the cause. Before a command is run, its cause is looked up among the lines
of the journal and those that are on their way to it. What is found is answered again and not done again: with another
body it is rejected. So nothing but the journal decides what counted, and no state grows with references. A rejected
command causes no line, and has not used its reference up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core import holder as ho
from gearing.core.journal import Cause
from gearing.core.money import as_text
from gearing.core.references import ReferenceKind, hash_texts, reference_hash
from gearing.desk.requests import Answered, HandOn, Pay, Wanted, encode
from gearing.store.records import CausedLine
from gearing.store.store import Store


def cause_of(principal: str, key: str, wanted: Wanted) -> Cause:
    """Returns the cause of a command.

    Args:
        principal: who sent it; keys are theirs.
        key: by which it is known again.
        wanted: the command.
    """
    reference: str | UnsetType = UNSET
    if isinstance(wanted, (Pay, HandOn)):
        kind: ReferenceKind = "pay" if isinstance(wanted, Pay) else "transfer"
        reference = reference_hash(wanted.holder, kind, wanted.reference)
    return Cause(key=hash_texts(principal, key), body=hashlib.sha256(encode(_nameless(wanted))).hexdigest(),
                 reference=reference)  # fmt: skip


def _nameless(wanted: Wanted) -> Wanted:
    """Returns a payment without the name of whoever books it; a reference counts once whoever does."""
    return msgspec.structs.replace(wanted, by="") if isinstance(wanted, Pay) else wanted


Known = dict[str, CausedLine]
"""Lines of the journal that commands caused, by the hash of a key or reference."""


class _Recent(NamedTuple):
    cause: Cause
    answered: Answered


class Causes:
    """What was caused already: by the journal, and by commands that are on their way to it.

    Args:
        store: with the journal.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: dict[str, _Recent] = {}

    def known(self, causes: Sequence[Cause]) -> Known:
        """Returns the lines of the journal that these causes made already, by key or reference.

        Raises:
            StoreError: it could not be looked up.
        """
        hashes = [one for cause in causes for one in (cause.key, cause.reference) if one is not UNSET]
        return self._store.caused(hashes) if hashes else {}

    def replay(self, cause: Cause, lines: Known, now_ms: int) -> Answered | None:
        """Returns the answer to a command that was run before; None: it was not.

        Args:
            cause: of the command.
            lines: see `known`.
            now_ms: the time.
        """
        for digest, what in ((cause.reference, "reference"), (cause.key, "key")):
            if digest is UNSET:
                continue
            recent, line = self._recent.get(digest), lines.get(digest)
            if recent is not None and recent.cause.body == cause.body:
                return msgspec.structs.replace(recent.answered, replayed=True)
            if recent is not None:
                return _rejected(what, "", now_ms)
            if line is not None:
                return replayed(line, cause, what, now_ms)
        return None

    def remember(self, cause: Cause, answered: Answered) -> None:
        """Remembers a command that was run, until what it caused is durable."""
        for digest in (cause.key, cause.reference):
            if digest is not UNSET:
                self._recent[digest] = _Recent(cause, answered)

    def forget(self, cause: Cause | None) -> None:
        """Forgets a command whose lines are durable."""
        for digest in () if cause is None else (cause.key, cause.reference):
            if digest is not UNSET:
                self._recent.pop(digest, None)


def replayed(line: CausedLine, cause: Cause, what: str, now_ms: int) -> Answered:
    """Returns the answer to a command that caused this line before, rebuilt from the line.

    Args:
        line: the line.
        cause: of the command that is sent again.
        what: by which it was found, "reference" or "key".
        now_ms: the time.
    """
    done = _done(line)
    if _body_of(line) != cause.body:
        return _rejected(what, done, now_ms)
    event = line.event
    at = f"{datetime.fromtimestamp(line.time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    paid = isinstance(event, (ho.Deposited, ho.Withdrawn, ho.Handed))
    words = f"Already booked at {at}: {done}; nothing was {_VERBS.get(type(event), 'done')} again." if paid else (
        f"Already done at {at}: {done}; nothing was done again.")  # fmt: skip
    request = event.request.id if isinstance(event, ho.Requested) else ""
    quote = event.quote if isinstance(event, ho.Quoted) else None
    return Answered(done=True, words=words, time_ms=line.time_ms, id=quote.id if quote else request, quote=quote,
                    replayed=True)  # fmt: skip


def _body_of(line: CausedLine) -> str | None:
    """Returns the hash of the command that a line came from; of an older line, of the command that its event names."""
    if line.cause is not UNSET:
        return line.cause.body
    holder, event = line.stream.partition(":")[2], line.event
    match event:
        case ho.Deposited() | ho.Withdrawn():
            amount = event.amount if isinstance(event, ho.Deposited) else -event.amount
            wanted: Wanted = Pay(holder=holder, asset=event.asset, amount=amount, reference=event.reference, by="")
        case ho.Handed():
            wanted = HandOn(holder=holder, other=event.other, token=event.token, asset=event.asset,
                            amount=-(event.units or event.cash), reference=event.reference)  # fmt: skip
        case _:
            return None
    return cause_of("", "", wanted).body


_VERBS = {ho.Deposited: "credited", ho.Withdrawn: "debited", ho.Handed: "transferred"}


def _rejected(what: str, done: str, now_ms: int) -> Answered:
    then = f": {done}" if done else ""
    fix = ("If that was wrong, book it back under a reference of its own, and give this one another reference."
           if what == "reference" else "Give each command a key of its own.")  # fmt: skip
    return Answered(
        done=False, words=f"This {what} was used for something else, or another amount{then}. {fix}", time_ms=now_ms
    )


def _done(line: CausedLine) -> str:
    """Returns what a line's event did, in words."""
    name, event = line.stream.partition(":")[2], line.event
    match event:
        case ho.Deposited() | ho.Withdrawn():
            done = "credited" if isinstance(event, ho.Deposited) else "debited"
            return f"{name} was {done} {as_text(event.amount, grouped=True)} {event.asset} by {event.by}"
        case ho.Handed():
            amount = abs(event.units or event.cash)
            return f"{name} transferred {as_text(amount, grouped=True)} {event.token or event.asset} to {event.other}"
        case ho.Requested():
            return f"{event.request.id} was accepted"
        case ho.Quoted():
            return f"quote {event.quote.id} was given"
        case _:
            return f"line {line.seq} of {line.stream}"
