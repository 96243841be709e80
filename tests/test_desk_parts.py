"""What the desk is made of: past, feeds, outlook, measured rebalances, deleveraging, the reserve."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import gearing as gr
from gearing.core.events import Marked, Operated
from gearing.core.money import MINOR, to_float
from gearing.core.state import Cover, TokenState
from gearing.core.terms import Spec
from gearing.core.watch import needs
from gearing.desk.config import DeskConfig
from gearing.desk.config_text import parse_desk
from gearing.desk.desk import prepare
from gearing.desk.engine import Engine
from gearing.desk.feeds import ReplayFeed, Settlement, read_replay
from gearing.desk.interpreter import of_a_desk
from gearing.desk.past import Past
from gearing.desk.planned import Planned, planned
from gearing.desk.watchdog import Watchdog
from gearing.drive.breakers import BreakerLimits
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.margining import AskedMargin, notional
from gearing.drive.market import Market
from gearing.drive.outbox import Outbox
from gearing.drive.outlook import outlook
from gearing.drive.reconciling import differences
from gearing.drive.reserve import payments
from gearing.drive.volatility import Volatility
from gearing.errors import InputError
from gearing.market.series import Prices
from gearing.store.database import init_database
from gearing.store.store import Store
from gearing.venues.paper.engine import Engine as PaperEngine
from gearing.venues.protocol import Forced, Quote

HOUR_MS = 3_600_000


@pytest.fixture
def plan(tmp_path: Path) -> Planned:
    return planned(DeskConfig(database="desk.db", history_days=1), tmp_path)


@pytest.fixture
def past(plan: Planned) -> Past:
    """The four tokens of the demo, opened."""
    made = Past(Driver(Market(plan.guard), nav_ms=HOUR_MS), PaperEngine(plan.setup(quick=True)), plan.feed)
    made.launch(plan.tokens, "abcdef", plan.start_ms)
    made.live(plan.start_ms + 60_000, plan.start_ms + 180_000, 60_000, lambda done, total: None)
    return made


def test_the_venue_and_the_ledger_agree_after_a_past(past):
    for name, book in past.driver.books.items():
        assert differences(book, past.paper.statement(name)) == ()
    assert all(not running.state.is_flat for running in past.driver.tokens)


def test_a_start_that_broke_off_between_exchange_and_journal_begins_anew(plan, monkeypatch):
    def torn(self, commits):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", torn)
        with pytest.raises(KeyboardInterrupt):
            prepare(plan, lambda done, total: None)
    assert plan.paper_file.exists()
    assert prepare(plan, lambda done, total: None) == 0
    with Store(plan.database) as store:
        assert {stream for stream in store.streams() if stream.startswith("book:")} == {
            "book:BTC3L", "book:BTC3S", "book:ETH2L", "book:TOP2L",
        }  # fmt: skip
        again = store.last_ms()
    assert prepare(plan, lambda done, total: None) == again


def test_a_rebalance_is_measured_against_the_prices_it_was_decided_at(past):
    running = past.driver.by_name["BTC3L"]
    last = running.measured
    assert (last.reason, last.before, last.slices, last.fills, last.is_open) == ("opening", 0.0, 1, 1, False)
    assert last.after == pytest.approx(3.0, abs=0.01)
    (leg,) = last.legs
    # The exchange's half spread is 2 and its fee 5 basis points.
    size = leg.lots * 0.001
    assert to_float(last.slippage) == pytest.approx(size * leg.decided * 0.0002)
    assert to_float(last.commission) == pytest.approx(size * leg.decided * 1.0002 * 0.0005)
    assert last.cost_rate == pytest.approx(0.0007, rel=1e-3)
    rows = {(row.token, row.epoch) for commit in past.commits for row in commit.rebalances}
    assert rows == {(name, 1) for name in past.driver.by_name}


def test_the_outlook_tells_the_barrier_at_which_the_rule_acts(past):
    for name in ("BTC3S", "ETH2L"):
        running = past.driver.by_name[name]
        mark = running.state.legs[0].mark
        seen = outlook(running.spec, running.state, (mark,), (0.03,))
        assert seen.leverage == pytest.approx(running.spec.token.target, abs=0.01)
        assert seen.nav == pytest.approx(to_float(running.state.nav), rel=1e-9)
        barrier = seen.legs[0].above
        assert barrier.move == pytest.approx(barrier.price / mark - 1)
        assert barrier.deviations == pytest.approx(math.log(barrier.price / mark) / 0.03)
        for factor, acts in ((1 - 1e-6, False), (1 + 1e-6, True)):
            now_ms = running.state.attended_ms + 1
            event = Marked(time_ms=now_ms, prices=(barrier.price * factor,), before_ms=now_ms - 1)
            assert needs(running.spec, running.state, event) is acts


def test_the_forecast_is_what_a_rebalance_then_trades(past):
    driver, running = past.driver, past.driver.by_name["TOP2L"]
    marks = tuple(leg.mark * move for leg, move in zip(running.state.legs, (1.04, 1.02, 0.99), strict=True))
    forecast = outlook(running.spec, running.state, marks).forecast
    assert forecast.side in {"buy", "sell"}
    driver.publish(running, "minute", running.state.attended_ms + 1, marks)
    driver.operate(running, "rebalance", "ann", "now", running.state.attended_ms + 2)
    assert tuple(a.lots for a in running.state.rebalance.attempts) == forecast.lots


@pytest.mark.parametrize(
    ("choice", "action", "status"), [("freeze", "halt", "halted"), ("rehedge", "rebalance", "open")]
)
def test_auto_deleveraging_is_followed_by_what_was_specified(past, choice, action, status):
    driver, running = past.driver, past.driver.by_name["BTC3L"]
    driver.on_deleveraging = choice
    leg = running.state.legs[0]
    forced = Forced(trade_id="F1", symbol="BTCUSDT", lots=-leg.lots // 3, price=leg.mark, charge=0, realised=0,
                    deleveraged=True, time_ms=running.state.attended_ms + 1)  # fmt: skip
    driver.on_forced(running.book, forced)
    effects = driver.taken()
    assert running.state.status == status
    assert any(f'"action":"{action}"'.encode() in line.body for line in effects.lines)
    assert [order.lots for order in effects.placed] == (
        [] if choice == "freeze" else [pytest.approx(leg.lots // 3, rel=0.01)]
    )
    driver.on_forced(running.book, forced)
    assert not driver.taken()


def test_a_liquidation_of_the_tokens_own_is_not_rehedged(past):
    driver, running = past.driver, past.driver.by_name["BTC3L"]
    driver.on_deleveraging = "rehedge"
    forced = Forced(trade_id="F1", symbol="BTCUSDT", lots=-5, price=running.state.legs[0].mark, charge=0, realised=0,
                    deleveraged=False, time_ms=running.state.attended_ms + 1)  # fmt: skip
    driver.on_forced(running.book, forced)
    assert not driver.taken().placed


def test_a_halted_token_says_why_until_it_is_resumed(past):
    driver, running = past.driver, past.driver.by_name["BTC3L"]
    driver.operate(running, "halt", "ann", "spike", running.state.attended_ms + 1)
    assert running.why == "ann: spike"
    driver.operate(running, "resume", "ann", "fine", running.state.attended_ms + 2)
    assert running.why == ""
    assert Operated(time_ms=1, action="halt", by="ann", reason="spike")


def test_one_leg_priced_and_another_long_ago_is_no_price():
    market = Market(GuardLimits(age_ms_max=10_000, warm_ms=0))
    market.list_token(0, ("A", "B"))
    for symbol, now_ms in (("A", 1_000), ("B", 1_000), ("A", 11_000)):
        market.take(Quote(symbol=symbol, time_ms=now_ms, mark=1.0, index=1.0), now_ms)
    assert market.prices(("A", "B")) is not None
    market.take(Quote(symbol="A", time_ms=11_001, mark=1.0, index=1.0), 11_001)
    assert market.prices(("A", "B")) is None
    assert (market.is_good(("A",), 11_001), market.is_good(("A", "B"), 11_001)) == (True, False)
    assert market.age_ms("B", 11_001) == 10_001


class _Reserve:
    def __init__(self) -> None:
        self.moved: list[tuple[str, int, str]] = []

    async def transfer(self, asset: str, amount: int, reference: str) -> None:
        self.moved.append((asset, amount, reference))


@pytest.mark.parametrize(
    ("reserve", "moved"), [(5 * MINOR, [("USDT", 5 * MINOR, "reserve1xBTC3L")]), (5 * MINOR - 1, [])]
)
def test_the_reserve_is_paid_in_for_a_wiped_out_token(past, reserve, moved):
    running, venue, alarms = past.driver.by_name["BTC3L"], _Reserve(), []
    legs = tuple(msgspec.structs.replace(leg, lots=0, basis=0) for leg in running.state.legs)
    covers = (Cover(0, 5 * MINOR),)
    running.state = msgspec.structs.replace(running.state, status="wiped", legs=legs, covers=covers)

    async def paid_in() -> None:
        engine = Engine(past.driver, Outbox(1, 1), {"BTC3L": venue}, Nothing(), _Virtual(0), reserve=reserve)
        engine.on_alarm = alarms.append
        for _ in range(3):
            await engine._settle_reserve(running.book)
        assert venue.moved == moved
        engine.reserve = 5 * MINOR  # what could not be paid before is paid once it can be
        await engine._settle_reserve(running.book)

    asyncio.run(paid_in())
    assert venue.moved == [("USDT", 5 * MINOR, "reserve1xBTC3L")]
    assert len(alarms) == (0 if moved else 1)


def test_the_reserve_pays_in_the_order_in_which_it_was_needed_and_what_came_back_pays_others():
    def wiped(name: str, *covers: tuple[int, int]) -> tuple[str, str, TokenState]:
        return name, "USDT", TokenState(status="wiped", covers=tuple(Cover(*cover) for cover in covers))

    first, second = wiped("B", (1, 60)), wiped("A", (2, 50), (4, -50))
    paid, unpaid = payments([second, first], 100, {})
    assert [due.reference for due in paid] == ["reserve1xB"]
    assert [due.reference for due in unpaid] == ["reserve1xA", "reserve2xA"]
    third = wiped("C", (5, 45))
    # What came unasked is the reserve's, each currency for itself.
    assert payments([second, first], 100, {"USDT": 10**9, "EUR": 5})[1] == []
    assert payments([second, first], 100, {"EUR": 10**9}) == payments([second, first], 100, {})
    paid, unpaid = payments([second, third, wiped("B", (1, 60), (3, -10))], 100, {})
    assert [(due.reference, due.amount) for due in paid] == [
        ("reserve1xB", 60),
        ("reserve2xB", -10),
        ("reserve1xC", 45),
    ]
    assert [due.token for due in unpaid] == ["A", "A"]
    paid, unpaid = payments([wiped("D", (1, 100)), ("E", "EUR", wiped("E", (1, 100))[2])], 100, {})
    assert unpaid == []  # of each currency


def test_what_comes_back_by_a_late_report_is_taken_after_what_it_comes_back_of():
    """The venue pays out nothing of an account that owes; its report may tell a time before the reserve was asked."""
    covers = (Cover(20, 500), Cover(30, 40), Cover(10, -60), Cover(25, 5))
    late = "B", "USDT", TokenState(status="wiped", covers=covers)
    other = "A", "USDT", TokenState(status="wiped", covers=(Cover(25, 7),))
    paid, unpaid = payments([late, other], 1_000, {})
    assert unpaid == []
    assert [(due.reference, due.amount) for due in paid] == [
        ("reserve1xB", 500), ("reserve1xA", 7), ("reserve2xB", 40), ("reserve3xB", -60), ("reserve4xB", 5),
    ]  # fmt: skip


class _Virtual:
    def __init__(self, now_ms: int) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def wall_time(self, time_ms: int) -> datetime:
        return datetime.fromtimestamp(time_ms / 1000, UTC)

    async def sleep_ms(self, length_ms: float) -> None:
        self.time_ms += max(round(length_ms), 0)
        await asyncio.sleep(0)

    async def sleep_or(self, event: asyncio.Event, length_ms: float) -> None:
        await event.wait() if event.is_set() else await self.sleep_ms(length_ms)


def test_a_replay_gives_each_bar_at_its_time_and_goes_on_from_any():
    def series(symbol: str, times: list[int], closes: list[float]) -> Prices:
        return Prices(np.array(times), np.array(closes), volume=np.ones(len(times)), symbol=symbol)

    feed = ReplayFeed(
        [series("A", [60_000, 120_000, 180_000], [1.0, 2.0, 3.0]), series("B", [120_000, 240_000], [10.0, 20.0])],
        [Settlement("A", 120_000, 1e-4), Settlement("B", 60_000, 2e-4)],
    )

    async def played(start_ms: int) -> list[tuple[int, str, float, float]]:
        clock, found = _Virtual(start_ms), []
        async for quotes in feed.batches(clock):
            assert {quote.time_ms for quote in quotes} == {clock.now_ms()}
            found += [(quote.time_ms, quote.symbol, quote.mark, quote.volume_24h) for quote in quotes]
        return found

    assert (feed.first_ms, feed.last_ms) == (120_000, 240_000.0)
    whole = asyncio.run(played(0))
    # Less than 24 h of volume is scaled to 24 h: 1 in a minute, 1 in two.
    assert whole == [(60_000, "A", 1.0, 1440.0), (120_000, "A", 2.0, 1440.0), (120_000, "B", 10.0, 720.0),
                     (180_000, "A", 3.0, 1440.0), (240_000, "B", 20.0, 720.0)]  # fmt: skip
    assert asyncio.run(played(120_000)) == whole[3:]
    assert [quote.mark for quote in feed.quotes_at(200_000)] == [3.0, 10.0]
    assert [due.symbol for due in feed.settlements(0, 120_000)] == ["B", "A"]
    assert feed.settlements(60_000, 119_999) == []


def test_a_file_that_names_no_symbol_needs_one(tmp_path):
    prices, _ = gr.make_market(days=2, interval="1h")
    prices.frame.drop("symbol", strict=False).write_csv(tmp_path / "a.csv")
    with pytest.raises(InputError, match="does not say which symbol"):
        read_replay(tmp_path / "a.csv", None, "")
    assert read_replay(tmp_path / "a.csv", None, "BTC").symbols == ("BTC",)


def test_volatility_is_that_of_the_moves():
    draw = np.random.default_rng(5)
    moves = draw.normal(0.0, 0.04 / math.sqrt(24), 5_000)
    known = Volatility(memory_ms=400 * 86_400_000)
    assert math.isnan(known.daily)
    for n, price in enumerate(np.exp(np.cumsum(moves)).tolist()):
        known.see(price, (n + 1) * HOUR_MS)
    assert known.daily == pytest.approx(0.04, rel=0.05)
    before = known.daily
    known.see(math.nan, 10**12)
    known.see(9.0, 1)
    assert known.daily == before


@pytest.fixture
def store(plan: Planned):
    init_database(plan.database, "demo", 1)
    with Store(plan.database) as found:
        yield found


def watchdog(past: Past, store: Store, now_ms: int, **limits: Any) -> Watchdog:
    async def made() -> Engine:  # an engine wants a loop
        return Engine(past.driver, Outbox(1, 1), {}, Nothing(), _Virtual(now_ms))

    engine = asyncio.run(made())
    return Watchdog(engine, store, BreakerLimits(**limits), now_ms)


class Nothing:
    async def keep(self, effects: Any, rows: Any = (), answers: Any = ()) -> None:
        raise AssertionError("nothing is kept here")


def moved(past: Past, factor: float) -> int:
    """Lets every price move at once, ten minutes later; the index confirms it."""
    driver = past.driver
    now_ms = max(running.state.attended_ms for running in driver.tokens) + 600_000
    quotes = [Quote(symbol=symbol, time_ms=now_ms, mark=driver.market.price(symbol) * factor,
                    index=driver.market.price(symbol) * factor) for symbol in past.feed.symbols]  # fmt: skip
    for quote in quotes:
        driver.market.take(quote, now_ms)
    return now_ms


@pytest.mark.parametrize(("drop", "halted"), [(0.30, {"BTC3L"}), (0.20, {"BTC3L", "ETH2L", "TOP2L"}), (0.5, set())])
def test_the_watchdog_halts_the_tokens_whose_nav_fell_too_far(past, store, drop, halted):
    start_ms = past.driver.tokens[0].state.attended_ms
    dog = watchdog(past, store, start_ms, nav_drop=drop)
    dog.look()
    dog._engine.clock.time_ms = moved(past, 0.88)
    dog.look()
    dog.look()
    assert {running.name for running in past.driver.tokens if running.state.status == "halted"} == halted
    assert len(past.driver.taken().alarms) == len(halted)


@pytest.mark.parametrize(("least", "halted"), [(1.0, 0), (1_000.0, 4)])
def test_the_watchdog_halts_the_tokens_whose_margin_is_short(past, store, least, halted):
    watchdog(past, store, past.driver.tokens[0].state.attended_ms, margin_least=least).look()
    assert [running.state.status for running in past.driver.tokens].count("halted") == halted


@pytest.mark.parametrize(("now", "halted"), [(1.0, True), (0.1, False), (0.0, False)])
def test_the_margin_is_that_of_the_position_now(past, store, now, halted):
    """The venue's last statement is of before nearly everything was redeemed."""
    running = next(one for one in past.driver.tokens if len(one.book.tokens) == 1)
    spec = running.spec
    legs = tuple(msgspec.structs.replace(leg, margin_tiers=()) for leg in spec.token.legs)
    running.spec = Spec(msgspec.structs.replace(spec.token, legs=legs))
    dog = watchdog(past, store, running.state.attended_ms, margin_least=1.5)
    equity = to_float(running.state.equity)
    dog._engine.maintenance[running.book.name] = AskedMargin(0.8 * equity, notional(running))
    held = tuple(msgspec.structs.replace(leg, lots=int(leg.lots * now), basis=int(leg.basis * now))
                 for leg in running.state.legs)  # fmt: skip
    running.state = msgspec.structs.replace(running.state, legs=held)
    view = dog.view(running, running.state.attended_ms)
    dog.look()
    dog.look()
    assert (running.state.status == "halted") == halted
    assert view.headroom == (
        None if now == 0.0 else pytest.approx(view.outlook.equity / (0.8 * equity * now), rel=1e-2)
    )


