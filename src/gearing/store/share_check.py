"""Holds what tokens give against what holders got: dealings, matches and mergers.

A share of a settlement, of a final redemption, and one that was owed has to be the same to the last digit on both
sides. A match does not name its requests: those that took part are matched again, and may differ by a minor unit for
each of them, since one that got nothing had a part in the rounding.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from gearing.core.dealing import Worth
from gearing.core.holder import Merged
from gearing.core.merging import merged
from gearing.core.netting import Ask, Given, Rates, match
from gearing.store.breach import Breach
from gearing.store.shares import (
    UNKNOWN,
    MatchedFlow,
    MergedUnits,
    Share,
    ShareFacts,
    amounts,
    shares_of,
)

# Of each kind of fault as many are named.
_NAMED_MAX = 20


class _Got(NamedTuple):
    """A share that a holder got, or a book for it: the stream and the token."""

    stream: str
    token: str
    share: Share


_Given = tuple[str, Share]


class MatchTotals(NamedTuple):
    """What all requests of a match come to: those who bought and those who sold have the same units and money."""

    requests: int
    bought: int
    sold: int
    paid: int
    received: int
    fees: int


def share_breaches(found: Mapping[str, ShareFacts]) -> Iterator[Breach]:
    """Yields where a holder got something else than its token gave, up to a number of each kind.

    Args:
        found: the facts of each stream, by its name.
    """
    faults = (one for facts in found.values() for one in facts.faults)
    for breaches in (faults, _unequal(found), _merged(found), _of_no_token(found)):
        yield from islice(breaches, _NAMED_MAX)


def _unequal(found: Mapping[str, ShareFacts]) -> Iterator[Breach]:
    """Yields shares that differ from what was given, that nobody gave, or that nobody got."""
    given: defaultdict[bytes, list[_Given]] = defaultdict(list)
    for stream, facts in found.items():
        for share in sorted(shares_of(facts.given), key=_latest_first):
            given[share.key].append((stream, share))
    matched: defaultdict[str, list[_Got]] = defaultdict(list)
    final: list[_Got] = []
    for got in _all_got(found):
        if got.share.is_final:
            final.append(got)
        elif got.share.key in given or not got.share.is_matched:
            yield from _against(given, got, found)
        else:
            matched[got.token].append(got)
    final.sort(key=lambda got: got.share.n)  # who redeems as many units at once is told apart by the order
    for got in final:
        yield from _against(given, got, found)
    for token in sorted({*matched, *(stream[6:] for stream, facts in found.items() if facts.matches)}):
        yield from _matches(token, matched[token], found)
    for stream, share in (one for left in given.values() for one in left):
        holder = found[stream].names[share.place]
        if not found.get(f"holder:{holder}", ShareFacts()).blind:
            yield Breach(stream, share.seq, "share", f"no line that gives it to holder:{holder or '…'}",
                         _words(share))  # fmt: skip


def _all_got(found: Mapping[str, ShareFacts]) -> Iterator[_Got]:
    return (_Got(stream, token, share) for stream, facts in found.items() for token, packed in facts.got.items()
            for share in shares_of(packed))  # fmt: skip


def _latest_first(share: Share) -> int:
    return -share.n


def _against(given: dict[bytes, list[_Given]], got: _Got, found: Mapping[str, ShareFacts]) -> Iterator[Breach]:
    """Yields a breach if a share is not what was given; takes what was given off."""
    share, token = got.share, f"token:{got.token}"
    left = given.get(share.key)
    if left is None:
        if not found.get(token, ShareFacts()).is_blind(share.n):
            yield Breach(got.stream, share.seq, "share", _words(share),
                         f"nothing, as {token} gave")  # fmt: skip
        return
    stream, source = left.pop()
    if not left:
        del given[share.key]
    if share[2:5] != source[2:5]:
        yield Breach(got.stream, share.seq, "share", _words(share),
                     f"{_words(source)}, as line {source.seq} of {stream} gives")  # fmt: skip
    elif share.stood != source.stood:
        yield _stood_elsewhere(got, f"line {source.seq} of {stream}")
    elif UNKNOWN not in {share.amount, source.amount} and not (
        source.amount <= share.amount if source.is_capped else source.amount == share.amount
    ):
        yield Breach(got.stream, share.seq, "share", f"a request of {share.amount}",
                     f"{source.amount}, as was hedged by line {source.seq} of {stream}")  # fmt: skip


# Matches.


def _matches(token: str, matched: list[_Got], found: Mapping[str, ShareFacts]) -> Iterator[Breach]:
    """Yields who was given something else by a match than its requests give each other."""
    stream = f"token:{token}"
    facts = found.get(stream, ShareFacts())
    numbers = [flow.n for flow in facts.matches]
    parties: defaultdict[int, list[_Got]] = defaultdict(list)
    for got in matched:
        at = bisect_right(numbers, got.share.n) - 1
        if at >= 0 and not facts.is_blind(got.share.n):
            parties[at].append(got)
        elif not facts.is_blind(got.share.n):
            yield Breach(got.stream, got.share.seq, "share", _words(got.share), f"nothing, as {stream} matched")
    for at, flow in enumerate(facts.matches):
        yield from _one_match(stream, flow, sorted(parties[at], key=lambda got: got.share.n))


def _one_match(stream: str, flow: MatchedFlow, parties: list[_Got]) -> Iterator[Breach]:
    total, said = _totals(parties), MatchTotals(flow.parties, flow.units, flow.units, flow.cash, flow.cash, flow.fee)
    if total != said:
        yield Breach(stream, flow.seq, "share", str(said), f"{total}, as holders got")
    if total.requests != flow.parties:  # then the shares of all others would differ too
        return
    asks = [Ask(got.stream, str(k), "redeem" if got.share.sells else "subscribe", got.share.amount)
            for k, got in enumerate(parties)]  # fmt: skip
    given: dict[str, Given] = {}
    if flow.equity > 0 and all(ask.amount != UNKNOWN for ask in asks):
        again = match(asks, Worth(flow.equity, flow.units_worth), Rates(flow.creation, flow.redemption))
        given = {one.ask.id: one for one in again.given}
    for k, got in enumerate(parties):
        one = given.get(str(k))
        expected = (0, 0, 0) if one is None else (one.units, one.cash, one.fee)
        # A part of a unit may fall to another; of money that is what it is worth.
        part = flow.parties * (flow.equity // max(flow.units_worth, 1) + 2)
        most = (flow.parties, part, part)
        if any(abs(a - b) > far for a, b, far in zip(got.share[2:5], expected, most, strict=True)):
            yield Breach(got.stream, got.share.seq, "share", _words(got.share),
                         f"{amounts(*expected)}, as line {flow.seq} of {stream} matched")  # fmt: skip
        if got.share.stood != flow.stood:
            yield _stood_elsewhere(got, f"line {flow.seq} of {stream}")


def _totals(parties: list[_Got]) -> MatchTotals:
    shares = [got.share for got in parties]
    bought, sold = [one for one in shares if not one.sells], [one for one in shares if one.sells]
    return MatchTotals(len(shares), sum(one.units for one in bought), sum(one.units for one in sold),
                       sum(one.cash - one.fee for one in bought), sum(one.cash + one.fee for one in sold),
                       sum(one.fee for one in shares))  # fmt: skip


def _stood_elsewhere(got: _Got, line: str) -> Breach:
    return Breach(got.stream, got.share.seq, "share", f"another NAV, level or parts than {got.token} had",
                  f"where it stood by {line}")  # fmt: skip


def _words(share: Share) -> str:
    return amounts(share.units, share.cash, share.fee)


# Mergers.


def _merged(found: Mapping[str, ShareFacts]) -> Iterator[Breach]:
    """Yields whom a merger left something else than its terms do, and mergers that do not sum up."""
    mergers = {stream[6:]: facts.mergers for stream, facts in found.items() if stream.startswith("token:")}
    numbers = {token: [one.n for one in those] for token, those in mergers.items()}
    sums: Counter[tuple[str, int, str]] = Counter()
    blind = any(facts.blind for stream, facts in found.items() if stream.startswith("holder:"))
    for stream, facts in found.items():
        for holding in facts.merged:
            token = holding.token
            if found.get(f"token:{token}", ShareFacts()).is_blind(holding.n):
                continue
            before, event = holding.read()
            at = bisect_right(numbers.get(token, []), holding.n) - 1
            if at < 0:
                yield Breach(stream, holding.seq, "merger", f"a merger of {token}", f"none, as token:{token} says")
                continue
            one = mergers[token][at]
            sums[token, at, "units"] += event.units + event.held + event.short
            sums[token, at, "cash"] += event.cash
            expected = merged(before, one.terms)
            if event != expected:
                yield Breach(stream, holding.seq, "merger", _left(event), f"{_left(expected)}, as line {one.seq} of "
                             f"token:{token} merges")  # fmt: skip
    for token, at, one in _each(mergers):
        total = (sums[token, at, "units"], sums[token, at, "cash"])
        if total != (one.units, one.cash) and not blind:
            yield Breach(f"token:{token}", one.seq, "merger", f"{one.units} units left, {one.cash} of money paid",
                         f"{total[0]} units, {total[1]} of money, as holders have and got")  # fmt: skip


def _each(mergers: Mapping[str, Iterable[MergedUnits]]) -> Iterator[tuple[str, int, MergedUnits]]:
    return ((token, at, one) for token, those in mergers.items() for at, one in enumerate(those))


def _left(event: Merged) -> str:
    requests = f" for {event.requests}" if event.requests else ""
    return f"{event.units} units free, {event.held} set aside{requests}, {event.short} lent, {event.cash} of money"


# Dealt at once; the audit of the token holds it against its states.


def _of_no_token(found: Mapping[str, ShareFacts]) -> Iterator[Breach]:
    """Yields what was dealt at once, or quoted, of tokens that have no journal."""
    for facts in found.values():
        for one in facts.at_once:
            if f"token:{one.token}" not in found:
                yield Breach(one.stream, one.seq, "price", f"{one.how} {one.token}", "nothing: it was not launched")
