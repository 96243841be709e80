"""A holder: one account of cash and units, under an opaque id, with everything that still waits to be dealt.

Double entry in minor units, debits positive. An account's name says what is counted and where it stands:
"cash:USDT:free", "cash:USDT:held" and "units:BTC3L:free" are the holder's own; "units:BTC3L:short" are those that the
dealing account gave out and has not got yet, below zero; "…:outside" is where deposits come from, "…:holders" other
holders, "…:BTC3L" the token that was dealt with, and "…:fees-BTC3L" what the issuer earned by it. So all postings of
one asset sum to zero, and what the holders of a token dealt with it is, over all of them, what the token's own ledger
says.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core.events import Event, FeesHow
from gearing.core.money import MINOR, as_text

Side = Literal["subscribe", "redeem"]
Kind = Literal["matched", "hedged", "final", "unwound"]

# Who issues: its units are those a token is seeded with. And the issuer's dealing account, which is on the other side
# of instant dealings.
ISSUER, DEALER = "issuer", "dealer"

# Between an omnibus holder and its sub-holder.
SUB = "/"

FREE, HELD, SHORT, OUTSIDE, HOLDERS = "free", "held", "short", "outside", "holders"
ACCOUNTS = (FREE, HELD, SHORT, OUTSIDE, HOLDERS)
# Where what is a holder's own stands, as statements and sums count it; what the dealing account is short of counts off.
OWN = frozenset({FREE, HELD, SHORT})


def omnibus_of(name: str) -> str:
    """Returns whose sub-holder a holder is: "EX" of "EX/c1"; empty: nobody's."""
    omnibus, slash, _ = name.partition(SUB)
    return omnibus if slash else ""


def together(name: str) -> str:
    """Returns what an omnibus holder and its sub-holders are called together: "EX/*", which is no holder's id."""
    return f"{name}{SUB}*"


def fees_account(token: str) -> str:
    """Returns the name of the account of what the issuer earned by a token; no token has one with a hyphen."""
    return f"fees-{token}"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription or redemption that was accepted and waits; what it needs is set aside.

    Args:
        id: its name, never used again.
        token: of which units are wanted or given back.
        side: subscribe or redeem.
        asset: the currency that is paid in or out.
        amount: what is still set aside: minor units of money of a subscription, units of a redemption.
        turn: its place among all requests of the desk; who came first is dealt with first.
        accepted_ms: when it was accepted.
        money: what of it counts against the caps of the day it was accepted, minor units; unset: nothing does.
    """

    id: str
    token: str
    side: Side
    asset: str
    amount: int
    turn: int
    accepted_ms: int
    money: int | UnsetType = UNSET


class Bearing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a token stood when units came in or went out; what a holding made since then is the difference to now.

    Args:
        nav: minor units per whole unit.
        level: the underlying, or the index of a basket.
        parts: what one unit made so far by each part of attribution, in units of the currency (`core.attribution`).
    """

    nav: int
    level: float
    parts: tuple[float, ...]


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """What a firm quote or an instant dealing was priced at; with the token's state its amounts follow from it.

    Args:
        time_ms: of the prices, or up to when the token's fee was charged already.
        marks: of each leg; mark or fair price, whichever is worse for the holder.
        accrued: the funding that had accrued on each leg, a fraction of its value.
        cost: of hedging, as a fraction of what a hedge trades.
    """

    time_ms: int
    marks: tuple[float, ...]
    accrued: tuple[float, ...]
    cost: float


