"""A desk over the roll of a dated future: on the paper exchange, killed amid it, and where something is missing."""

from __future__ import annotations

import asyncio

import msgspec
import polars as pl
import pytest
from proof.virtual import run

import gearing as gr
from gearing.core import holder as ho
from gearing.core.chains import expiry_ms
from gearing.core.money import MINOR
from gearing.core.spec_text import format_token
from gearing.core.terms import Spec
from gearing.core.trading import orders_of
from gearing.desk.boot import boot
from gearing.desk.clock import ScaledClock
from gearing.desk.config_text import parse_desk
from gearing.desk.engine import Engine
from gearing.desk.keeper import InLoopKeeper
from gearing.desk.past import Past
from gearing.desk.planned import planned
from gearing.desk.pump import PumpedHub
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.limits import refusal
from gearing.drive.market import Market
from gearing.drive.outlook import next_clock, outlook
from gearing.errors import SpecError
from gearing.store.database import init_database
from gearing.store.export import exported
from gearing.store.recompute import recompute
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.study.exact import exact_backtest
from gearing.venues.paper import requests as rq
from gearing.venues.paper.engine import Engine as PaperEngine
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.setup import Latency, Listing, Setup
from gearing.venues.paper.venue import PaperVenue
from gearing.venues.protocol import InstrumentRules, OrderStatus, Quote, Setting, Trade
from tests.lives import CAPITAL, HOUR_MS, MINUTE_MS, NOON_MS, UNITS

COSTS = gr.Costs(taker_fee=5e-4, half_spread=2e-4)
# The first contract is left ten minutes after noon, and expires an hour after that.
DUE_MS, EXPIRY = NOON_MS + 10 * MINUTE_MS, "2026-01-01T13:10"
NAMES = ("BTCJAN", "BTCMAR")


def token(rule=None, **more):
    contracts = (gr.Contract(symbol="BTCJAN", expiry=EXPIRY), gr.Contract(symbol="BTCMAR", expiry="2026-03-27"))
    leg = gr.DatedFuture(symbol="BTC", contracts=contracts, roll_days=1 / 24, lot=0.001)
    more.setdefault("fees", gr.Fees(management_per_day=3e-4))
    return gr.Token(symbol="BTC3L", target=3.0, rule=rule or gr.Rule(deviation=0.3), legs=(leg,), **more)


def price(symbol, now_ms):
    """The next contract stands above the first, and both move a little every other minute, but not about the roll."""
    steps = (now_ms - NOON_MS - MINUTE_MS) // (2 * MINUTE_MS)
    return round(40_000.0 * (1 + 0.0003 * (steps * 7 % 11 - 5)) * (1.0 if symbol == "BTCJAN" else 1.01), 1)


def listings(delisted_ms=NOON_MS + 70 * MINUTE_MS):
    return tuple(
        Listing(rules=InstrumentRules(symbol=name, asset="USDT", lot="0.001", delisted_ms=ends_ms), costs=COSTS)
        for name, ends_ms in zip(NAMES, (delisted_ms, 0), strict=True)
    )


class KilledError(Exception):
    """The desk is gone."""


class Keeper(InLoopKeeper):
    """Keeps, and kills the desk before or after so many commits from the roll on."""

    def __init__(self, store, case, seen):
        super().__init__(store)
        self.case, self.seen = case, seen

    async def keep(self, effects, rows=(), answers=()):
        if not self.seen and effects is not None and any(b'"roll_due"' in line.body for line in effects.lines):
            self.seen.append("roll")
        number = len(self.seen)
        if self.seen:
            self.seen.append("kept")
        if self.case == (number, "before"):
            raise KilledError
        await super().keep(effects, rows, answers)
        if self.case == (number, "after"):
            raise KilledError


