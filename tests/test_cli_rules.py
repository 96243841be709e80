"""`gearing rules` and `gearing rules show`."""

from __future__ import annotations

import json
import os

import pytest

from gearing.cli.main import main
from gearing.core import catalog as presets
from gearing.core.words import headline

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GEARING_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("columns", ["80", "120", "200"])
def test_the_list_names_every_preset_and_fits(columns: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["rules"]) == 0
    shown = capsys.readouterr().out
    rows = shown.splitlines()
    assert all(len(row) <= int(columns) for row in rows)
    for name in presets.names():
        assert any(row.split()[:1] == [name] for row in rows), name
    assert "30.6%/yr" in shown


def test_the_list_as_json(capsys: Captured) -> None:
    assert main(["rules", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "gearing.rules/1"
    listed = {entry["name"]: entry for entry in answer["presets"]}
    assert list(listed) == list(presets.names())
    assert listed["gate"]["fees"]["all_in"] is True
    assert listed["ftx"]["rule"] == headline(presets.preset("ftx", target=3)).removeprefix("ftx: ")


@pytest.mark.parametrize("name", presets.names())
@pytest.mark.parametrize("target", ["3", "-3"])
def test_every_preset_is_explained(name: str, target: str, capsys: Captured) -> None:
    assert main(["rules", "show", name, "--target", target]) == 0
    shown = capsys.readouterr().out
    for part in (name, "Rule", "Moves of the price from target", "33.333 %", "Fees", "Source"):
        assert part in shown


@pytest.mark.parametrize(
    ("name", "target", "rows"),
    [
        ("ftx", "3", [("−11.111 %", "+4")]),
        ("ftx", "-3", [("+6.667 %", "−4")]),
        ("ftx", "-1", [("+14.286 %", "−1.333")]),
        ("gate-bands", "3", [("−12 %", "+4.125"), ("+20 %", "+2.25")]),
        ("gate-bands", "-3", [("+12 %", "−5.25"), ("−20 %", "−1.5")]),
        ("kucoin", "3", [("−15 %", "+4.636"), ("+15 %", "+2.379")]),
        ("mexc", "-3", [("+15 %", "−6.273"), ("−15 %", "−1.759")]),
    ],
)
def test_the_oracle_table_falls_out(name: str, target: str, rows: list[tuple[str, str]], capsys: Captured) -> None:
    assert main(["rules", "show", name, "--target", target]) == 0
    shown = [" ".join(line.split()[:3]) for line in capsys.readouterr().out.splitlines()]
    for move, level in rows:
        assert f"{move} {level}" in shown


def test_a_preset_as_json(capsys: Captured) -> None:
    assert main(["rules", "show", "index-2x", "--underlying", "BTC", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "gearing.rule/1"
    assert answer["target"] == 2
    assert answer["rule"]["band_upper"] == 2.2
    assert answer["management_per_day"] == pytest.approx(0.0001)
    assert "assumption" in answer["source"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftxx"], 'Did you mean "ftx"?'),
        (["binance-blvt", "--target", "5"], "1.25 to 4"),
        (["ftx", "--target", "0"], "a leverage other than 0"),
        (["ftx", "--target", "nan"], "is not a number"),
        (["ftx", "--target", "1e999"], "is not a number"),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments: list[str], words: str, capsys: Captured) -> None:
    assert main(["rules", "show", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
