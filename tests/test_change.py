"""A running token gets another specification: what may change, what that does, and that the journal follows it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import msgspec
import pytest

import gearing as gr
from gearing.core import events as ev
from gearing.core.changes import change_problems, differences
from gearing.core.journal import line_of
from gearing.core.spec_text import format_token
from gearing.core.step_result import StepError
from gearing.core.terms import Spec
from gearing.core.working import attribution_now
from gearing.desk.boot import boot, spec_of
from gearing.desk.config import DeskConfig, TokenEntry
from gearing.desk.desk import prepare
from gearing.desk.inbox import Inbox
from gearing.desk.margins import Margins
from gearing.desk.planned import Planned, differing, planned
from gearing.desk.requests import Change, encode
from gearing.drive.driver import Driver
from gearing.drive.effect import effect_of
from gearing.drive.margining import MarginChoice
from gearing.drive.market import Market
from gearing.store.export import exported
from gearing.store.recompute import recompute
from gearing.store.records import Commit, Request
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.lives import Life, token

DAY_MS = 86_400_000


def changed(life, fresh, by="ann", reason="less risk"):
    """Changes a life's token."""
    life.now_ms += 60_000
    orders = life.do(ev.SpecificationChanged(time_ms=life.now_ms, token=fresh, by=by, reason=reason))
    life.spec = Spec(fresh)
    return orders


def test_a_chain_may_go_on_with_further_contracts_and_lose_none():
    def chain(*expiries: str, **more: Any) -> gr.Token:
        contracts = tuple(gr.Contract(symbol=f"BTC{k}", expiry=expiry) for k, expiry in enumerate(expiries))
        return gr.Token(symbol="T", target=2.0, legs=(gr.DatedFuture(symbol="BTC", contracts=contracts, **more),))

    held = chain("2026-03-27", "2026-06-26")
    assert change_problems(held, chain("2026-03-27", "2026-06-26", "2026-09-25")) == []
    for fresh in (chain("2026-03-27"), chain("2026-03-27", "2026-07-31"), chain("2026-06-26", "2026-09-25"),
                  chain("2026-03-27", "2026-06-26", "2026-09-25", roll_days=1)):  # fmt: skip
        assert change_problems(held, fresh) != []


def test_differences_are_named_field_by_field():
    old = token("A", "B", fees=gr.Fees(management_per_day=0.001))
    rule = gr.Rule(deviation=0.1, schedule=(gr.Schedule(times=("00:02",)),))
    fresh = token("A", "B", target=2.0, weights=[0.25, 0.75], rule=rule, limits=gr.Limits(largest_order=5e5))
    assert differences(old, old) == ()
    assert {one.place: (one.old, one.new) for one in differences(old, fresh)} == {
        "target": ("3", "2"),
        "legs[0].weight": ("0.5", "0.25"),
        "legs[1].weight": ("0.5", "0.75"),
        "fees.management_per_day": ("0.001", "0"),
        "limits.largest_order": ("none", "500000"),
        "rule.schedule": ("none", "[{ times = [00:02] }]"),
    }


def test_a_presets_levels_are_seen_to_move_with_the_target():
    old, fresh = (token(target=target, rule="ftx") for target in (3.0, 2.0))
    found = {one.place: (one.old, one.new) for one in differences(old, fresh)}
    assert found["target"] == ("3", "2")
    assert any(place.startswith("rule.") for place in found)
    assert differences(old, token(rule=old.resolved_rule)) == ()


@pytest.mark.parametrize(
    ("fresh", "place"),
    [
        (gr.Token(symbol="U", target=3.0, legs=token().legs), "symbol"),
        (token(settlement="USDC"), "settlement"),
        (token(initial_nav=10.0), "initial_nav"),
        (token("A", "B"), "legs"),
        (token("B"), "legs[0].symbol"),
        (gr.Token(symbol="T", target=3.0, legs=(gr.Perpetual(symbol="A", lot=1.0),)), "legs[0].lot"),
        (gr.Token(symbol="T", target=3.0, legs=(gr.Perpetual(symbol="A", multiplier=10.0),)), "legs[0].multiplier"),
        (gr.Token(symbol="T", target=3.0, legs=(gr.DatedFuture(symbol="A"),)), "legs[0].kind"),
    ],
)
def test_what_was_booked_in_it_does_not_change(fresh, place):
    problems = change_problems(token("A"), fresh)
    assert [problem.place for problem in problems] == [place]
    life = Life(token("A")).opened()
    with pytest.raises(StepError, match="cannot change while the token runs"):
        life.do(ev.SpecificationChanged(time_ms=life.now_ms, token=fresh, by="ann", reason="as planned"))


