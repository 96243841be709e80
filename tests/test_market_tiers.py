"""Readers of margin tiers: each form, spellings, dates, and every way in which a file may be wrong."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.core.instruments import MarginTier
from gearing.core.spec_text import example_token
from gearing.errors import DataError
from gearing.market.tiers import folded_symbol, read_tier_set
from gearing.market.times import moment_ms

DATA = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "meta"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="no market data: set GEARING_DATA to the directory that holds it"
)

EARLY = [(10_000.0, 0.01, 0.0), (50_000.0, 0.02, 100.0), (2.0**63, 0.1, 4_100.0)]
LATE = [(20_000.0, 0.005, 0.0), (80_000.0, 0.02, 300.0)]
MARCH, JUNE = dt.datetime(2024, 3, 1), dt.datetime(2024, 6, 1)


def history(path: Path, *extra: tuple[dt.datetime, str, list[tuple[float, float, float]]]) -> Path:
    sets = [(MARCH, "AAA/USDT", EARLY), (JUNE, "AAA/USDT:USDT", LATE), (MARCH, "BBB/USDT:USDT-240628", LATE), *extra]
    rows = [
        {"vintage": when, "symbol": name, "max_notional": edge, "maint_margin_rate": rate, "maint_amount_cum": amount}
        for when, name, brackets in sets
        for edge, rate, amount in reversed(brackets)
    ]
    pl.DataFrame(rows).with_columns(pl.col("symbol").cast(pl.Categorical)).write_parquet(path)
    return path


def unified(name: str, brackets: list[tuple[float, float, float]], *, amounts: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "tier": k,
            "symbol": name,
            "maxNotional": edge,
            "maintenanceMarginRate": rate,
            "info": {"cum": amount} if amounts else None,
        }
        for k, (edge, rate, amount) in enumerate(brackets, 1)
    ]


def raw(name: str, brackets: list[tuple[float, float, float]]) -> dict[str, Any]:
    rows = [{"bracket": k, "notionalCap": e, "maintMarginRatio": r, "cum": a} for k, (e, r, a) in enumerate(brackets)]
    return {"symbol": name, "brackets": rows}


def written(path: Path, payload: Any) -> Path:
    data = json.dumps(payload).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def plain(tiers: tuple[MarginTier, ...]) -> list[tuple[float, float, float]]:
    return [(tier.notional_max, tier.rate, tier.amount) for tier in tiers]


def test_a_date_picks_the_set_in_force(tmp_path: Path) -> None:
    path = history(tmp_path / "h.parquet")
    early = [*EARLY[:2], (float("inf"), 0.1, 4_100.0)]
    assert plain(gr.read_margin_tiers(path, symbol="AAAUSDT", at="2024-03-01")) == early
    assert plain(gr.read_margin_tiers(path, symbol="AAAUSDT", at="2024-05-31T23:59")) == early
    assert plain(gr.read_margin_tiers(path, symbol="AAAUSDT", at=JUNE)) == LATE
    assert plain(gr.read_margin_tiers(path, symbol="AAAUSDT")) == LATE
    found = read_tier_set(path, symbol="BBBUSDT_240628")
    assert (found.symbol, found.since_ms, plain(found.tiers)) == ("BBB/USDT:USDT-240628", moment_ms("2024-03-01"), LATE)


@pytest.mark.parametrize("spelling", ["AAAUSDT", "aaausdt", "AAA/USDT", "AAA/USDT:USDT", "AAA-USDT-SWAP", " aaa_usdt "])
def test_any_usual_spelling(spelling: str, tmp_path: Path) -> None:
    assert plain(gr.read_margin_tiers(history(tmp_path / "h.parquet"), symbol=spelling)) == LATE


def test_spellings_of_one_contract_are_one() -> None:
    dated = ("BTC/USDT:USDT-240927", "BTCUSDT_240927", "btc-usdt-240927")
    assert {folded_symbol(name) for name in dated} == {"BTCUSDT_240927"}
    assert len({folded_symbol(name) for name in ("BTCUSDT", "BTCUSDC", "BTCUSDT_240927", "1000BTCUSDT")}) == 4


@pytest.mark.parametrize("ending", ["json", "json.gz"])
def test_json_of_ccxt_and_of_binance(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"tiers.{ending}"
    for payload in (
        {"AAA/USDT:USDT": unified("AAA/USDT:USDT", LATE), "B/USDT:USDT": unified("B/USDT:USDT", EARLY)},
        unified("AAA/USDT:USDT", LATE),
        unified("AAA/USDT:USDT", LATE, amounts=False),
        [raw("AAAUSDT", LATE), raw("BUSDT", EARLY)],
        raw("AAAUSDT", LATE),
    ):
        assert plain(gr.read_margin_tiers(written(path, payload), symbol="AAAUSDT")) == LATE
    assert plain(gr.read_margin_tiers(written(path, raw("AAAUSDT", LATE)))) == LATE


def test_amounts_that_are_left_out_follow_from_the_rates(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json", unified("AAA/USDT:USDT", EARLY, amounts=False))
    assert plain(gr.read_margin_tiers(path))[1:] == [(50_000.0, 0.02, 100.0), (float("inf"), 0.1, 4_100.0)]


def refused(words: str, path: Path, **choice: Any) -> None:
    with pytest.raises(DataError, match=words) as error:
        gr.read_margin_tiers(path, **choice)
    assert path.name in str(error.value)
    assert error.value.fix


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    path = history(tmp_path / "h.parquet")
    refused("there is no contract 'AABUSDT'. Did you mean AAAUSDT", path, symbol="AABUSDT")
    refused("there is no contract 'ZZZZZZZZ'. It holds 3, such as", path, symbol="ZZZZZZZZ")
    refused("it holds 3 contracts", path)
    refused("no brackets are known at 2024-02-01: the first are of 2024-03-01", path, symbol="AAAUSDT", at="2024-02-01")
    later = "the set in force at 2024-07-01, of 2024-06-01, does not hold BBBUSDT_240628; sets of 2024-03-01 to"
    refused(later, path, symbol="BBBUSDT_240628", at="2024-07-01")
    one = written(tmp_path / "t.json", raw("AAAUSDT", LATE))
    refused("one set of brackets without its date", one, at="2024-03-01")
    two = {"A/USD:A": unified("A/USD:A", EARLY), "A/USD:USD": unified("A/USD:USD", LATE)}
    both = written(tmp_path / "two.json", two)
    refused("'AUSD' may mean A/USD:A or A/USD:USD", both, symbol="AUSD")
    assert plain(gr.read_margin_tiers(both, symbol="A/USD:USD")) == LATE


def test_other_files_are_refused(tmp_path: Path) -> None:
    refused("there is no such file", tmp_path / "none.json")
    (tmp_path / "empty.json").touch()
    refused("the file is empty", tmp_path / "empty.json")
    pl.DataFrame({"symbol": ["A"], "close": [1.0]}).write_parquet(tmp_path / "p.parquet")
    refused("no column 'vintage'; the columns are: symbol, close", tmp_path / "p.parquet")
    refused(
        "list of markets", written(tmp_path / "info.json", {"symbols": [{"symbol": "A", "maintMarginPercent": "2"}]})
    )
    for k, payload in enumerate(
        (1, "x", [], {}, [1], {"a": 1}, {"a": [1]}, {"a": [{"tier": 1}]}, [{"brackets": [{}]}])
    ):
        refused("no leverage tiers in a known form", written(tmp_path / f"{k}.json", payload))
    (tmp_path / "text.json").write_text("hello")
    refused("no valid JSON", tmp_path / "text.json")
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"{}" * 100)[:-9])
    refused("the gzip file is damaged", tmp_path / "cut.json.gz")
    (tmp_path / "cut.parquet").write_bytes(history(tmp_path / "h.parquet").read_bytes()[:200])
    refused("the table cannot be read", tmp_path / "cut.parquet")


def test_brackets_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    jump = [(10_000.0, 0.01, 0.0), (50_000.0, 0.02, 900.0)]
    refused("the brackets contradict each other", written(tmp_path / "j.json", raw("AUSDT", jump)))
    rate = [(10_000.0, 1.5, 0.0)]
    refused("the brackets contradict each other", written(tmp_path / "r.json", raw("AUSDT", rate)))


def test_the_command_shows_a_table_lines_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(history(tmp_path / "h.parquet"))
    assert main(["market", "tiers", path, "--symbol", "AAAUSDT", "--at", "2024-04-01"]) == 0
    shown = capsys.readouterr().out
    for words in ("AAA/USDT", "set of 2024-03-01", "50,000", "2 %", "4,100", "∞"):
        assert words in shown
    assert main(["market", "tiers", path, "--symbol", "AAAUSDT", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["since"]) == ("gearing.market.tiers/1", "2024-06-01")
    assert answer["tiers"][1] == {"notional_max": 80_000.0, "rate": 0.02, "amount": 300.0}
    assert main(["market", "tiers", path, "--symbol", "nothing"]) == 2
    assert "there is no contract" in capsys.readouterr().err


def test_the_lines_complete_a_token_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = history(tmp_path / "h.parquet")
    for at in ("2024-03-01", "2024-06-01"):
        assert main(["market", "tiers", str(path), "--symbol", "AAAUSDT", "--at", at, "--toml"]) == 0
        lines = capsys.readouterr().out
        (tmp_path / "t.toml").write_text(f"{example_token()}\n{lines}")
        (leg,) = gr.read_token(tmp_path / "t.toml").legs
        assert leg.symbol == "AAAUSDT"
        assert leg.margin_tiers == gr.read_margin_tiers(path, symbol="AAAUSDT", at=at)


@needs_data
def test_the_venues_margin_is_continuous_for_every_contract_at_every_date() -> None:
    # In the margin as a sum over brackets, rate times what lies in each, no amount stands at all.
    table = pl.read_parquet(DATA / "binance_usdm_leverage_tiers_history.parquet").sort("vintage", "symbol", "tier")
    keys = ("vintage", "symbol")
    low, width = pl.col("min_notional"), pl.col("max_notional") - pl.col("min_notional")
    within = table.with_columns(
        owed=(width * pl.col("maint_margin_rate")).cum_sum().shift(fill_value=0).over(keys),
        before=pl.col("max_notional").shift().over(keys),
    )
    by_amount = low * pl.col("maint_margin_rate") - pl.col("maint_amount_cum")
    off = within.select(
        jump=(by_amount - pl.col("owed")).abs().max(), hole=(low - pl.col("before").fill_null(low)).abs().max()
    )
    assert off["hole"].item() == 0
    assert off["jump"].item() < 1e-6
    assert table.select(pl.struct(keys).n_unique()).item() == 15_688


@needs_data
def test_no_set_of_the_venue_is_refused() -> None:
    path = DATA / "binance_usdm_leverage_tiers_history.parquet"
    table = pl.read_parquet(path, columns=["vintage", "symbol"]).with_columns(pl.col("symbol").cast(pl.String)).unique()
    for name in ("BTC/USDT:USDT", "DOGE/USDT", "1000PEPE/USDT:USDT", "BTCUSDT_210326", "ETH/BTC:BTC"):
        dates = table.filter(pl.col("symbol") == name)["vintage"].to_list()
        assert dates
        for at in (min(dates), max(dates)):
            found = read_tier_set(path, symbol=name, at=at)
            assert (found.symbol, found.since_ms) == (name, moment_ms(at))
            edges = [tier.notional_max for tier in found.tiers]
            assert all(a < b for a, b in pairwise(edges))


@needs_data
def test_history_and_json_of_one_day_agree() -> None:
    from_history = DATA / "binance_usdm_leverage_tiers_history.parquet"
    from_json = DATA / "binance_leverage_tiers_2026-05-07.json.gz"
    for name in ("BTCUSDT", "ETH/USDC:USDC", "DOGE/USDT", "BTCUSDT_260626"):
        tiers = gr.read_margin_tiers(from_json, symbol=name)
        assert tiers == gr.read_margin_tiers(from_history, symbol=name)
        assert len(tiers) > 3
