"""A roll of a dated future, event by event: both contracts are held while it runs, and nothing is lost on the way."""

from __future__ import annotations

import msgspec
import pytest

import gearing as gr
from gearing.core import events as ev
from gearing.core.journal import state_body, state_of
from gearing.core.money import MINOR
from gearing.core.step_result import StepError
from gearing.core.terms import Spec, desk_problems
from gearing.core.watch import needs, watch
from tests.lives import HOUR_MS, MINUTE_MS, NOON_MS, Life

# Noon of 2026-01-01 is where a life begins; the first contract is left a day later, the second at the end of the month.
DUE_MS = NOON_MS + 24 * HOUR_MS
ENDS = ("2026-01-07T12:00", "2026-02-05", "2026-06-26")


def chain(*ends, symbol="A", **more):
    names = (f"{symbol}JAN", f"{symbol}FEB", f"{symbol}JUN")
    contracts = tuple(gr.Contract(symbol=n, expiry=end) for n, end in zip(names, ends or ENDS, strict=False))
    return gr.DatedFuture(symbol=symbol, contracts=contracts, **more)


def token(*legs, **more):
    more.setdefault("rule", gr.Rule(deviation=0.1))
    return gr.Token(symbol="T", target=3.0, legs=legs or (chain(),), **more)


def due(life, next_price, legs=(0,), prices=None, after_ms=24 * HOUR_MS, lot="0.001"):
    """The roll becomes due; returns the orders."""
    life.now_ms += after_ms
    marks = prices or tuple(leg.mark for leg in life.state.legs)
    return life.do(ev.RollDue(time_ms=life.now_ms, legs=legs, prices=marks, next_prices=(next_price,) * len(legs),
                              lots=(lot,) * len(legs)))  # fmt: skip


def rolling():
    """A life amid its roll from 100 to 104, and the orders of it."""
    life = Life(token()).opened()
    return life, due(life, 104.0)


def test_a_spec_knows_when_each_contract_is_left():
    spec = Spec(token(chain(roll_days=2)))
    assert spec.chains.names == (("AJAN", "AFEB", "AJUN"),)
    assert spec.chains.leaves_ms == ((DUE_MS + 3 * 24 * HOUR_MS, 1_770_076_800_000),)
    assert [spec.chains.at(at) for at in (NOON_MS, spec.chains.leaves_ms[0][0], spec.chains.leaves_ms[0][1])] == [
        (0,), (1,), (2,)]  # fmt: skip
    assert Spec(gr.Token(symbol="T", target=3.0)).chains.at(NOON_MS) is msgspec.UNSET


def test_an_expiry_that_is_no_day_is_named():
    (problem,) = desk_problems(token(chain("2026-02-30")))
    assert "legs[0].contracts[0].expiry" in str(problem)


def test_the_horizon_has_the_roll_as_a_clock():
    life = Life(token()).opened()
    assert watch(life.spec, life.state).deadline_ms == DUE_MS
    last = Life(token(chain("2026-06-26"))).opened()
    assert watch(last.spec, last.state).deadline_ms == float("inf")


def test_both_orders_live_at_once_and_keep_the_notional():
    life, orders = rolling()
    assert [(order.leg, order.lots, order.reduces) for order in orders] == [
        (0, -30_000_000, True), (1, 28_846_154, False)]  # fmt: skip
    assert life.state.is_rolling
    assert life.state.rebalances == 1
    assert life.state.epoch == 2


