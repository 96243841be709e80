"""What each stream says of the shares that holders get from a token, as records: those given, and those got.

`store.share_log` gathers them from one stream, and `store.share_check` holds one side against the other. Facts of
100,000 shares pass from one process to another, so each is packed into some tens of bytes.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from gearing.core.holder import HolderState, Merged
from gearing.core.merging import MergerTerms
from gearing.core.money import INT64_MAX
from gearing.store.breach import What

_SHARE = struct.Struct(">16s7qB")
# What a request had set aside, where whoever says so does not know.
UNKNOWN = -1
# What is known of a share, as bits.
AT_MOST, MATCHED, FINAL, SELLS = 1, 2, 4, 8


class Share(NamedTuple):
    """One share, on the side that gives or on the side that got it.

    Args:
        key: names it: token, holder, request, kind and time; of a final redemption, whose holder the token's line does
            not name, token, time and units.
        units, cash, fee: what is given, as of `Dealt`.
        amount: what its request had set aside before; `UNKNOWN` where the line does not tell.
        n, seq: the line, over all streams and in its own.
        place: of the holder among the names of who gives.
        flags: see below.
    """

    key: bytes
    units: int
    cash: int
    fee: int
    amount: int
    n: int
    seq: int
    place: int
    flags: int

    @property
    def is_matched(self) -> bool:
        """Whether it is of a match."""
        return bool(self.flags & MATCHED)

    @property
    def is_final(self) -> bool:
        """Whether it is of the final redemption of a token."""
        return bool(self.flags & FINAL)

    @property
    def sells(self) -> bool:
        """Whether units are given back for it."""
        return bool(self.flags & SELLS)

    @property
    def is_capped(self) -> bool:
        """Whether the request may have set aside more than its dealing took, since the supply has a cap."""
        return bool(self.flags & AT_MOST)


class MatchedFlow(NamedTuple):
    """A match as its token's line says it: at what worth, at which fees, and the totals.

    Args:
        n, seq: the line.
        time_ms: when.
        equity, units_worth: see `core.dealing.Worth`.
        creation, redemption: the issuer's fees.
        units, cash, fee, parties: as of `FlowMatched`.
    """

    n: int
    seq: int
    time_ms: int
    equity: int
    units_worth: int
    creation: float
    redemption: float
    units: int
    cash: int
    fee: int
    parties: int


class MergedUnits(NamedTuple):
    """A merger as its token's line says it: its terms, and the units that are left and the money paid in all."""

    n: int
    seq: int
    terms: MergerTerms
    units: int
    cash: int


class MergedHolding(NamedTuple):
    """What a merger left one holder: the line, what the holder had of the token before, and the event, both packed."""

    n: int
    seq: int
    token: str
    packed: bytes

    def read(self) -> tuple[HolderState, Merged]:
        """Returns what the holder had before, and what the line says."""
        return _HELD.decode(self.packed)


class AtOnce(NamedTuple):
    """An instant dealing of a holder, or a firm quote.

    Args:
        n, seq: the holder's line.
        token: of which.
        units: received by the holder > 0, given < 0.
        cash: paid or received by the holder, minor units, ≥ 0.
        fee: that part of it.
        price: the NAV at which it was dealt; of a quote its iNAV.
        how: dealt without a quote, dealt by one, or quoted.
    """

    n: int
    seq: int
    token: str
    units: int
    cash: int
    fee: int
    price: int
    how: str


class QuoteTerms(NamedTuple):
    """At what terms a token gives quotes from a line on.

    Args:
        n: the line.
        creation, redemption: the issuer's fees.
        swing: of the quotes.
        cost: of trading, by the specification.
        legs: how many there are.
        divergence: how far the mark may be from the index in a dealing.
        target: the size of the target leverage.
        gives: whether quotes are given at all.
    """

    n: int
    creation: float
    redemption: float
    swing: float
    cost: float
    legs: int
    divergence: float
    target: float
    gives: bool


class NavSeries(NamedTuple):
    """What bounds the prices of a token that gives quotes, after each of its lines.

    Args:
        n: the line.
        nav: minor units per whole unit.
        leverage: what it holds of all legs, without signs, over its equity.
        cost: of hedging a flow, as measured until then, a fraction of its value; below 0: not known.
        funded, rate: each line that books or accrues funding, and the size of its rate.
    """

    n: array[int]
    nav: array[int]
    leverage: array[float]
    cost: array[float]
    funded: array[int]
    rate: array[float]


def no_navs() -> NavSeries:
    """Returns an empty series."""
    return NavSeries(array("q"), array("q"), array("f"), array("f"), array("q"), array("f"))


class Fault(NamedTuple):
    """What does not hold within one stream: which line, what it says, and what it should say."""

    seq: int
    what: What
    found: str
    expected: str


_NONE: Mapping[str, bytes] = {}


class ShareFacts(NamedTuple):
    """What one stream gives and got.

    Args:
        given: of a token or book, packed shares that it gives.
        got: of a holder or book, packed shares that it got, by token.
        names: the holders to whom it gives.
        matches, mergers: of a token.
        merged: of a holder.
        at_once: of a holder, its instant dealings and quotes.
        terms, navs: of a token that gives quotes.
        blind: ranges of n in which it is not known what it gives, or got: from the first number up to the second.
        faults: what does not hold within the stream.
    """

    given: bytes = b""
    got: Mapping[str, bytes] = _NONE
    names: tuple[str, ...] = ()
    matches: tuple[MatchedFlow, ...] = ()
    mergers: tuple[MergedUnits, ...] = ()
    merged: tuple[MergedHolding, ...] = ()
    at_once: tuple[AtOnce, ...] = ()
    terms: tuple[QuoteTerms, ...] = ()
    navs: NavSeries = no_navs()
    blind: tuple[tuple[int, int], ...] = ()
    faults: tuple[Fault, ...] = ()

    def is_blind(self, n: int) -> bool:
        """Returns whether it is not known what the stream's last line up to n gives, or got."""
        return any(first <= n < last for first, last in self.blind)


def pack_share(key: bytes, figures: tuple[int, ...], flags: int) -> bytes:
    """Returns a share as bytes; what no ledger holds is cut off, since the line that says so is a fault of its own."""
    return _SHARE.pack(key, *(max(-INT64_MAX, min(one, INT64_MAX)) for one in figures), flags)


def shares_of(packed: bytes) -> Iterator[Share]:
    """Yields packed shares."""
    for one in _SHARE.iter_unpack(packed):
        yield Share(*one)


def amounts(units: int, cash: int, fee: int) -> str:
    """Returns what is given in words, in minor units."""
    return f"{units} units, {cash} of money, a fee of {fee}"


_HELD = msgspec.json.Decoder(tuple[HolderState, Merged])