class Run:
    """A desk on virtual time; it is started anew whenever it is killed."""

    def __init__(self, file, case=None):
        self.file, self.case, self.seen, self.kills, self.alarms = file, case, [], 0, []

    async def whole(self, minutes=30):
        self.clock = ScaledClock(NOON_MS)
        init_database(self.file, "demo", NOON_MS)
        latency = Latency(request_ms=20, match_ms=10, answer_ms=20, report_ms=30)
        self.hub = PumpedHub(PaperExchange(Setup(listings=listings(), latency=latency)), self.clock)
        pump = asyncio.ensure_future(self.hub.pump())
        self.publish()
        await self.launch()
        desk = self.started()
        for step in range(1, minutes * 6 + 1):
            await self.clock.sleep_ms(NOON_MS + step * 10_000 - self.clock.now_ms())
            if desk.done():
                assert isinstance(desk.exception(), KilledError)
                self.kills, self.case = self.kills + 1, None
                self.store.close()
                desk = self.started()
                await self.clock.sleep_ms(100)
            self.publish()
        await self.clock.sleep_ms(5_000)
        desk.cancel()
        pump.cancel()
        await asyncio.gather(desk, pump, return_exceptions=True)
        self.store.close()
        return self

    def publish(self):
        """Prices that stand still for a minute, so that it matters not which of them an order meets."""
        now_ms = self.clock.now_ms()
        listed = [one for one in NAMES if one != "BTCJAN" or now_ms < NOON_MS + 70 * MINUTE_MS]
        quotes = tuple(
            Quote(symbol=s, time_ms=now_ms, mark=price(s, now_ms), index=price(s, now_ms)) for s in listed
        )  # fmt: skip
        self.hub.control(rq.TakeQuotes(quotes=quotes))

    async def launch(self):
        await PaperVenue(self.hub, "BTC3L").transfer("USDT", CAPITAL, "seed")
        with Store(self.file, "demo") as store:
            driver = Driver(Market(GuardLimits(warm_ms=0)))
            for name in NAMES:
                driver.market.take(Quote(symbol=name, time_ms=NOON_MS, mark=price(name, NOON_MS), index=float("nan")),
                                   NOON_MS)  # fmt: skip
            book = driver.open_book("BTC3L", store.meta.incarnation, ["BTC3L"], NOON_MS)
            driver.launch(book, Spec(token()), ("0.001",), CAPITAL, UNITS, NOON_MS)
            await InLoopKeeper(store).keep(driver.taken())

    def started(self):
        self.store = Store(self.file, "demo")
        booted = boot(self.store, Market(GuardLimits(warm_ms=0)), window_ms=2_000, visibility_ms=1_000,
                      now_ms=self.clock.now_ms())  # fmt: skip
        venues = {name: PaperVenue(self.hub, name) for name in booted.driver.books}
        engine = Engine(booted.driver, booted.outbox, venues, Keeper(self.store, self.case, self.seen), self.clock)
        engine.on_alarm = self.alarms.append
        self.driver = booted.driver

        async def feed():
            async for quote in self.hub.quotes(frozenset(NAMES)):
                await engine.on_quotes([quote])

        return asyncio.ensure_future(engine.run(feed))

    @property
    def state(self):
        return self.driver.by_name["BTC3L"].state

    def end(self):
        """What has to be the same whoever was killed: position and ledger, and the venue's own."""
        account = self.hub.exchange.engine.state.account("BTC3L")
        positions = {symbol: (held.lots, held.basis) for symbol, held in account.positions.items() if held.lots}
        (leg,) = self.state.legs
        orders = self.driver.books["BTC3L"].state
        return (leg.lots, leg.basis, leg.contract, self.state.balances, self.state.status, self.state.epoch, positions,
                account.wallet, orders.live, orders.halted)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    done = Run(tmp_path_factory.mktemp("rolled") / "desk.db")
    return run(done.whole())


def test_the_next_contract_is_margined_as_specified_before_the_roll(undisturbed):
    settings = undisturbed.hub.exchange.engine.state.account("BTC3L").settings
    held = undisturbed.driver.by_name["BTC3L"].symbols[0]
    assert held != NAMES[0]
    assert {settings[name] for name in (NAMES[0], held)} == {Setting(leverage=6.0, margin_mode="cross")}


