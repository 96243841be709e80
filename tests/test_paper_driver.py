"""A token run by the driver on the paper exchange: in constant mode it ends as the exact backtest, to the digit."""

from __future__ import annotations

import pytest

import gearing as gr
from gearing.core.money import to_minor
from gearing.core.terms import Spec
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.drive.reconciling import differences
from gearing.study.exact import exact_backtest
from gearing.venues.paper import requests as rq
from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Faults, Listing, listed
from gearing.venues.protocol import Forced, FundingPayment, OrderStatus, Quote, Trade
from tests.paper_market import Desk, order, setup

CAPITAL = 1_000_000
COSTS = gr.Costs(taker_fee=5e-4, half_spread=2e-4, impact=0.05)
HOUR_MS = 3_600_000


def market(days):
    prices, funding = gr.make_market(seed=7, days=days, interval="1h", volatility=0.9)
    return prices, funding


def token(lot=0.0, target=3.0):
    leg = gr.Perpetual(symbol="BTC", lot=lot)
    return gr.Token(symbol="BTC3L", target=target, rule="ftx", fees=gr.Fees(management_per_day=3e-4), legs=(leg,))


class Run:
    """The simplest loop of a driver and an exchange."""

    def __init__(self, prices, funding, it, faults=None, depth=0):
        self.times, self.close = prices.times_ms.tolist(), prices.close.tolist()
        self.volumes = prices.index.volume_24h.tolist()
        made = listed(it.legs[0], asset="USDT", price=self.close[0], costs=COSTS, depth_lots=depth)
        self.lot = made.rules.lot
        listing = Listing(rules=made.rules, costs=COSTS, depth_lots=depth)
        self.desk = Desk(setup(listing, faults=faults, leverage=100.0, seed=3))
        self.driver = Driver(Market(GuardLimits(jump_deviations=1e9, warm_ms=0)))
        self.desk.control(rq.TakeQuotes(quotes=(self.quote(0),)))
        amount = to_minor(float(CAPITAL), "ROUND_FLOOR")
        self.desk.fund(amount)
        self.driver.market.list_token(0, ("BTC",))
        self.driver.on_quotes([self.quote(0)], self.times[0])
        self.book = self.driver.open_book("BTC3L", "abc123", ["BTC3L"], self.times[0])
        units = amount * 10**8 // to_minor(it.initial_nav, "ROUND_FLOOR")
        self.running = self.driver.launch(self.book, Spec(it), (self.lot,), amount, units, self.times[0])
        self.driver.attend(self.running)
        self.told = 0
        self.pump()
        rates = zip(funding.times_ms.tolist(), funding.rates.tolist(), strict=True)
        for stamp, rate in rates:
            if self.times[0] < stamp <= self.times[-1]:
                assert stamp % HOUR_MS == 0
                self.desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=stamp, rate=rate)))

    def quote(self, i):
        price = self.close[i]
        return Quote(symbol="BTC", time_ms=self.times[i], mark=price, index=price, volume_24h=self.volumes[i])

    def hear(self):
        while self.told < len(self.desk.told):
            now_ms, report = self.desk.told[self.told]
            self.told += 1
            match report:
                case Trade():
                    self.driver.on_trade(self.book, report)
                case OrderStatus():
                    self.driver.on_status(self.book, report)
                case FundingPayment():
                    self.driver.on_funding(self.book, report, now_ms)
                case Forced():
                    self.driver.on_forced(self.book, report)

    def pump(self):
        while True:
            self.hear()
            placed = self.driver.taken().placed
            if not placed and self.told == len(self.desk.told):
                return
            for live in placed:
                it = order(live.id, live.lots, self.desk.now_ms, live.symbol, reduce_only=live.reduces)
                self.desk.ask(rq.Place(order=it))

    def run(self):
        for i in range(1, len(self.times)):
            self.desk.control(rq.TakeQuotes(quotes=(self.quote(i),)))
            self.hear()
            self.driver.on_quotes([self.quote(i)], self.times[i])
            self.pump()
        return self


@pytest.mark.parametrize(("lot", "target"), [(0.0, 3.0), (0.001, -2.0)])
def test_a_replay_on_the_exchange_is_the_exact_backtest(lot, target):
    prices, funding = market(30)
    it = token(lot, target)
    exact = exact_backtest(it, prices, funding=funding, costs=COSTS, equity=CAPITAL)
    done = Run(prices, funding, it).run()
    assert done.running.state.epoch == exact.state.epoch > 5
    assert done.running.state.balances.wallet == exact.state.balances.wallet
    assert done.running.state.legs[0].basis == exact.state.legs[0].basis
    assert differences(done.book, done.desk.statement()) == ()
    assert done.running.state.status == "open"


@pytest.mark.parametrize("seed", range(2))
def test_books_agree_to_the_minor_unit_whatever_is_filled(seed):
    prices, funding = market(20)
    faults = Faults(partial=0.5, split=0.5, report_duplicated=0.3, deleveraged=0.005 * seed)
    it = token(0.001)
    done = Run(prices, funding, it, faults=faults, depth=30_000).run()
    state = done.desk.exchange.engine.state
    account = state.account("main")
    assert differences(done.book, done.desk.statement()) == ()
    assert account.positions["BTC"].basis == done.running.state.legs[0].basis
    assert state.clock.trades > 1.5 * done.running.state.epoch
    assert bool(state.forced) is bool(seed)
