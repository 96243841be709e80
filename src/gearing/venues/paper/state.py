"""All that a paper exchange knows, and the few ways in which it changes: each notes what has to be made durable."""

from __future__ import annotations

import math
from bisect import insort

import msgspec

from gearing.venues.paper.books import FLAT, Margin, decimal_of, traded
from gearing.venues.paper.draws import Draws
from gearing.venues.paper.records import Account, Clock, Moved, Order, Position, Rate
from gearing.venues.paper.setup import Listing, Setup
from gearing.venues.protocol import Forced, FundingPayment, OrderWord, Quote, Received, Report, Settled

NEVER_MS = 2**63 - 1

Key = tuple[str, str]


class State:
    """The state of a paper exchange.

    Args:
        setup: what it is told.

    `changed` holds the records that changed since it was last emptied, by kind and key (None: gone); `reports`
    what accounts have to be told, in order.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.now_ms = 0
        self.due_ms = NEVER_MS
        self.draws = Draws(setup.seed)
        self.clock = Clock()
        self.listings: dict[str, Listing] = {}
        self.quotes: dict[str, Quote] = {}
        self.accounts: dict[str, Account] = {}
        self._holders: dict[str, list[str]] = {}
        self.orders: dict[str, Order] = {}
        self.live: dict[str, Order] = {}
        self.rates: dict[str, Rate] = {}
        self.settled: dict[str, list[Settled]] = {}
        self.payments: dict[str, list[FundingPayment]] = {}
        self.listed_ms: dict[str, int] = {}  # from when on lists hold a payment that they lack at first
        self.forced: dict[str, list[Forced]] = {}
        self.transfers: dict[str, Moved] = {}
        self.received: dict[str, list[Received]] = {}
        self.changed: dict[Key, msgspec.Struct | None] = {}
        self.reports: list[tuple[str, Report]] = []
        self.margin = Margin(self.listings, self.mark_of, setup.leverage)

    # What is known.

    def mark_of(self, symbol: str) -> float:
        """Returns the mark of a symbol; NaN before its first price."""
        quote = self.quotes.get(symbol)
        return math.nan if quote is None else quote.mark

    def delisted_ms(self, symbol: str) -> int:
        """Returns when trading in a symbol ends; 0: it is not known to."""
        listing = self.listings.get(symbol)
        return 0 if listing is None else listing.rules.delisted_ms

    def account(self, name: str) -> Account:
        """Returns an account; one that was never used is empty."""
        return self.accounts.get(name) or Account(name=name)

    def position(self, account: str, symbol: str) -> Position:
        """Returns what an account holds of a symbol."""
        return self.account(account).positions.get(symbol, FLAT)

    def live_on(self, symbol: str, account: str | None = None) -> list[Order]:
        """Returns the open orders on a symbol, of one account or all."""
        return [o for o in self.live.values() if o.request.symbol == symbol and account in (None, o.account)]

    def holders(self, symbol: str) -> tuple[str, ...]:
        """Returns the accounts that hold a symbol, by name."""
        return tuple(self._holders.get(symbol, ()))

    def stood(self) -> Clock:
        """Returns time, generator and counters as they are saved with every change."""
        return msgspec.structs.replace(self.clock, now_ms=self.now_ms, draws=self.draws.state)

    # How it changes.

    def put_account(self, account: Account) -> None:
        """Takes an account as it is kept already."""
        before = self.accounts.get(account.name)
        self.accounts[account.name] = account
        held = before.positions.keys() if before is not None else set[str]()
        for symbol in account.positions.keys() - held:
            insort(self._holders.setdefault(symbol, []), account.name)
        for symbol in held - account.positions.keys():
            self._holders[symbol].remove(account.name)

    def keep_account(self, account: Account) -> None:
        """Takes an account in a new state."""
        self.put_account(account)
        self.changed["account", account.name] = account

    def keep_listing(self, listing: Listing) -> None:
        """Takes an instrument, new or changed."""
        symbol = listing.rules.symbol
        self.listings[symbol] = self.changed["listing", symbol] = listing
        if listing.rules.delisted_ms:
            self.due_ms = min(self.due_ms, listing.rules.delisted_ms)

    def keep_order(self, order: Order) -> None:
        """Takes an order in a new state."""
        self.orders[order.key] = self.changed["order", order.key] = order
        if order.word == "open":
            self.live[order.key] = order
            self.due_ms = min(self.due_ms, order.match_ms)
        else:
            self.live.pop(order.key, None)

    def keep_rate(self, rate: Rate) -> None:
        """Takes a settlement to come."""
        key = f"{rate.symbol}/{rate.settlement_ms}"
        self.rates[key] = self.changed["rate", key] = rate
        self.due_ms = min(self.due_ms, rate.settlement_ms)

    def drop_rate(self, rate: Rate) -> None:
        """Takes a settlement off that is settled."""
        key = f"{rate.symbol}/{rate.settlement_ms}"
        del self.rates[key]
        self.changed["rate", key] = None
        settled = {**self.clock.settled_ms, rate.symbol: rate.settlement_ms}
        self.clock = msgspec.structs.replace(self.clock, settled_ms=settled)

    def pay(self, account: str, asset: str, amount: int) -> None:
        """Pays money into (out of: < 0) a wallet."""
        it = self.account(account)
        wallet = {**it.wallet, asset: it.wallet.get(asset, 0) + amount}
        self.keep_account(msgspec.structs.replace(it, wallet=wallet))

    def trade(self, account: str, symbol: str, lots: int, price: float, charge: int) -> tuple[str, int]:
        """Books a trade in position and wallet; returns its id and the profit it realised."""
        rules, it = self.listings[symbol].rules, self.account(account)
        after, realised = traded(it.positions.get(symbol, FLAT), lots, decimal_of(rules.lot), price)
        positions = {**it.positions, symbol: after}
        if not after.lots:
            del positions[symbol]
        wallet = {**it.wallet, rules.asset: it.wallet.get(rules.asset, 0) + realised - charge}
        self.keep_account(msgspec.structs.replace(it, positions=positions, wallet=wallet))
        self.clock = msgspec.structs.replace(self.clock, trades=self.clock.trades + 1)
        return str(self.clock.trades), realised

    def end(self, order: Order, word: OrderWord, reason: str = "") -> Order:
        """Ends an order, and reports it."""
        ended = msgspec.structs.replace(order, word=word, reason=reason, ended_ms=self.now_ms)
        self.keep_order(ended)
        self.tell(order.account, ended.status)
        return ended

    def tell(self, account: str, report: Report) -> None:
        """Notes a report to an account."""
        self.reports.append((account, report))

    def keep_settled(self, settled: Settled) -> None:
        """Notes a settlement, whoever held anything."""
        self.changed["settled", f"{settled.symbol}/{settled.settlement_ms}"] = settled
        self.settled.setdefault(settled.symbol, []).append(settled)

    def keep_payment(self, account: str, payment: FundingPayment) -> None:
        """Books a settlement in the wallet, and reports it."""
        key = f"{account}/{payment.symbol}/{payment.settlement_ms}"
        self.changed["payment", key] = payment
        self.payments.setdefault(account, []).append(payment)
        if self.draws.chance(self.setup.faults.payment_unlisted):
            self.listed_ms[key] = self.now_ms + self.setup.faults.payment_unlisted_ms
        self.pay(account, self.listings[payment.symbol].rules.asset, payment.amount)
        self.tell(account, payment)

    def keep_received(self, account: str, asset: str, amount: int) -> None:
        """Takes money that nobody asked for into a wallet."""
        it = Received(
            id=f"in{len(self.received.get(account, ())) + 1}", time_ms=self.now_ms, asset=asset, amount=amount
        )
        self.changed["received", f"{account}/{it.id}"] = it
        self.received.setdefault(account, []).append(it)
        self.pay(account, asset, amount)

    def keep_forced(self, account: str, forced: Forced) -> None:
        """Notes what the venue closed by itself, and reports it."""
        self.changed["forced", f"{account}/{forced.trade_id}"] = forced
        self.forced.setdefault(account, []).append(forced)
        self.tell(account, forced)
