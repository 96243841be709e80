"""What each holder got is worked out again by verify: a database that is consistent in every sum, and gives one holder
what is another's, is found.

The desk itself is made to forge: what it posts for holders is changed on the way, so that all that follows fits.
"""

from __future__ import annotations

import msgspec
import pytest

import gearing as gr
from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.dealing import bearing
from gearing.core.flow_parts import digest_of
from gearing.core.money import MINOR
from gearing.core.record import DAY_MS
from gearing.desk import counter, issuer
from gearing.desk.requests import HandOn, TakeFees
from gearing.drive.driver import Driver
from gearing.drive.merging import Merger, merge
from gearing.drive.primary import Primary
from gearing.store.share_check import share_breaches
from gearing.store.shares import ShareFacts
from gearing.store.verify import verify
from tests.forged import NAMES, at_once, desk, forging, found, is_sound, shifted, subscribed
from tests.test_store_dealing import busy

__all__ = ["desk"]

TEN = 10 * MINOR
BOTH = [("holder:h1", "share"), ("holder:h2", "share")]


# Hedged dealings.


def test_units_of_a_subscription_that_another_got_are_found(desk, monkeypatch):
    forging(monkeypatch, shifted(ho.Dealt, {"h1": TEN, "h2": -TEN}))
    subscribed(desk, *NAMES)
    assert desk.units("h1") - desk.units("h2") == 2 * TEN
    breaches = verify(desk.path).breaches
    assert [(one.stream, one.what) for one in breaches] == BOTH
    units = desk.units("h0")
    for one, by in zip(breaches, (TEN, -TEN), strict=True):
        assert one.found == f"{units + by} units, {10_000 * MINOR} of money, a fee of {10 * MINOR}"
        assert one.expected.startswith(f"{units} units, {10_000 * MINOR} of money, a fee of {10 * MINOR}, as line ")


def test_money_of_a_redemption_that_another_got_is_found(desk, monkeypatch):
    subscribed(desk, *NAMES)
    forging(monkeypatch, shifted(ho.Dealt, {"h1": MINOR, "h2": -MINOR}, "cash"))
    for name in NAMES:
        desk.ask(name, "redeem", 20 * MINOR)
    desk.window(101.0)
    assert found(desk) == BOTH


@pytest.mark.parametrize("part", [0.5, 0.0])
def test_shares_of_a_flow_that_was_hedged_in_part_or_not_at_all_are_found(desk, monkeypatch, part):
    """Of one that was not hedged, what each pays for it counts."""
    subscribed(desk, *NAMES)
    forging(monkeypatch, shifted(ho.Dealt, {"h1": 1, "h2": -1}))
    for name in NAMES:
        desk.ask(name, "redeem", 20 * MINOR)
    desk.window(101.0, part=part)
    assert found(desk) == (BOTH if part else [])


def test_shares_of_sub_holders_are_found_apart(desk, monkeypatch):
    for name in ("EX/c1", "EX/c-2"):
        desk.deposit(name, 20_000)
    forging(monkeypatch, shifted(ho.Dealt, {"EX/c1": 5, "EX/c-2": -5}))
    subscribed(desk, "EX/c1", "EX/c-2")
    assert found(desk) == [("holder:EX/c-2", "share"), ("holder:EX/c1", "share")]


