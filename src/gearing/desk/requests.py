"""What a desk is asked through its inbox, and what it answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from gearing.core.book import Difference
from gearing.core.dealing import Side
from gearing.core.events import Action, FeesHow
from gearing.core.holder import Quote
from gearing.core.token import Token
from gearing.errors import GearingError, InputError
from gearing.typed import PATTERN

Words = Annotated[str, msgspec.Meta(max_length=1_000, pattern=PATTERN)]
"""What a person writes; it is journalled and shown, so it is not a book and controls no terminal."""


class Operate(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="operate"):
    """Halt, resume, close or rebalance a token.

    Args:
        action: what to do.
        token: with which.
        by: who asks.
        reason: why.
    """

    action: Action
    token: Words
    by: Words
    reason: Words


class Change(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="change"):
    """Go on under another specification.

    Args:
        specification: whole; its symbol names the token.
        by: who asks.
        reason: why.
    """

    specification: Token
    by: Words
    reason: Words

    @property
    def token(self) -> str:
        """The token's symbol."""
        return self.specification.symbol


class SettleFunding(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="settle_funding"):
    """Book a funding settlement that the venue has not reported.

    Args:
        book: whose.
        symbol, settlement_ms: which.
        rate: that the venue published; a positive one is paid by longs, 0: there was none.
        by: who asks.
        reason: why.
    """

    book: Words
    symbol: Words
    settlement_ms: int
    rate: float
    by: Words
    reason: Words


class Adopt(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="adopt"):
    """Adopt what the venue has beyond a book's ledger, so that the book trades again.

    Args:
        book: which.
        differences: as they were shown; others are not adopted.
        tokens: that take all of it; none: the reserve takes the cash, and tokens that hold an instrument its lots.
        by: who asks.
        reason: why.
    """

    book: Words
    differences: tuple[Difference, ...]
    tokens: tuple[Words, ...] = ()
    by: Words
    reason: Words


class Pay(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="pay"):
    """Money of a holder came in from outside, or was paid out.

    Args:
        holder: its opaque id; the first deposit makes it one.
        asset: the currency.
        amount: minor units; paid out < 0.
        reference: the payer's; it counts once.
        by: who says so.
    """

    holder: Words
    asset: Words
    amount: int
    reference: Words
    by: Words


class Deal(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="deal"):
    """A holder subscribes to a token, or redeems units of it.

    Args:
        holder: its id.
        token: of which.
        side: subscribe or redeem.
        amount: money with its fee, minor units; or units.
        instant: whether it is dealt with the dealing account, at the first good price after its arrival, if that can;
            otherwise when the window ends.
    """

    holder: Words
    token: Words
    side: Side
    amount: int
    instant: bool = False


class AskQuote(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="quote"):
    """A holder requests a firm quote to subscribe or redeem at once; see `Deal`. It voids the holder's open quote."""

    holder: Words
    token: Words
    side: Side
    amount: int


class TakeQuote(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="take_quote"):
    """A holder accepts its open quote; the acceptance is judged at the first good price after its arrival."""

    holder: Words
    id: Words


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="cancel"):
    """A holder takes a request back that is not being dealt."""

    holder: Words
    id: Words


class HandOn(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="hand_on"):
    """A holder hands units or money to another.

    Args:
        holder, other: from whom, and to whom.
        token: whose units; empty: money.
        asset: the currency; empty: units.
        amount: units or minor units, > 0.
        reference: of the transfer; it counts once.
    """

    holder: Words
    other: Words
    token: Words = ""
    asset: Words = ""
    amount: int
    reference: Words


class TakeFees(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="take_fees"):
    """The issuer takes fees that a token owes it.

    Args:
        token: its symbol.
        amount: minor units; 0: all that is owed then.
        how: in money, in new units, or for units of its own, which are burned.
        by: who asks.
        reason: why.
    """

    token: Words
    amount: int
    how: FeesHow
    by: Words
    reason: Words


class Merge(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask", tag="merge"):
    """The issuer merges a token's units.

    Args:
        token: its symbol.
        factor: so many become one.
        by: who asks.
        reason: why.
    """

    token: Words
    factor: float
    by: Words
    reason: Words


AtCounter = Pay | Deal | AskQuote | TakeQuote | Cancel | HandOn
Wanted = Operate | Change | TakeFees | Merge | SettleFunding | Adopt | AtCounter
ISSUERS = (Operate, Change, TakeFees, Merge, SettleFunding, Adopt)
"""Commands of the issuer; all others are of a holder."""


class QuoteTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a firm quote says, for a reader.

    Args:
        unit_price: of a whole unit without the fee, minor units.
        inav: that it is based on, minor units per whole unit.
        difference_pct: of the unit price to iNAV, in percent; below it < 0.
        fee: minor units.
        expires_ms: the last moment it may be accepted, in the market's time, ms UTC.
        expires_at: the same on the reader's clock, ISO 8601 in UTC; a demo's market runs faster than that.
    """

    unit_price: int
    inav: int
    difference_pct: float
    fee: int
    expires_ms: int
    expires_at: str

    @classmethod
    def of(cls, quote: Quote, expires_at: datetime) -> QuoteTerms:
        """Returns the terms of a quote that expires at this wall-clock time."""
        return cls(
            unit_price=quote.unit_price, inav=quote.base_inav, difference_pct=quote.difference_pct, fee=quote.fee,
            expires_ms=quote.until_ms, expires_at=expires_at.isoformat(timespec="milliseconds"),
        )  # fmt: skip


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request.

    Args:
        done: whether it was carried out.
        words: what was done, or why not.
        time_ms: the market's time of it.
        status: of the token after it; empty: there is no such token, or none was asked for.
        id: of the request that was accepted, if one was.
        place: its place among those of its token and side that wait.
        deals_ms: the earliest time that it is dealt, the market's, ms UTC; 0: not known yet, the words say why.
        deals_at: the same on the reader's clock, ISO 8601 in UTC; a demo's market runs faster than that.
        quote: that was given, or by which was dealt.
        replayed: whether it was done before, and not again.
        terms: of the quote that was given.
        code: of the rejection, where programs may want to know it.
    """

    done: bool
    words: str
    time_ms: int
    status: str = ""
    id: str = ""
    place: int = 0
    deals_ms: int = 0
    deals_at: str = ""
    quote: Quote | None = None
    replayed: bool = False
    terms: QuoteTerms | None = None
    code: str = ""


def is_rejected(answered: Answered) -> bool:
    """Returns whether a command was rejected; nothing of it may stay."""
    return not answered.done


encode = msgspec.json.Encoder(order="deterministic").encode
_WANTED = msgspec.json.Decoder(Wanted)
answered_of = msgspec.json.Decoder(Answered).decode


def wanted_of(body: bytes) -> Wanted:
    """Reads a command.

    Raises:
        InputError: it is none, whatever is wrong with it.
    """
    try:
        wanted: Wanted = _WANTED.decode(body)
    except (msgspec.DecodeError, GearingError, ValueError, OverflowError, RecursionError) as error:
        why = str(error).replace(f"`str` matching regex {PATTERN!r}", "text without control characters")
        raise InputError(f"the request cannot be read: {why}") from error
    return wanted
