"""`gearing token check --prices`: the gap budget it prints, and the same as JSON."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gearing.cli.main import main
from gearing.core.spec_text import example_token
from gearing.market.files import read_prices
from gearing.market.token_file import read_token
from gearing.study.gap import gap_budget

Captured = pytest.CaptureFixture[str]
CHECK = ("token", "check", "t.toml", "--prices", "p.parquet", "--symbol", "BTCUSDT")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GEARING_") and name != "GEARING_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.toml").write_text(example_token())
    frames = []
    for symbol, seed in (("BTCUSDT", 1), ("ETHUSDT", 2)):
        moves = np.random.default_rng(seed).normal(0, 0.005, 24 * 60)
        moves[700] = -0.5
        close = 100 * np.exp(np.cumsum(moves))
        stamps = 1_672_531_200_000 + 3_600_000 * np.arange(len(close))
        frames.append(pl.DataFrame({"timestamp": stamps, "symbol": symbol, "close": close}))
    pl.concat(frames).write_parquet("p.parquet")


def test_it_stands_after_the_facts_with_a_warning(capsys: Captured) -> None:
    assert main([*CHECK]) == 0
    shown = capsys.readouterr().out
    facts, _, budget = shown.partition("Gap budget")
    assert "is a valid token" in facts
    for words in (
        "BTCUSDT, 1,440 bars",
        "3 times long: this token",
        "3 times short: the same rule",
        "0.4 % of notional",
    ):
        assert words in budget
    whole = re.search(r"whole rule +path \+\S+ +1,439 × 1h +(\S+) .* (\S+)\n", budget)
    assert whole
    assert whole[2] == "−39.3%"
    edge = re.search(r"band_upper +edge \+4 +1,439 × 1h +−25% +\S+ +1 +−24.7% +\S+ +1 +−39.3%", budget)
    assert edge
    (warning,) = re.findall(r"Warning: .*", budget)
    assert "NAV may reach zero" in warning
    assert "2023-01-30 05:00 UTC" in " ".join(budget.split())


def test_without_prices_there_is_none(capsys: Captured) -> None:
    assert main(["token", "check", "t.toml"]) == 0
    assert "Gap budget" not in capsys.readouterr().out
    assert main(["token", "check", "t.toml", "--json"]) == 0
    assert "gap_budget" not in json.loads(capsys.readouterr().out)


def test_json_is_that_of_the_study(capsys: Captured) -> None:
    assert main([*CHECK, "--maintenance-rate", "1%", "--end", "2023-02-20", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    prices = read_prices("p.parquet", symbol="BTCUSDT", end="2023-02-20")
    budget = gap_budget(read_token("t.toml"), prices, maintenance_rate=0.01)
    told = answer["gap_budget"]
    assert answer["valid"] is True
    assert told["zero_per_year"] == budget.zero_per_year > 0.9
    assert told["liquidation_per_year_at_worst"] == budget.liquidation_per_year_at_worst
    assert told["warnings"] == list(budget.warnings)
    assert [row["trigger"] for row in told["rows"]] == [row.trigger for row in budget.rows]
    assert told["rows"][-1]["liquidation"]["move"] == budget.rows[-1].liquidation.move


def test_a_narrow_terminal_gets_a_table_for_each_end(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*CHECK]) == 0
    budget = capsys.readouterr().out.partition("Gap budget")[2]
    assert "this token, NAV at zero" in budget
    assert "this token, liquidation" in budget
    assert max(len(line) for line in budget.splitlines()) <= 80
    assert "…" not in budget


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--symbol", "XRP"], "there is no symbol 'XRP'"),
        (["--maintenance-rate", "much"], "is no maintenance rate"),
        (["--equity", "-1"], "is no capital"),
        (["--prices", "none.parquet"], "there is no such file"),
    ],
)
def test_what_it_refuses(options: list[str], words: str, capsys: Captured) -> None:
    assert main([*CHECK, *options]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.out == ""
