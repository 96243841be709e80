"""What a count is sure of, against the beta law's quantiles and coverage; and the figure that shows it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.core import catalog
from gearing.core.spec_text import example_token
from gearing.market.series import Prices
from gearing.study.gap_interval import counted_chances, share_interval

START, HOUR = 1_672_531_200_000, 3_600_000


@pytest.mark.parametrize(
    ("counted", "total", "low", "high"),
    [
        # No end in n waits: 1 − (0.025)^(1/n); all of them: its mirror image.
        (0, 1, 0.0, 0.975),
        (0, 100, 0.0, 1 - 0.025**0.01),
        (5, 5, 0.025**0.2, 1.0),
        # One in two: 1 − √0.975 on either side.
        (1, 2, 1 - math.sqrt(0.975), math.sqrt(0.975)),
        (0, 0, 0.0, 1.0),
    ],
)
def test_ends_known_in_closed_form(counted, total, low, high):
    assert share_interval(counted, total) == pytest.approx((low, high), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("counted", [1, 2, 7, 40, 400, 1_000])
@pytest.mark.parametrize("total", [1_200, 58_622, 3_514_499])
def test_ends_are_quantiles_of_the_beta_law(counted, total):
    beta = pytest.importorskip("scipy.stats").beta
    expected = beta.ppf(0.025, counted, total - counted + 1), beta.ppf(0.975, counted + 1, total - counted)
    assert share_interval(counted, total) == pytest.approx(expected, rel=1e-6)
    mirrored = share_interval(total - counted, total)
    assert mirrored == pytest.approx((1 - expected[1], 1 - expected[0]), rel=1e-6)


def test_many_counts_are_told_by_the_normal_law_without_a_step():
    exact, normal = share_interval(1_000, 100_000), share_interval(1_001, 100_000)
    assert normal == pytest.approx(exact, rel=4e-3)
    low, high = share_interval(200_000, 1_000_000)
    assert (low, high) == pytest.approx((0.2 - 1.96 * 4e-4, 0.2 + 1.96 * 4e-4), abs=2e-6)


def test_it_covers_the_truth_at_least_as_often_as_it_says():
    rng, truth = np.random.default_rng(4), 0.01
    ends = {count: share_interval(count, 300) for count in range(30)}
    held = [ends[count][0] <= truth <= ends[count][1] for count in rng.binomial(300, truth, 4_000).tolist()]
    assert np.mean(held) >= 0.95


def test_a_year_of_it():
    found = counted_chances(1, 2_442, 365.0)
    low, high = share_interval(1, 2_442)
    assert found["counted_low"] == pytest.approx(1 - (1 - low) ** 365)
    assert found["per_year_counted"] == pytest.approx(1 - (1 - 1 / 2_442) ** 365)
    assert found["counted_high"] == pytest.approx(1 - (1 - high) ** 365)
    # Of no waits at all nothing is known.
    assert counted_chances(0, 0, 365.0) == {"per_year_counted": 0.0, "counted_low": 0.0, "counted_high": 1.0}


def crash() -> Prices:
    moves = np.random.default_rng(1).normal(0, 0.005, 24 * 60)
    moves[700] = -0.5
    return Prices(START + HOUR * np.arange(len(moves)), 100 * np.exp(np.cumsum(moves)), symbol="BTC")


def test_every_row_has_its_interval_and_the_figure_draws_it():
    budget = gr.gap_budget(catalog.token("ftx", "BTC", 3), crash())
    for row in budget.rows:
        for chance in (row.zero, row.liquidation):
            assert chance.counted_low <= chance.per_year_counted <= chance.counted_high
    assert {"zero_counted_low", "liquidation_counted_high"} <= set(budget.frame.columns)
    own = [row for row in budget.rows if row.side == "long"]
    fig = budget.plot()
    interval, counted, formula, *forced = fig.data
    assert list(counted.x[::-1]) == pytest.approx([max(row.zero.per_year_counted, 1e-6) for row in own])
    assert list(formula.x[::-1]) == pytest.approx([max(row.zero.per_year, 1e-6) for row in own])
    low = np.array(interval.x) - np.array(interval.error_x.arrayminus)
    high = np.array(interval.x) + np.array(interval.error_x.array)
    assert low[::-1] == pytest.approx([max(row.zero.counted_low, 1e-6) for row in own])
    assert high[::-1] == pytest.approx([max(row.zero.counted_high, 1e-6) for row in own])
    assert [trace.visible for trace in forced] == [False] * 3
    assert list(forced[1].x[::-1]) == pytest.approx([max(row.liquidation.per_year_counted, 1e-6) for row in own])
    assert len(fig.layout.yaxis.ticktext) == len(own)
    assert all(
        len(line.replace("<sup>", "").replace("</sup>", "")) < 52 for line in fig.layout.title.text.split("<br>")
    )


def test_a_token_that_cannot_die_has_no_interval():
    budget = gr.gap_budget(gr.Token(symbol="ONE", target=1.0, rule="daily-etf"), crash())
    zero = budget.rows[1].zero
    assert zero.move is None
    assert (zero.counted_low, zero.counted_high) == (0.0, 0.0)
    assert budget.plot().data


def test_the_command_line_writes_the_figure_and_tells_the_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.toml").write_text(example_token())
    crash().frame.write_parquet("p.parquet")
    words = ["token", "check", "t.toml", "--prices", "p.parquet", "--plot", "g.html"]
    assert main(words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "NAV at zero in 1 of 1,439 bars of the whole rule" in shown
    assert "once in 100 years" in Path("g.html").read_text()
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["gap_budget"]["rows"]
    assert all(row["zero"]["counted_low"] <= row["zero"]["counted_high"] for row in rows)
    assert main(["token", "check", "t.toml", "--plot", "g.html"]) == 2
    assert "Give the bars with --prices" in capsys.readouterr().err
    assert main(["token", "check", "t.toml", "--prices", "p.parquet", "--plot", "p.parquet"]) == 2
