"""`gearing market`: make, fetch, check, as a person and as a program uses them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from gearing.cli.market import market_app
from gearing.errors import DataError, DataWarning, FetchError, InputError
from gearing.market import fetch as download
from gearing.market.fetch_file import Fetched
from gearing.market.files import read_funding, read_prices
from gearing.market.inspect import inspect_series
from gearing.market.series import Gap, Prices
from gearing.market.synthetic import make_market

app = typer.Typer()
app.add_typer(market_app, name="market")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["market", *map(str, words)])


def told(*words: object) -> dict[str, Any]:
    result = run(*words, "--json")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_make_writes_what_make_market_makes(tmp_path: Path) -> None:
    words = ("--seed", 5, "--days", 3, "--interval", "5m", "--price", 1_000, "--symbol", "X", "--tick", 0.1)
    answer = told("make", "--out", tmp_path, *words)
    assert answer["schema"] == "gearing.market.make/1"
    assert answer["prices"]["rows"] == 3 * 288
    prices, funding = make_market(seed=5, days=3, interval="5m", price=1_000, symbol="X", tick=0.1)
    again = read_prices(answer["prices"]["file"])
    for name in ("times_ms", "open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(again, name), getattr(prices, name))
    rates = read_funding(answer["funding"]["file"])
    assert np.array_equal(rates.rates, funding.rates)
    assert np.array_equal(rates.times_ms, funding.times_ms)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["funding.parquet", "prices.parquet"]


def test_every_option_of_make_reaches_the_market(tmp_path: Path) -> None:
    base = ("make", "--days", 2, "--interval", "1h", "--out", tmp_path / "p.parquet")
    told(*base)
    plain = read_prices(tmp_path / "p.parquet").close.tolist()
    for option, value in {
        "--seed": 1,
        "--start": "2024-01-01",
        "--price": 5,
        "--volatility": 0.9,
        "--drift": 1.0,
        "--jumps-per-year": 0,
        "--jump-size": 0.01,
        "--clustering": 0,
        "--tick": 10,
    }.items():
        told(*base, option, value)
        other = read_prices(tmp_path / "p.parquet")
        assert other.close.tolist() != plain or other.start != "2023-01-01T00:00:00Z", option


def test_make_into_a_named_file_and_without_funding(tmp_path: Path) -> None:
    told("make", "--days", 2, "--interval", "1h", "--out", tmp_path / "btc.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["btc.csv", "btc_funding.csv"]
    answer = told("make", "--days", 2, "--interval", "1h", "--out", tmp_path / "new", "--no-funding")
    assert "funding" not in answer
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["prices.parquet"]
    result = run("make", "--days", 2, "--interval", "1h", "--out", tmp_path / "new")
    assert "Prices(BTC, 48 × 1h" in result.stdout


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        (("make", "--out", "no/such/place"), InputError, "the directory does not exist"),
        (("make", "--out", "no/p.parquet", "--days", 2), InputError, "the directory does not exist"),
        (("make", "--out", "p.xls", "--days", 2), InputError, "names no format"),
        (("make", "--interval", "7m"), InputError, "divisor of a day"),
        (("make", "--volatility", 0.1), InputError, "the jumps alone"),
        (("check", "none.parquet"), DataError, "there is no such file"),
        (("check", "."), DataError, "is a directory"),
        (("fetch", "binnance", "BTC/USDT:USDT", "--since", "2020"), FetchError, "Did you mean"),
    ],
)
def test_wrong_input_bubbles_up_to_the_entry(
    words: tuple[object, ...],
    kind: type[InputError],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert isinstance(result.exception, kind)
    assert sentence in str(result.exception)
    assert kind.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_make_on_a_full_disk() -> None:
    result = run("make", "--days", 2, "--out", "/dev/full")
    assert isinstance(result.exception, InputError)
    assert "the disk is full" in str(result.exception)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_make_in_a_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "no permission" in str(run("make", "--days", 2, "--out", tmp_path).exception)
    finally:
        tmp_path.chmod(0o700)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    told("make", "--days", 3, "--interval", "1h", "--out", tmp_path)
    return tmp_path


def test_check_of_a_sound_file(market: Path) -> None:
    answer = told("check", market / "prices.parquet")
    assert answer["schema"] == "gearing.market.check/1"
    assert (answer["usable"], answer["kind"], answer["rows"], answer["faults"]) == (True, "prices", 72, [])
    # The period is that of a backtest: the bars' ends.
    assert answer["start"] == "2023-01-01T00:00:00Z"
    assert told("check", market / "prices.parquet", "--stamp", "close")["start"] == "2022-12-31T23:00:00Z"
    assert answer["spacing_ms"] == 3_600_000
    frame = pl.read_parquet(market / "prices.parquet")
    moves = frame["close"].pct_change().drop_nulls()
    assert abs(answer["largest_moves"][0]["move"]) == pytest.approx(moves.abs().max())
    assert answer["lowest"] == frame["low"].min()
    result = run("check", market / "prices.parquet")
    assert result.exit_code == 0
    for word in ("72 × 1h", "largest moves", "standing still", "No fault found"):
        assert word in result.stdout
    assert told("check", market / "funding.parquet")["kind"] == "funding"
    assert "mean" in run("check", market / "funding.parquet", "--kind", "funding").stdout


def test_check_finds_gaps_flat_stretches_and_bars_without_volume(market: Path) -> None:
    frame = pl.read_parquet(market / "prices.parquet").with_row_index()
    row = pl.col("index")
    flat = row.is_between(10, 16)
    price = frame["close"][9]
    frame = frame.with_columns(
        *(pl.when(flat).then(price).otherwise(pl.col(name)).alias(name) for name in ("open", "high", "low", "close")),
        pl.when(flat).then(0.0).otherwise(pl.col("volume")).alias("volume"),
    ).filter(~row.is_between(30, 33) & (row != 50))
    frame = frame.with_columns(pl.max_horizontal("high", "open").alias("high"))
    path = market / "holes.parquet"
    frame.drop("index").write_parquet(path)
    result = run("check", path, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 3
    assert (answer["usable"], answer["gap_count"], answer["missing_rows"]) == (True, 2, 5)
    assert answer["longest_gaps"][0] == {
        "after": "2023-01-02T05:00:00Z",
        "until": "2023-01-02T10:00:00Z",
        "missing": 4,
    }
    assert answer["zero_volume_rows"] == 7
    assert answer["flat_stretches"] == [{"after": "2023-01-01T09:00:00Z", "rows": 7}]
    assert len(answer["faults"]) == 1
    human = run("check", path)
    assert human.exit_code == 3
    assert "2 gaps, 5 rows missing" in human.stdout
    assert "7 rows without volume" in human.stdout


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("time,close\n2020-01-01,1\n2020-01-02,-5\n", "is -5"),
        ("time,close\n2020-01-02,1\n2020-01-01,5\n2020-01-03,5\n", "not sorted"),
        ("time,close\n2020-01-01,1\n2020-01-02,x\n", "'x' stands where a number should"),
        ("time,close\n2020-01-01T00:00Z,1\n2020-01-02T00:00,2\n", "mixed time zones"),
        ("time,rate\n2020-01-01,0.1\n2020-01-02,7\n", "funding rate is 7"),
    ],
)
def test_an_unusable_series_is_a_finding(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    result = run("check", path, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 3
    assert answer["usable"] is False
    assert fault in answer["faults"][0]
    human = run("check", path)
    assert human.exit_code == 3
    assert fault in human.stderr


def test_an_unreadable_file_is_wrong_input(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    path.write_bytes(b"\x00\x01\x02" * 100)
    result = run("check", path)
    assert isinstance(result.exception, DataError)
    assert result.stdout == ""


def test_fetch_passes_everything_on_and_tells_what_it_got(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def fake(exchange_id: str, market: str, *, progress: Any, **options: Any) -> Fetched:
        progress(download.Progress(10, 50, 0, 100))
        calls.append({"id": exchange_id, "market": market, **options})
        gaps = (Gap(0, 300_000, 4),) if options["kind"] == "prices" else ()
        return Fetched(
            path=options["out"],
            kind=options["kind"],
            symbol="BTCUSDT",
            rows=20,
            added=10,
            start="2020-01-01T00:00:00Z",
            end="2020-01-02T00:00:00Z",
            gaps=gaps,
        )

    monkeypatch.setattr(download, "fetch", fake)
    words = ("fetch", "binance", "BTC/USDT:USDT", "--since", "2020", "--until", "2021", "--timeframe", "5m")
    with pytest.warns(DataWarning, match="BTCUSDT prices: the exchange left 1 gap;"):
        answer = told(*words, "--out", tmp_path)
    assert answer["schema"] == "gearing.market.fetch/1"
    assert answer["prices"]["gaps"] == [{"after_ms": 0, "until_ms": 300_000, "missing": 4}]
    assert [call["kind"] for call in calls] == ["prices", "funding"]
    assert [call["out"].name for call in calls] == [
        "binance_BTCUSDT_5m.parquet",
        "binance_BTCUSDT_funding.parquet",
    ]
    assert {(call["since"], call["until"], call["timeframe"]) for call in calls} == {("2020", "2021", "5m")}
    calls.clear()
    with pytest.warns(DataWarning):
        result = run(*words, "--out", tmp_path / "mine.parquet", "--no-funding")
    assert [call["out"].name for call in calls] == ["mine.parquet"]
    said = " ".join(result.stdout.split())
    assert "20 rows (10 new), 2020-01-01T00:00:00Z to 2020-01-02T00:00:00Z, 1 gap" in said


def test_one_flat_bar_is_no_stall_and_equal_closes_only_from_five() -> None:
    close = np.array([1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0])
    bars = Prices(60_000 * np.arange(7), close, high=close, low=close)
    assert inspect_series(bars)["flat_stretches"] == [{"after": "1970-01-01T00:03:00Z", "rows": 2}]
    assert inspect_series(Prices(60_000 * np.arange(7), close))["flat_stretches"] == []
    still = Prices(60_000 * np.arange(13), np.array([1.0, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 9]))
    facts = inspect_series(still)
    assert facts["flat_stretches"] == [{"after": "1970-01-01T00:06:00Z", "rows": 5}]
    assert facts["notes"] == ["The price stands still for 5 rows after 1970-01-01T00:06:00Z."]
