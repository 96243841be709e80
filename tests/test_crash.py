"""A share of the crash harness: desks killed at all kinds of boundaries, and one that sleeps while another runs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from proof.crash import Case, copied, exchange, launch, run_case, undisturbed
from proof.crash_result import happened

from gearing.store.store import Store

CASES = [
    Case("commit.amid:20"), Case("decision.after:2", "forced.sent"), Case("sending.after:4"), Case("send.sent:2"),
    Case("fill.before:2", "query.answered"), Case("reconcile.before:1"), Case("sending.after:2", stops=True),
    Case("answer.after:4"), Case("dealing.after:2", "settled.before"), Case("cash.after:2"),
    Case("transfer.before:2", stops=True),
]  # fmt: skip

# Of two tokens in one book, which trade with each other and share orders.
TOGETHER = [
    Case("decision.before:1"), Case("sending.after:2", "query.answered"), Case("send.sent:4"), Case("fill.before:5"),
    Case("end.after:6"), Case("sending.after:3", stops=True), Case("settled.before:4"),
]  # fmt: skip


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    template, whole = tmp_path_factory.mktemp("launched"), tmp_path_factory.mktemp("whole")
    with exchange(template):
        asyncio.run(launch(template))
    copied(template, whole)
    return template, *undisturbed(whole)


def test_an_undisturbed_run_passes_every_boundary_and_trades(harness):
    _, result, passed = harness
    kinds = {name.partition(".")[0] for name in passed}
    assert kinds >= {"commit", "decision", "sending", "send", "fill", "end", "funding", "reconcile", "nav", "statement"}
    assert kinds >= {"ask", "answer", "dealing", "matched", "settled", "cash", "transfer"}
    assert result.fills == result.venue
    assert len(result.fills) >= 10
    assert {key[3] for key in result.fills} == {0, 1}
    assert result.wrong == ()
    assert result.answers["1.3"][3] == "h3.1"
    assert sum(not answer[0] for answer in result.answers.values()) == 2
    dealt = {(event["event"], event.get("kind")) for one in result.holders.values() for event in one[3]}
    assert dealt >= {("dealt", "matched"), ("dealt", "hedged"), ("released", None), ("handed", None)}


def test_whoever_was_killed_or_stopped_ends_as_if_nobody_had_been(harness):
    template, expected, _ = harness
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda case: run_case(template, case, expected), CASES))
    assert {str(one.case): one.failures for one in ended if one.failures} == {}
    assert [str(one.case) for one in ended if not one.reached] == []


def test_two_tokens_of_one_book_end_as_if_nobody_had_been_killed(tmp_path):
    template, whole = tmp_path / "launched", tmp_path / "whole"
    template.mkdir()
    whole.mkdir()
    with exchange(template):
        asyncio.run(launch(template, together=True))
    copied(template, whole)
    expected, _ = undisturbed(whole)
    assert expected.wrong == ()
    with Store(whole / "desk.db") as store:
        assert list(happened(store, "book:T0T1", "crossed"))
        assert any(b'"parts":[{' in row.body for row in happened(store, "book:T0T1", "order_placed"))
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda case: run_case(template, case, expected), TOGETHER))
    assert {str(one.case): one.failures for one in ended if one.failures} == {}
    assert [str(one.case) for one in ended if not one.reached] == []
