"""The closed form of a daily-rebalanced token: published tables, the engine, and a product limit agree with it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.study.what_if import log_parts

DATA = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
TABLE = DATA / "tables" / "prospectus_returns.csv"
DAY_MS = 86_400_000

with_data = pytest.mark.skipif(
    not TABLE.is_file(), reason="no market data: set GEARING_DATA to the directory that holds it"
)


def cells() -> pl.DataFrame:
    """The published cells, with the days and the year that each table means."""
    frame = pl.read_csv(TABLE)
    # The table that says 56 days counts 37 trading days of a year of 252.
    short = pl.col("years") < 0.5
    return frame.with_columns(
        days=pl.when(short).then(37.0).otherwise(365.0), year=pl.when(short).then(252.0).otherwise(365.0)
    )


@with_data
def test_every_published_cell_is_the_formula_to_the_printed_digit() -> None:
    frame = cells()
    assert len(frame) == 540
    column = {name: frame[name].to_numpy().astype(float) for name in frame.columns if name != "fund"}
    returned = gr.what_if(
        column["target"],
        column["underlying_return_pct"] / 100,
        column["volatility_pct"] / 100,
        column["days"],
        days_per_year=column["year"],
    )
    np.testing.assert_array_equal(np.round(returned * 100, 1), column["token_return_pct"])


@with_data
def test_calendar_days_do_not_fit_the_short_table() -> None:
    frame = cells().filter(pl.col("years") < 0.5)
    arrays = [frame[name].to_numpy().astype(float) for name in ("target", "underlying_return_pct", "volatility_pct")]
    returned = gr.what_if(arrays[0], arrays[1] / 100, arrays[2] / 100, 56)
    assert (np.abs(returned * 100 - frame["token_return_pct"].to_numpy()) > 0.1).any()


def test_a_monthly_reset_is_another_product() -> None:
    monthly = np.array([-1.7, -9.8, -31.4, -53.6, -70.2])
    daily = gr.what_if(2, 0.0, [0.1, 0.25, 0.5, 0.75, 1.0], 365) * 100
    np.testing.assert_array_equal(np.round(daily, 1), [-1.0, -6.1, -22.1, -43.0, -63.2])
    assert (np.abs(daily - monthly) > 0.6).all()
    assert gr.what_if(3, 0.0, [0.25, 1.0], 365) == pytest.approx([-0.171, -0.95], abs=5e-4)


def path(log_return: float, variance: float, steps: int, seed: int) -> np.ndarray:
    """Log returns that sum to `log_return`, and whose squares sum to `variance`, both exactly.

    They are Gaussian in pairs z and −z, shuffled, so that only the trend makes a third moment.
    """
    rng = np.random.default_rng(seed)
    half = rng.standard_normal(steps // 2)
    z = rng.permutation(np.concatenate([half, -half]))
    mean = log_return / steps
    left = variance - steps * mean**2
    assert left >= 0
    return mean + z * math.sqrt(left / float(z @ z))


def engine(beta: float, logs: np.ndarray, *, fees: gr.Fees | None = None, funding: gr.Funding | None = None) -> float:
    """ln(NAV at the end / NAV at the start) of the engine that rebalances after each of these log returns."""
    times = np.arange(len(logs) + 1, dtype=np.int64) * DAY_MS
    prices = gr.Prices(times, 100.0 * np.exp(np.append(0.0, np.cumsum(logs))), symbol="X")
    token = gr.Token(symbol="X", target=beta, rule="daily-etf", fees=fees or gr.Fees())
    nav = gr.backtest(token, prices, funding=funding).nav["nav"]
    return math.log(nav[-1] / nav[0])


def third(beta: float) -> float:
    """The third derivative of ln(1 + β(eˣ − 1)) at 0; the first two are β and β − β²."""
    return beta * (1 - beta) * (1 - 2 * beta)


def fourth_at_most(beta: float, reach: float) -> float:
    """The largest fourth derivative of ln(1 + β(eˣ − 1)) for |x| ≤ reach.

    With p = βeˣ/(1 + β(eˣ − 1)) it is p(1 − p)(1 − 6p + 6p²).
    """
    grown = np.exp(np.linspace(-reach, reach, 401))
    p = beta * grown / (1 + beta * (grown - 1))
    return float(np.abs(p * (1 - p) * (1 - 6 * p + 6 * p**2)).max())


@with_data
def test_the_engine_makes_every_cell_from_a_path() -> None:
    """Taylor: a step's ln(1 + β(eˣ − 1)) is βx + (β−β²)x²/2 + κ₃x³/6 plus at most max|f⁗|·x⁴/24."""
    steps, worst, moved = 8_192, 0.0, 0.0
    for k, row in enumerate(cells().iter_rows(named=True)):
        beta, r, years = float(row["target"]), row["underlying_return_pct"] / 100, row["days"] / row["year"]
        variance = (row["volatility_pct"] / 100) ** 2 * years
        logs = path(math.log1p(r), variance, steps, k)
        formula = math.log1p(gr.what_if(beta, r, row["volatility_pct"] / 100, row["days"], days_per_year=row["year"]))
        cubes = third(beta) / 6 * float((logs**3).sum())
        remainder = fourth_at_most(beta, float(np.abs(logs).max())) / 24 * float((logs**4).sum())
        gap = engine(beta, logs) - formula
        assert abs(gap - cubes) <= remainder + 1e-9, row
        worst, moved = max(worst, abs(gap)), max(moved, remainder)
    # Both terms fall with the number of steps; at 8,192 of them even σ = 325 % and r = −95 % are this close.
    assert worst < 0.05
    assert moved < 0.09


