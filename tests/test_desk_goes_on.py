"""A desk that goes on: what it takes up of before, and what it takes up anew."""

from __future__ import annotations

import asyncio

import pytest

from gearing.core.dealing import DEALING
from gearing.core.journal import body_of
from gearing.core.measured import Measured
from gearing.core.spec_text import format_token
from gearing.desk.boot import boot, last_done, resumed_ms, why_of
from gearing.desk.config import DeskConfig, TokenEntry
from gearing.desk.demo import demo_tokens
from gearing.desk.desk import prepare
from gearing.desk.engine import Engine
from gearing.desk.keeper import commit_of
from gearing.desk.planned import planned
from gearing.desk.watchdog import Watchdog
from gearing.drive.breakers import BreakerLimits
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.drive.outbox import Outbox
from gearing.store.database import init_database
from gearing.store.records import Commit, Nav, RebalanceRow
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.paper.engine import Engine as PaperEngine
from tests.test_desk_parts import Nothing, _Virtual

MINUTE_MS = 60_000


def plan_of(place, *entries, **more):
    for token in demo_tokens():
        (place / f"{token.symbol}.toml").write_text(format_token(token))
    return planned(DeskConfig(database="desk.db", tokens=entries, **more), place)


def begun(plan):
    prepare(plan, lambda done, total: None)
    return Store(plan.database)


def test_a_desk_takes_up_another_token_with_a_book_of_its_own(tmp_path):
    one, two = TokenEntry(file="BTC3L.toml"), TokenEntry(file="ETH2L.toml")
    begun(plan_of(tmp_path, one, history_days=0.1)).close()
    with begun(plan_of(tmp_path, one, two, history_days=0.1)) as store:
        driver = boot(
            store, Market(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=store.last_ms()
        ).driver
        issuer = driver.primary.holders["issuer"].state
        assert issuer.held_units("BTC3L") == issuer.held_units("ETH2L") > 0
    assert verify(tmp_path / "desk.db").breaches == ()


def test_a_past_is_margined_as_the_desks_file_says(tmp_path, monkeypatch):
    """What is held cannot be put under another margin mode, and a book where that differs is halted (R5)."""
    plan = plan_of(tmp_path, TokenEntry(file="BTC3S.toml", leverage=8.0, margin_mode="isolated"), history_days=0.5)
    asked, ask = [], PaperEngine.ask

    def seen(self, account, request):
        asked.append(request)
        return ask(self, account, request)

    monkeypatch.setattr(PaperEngine, "ask", seen)
    begun(plan).close()
    kinds = [type(one).__name__ for one in asked]
    assert kinds.index("PutSetting") < kinds.index("Place")
    setting = next(one.setting for one in asked if type(one).__name__ == "PutSetting")
    assert (setting.leverage, setting.margin_mode) == (8.0, "isolated")


def test_a_breaker_counts_from_the_last_resume_over_a_restart(tmp_path):
    with begun(plan_of(tmp_path, TokenEntry(file="BTC3L.toml"), history_days=0.1)) as store:
        now_ms = store.last_ms()
        driver = boot(store, Market(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=now_ms).driver
        (running,) = driver.tokens
        marks = tuple(leg.mark for leg in running.state.legs)
        double = Nav("BTC3L", now_ms, "minute", 2 * running.state.nav, running.state.balances.units, marks)
        driver.operate(running, "halt", "ann", "spike", now_ms + MINUTE_MS)
        driver.operate(running, "pause", "bob", "quiet", now_ms + MINUTE_MS)
        assert driver.tokens[0].why == "ann: spike"
        store.commit([commit_of(driver.taken(), (), ()), Commit(navs=(double,))])
        assert why_of(store, "BTC3L", "halted") == "ann: spike"
        driver.operate(running, "resume", "ann", "fine", now_ms + 2 * MINUTE_MS)
        store.commit([commit_of(driver.taken(), (), ())])
        assert resumed_ms(store, "BTC3L") == now_ms + 2 * MINUTE_MS

        async def made():
            return Engine(driver, Outbox(1, 1), {}, Nothing(), _Virtual(now_ms + 3 * MINUTE_MS))

        dog = Watchdog(asyncio.run(made()), store, BreakerLimits(nav_drop=0.3), now_ms + 3 * MINUTE_MS)
        assert not dog._breakers["BTC3L"]._peaks


@pytest.mark.parametrize("hedges", [0, 1, 99, 100, 101, 350])
def test_the_last_rebalance_is_found_behind_any_number_of_hedges(tmp_path, hedges):
    init_database(tmp_path / "desk.db", "demo", MINUTE_MS)
    reasons = ["band", "band", *[DEALING] * hedges]
    of = [Measured(token="T", epoch=n, reason=reason, aim=3.0, started_ms=n, ended_ms=n, before=3.3, fills=1, legs=())
          for n, reason in enumerate(reasons, 1)]  # fmt: skip
    with Store(tmp_path / "desk.db", "demo") as store:
        assert last_done(store, "T") is None
        store.commit(
            [Commit(rebalances=tuple(RebalanceRow("T", one.epoch, one.started_ms, body_of(one)) for one in of))]
        )
        assert last_done(store, "T") == of[1]
