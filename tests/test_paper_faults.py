"""Every fault happens, at about its rate, is what it says, and is the same again for the same seed."""

from __future__ import annotations

import asyncio
import hashlib
import math
import subprocess
import sys

import msgspec
import pytest

from gearing.venues.paper import requests as rq
from gearing.venues.paper.draws import Draws
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Faults, Latency
from gearing.venues.paper.venue import Hub, PaperVenue
from gearing.venues.protocol import Forced, FundingPayment, GatewayError, OrderStatus, RefusedError, Trade
from tests.paper_market import T0, Desk, environment, listing, opened, order, quote, setup

COUNT = 400


def placing(count=COUNT, latency=None, **faults):
    """A desk after so many orders of one lot, and what the caller of each learned, by client id."""
    desk = Desk(setup(faults=Faults(**faults), latency=latency, seed=11))
    desk.take(T0, 40_000.0)
    while not desk.statement().wallet:
        desk.send(rq.Transfer(asset="USDT", amount=10**13, reference="capital"))
        desk.control(rq.Advance(now_ms=desk.now_ms + 10_000))
    learned = {}
    for n in range(count):
        call = desk.send(rq.Place(order=order(f"a{n}", 1, desk.now_ms)))
        desk.control(rq.Advance(now_ms=desk.now_ms + 10_000))
        learned[f"a{n}"] = desk.answers.pop(call)
    return desk, learned


def known(desk, key):
    return desk.exchange.engine.query("main", key) is not None


@pytest.mark.parametrize(
    ("fault", "error", "status", "has_effect"),
    [
        ("request_lost", TimeoutError, None, {False}),
        ("answer_lost", TimeoutError, None, {True}),
        ("dropped", ConnectionError, None, {True, False}),
        ("busy", GatewayError, 429, {False}),
        ("error", GatewayError, 503, {False}),
        ("error_done", GatewayError, 503, {True}),
    ],
)
def test_a_fault_of_requests(fault, error, status, has_effect):
    desk, learned = placing(**{fault: 0.2})
    hit = {key: answer for key, answer in learned.items() if answer.error is not None}
    assert 0.14 * COUNT < len(hit) < 0.26 * COUNT
    assert {type(answer.error) for answer in hit.values()} == {error}
    assert {getattr(answer.error, "status", None) for answer in hit.values()} == {status}
    assert {known(desk, key) for key in hit} == has_effect
    assert all(known(desk, key) for key in learned if key not in hit)
    effects = sum(known(desk, key) for key in learned)
    assert desk.statement().positions == {"BTC": effects}


def test_who_is_not_answered_gives_up_after_the_timeout():
    desk, _ = placing(0, request_lost=0.5, latency=Latency(timeout_ms=700))
    for n in range(20):
        sent_ms = desk.now_ms
        call = desk.send(rq.Query(client_id=f"q{n}"))
        if call in desk.answers:
            continue
        desk.control(rq.Advance(now_ms=sent_ms + 699))
        assert call not in desk.answers
        desk.control(rq.Advance(now_ms=sent_ms + 700))
        assert isinstance(desk.answers[call].error, TimeoutError)
        return
    pytest.fail("no request was lost")


def test_an_order_arrives_after_its_caller_gave_up_and_a_query_knew_nothing():
    desk, _ = placing(0, request_late=0.5, request_late_ms=4_000, latency=Latency(timeout_ms=500))
    fates = []
    for n in range(60):
        sent_ms = desk.now_ms
        call = desk.send(rq.Place(order=order(f"a{n}", 1, sent_ms)))
        desk.control(rq.Advance(now_ms=sent_ms + 500))
        answer = desk.answers.pop(call)
        unknown_then = not known(desk, f"a{n}")
        desk.control(rq.Advance(now_ms=sent_ms + 6_000))
        fates.append((type(answer.error), unknown_then, known(desk, f"a{n}")))
    assert fates.count((type(None), False, True)) > 15
    # Late within its window it is filled all the same, beyond it the venue refuses it.
    assert fates.count((TimeoutError, True, True)) > 5
    assert fates.count((TimeoutError, True, False)) > 5
    assert set(fates) <= {(type(None), False, True), (TimeoutError, True, True), (TimeoutError, True, False)}


def trades_told(desk):
    return [report for _, report in desk.told if isinstance(report, Trade)]


