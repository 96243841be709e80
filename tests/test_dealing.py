"""Dealing: flows bear their own cost, whoever stays is as before, and what is given is what a plain model says."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearing as gr
from gearing.core import events as ev
from gearing.core.dealing import worth
from gearing.core.flow_result import flow_result
from gearing.core.money import MINOR
from gearing.core.record import DAY_MS
from gearing.core.step_result import StepError
from tests.lives import HOUR_MS, UNITS, Life, token

BAD, RATE = 0.001, 5e-4
COSTS = gr.Costs(half_spread=BAD, taker_fee=RATE)


def result_of(life, taken=None):
    dealing = life.state.dealing
    return flow_result(life.state, worth(life.spec, life.state, dealing.accrued, dealing.side), taken)


class Dealt(Life):
    """A life with flows: `bad` is by how much each of their fills is worse than the mark, a fraction."""

    def begin(self, side, amount, accrued=None, after_ms=1_000):
        self.now_ms += after_ms
        marks = tuple(leg.mark for leg in self.state.legs)
        return self.do(ev.DealingBegun(time_ms=self.now_ms, side=side, amount=amount, prices=marks,
                                       accrued=accrued or (0.0,) * len(marks)))  # fmt: skip

    def hedge(self, orders, bad=BAD, rate=RATE, part=1.0):
        for order in orders:
            mark = self.state.legs[order.leg].mark
            price = mark * (1 + bad if order.lots > 0 else 1 - bad)
            lots = int(order.lots * part)
            commission = int(abs(lots) * float(self.state.legs[order.leg].lot) * price * rate * MINOR)
            if lots:
                self.fill(order, lots, round(price, 8), commission)
            again = self.end(order)
            while again:
                (one,) = again
                again = self.end(one, "cancelled")

    def settle(self, fee=0):
        """Gives the flow all that it is worth; returns the event."""
        most, dealing = result_of(self), self.state.dealing
        if dealing.side == "subscribe":
            event = ev.DealingSettled(time_ms=self.now_ms, units=most.gives, fee=fee,
                                      cash=most.accepted if most.gives else 0)  # fmt: skip
        else:
            event = ev.DealingSettled(time_ms=self.now_ms, units=most.accepted if most.gives else 0, fee=fee,
                                      cash=max(most.gives - fee, 0))  # fmt: skip
        self.do(event)
        return event

    def deal(self, side, amount, accrued=None, **fills):
        self.hedge(self.begin(side, amount, accrued), **fills)
        return self.settle()

    @property
    def nav(self):
        return Fraction(self.state.equity, self.state.balances.units)


def test_a_subscription_keeps_leverage_and_pays_for_its_own_hedge():
    life = Dealt(token(costs=COSTS)).opened()
    life.mark(104.0)
    nav, leverage = life.nav, life.leverage
    given_ = life.deal("subscribe", 50_000 * MINOR)
    assert life.leverage == pytest.approx(leverage, rel=1e-6)
    assert 0 <= life.nav - nav < Fraction(1, 10**6)
    # By hand: what is left of 50,000 after its cost is traded ℓ times, 0.1 % worse and with 0.05 % of commission.
    worth = 50_000 / (1 + leverage * (0.001 + 1.001 * 5e-4))
    assert given_.units / MINOR == pytest.approx(worth / float(nav), rel=1e-6)
    assert given_.cash == 50_000 * MINOR


def test_a_redemption_is_paid_its_part_less_its_own_hedge():
    life = Dealt().opened()
    life.mark(97.0)
    nav, leverage = life.nav, life.leverage
    given_ = life.deal("redeem", 500 * MINOR)
    assert life.leverage == pytest.approx(leverage, rel=1e-6)
    assert 0 <= life.nav - nav < Fraction(1, 10**6)
    worth = 500 * float(nav)
    assert given_.cash / MINOR == pytest.approx(worth - leverage * worth * (0.001 + 0.999 * 5e-4), rel=1e-8)
    assert life.state.balances.units == UNITS - 500 * MINOR


def test_the_price_is_that_of_the_hedges_own_average_fill():
    """E at the average fill over U, and commission: worked out without any account of the flow."""
    life = Dealt(token(costs=gr.Costs(half_spread=0.004, taker_fee=RATE))).opened()
    life.mark(101.0)
    before, units = life.state, life.state.balances.units
    given_ = life.deal("subscribe", 30_000 * MINOR, bad=0.004)
    fill = round(101.0 * 1.004, 8)
    at_fill = before.equity / MINOR + before.legs[0].lots * 0.001 * (fill - 101.0)
    commission = (life.state.legs[0].lots - before.legs[0].lots) * 0.001 * fill * 5e-4
    assert given_.units / MINOR == pytest.approx((30_000 - commission) * units / MINOR / at_fill, rel=1e-6)


def test_what_is_not_filled_is_returned():
    life = Dealt().opened()
    wallet = life.state.balances.wallet
    given_ = life.deal("subscribe", 90_000 * MINOR, part=0.25)
    assert given_.cash / (90_000 * MINOR) == pytest.approx(0.25, rel=1e-3)
    assert life.state.balances.wallet < wallet + given_.cash  # less the commission
    nothing = life.deal("subscribe", 90_000 * MINOR, part=0.0)
    assert (nothing.units, nothing.cash) == (0, 0)
    assert life.state.balances.flows == 0


def test_prices_that_move_while_a_flow_is_hedged_are_each_ones_own():
    """The flow has the move on what its hedge holds, the others that on theirs."""
    life, twin = Dealt().opened(), Dealt().opened()
    (order,) = life.begin("subscribe", 100_000 * MINOR)
    life.fill(order, order.lots, 100.0)
    for one in (life, twin):
        one.mark(103.0)
    assert life.state.equity == twin.state.equity
    assert -life.state.balances.flows == 100_000 * MINOR + order.lots * 3 * MINOR // 1_000
    life.end(order)
    life.settle()
    assert 0 <= life.nav - twin.nav < Fraction(1, 10**6)


def test_funding_of_a_hedge_is_the_flows():
    life = Dealt().opened()
    (order,) = life.begin("subscribe", 100_000 * MINOR)
    life.fill(order, order.lots, 100.0)
    equity, whole = life.state.equity, life.state.legs[0].lots
    life.fund(-11_000 * MINOR)
    flow = round(Fraction(-11_000 * MINOR * order.lots, whole))
    assert life.state.balances.flows == -100_000 * MINOR - flow
    assert life.state.equity == equity - 11_000 * MINOR - flow


def test_nobody_takes_out_what_is_in_on_the_way():
    life = Dealt().opened()
    life.begin("subscribe", 100_000 * MINOR)
    with pytest.raises(StepError, match="hedged already"):
        life.begin("redeem", MINOR)
    with pytest.raises(StepError, match="no flow has been hedged"):
        life.do(ev.DealingSettled(time_ms=life.now_ms, units=1, cash=1, fee=0))


@pytest.mark.parametrize("more", [(1, 0), (0, -1)])
def test_more_than_a_flow_is_worth_is_given_to_nobody(more):
    life = Dealt().opened()
    life.hedge(life.begin("subscribe", 10_000 * MINOR))
    most = result_of(life)
    units, cash = more
    with pytest.raises(StepError, match="is worth"):
        life.do(ev.DealingSettled(time_ms=life.now_ms, units=most.gives + units, cash=most.accepted + cash, fee=0))


def test_the_first_unit_costs_the_initial_nav_and_goes_to_the_target():
    life = Dealt().opened()
    life.mark(101.0)
    life.deal("redeem", life.state.balances.units)
    assert (life.state.equity, life.state.balances.units, life.lots) == (0, 0, [0])
    assert life.state.covers == ()
    life.mark(150.0)
    given_ = life.deal("subscribe", 20_000 * MINOR, bad=0.0, rate=0.0)
    assert life.leverage == pytest.approx(3.0, rel=1e-5)
    assert given_.units == 200 * MINOR
    life.mark(151.0)
    assert life.state.nav / MINOR == pytest.approx(100 * (1 + 3 / 150), rel=1e-5)


def test_a_donation_before_the_first_unit_gains_nothing():
    """The attack of the first unit: own one tiny unit, give the token money, and round the next one down to nothing."""
    life = Dealt().opened()
    life.deal("redeem", life.state.balances.units - 1)
    assert life.state.balances.units == 1
    victim = life.deal("subscribe", 10_000 * MINOR, bad=0.0, rate=0.0)
    worth = victim.units * life.state.equity // life.state.balances.units
    assert 10_000 * MINOR - worth <= life.nav + 1  # one part of a unit is lost at most


FEE = 0.02


def test_the_fee_of_the_day_so_far_is_charged_before_anybody_goes():
    life = Dealt(token(fees=gr.Fees(management_per_day=FEE))).opened()
    equity = life.state.equity
    life.begin("redeem", 1_000 * MINOR, after_ms=6 * HOUR_MS - 60_000)  # noon to six, less the minute of the opening
    share = (life.now_ms % DAY_MS) / DAY_MS
    assert life.state.equity / equity == pytest.approx((1 - FEE) ** share, rel=1e-9)
    life.hedge(life.orders)
    life.settle()
    after = life.state.equity
    life.mark(100.0, after_ms=DAY_MS - life.now_ms % DAY_MS)
    assert life.state.equity / after == pytest.approx((1 - FEE) ** (1 - share), rel=1e-6)


@pytest.mark.parametrize(("rate", "dearer"), [(1e-3, False), (-1e-3, True)])
def test_funding_that_has_run_up_protects_who_stays(rate, dearer):
    """A hedge that comes in pays the whole period's funding: it gets no discount; for income it pays."""
    plain, run = Dealt().opened(), Dealt().opened()
    for one in (plain, run):
        one.mark(101.0)
    got = [one.deal("subscribe", 10_000 * MINOR, accrued=accrued)
           for one, accrued in ((plain, (0.0,)), (run, (rate,)))]  # fmt: skip
    assert (got[1].units < got[0].units) is dearer
    out = [one.deal("redeem", 50 * MINOR, accrued=accrued) for one, accrued in ((plain, (0.0,)), (run, (rate,)))]
    assert (out[1].cash < out[0].cash) is not dearer


