"""Whose requests a hedged flow is made of: a stream of each token's own, so that the token's journal names no holder.

The token's line has their count and their digest. So its journal may be published without those of holders, books and
flows, and whoever has all of them can prove that they belong together.
"""

from __future__ import annotations

import hashlib

import msgspec

from gearing.core.events import Event, Part


class FlowNamed(Event, frozen=True, kw_only=True, tag="flow_named"):
    """The requests of a flow whose hedge begins.

    Args:
        number: of the dealing, as the token counts them.
        parts: in the order in which they are dealt.
        salt: by which nobody who guesses parts can tell them from their digest.
    """

    number: int
    parts: tuple[Part, ...]
    salt: str


class FlowsState(msgspec.Struct, frozen=True, kw_only=True):
    """The flows of a token between two events.

    Args:
        number: of the last dealing.
    """

    number: int = 0


class FlowsError(Exception):
    """A flow that cannot be named."""


def flows_step(state: FlowsState, event: FlowNamed) -> FlowsState:
    """Returns the state after a flow was named.

    Raises:
        FlowsError: it comes out of turn, or has no parts.
    """
    if event.number <= state.number or not event.parts:
        raise FlowsError(f"flow {event.number} of {len(event.parts)} requests cannot follow flow {state.number}")
    return FlowsState(number=event.number)


def digest_of(parts: tuple[Part, ...], salt: str) -> str:
    """Returns 32 hex digits: of SHA-256 of salt and parts as a JSON array, the first half."""
    return hashlib.sha256(msgspec.json.encode((salt, parts))).hexdigest()[:32]
