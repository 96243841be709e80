"""While a settlement of funding is not booked: what waits for it, what goes on, and at which marks it is booked."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
from msgspec import UNSET

import gearing as gr
from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.hedging_cost import is_counted
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.step import step
from gearing.core.step_result import StepError
from gearing.core.watch import needs
from gearing.desk.operable import why_not
from gearing.desk.requests import Change, Deal
from gearing.drive.merging import merge
from gearing.drive.settling import book_by_hand
from gearing.store.repricing import Repricing
from gearing.venues.protocol import FundingPayment, Quote
from tests.forged import NAMES, desk, is_sound, subscribed
from tests.late import RATE, T_MS, Late, leverage
from tests.lives import HOUR_MS, token
from tests.test_primary import COSTS, Market

__all__ = ["desk"]

# At which marks it is booked.


@pytest.mark.parametrize(("target", "to"), [(3.0, 151.5), (-3.0, 74.5), (5.0, 125.5)])
def test_a_settlement_booked_late_wipes_out_no_token_that_has_traded_since(target, to):
    """Its own mark is long past; what the position made since, it made in other sizes."""
    desk = Late(target=target)
    desk.until(T_MS - 1_000)
    lots = desk.it.state.legs[0].lots
    desk.price(after_ms=2_000)
    desk.walk(to)
    before = desk.it.state.balances
    amount = desk.book_it(lots)
    after = desk.it.state.balances
    assert (desk.it.state.status, desk.it.state.legs[0].mark) == ("open", desk.mark)
    assert (after.wallet - before.wallet, after.accrued, before.accrued) == (amount, 0, amount)


def test_so_does_one_that_is_booked_by_hand_or_never_was():
    for rate in (RATE, 0.0):
        desk = Late(target=-3.0)
        desk.until(T_MS - 1_000)
        desk.price(after_ms=2_000)
        desk.walk(73.0, each_ms=60_000)
        desk.price(after_ms=600_000)
        assert book_by_hand(desk.driver, desk.book, "A", T_MS, rate, "ann", "late", desk.now_ms) == ""
        assert desk.it.state.status == "open"


def test_without_a_good_price_it_is_booked_at_the_last_marks():
    desk = Late()
    desk.until(T_MS - 1_000)
    lots = desk.it.state.legs[0].lots
    desk.price(after_ms=2_000)
    desk.now_ms += 30 * 60_000
    desk.book_it(lots, at=60.0)
    assert (desk.it.state.status, desk.it.state.legs[0].mark) == ("open", 100.0)


def test_of_a_basket_no_leg_is_booked_at_an_old_mark():
    desk = Late(token("A", "B", weights=(4.0, -3.0), target=2.0, costs=COSTS, rule=gr.Rule(deviation=0.1)))
    desk.until(T_MS - 1_000)
    lots = desk.it.state.legs[0].lots
    desk.price(after_ms=2_000)
    desk.walk(115.0)
    desk.book_it(lots)
    assert desk.it.state.status == "open"
    assert {leg.mark for leg in desk.it.state.legs} == {115.0}


def test_what_the_venue_closed_is_booked_at_its_price_and_the_rest_marked_at_that_of_now():
    desk = Late()
    desk.price()
    desk.walk(130.0)
    lots = desk.it.state.legs[0].lots
    desk.driver.on_forced(desk.book, desk.forced(-lots // 4, price=90.0, deleveraged=True))
    desk.take()
    assert desk.it.state.status != "wiped"
    assert desk.it.state.legs[0].mark == 130.0
    assert desk.it.state.balances.liquidation == pytest.approx(lots // 4 * 0.001 * 0 * MINOR, abs=1)


# Where the token has to trade before that, the flow is settled first.


@pytest.mark.parametrize("target", [3.0, -3.0])
@pytest.mark.parametrize(("side", "amount"), [("subscribe", 40 * MINOR), ("subscribe", 900_000 * MINOR),
                                              ("redeem", 2 * MINOR), ("redeem", 4_900 * MINOR)])  # fmt: skip
def test_a_flow_that_waits_keeps_no_rule_from_acting(target, side, amount):
    """Beside a token whose flow was settled at once: leverage and NAV are the same all the way."""
    alone, desk = Late(target=target), Late(target=target)
    to = 72.0 if target > 0 else 128.0
    for one in (alone, desk):
        one.deposit("h1", 1_500_000)
        one.ask("h1", "subscribe", 500_000 * MINOR)
        one.window()
        one.price()
    lots = desk.with_flow(side, amount)
    alone.until(desk.now_ms)
    for one in (alone, desk):
        one.walk(to, by=0.2, each_ms=1_000)
    assert desk.it.state.dealing is UNSET
    assert abs(leverage(desk)) < 3.4
    assert leverage(desk) == pytest.approx(leverage(alone), rel=0.06)
    assert desk.it.state.nav == pytest.approx(alone.it.state.nav, rel=0.01)
    for one in (alone, desk):
        one.book_it(lots)
        one.price(after_ms=61_000)  # a NAV of both at the same mark
    assert desk.it.state.nav == pytest.approx(alone.it.state.nav, rel=0.01)


def test_the_rule_itself_trades_nothing_while_a_flow_waits():
    """Its driver settles the flow first; a step alone does nothing that goes by a leverage of two parts."""
    desk = Late()
    desk.deposit("h1", 500_000)
    desk.with_flow()
    event = ev.Marked(time_ms=desk.now_ms + 1, prices=(80.0,), before_ms=desk.now_ms)
    assert needs(desk.it.spec, desk.it.state, event)
    assert step(desk.it.spec, desk.it.state, event).orders == ()


def test_a_closed_token_whose_instrument_is_quoted_no_more_pays_who_redeems():
    desk = Late()
    desk.deposit("h1", 100_000)
    desk.ask("h1", "subscribe", 50_000 * MINOR)
    desk.window()
    desk.driver.operate(desk.it, "close", "ann", "ends", desk.now_ms)
    desk.filled(desk.take())
    assert desk.it.state.status == "closed"
    desk.now_ms += 5 * HOUR_MS // 60
    desk.ask("h1", "redeem", desk.units("h1"))
    assert desk.cash("h1") == pytest.approx(100_000 * MINOR, rel=1e-3)
    assert desk.units("h1") == 0


def test_a_settlement_that_no_price_followed_is_booked_by_hand():
    desk = Late()
    desk.until(T_MS - 1_000)
    desk.now_ms = T_MS + 24 * HOUR_MS
    assert not desk.it.state.legs[0].accruals
    before = desk.it.state.equity
    lots = desk.it.state.legs[0].lots
    assert book_by_hand(desk.driver, desk.book, "A", T_MS, RATE, "ann", "delisted", desk.now_ms) == ""
    assert desk.it.state.equity - before == pytest.approx(-lots * 0.001 * 100 * RATE * MINOR, rel=1e-9)


def test_what_the_next_line_measures_is_no_cost_of_what_was_dealt_before(desk):
    """A dealing at once between two slices, after which the next line ends the rebalance and measures it."""
    subscribed(desk, *NAMES)
    repricing = Repricing(())
    spec, state = desk.it.spec, desk.it.state
    repricing.take_line(1, spec, state)
    measured = desk.it.measured
    assert is_counted(measured)
    repricing.take_measured(measured)
    assert repricing._costs == ()
    repricing.take_line(2, spec, state)
    assert len(repricing._costs) == 1


def test_a_paced_rebalance_goes_on_though_a_flow_waits():
    rule = gr.Rule(deviation=0.1, pace=gr.Pace(largest=60_000.0, interval="20s"))
    desk = Late(token("A", costs=COSTS, rule=rule, primary=Terms(window="10s", match_over="1s")))
    desk.until(T_MS - 60_000)
    desk.price(94.0)
    assert desk.it.state.rebalance is not None
    desk.ask(ho.ISSUER, "redeem", 5 * MINOR)
    desk.take()
    orders = []
    while desk.it.state.dealing is UNSET and desk.now_ms < T_MS - 2_000:
        desk.filled(orders)
        orders = desk.quote(94.0, after_ms=1_000)
    assert desk.it.state.rebalance.reason == "dealing"
    while desk.now_ms < T_MS - 1:
        desk.quote(94.0, after_ms=min(5_000, T_MS - 1 - desk.now_ms))
    desk.funding = {"funding_rate": RATE, "funding_ms": T_MS + 8 * HOUR_MS}
    desk.quote(94.0, after_ms=1_500)
    desk.filled(orders)
    assert desk.it.state.dealing is not UNSET
    resumed = desk.it.state.rebalance
    assert resumed is not None
    assert resumed.reason != "dealing"
    lots = desk.it.state.legs[0].lots
    desk.price(94.0, after_ms=30_000)
    assert desk.it.state.dealing is UNSET
    assert desk.it.state.legs[0].lots < lots


@pytest.mark.parametrize("walks", [True, False])
def test_who_redeems_everything_does_not_wipe_the_token_out_that_holds_nothing_any_more(walks):
    desk = Late()
    lots = desk.with_flow("redeem", desk.units(ho.ISSUER), ho.ISSUER)
    if walks:
        desk.walk(62.0, by=1.0, each_ms=1_000)
    else:
        desk.driver.market.take(Quote(symbol="A", time_ms=desk.now_ms + 1, mark=62.0, index=62.0), desk.now_ms + 1)
        desk.driver.market.take(Quote(symbol="A", time_ms=desk.now_ms + 2, mark=62.0, index=62.0), desk.now_ms + 2)
    desk.book_it(lots)
    desk.price()
    assert desk.it.state.status == "open"
    assert desk.it.state.balances.units == 0


# What waits.


def test_who_goes_first_out_of_a_closed_token_escapes_no_settlement():
    desk = Late(deviation=0.5)
    desk.deposit("h1", 900_000)
    desk.ask("h1", "subscribe", 900_000 * MINOR)
    desk.take()
    desk.window()
    desk.window()
    desk.until(T_MS - 1_000)
    lots = desk.it.state.legs[0].lots
    desk.price(after_ms=2_000)
    desk.driver.operate(desk.it, "close", "ann", "ends", desk.now_ms)
    desk.filled(desk.take())
    desk.price()
    assert desk.it.state.status == "closed"
    units = desk.units("h1")
    desk.ask("h1", "redeem", units)
    for _ in range(70):
        desk.price()
    assert desk.cash("h1") < MINOR
    desk.book_it(lots, rate=0.0075)
    fair = desk.it.state.equity * units // desk.it.state.balances.units
    desk.price()
    assert desk.cash("h1") == pytest.approx(fair, abs=MINOR)
    assert desk.it.state.nav * units / MINOR == pytest.approx(fair, rel=1e-9)


def asked(desk, wanted):
    engine = SimpleNamespace(driver=desk.driver, margins=SimpleNamespace(why_short=lambda _: ""))
    return why_not(engine, desk.it, wanted, desk.now_ms)


def test_a_token_is_not_changed_while_a_flow_waits_for_a_settlement():
    desk = Late()
    desk.deposit("h1", 100_000)
    fresh = msgspec.structs.replace(desk.it.spec.token, name="Another")
    change = Change(specification=fresh, by="ann", reason="name")
    assert asked(desk, change) == ""
    lots = desk.with_flow()
    assert "cannot change yet: the funding of A at" in asked(desk, change)
    with pytest.raises(StepError, match="booked under the former"):
        desk.driver.change(desk.it, fresh, "ann", "name", desk.now_ms)
    desk.book_it(lots)
    desk.price()
    assert asked(desk, change) == ""


@pytest.mark.parametrize("rate", [RATE, 0.0075])
def test_a_token_that_is_closed_settles_a_flow_that_waits_at_no_cost_of_the_others(rate):
    desk = Late(deviation=0.5)
    desk.deposit("h1", 900_000)
    desk.ask("h1", "subscribe", 800_000 * MINOR)
    desk.window()
    desk.until(T_MS - 200_000)
    lots = desk.with_flow("redeem", desk.units("h1") // 2)
    own = desk.it.state.legs[0].lots - desk.it.state.dealing.lots[0]
    held = desk.it.state.equity
    desk.driver.operate(desk.it, "close", "ann", "ends", desk.now_ms)
    desk.filled(desk.take())
    desk.price()
    assert desk.it.state.status == "closed"
    desk.book_it(lots, rate=rate)
    fair = held * desk.it.state.balances.units // (desk.it.state.balances.units + desk.units("h1"))
    assert own == lots
    assert desk.it.state.equity > 0
    assert fair > 0


def test_a_token_is_not_changed_between_a_settlement_and_its_booking():
    desk = Late()
    desk.until(T_MS - 1_000)
    lots = desk.it.state.legs[0].lots
    desk.price(after_ms=2_000)
    fresh = msgspec.structs.replace(desk.it.spec.token, name="Another")
    change = Change(specification=fresh, by="ann", reason="fees")
    assert "cannot change yet" in asked(desk, change)
    with pytest.raises(StepError, match="booked under the former"):
        step(desk.it.spec, desk.it.state,
             ev.SpecificationChanged(time_ms=desk.now_ms, token=fresh, by="ann", reason="fees"))  # fmt: skip
    desk.book_it(lots)
    assert asked(desk, change) == ""


@pytest.mark.parametrize(("old", "new", "fair"), [(0.0, 0.01, 99.9986), (0.01, 0.0, 99.0014), (0.01, 0.02, 98.9986)])
def test_the_fee_of_a_day_is_charged_up_to_a_change_at_the_former_rate(old, new, fair):
    desk = Market(token("A", costs=COSTS, fees=gr.Fees(management_per_day=old)), bad=0.0, rate=0.0)
    desk.opened()
    ends_ms = (desk.now_ms // 86_400_000 + 1) * 86_400_000
    while desk.now_ms < ends_ms - 120_000:
        desk.filled(desk.quote(100.0, after_ms=min(3_600_000, ends_ms - 120_000 - desk.now_ms)))
    fresh = msgspec.structs.replace(desk.it.spec.token, fees=gr.Fees(management_per_day=new))
    desk.driver.change(desk.it, fresh, "ann", "fee", desk.now_ms)
    desk.filled(desk.take())
    while desk.now_ms < ends_ms + 60_000:
        desk.filled(desk.quote(100.0, after_ms=10_000))
    assert desk.it.state.nav / MINOR == pytest.approx(fair, abs=1e-4)


def test_a_flow_that_waits_is_settled_before_its_contract_is_left():
    expiry = datetime.fromtimestamp((T_MS + HOUR_MS + 60_000) / 1000, UTC).strftime("%Y-%m-%dT%H:%M")
    contracts = (gr.Contract(symbol="BJAN", expiry=expiry), gr.Contract(symbol="BFEB", expiry="2026-06-27"))
    leg = gr.DatedFuture(symbol="BJAN", contracts=contracts, roll_days=1 / 24, weight=0.5)
    it = gr.Token(symbol="T", target=3.0, legs=(gr.Perpetual(symbol="A", weight=0.5), leg), costs=COSTS,
                  rule=gr.Rule(deviation=0.5))  # fmt: skip
    desk = Rolling(it)
    lots = desk.with_waiting_flow()
    for _ in range(9):
        desk.fill(desk.prices(10_000))
    assert desk.it.symbols == ("A", "BFEB")
    assert desk.it.state.dealing is UNSET
    amount = -int(lots * 0.001 * 100 * RATE * MINOR)
    desk.driver.on_funding(desk.book, FundingPayment(symbol="A", settlement_ms=T_MS, rate=RATE, mark=100.0, lots=lots,
                                                     amount=amount), desk.now_ms)  # fmt: skip
    assert desk.units("h1") * desk.it.state.nav / MINOR == pytest.approx(400_000 * MINOR, rel=1e-3)


class Rolling(Market):
    """A perpetual and a dated future, whose roll falls due while a flow waits."""

    def __init__(self, it):
        super().__init__(it, bad=0.0, rate=0.0)
        self.driver.lots |= {"BJAN": "0.001", "BFEB": "0.001"}
        self.fund = {"funding_rate": RATE, "funding_ms": T_MS}
        for _ in range(4):
            self.fill(self.prices())
        self.deposit("h1", 500_000)

    def prices(self, after_ms=1_000):
        self.now_ms += after_ms
        marks = {"A": 100.0, "BJAN": 100.0, "BFEB": 140.0}
        self.driver.on_quotes([Quote(symbol=s, time_ms=self.now_ms, mark=p, index=p, **(self.fund if s == "A" else {}))
                               for s, p in marks.items()], self.now_ms)  # fmt: skip
        return self.take()

    def fill(self, orders):
        while orders:
            for order in orders:
                self.mark = 140.0 if order.symbol == "BFEB" else 100.0
                self.filled([order])
            orders = self.take()

    def with_waiting_flow(self):
        while self.now_ms < T_MS - 200_000:
            self.fill(self.prices(10_000))
        self.ask("h1", "subscribe", 400_000 * MINOR)
        self.take()
        orders = []
        while not orders:
            orders = self.prices(10_000)
        lots = self.it.state.legs[0].lots
        while self.now_ms < T_MS - 1:
            self.prices(min(10_000, T_MS - 1 - self.now_ms))
        self.fund = {"funding_rate": RATE, "funding_ms": T_MS + 8 * HOUR_MS}
        self.prices(1_500)
        self.fill(orders)
        assert self.it.state.dealing is not UNSET
        return lots


# What the venue closes by itself falls on all who are in the token then, those whose flow waited among them.


@pytest.mark.parametrize("deleveraged", [True, False])
def test_who_waits_is_in_the_token_before_the_venue_closes_a_part(deleveraged):
    desk = Late(deviation=0.5)
    desk.deposit("h1", 900_000)
    lots = desk.with_flow(amount=900_000 * MINOR)
    held = desk.it.state.legs[0].lots
    forced = desk.forced(-held // 2, price=95.0, deleveraged=deleveraged)
    desk.driver.on_forced(desk.book, msgspec.structs.replace(forced, charge=50_000 * MINOR))
    desk.take()
    assert desk.it.state.dealing is UNSET
    desk.book_it(lots)
    nav = desk.it.state.nav / MINOR
    assert desk.cash("h1") < MINOR
    assert desk.units("h1") / MINOR * nav == pytest.approx(900_000 * nav / 100, rel=0.001)
    assert nav == pytest.approx(100 - (held // 2 * 0.001 * 5 + 50_000) / 19_000, rel=0.002)


@pytest.mark.parametrize("part", [1, 2, 4])
def test_what_was_forced_and_told_late_is_sound_and_recomputed(desk, part):
    subscribed(desk, *NAMES)
    lots = desk.it.state.legs[0].lots
    for k in range(3):
        desk.quote(101.0 + k, after_ms=1_000)
        forced = msgspec.structs.replace(desk.forced(-lots // (3 * part), price=97.3, trade=f"f{k}"), charge=12_345_678)
        desk.driver.on_forced(desk.book, forced)
        desk.take()
    assert is_sound(desk)


# What has nothing to do with a settlement, and was found beside it.


def test_what_an_operator_merged_the_rule_does_not_merge_again():
    desk = Market(token("A", costs=COSTS, consolidation=gr.Consolidation(below=120.0, factor=10.0)), bad=0.0, rate=0.0)
    desk.opened()
    desk.driver.operate(desk.it, "halt", "ann", "look", desk.now_ms)
    desk.take()
    day_ms = 86_400_000
    desk.filled(desk.quote(100.0, after_ms=(desk.now_ms // day_ms + 1) * day_ms + 61_000 - desk.now_ms))
    assert desk.it.merges
    assert not isinstance(merge(desk.driver, desk.it, 10.0, "ann", "by hand", desk.now_ms), str)
    assert not desk.it.merges
    desk.driver.operate(desk.it, "resume", "ann", "go on", desk.now_ms)
    desk.filled(desk.quote(100.0, after_ms=61_000))
    assert desk.it.state.nav == 1_000 * MINOR


@pytest.mark.parametrize("side", ["subscribe", "redeem"])
def test_dust_takes_no_place_among_those_who_wait_for_a_price(side):
    desk = Late()
    desk.deposit("h1", 1_000)
    desk.ask("h1", "subscribe", 500 * MINOR)
    desk.window()
    asked_for = Deal(holder="h1", token="T", side=side, amount=1, instant=True)
    assert len(desk.submit(asked_for)) == 1
    assert not desk.primary.acceptances.waiting
    real = msgspec.structs.replace(asked_for, amount=100 * MINOR if side == "subscribe" else MINOR)
    assert desk.submit(real) == []
