"""A desk in a database that can be made to forge what it posts for holders, so that all that follows fits."""

from __future__ import annotations

import msgspec
import pytest

import gearing as gr
from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.requests import Deal, TakeQuote
from gearing.drive.primary import Primary
from gearing.store.recompute import recompute
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.journals import lines_of, new_database
from tests.lives import NOON_MS, token
from tests.test_primary import COSTS
from tests.test_store_dealing import Kept

NAMES = ("h0", "h1", "h2")


@pytest.fixture
def desk(tmp_path):
    """A desk with three holders, a dealing account with money, quotes and fees."""
    path = tmp_path / "desk.db"
    new_database(path, NOON_MS)
    with Store(path, "demo") as store:
        Kept.store = store
        fees = gr.Fees(management_per_day=0.001, creation=0.001, redemption=0.002)
        made = Kept(token("A", costs=COSTS, fees=fees, primary=Terms(quote_valid="1m")))
        made.opened()
        made.path = path
        made.deposit(ho.DEALER, 100_000)
        for name in NAMES:
            made.deposit(name, 50_000)
        yield made
    Kept.store = None


def forging(monkeypatch, change) -> None:
    """Lets the desk post something else for its holders: `change` gets the holder's name and the event."""
    post = Primary.post

    def forged(self, name, event):
        return post(self, name, change(name, event))

    monkeypatch.setattr(Primary, "post", forged)


def shifted(type_, by, field="units", **only):
    """Takes something of one type of event from one holder and gives it to another."""

    def change(name, event):
        if isinstance(event, type_) and all(getattr(event, key) == value for key, value in only.items()):
            return msgspec.structs.replace(event, **{field: getattr(event, field) + by.get(name, 0)})
        return event

    return change


def subscribed(desk, *names, amount=10_000 * MINOR):
    for name in names:
        assert not isinstance(desk.ask(name, "subscribe", amount), str)
    desk.window()


def found(desk) -> list[tuple[str, str]]:
    assert recompute(lines_of(desk.path)).differences == []
    return [(one.stream, one.what) for one in verify(desk.path).breaches]


def is_sound(desk) -> bool:
    return found(desk) == []


def at_once(desk, side, amount, quotes=False):
    desk.quote(100.0, after_ms=1_000)
    if quotes:
        given = desk.primary.quotes.ask("h1", desk.it, side, amount, desk.now_ms)
        assert not isinstance(given, str), given
        desk.judged(TakeQuote(holder="h1", id=given.id), after_ms=1_000)
    else:
        desk.judged(Deal(holder="h1", token="T", side=side, amount=amount, instant=True), after_ms=1_000)
    desk.window()
    desk.window()
