"""`gearing compare`: the rules of issuers on one path."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gearing.cli.main import main
from gearing.core import catalog as presets
from gearing.core.spec_text import example_token
from gearing.market.files import read_funding, read_prices
from gearing.study.backtest import backtest
from gearing.study.gap import gap_budget
from gearing.study.gap_record import chance_text

Captured = pytest.CaptureFixture[str]

DATA = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    for name in [name for name in os.environ if name.startswith("GEARING_") and name != "GEARING_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    assert main(["market", "make", "--days", "40", "--interval", "1h", "--seed", "3", "--out", "m"]) == 0
    (tmp_path / "t.toml").write_text(example_token())
    capsys.readouterr()


SERIES = ("--prices", "m/prices.parquet", "--funding", "m/funding.parquet")


def told(capsys: Captured, *words: str) -> dict[str, Any]:
    assert main(["compare", *words, *SERIES, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_each_rule_is_what_a_backtest_of_it_says(capsys: Captured) -> None:
    answer = told(capsys, "--presets", "gate,ftx", "--target", "-3", "--taker-fee", "0.1%")
    assert answer["schema"] == "gearing.compare/1"
    assert [row["rule"] for row in answer["rules"]] == ["gate", "ftx"]
    prices, funding = read_prices("m/prices.parquet"), read_funding("m/funding.parquet")
    for row in answer["rules"]:
        token = presets.token(row["rule"], "BTC", -3)
        costs = type(token.costs)(taker_fee=0.001)
        summary = backtest(token, prices, funding=funding, costs=costs).summary()
        assert (row["symbol"], row["final_nav"]) == ("BTC3S", summary.final_nav)
        assert row["total_return_without_fees"] != row["total_return"]


def test_all_leaves_out_what_does_not_serve_the_target(capsys: Captured) -> None:
    assert len(told(capsys, "--presets", "all")["rules"]) == len(presets.names())
    assert main(["compare", "--presets", "all", "--target", "5", *SERIES, "--json"]) == 0
    shown = capsys.readouterr()
    assert re.search(r"^note: binance-blvt is left out: .*1\.25 to 4", shown.err, re.MULTILINE)
    answer = json.loads(shown.out)
    assert len(answer["rules"]) == len(presets.names()) - 1
    assert len(answer["left_out"]) == 1


def test_files_stand_beside_presets(capsys: Captured) -> None:
    rows = told(capsys, "--presets", "ftx", "--target", "2", "t.toml")["rules"]
    assert [(row["symbol"], row["target"]) for row in rows] == [("BTC2L", 2), ("BTC3L", 3)]
    assert main(["compare", "--presets", "ftx", "--target", "2", "t.toml", *SERIES]) == 0
    shown = capsys.readouterr().out
    for words in ("ftx +2", "ftx +3", "at a target of +2, +3", "taker fee 0.05 %", "--taker-fee"):
        assert words in shown


def test_what_people_see_fits_the_terminal(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["compare", "--presets", "all", *SERIES, "--taker-fee", "0.05%", "--half-spread", "0.02%"]
    for width, turnover in ((80, False), (120, True)):
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(len(line) <= width for line in shown.splitlines())
        assert ("turnover" in shown) is turnover
        assert "…" not in shown
        for name in presets.names():
            assert re.search(rf"^{name} +[\d.,]+ +[−+]\d", shown, re.MULTILINE)


def test_a_wiped_out_rule_is_named(capsys: Captured) -> None:
    hour = 3_600_000
    stamps = [1_672_531_200_000 + k * hour for k in range(60)]
    closes = [100.0] * 30 + [60.0] * 30
    pl.DataFrame({"time": stamps, "close": closes}).write_parquet("p.parquet")
    assert main(["compare", "--presets", "ftx,bybit", "--prices", "p.parquet"]) == 0
    shown = capsys.readouterr().out
    assert "ftx was wiped out on 2023-01-02 07:00 UTC." in shown
    assert "bybit was wiped out" in shown


def test_sorting(capsys: Captured) -> None:
    falling = [row["turnover"] for row in told(capsys, "--presets", "all", "--sort", "turnover")["rules"]]
    assert falling == sorted(falling, reverse=True)
    rising = told(capsys, "--presets", "all", "--sort", "turnover", "--ascending")["rules"]
    assert [row["turnover"] for row in rising] == falling[::-1]
    assert main(["compare", "--presets", "ftx", *SERIES, "--sort", "total_retrun"]) == 2
    assert 'Did you mean "total_return"?' in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["parquet", "csv", "json", "feather"])
def test_the_table_is_written(ending: str, capsys: Captured, tmp_path: Path) -> None:
    out = f"o.{ending}"
    answer = told(capsys, "--presets", "ftx,gate", "--out", out, "--plot", "p.html")
    read: dict[str, Callable[[str], pl.DataFrame]]
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "feather": pl.read_ipc}
    if ending == "json":
        assert json.loads((tmp_path / out).read_text()) == answer
    else:
        assert read[ending](out)["final_nav"].to_list() == [row["final_nav"] for row in answer["rules"]]
    assert "plotly" in (tmp_path / "p.html").read_text()
    assert main(["compare", *SERIES, "--presets", "ftx,gate", "--report", "r.html"]) == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "2 rules at a target of +3" in page
    assert "<code>gearing compare --presets ftx,gate --prices" in page


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nothing to compare"),
        (("--presets", "ftx,bybitt"), 'Did you mean "bybit"?'),
        (("--presets", "ftx,binance-blvt", "--target", "5"), "1.25 to 4"),
        (("--presets", "all", "--target", "0"), "a leverage other than 0"),
        (("--presets", "all", "--target", "21"), "a leverage other than 0"),
        (("none.toml",), "there is no such file"),
        (("--presets", "ftx", "--out", "o.xls"), "'.xls' names no format"),
        (("--presets", "ftx", "--taker-fee", "2"), "--taker-fee"),
    ],
)
def test_wrong_words_exit_with_2(words: tuple[str, ...], sentence: str, capsys: Captured) -> None:
    assert main(["compare", *words, *SERIES]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert sentence in shown.err
    assert "\nnote" not in shown.err


@pytest.mark.skipif(
    not (DATA / "crypto").is_dir(), reason="no market data: set GEARING_DATA to the directory that holds it"
)
def test_every_preset_runs_on_the_real_perpetual_with_real_funding(capsys: Captured) -> None:
    words = [
        *("--prices", str(DATA / "crypto" / "perp_binance_usdm_1h.parquet"), "--symbol", "BTCUSDT"),
        *("--funding", str(DATA / "crypto" / "funding_binance_usdm_8h.parquet")),
        *("--taker-fee", "0.05%", "--half-spread", "0.02%"),
    ]
    assert main(["compare", "--presets", "all", "--target", "3", *words, "--json"]) == 0
    shown = capsys.readouterr()
    # One note, though every one of the tokens sees the same two days without funding.
    (note,) = [line for line in shown.err.splitlines() if not line.startswith("Compiling")]
    assert note.startswith("note: BTCUSDT: no funding is known for 2019-09-08T18")
    rows = {row["rule"]: row for row in json.loads(shown.out)["rules"]}
    assert list(rows) == list(presets.names())
    assert {row["end"] for row in rows.values()} == {"2026-05-17T08:00:00Z"}
    # On 12 March 2020 the price fell by more than a third of its level at 00:00, when this rule last traded.
    assert rows["daily-etf"]["wiped_out"] is True
    assert rows["daily-etf"]["wiped_out_at"].startswith(("2020-03-12", "2020-03-13"))
    assert rows["ftx"]["wiped_out"] is False


def test_the_gap_budget_is_that_of_the_study_everywhere(capsys: Captured, tmp_path: Path) -> None:
    # In one bar the price falls by 55 %, which ends both.
    closes = np.array([100.0] * 300 + [45.0] * 300) * np.exp(np.random.default_rng(1).normal(0, 0.004, 600))
    stamps = [1_672_531_200_000 + k * 3_600_000 for k in range(600)]
    pl.DataFrame({"time": stamps, "close": closes}).write_parquet("p.parquet")
    words = ["compare", "--presets", "ftx,daily-etf", "--target", "2", "--prices", "p.parquet"]
    assert main([*words, "--json", "--out", "o.parquet"]) == 0
    told = [row["gap_budget"] for row in json.loads(capsys.readouterr().out)["rules"]]
    prices = read_prices("p.parquet")
    expected = [gap_budget(presets.token(name, "BTC", 2), prices) for name in ("ftx", "daily-etf")]
    assert told == pytest.approx([budget.zero_per_year_at_worst for budget in expected], rel=1e-9)
    assert pl.read_parquet("o.parquet")["gap_budget"].to_list() == told
    assert main(words) == 0
    shown = capsys.readouterr().out
    for name, chance in zip(("ftx", "daily-etf"), told, strict=True):
        assert re.search(rf"^{name} .* {re.escape(chance_text(chance))}(?: |$)", shown, re.MULTILINE)
    assert '"gap" is the chance a year, at worst' in shown
