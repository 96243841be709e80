"""A token's life in words: every stage, and every turn with who had it so and why."""

from __future__ import annotations

import msgspec
import pytest

from gearing.core.state import TokenState
from gearing.desk.life import stage_of, turns_of
from gearing.store.database import init_database
from gearing.store.records import Commit
from gearing.store.store import Store
from tests.desks import Desk
from tests.lives import NOON_MS

STATE = TokenState(status="open")


@pytest.mark.parametrize(("changed", "words"), [
    ({"status": "draft"}, "draft"), ({}, "seeding"), ({"opened": True}, "open"),
    ({"opened": True, "paused": True}, "creations paused"), ({"status": "halted"}, "halted"),
    ({"status": "closing"}, "winding down"), ({"status": "closed"}, "closed"), ({"status": "wiped"}, "wiped out"),
])  # fmt: skip
def test_each_stage_has_its_word(changed, words):
    assert stage_of(msgspec.structs.replace(STATE, **changed)) == words


def test_a_closed_token_with_units_redeems():
    state = Desk().it.state
    assert stage_of(msgspec.structs.replace(state, status="closed")) == "closed, units redeem at the final NAV"


def test_every_turn_is_told_with_who_and_why(tmp_path):
    init_database(tmp_path / "d.db", "demo", NOON_MS)
    desk = Desk()
    effects = desk.driver.taken
    with Store(tmp_path / "d.db", "demo") as store:
        lines, states = [], {}

        def keep(found):
            lines.extend(found.lines)
            states.update(found.states)

        desk.quote(100.0)
        keep(desk.effects)
        for number, action in enumerate(("pause", "unpause", "halt", "resume", "close")):
            desk.driver.operate(desk.it, action, f"ann{number}", f"because {number}", desk.now_ms + number)
            keep(effects())
        first = desk.first
        store.commit([Commit(lines=(*first.lines, *lines), states=tuple({**first.states, **states}.values()))])
        turns = turns_of(store, "T")
    assert [(turn.became, turn.by, turn.reason) for turn in turns] == [
        ("launched", "", ""), ("seeded", "", ""), ("creations paused", "ann0", "because 0"),
        ("creations open again", "ann1", "because 1"), ("halted", "ann2", "because 2"),
        ("open again", "ann3", "because 3"), ("winding down", "ann4", "because 4"),
    ]  # fmt: skip
