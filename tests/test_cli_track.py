"""`gearing track`: a product's file against a token's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import gearing as gr
from gearing.cli.main import main

Captured = pytest.CaptureFixture[str]
DAYS = 500
TOKEN = """
symbol = "SSO"
target = 2
rule = "daily-etf"

[fees]
management_per_year = 0.0089

[[legs]]
kind = "total_return_swap"
symbol = "SPY"
spread = 0.0035
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index and a fund on it that pays 1 % a year more than its token, as daily closes in one file."""
    for name in [name for name in os.environ if name.startswith("GEARING_") and name != "GEARING_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    days = pl.date_range(pl.date(2022, 1, 1), pl.date(2022, 1, 1) + pl.duration(days=DAYS), eager=True)
    moves = np.random.default_rng(5).normal(0.0003, 0.01, DAYS)
    daily = (1 + 2 * moves - (2 * (0.04 + 0.0135) - 0.04) / 360) * (1 - 0.0089 / 365)
    closes = {"SPY": 400 * np.cumprod([1, *(1 + moves)]), "SSO": 50 * np.cumprod([1, *daily])}
    tables = [pl.DataFrame({"date": days, "adj_close": c}).with_columns(symbol=pl.lit(s)) for s, c in closes.items()]
    pl.concat(tables).write_csv("closes.csv")
    tables[1].drop("symbol").write_csv("fund.csv")
    (tmp_path / "sso.toml").write_text(TOKEN)


SERIES = ("sso.toml", "--prices", "SPY=closes.csv", "--rates", "4%")


def told(capsys: Captured, *words: str, product: str = "SSO=closes.csv") -> dict[str, Any]:
    assert main(["track", product, *SERIES, *words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_the_spread_of_a_file_is_found(capsys: Captured) -> None:
    answer = told(capsys)
    assert answer["schema"] == "gearing.track/1"
    figures = answer["track"]
    assert (figures["product"], figures["symbol"], figures["changes"]) == ("SSO", "SSO", DAYS)
    assert figures["implied_spread"] == pytest.approx(0.01, rel=1e-4)
    assert figures["charged_spread"] == 0.0035
    assert "frame" not in figures
    assert [row["year"] for row in answer["by_year"]] == [2022, 2023]
    assert len(answer["worst"]) == 6
    assert answer["rates"]["mean"] == 0.04
    alone = told(capsys, product="fund.csv")["track"]
    assert alone == {**figures, "product": alone["product"]}


def test_it_says_what_python_says(capsys: Captured) -> None:
    answer = told(capsys, "--window", "2022-03-01..2023-01-01", "--leave-out", "2022-04-01..2022-05-01",
                  "--leave-out", "2022-06-01..2022-06-03")["track"]  # fmt: skip
    index, fund = (gr.read_prices("closes.csv", symbol=name) for name in ("SPY", "SSO"))
    result = gr.backtest(gr.read_token("sso.toml"), index, rates=0.04)
    left_out = [("2022-04-01", "2022-05-01"), ("2022-06-01", "2022-06-03")]
    found = gr.track(fund, result, window=("2022-03-01", "2023-01-01"), leave_out=left_out)
    assert found.changes == 306 - 30 - 2
    for name in ("drift", "drift_error", "deviation", "echo", "beta", "implied_spread", "start", "end"):
        assert answer[name] == pytest.approx(getattr(found, name)), name


def test_what_it_prints(capsys: Captured) -> None:
    assert main(["track", "SSO=closes.csv", *SERIES]) == 0
    out = capsys.readouterr().out
    for line in (
        "SSO against SSO, +2",
        "implied spread       +1.00 % over the 0.35 % charged, +1.35 % in all",
        "By calendar year",
        "Largest gaps",
        "SSO lost on its simulation 203 bp a year, more than two standard errors from zero.",
    ):
        assert line in out, line
    assert "triggered by the price" not in out


def test_a_band_is_said_to_be_rough(capsys: Captured, tmp_path: Path) -> None:
    banded = TOKEN.replace('rule = "daily-etf"\n', "") + "\n[rule]\nband_lower = 1.9\nband_upper = 2.1\n"
    (tmp_path / "band.toml").write_text(banded)
    assert main(["track", "SSO=closes.csv", "band.toml", *SERIES[1:]]) == 0
    assert "the implied spread is rough" in " ".join(capsys.readouterr().out.split())


def test_its_files(capsys: Captured) -> None:
    written = ("--out", "s.parquet", "--plot", "p.html", "--report", "r.html")
    told(capsys, *written)
    frame = pl.read_parquet("s.parquet")
    assert frame.columns[:4] == ["time", "product", "simulated", "underlying"]
    assert len(frame) == DAYS + 1
    page = Path("r.html").read_text()
    assert "SSO against its simulation" in page
    assert "gearing track SSO=closes.csv sso.toml" in page
    assert "sum of the gaps" in Path("p.html").read_text()
    told(capsys, "--out", "s.json")
    assert json.loads(Path("s.json").read_text())["schema"] == "gearing.track/1"


def test_the_stamp_of_the_product_is_its_own(capsys: Captured) -> None:
    late = told(capsys, "--product-stamp", "close")["track"]
    assert late["r_squared"] < 0.1
    # Read as known at its stamp, a day's close comes a day before the token's.
    assert late["lag"] == -1
    both = told(capsys, "--stamp", "close")["track"]
    assert both["r_squared"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["track", "closes.csv", *SERIES], "Choose one: PRODUCT_FILE SPY=closes.csv"),
        (["track", "nobody.csv", *SERIES], "nobody.csv"),
        (["track", "SSO=closes.csv", "--prices", "closes.csv"], "no token is given"),
        (["track", "SSO=closes.csv", *SERIES, "--window", "2022"], "this is no window"),
        (["track", "SSO=closes.csv", *SERIES, "--leave-out", "2022.."], "this is no window"),
        (["track", "SSO=closes.csv", *SERIES, "--window", "1990-01-01..1991-01-01"], "no common time"),
        (["track", "SSO=closes.csv", *SERIES, "--out", "sso.toml"], "sso.toml"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], said: str, capsys: Captured) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
