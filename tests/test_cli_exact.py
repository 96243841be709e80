"""`gearing backtest --exact`: the desk's own step and ledger beside the quick engine, and the journal it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.core.spec_text import example_token
from gearing.store.recompute import recompute


@pytest.fixture(autouse=True)
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prices, funding = gr.make_market(seed=3, days=30, interval="1h")
    prices.frame.write_parquet("prices.parquet")
    funding.frame.write_parquet("funding.parquet")
    Path("t.toml").write_text(example_token())


RUN = ["backtest", "t.toml", "--prices", "prices.parquet", "--funding", "funding.parquet"]


def test_the_exact_run_agrees_with_the_quick_one_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--exact", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    exact, quick = answer["exact"], answer["summary"]
    assert float(exact["nav"]) == pytest.approx(quick["final_nav"], abs=1e-6)
    assert exact["rebalances"] == quick["rebalances"]
    money = [name for name in exact["ledger"] if name not in {"issued", "held"}]
    assert sum(int(exact["ledger"][name].replace(".", "")) for name in money) == 0
    assert main([*RUN, "--exact"]) == 0
    shown = capsys.readouterr().out
    assert f"{exact['nav']} USDT" in shown
    assert "fees owed to the issuer" in shown


def test_the_journal_is_recomputed_by_the_script_that_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--exact", "--journal", "run.jsonl"]) == 0
    lines = Path("run.jsonl").read_bytes().splitlines(keepends=True)
    found = recompute(lines)
    assert found.navs == len(lines)
    assert not found.differences
    assert main(["journal", "recompute", "run.jsonl"]) == 0


def test_what_a_desk_does_not_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.toml").write_text(example_token("spot"))
    assert main(["backtest", "t.toml", "--prices", "prices.parquet", "--exact"]) == 2
    assert "A desk trades these two kinds" in capsys.readouterr().err
    assert main([*RUN, "--journal", "run.jsonl"]) == 2
    assert "Add --exact" in capsys.readouterr().err
    assert not Path("run.jsonl").exists()