def test_the_watchdog_tells_of_prices_that_stay_away(past, store, plan):
    late_ms = plan.start_ms + 120_000 + 61_000
    dog = watchdog(past, store, late_ms)
    dog.look()
    alarms = past.driver.taken().alarms
    assert len(alarms) == 4
    assert all("no good price for 61 s" in words for words in alarms)
    assert dog.view(past.driver.tokens[0], late_ms).health == "the price is stale"
    over: list[str] = []
    dog.on_over = lambda token, words: over.append(f"{token}: {words}")
    dog._engine.clock = _Virtual(moved(past, 1.0))
    dog.look()
    assert over == alarms


def test_a_desk_has_dead_cycles_looked_for_seldom_takes_short_turns_and_leaves_python_as_it_was():
    usual, turn_s = gc.get_threshold(), sys.getswitchinterval()
    with of_a_desk():
        assert gc.get_threshold()[0] > 10 * usual[0]
        assert gc.get_freeze_count() > 0
        assert sys.getswitchinterval() < turn_s / 10
    assert (gc.get_threshold(), sys.getswitchinterval()) == (usual, turn_s)
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize(("written", "minor"), [
    ("0.29", 29_000_000), ("0.57", 57_000_000), ("1000000.07", 100_000_007_000_000), ("100000", 10_000_000_000_000),
    ("0", 0), ("0.123456789", 12_345_678),
])  # fmt: skip
def test_the_reserve_is_what_was_written(written, minor):
    assert parse_desk(f"reserve = {written}").reserve_minor == minor