def test_reports_are_lost():
    desk, _ = placing(report_lost=0.3)
    assert 0.62 * COUNT < len(trades_told(desk)) < 0.78 * COUNT
    assert desk.statement().positions == {"BTC": COUNT}


def test_reports_are_repeated():
    desk, _ = placing(report_duplicated=0.3)
    ids = [trade.trade_id for trade in trades_told(desk)]
    assert len(set(ids)) == COUNT
    assert 1.22 * COUNT < len(ids) < 1.38 * COUNT


def test_reports_come_late_and_out_of_order():
    desk, _ = placing(report_late=0.3, report_late_ms=25_000)
    delays = [told_ms - trade.time_ms for told_ms, trade in desk.told if isinstance(trade, Trade)]
    numbers = [int(trade.trade_id) for trade in trades_told(desk)]
    assert numbers != sorted(numbers)
    assert 0.1 * COUNT < sum(delay > 10_000 for delay in delays) < 0.3 * COUNT
    assert max(delays) <= 25_000 + 10_000


def test_an_accepted_order_is_hidden_from_queries_for_the_visibility_delay():
    desk = opened(setup(faults=Faults(hidden=0.5), latency=Latency(visibility_ms=800), seed=3))
    hidden = []
    for n in range(40):
        desk.place(f"a{n}", 1)
        if desk.ask(rq.Query(client_id=f"a{n}")) is None:
            assert desk.ask(rq.Fills(client_id=f"a{n}")) == []
            hidden.append(f"a{n}")
    assert 10 < len(hidden) < 30
    assert desk.statement().positions == {"BTC": 40}
    desk.control(rq.Advance(now_ms=T0 + 799))
    assert desk.ask(rq.Query(client_id=hidden[0])) is None
    desk.control(rq.Advance(now_ms=T0 + 800))
    assert all(desk.ask(rq.Query(client_id=key)).word == "filled" for key in hidden)


def test_orders_are_filled_in_part_and_fills_come_in_two():
    desk = opened(setup(faults=Faults(partial=0.3, split=0.3), seed=5))
    words, trades = [], []
    for n in range(200):
        status = desk.place(f"a{n}", 10 if n % 2 else -10)
        found = desk.ask(rq.Fills(client_id=f"a{n}"))
        assert sum(trade.lots for trade in found) == status.filled
        assert 1 <= abs(status.filled) <= 10
        words.append((status.word, status.reason))
        trades.append(len(found))
    assert set(words) == {("filled", ""), ("cancelled", "depth")}
    assert 40 < words.count(("cancelled", "depth")) < 80
    assert 30 < trades.count(2) < 80


def test_auto_deleveraging_takes_a_part_free_of_charge():
    desk = opened(setup(faults=Faults(deleveraged=0.05), seed=2))
    desk.place("a", 100)
    for n in range(1, 60):
        desk.take(T0 + n * 1_000, 40_000.0)
    forced = [report for _, report in desk.told if isinstance(report, Forced)]
    assert forced
    assert all(f.deleveraged and f.charge == 0 and f.lots < 0 for f in forced)
    assert desk.statement().positions.get("BTC", 0) == 100 + sum(f.lots for f in forced)
    assert forced == desk.ask(rq.ForcedTrades(since_ms=0))


def test_a_liquidation_comes_as_many_trades_which_close_the_whole_position():
    desk = opened(setup(faults=Faults(liquidation_split=1.0), leverage=125.0))
    desk.place("a", 10_000)
    desk.take(T0 + 1_000, 38_000.0)
    forced = desk.ask(rq.ForcedTrades(since_ms=0))
    assert (len(forced), sum(f.lots for f in forced), desk.statement().positions) == (300, -10_000, {})
    assert {f.lots for f in forced} == {-33, -34}
    assert len({f.trade_id for f in forced}) == 300


def test_a_list_that_repeats_itself_holds_everything_twice_whatever_was_asked_for():
    desk = opened(setup(faults=Faults(list_repeated=1.0), leverage=125.0))
    desk.place("a", 10_000)
    desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=T0 + 1_000, rate=1e-4)))
    desk.take(T0 + 1_001, 40_000.0)
    desk.take(T0 + 2_000, 38_000.0)
    for request in (rq.ForcedTrades(since_ms=T0 + 9_000), rq.Payments(since_ms=T0 + 9_000)):
        first, again = desk.ask(request)
        assert first == again