def test_a_dealing_that_says_less_of_a_request_than_there_is_is_found(desk, monkeypatch):
    apply, name_flow, named = Driver.apply, Driver.name_flow, []

    def forged(self, running, event):
        if isinstance(event, ev.DealingBegun):
            less = [ask._replace(amount=ask.amount // 2) if ask.holder == "h2" else ask for ask in running.flow]
            running.flow = tuple(less)
            named.append(tuple(ev.Part(ask.holder, ask.id, ask.amount) for ask in less))
            event = msgspec.structs.replace(event, digest=digest_of(named[-1], "salt"), amount=event.amount * 5 // 6)
        return apply(self, running, event)

    monkeypatch.setattr(Driver, "apply", forged)
    monkeypatch.setattr(Driver, "name_flow", lambda self, running, event: name_flow(
        self, running, msgspec.structs.replace(event, parts=named[-1], salt="salt")))  # fmt: skip
    subscribed(desk, *NAMES)
    assert found(desk) == [("holder:h2", "share")]


def test_a_request_that_the_supply_cap_took_a_part_of_is_sound(desk):
    limits = gr.Limits(supply_cap=desk.it.state.balances.units / MINOR + 150)
    changed = msgspec.structs.replace(desk.it.spec.token, limits=limits)
    for name in NAMES:
        assert not isinstance(desk.ask(name, "subscribe", 10_000 * MINOR), str)
    desk.driver.change(desk.it, changed, "ann", "a cap", desk.now_ms)
    desk.window()
    assert 0 < desk.units("h1") < 60 * MINOR
    assert is_sound(desk)


def test_a_dealing_that_is_of_more_than_its_requests_is_found(desk, monkeypatch):
    apply = Driver.apply

    def forged(self, running, event):
        if isinstance(event, ev.DealingBegun):
            event = msgspec.structs.replace(event, amount=event.amount - MINOR)
        return apply(self, running, event)

    monkeypatch.setattr(Driver, "apply", forged)
    subscribed(desk, *NAMES)
    assert ("token:T", "share") in found(desk)


def test_a_settlement_that_gives_everybody_less_is_found(desk, monkeypatch):
    """What one holder gets less is everybody's gain, and the token's own line says so too."""
    apply = Driver.apply

    def forged(self, running, event):
        if isinstance(event, ev.DealingSettled):
            event = msgspec.structs.replace(event, units=event.units - TEN)
        return apply(self, running, event)

    monkeypatch.setattr(Driver, "apply", forged)
    forging(monkeypatch, shifted(ho.Dealt, {"h2": -TEN}))
    subscribed(desk, *NAMES)
    assert found(desk) == [("token:T", "share"), ("holder:h2", "share")]


@pytest.mark.parametrize("changed", [{"kind": "matched"}, {"kind": "final"}, {"time_ms": 1_900_000_000_000}])
def test_a_share_that_no_line_of_its_token_gives_is_found(desk, monkeypatch, changed):
    def change(name, event):
        is_it = isinstance(event, ho.Dealt) and name == "h1"
        return msgspec.structs.replace(event, **changed) if is_it else event

    forging(monkeypatch, change)
    subscribed(desk, *NAMES)
    assert set(found(desk)) == {("holder:h1", "share"), ("token:T", "share")}


# Matches.


def matching(desk, times=1):
    """h0 and h1 redeem 70 units; h2 and h3 subscribe for 4,000, or several times that."""
    desk.deposit("h3", 40_000)
    subscribed(desk, "h0", "h1", "h2")
    desk.ask("h0", "redeem", 40 * MINOR)
    desk.ask("h1", "redeem", 30 * MINOR)
    desk.ask("h2", "subscribe", times * 1_500 * MINOR)
    desk.ask("h3", "subscribe", times * 2_500 * MINOR)
    desk.window(101.0)


@pytest.mark.parametrize("field", ["units", "cash"])
@pytest.mark.parametrize(("one", "other", "times"), [("h2", "h3", 10), ("h0", "h1", 1)])
def test_either_side_of_a_match_that_another_got_is_found(desk, monkeypatch, field, one, other, times):
    forging(monkeypatch, shifted(ho.Dealt, {one: -MINOR, other: MINOR}, field, kind="matched"))
    matching(desk, times)
    assert found(desk) == [(f"holder:{one}", "share"), (f"holder:{other}", "share")]


def test_money_that_passes_from_one_side_of_a_match_to_the_other_is_found(desk, monkeypatch):
    forging(monkeypatch, shifted(ho.Dealt, {"h0": -MINOR, "h2": -MINOR}, "cash", kind="matched"))
    matching(desk)
    assert found(desk) == [("token:T", "share"), ("holder:h2", "share"), ("holder:h0", "share")]


def test_a_match_without_one_of_its_requests_is_found(desk, monkeypatch):
    def change(name, event):
        is_it = isinstance(event, ho.Dealt) and event.kind == "matched" and name == "h3"
        return msgspec.structs.replace(event, kind="hedged") if is_it else event

    forging(monkeypatch, change)
    matching(desk)
    assert {("holder:h3", "share"), ("token:T", "share")} <= set(found(desk))


# Final redemptions.


def closed(desk):
    subscribed(desk, *NAMES)
    desk.driver.apply(desk.it, ev.Operated(time_ms=desk.now_ms, action="close", by="ann", reason="r"))
    for _ in range(3):
        desk.filled(desk.quote(100.0, after_ms=60_000))
        desk.filled(desk.take())
    assert desk.it.state.status == "closed"


def redeemed(desk):
    for name in NAMES:
        assert not isinstance(desk.ask(name, "redeem", desk.units(name)), str)
    desk.window()
    desk.window()
    assert [desk.units(name) for name in NAMES] == [0, 0, 0]


def test_final_redemptions_are_sound(desk):
    closed(desk)
    redeemed(desk)
    assert is_sound(desk)


def test_a_final_redemption_that_another_was_paid_is_found(desk, monkeypatch):
    closed(desk)
    forging(monkeypatch, shifted(ho.Dealt, {"h1": -MINOR, "h2": MINOR}, "cash", kind="final"))
    redeemed(desk)
    assert found(desk) == BOTH


def test_a_final_redemption_that_pays_less_is_found(desk, monkeypatch):
    closed(desk)
    apply, paid = Driver.apply, []

    def forged(self, running, event):
        if isinstance(event, ev.Redeemed):
            paid.append(event)
            if len(paid) == 2:
                event = msgspec.structs.replace(event, cash=event.cash - MINOR)
        return apply(self, running, event)

    monkeypatch.setattr(Driver, "apply", forged)
    forging(monkeypatch, shifted(ho.Dealt, {"h1": -MINOR}, "cash", kind="final"))
    redeemed(desk)
    assert ("token:T", "share") in found(desk)


# Shares that are owed.


def owing(desk):
    """h2's stream is not run when its flow is settled, and is run again later."""
    for name in NAMES:
        desk.ask(name, "subscribe", 10_000 * MINOR)
    orders = desk.quote(100.0, after_ms=60_000)
    gone = desk.primary.holders.pop("h2")
    desk.filled(orders)
    (owed,) = desk.driver.books["main"].state.owed.values()
    assert owed.holder == "h2"
    desk.primary.holders["h2"] = gone
    desk.primary.supply["T"] -= owed.units  # a start counts anew
    desk.window()
    desk.primary.settle_owed(desk.now_ms)
    desk.take()
    assert desk.driver.books["main"].state.owed is msgspec.UNSET


def test_an_owed_share_is_sound(desk):
    owing(desk)
    assert is_sound(desk)


def test_an_owed_share_that_another_got_is_found(desk, monkeypatch):
    note = Driver.note

    def forged(self, book, event):
        if isinstance(event, bk.ShareOwed):
            dealt = msgspec.structs.replace(event.owed.dealt, units=event.owed.dealt.units - TEN)
            event = msgspec.structs.replace(event, owed=msgspec.structs.replace(event.owed, dealt=dealt))
        return note(self, book, event)

    monkeypatch.setattr(Driver, "note", forged)
    forging(monkeypatch, shifted(ho.Dealt, {"h1": TEN}))
    owing(desk)
    assert found(desk) == [("book:main", "share"), ("holder:h1", "share")]


def test_an_owed_share_that_is_booked_as_something_else_is_found(desk, monkeypatch):
    forging(monkeypatch, shifted(ho.Dealt, {"h2": -TEN}))
    owing(desk)
    assert ("holder:h2", "share") in found(desk)


# Mergers.


def merging(desk, factor=2.5):
    subscribed(desk, *NAMES)
    desk.ask("h2", "redeem", 7 * MINOR)
    desk.take()
    made = desk.driver.atomically(lambda: merge(desk.driver, desk.it, factor, "ann", "r", desk.now_ms))
    assert isinstance(made, Merger), made
    desk.take()


def test_a_merger_is_sound(desk):
    merging(desk)
    assert is_sound(desk)


MERGED = [("holder:h1", "merger"), ("holder:h2", "merger")]


def test_units_that_a_merger_left_another_are_found(desk, monkeypatch):
    forging(monkeypatch, shifted(ho.Merged, {"h1": 5 * MINOR, "h2": -5 * MINOR}))
    merging(desk)
    breaches = verify(desk.path).breaches
    assert [(one.stream, one.what) for one in breaches] == MERGED
    assert int(breaches[0].found.split()[0]) == int(breaches[0].expected.split()[0]) + 5 * MINOR


def test_units_set_aside_that_a_merger_left_free_are_found(desk, monkeypatch):
    def change(_, event):
        if not isinstance(event, ho.Merged) or not event.held:
            return event
        requests = {name: amount - 1 for name, amount in event.requests.items()}
        return msgspec.structs.replace(event, units=event.units + 1, held=event.held - 1, requests=requests)

    forging(monkeypatch, change)
    merging(desk)
    assert found(desk) == [("holder:h2", "merger")]


def test_money_of_a_merger_that_another_got_is_found(desk, monkeypatch):
    by: dict[str, int] = {}

    def change(name, event):
        if isinstance(event, ho.Merged) and name == "h1" and event.cash:
            by["h2"] = 1
            return msgspec.structs.replace(event, cash=event.cash - 1)
        return shifted(ho.Merged, by, "cash")(name, event)

    forging(monkeypatch, change)
    merging(desk, 3.7)
    assert found(desk) == MERGED


def test_a_holder_that_a_merger_left_out_is_found(desk, monkeypatch):
    """What it keeps, the others lack."""
    post = Primary.post

    def forged(self, name, event):
        return None if isinstance(event, ho.Merged) and name == "h1" else post(self, name, event)

    monkeypatch.setattr(Primary, "post", forged)
    merging(desk)
    assert ("token:T", "merger") in found(desk)


def test_a_merger_that_sums_up_to_something_else_is_found(desk, monkeypatch):
    apply = Driver.apply

    def forged(self, running, event):
        if isinstance(event, ev.Consolidated):
            event = msgspec.structs.replace(event, units=event.units - 5)
        return apply(self, running, event)

    monkeypatch.setattr(Driver, "apply", forged)
    forging(monkeypatch, shifted(ho.Merged, {"h1": -5}))
    merging(desk)
    assert set(found(desk)) == {("holder:h1", "merger")}


# What is sound.


def test_a_busy_life_is_sound(desk):
    busy(desk)
    at_once(desk, "subscribe", 900 * MINOR, quotes=True)
    matching(desk)
    merging(desk)
    desk.window(102.0)
    assert desk.alarms == []
    assert is_sound(desk)


def test_what_is_not_stepped_again_is_held_against_nothing(desk, monkeypatch):
    forging(monkeypatch, shifted(ho.Dealt, {"h1": TEN, "h2": -TEN}))
    subscribed(desk, *NAMES)
    merging(desk)
    assert verify(desk.path, again=False).breaches == ()


def test_shares_of_a_token_whose_state_is_not_known_are_held_against_nothing(desk, monkeypatch):
    """As after lines of an earlier program that this one steps otherwise."""
    forging(monkeypatch, shifted(ho.Dealt, {"h1": TEN, "h2": -TEN}))
    merging(desk)
    at_once(desk, "subscribe", 900 * MINOR)
    monkeypatch.setattr("gearing.store.audit.Audit._step_token", lambda audit, *_: setattr(audit, "token", None))
    assert verify(desk.path).breaches == ()


def test_lines_of_an_earlier_behaviour_are_held_against_nothing(desk, monkeypatch):
    monkeypatch.setattr("gearing.store.share_log.BEHAVIOUR", 99)
    forging(monkeypatch, shifted(ho.Dealt, {"h1": TEN, "h2": -TEN}))
    subscribed(desk, *NAMES)
    assert verify(desk.path).breaches == ()


def test_nothing_is_held_against_nothing():
    assert list(share_breaches({"token:T": ShareFacts(), "holder:h1": ShareFacts()})) == []


# Where a token stood, as each line of a holder says.


def stood_elsewhere(type_, holder, field="level"):
    """Lets one holder's lines of a type say that the token stood elsewhere."""

    def change(name, event):
        at = getattr(event, "bearing", None)
        if not isinstance(event, type_) or name != holder or at is None:
            return event
        there = at.parts[1:] + at.parts[:1] if field == "parts" else getattr(at, field) + 1
        return msgspec.structs.replace(event, bearing=msgspec.structs.replace(at, **{field: there}))

    return change


@pytest.mark.parametrize("field", ["nav", "level"])
@pytest.mark.parametrize("side", ["subscribe", "redeem"])
def test_a_share_that_says_its_token_stood_elsewhere_is_found(desk, monkeypatch, side, field):
    subscribed(desk, *NAMES)
    forging(monkeypatch, stood_elsewhere(ho.Dealt, "h1", field))
    for name in NAMES:
        assert not isinstance(desk.ask(name, side, (100 if side == "subscribe" else 10) * MINOR), str)
    desk.window(101.0)
    assert found(desk) == [("holder:h1", "share")]


def test_a_match_that_says_its_token_stood_elsewhere_is_found(desk, monkeypatch):
    subscribed(desk, *NAMES)
    change = stood_elsewhere(ho.Dealt, "h2")
    forging(monkeypatch, lambda name, it: change(name, it) if getattr(it, "kind", "") == "matched" else it)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.ask("h2", "redeem", 10 * MINOR)
    desk.window(101.0)
    assert found(desk) == [("holder:h2", "share")]


def test_units_handed_at_where_no_token_stood_are_found(desk, monkeypatch):
    subscribed(desk, *NAMES)
    forging(monkeypatch, stood_elsewhere(ho.Handed, "h1", "nav"))
    wanted = HandOn(holder="h1", other="h2", token="T", amount=MINOR, reference="r1")
    assert counter.answer(desk.driver, wanted, desk.now_ms).done
    desk.window()
    assert found(desk) == [("holder:h1", "price")]


def test_fees_collected_at_where_no_token_stood_are_found(desk, monkeypatch):
    subscribed(desk, *NAMES)
    desk.now_ms += DAY_MS
    desk.window()
    forging(monkeypatch, stood_elsewhere(ho.Collected, ho.ISSUER, "nav"))
    wanted = TakeFees(token="T", amount=0, how="units", by="ann", reason="r")
    assert issuer.answer(desk.driver, wanted, desk.now_ms).done
    desk.window()
    assert found(desk) == [("holder:issuer", "price")]


def test_units_granted_at_where_no_token_stood_are_found(desk, monkeypatch):
    subscribed(desk, *NAMES)
    forging(monkeypatch, stood_elsewhere(ho.Granted, ho.ISSUER, "nav"))
    desk.primary.post(ho.ISSUER, ho.Granted(time_ms=desk.now_ms, token="T", units=1, asset="USDT", cash=0,
                                            bearing=bearing(desk.it.spec, desk.it.state)))  # fmt: skip
    desk.window()
    assert ("holder:issuer", "price") in found(desk)
