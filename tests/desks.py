"""A driver with one book, whose venue is the test."""

from __future__ import annotations

import itertools

from gearing.core.terms import Spec
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.venues.protocol import Forced, FundingPayment, OrderStatus, Quote, Statement, Trade
from tests.lives import CAPITAL, NOON_MS, UNITS, token


class Desk:
    """One book of one or more tokens; the venue is the test."""

    def __init__(self, *tokens, limits=None, lot="0.001"):
        given = tokens or (token("A"),)
        self.now_ms, self.lot = NOON_MS, lot
        self.funding = {}  # what prices announce: rate and time of the next settlement
        self.driver = Driver(Market(limits or GuardLimits(warm_ms=0)))
        self.symbols = sorted({leg.symbol for it in given for leg in it.legs})
        for number, it in enumerate(given):
            self.driver.market.list_token(number, tuple(leg.symbol for leg in it.legs))
        self.quote(*[100.0] * len(self.symbols), after_ms=0)
        self.book = self.driver.open_book("main", "abc123", [it.symbol for it in given], self.now_ms)
        self.tokens = [
            self.driver.launch(self.book, Spec(it), (lot,) * len(it.legs), CAPITAL, UNITS, self.now_ms)
            for it in given
        ]  # fmt: skip
        self.it = self.tokens[0]
        self.lines, self.flows, self.alarms, self.placed = [], [], [], []
        self.take()
        self.first = self.effects
        self.count = itertools.count(1)

    def take(self):
        """Takes the effects; returns the orders to be sent."""
        effects = self.driver.taken()
        self.lines += [line for line in effects.lines if line.stream.startswith("token:")]
        self.flows += [line for line in effects.lines if line.stream.startswith("flows:")]
        self.alarms += effects.alarms
        self.placed += effects.placed
        self.effects = effects
        return effects.placed

    def quote(self, *marks, after_ms=1_000):
        self.now_ms += after_ms
        self.driver.on_quotes(
            [
                Quote(symbol=s, time_ms=self.now_ms, mark=m, index=m, **self.funding)
                for s, m in zip(self.symbols, marks, strict=True)
            ],
            self.now_ms,
        )
        return self.take() if after_ms else []

    def trade(self, order, lots=None, price=100.0, commission=0, time_ms=None):
        return Trade(trade_id=f"t{next(self.count)}", client_id=order.id, symbol=order.symbol,
                     lots=order.lots if lots is None else lots, price=price, commission=commission, asset="USDT",
                     realised=0, time_ms=time_ms or self.now_ms)  # fmt: skip

    def status(self, order, word="filled", filled=None):
        return OrderStatus(client_id=order.id, symbol=order.symbol, word=word, lots=order.lots,
                           filled=order.lots if filled is None else filled, time_ms=self.now_ms)  # fmt: skip

    def hear(self, *reports):
        for report in reports:
            (self.driver.on_trade if isinstance(report, Trade) else self.driver.on_status)(self.book, report)
        return self.take()

    def opened(self):
        orders = self.quote(*[100.0] * len(self.symbols))
        for order in orders:
            self.hear(self.trade(order), self.status(order))
        return self

    def payment(self, lots, amount, settlement_ms, symbol="A"):
        return FundingPayment(symbol=symbol, settlement_ms=settlement_ms, rate=1e-4, mark=100.0, lots=lots,
                              amount=amount)  # fmt: skip

    def forced(self, lots, price=100.0, trade="f1", deleveraged=False, symbol="A"):
        return Forced(trade_id=trade, symbol=symbol, lots=lots, price=price, charge=0, realised=0,
                      deleveraged=deleveraged, time_ms=self.now_ms)  # fmt: skip

    @property
    def lots(self):
        return [leg.lots for leg in self.it.state.legs]


def stated(desk, positions):
    """Returns the statement of a venue that booked what the desk did."""
    states = [running.state for running in desk.tokens]
    wallet = sum(state.balances.wallet for state in states)
    cost = sum(leg.basis for state in states for leg in state.legs)
    return Statement(time_ms=desk.now_ms, positions=positions, costs={"USDT": cost}, wallet={"USDT": wallet},
                     maintenance={})  # fmt: skip


__all__ = ["Desk", "stated"]
