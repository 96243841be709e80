"""Tokens of one book that hold the same instrument: they trade together, and share what the venue does to their sum.

What they want against each other at one instant changes hands at the fair price, free of charge; what is left of one
instrument is one order, whose fills and commission go to each by size. The venue knows the sum of their positions only:
a settlement is shared by signed size, so that longs and shorts pay each other what never leaves the account; what the
venue closes by itself is taken from those on whose side the sum stands. Every sharing sums to the venue's own amount.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET, UnsetType

from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core.book import LiveOrder, Purpose, Share, crossing_id, order_id
from gearing.core.events import Outcome
from gearing.core.money import CEILING, accrued_of, value_of
from gearing.core.sharing import met, shared
from gearing.core.state import LegState
from gearing.core.trading import Order
from gearing.drive.running import Book, Running
from gearing.venues.protocol import Forced, FundingPayment, Settled, Trade

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


# Less than this apart, two prices are the same.
_COST_MIN = 1e-4


class Wanted(NamedTuple):
    """An order that a token wants, when it wanted it, and of which instrument.

    The instrument is that of the moment: a roll that is completed by a crossing renumbers the token's positions.
    """

    running: Running
    order: Order
    time_ms: int
    symbol: str

    def share(self, lots: int) -> Share:
        """Returns its share of so many lots."""
        it = self.order
        purpose = Purpose(token=self.running.name, leg=it.leg, epoch=it.epoch, slice=it.slice, attempt=it.attempt)
        return Share(purpose=purpose, lots=lots)


class Position(NamedTuple):
    """A token's position in an instrument: whose, and which of its legs."""

    running: Running
    k: int

    @property
    def leg(self) -> LegState:
        """The leg."""
        return self.running.state.legs[self.k]

    @property
    def symbol(self) -> str:
        """The instrument."""
        return self.running.symbols[self.k]


def positions(book: Book, symbol: str) -> list[Position]:
    """Returns the positions of a book's tokens in an instrument."""
    return [Position(running, k) for running in book.tokens for k, name in enumerate(running.symbols) if name == symbol]


def trade_together(
    driver: Driver, book: Book, wanted: Sequence[Wanted], end: Callable[[Share, Outcome, str, int], None]
) -> None:
    """Trades what the tokens of a book want at one instant.

    Args:
        driver: that runs it.
        book: theirs.
        wanted: what they want.
        end: takes off an order that was met whole by what others wanted.
    """
    for symbol in dict.fromkeys(one.symbol for one in wanted):
        mine = [one for one in wanted if one.symbol == symbol]
        now_ms = max(one.time_ms for one in mine)
        lots = [one.order.lots for one in mine]
        within = min(venue_cost(one.running) for one in mine)
        agrees = driver.market.is_good((symbol,), now_ms) and driver.market.agrees(symbol, within)
        crossed = met(lots) if agrees else (0,) * len(lots)
        if any(crossed):
            _cross(driver, book, symbol, [one.share(n) for one, n in zip(mine, crossed, strict=True) if n], now_ms)
        rest = [(one, n - gone) for one, n, gone in zip(mine, lots, crossed, strict=True)]
        for sign in (1, -1):  # without a good price both sides are sent
            _send(driver, book, symbol, [(one, n) for one, n in rest if n * sign > 0], now_ms)
        for one, n in rest:
            if n == 0:
                end(one.share(one.order.lots), "filled", "", now_ms)


def venue_cost(running: Running) -> float:
    """Returns what a trade at the venue costs a token by its specification, as a fraction.

    Where mark and fair price are further apart, somebody would gain by trading with the other rather than at the venue.
    """
    costs = running.spec.token.costs
    return max(costs.taker_fee + costs.half_spread, _COST_MIN)


def _cross(driver: Driver, book: Book, symbol: str, parts: Sequence[Share], now_ms: int) -> None:
    price, key = driver.market.fair(symbol), crossing_id(book.state)
    driver.note(book, bk.Crossed(time_ms=now_ms, id=key, symbol=symbol, price=price, parts=tuple(parts)))
    for part, paid in zip(parts, _exchanged(parts, positions(book, symbol)[0].leg.lot_size, price), strict=True):
        driver.orders.fill(Portion(part, part.lots, 0, paid), key, price, now_ms, crosses=True)