def test_what_may_change():
    tiers = (gr.MarginTier(rate=0.01),)
    fresh = gr.Token(
        symbol="T", target=-1.0, rule="gate", name="another", fees=gr.Fees(all_in=True), limits=gr.Limits(supply_cap=9),
        costs=gr.Costs(taker_fee=0.001), legs=(gr.Perpetual(symbol="A", margin_tiers=tiers, min_notional=5, tick=0.1),),
    )  # fmt: skip
    assert change_problems(token("A"), fresh) == []


def test_a_clock_that_lies_before_the_change_does_not_run_out():
    life = Life(token(rule=gr.Rule())).opened()
    life.mark(103.0)  # 12:02, and nothing is attended to until 12:06
    life.now_ms += 3 * 60_000
    changed(life, token(rule=gr.Rule(schedule=(gr.Schedule(times=("12:04",)),))))
    assert life.mark(103.0) == []
    assert life.mark(103.0, after_ms=DAY_MS) != []


def test_what_was_before_the_change_is_attributed_by_the_target_it_had():
    lives = [Life(token(target=3.0, rule=gr.Rule())).opened() for _ in range(2)]
    for life in lives:
        life.mark(110.0)
    parts = attribution_now(lives[0].spec, lives[0].state)
    changed(lives[1], token(target=-1.0, rule=gr.Rule()))
    assert attribution_now(lives[1].spec, lives[1].state)[:6] == pytest.approx(parts[:6])


def test_the_index_goes_on_from_where_it_was_under_other_weights():
    life = Life(token("A", "B", rule=gr.Rule())).opened()
    life.mark(150.0, 100.0)
    parts = attribution_now(life.spec, life.state)
    changed(life, token("A", "B", weights=[0.1, 0.9], rule=gr.Rule()))
    assert attribution_now(life.spec, life.state) == pytest.approx(parts)
    assert life.state.index == 1.25
    assert [leg.index_ref for leg in life.state.legs] == [150.0, 100.0]


def test_a_days_fee_is_booked_before_the_change():
    fees = gr.Fees(management_per_day=0.001)
    life = Life(token(fees=fees, rule=gr.Rule())).opened()
    life.now_ms += DAY_MS
    event = ev.SpecificationChanged(time_ms=life.now_ms, token=token(rule=gr.Rule()), by="ann", reason="no fee")
    with pytest.raises(StepError, match="fee of a day"):
        life.do(event)
    life.now_ms -= DAY_MS
    life.mark(100.0, after_ms=DAY_MS)
    assert life.state.balances.fees != 0
    owed, equity = life.state.balances.fees, life.state.equity
    changed(life, token(rule=gr.Rule()))
    part = life.now_ms % DAY_MS / DAY_MS  # of the day of the change, at the former rate
    owed -= int(equity * (1 - (1 - 0.001) ** part))
    assert life.state.balances.fees == owed
    life.mark(100.0, after_ms=DAY_MS)
    assert life.state.balances.fees == owed


@pytest.mark.parametrize(("by", "reason"), [("", "why"), ("ann", "")])
def test_a_change_has_a_name_and_a_reason(by, reason):
    with pytest.raises(StepError, match="a name and a reason"):
        changed(Life(), token(target=2.0), by, reason)


def test_a_token_that_is_over_keeps_its_specification():
    life = Life()
    life.operate("close")
    with pytest.raises(StepError, match="closed keeps its specification"):
        changed(life, token(target=2.0))


def test_the_effect_is_what_then_happens():
    life = Life().opened()
    fresh = token(target=2.0)
    effect = effect_of(life.spec, Spec(fresh), life.state, life.now_ms + 60_000)
    assert (effect.reason, effect.trade.side) == ("band", "sell")
    assert effect.outlook.target == 2.0
    quiet = effect_of(life.spec, Spec(token(limits=gr.Limits(supply_cap=9.0))), life.state, life.now_ms)
    assert (quiet.trade, quiet.reason) == (None, "")
    changed(life, fresh)
    (order,) = life.mark(100.0)
    assert (order.lots,) == effect.trade.lots


# On a desk.


@pytest.fixture
def plan(tmp_path: Path) -> Planned:
    return planned(DeskConfig(database="desk.db", history_days=0.5), tmp_path)


@pytest.fixture
def driver(plan: Planned):
    prepare(plan, lambda done, total: None)
    with Store(plan.database) as store:
        market = Market(plan.guard)
        booted = boot(store, market, window_ms=2_000, visibility_ms=1_000, now_ms=store.last_ms())
        yield booted.driver


def ask(driver: Driver, fresh, after_ms: int = 1, by: str = "ann", reason: str = "less risk"):
    """Has the inbox carry a change out."""
    now_ms = max(running.state.attended_ms for running in driver.tokens) + after_ms
    return answer(driver, encode(Change(specification=fresh, by=by, reason=reason)), now_ms)


rechecked: list[str] = []


