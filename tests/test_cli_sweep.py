"""`gearing sweep`: one token over a grid of its fields."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gearing.cli.main import main
from gearing.cli.sweep import parse_grid
from gearing.core.spec_text import example_token
from gearing.errors import InputError
from gearing.market.files import read_prices
from gearing.market.token_file import read_token
from gearing.study.backtest import backtest
from gearing.study.sweep import vary

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    for name in [name for name in os.environ if name.startswith("GEARING_") and name != "GEARING_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    assert main(["market", "make", "--days", "40", "--interval", "1h", "--seed", "3", "--out", "m"]) == 0
    (tmp_path / "t.toml").write_text(example_token())
    capsys.readouterr()


RUN = ("sweep", "t.toml", "--prices", "m/prices.parquet")


def told(capsys: Captured, *words: str) -> dict[str, Any]:
    assert main([*RUN, *words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=1,2.5,-3", [1, 2.5, -3]),
        ("a=4:5:0.25", [4.0, 4.25, 4.5, 4.75, 5.0]),
        ("a=0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("a=5:4:-0.5", [5.0, 4.5, 4.0]),
        ("a=1:2:0.3", [1.0, 1.3, 1.6, 1.9]),
        ("a=3:3:1", [3.0]),
        ("a=1,3:4:0.5,9", [1, 3.0, 3.5, 4.0, 9]),
        ("a=10%:20%:5%", [0.1, 0.15, 0.2]),
        ("a=0.05%,3bp", [0.0005, 0.0003]),
        ("a=24h, 12h", ["24h", "12h"]),
        ("a=edge,target", ["edge", "target"]),
        ("a=true,False,none", [True, False, None]),
        ("rule.schedule.0.times.0=00:02:30,00:00+08:00", ["00:02:30", "00:00+08:00"]),
        ("a=nan,1e999", ["nan", "1e999"]),
    ],
)
def test_values(text: str, values: list[Any]) -> None:
    (found,) = parse_grid([text]).values()
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["a"], "sets nothing"),
        (["=1"], "sets nothing"),
        (["a="], "sets nothing"),
        (["a=1,,2"], "a value is missing"),
        (["a=1", "a=2"], "set twice"),
        (["a=1:2:0"], "leads nowhere"),
        (["a=2:1:0.5"], "leads nowhere"),
        (["a=0:1:0.00001"], "too many values"),
        (["a=x:1:2"], "no range"),
        (["a=0:1:0.001", "b=0:1:0.001"], "1,002,001 combinations are too many"),
    ],
)
def test_what_is_no_grid(texts: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_grid(texts)


def test_each_row_is_what_a_backtest_says(capsys: Captured) -> None:
    answer = told(capsys, "--set", "rule.band_upper=3.2:4:0.4", "--set", "target=2,3", "--sort", "turnover")
    assert answer["schema"] == "gearing.sweep/1"
    assert answer["combinations"] == len(answer["rows"]) == 6
    token, prices = read_token("t.toml"), read_prices("m/prices.parquet")
    for row in answer["rows"]:
        point = {"rule.band_upper": row["rule.band_upper"], "target": row["target"]}
        summary = backtest(vary(token, point), prices).summary()
        assert row["final_nav"] == pytest.approx(summary.final_nav, rel=1e-12)
        assert row["rebalances"] == summary.rebalances
    turnovers = [row["turnover"] for row in answer["rows"]]
    assert turnovers == sorted(turnovers, reverse=True)
    assert len(set(turnovers)) > 1


def test_texts_and_rules_can_be_swept(capsys: Captured) -> None:
    rows = told(capsys, "--set", "rule=ftx,bybit,gate")["rows"]
    assert {row["rule"] for row in rows} == {"ftx", "bybit", "gate"}
    rows = told(capsys, "--set", "rule.schedule.0.times.0=00:02,12:00")["rows"]
    assert len({row["final_nav"] for row in rows}) == 2


def test_what_people_see(capsys: Captured) -> None:
    words = ("--set", "rule.band_upper=3.2:5.5:0.1", "--set", "target=2,3")
    assert main([*RUN, *words]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    assert "48 combinations" in shown.out
    assert "20 of 48, sorted by total_return" in shown.out
    assert main([*RUN, *words, "--top", "3", "--sort", "sharpe"]) == 0
    out = capsys.readouterr().out
    assert "3 of 48, sorted by sharpe" in out
    assert re.search(r"^ *band_upper +target +sharpe +return +NAV ", out, re.MULTILINE)
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "…" not in out


def test_fields_of_the_same_name_keep_their_paths(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main([*RUN, "--set", "fees.creation=0,1%", "--set", "rule.name=a", "--set", "name=b"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^ *creation +rule\.name +name +return", out, re.MULTILINE)


def test_the_table_is_written_whole(capsys: Captured, tmp_path: Path) -> None:
    words = ("--set", "target=1.5:3:0.5", "--out", "o.parquet", "--plot", "p.html")
    assert main([*RUN, *words, "--top", "2"]) == 0
    assert "--out writes all" in capsys.readouterr().out
    frame = pl.read_parquet("o.parquet")
    assert len(frame) == 4
    assert frame["total_return"].is_sorted(descending=True)
    assert "plotly" in (tmp_path / "p.html").read_text()
    assert main([*RUN, "--set", "target=1.5:3:0.5", "--sort", "sharpe", "--report", "r.html"]) == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Judged by Sharpe ratio" in page
    assert "--set target=1.5:3:0.5 --sort sharpe" in page


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--set", "rule.band_uper=4"), "no field 'band_uper'"),
        (("--set", "target=0,1"), "a leverage other than 0"),
        (("--set", "rule.band_upper=2,4"), "no lower than the target"),
        (("--set", "target=2", "--sort", "luck"), "no column 'luck'"),
        (("--set", "target=2", "--preset", "ftx"), "both a token's file and --preset"),
        ((), "--set"),
    ],
)
def test_wrong_words_exit_with_2(words: tuple[str, ...], sentence: str, capsys: Captured, tmp_path: Path) -> None:
    assert main([*RUN, *words, "--out", "o.csv"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert sentence in shown.err
    assert not (tmp_path / "o.csv").exists()