def _exchanged(parts: Sequence[Share], size: Decimal, price: float) -> list[int]:
    """Returns what each pays of what changes hands, minor units: what the buyers pay is what the sellers get."""
    found = [0] * len(parts)
    for side in (1, -1):
        mine = [k for k, part in enumerate(parts) if part.lots * side > 0]
        lots = [parts[k].lots for k in mine]
        worth = value_of(sum(map(abs, lots)), size, price, CEILING) * side
        for k, paid in zip(mine, shared(worth, lots), strict=True):
            found[k] = paid
    return found


def close_ended(driver: Driver, book: Book, symbol: str, now_ms: int) -> None:
    """Closes what tokens of a book hold against each other of an instrument in which trading has ended.

    The venue closes their sum alone: without this the rest of it could never be traded away again. It changes hands at
    the last mark, free of charge.
    """
    at = [one for one in positions(book, symbol) if one.leg.lots]
    crossed = met([-one.leg.lots for one in at])
    if not any(crossed) or any(order.symbol == symbol for order in book.state.live.values()):
        return
    price, key = driver.market.price(symbol), crossing_id(book.state)
    price = at[0].leg.mark if math.isnan(price) else price
    gone = [(one, n) for one, n in zip(at, crossed, strict=True) if n]
    parts = [
        Share(
            purpose=Purpose(token=one.running.name, leg=one.k, epoch=one.running.state.epoch, slice=0, attempt=0),
            lots=n,
        )
        for one, n in gone
    ]
    driver.note(book, bk.Crossed(time_ms=now_ms, id=key, symbol=symbol, price=price, parts=tuple(parts)))
    for (one, n), paid in zip(gone, _exchanged(parts, at[0].leg.lot_size, price), strict=True):
        driver.effects.alarms.append(f"{one.running.name}: what it held of {symbol}, which has ended, was closed "
                                     f"with the other tokens of its book at {price:,g}")  # fmt: skip
        driver.apply(one.running, ev.Liquidated(time_ms=now_ms, leg=one.k, lots=n, price=price, charge=0, trade=key,
                                                paid=paid))  # fmt: skip
        driver.arm(one.running)


def _send(driver: Driver, book: Book, symbol: str, wanted: Sequence[tuple[Wanted, int]], now_ms: int) -> None:
    if not wanted:
        return
    shares, lots = tuple(one.share(n) for one, n in wanted), sum(n for _, n in wanted)
    # What lowers a token's position may raise the sum of them, which is all that the venue knows.
    held = sum(at.leg.lots for at in positions(book, symbol))
    live = [order.rest for order in book.state.live.values() if order.symbol == symbol]
    lowers = held * lots < 0 and all(n * lots >= 0 for n in live) and abs(sum(live, lots)) <= abs(held)
    order = LiveOrder(id=order_id(book.state), symbol=symbol, lots=lots, purpose=shares[0].purpose,
                      reduces=lowers and all(one.order.reduces for one, _ in wanted))  # fmt: skip
    driver.orders.send(book, order.among(shares), now_ms)


class Portion(NamedTuple):
    """A token's part of a trade: whose, lots, commission, and what was paid where the trade is of several."""

    share: Share
    lots: int
    charge: int
    paid: int | UnsetType


def split_fill(book: Book, order: LiveOrder, trade: Trade) -> Iterator[Portion]:
    """Yields what each token has of a fill."""
    shares = order.shares
    if len(shares) == 1:
        yield Portion(shares[0], trade.lots, trade.commission, UNSET)
        return
    lots = order.split(trade.lots)
    size = positions(book, order.symbol)[0].leg.lot_size
    charges, paid = shared(trade.commission, lots), _paid(trade.lots, size, trade.price, lots)
    yield from (Portion(*one) for one in zip(shares, lots, charges, paid, strict=True) if one[1])


class Taken(NamedTuple):
    """A token's part of what the venue closed by itself; see `Portion`."""

    at: Position
    lots: int
    charge: int
    paid: int | UnsetType


def split_forced(book: Book, forced: Forced) -> Iterator[Taken]:
    """Yields what each token has of what the venue closed: those on the side of the sum, by size."""
    at = positions(book, forced.symbol)
    if len(at) == 1:
        yield Taken(at[0], forced.lots, forced.charge, UNSET)
    if len(at) < 2:
        return
    sign = -1 if forced.lots > 0 else 1
    sizes = [max(one.leg.lots * sign, 0) for one in at]
    lots = shared(forced.lots, sizes if any(sizes) else [1] + [0] * (len(at) - 1))
    charges, paid = shared(forced.charge, lots), _paid(forced.lots, at[0].leg.lot_size, forced.price, lots)
    yield from (Taken(*one) for one in zip(at, lots, charges, paid, strict=True) if one[1])


