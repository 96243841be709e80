"""A share of the simulation's seeds: what was promised holds, and everything that can go wrong did."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from proof.sim import simulate
from proof.swarm import LISTS, RATES, Trouble

ROOT = Path(__file__).parents[1]
SEEDS = tuple(range(160))


@pytest.fixture(scope="module")
def outcomes():
    with ProcessPoolExecutor() as pool:
        return list(pool.map(partial(simulate, hours=1.0), SEEDS))


def test_what_was_promised_holds_under_every_seed(outcomes):
    failed = {outcome.seed: outcome.failures for outcome in outcomes if outcome.failures}
    assert failed == {}


def test_what_the_reserve_takes_back_waits_for_no_money_of_flows():
    """A token was wiped out; its account lacked what a flow had paid in, so the venue gave nothing back."""
    assert not simulate(90_124, hours=1.0).failures


def test_everything_that_can_go_wrong_did(outcomes):
    seen = Counter()
    for outcome in outcomes:
        seen.update(outcome.seen)
    assert {name: seen[name] for name in RATES if seen[name] < 10} == {}
    assert {name: seen[name] for name in LISTS if not seen[name]} == {}
    assert seen["wiped"] >= 2
    assert seen["liquidated"] >= 2
    assert sum(outcome.kills for outcome in outcomes) > len(SEEDS) / 2
    assert sum(outcome.orders for outcome in outcomes) > 6_000
    # Seldom enough that most of what is seen is a desk that goes on.
    assert seen["given up"] + seen["refused"] <= len(SEEDS) / 10
    assert all(seen[trouble] >= 2 for trouble in Trouble._fields)
    assert seen["given up, its legs refused"] >= 2
    assert seen["rolled"] >= 5
    assert seen["merged"] >= 5


def test_one_seed_is_one_run_bit_for_bit():
    digests = []
    for hash_seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        command = [sys.executable, "-m", "proof.sim", "--seeds", "4", "--from", "20", "--digests"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.append([line for line in done.stdout.splitlines() if line[0].isdigit() and len(line.split()) == 2])
    assert len(digests[0]) == 4
    assert digests[0] == digests[1]
