"""Whose requests a flow is made of stands in a stream of its own; the token's line has their count and digest."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing

import msgspec
import pytest

from gearing.core.events import Part
from gearing.core.flow_parts import FlowNamed, FlowsError, FlowsState, digest_of, flows_step
from gearing.core.money import MINOR
from gearing.desk.boot import boot, flow_of
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.drive.starts import Starts
from gearing.store.database import connect
from gearing.store.recompute import recompute
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.forged import NAMES, desk, found, is_sound, subscribed
from tests.journals import lines_of

__all__ = ["desk"]

PARTS = (Part("h0", "h0.1", 5), Part("h1", "h1.7", 9))


def named(number, parts=PARTS):
    return FlowNamed(time_ms=1, number=number, parts=parts, salt="s")


def test_flows_are_named_in_turn_and_none_is_empty():
    state = flows_step(FlowsState(), named(3))
    assert state == FlowsState(number=3)
    for wrong in (named(3), named(2), named(4, ())):
        with pytest.raises(FlowsError, match="cannot follow flow 3"):
            flows_step(state, wrong)


def test_the_digest_is_that_of_salt_and_parts_as_they_stand_in_the_file():
    text = json.dumps(["salt", [["h0", "h0.1", 5], ["h1", "h1.7", 9]]], separators=(",", ":"))
    assert digest_of(PARTS, "salt") == hashlib.sha256(text.encode()).hexdigest()[:32]
    assert digest_of(PARTS[::-1], "salt") != digest_of(PARTS, "salt") != digest_of(PARTS, "pepper")


def test_whoever_guesses_the_requests_cannot_tell_them_from_their_digest():
    """The salt comes from the desk's secret, and is another one for each flow."""
    salts = {Starts(secret).salt(token, number) for secret in ("a", "b") for token in "TU" for number in (1, 2)}
    assert len(salts) == 8
    assert Starts("a").salt("T", 1) == Starts("a").salt("T", 1)


def test_a_tokens_journal_names_no_holder(desk):
    subscribed(desk, *NAMES)
    desk.ask("h1", "redeem", 5 * MINOR)
    desk.ask("h2", "subscribe", 900 * MINOR)
    desk.window()
    desk.window()
    assert is_sound(desk)
    with Store(desk.path) as store:
        bodies = [line.body for line in store.lines("token:T")]
        flows = [json.loads(line.body)["event"] for line in store.lines("flows:T")]
    assert not any(name.encode() in body for name in NAMES for body in bodies)
    begun = [json.loads(body)["event"] for body in bodies if b'"dealing_begun"' in body]
    assert [event["number"] for event in flows] == list(range(1, len(begun) + 1))
    assert [len(event["parts"]) for event in flows] == [event["count"] for event in begun]
    assert {part[0] for event in flows for part in event["parts"]} >= set(NAMES)


def test_a_flow_whose_requests_are_others_than_the_token_says_is_found(desk, monkeypatch):
    name_flow = Driver.name_flow

    def forged(self, running, event):
        first, *others = event.parts
        event = msgspec.structs.replace(event, parts=(msgspec.structs.replace(first, holder="h9"), *others))
        return name_flow(self, running, event)

    monkeypatch.setattr(Driver, "name_flow", forged)
    subscribed(desk, *NAMES)
    assert any("as flows:T says" in one.expected for one in verify(desk.path).breaches)


def test_a_flow_that_is_named_and_never_begun_is_found(desk):
    subscribed(desk, *NAMES)
    assert is_sound(desk)
    desk.driver.name_flow(desk.it, named(9))
    desk.take()
    assert found(desk) == [("flows:T", "share")]


def test_a_flow_that_is_named_out_of_turn_is_found(desk, monkeypatch):
    subscribed(desk, *NAMES)
    monkeypatch.setattr("gearing.drive.driver.flows_step", lambda state, event: FlowsState(number=event.number))
    desk.driver.name_flow(desk.it, named(1))
    desk.take()
    assert ("flows:T", "step") in found(desk)


def test_a_flow_that_is_not_named_is_found(desk, monkeypatch):
    monkeypatch.setattr(Driver, "name_flow", lambda *_: None)
    subscribed(desk, *NAMES)
    assert ("token:T", "share") in found(desk)


def begun(desk):
    """Begins a flow, whose hedge is not filled."""
    for name in NAMES:
        desk.ask(name, "subscribe", 4_000 * MINOR)
    desk.steady()
    assert desk.quote(100.0, after_ms=1)
    with Store(desk.path) as store:
        assert [ask.holder for ask in flow_of(store, "T")] == list(NAMES)


def test_a_start_takes_the_flow_under_way_from_its_last_line_and_from_no_other(desk):
    subscribed(desk, *NAMES, amount=1_000 * MINOR)
    begun(desk)
    with closing(connect(desk.path)) as raw, raw:
        last = raw.execute("SELECT max(seq) FROM journal WHERE stream = 'flows:T'").fetchone()[0]
        raw.execute("DELETE FROM journal WHERE stream = 'flows:T' AND seq = ?", (last,))
    with Store(desk.path) as store, pytest.raises(TypeError, match="does not name the requests of its last dealing"):
        flow_of(store, "T")


def test_without_the_streams_that_name_holders_every_nav_is_worked_out(desk):
    subscribed(desk, *NAMES)
    public = [line for line in lines_of(desk.path) if b'"stream":"token:' in line]
    report = recompute(public)
    assert [one for one in report.differences if "chain" not in str(one) and "n" not in str(one)] == []


def test_a_desk_goes_on_with_its_flows_after_a_restart(desk):
    subscribed(desk, *NAMES)
    with Store(desk.path) as store:
        booted = boot(store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=desk.now_ms)
    running = booted.driver.by_name["T"]
    assert (running.flows_state, running.flows_head) == (desk.it.flows_state, desk.it.flows_head)
    assert running.flows_head.seq == running.flows_state.number > 0


def test_a_token_whose_flows_are_damaged_is_not_run(desk):
    subscribed(desk, *NAMES)
    with closing(connect(desk.path)) as raw, raw:
        raw.execute("UPDATE states SET body = x'7b' WHERE stream = 'flows:T'")
    with Store(desk.path) as store:
        booted = boot(store, Prices(GuardLimits()), window_ms=1, visibility_ms=1, now_ms=desk.now_ms)
    assert "T" not in booted.driver.by_name
    assert "flows:T is not run" in booted.faults["token:T"]


def test_a_flow_that_began_while_a_verification_runs_is_none_too_many(desk, monkeypatch):
    subscribed(desk, *NAMES)
    end = desk.store.end()
    subscribed(desk, *NAMES)
    monkeypatch.setattr(Store, "end", lambda self: end)
    assert [one.what for one in verify(desk.path).breaches if one.stream.startswith("flows:")] == []