def _paid(whole: int, size: Decimal, price: float, lots: Sequence[int]) -> tuple[int, ...]:
    """Returns what each paid of a trade, which came to its value, rounded up as for one token."""
    return shared(value_of(whole, size, price, CEILING), lots)


def sizes_at(at: Sequence[Position], payment: FundingPayment) -> list[int] | None:
    """Returns what each held at a settlement, where what each may have held can sum to what the venue settled on.

    Nobody knows what happened first within the millisecond of a settlement; whoever traded then makes up the sum.
    """
    spans = _spans(at, payment.settlement_ms)
    sizes = [span[0] for span in spans]
    lacking = payment.lots - sum(sizes)
    for k, span in enumerate(spans):
        more = min(max(lacking, 0), len(span) - 1)
        sizes[k] += more
        lacking -= more
    return sizes if lacking == 0 else None


def likely_sizes(at: Sequence[Position], payment: FundingPayment) -> list[int]:
    """Returns what each held at a settlement as far as is known; the rest of its lots goes to those of unknown size."""
    known = [one.leg.lots_at(payment.settlement_ms) for one in at]
    sizes = [0 if span is None else span[0] for span in known]
    unknown = [k for k, span in enumerate(known) if span is None]
    weights = [abs(at[k].leg.lots) for k in unknown]
    parts = shared(payment.lots - sum(sizes), weights if any(weights) else [1] * len(unknown)) if unknown else ()
    for k, lots in zip(unknown, parts, strict=True):
        sizes[k] = lots
    return sizes


def _spans(at: Sequence[Position], time_ms: int) -> list[range]:
    return [one.leg.lots_at(time_ms) or range(one.leg.lots, one.leg.lots + 1) for one in at]


def unpaid(book: Book, settled: Iterable[Settled], payments: Iterable[FundingPayment]) -> Iterator[FundingPayment]:
    """Yields settlements of which the venue booked nothing, since what the tokens of a book held sums to nothing.

    They pay each other all the same.

    Args:
        book: theirs.
        settled: the settlements.
        payments: those that the venue booked.
    """
    waits = [
        it for it in settled if any(one.leg.funded_ms < it.settlement_ms for one in positions(book, it.symbol))
    ]  # fmt: skip
    if not waits:
        return
    booked = {(one.symbol, one.settlement_ms) for one in payments}
    untold = {order.symbol for order in book.state.live.values()}
    for it in waits:
        payment = FundingPayment(symbol=it.symbol, settlement_ms=it.settlement_ms, rate=it.rate, mark=it.mark, lots=0,
                                 amount=0)  # fmt: skip
        at = positions(book, it.symbol)
        # Where they held something together, the venue's payment is on its way.
        may_be = sizes_at(at, payment) is not None or any(one.leg.lots_at(it.settlement_ms) is None for one in at)
        if may_be and it.symbol not in untold and (it.symbol, it.settlement_ms) not in booked:
            yield payment


def held_at(at: Sequence[Position], payment: FundingPayment) -> str:
    """Returns in words what was held together at a settlement."""
    spans = _spans(at, payment.settlement_ms)
    low, high = sum(span[0] for span in spans), sum(span[-1] for span in spans)
    return f"{low}" if low == high else f"{low} to {high}"


def funding_shares(sizes: Sequence[int], leg: LegState, payment: FundingPayment) -> list[int]:
    """Returns what of a settlement each receives (pays < 0), minor units: by signed size, the sum as the venue has it.

    Args:
        sizes: what each held, lots.
        leg: any of the positions, for the size of a lot.
        payment: the settlement.
    """
    parts = [-accrued_of(size, leg.lot_size, payment.mark, payment.rate, CEILING) for size in sizes]
    # What rounding left over, and where the venue reckons otherwise, goes to them by size.
    left = payment.amount - sum(parts)
    weights = [abs(size) for size in sizes]
    more = shared(left, weights if any(weights) else [1] * len(weights))
    return [part + one for part, one in zip(parts, more, strict=True)]
