"""What a desk is asked through its inbox, and what it answers."""

from __future__ import annotations

import msgspec

from gearing.core.events import Action


class Operate(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="operate"):
    """Halt, resume, close or rebalance a token.

    Args:
        action: what to do.
        token: with which.
        by: who asks.
        reason: why.
    """

    action: Action
    token: str
    by: str
    reason: str


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request.

    Args:
        done: whether it was carried out.
        words: what was done, or why not.
        time_ms: the market's time of it.
        status: of the token after it; empty: there is no such token.
    """

    done: bool
    words: str
    time_ms: int
    status: str = ""


encode = msgspec.json.Encoder(order="deterministic").encode
operate_of = msgspec.json.Decoder(Operate).decode
answered_of = msgspec.json.Decoder(Answered).decode
