"""Commands that raise, wherever: each is rejected alone, and the desk goes on."""

from __future__ import annotations

import pytest

from gearing.core.money import MINOR
from gearing.desk.requests import Pay, encode
from gearing.store.database import init_database
from gearing.store.errors import StoreError
from gearing.store.records import Answer, Commit
from gearing.store.store import Store
from tests import test_acceptances, test_intake
from tests.lives import NOON_MS
from tests.test_boot import damage, quoted
from tests.test_causes import Counter
from tests.test_store_dealing import kept

__all__ = ["kept"]


@pytest.fixture
def counter(kept):
    return Counter(kept)


def pay(name, reference="d"):
    return Pay(holder=name, asset="USDT", amount=MINOR, reference=reference, by="ann")


def test_a_command_whose_cause_cannot_be_read_is_rejected_alone(counter):
    assert counter.ask(pay("h1")).done
    damage(counter.kept.path, "UPDATE journal SET body = x'7b' WHERE stream = 'holder:h1'")
    failed, other = counter.ask([pay("h1"), pay("h2")])
    assert not failed.done
    assert "Internal error (DecodeError" in failed.words
    assert other.done


def test_a_command_that_fails_before_it_is_run_is_rejected_alone(counter, monkeypatch):
    def fails(driver, wanted, now_ms):
        if wanted.holder == "h1":
            raise KeyError("T")

    monkeypatch.setattr("gearing.desk.inbox.token_to_wait_for", fails)
    failed, other = counter.ask([pay("h1"), pay("h2")])
    assert not failed.done
    assert other.done


def test_a_command_that_fails_when_it_is_judged_is_rejected_alone(tmp_path, monkeypatch):
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOON_MS)

    def fails(*_):
        raise KeyError("T")

    async def asking(desk):
        waits = [desk.begin(test_acceptances.ACCEPT, "a"), desk.begin(test_acceptances.NOW, "n")]
        await test_acceptances.held_back(desk)
        monkeypatch.setattr(desk.inbox, "_known", fails)
        await desk.price(100.01)
        taken = await waits[0]
        await test_acceptances.held_back(desk)
        dealt = await waits[1]
        monkeypatch.undo()
        return taken, dealt, await desk.ask(test_acceptances.DEPOSIT, "d")

    with Store(path, "demo") as store:
        quoted(store)
        taken, dealt, paid = test_acceptances.served(store, asking)
    assert not taken.done
    assert not dealt.done
    assert paid.done


def test_an_answer_that_cannot_be_read_stops_no_other_question(tmp_path):
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOON_MS)
    with Store(path, "demo") as store:
        asked = store.ask("p", "k", encode(pay("h1")))
        store.commit([Commit(answers=(Answer(asked.number, b"{", NOON_MS),))])

        async def asking(intake):
            with pytest.raises(StoreError, match="what was answered before cannot be read"):
                await intake.ask("p", "k", pay("h1"))
            return await intake.ask("p", "l", pay("h2"))

        assert test_intake.served(store, asking).done
