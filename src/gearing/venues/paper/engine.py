"""The paper exchange itself: what requests, prices and time do to the accounts. Pure but for its own state.

No clock, no I/O; its only randomness is a generator in its state. Time comes from the quotes it is given and from
`advance`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from gearing.venues.paper import happening
from gearing.venues.paper import requests as rq
from gearing.venues.paper.accepting import check_order
from gearing.venues.paper.books import FLAT
from gearing.venues.paper.matching import match
from gearing.venues.paper.records import Moved, Order
from gearing.venues.paper.setup import Listing, Setup
from gearing.venues.paper.state import NEVER_MS, State
from gearing.venues.protocol import (
    Forced,
    FundingPayment,
    OrderRequest,
    OrderStatus,
    Quote,
    RefusedError,
    Setting,
    Statement,
)

# The least leverage a venue offers; the most is what the first bracket leaves room for.
_LEVERAGE_MIN = 1.0


Listed = TypeVar("Listed", FundingPayment, Forced)

# Of one instant, settlements come before matches, and these before the end of trading.
_SETTLEMENT, _MATCH, _END = range(3)


class _Due(NamedTuple):
    """What waits for its time; by this order, whatever order it was noted in."""

    time_ms: int
    rank: int
    number: int
    key: str


class Engine:
    """A paper exchange.

    Args:
        setup: what it is told.
        state: where it stood; by default it is new.
    """

    def __init__(self, setup: Setup, state: State | None = None) -> None:
        self.state = State(setup) if state is None else state
        for listing in setup.listings:
            self.list(listing)

    def ask(self, account: str, request: rq.Request) -> Any:
        """Answers a request of an account, as `requests.ANSWERS` says.

        Raises:
            RefusedError: the venue says no.
        """
        return _ANSWERS[type(request)](self, account, request)

    def control(self, request: rq.Control) -> None:
        """Does what a feed or an operator of the exchange asks for."""
        _CONTROLS[type(request)](self, request)

    # What an account asks for.

    def place(self, account: str, request: OrderRequest) -> OrderStatus:
        """Accepts an order, and matches it where nothing delays that.

        Raises:
            RefusedError: it does not exist.
        """
        state, latency = self.state, self.state.setup.latency
        check_order(state, account, request)
        hidden = state.draws.chance(state.setup.faults.hidden)
        jitter_ms = state.draws.below(latency.jitter_ms + 1) if latency.match_ms else 0
        state.clock = msgspec.structs.replace(state.clock, orders=state.clock.orders + 1)
        order = Order(
            account=account, number=state.clock.orders, request=request, accepted_ms=state.now_ms,
            match_ms=state.now_ms + latency.match_ms + jitter_ms,
            visible_ms=state.now_ms + (latency.visibility_ms if hidden else 0),
        )  # fmt: skip
        if order.match_ms == state.now_ms:
            return match(state, order).status
        state.keep_order(order)
        state.tell(account, order.status)
        return order.status

    def cancel(self, account: str, client_id: str) -> None:
        """Cancels an open order; nothing happens to any other."""
        order = self.state.live.get(f"{account}/{client_id}")
        if order is not None:
            self.state.end(order, "cancelled", "cancelled by its owner")

    def query(self, account: str, client_id: str) -> Order | None:
        """Returns the last order of a client id, once queries know it."""
        order = self.state.orders.get(f"{account}/{client_id}")
        return order if order is not None and order.visible_ms <= self.state.now_ms else None

    def open_orders(self, account: str) -> list[Order]:
        """Returns the open orders of an account that queries know."""
        now_ms = self.state.now_ms
        return [o for o in self.state.live.values() if o.account == account and o.visible_ms <= now_ms]

    def statement(self, account: str) -> Statement:
        """Returns positions, wallet and margin of an account."""
        it = self.state.account(account)
        asked: dict[str, int] = dict.fromkeys(it.wallet, 0)
        costs: dict[str, int] = dict.fromkeys(it.wallet, 0)
        for symbol, held in it.positions.items():
            asset = self.state.listings[symbol].rules.asset
            asked[asset] = asked.get(asset, 0) + self.state.margin.maintenance(it, symbol)
            costs[asset] = costs.get(asset, 0) + held.basis
        positions = {symbol: held.lots for symbol, held in it.positions.items()}
        return Statement(time_ms=self.state.now_ms, positions=positions, costs=costs, wallet=dict(it.wallet),
                         maintenance=asked)  # fmt: skip

    def setting(self, account: str, symbol: str) -> Setting:
        """Returns how a symbol is margined in an account.

        Raises:
            RefusedError: it is not listed.
        """
        self._listing(symbol)
        return self.state.margin.setting(self.state.account(account), symbol)

    def put_setting(self, account: str, symbol: str, setting: Setting) -> None:
        """Sets leverage and margin mode of a symbol.

        Raises:
            RefusedError: the leverage is not offered, or the mode cannot change while something is held.
        """
        tiers = self._listing(symbol).rules.tiers
        most = 1.0 / tiers[0].rate if tiers else math.inf
        if not _LEVERAGE_MIN <= setting.leverage <= most:
            raise RefusedError("leverage", f"leverage is from {_LEVERAGE_MIN:g} to {most:g}")
        it = self.state.account(account)
        busy = it.positions.get(symbol, FLAT).lots or self.state.live_on(symbol, account)
        if busy and setting.margin_mode != self.state.margin.setting(it, symbol).margin_mode:
            raise RefusedError("margin_mode", "the margin mode changes only while nothing is held or ordered")
        self.state.keep_account(msgspec.structs.replace(it, settings={**it.settings, symbol: setting}))

    def transfer(self, account: str, asset: str, amount: int, reference: str) -> None:
        """Moves money into (out of: < 0) an account, once per reference.

        Raises:
            RefusedError: the reference was used for something else, or what is held needs the money.
        """
        state, key = self.state, f"{account}/{reference}"
        before = state.transfers.get(key)
        if before is not None:
            if (before.asset, before.amount) != (asset, amount):
                raise RefusedError("reference", f"transfer {reference} was {before.amount} of {before.asset}")
            return
        it = state.account(account)
        pool = state.margin.shared(it, asset)
        spare = min(it.wallet.get(asset, 0), pool.equity - max(pool.initial, pool.maintenance))
        if amount < 0 and spare + amount < 0:
            raise RefusedError("balance", f"at most {max(spare, 0)} minor units of {asset} can be taken out")
        moved = Moved(asset=asset, amount=amount, time_ms=state.now_ms)
        state.transfers[key] = state.changed["transfer", key] = moved
        state.pay(account, asset, amount)

    # What happens to it.

    def list(self, listing: Listing) -> None:
        """Lists an instrument; one that is listed stays as it is."""
        if listing.rules.symbol not in self.state.listings:
            self.state.keep_listing(listing)

    def delist(self, symbol: str, at_ms: int) -> None:
        """Ends trading in an instrument at a time; what is held then is closed at the mark."""
        listing = self.state.listings[symbol]
        ends_ms = max(at_ms, self.state.now_ms + 1)
        rules = msgspec.structs.replace(listing.rules, delisted_ms=ends_ms)
        self.state.keep_listing(msgspec.structs.replace(listing, rules=rules))

    def set_rate(self, request: rq.SetRate) -> None:
        """Takes the rate of a settlement to come; one that was settled is not settled again."""
        rate = request.rate
        self._listing(rate.symbol)
        if rate.settlement_ms > self.state.clock.settled_ms.get(rate.symbol, 0):
            self.state.keep_rate(rate)

    def take(self, quotes: Sequence[Quote]) -> None:
        """Takes true prices: what was due before them happens at the old ones, then liquidation, then what is due."""
        state = self.state
        now_ms = max(quote.time_ms for quote in quotes)
        if state.due_ms < now_ms:
            self.advance(now_ms - 1)
        for quote in quotes:
            last = state.quotes.get(quote.symbol)
            if last is None:
                state.due_ms = 0  # settlements may have waited for it
            if last is None or quote.time_ms >= last.time_ms:
                state.quotes[quote.symbol] = quote
        state.now_ms = max(state.now_ms, now_ms)
        if state.accounts:
            for quote in quotes:
                happening.liquidate(state, quote.symbol)
                if state.setup.faults.deleveraged:
                    happening.deleverage(state, quote.symbol)
        if state.due_ms <= state.now_ms:
            self.advance(state.now_ms)

    def advance(self, now_ms: int) -> None:
        """Lets time go on; what is due happens in the order of its time."""
        state = self.state
        while state.due_ms <= now_ms:
            due = min(self._dues(), default=None)
            if due is not None and due.time_ms <= now_ms:
                state.now_ms = max(state.now_ms, due.time_ms)
                self._let_happen(due)
            state.due_ms = min((due.time_ms for due in self._dues()), default=NEVER_MS)
        state.now_ms = max(state.now_ms, now_ms)

    def _dues(self) -> Iterator[_Due]:
        """Yields what waits."""
        state = self.state
        for key, rate in state.rates.items():
            if rate.symbol in state.quotes:  # a settlement waits for the first price
                yield _Due(rate.settlement_ms, _SETTLEMENT, 0, key)
        for key, order in state.live.items():
            yield _Due(order.match_ms, _MATCH, order.number, key)
        for symbol, listing in state.listings.items():
            if listing.rules.delisted_ms and state.holders(symbol):
                yield _Due(listing.rules.delisted_ms, _END, 0, symbol)

    def _let_happen(self, due: _Due) -> None:
        if due.rank == _SETTLEMENT:
            happening.settle(self.state, self.state.rates[due.key])
        elif due.rank == _MATCH:
            match(self.state, self.state.live[due.key])
        else:
            happening.close_market(self.state, due.key)

    def _listing(self, symbol: str) -> Listing:
        listing = self.state.listings.get(symbol)
        if listing is None:
            raise RefusedError("symbol", f"{symbol} is not listed")
        return listing


def _status(engine: Engine, account: str, request: rq.Query) -> OrderStatus | None:
    order = engine.query(account, request.client_id)
    return None if order is None else order.status


def _fills(engine: Engine, account: str, request: rq.Fills) -> list[Any]:
    order = engine.query(account, request.client_id)
    return [] if order is None else list(order.trades)


def _payments(engine: Engine, account: str, request: rq.Payments) -> list[FundingPayment]:
    state = engine.state
    dated = [
        (it.settlement_ms, it)
        for it in state.payments.get(account, [])
        if state.listed_ms.get(f"{account}/{it.symbol}/{it.settlement_ms}", 0) <= state.now_ms
    ]
    return _since(engine, dated, request.since_ms)


def _since(engine: Engine, dated: list[tuple[int, Listed]], since_ms: int) -> list[Listed]:
    """Returns what is of after a time; a list that repeats itself has everything, twice."""
    if engine.state.draws.chance(engine.state.setup.faults.list_repeated):
        return [it for _, it in dated] * 2
    return [it for time_ms, it in dated if time_ms > since_ms]


_ANSWERS: dict[type, Callable[[Engine, str, Any], Any]] = {
    rq.Instruments: lambda engine, _, __: [listing.rules for listing in engine.state.listings.values()],
    rq.Place: lambda engine, account, request: engine.place(account, request.order),
    rq.Cancel: lambda engine, account, request: engine.cancel(account, request.client_id),
    rq.Query: _status,
    rq.Fills: _fills,
    rq.OpenOrders: lambda engine, account, _: [order.status for order in engine.open_orders(account)],
    rq.GetStatement: lambda engine, account, _: engine.statement(account),
    rq.Payments: _payments,
    rq.Settlements: lambda engine, _, request: [
        it for it in engine.state.settled.get(request.symbol, []) if it.settlement_ms > request.since_ms
    ],
    rq.ForcedTrades: lambda engine, account, request: _since(
        engine, [(it.time_ms, it) for it in engine.state.forced.get(account, [])], request.since_ms
    ),
    rq.Unasked: lambda engine, account, request: [
        it for it in engine.state.received.get(account, []) if it.time_ms > request.since_ms
    ],
    rq.GetSetting: lambda engine, account, request: engine.setting(account, request.symbol),
    rq.PutSetting: lambda engine, account, request: engine.put_setting(account, request.symbol, request.setting),
    rq.Transfer: lambda engine, account, it: engine.transfer(account, it.asset, it.amount, it.reference),
}  # fmt: skip

_CONTROLS: dict[type, Callable[[Engine, Any], None]] = {
    rq.TakeQuotes: lambda engine, request: engine.take(request.quotes),
    rq.Advance: lambda engine, request: engine.advance(request.now_ms),
    rq.SetRate: lambda engine, request: engine.set_rate(request),
    rq.List: lambda engine, request: engine.list(request.listing),
    rq.Delist: lambda engine, request: engine.delist(request.symbol, request.at_ms),
    rq.Resize: lambda engine, request: happening.resize(engine.state, request.symbol, request.lot),
    rq.Give: lambda engine, request: engine.state.keep_received(request.account, request.asset, request.amount),
}