def test_while_it_runs_both_positions_are_marked_and_equity_is_of_both():
    life, (old, new) = rolling()
    life.fill(old, -10_000_000)
    life.fill(new, 20_000_000)
    life.mark(101.0, 105.0)
    gained = (20_000_000 * 1.0 + 20_000_000 * 1.0 + 10_000_000 * 0.0) / 1_000 * MINOR
    assert life.state.equity == 1_000_000 * MINOR + gained
    horizon = watch(life.spec, life.state)
    assert horizon.is_crossed((101.0, 105.0))
    assert horizon.deadline_ms == (life.now_ms // 86_400_000 + 1) * 86_400_000


def test_a_complete_roll_holds_the_next_contract_and_moves_its_references():
    life, (old, new) = rolling()
    for order in (new, old):
        life.fill(order, commission=5 * MINOR)
        assert life.end(order) == []
    (leg,) = life.state.legs
    assert (leg.contract, leg.lots, leg.mark) == (1, 28_846_154, 104.0)
    assert (leg.ref, leg.index_ref) == (pytest.approx(104.0), pytest.approx(104.0))
    assert life.state.rebalance is None
    assert life.state.balances.commission == 10 * MINOR
    assert life.state.attended_ms < life.now_ms
    life.mark(104.0)
    assert life.state.charged_ms is msgspec.UNSET
    assert watch(life.spec, life.state).deadline_ms == life.spec.chains.leaves_ms[0][1]


def test_what_fell_due_with_the_roll_is_attended_to_after_it():
    rule = gr.Rule(schedule=(gr.Schedule(times=("12:00",)),))
    life = Life(token(rule=rule, fees=gr.Fees(management_per_day=0.001))).opened()
    life.now_ms = NOON_MS
    orders = due(life, 108.0, prices=(103.0,))
    charged = life.state.balances.management
    assert charged > 0
    life.trade(orders)
    assert watch(life.spec, life.state).deadline_ms <= life.now_ms
    (order,) = life.mark(108.0, after_ms=0)
    assert life.state.balances.management == charged
    assert life.state.rebalance.reason == "schedule"
    assert order.lots > 0


def test_a_leg_that_holds_nothing_is_in_its_next_contract_at_once():
    life = Life(token()).opened()
    life.force(-life.state.legs[0].lots, 100.0)
    assert due(life, 104.0, lot="0.01") == []
    (leg,) = life.state.legs
    assert (leg.contract, leg.lot, leg.lots, leg.mark) == (1, "0.01", 0, 104.0)
    assert not life.state.is_rolling


def test_legs_roll_together_and_a_leg_without_a_chain_stays():
    legs = (chain(weight=0.5), gr.Perpetual(symbol="B", weight=0.25), chain(symbol="C", weight=0.25))
    life = Life(token(*legs)).opened()
    orders = due(life, 50.0, legs=(0, 2))
    assert [(order.leg, order.lots, order.reduces) for order in orders] == [
        (0, -15_000_000, True), (2, -7_500_000, True), (3, 30_000_000, False), (4, 15_000_000, False)]  # fmt: skip
    life.trade(orders)
    assert [leg.contract for leg in life.state.legs] == [1, msgspec.UNSET, 1]
    assert life.lots == [30_000_000, 7_500_000, 15_000_000]


def test_what_the_venue_leaves_is_asked_for_anew_and_an_old_contract_only_reduced():
    life, (old, new) = rolling()
    life.fill(old, -10_000_000)
    life.force(10_000_000 - 30_000_000 + 5_000_000, 100.0, deleveraged=True)
    (again,) = life.end(old, "cancelled")
    assert (again.lots, again.reduces, again.attempt) == (-5_000_000, True, 1)
    life.fill(new, 1)
    (rest,) = life.end(new, "cancelled")
    assert (rest.lots, rest.reduces) == (28_846_153, False)


def refused(life, order):
    while True:
        again = life.end(order, "rejected", "margin")
        if not again:
            return
        (order,) = again


def test_a_roll_that_the_venue_refuses_halts_with_both_contracts_and_goes_on_once_resumed():
    life, (old, new) = rolling()
    life.fill(old)
    life.end(old)
    refused(life, new)
    assert life.state.status == "halted"
    assert life.state.is_rolling
    assert life.state.rebalance is None
    life.mark(100.0, 104.0)
    assert life.orders == []
    with pytest.raises(StepError):
        due(life, 0.0, legs=(), after_ms=0)
    life.operate("resume")
    assert life.mark(100.0, 104.0) == []
    with pytest.raises(StepError):
        life.operate("rebalance")
    assert watch(life.spec, life.state).deadline_ms <= life.now_ms
    (order,) = due(life, 0.0, legs=(), after_ms=MINUTE_MS)
    assert (order.leg, order.lots, order.epoch) == (1, 28_846_154, 3)
    life.trade([order])
    assert life.state.legs[0].contract == 1
    assert life.state.rebalances == 1


def test_an_old_contract_that_is_not_closed_stays_in_the_books_beside_the_next():
    life, (old, new) = rolling()
    refused(life, old)
    life.fill(new)
    life.end(new)
    assert life.state.status == "halted"
    assert life.lots == [30_000_000, 28_846_154]
    life.operate("resume")
    (order,) = due(life, 0.0, legs=(), after_ms=MINUTE_MS)
    assert (order.leg, order.lots, order.reduces) == (0, -30_000_000, True)
    life.trade([order])
    assert life.lots == [28_846_154]


def test_a_roll_half_done_is_not_taken_for_a_leverage_to_be_mended():
    life, (old, new) = rolling()
    life.fill(old)
    life.end(old)
    life.fill(new, 10_000_000)
    (rest,) = life.end(new, "cancelled")
    refused(life, rest)
    life.operate("resume")
    now = ev.Marked(time_ms=life.now_ms + MINUTE_MS, prices=(100.0, 104.0), before_ms=life.now_ms)
    assert not needs(life.spec, life.state, now)
    (order,) = due(life, 0.0, legs=(), after_ms=MINUTE_MS)
    life.trade([order])
    assert life.leverage == pytest.approx(3.0, rel=1e-6)


def test_a_paced_rebalance_goes_on_after_the_roll_under_a_number_of_its_own():
    rule = gr.Rule(deviation=0.1, pace=gr.Pace(largest=2_000_000.0, interval="2d"))
    life = Life(token(rule=rule))
    life.trade(life.mark(100.0))
    assert life.state.rebalance.due_ms
    orders = due(life, 104.0)
    assert life.state.rebalance.paused.reason == "opening"
    life.trade(orders)
    assert (life.state.rebalance.reason, life.state.rebalance.epoch) == ("opening", 3)
    (rest,) = life.mark(104.0, after_ms=24 * HOUR_MS)
    life.trade([rest])
    assert life.state.rebalance is None
    assert life.state.rebalances == 1
    assert life.leverage == pytest.approx(3.0, rel=1e-6)


def test_a_close_amid_a_roll_closes_both_contracts():
    life, (old, new) = rolling()
    life.operate("close")
    life.fill(old, -10_000_000)
    life.fill(new, 5_000_000)
    life.end(old, "cancelled")
    orders = life.end(new, "cancelled")
    assert [(order.leg, order.lots, order.reduces) for order in orders] == [
        (0, -20_000_000, True), (1, -5_000_000, True)]  # fmt: skip
    life.trade(orders)
    assert life.state.status == "closed"
    assert life.lots == [0]
    assert not life.state.is_rolling


def test_equity_lost_amid_a_roll_closes_both_contracts_and_is_covered():
    life, (old, new) = rolling()
    life.fill(old, -10_000_000)
    life.fill(new, 10_000_000)
    life.mark(50.0, 52.0)
    assert life.state.status == "wiped"
    life.end(old, "cancelled")
    life.trade(life.end(new, "cancelled"))
    assert life.lots == [0]
    assert life.state.equity == 0


def test_what_was_liquidated_amid_a_roll_is_not_opened_again():
    life, (old, new) = rolling()
    life.fill(old, -10_000_000)
    life.force(-20_000_000, 90.0)
    life.end(old, "cancelled")
    life.fill(new, 1_000_000)  # it was on its way
    assert life.end(new, "cancelled") == []
    orders = due(life, 0.0, legs=(), after_ms=MINUTE_MS)
    assert [order.lots for order in orders] == [-1_000_000]
    life.trade(orders)
    assert life.lots == [0]
    assert not life.state.is_rolling


def test_a_roll_is_refused_where_it_is_not_due():
    life = Life(token()).opened()
    with pytest.raises(StepError, match="no roll"):
        due(life, 104.0, after_ms=24 * HOUR_MS - 2 * MINUTE_MS)
    with pytest.raises(StepError, match="go on"):
        due(life, 104.0, legs=())
    life, _ = rolling()
    with pytest.raises(StepError, match="trading"):
        due(life, 104.0, after_ms=MINUTE_MS)


def test_a_state_amid_a_roll_is_kept_whole_and_one_without_a_chain_is_written_as_before():
    life, (old, _) = rolling()
    life.fill(old, -1)
    assert state_of(state_body(life.state)) == life.state
    plain = Life().opened()
    body = state_body(plain.state)
    assert not [word for word in (b"contract", b"wanted", b"rolls", b"charged_ms", b"paused") if word in body]