def test_a_desk_rolls_into_the_next_contract_and_the_books_agree(undisturbed):
    run_ = undisturbed
    (leg,) = run_.state.legs
    assert (leg.contract, run_.state.epoch, run_.state.rebalances) == (1, 2, 1)
    assert run_.state.status == "open"
    assert run_.driver.by_name["BTC3L"].symbols == ("BTCMAR",)
    old = round(3 * 1_000_000 / price("BTCJAN", NOON_MS) * 1_000 - 0.5)
    at = DUE_MS
    assert leg.lots == int(old * price("BTCJAN", at) / price("BTCMAR", at))
    account = run_.hub.exchange.engine.state.account("BTC3L")
    assert {symbol: held.lots for symbol, held in account.positions.items() if held.lots} == {"BTCMAR": leg.lots}
    assert run_.driver.books["BTC3L"].state.halted == ""
    assert run_.driver.books["BTC3L"].state.reconciled_ms > at
    assert run_.alarms == []
    assert len(run_.seen) > 6


def test_its_journal_verifies_recomputes_and_measures_the_roll(undisturbed):
    assert verify(undisturbed.file).breaches == ()
    assert recompute(exported(undisturbed.file)).differences == []
    with Store(undisturbed.file, "demo") as store:
        row, opening = store.rebalances("BTC3L", 10)
    assert b'"reason":"roll"' in row.body
    assert b'"reason":"opening"' in opening.body


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 9))
def test_whoever_is_killed_amid_the_roll_ends_as_if_nobody_had_been(tmp_path, undisturbed, number, when):
    done = run(Run(tmp_path / "desk.db", (number, when)).whole())
    assert done.kills == 1
    assert done.end() == undisturbed.end()
    assert verify(done.file).breaches == ()


class Hand:
    """A driver without a venue: the test plays it."""

    def __init__(self, it=None, lots=None, *, opens=True):
        self.now_ms, self.alarms, self.placed, self.lines = NOON_MS, [], [], []
        self.driver = Driver(Market(GuardLimits(age_ms_max=5 * HOUR_MS, good_samples=1, warm_ms=0)))
        self.driver.lots = dict.fromkeys(NAMES, "0.001") if lots is None else lots
        self.quote(NAMES, after_ms=0)
        self.book = self.driver.open_book("main", "abc123", ["BTC3L"], self.now_ms)
        self.it = self.driver.launch(self.book, Spec(it or token()), ("0.001",), CAPITAL, UNITS, self.now_ms)
        self.take()
        self.quote(["BTCJAN"], after_ms=1_000)
        if opens:
            self.fill()

    def take(self):
        effects = self.driver.taken()
        self.alarms += effects.alarms
        self.placed += effects.placed
        self.lines += effects.lines
        return self

    def quote(self, symbols, after_ms=MINUTE_MS, mark=None):
        self.now_ms += after_ms
        marks = {symbol: mark or (40_000.0 if symbol == "BTCJAN" else 40_400.0) for symbol in symbols}
        quotes = [Quote(symbol=s, time_ms=self.now_ms, mark=m, index=m) for s, m in marks.items()]
        self.driver.on_quotes(quotes, self.now_ms)
        return self.take()

    def fill(self):
        placed, self.placed = self.placed, []
        for order in placed:
            trade = Trade(trade_id=f"t{order.id}", client_id=order.id, symbol=order.symbol, lots=order.lots,
                          price=40_000.0 if order.symbol == "BTCJAN" else 40_400.0, commission=0, asset="USDT",
                          realised=0, time_ms=self.now_ms)  # fmt: skip
            self.driver.on_trade(self.book, trade)
            self.driver.on_status(self.book, OrderStatus(client_id=order.id, symbol=order.symbol, word="filled",
                                                         lots=order.lots, filled=order.lots,
                                                         time_ms=self.now_ms))  # fmt: skip
        return self.take()