def answer(driver: Driver, body: bytes, now_ms: int):
    store: Any = None
    engine: Any = SimpleNamespace(driver=driver, clock=SimpleNamespace(now_ms=lambda: now_ms),
                                  margins=Margins({"ETH2L": MarginChoice(4.0)}), recheck=rechecked.append)  # fmt: skip
    return Inbox(engine, store).carry_out(Request(1, "ann", f"k{crc32(body)}", body))


def test_the_inbox_changes_a_token_and_arms_it_anew(driver, plan):
    running = driver.by_name["ETH2L"]
    before = running.horizon
    fresh = msgspec.structs.replace(running.spec.token, rule=gr.Rule(band_lower=1.5, band_upper=2.5))
    answered = ask(driver, fresh)
    assert answered.done, answered.words
    assert "rule.band_lower, rule.band_upper" in answered.words
    assert running.spec.token == fresh
    assert rechecked[-1] == "ETH2L"
    assert running.horizon.below[0] < before.below[0] < before.above[0] < running.horizon.above[0]
    effects = driver.taken()
    assert line_of(effects.lines[-1].body).event.by == "ann"
    with Store(plan.database) as store:
        store.commit([Commit(lines=tuple(effects.lines), states=tuple(effects.states.values()))])
        assert spec_of(store, "ETH2L") == fresh
        again = boot(store, Market(plan.guard), window_ms=1, visibility_ms=1, now_ms=store.last_ms()).driver
        assert again.by_name["ETH2L"].spec.token == fresh
        assert again.by_name["ETH2L"].horizon == running.horizon
    assert verify(plan.database).breaches == ()


def test_the_inbox_says_why_it_changes_nothing(driver):
    running = driver.by_name["BTC3L"]
    old = running.spec.token
    fresh = msgspec.structs.replace(old, target=2.0)
    assert "already" in ask(driver, old).words
    assert "initial_nav: expected" in ask(driver, msgspec.structs.replace(old, initial_nav=1.0)).words
    assert "a name and a reason" in ask(driver, fresh, reason=" ").words
    assert "a clock that ran out" in ask(driver, fresh, after_ms=2 * DAY_MS).words
    driver.publish(running, "minute", running.state.attended_ms, (running.state.legs[0].mark * 1.05,))
    driver.operate(running, "rebalance", "ann", "now", running.state.attended_ms)
    assert "is rebalancing" in ask(driver, fresh).words
    unknown = msgspec.structs.replace(fresh, symbol="NOBODY")
    assert "there is no token NOBODY" in ask(driver, unknown).words
    assert running.spec.token == old
    thin = msgspec.structs.replace(driver.by_name["ETH2L"].spec.token, target=4.5, rule=gr.Rule())
    assert "needs a leverage of 4.5 at the venue" in ask(driver, thin).words


def test_a_request_that_is_no_valid_specification_is_answered(driver):
    body = encode(Change(specification=driver.by_name["BTC3L"].spec.token, by="ann", reason="as planned"))
    answered = answer(driver, body.replace(b'"target":3.0', b'"target":0.0'), 1)
    assert not answered.done
    assert "cannot be read" in answered.words


def test_a_file_that_is_not_what_runs_is_found(tmp_path):
    fresh = gr.Token(symbol="BTC2L", target=2.0, legs=(gr.Perpetual(symbol="BTCUSDT"),))
    (tmp_path / "t.toml").write_text(format_token(fresh))
    config = DeskConfig(database="desk.db", history_days=0, tokens=(TokenEntry(file="t.toml"),))
    plan = planned(config, tmp_path)
    prepare(plan, lambda done, total: None)
    with Store(plan.database) as store:
        assert differing(plan, store) == {}
        (tmp_path / "t.toml").write_text(format_token(msgspec.structs.replace(fresh, target=2.5)))
        plan = planned(config, tmp_path)
        ((file, (name, places)),) = differing(plan, store).items()
    assert (file, name) == (tmp_path / "t.toml", "BTC2L")
    assert [one.place for one in places] == ["target"]


def test_a_journal_with_a_change_is_verified_and_recomputed(driver, plan):
    for name, target in (("BTC3L", 2.0), ("TOP2L", 1.5)):
        running = driver.by_name[name]
        legs = running.spec.token.legs
        weights = (0.4, 0.4, 0.2) if len(legs) == 3 else (1.0,)
        legs = tuple(msgspec.structs.replace(leg, weight=w) for leg, w in zip(legs, weights, strict=True))
        assert ask(driver, msgspec.structs.replace(running.spec.token, target=target, legs=legs)).done
    effects = driver.taken()
    with Store(plan.database) as store:
        store.commit([Commit(lines=tuple(effects.lines), states=tuple(effects.states.values()))])
    verdict = verify(plan.database)
    assert verdict.breaches == ()
    assert verdict.stepped == verdict.lines
    assert recompute(exported(plan.database)).differences == []
