#!/usr/bin/env python3
"""Recomputes every NAV of an exported journal from the file alone: `python recompute.py FILE`.

It needs Python 3.11 and nothing else, so that a stranger can read it and run it. Each line of the file is
`{"n":…,"hash":"…","prev":"…","body":{…}}`, one event of a token with what was booked for it; `{"n":…,"leaf":"…"}` in
place of a line that is not shown; or `{"record":{…},"signature":"…"}`, a signed head. Four things are worked out:

1. The hash of a line: SHA-256 of `prev`, a line feed, and the body as it stands; `prev` is the hash of the line before
   it in its stream.
2. The anchor: n counts all lines without a gap; the leaf of a line is SHA-256 of its stream, a line feed, its number in
   the stream, a line feed and its hash; the chain is SHA-256 of the chain before, 64 zeros at first, and the leaf. A
   signed head names an n and its chain. Its signature is not checked here, which Python alone cannot do.
3. The books: the postings of an event sum to zero, money and units apart.
4. The portfolio, from what happened and not from what was booked. The wallet is the capital, less charges, plus
   funding and the profit of what was closed; unrealised profit is the positions at their marks less what they cost.
   While a leg rolls, the contract it leaves and the next one are two positions.

    NAV = (wallet + unrealised profit + accrued funding + fees owed + flows owed) / units, rounded down

Accrued funding is what a settlement is expected to bring until the venue has booked it; it is then taken back. Fees
owed, what is owed to units that are just being created or burned, and what a reserve paid in are what the issuer
booked; all these are taken from the postings. Money that comes in or goes out for units is what the event says.
Money and units are integers of 1e-8, sizes are whole lots, prices are the decimals of the file. Exit code 3: something
differs.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, Inexact
from fractions import Fraction
from typing import Any

MINOR = 10**8
GENESIS = "0" * 64
# Differences of one kind that are kept for each stream; the rest are counted.
NAMED_MAX = 20

_LINE = re.compile(rb'\{"n":([0-9]+),"hash":"([0-9a-f]{64})","prev":"([0-9a-f]{64})","body":(.*)\}')
_LEAF = re.compile(rb'\{"n":([0-9]+),"leaf":"([0-9a-f]{64})"\}')
_HEAD = re.compile(rb'\{"record":(\{.*\}),"signature":"([0-9a-f]{128})"\}')
# A part of a trade of several tokens may be so many minor units from its own value, rounded up.
_PART_MOST = 2
# Wide enough for every product here; what would not be exact is an error.
_EXACT = Context(prec=120, traps=[Inexact])
_MONEY = frozenset(
    ("wallet", "unrealised", "accrued", "fees", "flows", "capital", "price", "spread", "commission", "funding",
     "management", "liquidation", "reserve", "dealt")
)  # fmt: skip
_UNITS = frozenset(("issued", "held"))


@dataclass(frozen=True)
class Difference:
    """Where the journal says something else than what happened: which figure, what it says, what was worked out."""

    stream: str
    seq: int
    what: str
    journal: str
    recomputed: str


@dataclass
class Report:
    """What was worked out: lines, NAVs, each stream's last hash, the anchor, and every difference.

    `n` and `chain` are those of the last line, shown or not; `signed` is the last signed head, whose signature is not
    checked here.
    """

    lines: int = 0
    navs: int = 0
    n: int = 0
    chain: str = GENESIS
    signed: dict[str, Any] | None = None
    heads: dict[str, tuple[int, str]] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _named: Counter[tuple[str, str]] = field(default_factory=Counter)

    def differs(self, stream: str, seq: int, what: str, journal: object, recomputed: object) -> None:
        """Notes a difference."""
        self.counts[what] += 1
        self._named[stream, what] += 1
        if self._named[stream, what] <= NAMED_MAX:
            self.differences.append(Difference(stream, seq, what, str(journal), str(recomputed)))


@dataclass
class Leg:
    """A position: size of a lot, lots held (signed), what they cost, and the mark.

    `of` is the leg that a roll opens it for; none: it is a leg's own.
    """

    lot: Decimal
    mark: Decimal
    lots: int = 0
    cost: int = 0
    of: int | None = None


def worth(lots: int, lot: Decimal, price: Decimal, rounding: str) -> int:
    """Returns lots · lot · price in minor units of money, worked out exactly and rounded once."""
    exact = _EXACT.multiply(_EXACT.multiply(Decimal(lots), lot), price)
    return int(exact.scaleb(8, _EXACT).to_integral_value(rounding))


class Portfolio:
    """A token's portfolio, followed from event to event."""

    def __init__(self) -> None:
        self.legs: list[Leg] = []
        self.wallet = 0
        self.units = 0
        # Money paid in for units that are not created yet; of a redemption, nothing.
        self.paid_in = 0
        # What a reserve paid in after a wipe-out and has not taken back.
        self.reserve_paid = 0
        # What the postings say, by account; debits are positive.
        self.ledger: Counter[str] = Counter()
        self.seen: set[object] = set()

    @property
    def unrealised(self) -> int:
        """Positions at their marks, rounded down, less what they cost."""
        return sum(worth(leg.lots, leg.lot, leg.mark, ROUND_FLOOR) - leg.cost for leg in self.legs)

    @property
    def equity(self) -> int:
        """Wallet, unrealised profit and accrued funding, less fees and flows owed, which are negative balances."""
        ledger = self.ledger
        return self.wallet + self.unrealised + ledger["accrued"] + ledger["fees"] + ledger["flows"]

    @property
    def nav(self) -> int:
        """Minor units of money per whole unit, rounded down; 0 without equity or units."""
        return max(self.equity, 0) * MINOR // self.units if self.units > 0 else 0

    def mark(self, prices: list[Any]) -> None:
        """Marks each position; where those that a roll opened are no more priced apart, they are the legs."""
        if len(prices) < len(self.legs):
            self.settle_roll()
        for leg, price in zip(self.legs, prices, strict=True):
            leg.mark = Decimal(price)

    def roll(self, leg: int, lot: str, price: Any) -> None:
        """Opens the next contract of a leg beside the one it holds; of one that holds nothing, in its place."""
        fresh = Leg(Decimal(lot), Decimal(price))
        if self.legs[leg].lots:
            fresh.of = leg
            self.legs.append(fresh)
        else:
            self.legs[leg] = fresh

    def settle_roll(self) -> None:
        """Puts what a roll opened in the place of the legs that it emptied."""
        for opened in [leg for leg in self.legs if leg.of is not None]:
            if opened.of is not None and self.legs[opened.of].lots == 0:
                self.legs.remove(opened)
                self.legs[opened.of], opened.of = opened, None

    def position(self, number: int) -> Leg:
        """Returns what is traded: a leg that is empty while its next contract is held has been rolled."""
        if self.legs[number].lots == 0 and any(leg.of == number and leg.lots for leg in self.legs):
            self.settle_roll()
        return self.legs[number]

    def trade(self, leg: Leg, lots: int, price: Decimal, charge: int, paid: int) -> None:
        """Takes a trade: the profit of a closed part goes by average cost."""
        profit = 0
        if leg.lots * lots < 0:
            closed = leg.lots if abs(lots) >= abs(leg.lots) else -lots
            proceeds = -paid if closed == -lots else -worth(-closed, leg.lot, price, ROUND_CEILING)
            profit = proceeds - round(Fraction(leg.cost * closed, leg.lots))
        leg.cost += paid + profit
        leg.lots += lots
        self.wallet += profit - charge

    def once(self, kind: str, key: object) -> bool:
        """Returns whether something that must happen once happens for the first time."""
        fresh = (kind, key) not in self.seen
        self.seen.add((kind, key))
        return fresh


