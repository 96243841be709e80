"""What must hold over all streams together: money and units are conserved, transfers pair, no stream is missing.

Each stream is read in a process of its own and gives back its sums and the fingerprints of its transfers up to one line
n of the whole journal; here they are combined.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gearing.core.book import BookOpened, FundingAssumed, Owed, ShareBooked, ShareOwed
from gearing.core.events import FeesTaken, Launched
from gearing.core.holder import FREE, HOLDERS, OWN, Deposited, Exchanged, Granted, Handed, Withdrawn, fees_account
from gearing.core.journal import Line
from gearing.core.ledger import Balances
from gearing.core.step import BEHAVIOUR
from gearing.store.breach import Breach
from gearing.store.funding_check import AssumedFunding, Settlement, funding_breaches
from gearing.store.records import AnyLine, BookLine, HolderLine, Meta
from gearing.store.share_check import share_breaches
from gearing.store.shares import ShareFacts

# Of each kind of fault over all streams, as many are named.
_NAMED_MAX = 20


_NONE: Mapping[str, int] = {}
_NO_LINES: Mapping[int, tuple[int, int]] = {}


class Transfer(NamedTuple):
    """One side of a transfer: the fingerprint that both sides share, which side it is (1 or -1), and its line."""

    fingerprint: bytes
    side: int
    seq: int


class StreamFacts(NamedTuple):
    """What one stream says of things that other streams say too, up to a line n of the whole journal.

    Args:
        accounts: of a holder, the sums of its postings by account.
        came_in: of a holder, what came in from outside less what went out, by asset, as its events say.
        transfers: of a holder, its sides of transfers and instant dealings.
        asset: of a token, its settlement currency.
        capital, units, fees: of a token: the balances of these accounts, and what the issuer took of its fees.
        tokens: of a book, which tokens it holds.
        incarnation: of a book, that of its last opening.
        owed: of a book, shares of dealings that are not booked for their holders yet, by request.
        behaviours: for each behaviour the first and the last line n that was written under it.
        shares: what it gives to holders, or what it got.
        settlements: of a token, the funding that it booked.
        early: of a book, the funding that was booked before the venue reported it.
    """

    accounts: Mapping[str, int] = _NONE
    came_in: Mapping[str, int] = _NONE
    transfers: tuple[Transfer, ...] = ()
    asset: str = ""
    capital: int = 0
    units: int = 0
    fees: int = 0
    tokens: tuple[str, ...] = ()
    incarnation: str = ""
    owed: tuple[Owed, ...] = ()
    behaviours: Mapping[int, tuple[int, int]] = _NO_LINES
    shares: ShareFacts = ShareFacts()
    settlements: tuple[Settlement, ...] = ()
    early: tuple[AssumedFunding, ...] = ()


class Facts:
    """Gathers the facts of one stream, line by line.

    Args:
        name: of its token, holder or book.
        end_n: lines after this one are passed over.
    """

    def __init__(self, name: str, end_n: int) -> None:
        self._name, self._end_n = name, end_n
        self._accounts: dict[str, int] = {}
        self._came_in = Counter[str]()
        self._transfers: list[Transfer] = []
        self._asset, self._balances, self._fees = "", Balances(), 0
        self._tokens: tuple[str, ...] = ()
        self._incarnation = ""
        self._owed: dict[str, Owed] = {}
        self._behaviours: dict[int, tuple[int, int]] = {}
        self._early: list[AssumedFunding] = []

    def take(self, n: int, line: AnyLine, balances: Balances) -> None:
        """Takes a line.

        Args:
            n: its number over all streams.
            line: it.
            balances: of a token, after it.
        """
        if n > self._end_n:
            return
        self._behaviours[line.behaviour] = (self._behaviours.get(line.behaviour, (n, n))[0], n)
        if isinstance(line, HolderLine):
            self._take_holder(line)
        elif isinstance(line, Line):
            self._balances = balances
            if isinstance(line.event, Launched):
                self._asset = line.event.token.settlement
            elif isinstance(line.event, FeesTaken) and line.event.how != "burn":
                self._fees += line.event.amount
        elif isinstance(line, BookLine):
            self._take_book(line)

    def is_before_end(self, n: int) -> bool:
        """Returns whether a line is one of those that are held against other streams."""
        return n <= self._end_n

    def result(self) -> StreamFacts:
        """Returns what was gathered."""
        return StreamFacts(
            self._accounts, dict(self._came_in), tuple(self._transfers), self._asset, self._balances.capital,
            self._balances.units, self._fees, self._tokens, self._incarnation, tuple(self._owed.values()),
            self._behaviours, early=tuple(self._early),
        )  # fmt: skip

    def _take_book(self, line: BookLine) -> None:
        match line.event:
            case BookOpened(tokens=tokens, incarnation=incarnation):
                self._tokens, self._incarnation = tokens, incarnation
            case ShareOwed(owed=owed):
                self._owed[owed.dealt.id] = owed
            case ShareBooked(id=name):
                self._owed.pop(name, None)
            case FundingAssumed() as event if line.behaviour == BEHAVIOUR:
                self._early.append(AssumedFunding(line.seq, event.symbol, event.settlement_ms, event.asset,
                                                  event.amount))  # fmt: skip
            case _:
                pass

    def _take_holder(self, line: HolderLine) -> None:
        for posting in line.entry:
            self._accounts[posting.account] = self._accounts.get(posting.account, 0) + posting.amount
        match line.event:
            case Deposited(asset=asset, amount=amount):
                self._came_in[asset] += amount
            case Withdrawn(asset=asset, amount=amount):
                self._came_in[asset] -= amount
            case Granted(asset=asset, cash=cash):
                self._came_in[asset] += cash
            case Handed() as event:
                self._pair(line.seq, event.other, ("handed", event.reference, event.time_ms, event.token, event.asset),
                           event.units, event.cash)  # fmt: skip
            case Exchanged() as event:
                self._pair(line.seq, event.other, ("exchanged", event.fee, event.time_ms, event.token, event.asset,
                                                    event.bearing), event.units, event.cash)  # fmt: skip
            case _:
                pass

    def _pair(self, seq: int, other: str, shared: tuple[object, ...], units: int, cash: int) -> None:
        """Notes one side of a transfer, as seen by the holder whose name comes first."""
        side = 1 if self._name < other else -1
        key = (*shared, min(self._name, other), max(self._name, other), side * units, side * cash)
        self._transfers.append(Transfer(hashlib.sha256(repr(key).encode()).digest()[:16], side, seq))


def total_breaches(found: Mapping[str, StreamFacts]) -> Iterator[Breach]:
    """Yields what does not hold over all streams.

    Args:
        found: the facts of each stream, by its name.
    """
    yield from _missing_streams(found)
    yield from _behaviours(found)
    yield from _unpaired(_of("holder", found))
    tokens = _of("token", found)
    counted = {**_of("holder", found), **_as_booked(tokens, _of("book", found).values())}
    yield from _supplies(tokens, counted)
    yield from _money(tokens, counted)
    for name, book in _of("book", found).items():
        mine = {one: (tokens[one].asset, tokens[one].settlements) for one in book.tokens if one in tokens}
        yield from funding_breaches(name, mine, book.early)
    yield from share_breaches({stream: facts.shares for stream, facts in found.items()})


def meta_breaches(meta: Meta, found: Mapping[str, StreamFacts]) -> Iterator[Breach]:
    """Yields where the incarnation of the database is not that of its books.

    A restored database has a new one, which its books have once they are reconciled.
    """
    for name, book in _of("book", found).items():
        if book.incarnation != meta.incarnation and not meta.restored_ms:
            yield Breach(f"book:{name}", 0, "meta", f"the database is incarnation {meta.incarnation}",
                         f"{book.incarnation}, as the book was opened")  # fmt: skip


def _of(kind: str, found: Mapping[str, StreamFacts]) -> dict[str, StreamFacts]:
    return {stream.partition(":")[2]: facts for stream, facts in found.items() if stream.startswith(f"{kind}:")}


def _missing_streams(found: Mapping[str, StreamFacts]) -> Iterator[Breach]:
    """Each token has the book that names it, and each book the tokens that it names.

    A journal without any book is not a desk's, such as that of an exact backtest.
    """
    tokens, named = _of("token", found), Counter[str]()
    for book, facts in _of("book", found).items():
        named.update(facts.tokens)
        for token in facts.tokens:
            if token not in tokens:
                yield Breach(f"book:{book}", 0, "streams", f"no stream token:{token}", "one, since the book holds it")
    for token in tokens:
        if named and named[token] != 1:
            yield Breach(f"token:{token}", 0, "streams", f"{named[token]} books that hold the token", "1 book")


def _behaviours(found: Mapping[str, StreamFacts]) -> Iterator[Breach]:
    """Behaviour rises with n: one program after the other wrote the lines of all streams."""
    ranges = sorted(
        ((number, first, last, stream) for stream, facts in found.items()
         for number, (first, last) in facts.behaviours.items()), reverse=True,
    )  # fmt: skip
    begun: dict[int, tuple[int, str]] = {}
    for number, first, _, stream in ranges:
        begun[number] = min(begun.get(number, (first, stream)), (first, stream))
    for number, _, last, stream in ranges:
        higher = min((place for other, place in begun.items() if other > number), default=None)
        if higher is not None and last > higher[0]:
            yield Breach(stream, 0, "behaviour", f"line n {last} of behaviour {number}",
                         f"a higher one, as {higher[1]} has since n {higher[0]}")  # fmt: skip


def _unpaired(holders: Mapping[str, StreamFacts]) -> Iterator[Breach]:
    """Each side of a transfer has exactly one other side."""
    sides: Counter[bytes] = Counter()
    for facts in holders.values():
        for one in facts.transfers:
            sides[one.fingerprint] += one.side
    alone = {fingerprint for fingerprint, total in sides.items() if total}
    named = 0
    for name, facts in holders.items():
        for one in facts.transfers if alone else ():
            if one.fingerprint in alone and sides[one.fingerprint] * one.side > 0 and named < _NAMED_MAX:
                named += 1
                yield Breach(f"holder:{name}", one.seq, "transfer", "a transfer without the other holder's line",
                             "one line with the opposite amounts, and the same reference, time and asset")  # fmt: skip


def _as_booked(tokens: Mapping[str, StreamFacts], books: Iterable[StreamFacts]) -> dict[str, StreamFacts]:
    """Returns what is owed to holders as their own streams will have it once it is booked."""
    found = {}
    for owed in (one for facts in books for one in facts.owed):
        asset, paid = tokens.get(owed.token, StreamFacts()).asset, owed.dealt.cash
        paid = paid if owed.side == "subscribe" else -paid
        accounts = {f"units:{owed.token}:{FREE}": owed.units, f"cash:{asset}:{FREE}": -paid,
                    f"cash:{asset}:{owed.token}": paid}  # fmt: skip
        found[f"{owed.holder}, {owed.dealt.id}"] = StreamFacts(accounts)
    return found


def _sums(holders: Mapping[str, StreamFacts]) -> tuple[Counter[str], dict[str, Counter[str]], Counter[str]]:
    """Returns the units that are held of each token, money by asset and account, and what is among holders."""
    units, money, among = Counter[str](), defaultdict[str, Counter[str]](Counter), Counter[str]()
    for facts in holders.values():
        for account, amount in facts.accounts.items():
            if account.count(":") != 2:
                continue  # its own stream says so
            kind, asset, where = account.split(":")
            if where == HOLDERS:
                among[f"{kind}:{asset}"] += amount
            if kind == "units" and where in OWN:
                units[asset] += amount
            elif kind == "cash":
                money[asset][where] += amount
    return units, money, among


def _supplies(tokens: Mapping[str, StreamFacts], holders: Mapping[str, StreamFacts]) -> Iterator[Breach]:
    """U1: holders have the units that a token issued and paid what it took; the issuer earned what it paid as fees."""
    units, money, _ = _sums(holders)
    for name in sorted({*tokens, *units}):
        facts = tokens.get(name, StreamFacts())
        held, paid = units[name], money[facts.asset][name]
        if not _has_holders(facts, held, paid):
            continue
        if held != facts.units:
            yield Breach(f"token:{name}", 0, "supply", f"holders with {held} units", f"{facts.units}, as issued")
        elif paid != -facts.capital:
            yield Breach(f"token:{name}", 0, "supply", f"holders who paid {paid}", f"{-facts.capital}, as it took")
    for name, facts in tokens.items():
        earned = -money[facts.asset][fees_account(name)]
        if earned != facts.fees:
            yield Breach(f"token:{name}", 0, "supply", f"fees of {earned} earned", f"{facts.fees}, as it paid")


def _has_holders(facts: StreamFacts, held: int, paid: int) -> bool:
    """Returns whether a token has holders; before there were any, and where nobody holds anything, it has none."""
    return bool(held or paid) or not facts.asset


def _money(tokens: Mapping[str, StreamFacts], holders: Mapping[str, StreamFacts]) -> Iterator[Breach]:
    """X1: of each asset there is what came in less what went out: with holders, and paid in to tokens.

    Fees that tokens paid to the issuer came from their gains, not from outside.
    """
    units, money, among = _sums(holders)
    came_in = Counter[str]()
    for facts in holders.values():
        came_in.update(facts.came_in)
    for asset, total in sorted(among.items()):
        if total:
            yield Breach("", 0, "money", f"{asset} of {total} passed among holders without coming from one", "0")
    exists = Counter({asset: sum(amounts[where] for where in OWN) for asset, amounts in money.items()})
    for name, facts in tokens.items():
        if _has_holders(facts, units[name], money[facts.asset][name]):
            exists[facts.asset] -= facts.capital
        exists[facts.asset] -= facts.fees
    for asset in sorted({*exists, *came_in}):
        if exists[asset] != came_in[asset]:
            yield Breach("", 0, "money", f"{exists[asset]} of {asset} with holders and paid in to tokens",
                         f"{came_in[asset]}, which came in less what went out")  # fmt: skip
