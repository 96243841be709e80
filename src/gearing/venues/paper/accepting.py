"""Whether an order is accepted: the venue's rules, in the order in which it looks at them."""

from __future__ import annotations

import math

from gearing.core.money import CEILING, as_decimal, value_of
from gearing.venues.paper.books import decimal_of
from gearing.venues.paper.records import Position
from gearing.venues.paper.setup import Listing
from gearing.venues.paper.state import State
from gearing.venues.protocol import OrderRequest, RefusedError
from gearing.venues.quote import deal

_ID_MAX = 32


def check_order(state: State, account: str, order: OrderRequest) -> Listing:
    """Returns the instrument of an order that may be accepted.

    Raises:
        RefusedError: it may not; the code says which rule it breaks.
    """
    if not (order.client_id.isascii() and order.client_id.isalnum() and len(order.client_id) <= _ID_MAX):
        raise RefusedError("client_id", f"a client id has 1 to {_ID_MAX} letters and digits")
    if f"{account}/{order.client_id}" in state.live:
        raise RefusedError("duplicate", f"an order {order.client_id} is open")
    if state.now_ms > order.signed_ms + order.window_ms:
        late_ms = state.now_ms - order.signed_ms
        raise RefusedError("expired", f"it came {late_ms} ms after it was signed, allowed are {order.window_ms}")
    if order.signed_ms > state.now_ms + state.setup.latency.ahead_ms_max:
        raise RefusedError("early", f"it was signed {order.signed_ms - state.now_ms} ms ahead of the venue's time")
    listing = state.listings.get(order.symbol)
    if listing is None:
        raise RefusedError("symbol", f"{order.symbol} is not listed")
    ends_ms, mark = listing.rules.delisted_ms, state.mark_of(order.symbol)
    if 0 < ends_ms <= state.now_ms:
        raise RefusedError("delisted", f"trading in {order.symbol} has ended")
    if math.isnan(mark):
        raise RefusedError("no_price", f"{order.symbol} has no price yet")
    _check_size(listing, order, mark)
    held = state.position(account, order.symbol).lots
    if order.reduce_only and held * order.lots >= 0:
        raise RefusedError("reduce_only", f"it would not reduce a position of {held} lots")
    if not affords(state, account, order):
        raise RefusedError("margin", "equity does not cover the initial margin")
    return listing


def affords(state: State, account: str, order: OrderRequest) -> bool:
    """Returns whether an account has the initial margin of an order; one that only reduces needs none."""
    held = state.position(account, order.symbol)
    after = held.lots + order.lots
    if order.reduce_only or (abs(after) <= abs(held.lots) and after * held.lots >= 0):
        return True
    it, listing = state.account(account), state.listings[order.symbol]
    lot, quote = decimal_of(listing.rules.lot), state.quotes[order.symbol]
    found = deal(listing.costs, order.lots, lot, quote.mark, quote.volume_24h)
    lost = value_of(order.lots, lot, found.price, CEILING) - value_of(order.lots, lot, quote.mark, CEILING)
    # The value at the mark stands for the cost, so that the trade itself leaves equity as it is.
    gained = value_of(held.lots, lot, quote.mark, CEILING) - held.basis
    basis = value_of(after, lot, quote.mark, CEILING) - gained
    pool = state.margin.shared(it, listing.rules.asset, {order.symbol: Position(lots=after, basis=basis)})
    return pool.equity - lost - found.charge >= pool.initial


def _check_size(listing: Listing, order: OrderRequest, mark: float) -> None:
    rules = listing.rules
    if order.lots == 0:
        raise RefusedError("size", "an order of no lots")
    if rules.max_lots and abs(order.lots) > rules.max_lots:
        raise RefusedError("size", f"{abs(order.lots)} lots, the largest order is {rules.max_lots}")
    value = value_of(abs(order.lots), decimal_of(rules.lot), mark, CEILING) / 1e8
    if value < rules.min_notional and not order.reduce_only:
        raise RefusedError("notional", f"an order of {value:g} {rules.asset}, the smallest is {rules.min_notional:g}")
    tick, worst = decimal_of(rules.tick), order.worst_price
    if worst is not None and not (math.isfinite(worst) and worst > 0 and (not tick or as_decimal(worst) % tick == 0)):
        raise RefusedError("tick", f"a worst price of {worst}, the tick is {rules.tick}")
