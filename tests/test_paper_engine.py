"""The paper exchange's own rules: acceptance, matching, time, settlements, the end and the size of a contract."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from gearing.core.fees import Costs
from gearing.errors import InputError, SpecError
from gearing.venues.paper import requests as rq
from gearing.venues.paper.engine import Engine
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Faults, Latency, Setup
from gearing.venues.paper.venue import Hub, PaperVenue
from gearing.venues.protocol import Forced, FundingPayment, OrderStatus, RefusedError, Setting, Trade
from gearing.venues.quote import deal
from tests.paper_market import T0, Desk, listing, opened, order, quote, setup


def refused(desk, *given, **more):
    with pytest.raises(RefusedError) as error:
        desk.place(*given, **more)
    return error.value.code


def test_what_is_refused_and_why():
    desk = opened(setup(listing(tick="0.1", min_notional=100.0, max_lots=1_000)))
    assert refused(desk, "with-dash", 10) == "client_id"
    assert refused(desk, "x" * 33, 10) == "client_id"
    assert refused(desk, "", 10) == "client_id"
    assert refused(desk, "a", 10, symbol="DOGE") == "symbol"
    assert refused(desk, "a", 0) == "size"
    assert refused(desk, "a", -1_001) == "size"
    assert refused(desk, "a", 2) == "notional"
    assert refused(desk, "a", 10, worst_price=40_100.05) == "tick"
    assert refused(desk, "a", 10, worst_price=math.nan) == "tick"
    assert refused(desk, "a", 10, reduce_only=True) == "reduce_only"
    assert refused(desk, "a", 10, time_ms=T0 + 1_001) == "early"
    assert refused(desk, "a", 10, time_ms=T0 - 2_001) == "expired"
    assert desk.place("a", 10, time_ms=T0 - 2_000).word == "filled"
    assert desk.statement().positions == {"BTC": 10}


def test_an_instrument_without_a_price_trades_nothing():
    desk = Desk(setup())
    desk.fund()
    assert refused(desk, "a", 10) == "no_price"


def test_initial_margin_is_asked_for_what_opens_and_never_for_what_closes():
    desk = opened(setup(leverage=5.0))
    # Five times 10,000 less the cost of trading it.
    assert refused(desk, "a", 1_250) == "margin"
    assert desk.place("b", 1_244).word == "filled"
    desk.take(T0 + 1, 39_000.0)
    assert refused(desk, "c", 1) == "margin"
    assert desk.place("d", -1).word == "filled"
    assert refused(desk, "e", -2_600) == "margin"


def test_a_reduce_only_order_asks_for_no_margin_and_is_cut_to_the_position():
    desk = opened(setup(leverage=5.0))
    desk.place("a", 1_200)
    desk.take(T0 + 1, 37_000.0)
    status = desk.place("b", -9_000, reduce_only=True)
    assert (status.word, status.filled, status.reason) == ("cancelled", -1_200, "reduce_only")
    assert desk.statement().positions == {}


def test_depth_gives_a_partial_fill_and_the_rest_is_cancelled():
    desk = opened(setup(listing(depth=30)))
    status = desk.place("a", -50)
    assert (status.word, status.filled, status.reason) == ("cancelled", -30, "depth")


def test_without_depth_and_tick_a_trade_is_that_of_the_constant_quote():
    costs = Costs(taker_fee=4.5e-4, half_spread=1.3e-4, impact=0.1)
    desk = opened(setup(listing(costs=costs)))
    for n, lots in enumerate((37, -51, 800)):
        desk.place(f"a{n}", lots)
        trade = desk.ask(rq.Fills(client_id=f"a{n}"))[0]
        assert (trade.price, trade.commission) == deal(costs, lots, Decimal("0.001"), 40_000.0, 0.0)


def test_a_tick_rounds_against_who_trades():
    desk = opened(setup(listing(tick="5", costs=Costs(half_spread=1.1e-4))))
    desk.place("a", 10)
    desk.place("b", -10)
    assert desk.ask(rq.Fills(client_id="a"))[0].price == 40_005.0
    assert desk.ask(rq.Fills(client_id="b"))[0].price == 39_995.0


def test_a_worst_price_that_cannot_be_had_trades_nothing():
    desk = opened()
    assert desk.place("a", 10, worst_price=40_007.9).filled == 0
    assert desk.place("b", 10, worst_price=40_008.0).filled == 10
    assert desk.place("c", -10, worst_price=39_992.1).filled == 0
    assert desk.place("d", -10, worst_price=39_992.0).filled == -10


def test_the_id_of_a_live_order_is_refused_and_that_of_a_filled_one_accepted():
    desk = opened(setup(latency=Latency(match_ms=100)))
    desk.place("a", 10)
    assert refused(desk, "a", 10) == "duplicate"
    desk.control(rq.Advance(now_ms=T0 + 100))
    assert desk.ask(rq.Query(client_id="a")).word == "filled"
    desk.place("a", 7)
    desk.control(rq.Advance(now_ms=T0 + 200))
    assert desk.statement().positions == {"BTC": 17}
    assert [trade.lots for trade in desk.ask(rq.Fills(client_id="a"))] == [7]


def test_an_open_order_is_matched_at_the_price_of_its_time_and_can_be_cancelled_before():
    desk = opened(setup(listing(costs=Costs()), latency=Latency(match_ms=500)))
    desk.place("a", 10)
    desk.take(T0 + 400, 41_000.0)
    assert desk.ask(rq.Query(client_id="a")).word == "open"
    desk.take(T0 + 600, 42_000.0)
    assert [t.price for t in desk.ask(rq.Fills(client_id="a"))] == [41_000.0]
    desk.place("b", 10)
    desk.ask(rq.Cancel(client_id="b"))
    desk.take(T0 + 5_000, 42_000.0)
    assert desk.ask(rq.Query(client_id="b")).word == "cancelled"
    assert desk.statement().positions == {"BTC": 10}


def test_margin_is_looked_at_again_when_an_order_is_matched():
    desk = opened(setup(latency=Latency(match_ms=500), leverage=5.0))
    desk.place("a", 800)
    desk.place("b", 800)
    desk.control(rq.Advance(now_ms=T0 + 500))
    assert desk.ask(rq.Query(client_id="a")).word == "filled"
    assert desk.ask(rq.Query(client_id="b")).word == "rejected"


def test_latency_of_request_answer_and_report():
    desk = Desk(setup(latency=Latency(request_ms=40, answer_ms=60, report_ms=250)))
    desk.take(T0, 40_000.0)
    call = desk.send(rq.Transfer(asset="USDT", amount=10**12, reference="a"))
    assert call not in desk.answers
    desk.control(rq.Advance(now_ms=T0 + 99))
    assert call not in desk.answers
    desk.control(rq.Advance(now_ms=T0 + 100))
    assert call in desk.answers
    call = desk.send(rq.Place(order=order("a", 10, T0 + 100)))
    desk.control(rq.Advance(now_ms=T0 + 100 + 289))
    assert call in desk.answers
    assert desk.told == []
    desk.control(rq.Advance(now_ms=T0 + 100 + 290))
    assert [type(report) for _, report in desk.told] == [Trade, OrderStatus]
    assert desk.told[0][1].time_ms == T0 + 140


def test_reports_come_in_order_of_what_happened():
    desk = opened(setup(latency=Latency(report_ms=10, jitter_ms=500)))
    for n in range(20):
        desk.place(f"a{n}", 1)
    desk.control(rq.Advance(now_ms=T0 + 5_000))
    told = [report for _, report in desk.told]
    assert [type(report) for report in told] == [Trade, OrderStatus] * 20
    assert [t.trade_id for t in told if isinstance(t, Trade)] == [str(n) for n in range(1, 21)]


def test_funding_is_settled_once_on_what_is_held_at_the_mark_of_its_time():
    desk = opened()
    desk.place("a", 100)
    rate = Rate(symbol="BTC", settlement_ms=T0 + 1_000, rate=1e-4)
    desk.control(rq.SetRate(rate=rate))
    desk.take(T0 + 1_000, 40_500.0)
    desk.place("b", 100)
    desk.control(rq.SetRate(rate=rate))
    desk.take(T0 + 2_000, 41_000.0)
    payments = desk.ask(rq.Payments(since_ms=T0))
    assert [(p.lots, p.mark, p.amount) for p in payments] == [(100, 40_500.0, -40_500_000)]
    assert [report for _, report in desk.told if isinstance(report, FundingPayment)] == payments
    assert desk.ask(rq.Payments(since_ms=T0 + 1_000)) == []


def test_a_settlement_before_the_next_price_is_at_the_price_before_it():
    desk = opened()
    desk.place("a", -100)
    desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=T0 + 1_000, rate=1e-4)))
    desk.take(T0 + 1_500, 50_000.0)
    assert [(p.mark, p.amount) for p in desk.ask(rq.Payments(since_ms=T0))] == [(40_000.0, 40_000_000)]


def test_the_engine_by_itself_lets_what_was_due_before_a_price_happen_before_it():
    engine = Engine(setup(listing(costs=Costs()), latency=Latency(match_ms=500)))
    engine.take([quote(T0, 40_000.0)])
    engine.transfer("main", "USDT", 10**12, "capital")
    engine.place("main", order("a", 100))
    engine.set_rate(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=T0 + 600, rate=1e-4)))
    engine.take([quote(T0 + 5_000, 50_000.0)])
    assert [trade.price for trade in engine.query("main", "a").trades] == [40_000.0]
    assert [(p.lots, p.mark) for p in engine.state.payments["main"]] == [(100, 40_000.0)]


def test_a_settlement_waits_for_the_first_price():
    desk = Desk(setup())
    desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=T0 - 1_000, rate=1e-4)))
    desk.control(rq.Advance(now_ms=T0 - 500))
    desk.take(T0, 40_000.0)
    assert desk.exchange.engine.state.rates == {}
    assert desk.exchange.engine.state.clock.settled_ms == {"BTC": T0 - 1_000}


def test_a_delisted_instrument_closes_what_is_held_and_takes_no_more_orders():
    desk = opened()
    desk.place("a", 100)
    before = desk.statement().wallet["USDT"]
    desk.control(rq.Delist(symbol="BTC", at_ms=T0 + 60_000))
    assert desk.ask(rq.Instruments())[0].delisted_ms == T0 + 60_000
    desk.take(T0 + 30_000, 41_000.0)
    assert desk.statement().positions == {"BTC": 100}
    shown = len(desk.prices)
    desk.take(T0 + 90_000, 45_000.0)
    assert len(desk.prices) == shown
    forced = [report for _, report in desk.told if isinstance(report, Forced)]
    assert [(f.lots, f.price, f.charge, f.deleveraged) for f in forced] == [(-100, 41_000.0, 0, False)]
    assert desk.statement().positions == {}
    assert desk.statement().wallet["USDT"] == before + forced[0].realised == before + 9_920_000_000
    assert refused(desk, "b", 10) == "delisted"


def test_a_changed_contract_size_keeps_the_position_in_units_and_its_cost():
    desk = opened(setup(latency=Latency(match_ms=100)))
    desk.place("a", 100)
    desk.control(rq.Advance(now_ms=T0 + 100))
    desk.place("b", 100)
    with pytest.raises(ValueError, match="no whole number"):
        desk.exchange.control(rq.Resize(symbol="BTC", lot="0.003"))

    def equity():
        state = desk.exchange.engine.state
        return state.margin.shared(state.account("main"), "USDT").equity

    before = equity()
    desk.control(rq.Resize(symbol="BTC", lot="0.01"))
    assert desk.ask(rq.Instruments())[0].lot == "0.01"
    assert desk.statement().positions == {"BTC": 10}
    assert equity() == before
    assert desk.ask(rq.Query(client_id="b")).reason == "the contract size changed"


def test_open_orders_end_where_the_position_is_liquidated():
    desk = opened(setup(latency=Latency(match_ms=10_000), leverage=125.0))
    desk.place("a", 5_000)
    desk.take(T0 + 10_000, 40_000.0)
    desk.place("b", -100)
    desk.take(T0 + 11_000, 38_000.0)
    assert desk.ask(rq.Query(client_id="b")).reason == "liquidated"
    assert desk.statement().positions == {}


def test_settings_and_transfers_refuse_what_cannot_be():
    desk = opened()
    for leverage, mode, code in ((0.5, "cross", "leverage"), (251.0, "cross", "leverage")):
        with pytest.raises(RefusedError) as error:
            desk.ask(rq.PutSetting(symbol="BTC", setting=Setting(leverage=leverage, margin_mode=mode)))
        assert error.value.code == code
    desk.place("a", 1_000)
    with pytest.raises(RefusedError, match="only while nothing is held"):
        desk.ask(rq.PutSetting(symbol="BTC", setting=Setting(leverage=20.0, margin_mode="isolated")))
    with pytest.raises(RefusedError, match="was 1000000000000 of USDT"):
        desk.ask(rq.Transfer(asset="USDT", amount=1, reference="capital"))
    with pytest.raises(RefusedError) as error:
        desk.ask(rq.Transfer(asset="USDT", amount=-9_000 * 10**8, reference="out"))
    assert error.value.code == "balance"
    desk.ask(rq.Transfer(asset="USDT", amount=-7_000 * 10**8, reference="out"))


def test_accounts_do_not_see_each_other():
    desk = opened()
    desk.place("a", 10)
    desk.account = "other"
    assert desk.statement().positions == {}
    assert desk.ask(rq.Query(client_id="a")) is None
    assert desk.ask(rq.OpenOrders()) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Faults(request_lost=1.5),
        lambda: Faults(report_late_ms=0),
        lambda: Faults(outage_ms=()),
        lambda: Latency(match_ms=-1),
        lambda: Latency(match_ms=90_000_000),
        lambda: Setup(seed=-1),
        lambda: Setup(leverage=0.0),
    ],
)
def test_a_setup_says_what_is_wrong(make):
    with pytest.raises(SpecError, match="expected"):
        make()


def test_an_account_has_a_plain_name():
    with pytest.raises(InputError, match="no name of an account"):
        PaperVenue(Hub(PaperExchange(setup())), "a/b")
