"""The command line on tokens of any instruments: which file serves which leg, what is said, what is refused."""

from __future__ import annotations

import html
import os
import re
import shlex
from pathlib import Path

import polars as pl
import pytest

import gearing as gr
from gearing import jit
from gearing.cli import compiling
from gearing.cli.main import main
from gearing.core.spec_text import EXAMPLES, example_token, parse_token
from gearing.market.token_file import read_token
from tests.holdings import DAY, START, Captured, N, bars, paid, told, walk

pytestmark = pytest.mark.usefixtures("here")

ONE_FILE = ("backtest", "basket.toml", "--prices", "all.parquet", "--funding", "funding.parquet")
BY_NAME = (
    "backtest", "basket.toml", "--prices", "BTCUSDT=btc.parquet", "--prices", "ETHUSDT=eth.parquet",
    "--funding", "BTCUSDT=btc_funding.parquet", "--funding", "ETHUSDT=eth_funding.parquet",
)  # fmt: skip


@pytest.mark.usefixtures("coins")
def test_a_basket_runs_from_one_file_and_from_a_file_for_each_leg(capsys: Captured) -> None:
    series = {name: gr.read_prices("all.parquet", symbol=name) for name in ("BTCUSDT", "ETHUSDT")}
    funding = {name: gr.read_funding("funding.parquet", symbol=name) for name in series}
    expected = gr.backtest(read_token("basket.toml"), series, funding=funding).summary().final_nav
    one, named = told(capsys, *ONE_FILE), told(capsys, *BY_NAME)
    assert one["summary"]["final_nav"] == named["summary"]["final_nav"] == expected
    assert one["schema"] == "gearing.backtest/2"
    assert [block["symbol"] for block in one["prices"]] == ["BTCUSDT", "ETHUSDT"]
    assert one["prices"] == named["prices"]
    assert one["prices"][0]["bars"] == N
    assert one["funding"] == [{"symbol": name, "settlements": N // 8} for name in series]
    assert one["held_against"]["symbol"] == "TWO2L index"
    assert (one["dividends"], one["rates"]) == ([], None)
    mixed = (*ONE_FILE, "--prices", "BTCUSDT=btc.parquet")
    assert told(capsys, *mixed)["summary"]["final_nav"] == expected


@pytest.mark.usefixtures("coins")
def test_a_basket_says_what_each_leg_ran_on(capsys: Captured) -> None:
    assert main([*ONE_FILE]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    period = "720 bars of 1h, 2023-01-01 01:00 to 2023-01-31 00:00 UTC"
    for line in (
        f"prices        BTCUSDT, {period}",
        f"              ETHUSDT, {period}",
        "funding       BTCUSDT, 90 settlements",
        "              ETHUSDT, 90 settlements",
        f"held against  their index, TWO2L index, {period}",
    ):
        assert line in shown.out.splitlines()
    assert re.search(r"^index of the legs +[+−]", shown.out, re.MULTILINE)
    assert main([*ONE_FILE[:4]]) == 0
    assert "none; give it with --funding" in capsys.readouterr().out


@pytest.mark.usefixtures("coins")
def test_one_leg_keeps_its_shape(capsys: Captured) -> None:
    answer = told(capsys, "backtest", "--preset", "ftx", "--prices", "all.parquet", "--symbol", "ETHUSDT")
    assert answer["schema"] == "gearing.backtest/1"
    assert answer["token"]["symbol"] == "ETH3L"
    assert list(answer) == [
        "schema", "token", "rule_words", "prices", "funding", "costs", "equity", "intrabar", "notes", "summary",
        "attribution", "evidence",
    ]  # fmt: skip
    assert (answer["prices"]["symbol"], answer["funding"]) == ("ETHUSDT", None)


@pytest.mark.usefixtures("coins")
def test_a_leg_finds_its_rows_without_being_told(capsys: Captured) -> None:
    Path("one.toml").write_text('symbol = "X"\ntarget = 2\nrule = "daily-etf"\n[[legs]]\nsymbol = "ETHUSDT"\n')
    answer = told(capsys, "backtest", "one.toml", "--prices", "all.parquet", "--funding", "funding.parquet")
    assert (answer["prices"]["symbol"], answer["funding"]["symbol"]) == ("ETHUSDT", "ETHUSDT")
    # Prices of something else are refused, unless a person says that they are meant.
    words = ("backtest", "one.toml", "--prices", "btc_named.parquet")
    assert main([*words]) == 2
    assert "the token holds ETHUSDT, but the prices are of BTCUSDT" in capsys.readouterr().err
    assert told(capsys, *words, "--underlying", "ETHUSDT")["prices"]["symbol"] == "ETHUSDT"


@pytest.mark.usefixtures("contracts")
def test_a_chain_runs_from_one_file_and_from_a_file_for_each_contract(capsys: Captured) -> None:
    series = {"BTC-JAN": gr.read_prices("jan.parquet"), "BTC-FEB": gr.read_prices("feb.parquet")}
    expected = gr.backtest(read_token("chain.toml"), series).summary().final_nav
    one = told(capsys, "backtest", "chain.toml", "--prices", "contracts.parquet")
    words = ("backtest", "chain.toml", "--prices", "BTC-JAN=jan.parquet", "--prices", "BTC-FEB=feb.parquet")
    assert one["summary"]["final_nav"] == told(capsys, *words)["summary"]["final_nav"] == expected
    assert one["schema"] == "gearing.backtest/1"
    assert main([*words, "--underlying-prices", "spot.parquet"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^prices +BTC, 720 bars .*, 1 roll$", shown, re.MULTILINE)
    assert re.search(r"^held against +BTC, 720 bars", shown, re.MULTILINE)
    assert re.search(r"^basis ", shown, re.MULTILINE)
    assert re.search(r"^underlying +[+−]", shown, re.MULTILINE)
    assert main([*words]) == 0
    shown = capsys.readouterr().out
    assert "the contracts joined without jumps" in shown
    assert re.search(r"^joined contracts +[+−]", shown, re.MULTILINE)


@pytest.mark.usefixtures("fund")
def test_a_swap_has_rates_and_dividends(capsys: Captured) -> None:
    words = ("backtest", "swap.toml", "--prices", "qqq.parquet", "--dividends", "qqq.parquet", "--rates", "dff.parquet")
    result = gr.backtest(read_token("swap.toml"), "qqq.parquet", dividends="qqq.parquet", rates="dff.parquet")
    answer = told(capsys, *words)
    assert answer["summary"]["final_nav"] == result.summary().final_nav
    assert answer["dividends"] == {"symbol": "QQQ", "payments": 1}
    assert answer["rates"]["symbol"] == "DFF"
    assert 0.03 < answer["rates"]["mean"] < 0.05
    assert answer["attribution"]["money"]["dividends"] > 0 > answer["attribution"]["money"]["financing"]
    assert main([*words]) == 0
    shown = capsys.readouterr().out
    assert "QQQ, 1 payment" in shown
    assert re.search(r"^rates +DFF, 4\.\d+ % a year on average$", shown, re.MULTILINE)
    named = told(capsys, *words[:-1], "DTB3=rates.parquet")
    assert named["rates"]["mean"] == pytest.approx(answer["rates"]["mean"] + 0.01)
    fixed = told(capsys, *words[:-1], "5%")
    assert fixed["rates"] == {"symbol": "constant", "mean": 0.05}


@pytest.mark.usefixtures("fund")
def test_a_period_cuts_dividends_and_keeps_the_rate_that_holds(capsys: Captured) -> None:
    pl.DataFrame({"timestamp": [START - 40 * DAY, START + 150 * DAY], "rate": [0.02, 0.09]}).write_csv("two.csv")
    words = ("backtest", "swap.toml", "--prices", "qqq.parquet", "--dividends", "qqq.parquet", "--rates", "two.csv")
    answer = told(capsys, *words, "--start", "2023-01-10", "--end", "2023-02-20", "--stamp", "close")
    # Known 40 days before the first price, it is in force all the same.
    assert answer["rates"]["mean"] == pytest.approx(0.02)
    assert "dividends" not in answer
    assert main([*words[:-1], "5%", "--end", "2023-02-20"]) == 0
    assert capsys.readouterr().err == "note: QQQ pays no dividend in the period\n"


@pytest.mark.usefixtures("coins")
@pytest.mark.parametrize("name", ["inverse", "coin", "spot"])
def test_the_other_instruments_run(name: str, capsys: Captured) -> None:
    answer = told(capsys, "backtest", f"{name}.toml", "--prices", "btc_named.parquet")
    expected = gr.backtest(read_token(f"{name}.toml"), gr.read_prices("btc_named.parquet")).summary()
    assert answer["summary"]["final_nav"] == expected.final_nav
    assert main(["backtest", f"{name}.toml", "--prices", "btc_named.parquet"]) == 0
    assert ("--funding" in capsys.readouterr().out) == (name != "spot")


@pytest.mark.usefixtures("coins")
def test_compare_takes_tokens_of_different_legs(capsys: Captured) -> None:
    words = ("compare", "basket.toml", "spot.toml", "--presets", "ftx", "--target", "2", "--prices", "all.parquet")
    answer = told(capsys, *words, "--symbol", "BTCUSDT")
    names = [row["symbol"] for row in answer["rules"]]
    assert names == ["BTC2L", "TWO2L", "BTC1L"]
    alone = told(capsys, "backtest", "basket.toml", "--prices", "all.parquet")
    assert answer["rules"][1]["final_nav"] == alone["summary"]["final_nav"]
    assert main([*words, "--symbol", "XRPUSDT"]) == 2
    assert "but the prices are of XRPUSDT" in capsys.readouterr().err
    assert main([*words, "--symbol", "BTCUSDT"]) == 0
    shown = capsys.readouterr().out
    for name in ("BTCUSDT", "ETHUSDT", r"BTC \(BTCUSDT\)"):
        assert len(re.findall(rf"^(?:prices)? +{name}, 720 bars", shown, re.MULTILINE)) == 1, name


@pytest.mark.usefixtures("coins")
def test_funding_of_one_token_is_not_that_of_another(capsys: Captured) -> None:
    for name in ("BTC", "ETH"):
        text = f'symbol = "{name}2L"\ntarget = 2\nrule = "daily-etf"\n[[legs]]\nsymbol = "{name}USDT"\n'
        Path(f"{name}.toml").write_text(text)
    words = ("--prices", "all.parquet", "--funding", "BTCUSDT=btc_funding.parquet")
    both = told(capsys, "compare", "BTC.toml", "ETH.toml", *words)["rules"]
    free = told(capsys, "compare", "BTC.toml", "ETH.toml", *words[:2])["rules"]
    assert both[0]["final_nav"] != free[0]["final_nav"]
    assert both[1]["final_nav"] == free[1]["final_nav"]


@pytest.mark.usefixtures("coins")
def test_sweep_varies_a_basket(capsys: Captured) -> None:
    words = ("sweep", "basket.toml", "--prices", "all.parquet", "--set", "target=1,2")
    answer = told(capsys, *words)
    alone = told(capsys, "backtest", "basket.toml", "--prices", "all.parquet")
    assert {row["target"]: row["final_nav"] for row in answer["rows"]}[2] == alone["summary"]["final_nav"]
    assert main([*words]) == 0
    shown = capsys.readouterr().out
    assert "BTCUSDT, 720 bars" in shown
    assert "ETHUSDT, 720 bars" in shown


MISTAKES = [
    (("basket.toml", "--prices", "all.parquet", "--symbol", "BTCUSDT"), "TWO2L has 2 legs"),
    (("chain.toml", "--prices", "all.parquet", "--symbol", "BTCUSDT"), "CHAIN2L has 2 contracts"),
    (("basket.toml", "--prices", "btc.parquet"), "no column symbol"),
    (("basket.toml", "--prices", "btc_named.parquet"), "needs prices of ETHUSDT: btc_named.parquet holds BTCUSDT."),
    (("basket.toml", "--prices", "btc_xrp.parquet"), "Add --prices ETHUSDT=FILE."),
    (("basket.toml", "--prices", "BTCUSDT=btc.parquet"), "needs prices of ETHUSDT: given by name is BTCUSDT."),
    (("basket.toml", "--prices", "BTCUSDT=btc.parquet", "--prices", "ETHUSD=eth.parquet"), "Did you mean ETHUSDT?"),
    (("basket.toml", "--prices", "all.parquet", "--prices", "QQ=eth.parquet"), "There are BTCUSDT, ETHUSDT."),
    (("basket.toml", "--prices", "BTCUSDT=btc.parquet", "--prices", "BTCUSDT=eth.parquet"), "BTCUSDT is given twice"),
    (("basket.toml", "--prices", "all.parquet", "--prices", "all.parquet"), "the same file is given twice"),
    (
        ("basket.toml", "--prices", "all.parquet", "--prices", "btc_named.parquet"),
        "stands in all.parquet and btc_named",
    ),
    (("basket.toml", "--prices", "=btc.parquet"), "this names no series"),
    (("basket.toml", "--prices", "BTCUSDT="), "this names no series"),
    (("basket.toml", "--prices", "BTCUSDT=none.parquet", "--prices", "all.parquet"), "there is no such file"),
    (("basket.toml", "--prices", "ETHUSDT=btc_xrp.parquet", "--prices", "btc_named.parquet"), "no symbol 'ETHUSDT'"),
    (("basket.toml", "--prices", "all.parquet", "--funding", "xrp_funding_named.parquet"), "it serves no leg"),
    (("basket.toml", "--prices", "all.parquet", "--funding", "btc_funding.parquet"), "does not say whose it is"),
    (("basket.toml", "--prices", "all.parquet", "--funding", "BTC=btc_funding.parquet"), "called BTC. Did you mean"),
    (("basket.toml", "--prices", "all.parquet", "--dividends", "all.parquet"), "no column 'dividends'"),
    (("spot.toml", "--prices", "btc.parquet", "--rates", "50"), "50 would be 5,000 % a year"),
    (("spot.toml", "--prices", "btc.parquet", "--rates", "none.csv"), "there is no such file"),
    (("spot.toml", "--prices", "btc.parquet", "--underlying-prices", "all.parquet"), "it holds 3 series"),
    (("spot.toml", "--prices", "all.parquet"), "but not BTC, which BTC1L holds. Choose one with --symbol."),
    (("spot.toml", "--prices", "X=btc.parquet"), "no leg or contract is called X. There is BTC."),
    (("spot.toml", "--prices", "BTC=btc.parquet", "--symbol", "BTC"), "both NAME=FILE and --symbol"),
    (("--preset", "ftx", "--prices", "BTC=btc.parquet"), "the token's leg has no symbol"),
    (("--preset", "ftx", "--prices", "btc.parquet", "--prices", "eth.parquet"), "does not say of which leg it is"),
    (("--preset", "ftx", "--prices", "all.parquet", "--prices", "btc_named.parquet"), "it is not clear which"),
]


@pytest.mark.usefixtures("coins")
@pytest.mark.parametrize(("words", "sentence"), MISTAKES)
def test_wrong_input_has_a_sentence(words: tuple[str, ...], sentence: str, capsys: Captured) -> None:
    assert main(["backtest", *words, "--nav", "n.csv"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", shown.err.replace("\n         ", " ").replace("\n       ", " ")), shown.err
    assert sentence in " ".join(shown.err.split())
    assert not Path("n.csv").exists()


@pytest.mark.usefixtures("coins")
@pytest.mark.parametrize(
    ("words", "note"),
    [
        (("basket.toml", "--prices", "all.parquet", "--rates", "5%"), "--rates are not used: no swap is held"),
        (("spot.toml", "--prices", "btc.parquet", "--funding", "funding.parquet"), "--funding is not used"),
        (
            ("basket.toml", "--prices", "all.parquet", "--funding", "BTCUSDT=btc_funding.parquet"),
            "ETHUSDT has no funding; none is charged",
        ),
        (
            ("basket.toml", "--prices", "all.parquet", "--prices", "ETHUSDT=btc_named.parquet"),
            "the prices given for ETHUSDT are of BTCUSDT",
        ),
        (
            ("basket.toml", "--prices", "all.parquet", "--funding", "ETHUSDT=xrp_funding_named.parquet", "--funding",
             "BTCUSDT=btc_funding.parquet"),
            "the prices are of ETHUSDT, the funding of XRPUSDT",
        ),
    ],
)  # fmt: skip
def test_what_is_odd_is_noted(words: tuple[str, ...], note: str, capsys: Captured) -> None:
    assert main(["backtest", *words]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"note: {note}")


@pytest.mark.usefixtures("coins")
def test_a_file_with_an_equals_sign_in_its_name_is_a_file(capsys: Captured) -> None:
    Path("btc_named.parquet").rename("a=b.parquet")
    assert told(capsys, "backtest", "--preset", "ftx", "--prices", "a=b.parquet")["prices"]["symbol"] == "BTCUSDT"


@pytest.mark.usefixtures("coins")
def test_a_file_that_is_read_is_not_written_over(capsys: Captured) -> None:
    assert main([*BY_NAME, "--out", "eth.parquet"]) == 2
    assert "an input of this command" in capsys.readouterr().err


@pytest.mark.usefixtures("coins")
def test_files_come_from_the_environment_too(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARING_PRICES", os.pathsep.join(("BTCUSDT=btc.parquet", "ETHUSDT=eth.parquet")))
    assert [block["symbol"] for block in told(capsys, "backtest", "basket.toml")["prices"]] == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.usefixtures("coins", "contracts", "fund")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (ONE_FILE[1:], ["60 % in the linear perpetual BTCUSDT", "ETHUSDT, 90 settlements", "the index of its legs"]),
        (("chain.toml", "--prices", "contracts.parquet"), ["BTC-JAN, BTC-FEB, each rolled 2 days before", "1 roll"]),
        (("swap.toml", "--prices", "qqq.parquet", "--rates", "5%"), ["the total return swap on QQQ, 0.35 % a year"]),
        (("coin.toml", "--prices", "btc.parquet"), ["the inverse perpetual BTCUSD_PERP", "BTC, kept"]),
        (("spot.toml", "--prices", "btc.parquet"), ["<dd>spot BTC</dd>"]),
    ],
)
def test_a_report_of_any_kind_says_what_it_ran_on(words: tuple[str, ...], said: list[str], capsys: Captured) -> None:
    assert main(["backtest", *words, "--report", "r.html"]) == 0
    page = Path("r.html").read_text(encoding="utf-8")
    for text in said:
        assert text in page.replace("\u00a0", " ")
    command = html.unescape(re.findall(r"<code>(gearing [^<]*)</code>", page)[0])
    Path("r.html").unlink()
    assert main(shlex.split(command)[1:]) == 0
    assert Path("r.html").read_text(encoding="utf-8") == page
    capsys.readouterr()


@pytest.mark.usefixtures("coins")
def test_reports_of_many_tokens_say_what_they_ran_on(capsys: Captured) -> None:
    words = ("--prices", "all.parquet", "--funding", "funding.parquet", "--report", "r.html")
    assert main(["compare", "basket.toml", *words]) == 0
    assert "ETHUSDT, 90 settlements" in Path("r.html").read_text(encoding="utf-8")
    assert main(["sweep", "basket.toml", *words, "--set", "target=1,2"]) == 0
    assert "ETHUSDT, 90 settlements" in Path("r.html").read_text(encoding="utf-8")
    capsys.readouterr()


def test_a_token_of_legs_compiles_its_kernel_once(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    marked = ["complete"]
    monkeypatch.setattr(jit, "is_compiled", lambda part="complete": part in marked)
    monkeypatch.setattr(jit, "mark_compiled", lambda part="complete": marked.append(part))
    compiling.ensure_compiled()
    assert capsys.readouterr().err == ""
    for _ in range(2):
        compiling.ensure_compiled(legs=True)
    assert capsys.readouterr().err == "Compiling the engine for this machine (once, about 20 s)…\n"


@pytest.mark.usefixtures("contracts", "fund")
@pytest.mark.parametrize("holds", EXAMPLES)
def test_each_example_runs_by_the_line_in_its_comments(holds: str, capsys: Captured) -> None:
    text = example_token(holds)
    path = Path(f"{parse_token(text).symbol}.toml")
    path.write_text(text)
    close, n = walk(7), N
    for name, seed in (("btc", 1), ("eth", 2), ("ltc", 3)):
        bars(f"{name.upper()}USDT", walk(seed)).write_parquet(f"{name}.parquet")
    leg = read_token(path).legs[0]
    if isinstance(leg, gr.DatedFuture):
        names = [contract.symbol for contract in leg.contracts]
        first = pl.lit(1_709_251_200_000 - START)  # 1 March 2024, so that both contracts live through the roll
        frames = [bars(s, walk(8)[:n]).with_columns(pl.col("timestamp") + first) for s in names]
        bars("BTC", walk(9)).with_columns(pl.col("timestamp") + first).write_parquet("index.parquet")
        for file, frame in zip(("march", "june"), frames, strict=True):
            frame.write_parquet(f"{file}.parquet")
        pl.concat(frames).write_parquet("prices.parquet")
    elif holds == "basket":
        pl.concat([pl.read_parquet(f"{s}.parquet") for s in ("btc", "eth", "ltc")]).write_parquet("prices.parquet")
        pl.concat([paid(s, 1e-4) for s in ("BTCUSDT", "ETHUSDT", "LTCUSDT")]).write_parquet("funding.parquet")
    else:
        bars("BTCUSDT", close).write_parquet("prices.parquet")
        paid("BTCUSDT", 1e-4).write_parquet("funding.parquet")
        Path("dff.parquet").rename("rates.parquet")
    lines = re.findall(r"(gearing backtest [^\n]*)", text)
    assert lines
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, line
    capsys.readouterr()