@pytest.mark.parametrize("beta", [3.0, 2.0, -1.0, -3.0])
def test_the_engine_nears_the_formula_as_steps_grow(beta: float) -> None:
    formula = math.log1p(gr.what_if(beta, -0.4, 0.9, 365))
    gaps = [abs(engine(beta, path(math.log(0.6), 0.81, steps, 1)) - formula) for steps in (512, 2_048, 8_192)]
    assert gaps[0] > 2.5 * gaps[1] > 6 * gaps[2]
    assert gaps[2] < 0.02


def product_limit(beta: float, r: float, variance: float) -> float:
    """The token's log return as the limit of products over up-and-down steps, extrapolated to infinitely many."""
    logs = []
    for pairs in (200_000, 400_000):
        mean = math.log1p(r) / (2 * pairs)
        size = math.sqrt(variance / (2 * pairs) - mean**2)
        up, down = math.expm1(mean + size), math.expm1(mean - size)
        logs.append(pairs * (math.log1p(beta * up) + math.log1p(beta * down)))
    return 2 * logs[1] - logs[0]


@pytest.mark.parametrize("beta", [3.0, 2.0, 1.0, 0.5, -1.0, -2.0, -3.0])
@pytest.mark.parametrize(("r", "sigma", "days"), [(-0.4, 0.8, 365), (0.9, 0.5, 30), (0.0, 1.2, 730)])
def test_the_formula_is_the_limit_of_products(beta: float, r: float, sigma: float, days: int) -> None:
    limit = product_limit(beta, r, sigma**2 * days / 365)
    assert math.log1p(gr.what_if(beta, r, sigma, days)) == pytest.approx(limit, abs=1e-7)


@pytest.mark.parametrize("beta", [3.0, -2.0])
def test_a_fee_is_what_the_engine_charges(beta: float) -> None:
    days, fee = 400, 0.0095
    logs = path(0.1, 0.2, days, 5)
    charged = engine(beta, logs, fees=gr.Fees(management_per_year=fee)) - engine(beta, logs)
    parts = log_parts(beta, math.expm1(0.1), 0.4, days, fee_per_year=fee)
    assert float(parts.management_fee) == pytest.approx(charged, rel=1e-9)
    assert charged < 0


