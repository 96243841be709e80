"""How an order is filled: at the mark and the spread of its size, as far as the depth goes."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

import msgspec

from gearing.core.money import as_decimal
from gearing.venues.paper.accepting import affords
from gearing.venues.paper.books import decimal_of
from gearing.venues.paper.records import Order
from gearing.venues.paper.setup import Listing
from gearing.venues.paper.state import State
from gearing.venues.protocol import Quote, Trade
from gearing.venues.quote import deal, fee_on


class Piece(NamedTuple):
    """A part of a fill: signed lots, and their price."""

    lots: int
    price: float


def match(state: State, order: Order) -> Order:
    """Fills an order as far as it goes, cancels the rest, and returns it as it ended."""
    request = order.request
    listing = state.listings[request.symbol]
    if state.setup.latency.match_ms and not affords(state, order.account, request):
        return state.end(order, "rejected", "margin")
    found, reason = _available(state, order, listing)
    trades: list[Trade] = []
    for piece in _pieces(state, listing, found):
        charge = fee_on(listing.costs.taker_fee, piece.lots, decimal_of(listing.rules.lot), piece.price)
        trade_id, realised = state.trade(order.account, request.symbol, piece.lots, piece.price, charge)
        trade = Trade(
            trade_id=trade_id, client_id=request.client_id, symbol=request.symbol, lots=piece.lots, price=piece.price,
            commission=charge, asset=listing.rules.asset, realised=realised, time_ms=state.now_ms,
        )  # fmt: skip
        trades.append(trade)
        state.tell(order.account, trade)
    whole = found == request.lots
    done = msgspec.structs.replace(order, trades=tuple(trades))
    return state.end(done, "filled" if whole else "cancelled", "" if whole else reason)


def price_of(listing: Listing, lots: int, quote: Quote) -> float:
    """Returns what a trade of so many lots costs per unit; where there is a tick, rounded against who trades."""
    price = deal(listing.costs, lots, decimal_of(listing.rules.lot), quote.mark, quote.volume_24h).price
    tick = decimal_of(listing.rules.tick)
    if not tick:
        return price
    ticks = (as_decimal(price) / tick).to_integral_value(ROUND_CEILING if lots > 0 else ROUND_FLOOR)
    return float(max(ticks, Decimal(1)) * tick)


def _available(state: State, order: Order, listing: Listing) -> tuple[int, str]:
    """Returns how many lots of an order are filled, signed, and why not more."""
    request = order.request
    size, reason = abs(request.lots), ""
    if request.reduce_only:
        held = state.position(order.account, request.symbol).lots
        most = max(-held, 0) if request.lots > 0 else max(held, 0)
        if most < size:
            size, reason = most, "reduce_only"
    if 0 < listing.depth_lots < size:
        size, reason = listing.depth_lots, "depth"
    if size > 1 and state.draws.chance(state.setup.faults.partial):
        size, reason = 1 + state.draws.below(size - 1), "depth"
    lots = size if request.lots > 0 else -size
    worst = request.worst_price
    if lots and worst is not None:
        price = price_of(listing, lots, state.quotes[request.symbol])
        if price > worst if lots > 0 else price < worst:
            return 0, "price"
    return lots, reason


def _pieces(state: State, listing: Listing, lots: int) -> list[Piece]:
    """Returns the trades that make a fill; the second of two pays the spread of the whole size."""
    if not lots:
        return []
    quote = state.quotes[listing.rules.symbol]
    whole = Piece(lots, price_of(listing, lots, quote))
    if abs(lots) < 2 or not state.draws.chance(state.setup.faults.split):
        return [whole]
    first = (1 + state.draws.below(abs(lots) - 1)) * (1 if lots > 0 else -1)
    return [Piece(first, price_of(listing, first, quote)), Piece(lots - first, whole.price)]