class Day(msgspec.Struct, frozen=True, array_like=True):
    """What a holder asked of a token on one day, in money, minor units: to subscribe, and to redeem."""

    day: int
    subscribed: int = 0
    redeemed: int = 0

    def with_asked(self, day: int, side: Side, money: int) -> Day:
        """Returns it after another request; another day begins at nothing."""
        since = self if self.day == day else Day(day)
        if side == "subscribe":
            return Day(day, since.subscribed + money, since.redeemed)
        return Day(day, since.subscribed, since.redeemed + money)


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A firm quote for one holder: it may be accepted until it expires, unless it is void by then.

    Args:
        id: never used again; empty: dealt without a quote.
        token: whose units are created or redeemed.
        side: subscribe or redeem.
        asset: the currency.
        units: created or redeemed, in 1e-8 of a unit.
        cash: paid by the holder (fee included), or to the holder (fee deducted), minor units.
        fee: the part of it that is the fee, or that was deducted.
        inav: of this side when the quote was given, with accrued funding, minor units per whole unit; unset: an
            earlier program gave it, which did not record it.
        until_ms: the last moment it may be accepted, in the market's time.
        pricing: what it was priced at; unset: an earlier program gave it.
    """

    id: str
    token: str
    side: Side
    asset: str
    units: int
    cash: int
    fee: int
    inav: int | UnsetType = UNSET
    until_ms: int
    pricing: Pricing | UnsetType = UNSET

    @property
    def gross(self) -> int:
        """The money without the fee, minor units."""
        return self.cash - self.fee if self.side == "subscribe" else self.cash + self.fee

    @property
    def unit_price(self) -> int:
        """The price of a whole unit without the fee, minor units, rounded half to even."""
        return round(Fraction(self.gross * MINOR, self.units))

    @property
    def base_inav(self) -> int:
        """The iNAV that it is based on, minor units per whole unit; 0: not recorded."""
        return 0 if self.inav is UNSET else self.inav

    @property
    def difference_pct(self) -> float:
        """How far the unit price is above iNAV (below: < 0), in percent."""
        return (self.unit_price / self.base_inav - 1.0) * 100.0 if self.base_inav else 0.0

    @property
    def terms(self) -> str:
        """What it gives for what, in words that follow the holder's name."""
        units, cash = as_text(self.units, grouped=True), as_text(self.cash, grouped=True)
        fee = as_text(self.fee, grouped=True)
        if self.side == "subscribe":
            including = f", including a fee of {fee}" if self.fee else ""
            return f"gets {units} {self.token} for {cash} {self.asset}{including}"
        after = f", after a fee of {fee}" if self.fee else ""
        return f"gets {cash} {self.asset} for {units} {self.token}{after}"


class HolderState(msgspec.Struct, frozen=True, kw_only=True):
    """A holder between two events.

    Args:
        balances: what stands on each account, minor units, debits positive; no account of 0.
        requests: that wait, by id.
        accepted: how many requests were accepted so far.
        asked: what was asked of each token on the last day that anything was.
        open_quote: the last quote, if it was neither accepted nor voided; it may have expired. Unset: there is none.
        quoted: how many quotes were given so far.
    """

    balances: dict[str, int] = {}
    requests: dict[str, Request] = {}
    accepted: int = 0
    asked: dict[str, Day] = {}
    open_quote: Quote | UnsetType = UNSET
    quoted: int | UnsetType = UNSET

    def cash(self, asset: str, where: str = FREE) -> int:
        """Returns the money on an account, minor units."""
        return self.balances.get(f"cash:{asset}:{where}", 0)

    def units(self, token: str, where: str = FREE) -> int:
        """Returns the units on an account, in 1e-8 of a unit."""
        return self.balances.get(f"units:{token}:{where}", 0)

    def held_units(self, token: str) -> int:
        """Returns all units a holder has, those that wait to be redeemed among them; what it is short of counts off."""
        return sum(self.units(token, where) for where in (FREE, HELD, SHORT))

    def quote(self, name: str) -> Quote | None:
        """Returns the quote of this id if it is the open one, expired or not."""
        return self.open_quote if self.open_quote is not UNSET and self.open_quote.id == name else None


class Deposited(Event, frozen=True, kw_only=True, tag="deposited"):
    """Money came in from outside, as an operator says; the reference is the payer's, and counts once."""

    asset: str
    amount: int
    reference: str
    by: str


class Withdrawn(Event, frozen=True, kw_only=True, tag="withdrawn"):
    """Money was paid out, as an operator says."""

    asset: str
    amount: int
    reference: str
    by: str


class Granted(Event, frozen=True, kw_only=True, tag="granted"):
    """The issuer was given units outside of any dealing: those a token was seeded with.

    Args:
        token: of which.
        units: in 1e-8 of a unit.
        asset: the currency.
        cash: what it gave for them.
        bearing: where the token stood.
    """

    token: str
    units: int
    asset: str
    cash: int
    bearing: Bearing


