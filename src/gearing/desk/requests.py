"""What a desk is asked through its inbox, and what it answers."""

from __future__ import annotations

import msgspec

from gearing.core.events import Action
from gearing.core.token import Token


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


class Change(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="change"):
    """Go on under another specification.

    Args:
        specification: whole; its symbol names the token.
        by: who asks.
        reason: why.
    """

    specification: Token
    by: str
    reason: str

    @property
    def token(self) -> str:
        """The token's symbol."""
        return self.specification.symbol


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
wanted_of = msgspec.json.Decoder(Operate | Change).decode
answered_of = msgspec.json.Decoder(Answered).decode