Differs = Callable[[str, object, object], None]


def follow(token: Portfolio, event: dict[str, Any], differs: Differs) -> None:
    """Takes what happened: an event with prices marks at them; one that trades, marks or moves nothing is passed over.

    Args:
        token: changed by it.
        event: what happened.
        differs: notes a difference.
    """
    kind = event["event"]
    if kind == "launched":
        sizes = zip(event["lots"], event["prices"], strict=True)
        token.legs = [Leg(Decimal(lot), Decimal(price)) for lot, price in sizes]
    elif "prices" in event:
        token.mark(event["prices"])
    if kind == "seeded":
        token.wallet += event["amount"]
        token.units += event["units"]
    elif kind == "roll_due":
        for leg, lot, price in zip(event["legs"], event["lots"], event["next_prices"], strict=True):
            token.roll(leg, lot, price)
    elif kind == "funding_settled":
        if not token.once(f"funding {event['leg']}", event["settlement_ms"]):
            differs("funding", f"settlement {event['settlement_ms']} booked again", "booked once")
        token.wallet += event["amount"]
    elif kind in {"filled", "liquidated"}:
        if not token.once("trade", event["trade"]):
            differs("trade", f"trade {event['trade']} booked again", "booked once")
        position, price = token.position(event["leg"]), Decimal(event["price"])
        if kind == "liquidated":
            position.mark = price
        # Money paid is rounded up; of a trade of several tokens each has its part, in whole minor units.
        value = worth(event["lots"], position.lot, price, ROUND_CEILING)
        paid = event.get("paid", value)
        if abs(paid - value) > _PART_MOST:
            differs("trade", f"{paid} paid", f"{value}, {_PART_MOST} more or less for a part of a larger trade")
        token.trade(position, event["lots"], price, event["commission" if kind == "filled" else "charge"], paid)
        if "prices" in event:  # what the venue closed may be told long after
            token.mark(event["prices"])
    elif kind == "adopted":
        for number, lots in enumerate(event["lots"]):
            if lots:
                position = token.position(number)
                token.trade(position, lots, position.mark, 0, worth(lots, position.lot, position.mark, ROUND_CEILING))
        token.wallet += event["cash"]
    elif kind == "consolidated":
        factor = Fraction(event["factor"])
        token.units = event.get("units", token.units * factor.denominator // factor.numerator)
        token.wallet -= event.get("cash", 0)
    else:
        deal(token, event)


def deal(token: Portfolio, event: dict[str, Any]) -> None:
    """Takes a dealing: units created for money, or burned for it, and fees that the issuer took."""
    kind = event["event"]
    if kind == "flow_matched":
        token.wallet += event["fee"]
    elif kind == "dealing_begun":
        token.paid_in = event["amount"] if event["side"] == "subscribe" else 0
        token.wallet += token.paid_in
    elif kind == "dealing_settled" and token.paid_in:
        token.wallet += event["cash"] - token.paid_in + event["fee"]
        token.units += event["units"]
    elif kind in {"dealing_settled", "redeemed"}:
        token.wallet -= event["cash"]
        token.units -= event["units"]
    elif kind == "fees_taken":
        token.wallet -= event["amount"] if event["how"] != "units" else 0
        token.units += event["units"] if event["how"] == "units" else -event["units"]


def take(token: Portfolio, body: dict[str, Any], differs: Differs) -> None:
    """Takes one line of a token: what happened, then what was booked, then the two held against each other."""
    wallet, unrealised = token.wallet, token.unrealised
    posted: Counter[str] = Counter()
    for account, amount in body["entry"]:
        posted[account] += amount
    for name, accounts in (("money", _MONEY), ("units", _UNITS)):
        total = sum(amount for account, amount in posted.items() if account in accounts)
        if total:
            differs("double entry", f"postings of {name} that sum to {total}", "0")
    unknown = sorted(set(posted) - _MONEY - _UNITS)
    if unknown:
        differs("double entry", f"accounts {', '.join(unknown)}", "accounts of the ledger")
    follow(token, body["event"], differs)
    paid_in, before = -posted["reserve"], token.reserve_paid
    token.ledger.update(posted)
    if paid_in:
        # What is lacking is paid in; what a token has again is taken back, up to what was paid in. Where there are no
        # units, the reserve has what is left.
        lacked = max(-token.equity, -before) if token.units else -token.equity
        token.reserve_paid = max(before + paid_in, 0)
        if paid_in != lacked:
            differs("reserve", f"{paid_in} paid in", f"{lacked} lacked")
        token.wallet += paid_in
    if posted["wallet"] != token.wallet - wallet:
        differs("wallet", f"changed by {posted['wallet']}", f"changed by {token.wallet - wallet}")
    if posted["unrealised"] != token.unrealised - unrealised:
        differs("unrealised", f"changed by {posted['unrealised']}", f"changed by {token.unrealised - unrealised}")
    if not body["units"] == token.ledger["held"] == token.units:
        differs("units", f"{body['units']}, posted {token.ledger['held']}", token.units)
    if body["nav"] != token.nav:
        differs("nav", body["nav"], token.nav)


def is_line(line: bytes) -> bool:
    """Returns whether a line is one of an exported journal, whatever it says."""
    return any(form.fullmatch(line.rstrip(b"\r\n")) for form in (_LINE, _LEAF, _HEAD))


def recompute(lines: Iterable[bytes], progress: Callable[[int], None] = lambda line: None) -> Report:
    """Works an exported file out and returns what was found.

    Args:
        lines: of the file, as bytes.
        progress: called with the number of the line, each thousandth.
    """
    report, tokens = Report(), dict[str, Portfolio]()
    for number, line in enumerate(lines, 1):
        if number % 1_000 == 0:
            progress(number)
        _take(report, tokens, number, line.rstrip(b"\n"))
    return report


def _take(report: Report, tokens: dict[str, Portfolio], number: int, line: bytes) -> None:
    """Takes a line of the file: a journal line, the leaf of one, or a signed head."""
    if leaf := _LEAF.fullmatch(line):
        _anchor(report, "", 0, int(leaf[1]), leaf[2].decode())
        return
    if head := _HEAD.fullmatch(line):
        _take_head(report, number, head[1])
        return
    found = _LINE.fullmatch(line)
    body = _read(found[4]) if found else None
    if found is None or body is None:
        report.differs("", number, "line", f"line {number} of the file cannot be read", "a line of a journal")
        return
    own = found[2].decode()
    leaf_text = f"{body['stream']}\n{body['seq']}\n{own}"
    _anchor(report, body["stream"], body["seq"], int(found[1]), hashlib.sha256(leaf_text.encode()).hexdigest())
    _take_line(report, tokens, own, found[3].decode(), found[4], body)


def _anchor(report: Report, stream: str, seq: int, n: int, leaf: str) -> None:
    """Follows n and the chain over all streams."""
    if n != report.n + 1:
        report.differs(stream, seq, "anchor", f"line n {n} after n {report.n}", f"n {report.n + 1}")
    report.n, report.chain = n, hashlib.sha256((report.chain + leaf).encode()).hexdigest()


def _take_head(report: Report, number: int, record: bytes) -> None:
    """Holds a signed head against the chain so far."""
    try:
        head = json.loads(record)
        says = head["n"], head["chain"]
    except (ValueError, KeyError, TypeError):
        report.differs("", number, "head", f"line {number} of the file cannot be read", "a signed head")
        return
    report.signed = head
    if says != (report.n, report.chain):
        report.differs("", number, "head", f"n {says[0]}, chain {says[1]}", f"n {report.n}, chain {report.chain}")


def _read(body: bytes) -> dict[str, Any] | None:
    """Returns a body with its numbers as the decimals that stand there, or None if it is none."""
    try:
        found = json.loads(body, parse_float=Decimal)
        return found if isinstance(found["stream"], str) and isinstance(found["seq"], int) else None
    except (ValueError, KeyError, TypeError):
        return None


def _take_line(
    report: Report, tokens: dict[str, Portfolio], own: str, before: str, raw: bytes, body: dict[str, Any]
) -> None:
    stream, seq = body["stream"], body["seq"]

    def differs(what: str, journal: object, recomputed: object) -> None:
        report.differs(stream, seq, what, journal, recomputed)

    report.lines += 1
    last, head = report.heads.get(stream, (0, GENESIS))
    if seq != last + 1:
        differs("sequence", f"line {seq} after line {last}", f"line {last + 1}")
    if before != head:
        differs("chain", f"follows on {before}", f"follows on {head}")
    expected = hashlib.sha256(before.encode() + b"\n" + raw).hexdigest()
    if own != expected:
        differs("chain", own, expected)
    report.heads[stream] = (seq, own)
    if not stream.startswith("token:"):
        return
    report.navs += 1
    try:
        take(tokens.setdefault(stream, Portfolio()), body, differs)
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        differs("line", f"{type(error).__name__}: {error}", "an event with all its figures")


def main(arguments: list[str]) -> int:
    """Recomputes a file and says what was found; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python recompute.py FILE", file=sys.stderr)
        return 2
    try:
        with open(arguments[0], "rb") as file:
            report = recompute(file)
    except OSError as error:
        print(f"error: {arguments[0]}: {error.strerror}.", file=sys.stderr)
        return 2
    for found in report.differences:
        place = f"{found.stream} line {found.seq}: " if found.stream else ""
        print(f"{place}{found.what}: the journal says {found.journal}, recomputed {found.recomputed}")
    for stream, (seq, head) in report.heads.items():
        print(f"{stream}: {seq} lines, head {head}")
    print(f"n {report.n}, chain {report.chain}")
    if report.signed is not None:
        print(
            f"signed up to n {report.signed['n']} by key {report.signed.get('key')}; check the signature as documented"
        )
    total = sum(report.counts.values())
    print(f"{report.lines} lines, {report.navs} NAVs recomputed, {total} differences")
    return 3 if total or not report.lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
