"""`gearing backtest`: what it prints, writes and refuses."""

from __future__ import annotations

import errno
import html
import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gearing import jit, numerals
from gearing.cli import compiling
from gearing.cli.main import main
from gearing.core.spec_text import example_token
from gearing.market.files import read_funding, read_prices
from gearing.market.symbols import underlying_of
from gearing.market.token_file import read_token
from gearing.study.backtest import backtest

Captured = pytest.CaptureFixture[str]

HOUR = 3_600_000
START = 1_672_531_200_000


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GEARING_") and name != "GEARING_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def market(tmp_path: Path, capsys: Captured) -> Path:
    assert main(["market", "make", "--days", "40", "--interval", "1h", "--seed", "3", "--out", "m"]) == 0
    (tmp_path / "t.toml").write_text(example_token())
    capsys.readouterr()
    return tmp_path / "m"


SERIES = ("--prices", "m/prices.parquet", "--funding", "m/funding.parquet")
RUN = ("backtest", "t.toml", *SERIES)


def told(capsys: Captured, *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def write_prices(path: str, closes: list[float], **columns: list[float]) -> None:
    stamps = [START + k * HOUR for k in range(len(closes))]
    pl.DataFrame({"timestamp": stamps, "close": closes, **columns}).write_parquet(path)


def test_the_answer_is_that_of_the_study(market: Path, capsys: Captured) -> None:
    answer = told(capsys, *RUN)
    result = backtest(
        read_token("t.toml"),
        read_prices(market / "prices.parquet"),
        funding=read_funding(market / "funding.parquet"),
    )
    assert answer["schema"] == "gearing.backtest/1"
    assert answer["summary"]["final_nav"] == result.summary().final_nav
    assert answer["summary"]["rebalances"] == result.summary().rebalances
    assert answer["costs"]["taker_fee"] == 0.0005
    money = answer["attribution"]["money"]
    assert money.pop("total") == pytest.approx(sum(money.values()))
    # The settlement at the first price is not due; there are three a day.
    assert answer["funding"]["settlements"] == 40 * 3 - 1


def test_what_people_see(market: Path, capsys: Captured) -> None:
    assert main(list(RUN)) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    for words in ("BTC3L", "ftx: daily 00:02 UTC", "960 bars of 1h", "119 settlements", "taker fee 0.05 %"):
        assert words in shown.out
    assert "--taker-fee" not in shown.out


def attribution_columns(text: str) -> list[list[float]]:
    rows = text.split("Where it came from")[1].splitlines()[2:]
    cells = [re.split(r"\s{2,}", row) for row in rows if "─" not in row and row]
    return [[float(cell.replace("−", "-").replace(",", "")) for cell in row[1:]] for row in cells]


def test_the_attribution_adds_up_as_it_is_printed(market: Path, capsys: Captured) -> None:
    for target in ("3", "-3", "1.7"):
        assert main(["backtest", "--preset", "ftx", "--target", target, *SERIES, "--taker-fee", "0.1%"]) == 0
        *parts, total = attribution_columns(capsys.readouterr().out)
        assert len(parts) >= 5
        for column in range(2):
            assert round(sum(part[column] for part in parts), 6) == round(total[column], 6)


def test_costs_and_fees_of_the_command_go_before_those_of_the_file(market: Path, capsys: Captured) -> None:
    words = ("--taker-fee", "0.1%", "--half-spread", "0.0003", "--impact", "0.2", "--management-per-day", "1bp")
    answer = told(capsys, *RUN, *words)
    assert answer["costs"] == {"taker_fee": 0.001, "half_spread": 0.0003, "impact": 0.2, "liquidation_fee": 0}
    assert answer["token"]["fees"]["management_per_day"] == 0.0001
    one = told(capsys, *RUN, "--taker-fee", "0")
    assert (one["costs"]["taker_fee"], one["costs"]["half_spread"]) == (0, 0.0002)
    assert one["summary"]["final_nav"] > told(capsys, *RUN)["summary"]["final_nav"]


def test_a_daily_fee_takes_the_place_of_a_yearly_one(market: Path, capsys: Captured) -> None:
    words = ("backtest", "--preset", "daily-etf", *SERIES)
    assert told(capsys, *words)["token"]["fees"]["management_per_year"] == 0.0095
    fees = told(capsys, *words, "--management-per-day", "0.05%")["token"]["fees"]
    assert (fees["management_per_day"], fees["management_per_year"]) == (0.0005, 0)


def test_a_preset_takes_its_underlying_from_the_prices(market: Path, capsys: Captured) -> None:
    token = told(capsys, "backtest", "--preset", "ftx", "--target", "-3", *SERIES)["token"]
    assert (token["symbol"], token["target"], token["rule"]) == ("BTC3S", -3, "ftx")
    token = told(capsys, "backtest", "--preset", "fli", "--underlying", "ETH", *SERIES)["token"]
    assert (token["symbol"], token["target"]) == ("ETH2L", 2)


@pytest.mark.parametrize(
    ("symbol", "underlying"),
    [
        ("BTCUSDT", "BTC"), ("BTC/USDT:USDT", "BTC"), ("1000PEPEUSDT", "1000PEPE"), ("ETH-PERP", "ETH"),
        ("BTC-USDT-SWAP", "BTC"), ("BTC", "BTC"), ("SPY", "SPY"), ("", ""),
    ],
)  # fmt: skip
def test_the_underlying_of_a_symbol(symbol: str, underlying: str) -> None:
    assert underlying_of(symbol) == underlying


def test_without_costs_it_says_how_to_set_them(market: Path, capsys: Captured) -> None:
    assert main(["backtest", "--preset", "ftx", "--prices", "m/prices.parquet"]) == 0
    shown = capsys.readouterr().out
    assert len([line for line in shown.splitlines() if "--taker-fee" in line]) == 1
    assert "give it with --funding" in shown
    assert main(["backtest", "--preset", "gate", *SERIES, "--taker-fee", "1%"]) == 0
    assert "the fee is all in" in capsys.readouterr().out
    answer = told(capsys, "backtest", "--preset", "gate", *SERIES, "--taker-fee", "1%")
    assert answer["costs"]["taker_fee"] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "no token is given"),
        (("t.toml", "--preset", "ftx"), "both a token's file and --preset"),
        (("--preset", "ftxx"), 'Did you mean "ftx"?'),
        (("--preset", "binance-blvt", "--target", "9"), "1.25 to 4"),
        (("none.toml",), "there is no such file"),
        (("t.toml", "--taker-fee", "much"), "--taker-fee: expected a number"),
        (("t.toml", "--half-spread", "-1"), "--half-spread"),
        (("t.toml", "--equity", "0"), "no capital"),
        (("t.toml", "--start", "2031"), "Widen the period"),
        (("t.toml", "--start", "soon"), "no moment in time"),
        (("t.toml", "--symbol", "ETH"), "no symbol 'ETH'"),
        (("t.toml", "--nav", "n.xls"), "'.xls' names no format"),
        (("t.toml", "--plot", "n.png"), "'.png' names no format"),
        (("t.toml", "--nav", "no/n.csv"), "the directory does not exist"),
        (("t.toml", "--nav", "a.csv", "--rebalances", "./a.csv"), "also the file of --nav"),
        (("t.toml", "--nav", "m/prices.parquet"), "an input of this command, m/prices.parquet"),
    ],
)
def test_wrong_words_exit_with_2_and_write_nothing(
    words: tuple[str, ...], sentence: str, market: Path, capsys: Captured, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    outputs = () if "--nav" in words else ("--nav", "n.csv", "--out", "o.json")
    assert main(["backtest", *words, "--prices", "m/prices.parquet", *outputs]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert sentence in shown.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def csv(*rows: str) -> Callable[[Path], object]:
    return lambda path: path.write_text("\n".join(("time,close", *rows)) + "\n")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.touch(), "the file is empty"),
        (lambda path: path.mkdir(), "a directory"),
        (lambda path: path.write_bytes(bytes(range(256)) * 9), ""),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(200)), ""),
        (lambda path: path.write_bytes(b"PAR1" + bytes(200)), ""),
        (csv(), ""),
        (lambda path: path.write_text("time,open\n2023-01-01,1\n2023-01-02,2\n"), "close"),
        (lambda path: path.write_text("close\n1\n2\n"), "time"),
        (csv("2023-01-02,1", "2023-01-01,2", "2023-01-03,2"), "not sorted"),
        (csv("2023-01-01,1", "2023-01-01,2"), "twice"),
        (csv("2023-01-01,1", "2023-01-02,"), "finite and above 0"),
        (csv("2023-01-01,1", "2023-01-02,nan"), "finite and above 0"),
        (csv("2023-01-01,1", "2023-01-02,inf"), "finite and above 0"),
        (csv("2023-01-01,1", "2023-01-02,0"), "finite and above 0"),
        (csv("2023-01-01,1", "2023-01-02,-3"), "finite and above 0"),
        (csv("2023-01-01T00:00Z,1", "2023-01-02T00:00,2"), "mixed time zones"),
        (csv("2023-01-01,1", "2023-01-02,many"), "'many' stands where a number should"),
    ],
)
def test_prices_that_cannot_be_used_have_a_sentence_of_their_own(
    make: Callable[[Path], object], sentence: str, market: Path, capsys: Captured, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv"
    make(path)
    assert main(["backtest", "t.toml", "--prices", str(path), "--nav", "n.csv"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"error: .*bad\.csv.*\n", shown.err), "one sentence with its place"
    assert sentence in shown.err
    assert not (tmp_path / "n.csv").exists()


def test_several_symbols_need_a_choice(market: Path, capsys: Captured) -> None:
    for kind in ("prices", "funding"):
        frame = pl.read_parquet(f"m/{kind}.parquet")
        value = "close" if kind == "prices" else "funding_rate"
        other = frame.with_columns(pl.lit("ETH").alias("symbol"), pl.col(value) * (1.0 if kind == "prices" else 0.5))
        pl.concat([frame, other]).write_parquet(f"m/{kind}_both.parquet")
    both = ("backtest", "t.toml", "--prices", "m/prices_both.parquet", "--funding", "m/funding_both.parquet")
    assert main(list(both)) == 2
    assert "2 symbols: BTC, ETH" in capsys.readouterr().err
    btc, eth = (told(capsys, *both, "--symbol", symbol)["summary"] for symbol in ("BTC", "ETH"))
    assert btc["final_nav"] == told(capsys, *RUN)["summary"]["final_nav"]
    # Half the rates cost or earn half as much.
    assert eth["final_nav"] != btc["final_nav"]


def test_funding_of_another_time_is_refused_and_of_another_underlying_noted(market: Path, capsys: Captured) -> None:
    late = pl.read_parquet("m/funding.parquet").with_columns(pl.col("timestamp") + pl.duration(days=900))
    late.write_parquet("late.parquet")
    assert main(["backtest", "t.toml", "--prices", "m/prices.parquet", "--funding", "late.parquet"]) == 2
    assert "no funding settlement falls into the price period" in capsys.readouterr().err
    pl.read_parquet("m/funding.parquet").with_columns(symbol=pl.lit("ETHUSDT")).write_parquet("eth.parquet")
    assert main(["backtest", "t.toml", "--prices", "m/prices.parquet", "--funding", "eth.parquet"]) == 0
    assert capsys.readouterr().err == "note: the prices are of BTC, the funding of ETHUSDT\n"


def test_gaps_are_noted_in_one_line(market: Path, capsys: Captured) -> None:
    frame = pl.read_parquet("m/prices.parquet").with_row_index()
    frame.filter(~pl.col("index").is_between(100, 120)).drop("index").write_parquet("holes.parquet")
    assert main(["backtest", "t.toml", "--prices", "holes.parquet"]) == 0
    assert re.fullmatch(r"note: BTC: 1 gap, 21 rows of 1h missing; .*\n", capsys.readouterr().err)


def test_impact_without_volume_is_noted(market: Path, capsys: Captured) -> None:
    write_prices("p.parquet", [100.0, 101.0, 102.0])
    assert main(["backtest", "t.toml", "--prices", "p.parquet", "--impact", "0.1"]) == 0
    assert capsys.readouterr().err == "note: the prices have no volume, so impact costs nothing\n"
    assert main([*RUN, "--impact", "0.1"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert re.search(r"^impact +−0\.\d+ +−\d", shown.out, re.MULTILINE)


def test_a_period_needs_no_note(market: Path, capsys: Captured) -> None:
    assert main([*RUN, "--start", "2023-01-10", "--end", "2023-01-20"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "2023-01-10 00:00 to 2023-01-19 23:00 UTC" in shown.out


def test_the_stamp_of_a_bar(market: Path, capsys: Captured) -> None:
    at_open, at_close = (told(capsys, *RUN, "--stamp", stamp)["prices"]["start"] for stamp in ("open", "close"))
    assert (at_open, at_close) == ("2023-01-01T00:00:00Z", "2022-12-31T23:00:00Z")


def test_every_file_is_written(market: Path, capsys: Captured, tmp_path: Path) -> None:
    words = ("--nav", "nav.parquet", "--rebalances", "r.csv", "--plot", "p.html", "--out", "o.json")
    assert main([*RUN, *words]) == 0
    shown = capsys.readouterr()
    assert shown.err == "wrote nav.parquet\nwrote r.csv\nwrote p.html\nwrote o.json\n"
    nav = pl.read_parquet("nav.parquet")
    assert nav.columns == ["time", "price", "nav", "equity", "exposure", "leverage"]
    answer = json.loads((tmp_path / "o.json").read_text())
    assert answer == told(capsys, *RUN)
    assert nav["nav"][-1] == answer["summary"]["final_nav"]
    assert len(nav) == answer["prices"]["bars"]
    assert len(pl.read_csv("r.csv")) == answer["summary"]["trades"]
    assert "plotly" in (tmp_path / "p.html").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("option", ["--nav", "--rebalances", "--plot", "--out"])
def test_a_full_device_is_said(option: str, market: Path, capsys: Captured) -> None:
    assert main([*RUN, option, "/dev/full"]) == 2
    shown = capsys.readouterr()
    # A busy machine is told first that code is being loaded or compiled.
    assert (shown.out, "error: /dev/full: the disk is full" in shown.err) == ("", True)


def test_a_full_disk_leaves_nothing_half_written(
    market: Path, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("gearing.files.os.fsync", full)
    assert main([*RUN, "--nav", "n.parquet"]) == 2
    assert capsys.readouterr().err == (
        "error: n.parquet: the disk is full; nothing was kept. Free some space, or write elsewhere.\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission(market: Path, capsys: Captured) -> None:
    (market / "prices.parquet").chmod(0)
    assert main(list(RUN)) == 2
    assert "no permission to read" in capsys.readouterr().err


def test_a_wipe_out_is_said_plainly(capsys: Captured) -> None:
    write_prices("p.parquet", [100.0] * 30 + [60.0] * 30)
    words = ("backtest", "--preset", "ftx", "--prices", "p.parquet")
    assert main(list(words)) == 0
    shown = capsys.readouterr().out
    # The bar stamped 06:00 on the second day is known an hour later.
    assert "WIPED OUT on 2023-01-02 07:00 UTC" in shown
    assert re.search(r"^gap +– +−\d", shown, re.MULTILINE)
    assert re.search(r"^total +−∞ +−100\.0+$", shown, re.MULTILINE)
    answer = told(capsys, *words)
    assert (answer["summary"]["wiped_out"], answer["attribution"]["log"]) == (True, None)


def test_a_liquidation_is_said_plainly(capsys: Captured, tmp_path: Path) -> None:
    tiers = '[[legs]]\nmargin_tiers = [{ rate = "5%" }]\n'
    (tmp_path / "l.toml").write_text(f'symbol = "A"\ntarget = 5\nrule = "ftx"\n{tiers}')
    write_prices("p.parquet", [100.0] * 30 + [84.0] * 30)
    assert main(["backtest", "l.toml", "--prices", "p.parquet"]) == 0
    assert "LIQUIDATED once" in capsys.readouterr().out


def test_options_come_from_the_environment_too(market: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARING_PRICES", "m/prices.parquet")
    monkeypatch.setenv("GEARING_TAKER_FEE", "0.3%")
    assert told(capsys, "backtest", "t.toml")["costs"]["taker_fee"] == 0.003
    assert told(capsys, "backtest", "t.toml", "--taker-fee", "0.1%")["costs"]["taker_fee"] == 0.001


def test_a_target_goes_before_that_of_the_file(market: Path, capsys: Captured) -> None:
    assert told(capsys, *RUN, "--target", "2")["token"]["target"] == 2


def test_a_report_is_written_and_says_how_to_make_it_again(market: Path, capsys: Captured, tmp_path: Path) -> None:
    words = [*RUN, "--report", "r.html", "--window", "2023-01-05..2023-01-12", "--taker-fee", "0.05%"]
    assert main(words) == 0
    assert "wrote r.html" in capsys.readouterr().err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "at percentile" in page
    command = html.unescape(re.findall(r"<code>(gearing [^<]*)</code>", page)[0])
    (tmp_path / "r.html").unlink()
    assert main(shlex.split(command)[1:]) == 0
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page


def test_a_report_names_what_came_from_the_environment(
    market: Path, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEARING_TAKER_FEE", "0.0007")
    assert main([*RUN, "--report", "r.html"]) == 0
    assert "--taker-fee 0.0007" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ("2023-01-05", "no window"),
        ("2023-01-05..", "no window"),
        ("2023-01-07..2023-01-05", "ends before"),
        ("2021-01-05..2021-01-07", "not inside"),
        ("a..b", "no moment"),
    ],
)
def test_a_window_that_is_none_writes_nothing(
    window: str, words: str, market: Path, capsys: Captured, tmp_path: Path
) -> None:
    assert main([*RUN, "--report", "r.html", "--window", window]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_evidence_is_in_the_answer_with_and_without_a_report(market: Path, capsys: Captured, tmp_path: Path) -> None:
    assert main([*RUN, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)["evidence"]
    assert plain["standing"] is None
    assert [one["days"] for one in plain["distributions"]] == [1, 7, 30, 90, 365]
    window = ["--window", "2023-01-05..2023-01-12"]
    assert main([*RUN, *window, "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)["evidence"]
    assert main([*RUN, *window, "--json", "--report", "r.html"]) == 0
    assert json.loads(capsys.readouterr().out)["evidence"] == chosen
    assert chosen["distributions"] == plain["distributions"]
    assert 0 < chosen["standing"]["percentile"] < 100
    assert main([*RUN, *window]) == 0
    assert f"percentile {chosen['standing']['percentile']:.1f} of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (69.0407123, "69.0407"), (1234567.8, "1,234,568"), (0.0000123456789, "0.0000123457"), (-5.25, "−5.25000"),
        (0.0, "0"), (1.23456789e-30, "1.23457e−30"), (math.inf, "∞"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_money_in_significant_digits(value: float, text: str) -> None:
    assert numerals.amount(value) == text


@pytest.mark.parametrize(
    ("lots", "lot", "text"),
    [
        (713_292_471_300_761, "1E-13", "+71.32924713"),
        (-5, "0.001", "-0.005"),
        (120, "1", "+120"),
        (3, "10", "+30"),
        (-1_234_000, "0.001", "-1,234"),
        (1_234_567, "0.01", "+12,345.67"),
        (0, "0.001", "+0"),
    ],
)
def test_a_position_is_told_in_contracts(lots: int, lot: str, text: str) -> None:
    assert numerals.contracts(lots, lot) == text


def test_printed_parts_add_up_and_stay_near() -> None:
    generator = np.random.default_rng(5)
    for _ in range(200):
        parts = (generator.standard_normal(int(generator.integers(1, 11))) * 50).tolist()
        texts, total = numerals.summing(parts, 2)
        numbers = [float(text.replace("−", "-")) for text in texts]
        assert round(sum(numbers), 6) == float(total.replace("−", "-"))
        assert abs(float(total.replace("−", "-")) - sum(parts)) <= 0.005 + 1e-9
        assert all(abs(shown - part) < 0.01 for shown, part in zip(numbers, parts, strict=True))


def test_the_first_run_says_that_it_compiles(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    marked: list[bool] = []
    monkeypatch.setattr(jit, "is_compiled", lambda: bool(marked))
    monkeypatch.setattr(jit, "mark_compiled", lambda: marked.append(True))
    for _ in range(2):
        compiling.ensure_compiled()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "Compiling the engine for this machine (once, about 20 s)…\n"


def test_a_backtest_imports_nothing_it_does_not_need(market: Path) -> None:
    code = (
        "import sys; from gearing.cli.main import main; code = main(sys.argv[1:]); "
        "print([name for name in ('pandas', 'pyarrow', 'plotly', 'ccxt', 'rich') if name in sys.modules]); "
        "sys.exit(code)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *RUN, "--nav", "n.parquet"],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
