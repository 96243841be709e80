"""References: a payment or transfer counts once by the payer's own reference, whoever books it and however often.

A reference is a holder's. What was refused has not used it up: the same may be asked again once it is possible.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import msgspec

from gearing.core.money import as_text
from gearing.desk.requests import HandOn, Pay, answered_of, wanted_of
from gearing.errors import InputError
from gearing.store.store import Store


class Counted(NamedTuple):
    """What is asked under a reference, as it was first asked, and its key in the inbox."""

    wanted: Pay | HandOn
    key: str


def principal_of(wanted: Pay | HandOn) -> str:
    """Returns whose the keys of a payment or transfer are."""
    return f"holder:{wanted.holder}"


def counted_once(store: Store, wanted: Pay | HandOn) -> Counted:
    """Returns what stands for a payment or transfer in the inbox: the same that was asked before, or this one.

    Raises:
        InputError: the reference stands for something else of this holder.
    """
    for attempt in count(1):
        key = _key(wanted, attempt)
        kept = store.kept(principal_of(wanted), key)
        if kept is None:
            return Counted(wanted, key)
        if kept.answer is not None and not answered_of(kept.answer).done:
            continue
        before = wanted_of(kept.body)
        if isinstance(before, (Pay, HandOn)) and _nameless(before) == _nameless(wanted):
            return Counted(before, key)
        words = _told(before) if isinstance(before, (Pay, HandOn)) else "another request"
        raise InputError(
            f"{wanted.holder} has {wanted.reference!r} already, for something else: {words}.", where="--reference",
            fix="If that was wrong, book it back under a reference of its own; then give this one another too.",
        )  # fmt: skip
    raise AssertionError("unreachable")


def _key(wanted: Pay | HandOn, attempt: int) -> str:
    kind = "pay" if isinstance(wanted, Pay) else "transfer"
    return f"{kind}{'' if attempt == 1 else f'.{attempt}'}:{wanted.reference}"


def _nameless(wanted: Pay | HandOn) -> Pay | HandOn:
    return msgspec.structs.replace(wanted, by="") if isinstance(wanted, Pay) else wanted


def _told(wanted: Pay | HandOn) -> str:
    if isinstance(wanted, Pay):
        done = "credited" if wanted.amount > 0 else "debited"
        return f"{done} {as_text(abs(wanted.amount), grouped=True)} {wanted.asset}, by {wanted.by}"
    return f"{as_text(wanted.amount, grouped=True)} {wanted.token or wanted.asset} to {wanted.other}"
