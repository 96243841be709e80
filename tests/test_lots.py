"""A holder's lots and what they made: parts that sum to the profit, and a profit that is what was paid in and out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gearing as gr
from gearing.core import holder as ho
from gearing.core.dealing import bearing
from gearing.core.lots import ENTRY, break_even, holding_of, parts_of_lot, parts_of_sold
from gearing.core.measured import exposure_of
from gearing.core.money import MINOR
from tests.lives import token
from tests.test_primary import COSTS, Market


class Noted(Market):
    """A market that keeps what happened to each holder."""

    def __init__(self, *tokens, **more):
        self.events = {}
        super().__init__(*tokens, **more)
        post = self.primary.post

        def noted(name, event):
            post(name, event)
            self.events.setdefault(name, []).append(event)

        self.primary.post = noted

    def now(self):
        self.driver.publish(self.it, "minute", self.now_ms, (self.mark,))
        return bearing(self.it.spec, self.it.state)


def noted(**more):
    desk = Noted(token("A", costs=COSTS, fees=gr.Fees(creation=0.002, redemption=0.003, management_per_day=0.001),
                       rule=gr.Rule(deviation=0.3)), **more)  # fmt: skip
    desk.opened()
    desk.deposit("h1", 1_000_000)
    return desk


KINDS = st.sampled_from(["subscribe", "redeem", "wait"])
MOVES = st.lists(st.tuples(KINDS, st.integers(1, 100), st.floats(0.96, 1.04)),
                 min_size=1, max_size=10)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(MOVES)
def test_what_lots_made_is_what_was_paid_in_and_out(moves):
    desk = noted()
    for what, share, move in moves:
        if what == "subscribe":
            desk.ask("h1", "subscribe", desk.cash("h1") * share // 200)
        elif what == "redeem":
            desk.ask("h1", "redeem", desk.units("h1") * share // 100)
        price = round(desk.mark * move, 4)
        desk.mark = price
        desk.filled(desk.quote(price, after_ms=3_600_000))
        desk.window()
    now = desk.now()
    held = holding_of(desk.events.get("h1", []), "T")
    assert sum(lot.units for lot in held.lots) == desk.units("h1")
    profit = 0
    for lot in held.lots:
        parts = parts_of_lot(lot, now)
        worth = lot.units * now.nav // MINOR
        assert sum(parts.values()) == worth - lot.cost
        profit += worth - lot.cost
    for sold in held.sold:
        parts = parts_of_sold(sold)
        assert sum(parts.values()) == sold.profit
        profit += sold.profit
    paid = desk.primary.holders["h1"].state.cash("USDT", "T")
    worth = sum(lot.units * now.nav // MINOR for lot in held.lots)
    assert profit == worth - paid


def test_by_hand():
    """Units bought at 100 and a rise of 2 %: leverage is all of it, but for what coming in cost."""
    desk = noted()
    desk.ask("h1", "subscribe", 10_000 * MINOR)
    desk.window()
    desk.mark = 102.0
    desk.quote(102.0)
    now = desk.now()
    (lot,) = holding_of(desk.events["h1"], "T").lots
    parts = parts_of_lot(lot, now)
    cost = 10_000 - 10_000 * (1 - 0.002) / 1.0045
    assert parts[ENTRY] / MINOR == pytest.approx(-cost, rel=2e-3)
    assert (parts["leverage"] + parts["variance_drag"] + parts["timing"]) / MINOR == pytest.approx(
        lot.units / MINOR * 6.0, rel=2e-3
    )
    level = break_even(lot, now, exposure_of(desk.it.state) / (desk.it.state.balances.units / MINOR))
    assert level / now.level * 102 == pytest.approx(100 * (1 + (10_000 / (10_000 - cost) - 1) / 3), rel=1e-4)


def test_first_in_is_first_out_and_units_handed_on_go_at_their_nav():
    stood = ho.Bearing(nav=100 * MINOR, level=50.0, parts=(0.0,) * 14)
    later = ho.Bearing(nav=120 * MINOR, level=55.0, parts=(20.0,) + (0.0,) * 13)
    events = [
        ho.Granted(time_ms=1, token="T", units=2 * MINOR, asset="USDT", cash=200 * MINOR, bearing=stood),
        ho.Granted(time_ms=2, token="T", units=MINOR, asset="USDT", cash=110 * MINOR, bearing=stood),
        ho.Handed(time_ms=3, token="T", units=-5 * MINOR // 2, other="h2", reference="r", bearing=later),
    ]
    held = holding_of(events, "T")
    assert [(lot.units, lot.cost) for lot in held.lots] == [(MINOR // 2, 55 * MINOR)]
    assert [(one.lot.units, one.profit) for one in held.sold] == [(2 * MINOR, 40 * MINOR), (MINOR // 2, 5 * MINOR)]
    assert parts_of_sold(held.sold[0])["leverage"] == 40 * MINOR
    (lot,) = holding_of(
        [*events, ho.Merged(time_ms=4, token="T", units=MINOR // 20, held=0, requests={}, asset="USDT", cash=0)], "T"
    ).lots
    assert (lot.units, lot.bearing.nav, lot.cost) == (MINOR // 20, 1_000 * MINOR, 55 * MINOR)