def test_orders_carry_their_contracts_symbol_and_the_token_is_armed_on_both_then_on_the_next():
    desk = Hand()
    desk.quote(["BTCMAR"], after_ms=10 * MINUTE_MS)
    assert desk.placed == []
    desk.quote(["BTCJAN"], after_ms=1_000)
    assert [(order.symbol, order.lots, order.reduces) for order in desk.placed] == [
        ("BTCJAN", -75_000, True), ("BTCMAR", 74_257, False)]  # fmt: skip
    assert desk.it.symbols == NAMES
    assert desk.driver.market.lane("BTCMAR").deadline_ms < float("inf")
    desk.fill()
    assert desk.it.symbols == ("BTCMAR",)
    old, new = (desk.driver.market.lane(name) for name in NAMES)
    assert (old.low, old.high, old.deadline_ms) == (0.0, float("inf"), float("inf"))
    assert new.low > 0.0
    assert desk.alarms == []


def test_nobody_is_matched_at_prices_that_were_known_while_a_roll_let_people_cancel():
    """Nothing but the prices themselves tells that it stands against dealing no more."""
    desk = Hand()
    primary = desk.driver.primary
    primary.post("h1", ho.Deposited(time_ms=desk.now_ms, asset="USDT", amount=50_000 * MINOR, reference="d", by="ann"))
    desk.quote(NAMES, after_ms=10 * MINUTE_MS - 16_000)
    for name, side, amount in (("h1", "subscribe", 50_000 * MINOR), (ho.ISSUER, "redeem", UNITS // 50)):
        assert not isinstance(primary.request(name, "BTC3L", side, amount, desk.now_ms), str)
    for second in range(120):
        desk.quote(NAMES, after_ms=1_000)
        if second == 55:
            assert desk.it.state.is_rolling
            assert not primary.is_dealt_next(desk.it, "subscribe", desk.now_ms)
            assert desk.fill().it.symbols == ("BTCMAR",)
            free_ms = desk.now_ms
    (matched,) = [line for line in desk.lines if b'"flow_matched"' in line.body]
    assert matched.time_ms >= free_ms + 29_000


def test_without_a_price_of_the_next_contract_a_roll_waits_while_the_rule_goes_on():
    desk = Hand(token(gr.Rule(deviation=0.1)))
    desk.driver.market._instruments["BTCMAR"].guard.why = "no price yet"
    for _ in range(12):
        desk.quote(["BTCJAN"])
    assert [words for words in desk.alarms if "waits" in words] == [
        "BTC3L: the roll into BTCMAR waits for a good price of both"]  # fmt: skip
    assert desk.placed == []
    desk.quote(["BTCJAN"], mark=38_000.0)
    assert [order.symbol for order in desk.placed] == ["BTCJAN"]


def test_without_the_size_of_its_lot_a_contract_is_not_rolled_into():
    desk = Hand(lots={"BTCJAN": "0.001"})
    desk.quote(NAMES, after_ms=11 * MINUTE_MS)
    assert desk.placed == []
    assert desk.alarms == ["BTC3L: the roll into BTCMAR waits for the size of a lot of BTCMAR"]


def test_a_contract_that_expires_while_it_is_held_halts_and_is_told_once():
    desk = Hand(lots={})
    for minutes in (71, 1, 1):
        desk.quote(["BTCJAN"], after_ms=minutes * MINUTE_MS)
    told = [words for words in desk.alarms if "expired" in words]
    assert told == ["BTC3L: BTCJAN expired while it was held"]
    assert desk.it.state.status == "halted"
    assert desk.it.why == "guard: BTCJAN expired while it was held"


def test_what_is_filled_of_a_contract_after_it_expired_halts_too():
    desk = Hand(lots={}, opens=False)
    desk.quote(["BTCJAN"], after_ms=71 * MINUTE_MS)
    assert desk.alarms == []
    desk.fill().quote(["BTCJAN"], after_ms=1_000)
    assert [words for words in desk.alarms if "expired" in words] == ["BTC3L: BTCJAN expired while it was held"]


def test_no_price_asks_for_expired_contracts_until_the_next_one_expires():
    desk = Hand(lots={}).quote(["BTCJAN"])
    ends_ms = [NOON_MS + 70 * MINUTE_MS, expiry_ms("2026-03-27")]
    assert desk.driver.rolls.looks_ms == ends_ms[0]
    desk.quote(["BTCJAN"], after_ms=71 * MINUTE_MS)
    assert desk.driver.rolls.looks_ms == ends_ms[1]


def test_what_fell_due_with_the_roll_trades_at_once_after_it():
    rule = gr.Rule(schedule=(gr.Schedule(times=("12:10",)),))
    desk = Hand(token(rule))
    desk.quote(["BTCMAR"], after_ms=10 * MINUTE_MS - 1_000, mark=40_400.0)
    desk.quote(["BTCJAN"], after_ms=0, mark=40_100.0)
    desk.fill()
    assert desk.it.state.rebalance.reason == "schedule"
    assert [order.symbol for order in desk.placed] == ["BTCMAR"]


def test_an_order_that_opens_passes_the_limits_and_one_that_closes_always_may():
    desk = Hand(token(limits=gr.Limits(largest_order=3_100_000.0)))
    desk.quote(NAMES, after_ms=11 * MINUTE_MS)
    spec, state = desk.it.spec, desk.it.state
    closing, opening = orders_of(state)
    assert (refusal(spec, state, closing), refusal(spec, state, opening)) == ("", "")
    assert "above the largest" in refusal(spec, state, opening._replace(lots=2 * opening.lots))


def test_a_roll_that_breaks_a_limit_is_not_begun_and_keeps_its_contract():
    desk = Hand(token(limits=gr.Limits(largest_order=3_000_001.0)))
    desk.driver.by_name["BTC3L"].spec.token = token(limits=gr.Limits(largest_order=1_000_000.0))
    for minutes in (11, 1):
        desk.quote(NAMES, after_ms=minutes * MINUTE_MS)
    assert desk.placed == []
    assert (desk.it.state.status, desk.it.state.legs[0].lots) == ("halted", 75_000)
    assert desk.it.why == "limits: R4: a roll was not begun: an order of 2,999,983 is above the largest, 1,000,000"
    assert len(desk.alarms) == 1
    desk.it.spec.token = token()
    desk.driver.operate(desk.it, "resume", "ann", "the limit was raised", desk.now_ms)
    desk.quote(NAMES)
    assert [order.symbol for order in desk.placed] == list(NAMES)


def test_the_outlook_names_the_roll_and_shows_both_contracts_while_it_runs():
    desk = Hand()
    assert next_clock(desk.it.spec, desk.it.state) == (DUE_MS, "roll")
    desk.quote(NAMES, after_ms=11 * MINUTE_MS)
    seen = outlook(desk.it.spec, desk.it.state, (40_000.0, 40_400.0))
    assert [leg.symbol for leg in seen.legs] == list(NAMES)
    assert seen.forecast is None
    assert seen.exposure == pytest.approx(3_000_000.0)


def replayed(tmp_path, it, given):
    """A desk that replays bars of several contracts from one file."""
    # A bar is stamped with its beginning, and known at its end.
    rows = [
        (at - MINUTE_MS, name, close) for name, known in given.items() for at, close in zip(*known, strict=True)
    ]  # fmt: skip
    frame = pl.DataFrame(sorted(rows), schema=["time", "symbol", "close"], orient="row")
    frame.write_csv(tmp_path / "prices.csv")
    (tmp_path / "T.toml").write_text(format_token(it))
    text = (
        'mode = "paper"\ndatabase = "desk.db"\n[feed]\nkind = "replay"\nprices = "prices.csv"\n'
        '[venue.costs]\ntaker_fee = 5e-4\nhalf_spread = 2e-4\n[[tokens]]\nfile = "T.toml"\ncapital = 1000000\n'
    )
    return planned(parse_desk(text), tmp_path)


def series(count=60):
    times = [NOON_MS + k * MINUTE_MS for k in range(count)]
    kept = {"BTCJAN": times[:20], "BTCMAR": times[5:]}
    return {name: (at, [price(name, one) for one in at]) for name, at in kept.items()}


def test_a_desk_over_a_roll_is_the_exact_backtest_to_the_digit(tmp_path):
    it = token(gr.Rule(deviation=0.3, schedule=(gr.Schedule(times=("12:10", "12:30")),)), costs=COSTS)
    plan = replayed(tmp_path, it, series())
    rules = {listing.rules.symbol: listing.rules for listing in plan.listings()}
    assert {symbol: one.delisted_ms for symbol, one in rules.items()} == {
        "BTCJAN": NOON_MS + 70 * MINUTE_MS, "BTCMAR": 1_774_569_600_000}  # fmt: skip
    assert {one.funding_interval_ms for one in rules.values()} == {0}
    start = plan.start_ms
    driver = Driver(Market(msgspec.structs.replace(plan.guard, age_ms_max=HOUR_MS)))
    driver.lots = plan.lots
    setup = plan.setup(quick=True)
    past = Past(driver, PaperEngine(setup), plan.feed)
    past.launch(plan.tokens, "abc123", start)
    driver.attend(driver.by_name["BTC3L"])  # the exact backtest opens at the first price
    past._settle(start)
    past.live(start + MINUTE_MS, NOON_MS + 60 * MINUTE_MS, MINUTE_MS, lambda done, of: None)
    exact = exact_backtest(it, series(), costs=COSTS, equity=1_000_000.0)
    mine = driver.by_name["BTC3L"].state
    assert mine.legs[0].contract == exact.state.legs[0].contract == 1
    assert (mine.epoch, mine.rebalances) == (exact.state.epoch, exact.rebalances) == (4, 3)
    assert mine.balances.wallet == exact.state.balances.wallet
    assert (mine.legs[0].lots, mine.legs[0].basis) == (exact.state.legs[0].lots, exact.state.legs[0].basis)


def test_a_desk_begins_where_each_leg_has_a_price_of_its_contract(tmp_path):
    plan = replayed(tmp_path, token(), series())
    assert plan.start_ms == NOON_MS
    late = series()
    late["BTCJAN"] = tuple(column[3:] for column in late["BTCJAN"])
    assert replayed(tmp_path, token(), late).start_ms == NOON_MS + 3 * MINUTE_MS
    # Prices of the first contract come only after it is to be left: the desk begins with the next.
    late["BTCJAN"] = tuple(column[12:] for column in late["BTCJAN"])
    assert replayed(tmp_path, token(), late).start_ms == DUE_MS


def test_a_feed_without_a_contract_of_the_chain_is_named(tmp_path):
    with pytest.raises(SpecError) as caught:
        replayed(tmp_path, token(), {"BTCJAN": series()["BTCJAN"]})
    (problem,) = caught.value.problems
    assert str(problem) == (
        "T.toml: line 13: legs[0].contracts: expected one of the feed's: BTCJAN, found 'BTCMAR'. "
        "A desk rolls at the prices of both contracts: the feed needs those of each."
    )


def test_an_exact_backtest_over_a_roll_recomputes_and_agrees_with_its_quick_twin(tmp_path):
    it = token(costs=COSTS)
    given = series()
    exact = exact_backtest(it, given, costs=COSTS, equity=1_000_000.0)
    exact.journal(tmp_path / "run.jsonl")
    with open(tmp_path / "run.jsonl", "rb") as lines:
        assert recompute(lines).differences == []
    assert exact.state.legs[0].contract == 1
    assert exact.rebalances == 1
    assert exact.state.nav / MINOR == pytest.approx(gr.backtest(it, given, costs=COSTS).summary().final_nav, abs=1e-6)
