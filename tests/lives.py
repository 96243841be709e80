"""A token's life by hand: events go through the step, orders are filled as a test wants, invariants hold throughout."""

from __future__ import annotations

import gearing as gr
from gearing.core import events as ev
from gearing.core.invariants import breaches
from gearing.core.money import MINOR, to_minor
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.terms import Spec

NOON_MS = 1_767_268_800_000  # 2026-01-01 12:00 UTC
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CAPITAL = 1_000_000 * MINOR
UNITS = 10_000 * MINOR


def token(*symbols, target=3.0, weights=None, **more):
    """A token that rebalances when its leverage is a tenth away from its target; a lot is a thousandth."""
    names = symbols or ("A",)
    shares = weights or [1 / len(names)] * len(names)
    legs = tuple(gr.Perpetual(symbol=name, weight=w) for name, w in zip(names, shares, strict=True))
    more.setdefault("rule", gr.Rule(deviation=0.1))
    return gr.Token(symbol="T", target=target, legs=legs, **more)


class Life:
    """A launched and seeded token."""

    def __init__(self, it=None, prices=None, lot="0.001"):
        self.token = it or token()
        self.spec, self.state = Spec(self.token), TokenState()
        self.now_ms, self.entry, self.trades = NOON_MS, (), 0
        self.orders = []
        first = prices or (100.0,) * len(self.token.legs)
        self.do(ev.Launched(time_ms=self.now_ms, token=self.token, lots=(lot,) * len(first), prices=first))
        self.do(ev.Seeded(time_ms=self.now_ms, amount=CAPITAL, units=UNITS))

    def do(self, event):
        """Steps; returns the orders."""
        before = self.state
        done = step(self.spec, before, event)
        assert breaches(before, done.state, done.entry) == []
        self.state, self.entry, self.orders = done.state, done.entry, list(done.orders)
        return self.orders

    def mark(self, *prices, after_ms=MINUTE_MS, volumes=()):
        before_ms, self.now_ms = self.now_ms, self.now_ms + after_ms
        return self.do(ev.Marked(time_ms=self.now_ms, prices=prices, before_ms=before_ms, volumes=volumes))

    def fill(self, order, lots=None, price=None, commission=0):
        """Fills an order, or a part of it."""
        self.trades += 1
        leg = self.state.legs[order.leg]
        self.do(ev.Filled(
            time_ms=self.now_ms, leg=order.leg, epoch=order.epoch, slice=order.slice, attempt=order.attempt,
            trade=str(self.trades), lots=order.lots if lots is None else lots, price=price or leg.mark,
            commission=commission,
        ))  # fmt: skip

    def end(self, order, outcome="filled", words=""):
        return self.do(ev.OrderEnded(time_ms=self.now_ms, leg=order.leg, epoch=order.epoch, slice=order.slice,
                                     attempt=order.attempt, outcome=outcome, words=words))  # fmt: skip

    def trade(self, orders):
        """Fills orders whole, and whatever follows on them."""
        while orders:
            later = []
            for order in orders:
                self.fill(order)
                later += self.end(order)
            orders = later

    def opened(self):
        """Opens the position at the first prices."""
        self.trade(self.mark(*[leg.mark for leg in self.state.legs]))
        return self

    def operate(self, action):
        return self.do(ev.Operated(time_ms=self.now_ms, action=action, by="ann", reason="as planned"))

    def fund(self, amount, leg=0, settlement_ms=None):
        at = self.now_ms if settlement_ms is None else settlement_ms
        held = self.state.legs[leg]
        return self.do(ev.FundingSettled(
            time_ms=self.now_ms, leg=leg, settlement_ms=at, lots=held.lots, rate=1e-4, amount=amount,
            prices=tuple(one.mark for one in self.state.legs),
        ))  # fmt: skip

    def force(self, lots, price, charge=0, leg=0, deleveraged=False):
        self.trades += 1
        return self.do(ev.Liquidated(time_ms=self.now_ms, leg=leg, lots=lots, price=price, charge=charge,
                                     trade=f"f{self.trades}", deleveraged=deleveraged))  # fmt: skip

    @property
    def leverage(self):
        held = sum(to_minor(float(leg.lots) * float(leg.lot) * leg.mark, "ROUND_FLOOR") for leg in self.state.legs)
        return held / self.state.equity

    @property
    def lots(self):
        return [leg.lots for leg in self.state.legs]


__all__ = ["CAPITAL", "HOUR_MS", "MINOR", "MINUTE_MS", "NOON_MS", "UNITS", "Life", "to_minor", "token"]
