"""What each stream says of the shares that holders get from a token, as records: those given, and those got.

`store.share_log` gathers them from one stream, and `store.share_check` holds one side against the other. Facts of
100,000 shares pass from one process to another, so each is packed into some tens of bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core.holder import Bearing, HolderState, Merged, Pricing, Quote, Side
from gearing.core.merging import MergerTerms
from gearing.core.money import INT64_MAX
from gearing.store.breach import Breach

_SHARE = struct.Struct(">16s16s7qB")
# What a request had set aside, where whoever says so does not know.
UNKNOWN = -1
# What is known of a share, as bits.
AT_MOST, MATCHED, FINAL, SELLS = 1, 2, 4, 8


class Share(NamedTuple):
    """One share, on the side that gives or on the side that got it.

    Args:
        key: names it: token, holder, request, kind and time; of a final redemption, whose holder the token's line does
            not name, token, time and units.
        stood: digest of where its token stood, see `digest_of_bearing`.
        units, cash, fee: what is given, as of `Dealt`.
        amount: what its request had set aside before; `UNKNOWN` where the line does not tell.
        n, seq: the line, over all streams and in its own.
        place: of the holder among the names of who gives.
        flags: see below.
    """

    key: bytes
    stood: bytes
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
        stood: as of `Share`.
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
    stood: bytes


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
        stream, n, seq: the holder's line.
        time_ms: when.
        token: of which.
        side: of the holder.
        asset: the currency.
        units, cash, fee: as of `gearing.core.holder.Quote`.
        inav, until_ms: of a quote.
        money: of a dealing, what counts against the caps of the day.
        pricing: as the line says.
        bearing: of a dealing.
        accepted: the quote that was accepted.
    """

    stream: str
    n: int
    seq: int
    time_ms: int
    token: str
    side: Side
    asset: str
    units: int
    cash: int
    fee: int
    pricing: Pricing | UnsetType
    inav: int | UnsetType = UNSET
    until_ms: int = 0
    money: int = 0
    bearing: Bearing | UnsetType = UNSET
    accepted: Quote | UnsetType = UNSET

    @property
    def how(self) -> str:
        """What was done, in a word."""
        return "quoted" if self.bearing is UNSET else "dealt at once" if self.accepted is UNSET else "dealt by a quote"


class Stood(NamedTuple):
    """Where a holder's line, other than of a share or a dealing at once, says that its token stood.

    Args:
        stream, n, seq: the line.
        token: of which.
        bearing: as the line says.
    """

    stream: str
    n: int
    seq: int
    token: str
    bearing: Bearing

    @property
    def how(self) -> str:
        """What was done, in a word."""
        return "given or gave units of"


_NONE: Mapping[str, bytes] = {}


class ShareFacts(NamedTuple):
    """What one stream gives and got.

    Args:
        given: of a token or book, packed shares that it gives.
        got: of a holder or book, packed shares that it got, by token.
        names: the holders to whom it gives.
        matches, mergers: of a token.
        merged: of a holder.
        at_once: of a holder, its instant dealings and quotes, and where tokens stood when units came or went otherwise.
        blind: ranges of n in which it is not known what it gives, or got: from the first number up to the second.
        faults: what does not hold within the stream.
    """

    given: bytes = b""
    got: Mapping[str, bytes] = _NONE
    names: tuple[str, ...] = ()
    matches: tuple[MatchedFlow, ...] = ()
    mergers: tuple[MergedUnits, ...] = ()
    merged: tuple[MergedHolding, ...] = ()
    at_once: tuple[AtOnce | Stood, ...] = ()
    blind: tuple[tuple[int, int], ...] = ()
    faults: tuple[Breach, ...] = ()

    def is_blind(self, n: int) -> bool:
        """Returns whether it is not known what the stream's last line up to n gives, or got."""
        return any(first <= n < last for first, last in self.blind)


def digest_of_bearing(bearing: Bearing) -> bytes:
    """Returns 16 bytes that tell one bearing from another."""
    return hashlib.blake2b(msgspec.json.encode(bearing), digest_size=16).digest()


def pack_share(key: bytes, stood: bytes, figures: tuple[int, ...], flags: int) -> bytes:
    """Returns a share as bytes; what no ledger holds is cut off, since the line that says so is a fault of its own."""
    return _SHARE.pack(key, stood, *(max(-INT64_MAX, min(one, INT64_MAX)) for one in figures), flags)


def shares_of(packed: bytes) -> Iterator[Share]:
    """Yields packed shares."""
    for one in _SHARE.iter_unpack(packed):
        yield Share(*one)


def amounts(units: int, cash: int, fee: int) -> str:
    """Returns what is given in words, in minor units."""
    return f"{units} units, {cash} of money, a fee of {fee}"


_HELD = msgspec.json.Decoder(tuple[HolderState, Merged])
