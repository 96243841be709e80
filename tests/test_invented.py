"""The demo's invented holders: reproducible, asked once, seen, and nobody else's NAV notices."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from types import SimpleNamespace

import msgspec
import pytest

from gearing.cli.console import rendered
from gearing.core.holder import DEALER
from gearing.core.primary import Primary as Terms
from gearing.desk import invented
from gearing.desk.config import DeskConfig, TokenEntry
from gearing.desk.counter import answer
from gearing.desk.desk import prepare
from gearing.desk.flows import Flows, FlowsView, LastDealt
from gearing.desk.happenings import happenings
from gearing.desk.inbox import Inbox
from gearing.desk.invented import HOLDERS, SLOT_MS, HoldersAtWork, InventedHolders
from gearing.desk.planned import planned
from gearing.desk.requests import Deal, Pay, encode, wanted_of
from gearing.desk.view import DeskView
from gearing.drive.effects import Effects
from gearing.store.records import Request
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.lives import token
from tests.test_primary import Market, market

NOW_MS = 1_767_312_000_000


def lived(path, days=2.0):
    """A demo with a past; returns its plan."""
    plan = planned(DeskConfig(database="desk.db", history_days=days), path)
    prepare(plan, lambda done, total: None)
    return plan


def journal(plan):
    with Store(plan.database) as store:
        return {
            stream: [json.loads(line.body)["event"] for line in store.lines(stream)]
            for stream in store.streams()
            if not stream.startswith("book:")
        }


@pytest.fixture
def busy(monkeypatch):
    monkeypatch.setattr(invented, "PAST_EVERY", 2)


def test_a_past_with_holders_is_reproducible_and_sound(tmp_path, busy):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = lived(tmp_path / "a"), lived(tmp_path / "b")
    found = journal(one)
    assert found == journal(two)
    assert verify(one.database).breaches == ()
    events = Counter(event["event"] for lines in found.values() for event in lines)
    kinds = Counter(event["kind"] for lines in found.values() for event in lines if event["event"] == "dealt")
    assert events["dealing_settled"] > 40
    assert events["operated"] == 0  # a breach of U3 would have halted its token
    assert min(kinds["matched"], kinds["hedged"]) > 10
    assert min(events["withdrawn"], events["released"]) > 0
    assert set(HOLDERS) <= {stream.partition(":")[2] for stream in found}
    # Several of one side share a hedge.
    assert max(len(event["parts"]) for lines in found.values() for event in lines if event["event"] == "flow_named") > 1


def test_only_the_demos_own_tokens_have_invented_holders(tmp_path):
    (tmp_path / "a.toml").write_text('symbol = "T"\ntarget = 2\nrule = "daily-etf"\n[[legs]]\nsymbol = "BTCUSDT"\n')
    given = DeskConfig(database="desk.db", history_days=1, tokens=(TokenEntry(file="a.toml"),))
    assert not planned(given, tmp_path).invents_holders
    assert planned(DeskConfig(), tmp_path).invents_holders


def holders(desk, seed=1):
    feed = SimpleNamespace(quotes_at=lambda time_ms: [SimpleNamespace(symbol="A", mark=100.0)])
    return InventedHolders(seed, feed, desk.driver)


def test_what_is_asked_hangs_on_seed_and_time_alone():
    desk = market()
    for seed in (1, 2):
        slots = [list(holders(desk, seed).asked(slot, 4)) for slot in range(400)]
        assert slots == [list(holders(desk, seed).asked(slot, 4)) for slot in range(400)]
        assert 70 < sum(map(bool, slots)) < 130
    assert list(holders(desk, 1).asked(7, 1)) != list(holders(desk, 2).asked(7, 1))


def test_now_and_then_more_is_asked_than_a_cap_allows(tmp_path):
    plan = planned(DeskConfig(), tmp_path)
    cap = plan.tokens[0].token.primary.largest
    desk = market()
    wanted = [one for slot in range(500) for one in holders(desk).asked(slot, 1) if isinstance(one, Deal)]
    beyond = sum(one.amount > cap * 10**8 for one in wanted) / len(wanted)
    assert 0.01 < beyond < 0.15


def test_what_they_ask_they_can_pay_or_have():
    """Whatever becomes of it; only a cap refuses it, or a cancellation of what was refused."""
    desk = market()
    refused = []
    for slot in range(300):
        for wanted in holders(desk).asked(slot, 3):
            answered = answer(desk.driver, wanted, desk.now_ms)
            if isinstance(wanted, (Pay, Deal)) and not answered.done:
                refused.append(answered.words)
        desk.window()
    assert refused == []
    assert desk.it.state.dealings > 20


def test_a_desk_that_begins_again_asks_nothing_twice(tmp_path):
    plan = lived(tmp_path, days=0.1)
    asked = SimpleNamespace(asked=lambda slot, every, at_once: [
        Pay(holder="d01", asset="USDT", amount=next(amounts), reference="r", by="demo"),
        Deal(holder="d01", token="BTC3L", side="subscribe", amount=100 * 10**8),
    ])  # fmt: skip
    amounts = iter((500, 700))  # what it has may be another when it is asked again
    engine = SimpleNamespace(clock=SimpleNamespace(now_ms=lambda: NOW_MS + 5))

    async def life():
        async def sleep_ms(length_ms):
            assert length_ms == SLOT_MS - 5
            raise asyncio.CancelledError

        engine.clock.sleep_ms = sleep_ms
        with Store(plan.database, "demo") as store, pytest.raises(asyncio.CancelledError):
            await HoldersAtWork(asked, engine, store).run()

    asyncio.run(life())
    asyncio.run(life())
    with Store(plan.database) as store:
        found = [wanted_of(request.body) for request in store.requests()]
    assert [type(one) for one in found] == [Pay, Pay, Deal]
    assert (found[0].holder, found[1].amount) == (DEALER, 500)


def test_the_console_shows_who_waits_and_what_was_dealt_last():
    class Followed(Market):
        def take(self):
            placed = super().take()
            flows.see(self.effects)
            return placed

    flows = Flows()
    desk = Followed()
    desk.opened()
    assert flows.view(desk.driver) is None
    desk.deposit("h1", 60_000)
    desk.ask("h1", "subscribe", 50_000 * 10**8)
    desk.ask("issuer", "redeem", 100 * 10**8)
    assert flows.view(desk.driver) == FlowsView(holders=1, subscribing=1, redeeming=1)
    desk.window()
    last = flows.view(desk.driver).last
    assert (last.token, round(last.met), last.went) == ("T", 10000, 0.0)
    assert last.came == pytest.approx(50_000 - last.met)
    desk.ask("h1", "redeem", 10**8)
    desk.window()
    again = flows.view(desk.driver).last
    assert (again.met, again.came) == (0.0, 0.0)
    assert again.went == pytest.approx(99.4, abs=0.2)
    flows.see(Effects())
    view = DeskView(mode="demo", database="x", running=True, market_ms=last.time_ms + 180_000, speed=600.0,
                    flows=msgspec.structs.replace(flows.view(desk.driver), subscribing=2, last=last))  # fmt: skip
    assert "holders  1 · 2 in wait · T 3 min ago: 10k met, 40k in" in rendered(view, 80)
    quiet = msgspec.structs.replace(view, flows=FlowsView(holders=3, last=LastDealt(token="T", time_ms=1, went=5.0)))
    assert "holders  3 · nobody waits · T" in rendered(quiet, 80)
    assert max(len(line) for line in rendered(view, 80).splitlines()) <= 80


def test_some_deal_at_once_where_the_dealing_account_has_money():
    desk, flows = market(token("A", primary=Terms(quote_valid="1m"))), Flows()
    desk.deposit(DEALER, 250_000)
    deals, dealt, told = [], 0, []
    for slot in range(200):
        for wanted in holders(desk).asked(slot, 3, 0.5):
            answered = desk.judged(wanted)
            if isinstance(wanted, Deal):
                deals.append(wanted.instant)
                dealt += answered.quote is not None
            flows.see(desk.effects)
            told += [one.words for one in happenings(desk.effects) if one.kind == "exchanged"]
            desk.take()
        desk.window()
    assert 0.3 < sum(deals) / len(deals) < 0.7
    assert 0 < dealt <= sum(deals)
    assert flows.view(desk.driver).last.at_once > 0.0
    assert len(told) == dealt
    assert re.fullmatch(r"\w+ (subscribed|redeemed) at once: [\d.,]+ units for [\d.,]+", told[0])
    assert flows.view(desk.driver).holders == len(desk.primary.holders) - 2
    assert desk.alarms == []


def test_a_deal_that_is_refused_is_told_of_and_nothing_else_is():
    desk, told = market(), []
    engine = SimpleNamespace(driver=desk.driver, clock=SimpleNamespace(now_ms=lambda: desk.now_ms))
    inbox = Inbox(engine, None)
    inbox.on_rejected = lambda wanted, answered: told.append((wanted.holder, answered.words))
    for wanted in (
        Pay(holder="h1", asset="USDT", amount=-5, reference="r", by="ann"),
        Deal(holder="h1", token="T", side="redeem", amount=10**8),
        Pay(holder="h1", asset="USDT", amount=5 * 10**8, reference="s", by="ann"),
        Deal(holder="h1", token="T", side="subscribe", amount=5 * 10**8),
    ):
        inbox.carry_out(Request(1, "ann", "k", encode(wanted)))
    assert told == [("h1", "there is no holder h1; a first deposit makes one")]
