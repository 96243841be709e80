"""A share of the crash harness: desks killed at all kinds of boundaries, and one that sleeps while another runs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from proof.crash import Case, copied, exchange, launch, run_case, undisturbed

CASES = [
    Case("commit.amid:20"), Case("decision.after:2", "forced.sent"), Case("sending.after:4"), Case("send.sent:2"),
    Case("fill.before:2", "query.answered"), Case("reconcile.before:1"), Case("sending.after:2", stops=True),
    Case("answer.after:4"), Case("dealing.after:2", "settled.before"), Case("cash.after:2"),
    Case("transfer.before:2", stops=True),
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
