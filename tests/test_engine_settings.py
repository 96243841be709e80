"""How a venue margins a book (R5): set, read back, and read anew, before anything is sent."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from proof.virtual import run

import gearing as gr
from gearing.desk.margins import Margins
from gearing.drive.margining import MarginChoice, wanted_settings
from gearing.venues.protocol import GatewayError, RefusedError, Setting
from tests.lives import NOON_MS, token
from tests.played import Desk, lived


def test_r5_leverage_is_set_and_read_back_before_anything_is_sent():
    desk = lived()
    assert [entry for entry in desk.log if entry[0] in {"setting", "set", "prices", "place"}][:4] == [
        ("setting", "A", 20.0), ("set", "A", 6.0, "cross"), ("setting", "A", 6.0), ("prices",),
    ]  # fmt: skip
    assert desk.book.state.halted == ""
    assert len(desk.named("place")) == 1


@pytest.mark.parametrize("obeys", [False, RefusedError("leverage", "not offered")])
def test_r5_a_venue_that_does_not_set_it_halts_the_book(obeys):
    told = []

    def prepare(desk):
        desk.venue.obeys = obeys
        desk.engine.on_alarm = told.append

    desk = lived(prepare)
    words = "R5: A is margined cross at 20 times, specified is cross at 6"
    assert desk.book.state.halted == f"settings: {words}"
    assert f"T: halted, {words}" in told
    assert told.count(f"T: halted, {words}") == 1
    assert desk.named("place", "ready") == []


def test_r5_a_query_that_fails_is_not_as_specified():
    silence = [TimeoutError(), GatewayError(503), ConnectionError("broke"), RefusedError("busy")]

    def prepare(desk):
        desk.venue.settings[:0] = silence

    desk = lived(prepare)
    assert desk.venue.settings == [Setting(leverage=6.0, margin_mode="cross")]
    assert [entry[0] for entry in desk.log if entry[0] in {"setting", "place"}].index("place") >= 2
    for error in silence:

        def mute(desk, error=error):
            desk.venue.settings = [error]

        stays = lived(mute)
        assert stays.named("place", "prices", "ready") == []
        assert stays.book.state.halted == ""


@pytest.mark.parametrize(
    ("lasts_s", "told"),
    [(170.0, []),
     (400.0, ["T: for 180 s the venue has not told its settings (no); the book is not reconciled until it does"])],
)  # fmt: skip
def test_a_person_hears_once_of_a_venue_that_stays_silent_about_a_book(lasts_s, told):
    alarms = []

    async def whole():
        desk = Desk()
        desk.engine.on_alarm = alarms.append
        known, desk.venue.settings = desk.venue.settings, [TimeoutError("no")]
        asyncio.get_running_loop().call_later(lasts_s, lambda: setattr(desk.venue, "settings", known))
        await desk.live(lasts_s + 20.0)
        return desk

    assert run(whole()).named("prices") == [("prices",)]
    assert alarms == told


def test_r5_the_margin_mode_is_not_changed_while_something_is_held():
    def prepare(desk):
        held = desk.running.state.legs[0]
        desk.running.state = msgspec.structs.replace(
            desk.running.state, opened=True, legs=(msgspec.structs.replace(held, lots=5),)
        )
        desk.venue.settings = [Setting(leverage=6.0, margin_mode="isolated")]

    desk = lived(prepare)
    assert desk.named("set", "place") == []
    assert "A is margined isolated at 6 times, specified is cross at 6" in desk.book.state.halted


def test_r5_an_order_of_before_waits_for_the_settings_and_a_halted_book_sends_it_never():
    for obeys in (True, False):

        def prepare(desk, obeys=obeys):
            """As a restart finds it: an order that is ready, and a venue whose setting was not read yet."""
            desk.venue.obeys = obeys
            desk.venue.settings[:0] = [TimeoutError()] * 3
            desk.driver.on_quotes([desk.quote(NOON_MS + 1)], NOON_MS + 1)
            (order,) = desk.driver.taken().placed
            desk.engine.outbox.add("T", order, NOON_MS)

        desk = lived(prepare)
        kinds = [entry[0] for entry in desk.log]
        if obeys:
            assert kinds.index("place") > kinds.index("set")
            assert len(desk.named("place")) == 1
        else:
            assert "place" not in kinds
            assert desk.book.state.live == {}
            assert desk.running.state.status == "halted"
            assert not desk.running.state.is_working


def test_r5_settings_are_read_anew_with_each_reconciliation_and_when_they_were_forgotten():
    async def whole():
        desk = Desk()
        living = asyncio.ensure_future(desk.live(length_s=100.0))
        await asyncio.sleep(50.0)
        read = len(desk.named("setting"))
        desk.engine.recheck("T")
        await asyncio.sleep(1.0)
        assert len(desk.named("setting")) == read + 1
        desk.venue.settings, desk.venue.obeys = [Setting(leverage=3.0, margin_mode="cross")], False
        await living
        assert "R5" in desk.book.state.halted

    run(whole())


def test_r5_what_was_asked_before_it_was_forgotten_counts_no_more():
    async def whole():
        margins = Margins({})
        turn = margins.turn("T")
        margins.forget("T")
        assert not margins.know("T", turn)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(margins.known("T"), 1.0)
        assert margins.know("T", margins.turn("T"))
        await margins.known("T")

    run(whole())


@pytest.mark.parametrize(
    ("it", "choice", "leverage"),
    [
        (token("A"), MarginChoice(), 6.0),
        (token("A", target=-1.0), MarginChoice(), 2.0),
        (token("A", target=1.3), MarginChoice(), 3.0),
        (token("A", "B", weights=[1.5, -0.5]), MarginChoice(), 12.0),
        (token("A"), MarginChoice(4.0), 4.0),
        (gr.Token(symbol="T", target=3.0, legs=(gr.Perpetual(symbol="A", margin_tiers=(gr.MarginTier(rate=0.3),)),)),
         MarginChoice(), 3.0),
    ],
)  # fmt: skip
def test_r5_the_default_is_twice_what_the_target_needs_as_far_as_the_venue_offers_it(it, choice, leverage):
    assert {one.leverage for one in wanted_settings(it, choice).values()} == {leverage}
