"""The exchange's books against a naive model in fractions, the desk's ledger, and the engine's liquidation price."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearing as gr
from gearing.core.barriers import State, liquidation_price
from gearing.core.fees import Costs
from gearing.core.ledger import Balances
from gearing.core.money import to_float
from gearing.core.state import LegState, TokenState
from gearing.core.terms import Spec
from gearing.core.working import Working
from gearing.venues.paper import requests as rq
from gearing.venues.paper.books import FLAT, maintenance, traded
from gearing.venues.paper.records import Rate
from gearing.venues.protocol import Setting
from tests.paper_market import T0, TIERS, listing, opened, setup
from tests.strategies import examples

LOTS = st.sampled_from(["1", "0.001", "0.00003", "0.5"])
PRICES = st.floats(0.01, 90_000.0) | st.sampled_from([0.1, 40_040.59, 1 / 3])
SIZES = st.integers(-2_000, 2_000).filter(bool)
TRADES = st.lists(st.tuples(SIZES, PRICES), min_size=1, max_size=25)


def money(lots, lot, price):
    """Exact value in minor units: the price is the decimal that names the float."""
    return lots * Fraction(lot) * Fraction(repr(price)) * 10**8


@examples(2)
@given(LOTS, TRADES)
def test_positions_and_profit_agree_with_cash_flows_in_fractions(lot, trades):
    held, total, average, exact = FLAT, 0, Fraction(0), Fraction(0)
    paid = 0
    for lots, price in trades:
        held_before = held.lots
        held, realised = traded(held, lots, Decimal(lot), price)
        total += realised
        paid += math.ceil(money(lots, lot, price))
        # Profit by the exact average cost, without any rounding.
        closed = min(abs(lots), abs(held_before)) if held_before * lots < 0 else 0
        exact += (1 if held_before > 0 else -1) * closed * (Fraction(repr(price)) - average)
        if closed == 0:
            average = (average * held_before + Fraction(repr(price)) * lots) / (held_before + lots)
        elif abs(lots) > abs(held_before):
            average = Fraction(repr(price))
        assert held.lots == held_before + lots
        # Whatever profit was called realised, money paid is either spent or still in the position.
        assert total == held.basis - paid
        assert held.lots or held.basis == 0
    assert abs(total - exact * Fraction(lot) * 10**8) <= 3 * len(trades)


TOKEN = gr.Token(symbol="T", target=3.0, legs=(gr.Perpetual(symbol="BTC"),))
SPEC = Spec(TOKEN)


@examples(1)
@given(LOTS, TRADES)
def test_wallet_and_cost_are_those_of_a_desks_ledger(lot, trades):
    leg = LegState(lot=lot, mark=100.0, ref=100.0, index_ref=100.0)
    work = Working(SPEC, TokenState(status="open", legs=(leg,), balances=Balances(), parts=(0.0,) * 40))
    held, wallet = FLAT, 0
    for lots, price in trades:
        work.trade(0, lots, price, 17, 0)
        held, realised = traded(held, lots, Decimal(lot), price)
        wallet += realised - 17
        assert (work.legs[0].lots, work.legs[0].basis) == (held.lots, held.basis)
        assert work.balances.wallet == wallet


@examples(1)
@given(st.integers(0, 2**32))
def test_an_account_over_random_orders_prices_and_settlements(seed):
    rng = np.random.default_rng(seed)
    costs = Costs(taker_fee=float(rng.choice([0.0, 4.3e-4])), half_spread=float(rng.choice([0.0, 1.7e-4])))
    desk = opened(setup(listing(costs=costs, depth=int(rng.choice([0, 7])), tiers=())))
    mark, cash, lots = 40_000.0, 10_000 * 10**8, 0
    for n in range(1, 25):
        now = T0 + n * 60_000
        mark = round(mark * math.exp(rng.normal(0, 0.004)), 2)
        if rng.random() < 0.3:
            rate = round(float(rng.normal(0, 1e-4)), 9)
            desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=now, rate=rate)))
            # A rate is a float64, so its product is taken from there and rounded once, down.
            cash += math.floor(Fraction(repr(float(-(lots * 0.001) * mark * rate))) * 10**8) if lots else 0
        desk.take(now, mark)
        wanted = int(rng.integers(-20, 21)) or 1
        status = desk.place(f"o{n}", wanted)
        for trade in desk.ask(rq.Fills(client_id=f"o{n}")):
            cash -= math.ceil(money(trade.lots, "0.001", trade.price))
            fee = costs.taker_fee * math.ceil(money(abs(trade.lots), "0.001", trade.price)) / 1e8
            assert trade.commission == math.ceil(Fraction(repr(fee)) * 10**8)
            side = 1 + costs.half_spread * (1 if trade.lots > 0 else -1)
            assert trade.price == pytest.approx(mark * side, rel=1e-12)
            cash -= trade.commission
            lots += trade.lots
        assert status.filled == sum(t.lots for t in desk.ask(rq.Fills(client_id=f"o{n}")))
        account = desk.exchange.engine.state.account("main")
        held = account.positions.get("BTC", FLAT)
        assert held.lots == lots
        assert account.wallet["USDT"] - held.basis == cash


def core_price(desk):
    account = desk.exchange.engine.state.account("main")
    held, mark = account.positions["BTC"], desk.exchange.engine.state.mark_of("BTC")
    equity = account.wallet["USDT"] - held.basis + round(money(held.lots, "0.001", mark))
    tiers = np.array([(tier.notional_max, tier.rate, tier.amount) for tier in TIERS])
    now = State(to_float(equity), held.lots * 0.001, mark, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return liquidation_price(tiers, now)


@pytest.mark.parametrize("lots", [2_000, -2_000, 900, -40_000, 150_000])
def test_the_exchange_liquidates_at_the_engines_price(lots):
    for outside in (False, True):
        desk = opened(setup(leverage=125.0))
        desk.ask(rq.Transfer(asset="USDT", amount=abs(lots) * 10 * 10**8, reference="more"))
        assert desk.place("a", lots).filled == lots
        price = core_price(desk)
        assert price > 0
        side = (1 if lots < 0 else -1) * (1 if outside else -1)
        desk.take(T0 + 1, price * (1 + side * 1e-7))
        forced = desk.ask(rq.ForcedTrades(since_ms=0))
        assert [trade.lots for trade in forced] == ([-lots] if outside else [])
        assert desk.statement().positions == ({} if outside else {"BTC": lots})


def test_a_liquidation_charges_both_fees_and_pays_what_is_left():
    desk = opened(setup(leverage=125.0))
    desk.place("a", 2_000)
    before = desk.statement().wallet["USDT"]
    desk.take(T0 + 1, 30_000.0)
    trade = desk.ask(rq.ForcedTrades(since_ms=0))[0]
    assert trade.price == 30_000.0
    assert 0 <= trade.charge - Fraction("0.0105") * 60_000 * 10**8 <= 1
    assert trade.realised == -round(2 * (40_000 * 1.0002 - 30_000) * 10**8)
    # A gap beyond the margin leaves a debt: nobody else pays for it.
    assert desk.statement().wallet["USDT"] == before + trade.realised - trade.charge < 0


@given(st.floats(1.0, 5e6), st.booleans())
def test_maintenance_is_that_of_the_notionals_bracket(value, short):
    lots = max(int(value), 1)
    tier = next(t for t in TIERS if lots <= t.notional_max)
    exact = lots * Fraction(str(tier.rate)) - Fraction(tier.amount)
    found = maintenance(TIERS, -lots if short else lots, Decimal(1), 1.0)
    assert abs(found - exact * 10**8) <= 10


def test_an_isolated_position_stands_alone_and_the_shared_ones_together():
    two = setup(listing(), listing("ETH"), leverage=10.0)
    desk = opened(two)
    desk.take(T0, 2_000.0, "ETH")
    desk.ask(rq.PutSetting(symbol="BTC", setting=Setting(leverage=10.0, margin_mode="isolated")))
    desk.place("a", 1_000)
    desk.place("b", 10_000, symbol="ETH")
    # A tenth down the isolated margin is gone, though the wallet would carry it.
    desk.take(T0 + 1, 36_100.0)
    assert desk.statement().positions == {"ETH": 10_000}
    # What the wallet has left carries the shared one further than its own tenth.
    desk.take(T0 + 2, 1_700.0, "ETH")
    assert desk.statement().positions == {"ETH": 10_000}
    desk.take(T0 + 3, 1_400.0, "ETH")
    assert desk.statement().positions == {}


def test_in_a_shared_pool_the_position_that_asks_for_most_goes_first_and_the_rest_may_stay():
    costs = Costs(taker_fee=5e-4)
    desk = opened(setup(listing(costs=costs), listing("ETH", costs=costs), leverage=125.0))
    desk.take(T0, 2_000.0, "ETH")
    desk.place("small", 250)
    desk.place("large", 100_000, symbol="ETH")
    desk.take(T0 + 1, 1_907.0, "ETH")
    forced = desk.ask(rq.ForcedTrades(since_ms=0))
    assert [(trade.symbol, trade.lots) for trade in forced] == [("ETH", -100_000)]
    assert desk.statement().positions == {"BTC": 250}