@pytest.mark.parametrize("beta", [3.0, -2.0])
def test_funding_is_what_the_engine_charges(beta: float) -> None:
    """A settlement of β·f/365 of equity once a day: ln(1 − x) is −x up to x²/2, and notional moves within the day."""
    days, yearly = 4_000, 0.12
    logs = path(0.0, 0.05, days, 6)
    times = np.arange(1, days + 1, dtype=np.int64) * DAY_MS
    funding = gr.Funding(times, np.full(days, yearly / 365))
    charged = engine(beta, logs, funding=funding) - engine(beta, logs)
    part = float(log_parts(beta, 0.0, 0.05, days, funding_per_year=yearly).funding)
    assert part == -beta * yearly * days / 365
    # The notional after the day's move is β(1 + x)/(1 + βx): its mean is off by (β − β²)·E[x²].
    off = abs(beta - beta**2) * 0.05 / days + abs(beta) * yearly / 365 / 2
    assert charged == pytest.approx(part, rel=1.5 * off / 1.0 + 1e-6)
    assert math.copysign(1, charged) == -math.copysign(1, beta)


def test_numbers_give_a_float_and_arrays_broadcast() -> None:
    assert type(gr.what_if(3, -0.1, 0.8, 30)) is float
    grid = gr.what_if([[2.0], [3.0]], 0.1, [0.2, 0.4, 0.6], 30)
    assert grid.shape == (2, 3)
    assert grid[1, 2] == gr.what_if(3.0, 0.1, 0.6, 30)
    assert gr.what_if(1.0, 0.25, 0.9, 365) == pytest.approx(0.25)
    assert gr.what_if(0.0, 0.25, 0.9, 365) == 0.0


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({"underlying_return": -1.0}, "underlying_return"),
        ({"underlying_return": [0.1, -1.5]}, "underlying_return"),
        ({"volatility": -0.1}, "volatility"),
        ({"volatility": math.nan}, "volatility"),
        ({"days": -1}, "days"),
        ({"days_per_year": 0}, "days_per_year"),
        ({"target": math.inf}, "target"),
        ({"fee_per_year": -0.01}, "fee_per_year"),
        ({"funding_per_year": math.nan}, "funding_per_year"),
        ({"target": "3"}, "target"),
        ({"target": True}, "target"),
        ({"target": [1.0, 2.0], "volatility": [0.1, 0.2, 0.3]}, "what_if"),
        ({"target": 1e6, "underlying_return": 1.0, "volatility": 0.0}, "what_if"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], where: str) -> None:
    good = {"target": 3.0, "underlying_return": 0.1, "volatility": 0.5, "days": 30}
    with pytest.raises(gr.InputError) as caught:
        gr.what_if(**(good | arguments))  # type: ignore[arg-type]
    assert caught.value.where == where


ASKED = ("what-if", "--target", "3", "--return", "-10%", "--volatility", "80%", "--days", "30")


def test_the_command_prints_the_answer_and_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASKED, "--fee", "0.95%", "--funding", "10%"]) == 0
    out = capsys.readouterr().out
    wanted = gr.what_if(3, -0.1, 0.8, 30, fee_per_year=0.0095, funding_per_year=0.1)
    assert f"returns −{abs(wanted) * 100:.2f} % over 30 days" in out
    assert "volatility drag" in out
    assert "−39.3 %" in out


def test_the_command_answers_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASKED, "--days-per-year", "252", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "gearing.what-if/1"
    assert answer["return"] == pytest.approx(gr.what_if(3, -0.1, 0.8, 30, days_per_year=252))
    assert math.fsum(value for name, value in answer["log"].items() if name != "total") == pytest.approx(
        answer["log"]["total"]
    )
    grid = answer["table"]
    returns = gr.what_if(3, np.array(grid["underlying_returns"])[:, None], grid["volatilities"], 30, days_per_year=252)
    np.testing.assert_allclose(grid["returns"], returns)
    assert (len(grid["underlying_returns"]), len(grid["volatilities"])) == (8, 6)


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [("--volatility", "80", "80 would be 8,000 %"), ("--return", "ten", "is not a rate"), ("--return", "-100%", "-1")],
)
def test_the_command_refuses_what_is_not_meant(
    option: str, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = list(ASKED)
    words[words.index(option) + 1] = text
    assert main(words) == 2
    assert said in capsys.readouterr().err