AMOUNTS = st.integers(1, 10**6)


FLOWS = st.tuples(st.sampled_from(["subscribe", "redeem"]), AMOUNTS, st.floats(0.98, 1.02),
                  st.sampled_from([1.0, 1.0, 0.5]))  # fmt: skip


@given(st.lists(FLOWS, max_size=12))
def test_whoever_stays_is_where_the_token_without_flows_is(flows):
    """The twin has no flows. Lots are so fine that only the last digits of a unit may differ, in the others' favour."""
    still = token(rule=gr.Rule(deviation=50.0))
    life, twin = Dealt(still, lot="0.00000001").opened(), Dealt(still, lot="0.00000001").opened()
    price = 100.0
    for side, amount, move, part in flows:
        price = round(price * move, 6)
        for one in (life, twin):
            one.mark(price)
        before = life.state.balances
        share = max(before.units * amount // (2 * 10**6), 1)
        life.deal(side, amount * MINOR if side == "subscribe" else share, bad=0.0, rate=0.0, part=part)
        assert life.nav >= twin.nav * (1 - Fraction(1, 10**9))
        assert life.nav <= twin.nav * (1 + Fraction(1, 10**6))
    assert life.state.balances.flows == 0
    life.deal("redeem", life.state.balances.units, bad=0.0, rate=0.0)
    assert life.state.equity == 0


def test_a_token_wiped_out_and_liquidated_while_a_flow_is_hedged_is_covered_once_the_flow_has_ended():
    life = Dealt(token("A", "B", costs=COSTS)).opened()
    orders = life.begin("subscribe", 5_000 * MINOR)
    life.mark(55.0, 55.0)
    for leg in range(2):
        life.force(-life.state.legs[leg].lots, 55.0, charge=100 * MINOR, leg=leg)
    for order in orders:
        assert life.end(order, "rejected") == []
    assert (life.state.status, life.state.is_flat, life.state.is_working) == ("wiped", True, False)
    owed = -life.state.equity
    assert owed > 0
    life.do(ev.DealingSettled(time_ms=life.now_ms, units=0, cash=0, fee=0))
    assert life.state.equity == 0
    assert -life.state.balances.reserve == owed
    assert life.state.balances.flows == 0
