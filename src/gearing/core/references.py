"""The payer's reference of a payment or transfer, by which it counts once for ever."""

from __future__ import annotations

import hashlib
from typing import Literal

from gearing.core.holder import Deposited, Handed, HolderEvent, Withdrawn

CAUSED_SINCE = 8
"""The first behaviour whose lines carry causes; of lines before it the reference is known from the event alone."""

ReferenceKind = Literal["pay", "transfer"]


def hash_texts(*parts: str) -> str:
    """Returns the hash of texts, each preceded by its length, so that no two lists of them are alike: 64 hex digits."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def reference_hash(holder: str, kind: ReferenceKind, reference: str) -> str:
    """Returns the hash by which a reference is known again: 64 hex digits.

    Args:
        holder: whose payment, or who sends the transfer.
        kind: which of the two.
        reference: the payer's.
    """
    return hash_texts(holder, kind, reference)


def event_reference(holder: str, event: HolderEvent) -> str | None:
    """Returns the hash of the reference that an event of a holder has used up; None: it uses none."""
    match event:
        case Deposited() | Withdrawn():
            return reference_hash(holder, "pay", event.reference)
        case Handed() if event.units < 0 or event.cash < 0:
            return reference_hash(holder, "transfer", event.reference)
        case _:
            return None
