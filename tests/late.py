"""A token whose settlement of funding is booked late, with a flow that waits for it."""

from __future__ import annotations

from msgspec import UNSET

import gearing as gr
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.venues.protocol import FundingPayment
from tests.lives import HOUR_MS, NOON_MS, token
from tests.test_primary import COSTS, Market

T_MS = NOON_MS + HOUR_MS
RATE = 0.0001


class Late(Market):
    """A token whose settlement at T is booked late; trading is free, and each price is filled at once."""

    def __init__(self, *tokens, target=3.0, deviation=0.1, window="1m", **more):
        terms = Terms(window=window, match_over="1s" if window == "10s" else "30s", quote_valid="30s")
        tokens = tokens or (token("A", target=target, costs=COSTS, rule=gr.Rule(deviation=deviation), primary=terms,
                                  **more),)  # fmt: skip
        super().__init__(*tokens, bad=0.0, rate=0.0)
        self.funding = {"funding_rate": RATE, "funding_ms": T_MS}
        self.opened()

    def price(self, mark=None, after_ms=1_000):
        self.mark = mark or self.mark
        if self.now_ms + after_ms > T_MS:
            self.funding = {"funding_rate": RATE, "funding_ms": T_MS + 8 * HOUR_MS}
        self.filled(self.quote(*[self.mark] * len(self.symbols), after_ms=after_ms))
        for _ in range(3):
            self.filled(self.take())

    def walk(self, mark, by=0.5, each_ms=30_000):
        while abs(self.mark - mark) > by / 2:
            self.price(round(self.mark + (by if mark > self.mark else -by), 6), each_ms)

    def until(self, time_ms):
        while self.now_ms < time_ms:
            self.price(after_ms=min(60_000, time_ms - self.now_ms))

    def payment(self, lots, settlement_ms=T_MS, rate=RATE, at=100.0):
        amount = -int(lots * 0.001 * at * rate * MINOR)
        return FundingPayment(symbol="A", settlement_ms=settlement_ms, rate=rate, mark=at, lots=lots, amount=amount)

    def book_it(self, lots, rate=RATE, at=100.0):
        payment = self.payment(lots, T_MS, rate, at)
        self.driver.on_funding(self.book, payment, self.now_ms)
        self.filled(self.take())
        return payment.amount

    def with_flow(self, side="subscribe", amount=100_000 * MINOR, name="h1"):
        """Lets a flow's hedge be sent before the settlement and filled after it; returns the lots held at T."""
        orders = self.with_hedge(side, amount, name)
        lots = self.it.state.legs[0].lots
        self.passes()
        self.filled(orders)
        assert self.it.state.dealing is not UNSET
        assert not self.it.state.is_working
        return lots

    def with_hedge(self, side="subscribe", amount=100_000 * MINOR, name="h1"):
        """Lets a flow's hedge be sent before the settlement; returns its orders, at the last instant before T."""
        self.until(T_MS - 200_000)
        assert not isinstance(self.ask(name, side, amount), str)
        self.take()
        orders = []
        while not orders and self.now_ms < T_MS - 5_000:
            orders = self.quote(*[self.mark] * len(self.symbols), after_ms=5_000)
        while self.now_ms < T_MS - 1:
            self.quote(*[self.mark] * len(self.symbols), after_ms=min(20_000, T_MS - 1 - self.now_ms))
        return orders

    def passes(self, after_ms=1_500):
        """Lets the first price after T come."""
        self.funding = {"funding_rate": RATE, "funding_ms": T_MS + 8 * HOUR_MS}
        self.quote(*[self.mark] * len(self.symbols), after_ms=after_ms)

    def filled_in_part(self, orders, part):
        """Fills the first order of a hedge whole, and so much of the second, whose rest the venue refuses."""
        first, second = orders
        some = int(second.lots * part)
        self.hear(
            self.trade(first), self.status(first), self.trade(second, some), self.status(second, "rejected", some)
        )
        while self.it.state.is_working:
            self.hear(*(self.status(one, "rejected", 0) for one in self.book.state.live.values()))


def leverage(desk):
    """Returns that of what a token itself holds, in all legs."""
    state = desk.it.state
    flow = state.dealing.lots if state.dealing is not UNSET else (0,) * len(state.legs)
    own = sum(leg.lots - mine for leg, mine in zip(state.legs, flow, strict=True))
    return own * 0.001 * desk.mark / (state.equity / MINOR)