def test_a_payment_is_missing_from_lists_for_a_while_though_it_is_in_the_wallet():
    desk = opened(setup(faults=Faults(payment_unlisted=1.0)))
    desk.place("a", 100)
    before = desk.statement().wallet["USDT"]
    desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=T0 + 1_000, rate=1e-4)))
    desk.take(T0 + 1_001, 40_000.0)
    assert desk.statement().wallet["USDT"] < before
    desk.control(rq.Advance(now_ms=T0 + 3_999))
    assert desk.ask(rq.Payments(since_ms=0)) == []
    desk.control(rq.Advance(now_ms=T0 + 4_000))
    assert [it.settlement_ms for it in desk.ask(rq.Payments(since_ms=0))] == [T0 + 1_000]
    assert [it.settlement_ms for it in desk.ask(rq.Settlements(symbol="BTC", since_ms=0))] == [T0 + 1_000]


@pytest.mark.parametrize("length_ms", [1_000, 600_000, 10_800_000])
def test_an_outage_breaks_requests_and_silences_streams_while_the_exchange_goes_on(length_ms):
    desk = opened(setup(leverage=125.0))
    desk.place("a", 10_000)
    told, shown = len(desk.told), len(desk.prices)
    desk.control(rq.Outage(length_ms=length_ms))
    with pytest.raises(ConnectionError, match="cannot be reached"):
        desk.place("b", 1)
    desk.take(T0 + length_ms // 2, 38_000.0)
    assert (len(desk.told), len(desk.prices)) == (told, shown)
    desk.take(T0 + length_ms, 38_000.0)
    assert len(desk.prices) == shown + 1
    # What happened meanwhile was not reported, but is there to be asked for.
    assert len(desk.told) == told
    assert [f.lots for f in desk.ask(rq.ForcedTrades(since_ms=0))] == [-10_000]


def test_outages_begin_by_seed_and_have_the_lengths_that_were_set():
    desk = Desk(setup(faults=Faults(outage=0.02, outage_ms=(1_000, 7_000)), seed=9))
    down = []
    for n in range(2_000):
        desk.take(T0 + n * 1_000, 40_000.0)
        down.append(desk.exchange.wire.down_until_ms > desk.now_ms)
    runs = "".join("x" if now else "." for now in down).split(".")
    assert {1, 7} <= {len(run) for run in runs}
    assert len(desk.prices) == down.count(False)


def test_a_report_of_funding_comes_when_the_size_has_changed():
    desk = opened(setup(faults=Faults(funding_late=1.0, funding_late_ms=10_000)))
    desk.place("a", 100)
    desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=T0 + 1_000, rate=1e-4)))
    desk.take(T0 + 1_000, 40_000.0)
    desk.place("b", 100)
    desk.take(T0 + 10_999, 40_000.0)
    kinds = [type(report) for _, report in desk.told]
    assert kinds.count(Trade) == 2
    assert FundingPayment not in kinds
    desk.take(T0 + 11_000, 40_000.0)
    payment = desk.told[-1][1]
    assert (payment.lots, payment.settlement_ms) == (100, T0 + 1_000)
    assert desk.statement().positions == {"BTC": 200}


def streaming(count=3_000, **faults):
    """Pairs of the true price and what was published."""
    desk = Desk(setup(faults=Faults(**faults), seed=4))
    true = [quote(T0 + n * 1_000, 40_000.0 + n) for n in range(count)]
    for it in true:
        desk.control(rq.TakeQuotes(quotes=(it,)))
    assert len(desk.prices) == count
    assert desk.exchange.engine.state.mark_of("BTC") == true[-1].mark
    return list(zip(true, desk.prices, strict=True))


@pytest.mark.parametrize(
    ("fault", "is_it"),
    [
        ("price_nan", lambda true, seen: math.isnan(seen.mark)),
        ("price_infinite", lambda true, seen: math.isinf(seen.mark)),
        ("price_zero", lambda true, seen: seen.mark == 0.0),
        ("price_negative", lambda true, seen: seen.mark == -true.mark),
        ("price_spike", lambda true, seen: round(seen.mark / true.mark, 9) in {10.0, 0.1}),
        ("price_future", lambda true, seen: seen.time_ms == true.time_ms + 3_600_000),
    ],
)
def test_a_fault_of_one_price(fault, is_it):
    pairs = streaming(**{fault: 0.02})
    wrong = [(true, seen) for true, seen in pairs if repr(true) != repr(seen)]
    assert 35 < len(wrong) < 90
    assert all(is_it(true, seen) for true, seen in wrong)


