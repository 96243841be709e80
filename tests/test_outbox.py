"""The outbox: an order is sent once, its fate is the venue's word, and silence is no answer."""

from __future__ import annotations

import pytest

from gearing.core.book import LiveOrder, Purpose
from gearing.drive.outbox import ASK_MS, POLL_MS, Ask, Outbox, row_of
from gearing.store.records import OutboxChange

NOW = 1_000_000
WINDOW, VISIBILITY = 2_000, 1_000


def order(key="a1"):
    purpose = Purpose(token="T", leg=0, epoch=1, slice=0, attempt=0)
    return LiveOrder(id=key, symbol="A", lots=5, reduces=False, purpose=purpose)


def outbox(*keys):
    box = Outbox(WINDOW, VISIBILITY)
    for key in keys:
        box.add("main", order(key), NOW)
    return box


def test_an_order_is_sent_when_its_row_says_so_and_never_again():
    box = outbox("a1")
    assert box.take(NOW) == [Ask("send", "a1")]
    assert box.take(NOW + 10 * POLL_MS) == []  # its row comes first
    change = box.sending("a1", NOW + 5)
    assert change == OutboxChange("a1", "ready", "sending", NOW + 5, NOW + 5 + WINDOW + VISIBILITY)
    with pytest.raises(ValueError, match="never sent again"):
        box.sending("a1", NOW + 6)
    asked = [ask for n in range(100) for ask in box.take(NOW + 1_000 * n)]
    assert {ask.kind for ask in asked} == {"query"}


@pytest.mark.parametrize("become", ["is_known", "is_unknown"])
def test_whatever_is_known_of_it_it_is_not_sent_again(become):
    box = outbox("a1")
    box.take(NOW)
    box.sending("a1", NOW)
    getattr(box, become)("a1", NOW)
    with pytest.raises(ValueError, match="never sent again"):
        box.sending("a1", NOW)


def test_without_an_answer_it_is_asked_for_once_it_can_no_longer_arrive():
    box = outbox("a1")
    box.take(NOW)
    dead_ms = box.sending("a1", NOW).dead_after_ms
    assert box.next_ms() == dead_ms
    assert box.take(dead_ms - 1) == []
    assert box.take(dead_ms) == [Ask("query", "a1")]


def test_not_found_counts_only_after_it_can_no_longer_arrive():
    box = outbox("a1")
    box.take(NOW)
    dead_ms = box.sending("a1", NOW).dead_after_ms
    assert dead_ms == NOW + WINDOW + VISIBILITY
    assert not box.is_lost("a1", NOW)
    assert not box.is_lost("a1", dead_ms)
    assert box.is_lost("a1", dead_ms + 1)


def test_an_unknown_order_is_asked_for_soon_and_a_known_one_now_and_then():
    box = outbox("a1", "b2")
    box.take(NOW)
    for key in ("a1", "b2"):
        box.sending(key, NOW)
    box.is_unknown("a1", NOW)
    box.is_known("b2", NOW)
    assert box.unknown() == ["a1"]
    asked = [ask.id for ms in range(NOW, NOW + POLL_MS, 100) for ask in box.take(ms)]
    assert asked.count("a1") == POLL_MS // ASK_MS - 1
    assert "b2" not in asked
    assert Ask("query", "b2") in box.take(NOW + POLL_MS)


def test_after_a_restart_a_ready_order_is_sent_and_one_that_was_being_sent_is_unknown():
    box = Outbox(WINDOW, VISIBILITY)
    ready = row_of("main", order("a1"), NOW)
    assert (ready.status, ready.signed_ms, ready.dead_after_ms) == ("ready", 0, 0)
    box.recover(ready, order("a1"), NOW)
    sending = ready._replace(id="b2", status="sending", signed_ms=NOW, dead_after_ms=NOW + 3_000)
    box.recover(sending, order("b2"), NOW)
    assert sorted(box.take(NOW)) == [Ask("query", "b2"), Ask("send", "a1")]
    assert box.unknown() == ["b2"]
    with pytest.raises(ValueError, match="never sent again"):
        box.sending("b2", NOW)
    assert not box.is_lost("b2", NOW + 3_000)
    assert box.is_lost("b2", NOW + 3_001)


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000])
def test_after_a_jump_of_the_clock_a_restart_counts_an_orders_window_anew(jump_ms):
    box, now_ms = Outbox(WINDOW, VISIBILITY), NOW + jump_ms
    sent = row_of("main", order("a1"), NOW)._replace(status="sending", signed_ms=NOW, dead_after_ms=NOW + 3_000)
    box.recover(sent, order("a1"), now_ms)
    assert not box.is_lost("a1", now_ms + 3_000)
    assert box.is_lost("a1", now_ms + 3_001)


def test_an_order_of_a_restored_database_is_waited_for_as_long_as_that_said():
    box = Outbox(WINDOW, VISIBILITY)
    row = row_of("main", order("a1"), NOW)._replace(status="unknown", signed_ms=NOW, dead_after_ms=NOW + 60_000)
    box.recover(row, order("a1"), NOW)
    assert not box.is_lost("a1", NOW + 60_000)
    assert box.is_lost("a1", NOW + 60_001)


@pytest.mark.parametrize("status", ["ready", "sending", "unknown"])
def test_an_order_that_ends_is_done_from_where_its_row_stands(status):
    """Of a restored database it stands at unknown; a change from anything else would be taken for another runner's."""
    box = Outbox(WINDOW, VISIBILITY)
    box.recover(row_of("main", order("a1"), NOW)._replace(status=status), order("a1"), NOW)
    box.is_known("a1", NOW)
    change = box.done("a1")
    assert change is not None
    assert change[:3] == ("a1", status, "done")


def test_what_ended_is_asked_for_no_more_and_its_row_is_done_once():
    box = outbox("a1", "b2")
    box.take(NOW)
    box.sending("a1", NOW)
    assert box.done("a1") == OutboxChange("a1", "sending", "done", NOW, NOW + WINDOW + VISIBILITY)
    assert box.done("b2") == OutboxChange("b2", "ready", "done", 0, 0)
    assert box.done("a1") is None
    assert [ask for n in range(50) for ask in box.take(NOW + 1_000 * n)] == []
    assert len(box) == 0
    assert "a1" not in box
    assert box.next_ms() == float("inf")
