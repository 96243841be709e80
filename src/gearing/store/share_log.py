"""What each stream says of the shares that holders get from a token: those that it gives, and those that it got.

A token's line gives shares: a settlement to each part of the flow, a final redemption to one holder, a match to all
whose requests met, a merger to everybody with units. Here they are worked out again from the token's own state, with
the functions that the desk uses. A holder's line got one. A book owes a share to a holder whose stream is not run: it
got it from the token, and gives it once it is booked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from gearing.core import events as ev
from gearing.core.book import BookEvent, Owed, ShareBooked, ShareOwed
from gearing.core.dealing import bearing, worth
from gearing.core.flow_parts import FlowNamed, digest_of
from gearing.core.holder import (
    DEALER,
    OWN,
    Collected,
    Dealt,
    Exchanged,
    Granted,
    Handed,
    HolderState,
    Kind,
    Merged,
    Quoted,
    Side,
)
from gearing.core.journal import Line
from gearing.core.merging import MergerTerms
from gearing.core.money import INT64_MAX
from gearing.core.netting import Ask, Given, Rates, final_share, settlement, supply_room
from gearing.core.state import TokenState
from gearing.core.step import BEHAVIOUR
from gearing.core.terms import Spec
from gearing.store.breach import Breach, What
from gearing.store.records import BookLine, HolderLine
from gearing.store.shares import (
    AT_MOST,
    FINAL,
    MATCHED,
    SELLS,
    UNKNOWN,
    AtOnce,
    MatchedFlow,
    MergedHolding,
    MergedUnits,
    ShareFacts,
    Stood,
    amounts,
    digest_of_bearing,
    pack_share,
)


class ShareLog:
    """Gathers what one stream gives and got, line by line.

    Args:
        stream: its name.
        end_n: lines after this one are passed over.
        flows: of a token, the requests of its dealings, by their number.
    """

    def __init__(self, stream: str, end_n: int, flows: Mapping[int, FlowNamed]) -> None:
        self._flows = dict(flows)
        self._stream, self._end_n = stream, end_n
        self._name = stream.partition(":")[2]
        self._given, self._got = bytearray(), dict[str, bytearray]()
        self._places: dict[str, int] = {}
        self._parts: tuple[ev.Part, ...] = ()
        self._owed: dict[str, Owed] = {}
        self._matches: list[MatchedFlow] = []
        self._mergers: list[MergedUnits] = []
        self._merged: list[MergedHolding] = []
        self._at_once: list[AtOnce | Stood] = []
        self._blind: list[tuple[int, int]] = []
        self._faults: list[Breach] = []

    def take_token(
        self, n: int, line: Line, spec: Spec | None, before: TokenState | None, after: TokenState | None
    ) -> None:  # fmt: skip
        """Takes a line of a token.

        Args:
            n: its number over all streams.
            line: it.
            spec: of the token after it.
            before, after: its states; None: not known.
        """
        if n > self._end_n:
            return
        self._see(n, is_known=line.behaviour == BEHAVIOUR and before is not None and after is not None)
        if isinstance(line.event, ev.DealingBegun):
            self._parts = self._parts_of(line.seq, line.event, before)
        if spec is None:
            return
        if line.behaviour != BEHAVIOUR or before is None or after is None:
            return
        try:
            self._take_flow(n, line, spec, before, after)
        except (ArithmeticError, LookupError, ValueError) as error:
            self._faults.append(Breach(self._stream, line.seq, "share", type(line.event).__name__,
                                       f"a flow whose shares can be worked out: {error}"))  # fmt: skip

    def take_holder(self, n: int, line: HolderLine, before: HolderState | None) -> None:
        """Takes a line of a holder, with its state before it; None: not known."""
        if n > self._end_n or line.behaviour != BEHAVIOUR:
            return
        match line.event:
            case Dealt() as event:
                self._see(n, is_known=before is not None and event.id in before.requests)
                if before is not None and event.id in before.requests:
                    request = before.requests[event.id]
                    self._get(n, line.seq, _Place(request.token, self._name, request.side), event, request.amount)
            case Merged(token=token) as event:
                self._see(n, is_known=before is not None)
                if before is not None:
                    packed = msgspec.json.encode((_of_token(before, token), event))
                    self._merged.append(MergedHolding(n, line.seq, token, packed))
            case Exchanged() as event:
                self._take_exchange(n, line.seq, event, before)
            case Quoted(time_ms=time_ms, quote=quote):
                self._at_once.append(AtOnce(
                    self._stream, n, line.seq, time_ms, quote.token, quote.side, quote.asset, quote.units, quote.cash,
                    quote.fee, quote.pricing, inav=quote.inav, until_ms=quote.until_ms,
                ))  # fmt: skip
            case Granted() | Collected() as event:
                self._at_once.append(Stood(self._stream, n, line.seq, event.token, event.bearing))
            case Handed(token=token, bearing=stood) if stood is not None:
                self._at_once.append(Stood(self._stream, n, line.seq, token, stood))
            case _:
                pass

    def take_book(self, n: int, line: BookLine) -> None:
        """Takes a line of a book."""
        if n > self._end_n:
            return
        event: BookEvent = line.event
        if isinstance(event, ShareOwed):
            owed = event.owed
            self._owed[owed.dealt.id] = owed
            if line.behaviour == BEHAVIOUR:
                self._get(n, line.seq, _Place(owed.token, owed.holder, owed.side), owed.dealt, UNKNOWN)
        elif isinstance(event, ShareBooked) and event.id in self._owed:
            owed = self._owed.pop(event.id)
            if line.behaviour == BEHAVIOUR:
                dealt, place = owed.dealt, _Place(owed.token, owed.holder, owed.side)
                ask = Ask(owed.holder, dealt.id, owed.side, UNKNOWN)
                self._give(n, line, place, dealt.kind, Given(ask, dealt.units, dealt.cash, dealt.fee),
                           digest_of_bearing(dealt.bearing))  # fmt: skip

    def result(self) -> ShareFacts:
        """Returns what was gathered."""
        if not self._blind:
            self._faults += (Breach(f"flows:{self._name}", 0, "share", f"requests of flow {number}", "no such flow")
                             for number in self._flows)  # fmt: skip
        return ShareFacts(
            bytes(self._given), {token: bytes(got) for token, got in self._got.items()}, tuple(self._places),
            tuple(self._matches), tuple(self._mergers), tuple(self._merged), tuple(self._at_once),
            tuple(self._blind), tuple(self._faults),
        )  # fmt: skip

    def _see(self, n: int, *, is_known: bool) -> None:
        """Notes from which line on, and up to which, it is not known what the stream gives."""
        is_blind = bool(self._blind) and self._blind[-1][1] == INT64_MAX
        if is_known and is_blind:
            self._blind[-1] = (self._blind[-1][0], n)
        elif not is_known and not is_blind:
            self._blind.append((n, INT64_MAX))

    def _parts_of(self, seq: int, begun: ev.DealingBegun, before: TokenState | None) -> tuple[ev.Part, ...]:
        if begun.parts or before is None:
            return begun.parts
        named = self._flows.pop(before.dealings_so_far + 1, None)
        parts = () if named is None else named.parts
        digest = "nothing" if named is None else digest_of(parts, named.salt)
        said, known = (begun.count, begun.digest), (len(parts), digest)
        if said == known:
            return parts
        self._faults.append(Breach(self._stream, seq, "share", f"{said[0]} requests, {said[1]}",
                                   f"{known[0]} requests, {known[1]}, as flows:{self._name} says"))  # fmt: skip
        return ()

    def _take_flow(self, n: int, line: Line, spec: Spec, before: TokenState, after: TokenState) -> None:
        fees = spec.token.fees
        rates = Rates(fees.creation, fees.redemption)
        match line.event:
            case ev.DealingBegun() as begun if self._parts:
                asks = _asks(begun.side, self._parts)
                total = sum(ask.amount if ask.side == "redeem" else rates.money_of(ask) for ask in asks)
                self._expect(line.seq, f"a flow of {begun.amount}", f"a flow of {total}")
            case ev.DealingSettled() as settled if self._parts and before.dealing is not msgspec.UNSET:
                side = before.dealing.side
                done = settlement(spec, before, _asks(side, self._parts), rates, supply_room(spec, before))
                self._expect(line.seq, amounts(settled.units, settled.cash, settled.fee),
                             amounts(done.units, done.cash, done.fee))  # fmt: skip
                capped = side == "subscribe" and spec.token.limits.supply_cap is not None
                stood = digest_of_bearing(bearing(spec, after))
                for one in done.given:
                    place = _Place(self._name, one.ask.holder, side, capped)
                    self._give(n, line, place, done.kind, one, stood)
            case ev.Redeemed() as event:
                share = final_share(spec, before, Ask("", "", "redeem", event.units), rates)
                self._expect(line.seq, amounts(event.units, event.cash, event.fee),
                             amounts(share.units, share.cash, share.fee))  # fmt: skip
                stood = digest_of_bearing(bearing(spec, after))
                self._give(n, line, _Place(self._name, "", "redeem"), "final", share, stood)
            case ev.FlowMatched() as event:
                price = worth(spec, before, event.accrued, None)
                self._matches.append(MatchedFlow(n, line.seq, line.time_ms, *price, *rates, event.units, event.cash,
                                                 event.fee, event.parties,
                                                 digest_of_bearing(bearing(spec, after))))  # fmt: skip
            case ev.Consolidated(units=units) as event if units is not msgspec.UNSET:
                terms = MergerTerms(self._name, spec.token.settlement, event.factor, before.equity,
                                    before.balances.units, line.time_ms)  # fmt: skip
                self._mergers.append(MergedUnits(n, line.seq, terms, units, event.cash))
            case _:
                pass

    def _take_exchange(self, n: int, seq: int, event: Exchanged, before: HolderState | None) -> None:
        is_dealer = self._name == DEALER
        if is_dealer:
            self._expect(
                seq, _told(event), _told(msgspec.structs.replace(event, id="", money=0, pricing=UNSET)), "price"
            )
        elif event.other != DEALER:
            self._expect(seq, f"dealt at once with {event.other}", f"with {DEALER}", "price")
        self._expect(seq, f"lends: {event.lends}", f"lends: {is_dealer}", "price")
        if is_dealer:
            return  # units, money and where the token stood are the same on the holder's side
        accepted = None if before is None else before.quote(event.id)
        if event.id and accepted is None:
            return  # what the holder had before is not known
        side: Side = "subscribe" if event.units > 0 else "redeem"
        self._at_once.append(AtOnce(
            self._stream, n, seq, event.time_ms, event.token, side, event.asset, abs(event.units), abs(event.cash),
            event.fee, event.pricing, money=event.money, bearing=event.bearing, accepted=accepted or UNSET,
        ))  # fmt: skip

    def _expect(self, seq: int, found: str, expected: str, what: What = "share") -> None:
        if found != expected:
            self._faults.append(Breach(self._stream, seq, what, found, expected))

    def _get(self, n: int, seq: int, place: _Place, dealt: Dealt, amount: int) -> None:
        """Notes a share that the stream got, or took over for a holder."""
        key = _key(place, dealt.id, dealt.kind, dealt.time_ms, dealt.units)
        stood = digest_of_bearing(dealt.bearing)
        share = pack_share(
            key, stood, (dealt.units, dealt.cash, dealt.fee, amount, n, seq, 0), _flags_of(place, dealt.kind)
        )
        self._got.setdefault(place.token, bytearray()).extend(share)

    def _give(self, n: int, line: Line | BookLine, place: _Place, kind: Kind, given: Given, stood: bytes) -> None:
        """Notes a share that the stream gives."""
        key = _key(place, given.ask.id, kind, line.event.time_ms, given.units)
        number = self._places.setdefault(place.holder, len(self._places))
        figures = (given.units, given.cash, given.fee, given.ask.amount, n, line.seq, number)
        self._given += pack_share(key, stood, figures, _flags_of(place, kind))


class _Place(NamedTuple):
    """Where a share belongs: token, holder, and the side of its request; whether a cap may have left some of that."""

    token: str
    holder: str
    side: str
    is_capped: bool = False


def _key(place: _Place, request_id: str, kind: Kind, time_ms: int, units: int) -> bytes:
    whose = (units,) if kind == "final" else (place.holder, request_id)
    text = msgspec.json.encode((place.token, kind, time_ms, *whose))
    return hashlib.blake2b(text, digest_size=16).digest()


def _flags_of(place: _Place, kind: Kind) -> int:
    found = (SELLS if place.side == "redeem" else 0) | (AT_MOST if place.is_capped else 0)
    return found | (MATCHED if kind == "matched" else FINAL if kind == "final" else 0)


def _told(event: Exchanged) -> str:
    price = "no price" if event.pricing is UNSET else "a price"
    return f"quote {event.id or 'none'}, {event.money} of the day's caps, {price}"


def _asks(side: Side, parts: tuple[ev.Part, ...]) -> list[Ask]:
    return [Ask(one.holder, one.id, side, one.amount) for one in parts]


def _of_token(holder: HolderState, token: str) -> HolderState:
    """Returns what a holder has of one token: its units, and the redemptions that set some of them aside."""
    return HolderState(
        balances={name: holder.balances.get(name, 0) for name in (f"units:{token}:{at}" for at in OWN)},
        requests={one.id: one for one in holder.requests.values() if one.token == token and one.side == "redeem"},
    )