@pytest.mark.parametrize(("fault", "times_go_on"), [("price_frozen", True), ("price_dead", False)])
def test_a_price_stands_still_while_messages_come(fault, times_go_on):
    pairs = streaming(**{fault: 0.002, "price_stretch": 25})
    still, lengths = 0, []
    for true, seen in pairs:
        if seen.mark == true.mark:
            if still:
                lengths.append(still)
            still = 0
        else:
            still += 1
            assert (seen.time_ms == true.time_ms) is times_go_on
    # The first of the stretch is the true price, the others repeat it; two may follow on each other.
    assert lengths
    assert min(lengths) == 24


def test_streams_break_and_listeners_are_told():
    async def listen():
        hub = Hub(PaperExchange(setup()))
        venue = PaperVenue(hub)
        seen = []

        async def read():
            async for it in venue.quotes(["BTC"]):
                seen.append(it)  # noqa: PERF401 the stream breaks

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        hub.control(rq.TakeQuotes(quotes=(quote(T0, 40_000.0), quote(T0, 1.0, "ETH"))))
        hub.break_streams()
        with pytest.raises(ConnectionError):
            await task
        return seen

    assert asyncio.run(listen()) == [quote(T0, 40_000.0)]


EVERYTHING = Faults(
    request_lost=0.05, request_late=0.05, answer_lost=0.05, dropped=0.05, busy=0.05, error=0.05, error_done=0.05,
    report_lost=0.05, report_duplicated=0.1, report_late=0.1, funding_late=0.5, hidden=0.1, partial=0.2, split=0.2,
    deleveraged=0.01, outage=0.01, outage_ms=(3_000,), price_nan=0.01, price_spike=0.01,
    price_frozen=0.01, price_dead=0.01,
)  # fmt: skip


def whole_run(seed):
    """A hash of all that comes out of a run in which everything goes wrong."""
    listings = (listing(), listing("ETH", lot="0.01"))
    latency = Latency(request_ms=20, match_ms=30, answer_ms=20, report_ms=50, jitter_ms=40)
    desk = Desk(setup(*listings, faults=EVERYTHING, latency=latency, seed=seed))
    draws, digest = Draws(seed), hashlib.sha256()
    desk.exchange.engine.transfer("main", "USDT", 10**13, "capital")
    for n in range(300):
        for symbol, price in (("BTC", 40_000.0), ("ETH", 2_000.0)):
            desk.take(T0 + n * 1_000, round(price * (1 + 0.02 * draws.uniform()), 2), symbol)
        if n % 50 == 10:
            desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=desk.now_ms + 5_000, rate=1e-4)))
        lots = draws.below(41) - 20
        desk.send(rq.Place(order=order(f"a{n}", lots, desk.now_ms, "BTC" if n % 3 else "ETH")))
    desk.control(rq.Advance(now_ms=desk.now_ms + 60_000))
    for told_ms, report in desk.told:
        digest.update(msgspec.msgpack.encode((told_ms, type(report).__name__, report)))
    for call, answer in desk.answers.items():
        digest.update(repr((call, answer.value, answer.error)).encode())
    digest.update(repr(desk.prices).encode())
    digest.update(msgspec.msgpack.encode((desk.statement(), desk.exchange.engine.state.stood())))
    errors = {type(answer.error) for answer in desk.answers.values()}
    assert errors >= {type(None), RefusedError, TimeoutError, ConnectionError, GatewayError}
    assert {type(report) for _, report in desk.told} == {Trade, OrderStatus, Forced, FundingPayment}
    return digest.hexdigest()


def test_one_seed_makes_one_run_whatever_the_hash_seed():
    script = "from tests.test_paper_faults import whole_run; print(whole_run(7))"
    found = set()
    for hash_seed in ("1", "4242"):
        surroundings = {**environment(), "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=surroundings, capture_output=True, text=True, check=True
        )
        found.add(done.stdout.strip())
    assert found == {whole_run(7)}
    assert whole_run(8) not in found
