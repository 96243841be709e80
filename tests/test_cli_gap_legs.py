"""The gap budget on the command line: baskets, chains, swaps and what has none."""

from __future__ import annotations

import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.market.token_file import read_token
from tests.holdings import Captured, N, told

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.usefixtures("coins")
def test_the_gap_budget_of_a_basket_is_that_of_its_index(capsys: Captured) -> None:
    words = ("token", "check", "basket.toml", "--prices", "all.parquet")
    budget = told(capsys, *words)["gap_budget"]
    index = gr.backtest(read_token("basket.toml"), "all.parquet").prices
    alone = gr.gap_budget(gr.Token(symbol="TWO2L", target=2.0, rule="daily-etf"), index)
    assert (budget["prices"], budget["bars"]) == ("TWO2L index", N)
    assert budget["volatility"] == pytest.approx(alone.volatility, rel=1e-3)
    assert [row["worst_move"] for row in budget["rows"]] == pytest.approx([r.worst_move for r in alone.rows], rel=1e-3)
    assert main([*words]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "the index of its 2 legs" in shown
    assert "closes only" in shown
    assert "the legs share it" in shown


@pytest.mark.usefixtures("contracts")
def test_the_gap_budget_of_a_chain_has_no_jump_at_its_roll(capsys: Captured) -> None:
    budget = told(capsys, "token", "check", "chain.toml", "--prices", "contracts.parquet")["gap_budget"]
    # Contracts at constant premiums move as their underlying does, lows and highs included.
    alone = gr.gap_budget(gr.Token(symbol="X", target=2.0, rule="daily-etf"), "spot.parquet")
    assert "joined without jumps" in budget["made_of"]
    assert [row["worst_move"] for row in budget["rows"]] == pytest.approx([r.worst_move for r in alone.rows], rel=1e-6)


@pytest.mark.usefixtures("coins", "fund")
def test_other_gap_budgets(capsys: Captured) -> None:
    swap = told(capsys, "token", "check", "swap.toml", "--prices", "qqq.parquet")["gap_budget"]
    assert "no venue liquidates" in swap["maintenance"]
    assert all(row["liquidation"]["move"] == row["zero"]["move"] for row in swap["rows"])
    assert main(["token", "check", "coin.toml", "--prices", "btc.parquet"]) == 2
    assert "whose NAV is counted in BTC" in capsys.readouterr().err
    assert main(["token", "check", "basket.toml", "--prices", "btc_named.parquet"]) == 2
    assert "needs prices of ETHUSDT" in capsys.readouterr().err