class Collected(Event, frozen=True, kw_only=True, tag="collected"):
    """The issuer collected fees: in money, in new units, or as the price of units it gave up, which are burned.

    Args:
        token: of which.
        how: cash, units or burn.
        units: created or burned, in 1e-8 of a unit; of cash, none.
        asset: the currency.
        cash: minor units: the fees, or what was paid for the units.
        bearing: where the token stood.
    """

    token: str
    how: FeesHow
    units: int
    asset: str
    cash: int
    bearing: Bearing


class Requested(Event, frozen=True, kw_only=True, tag="requested"):
    """A request was accepted; what it needs is set aside.

    Args:
        request: what was asked.
        money: its worth then, minor units: what counts against the caps of its day.
    """

    request: Request
    money: int


class Released(Event, frozen=True, kw_only=True, tag="released"):
    """A request ended; what was still set aside for it is free again."""

    id: str
    words: str


class Dealt(Event, frozen=True, kw_only=True, tag="dealt"):
    """A request, or a part of it, was dealt.

    Args:
        id: the request.
        kind: against requests of the other side, against a hedge of its own, the final redemption of a token, or
            unwound: nothing was dealt, and this is what the hedge that failed cost the request.
        units: created for the holder, or burned; of an unwound subscription, none.
        cash: paid by the holder (fee included), or paid out to the holder (fee taken off), ≥ 0, minor units.
        fee: that part of it which the issuer charged, or took off.
        bearing: where the token stood.
    """

    id: str
    kind: Kind
    units: int
    cash: int
    fee: int
    bearing: Bearing


class Handed(Event, frozen=True, kw_only=True, tag="handed"):
    """Units or money passed between two holders; the other's line bears the same reference and the opposite sign.

    Args:
        token: whose units; empty: money alone.
        units: signed, received > 0.
        asset: the currency; empty: units alone.
        cash: signed, received > 0.
        other: the other holder.
        reference: of the transfer.
        bearing: where the token stood; of money alone, none.
    """

    token: str = ""
    units: int = 0
    asset: str = ""
    cash: int = 0
    other: str
    reference: str
    bearing: Bearing | None = None


class Quoted(Event, frozen=True, kw_only=True, tag="quoted"):
    """A quote was given; a holder has one open quote over all tokens, so it voids the one before.

    Args:
        quote: the quote.
        replaces: the id of the open quote that it voids; empty: there was none.
    """

    quote: Quote
    replaces: str = ""


class QuoteVoided(Event, frozen=True, kw_only=True, tag="quote_voided"):
    """A quote was accepted and could not be dealt; it is void, and cannot be accepted again.

    Args:
        id: the quote.
        reason: why.
    """

    id: str
    reason: str


class Exchanged(Event, frozen=True, kw_only=True, tag="exchanged"):
    """Units were dealt at once, with the issuer's dealing account; its line bears the opposite signs.

    Args:
        id: the holder's quote that was accepted; empty: it was dealt without one.
        token: of which.
        asset: the currency.
        units: signed, received > 0.
        cash: signed, received > 0.
        fee: the part of it that is the fee.
        other: who is on the other side.
        money: what counts against the caps of the day; of the dealing account, nothing.
        lends: whether units are given out that are not there yet, as the dealing account may.
        bearing: where the token stood.
        pricing: what it was priced at, or a quote that was accepted was held against; unset: on the other side's line.
    """

    id: str = ""
    token: str
    asset: str
    units: int
    cash: int
    fee: int
    other: str
    money: int = 0
    lends: bool = False
    bearing: Bearing
    pricing: Pricing | UnsetType = UNSET


class Merged(Event, frozen=True, kw_only=True, tag="merged"):
    """Units were consolidated: they were rounded down, and what was cut off was paid in money.

    Args:
        token: whose units.
        units: free, after it.
        held: set aside for redemptions, after it.
        short: lent by the dealing account, after it, ≤ 0; rounded down too.
        requests: what each of the token's redemptions still redeems after it, by id.
        asset: the currency.
        cash: paid for what was cut off, minor units.
    """

    token: str
    units: int
    held: int
    short: int = 0
    requests: dict[str, int]
    asset: str
    cash: int


HolderEvent = (
    Deposited
    | Withdrawn
    | Granted
    | Collected
    | Requested
    | Released
    | Dealt
    | Handed
    | Quoted
    | QuoteVoided
    | Exchanged
    | Merged
)
