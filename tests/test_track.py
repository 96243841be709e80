"""A product against its simulation: what was put into a product is found again, and every figure by another way."""

from __future__ import annotations

import math
import os
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

import gearing as gr
from gearing.study import track_figures as fig
from gearing.study.track_words import gap_rows, time_head

DATA = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
YEAR_DAYS = 365.25

with_data = pytest.mark.skipif(
    not (DATA / "etf").is_dir(), reason="no market data: set GEARING_DATA to the directory that holds it"
)


def index(count: int = 1_200, step_ms: int = DAY_MS, seed: int = 4, volatility: float = 0.2) -> gr.Prices:
    rng = np.random.default_rng(seed)
    size = volatility * math.sqrt(step_ms / DAY_MS / 365)
    close = 100 * np.exp(np.append(0.0, np.cumsum(rng.normal(0.0001, size, count))))
    return gr.Prices(np.arange(1, count + 2, dtype=np.int64) * step_ms, close, symbol="X")


def fund(target: float, spread: float = 0.0035, fee: float = 0.0, rule: gr.Rule | str = "daily-etf") -> gr.Token:
    return gr.Token(
        symbol="F",
        target=target,
        rule=rule,
        legs=(gr.TotalReturnSwap(symbol="X", spread=spread),),
        fees=gr.Fees(management_per_year=fee),
    )


def run(token: gr.Token, prices: gr.Prices, rates: float = 0.0) -> gr.Result:
    return gr.backtest(token, prices, rates=rates)


def nav(result: gr.Result, change: np.ndarray | float = 0.0) -> gr.Prices:
    """The NAV of a result as the prices of a product, with errors added to its logs."""
    return gr.Prices(result.prices.times_ms, result.nav["nav"].to_numpy() * np.exp(change), symbol="REAL")


@pytest.mark.parametrize("target", [3.0, 2.0, -1.0, -3.0])
@pytest.mark.parametrize("more", [0.02, -0.003])
def test_a_known_spread_is_found_again(target: float, more: float) -> None:
    prices = index()
    real = run(fund(target, 0.0035 + more), prices, rates=0.04)
    simulated = run(fund(target), prices, rates=0.04)
    found = gr.track(nav(real), simulated)
    assert found.implied_spread == pytest.approx(more, rel=1e-6)
    assert math.copysign(1, found.drift) == -math.copysign(1, more)
    assert found.drift == pytest.approx(-more * abs(target) * YEAR_DAYS / 360, rel=0.01)
    assert (found.charged_spread, found.day_count) == (0.0035, 360)
    assert found.financed_leverage == pytest.approx(abs(target))


@pytest.mark.parametrize("target", [3.0, -1.0])
def test_the_simulation_with_the_implied_spread_has_no_drift(target: float) -> None:
    """The product's fee is another one and its prices are noisy; no spread made it, and one explains it."""
    prices, rng = index(), np.random.default_rng(8)
    real = nav(run(fund(target, fee=0.02), prices, rates=0.03), rng.normal(0, 0.002, len(prices)))
    first = gr.track(real, run(fund(target), prices, rates=0.03))
    again = gr.track(real, run(fund(target, 0.0035 + first.implied_spread), prices, rates=0.03))
    assert abs(first.drift) > 0.005
    assert abs(again.drift) < 1e-6 * abs(first.drift)
    assert abs(again.implied_spread) < 1e-7


def test_a_rare_rebalance_is_paid_from_trade_to_trade() -> None:
    """Leverage drifts for weeks, so that a cost is felt at the next trade and not at once."""
    prices = index(volatility=0.4)
    rule = gr.Rule(schedule=(gr.Schedule(every="28d"),))
    found = gr.track(nav(run(fund(3.0, 0.0235, rule=rule), prices)), run(fund(3.0, rule=rule), prices))
    assert found.implied_spread == pytest.approx(0.02, rel=1e-6)
    # The mean of leverage alone is not enough.
    plain = -found.drift / found.financed_leverage * 360 / YEAR_DAYS
    assert abs(plain - 0.02) > 1e-4
    assert found.price_triggered == 0


def test_a_band_trades_at_other_prices_once_it_pays_more() -> None:
    """Trades are taken at the bars at which the simulation traded: of one path the spread is rough, but not biased."""
    found = []
    rule = gr.Rule(name="band", band_lower=2.0, band_upper=4.0, aim="target")
    for seed in range(40):
        prices = index(volatility=0.3, seed=seed)
        found.append(gr.track(nav(run(fund(3.0, 0.0235, rule=rule), prices)), run(fund(3.0, rule=rule), prices)))
    spreads = np.array([each.implied_spread for each in found])
    assert abs(spreads.mean() - 0.02) < 2.5 * spreads.std() / math.sqrt(len(spreads))
    assert 0.005 < spreads.std() < 0.05
    assert min(each.price_triggered for each in found) >= 3


@pytest.mark.parametrize("target", [3.0, -2.0])
def test_of_a_perpetual_it_is_funding_beyond_the_simulation(target: float) -> None:
    prices = index(24 * 300, HOUR_MS)
    times = np.arange(1, 3 * 300, dtype=np.int64) * 8 * HOUR_MS
    token = gr.Token(symbol="F", target=target, rule="daily-etf")
    more = 0.10
    real, simulated = (
        gr.backtest(token, prices, funding=gr.Funding(times, np.full(len(times), yearly / 365 / 3)))
        for yearly in (0.12 + more, 0.12)
    )
    found = gr.track(nav(real), simulated)
    assert found.implied_spread == pytest.approx(math.copysign(more, target), rel=0.01)
    assert (found.charged_spread, found.day_count) == (None, 365)
    assert found.drift == pytest.approx(-target * more * YEAR_DAYS / 365, rel=0.01)


def test_a_fee_is_a_spread_of_its_size_over_leverage() -> None:
    prices = index()
    real = nav(run(fund(2.0, fee=0.0095), prices))
    found = gr.track(real, run(fund(2.0), prices))
    assert found.drift == pytest.approx(-0.0095 * YEAR_DAYS / 365, rel=1e-3)
    assert found.implied_spread == pytest.approx(0.0095 / 2 * 360 / 365, rel=0.01)


def test_errors_that_are_undone_echo_and_leave_the_drift_sure() -> None:
    prices, rng = index(4_000), np.random.default_rng(9)
    simulated = run(fund(3.0), prices)
    size = 0.001
    found = gr.track(nav(simulated, rng.normal(0, size, len(prices))), simulated)
    assert found.echo == pytest.approx(-0.5, abs=0.03)
    assert found.deviation == pytest.approx(size * math.sqrt(2), rel=0.03)
    assert found.typical_deviation == pytest.approx(found.deviation, rel=0.06)
    assert found.slope == pytest.approx(1.0, abs=0.01)
    naive = found.deviation / math.sqrt(found.changes) * found.per_year
    assert found.drift_error < 0.5 * naive
    assert abs(found.drift) < 3 * found.drift_error


def test_independent_errors_have_the_plain_standard_error() -> None:
    prices, rng = index(4_000), np.random.default_rng(10)
    simulated = run(fund(1.5), prices)
    found = gr.track(nav(simulated, np.cumsum(rng.normal(0, 0.001, len(prices)))), simulated)
    naive = found.deviation / math.sqrt(found.changes) * found.per_year
    assert found.drift_error == pytest.approx(naive, rel=0.12)
    assert abs(found.echo) < 0.05


@pytest.mark.parametrize("lag", [1, 2, -1])
def test_a_late_product_is_seen_by_its_fit(lag: int) -> None:
    prices, rng = index(), np.random.default_rng(12)
    simulated = run(fund(3.0), prices)
    noisy = simulated.nav["nav"].to_numpy() * np.exp(rng.normal(0, 0.002, len(prices)))
    late = gr.Prices(
        prices.times_ms[max(lag, 0) :][: len(prices) - abs(lag)], noisy[max(-lag, 0) :][: len(prices) - abs(lag)]
    )
    way = "late" if lag > 0 else "early"
    with pytest.warns(gr.DataWarning, match=f"fit best {abs(lag)} of its periods {way}"):
        found = gr.track(late, simulated)
    assert found.lag == lag
    assert found.r_squared < 0.05
    # Each day's return is missing on its day, and there on another one.
    if abs(lag) == 1:
        assert found.echo == pytest.approx(-0.5, abs=0.06)
    whole = gr.track(nav(simulated), simulated)
    assert whole.lag == 0
    assert (whole.slope, whole.r_squared, whole.drift, whole.deviation) == pytest.approx((1.0, 1.0, 0.0, 0.0))


def test_every_figure_by_another_way() -> None:
    prices, rng = index(500), np.random.default_rng(11)
    simulated = run(fund(3.0), prices, rates=0.01)
    real = nav(simulated, np.cumsum(rng.normal(-1e-4, 2e-3, len(prices))))
    found = gr.track(real, simulated)
    p, s, u = real.close, simulated.nav["nav"].to_numpy(), prices.close
    gaps = [math.log(p[k + 1] / p[k]) - math.log(s[k + 1] / s[k]) for k in range(len(p) - 1)]
    years = 500 / YEAR_DAYS
    assert found.changes == 500
    assert found.per_year == pytest.approx(YEAR_DAYS)
    assert found.drift == pytest.approx(sum(gaps) / years)
    assert found.deviation == pytest.approx(pl.Series(gaps).std())
    middle = sorted(gaps)[249] / 2 + sorted(gaps)[250] / 2
    assert found.typical_deviation == pytest.approx(1.4826 * np.median([abs(gap - middle) for gap in gaps]), rel=1e-4)
    assert found.echo == pytest.approx(np.corrcoef(gaps[1:], gaps[:-1])[0, 1])
    x, y = np.log(s[1:] / s[:-1]), np.log(p[1:] / p[:-1])
    assert found.slope == pytest.approx(np.polyfit(x, y, 1)[0])
    assert found.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    moves = [values[1:] / values[:-1] - 1 for values in (u, p, s)]
    assert found.beta == pytest.approx(np.polyfit(moves[0], moves[1], 1)[0])
    assert found.beta_r_squared == pytest.approx(np.corrcoef(moves[0], moves[1])[0, 1] ** 2)
    assert found.simulated_beta == pytest.approx(np.polyfit(moves[0], moves[2], 1)[0])
    # Newey and West as a sum over pairs of gaps: weight 1 − |i − j| / (lags + 1).
    d, lags = np.array(gaps) - np.mean(gaps), int(4 * (500 / 100) ** (2 / 9))
    weight = np.maximum(1 - np.abs(np.subtract.outer(np.arange(500), np.arange(500))) / (lags + 1), 0)
    assert found.drift_error == pytest.approx(math.sqrt(d @ weight @ d) / 500 * YEAR_DAYS)


def test_the_frame_holds_what_was_paired() -> None:
    prices = index(30)
    simulated = run(fund(2.0), prices)
    found = gr.track(nav(simulated, 0.01 * np.arange(31)), simulated, leave_out=[(5 * DAY_MS, 8 * DAY_MS)])
    frame = found.frame
    assert frame.columns == [
        "time", "product", "simulated", "underlying", "product_log", "simulated_log", "gap", "counted",
    ]  # fmt: skip
    assert frame["gap"].to_list()[0] is None
    assert frame["gap"].to_numpy()[1:] == pytest.approx(0.01)
    assert frame.filter(~pl.col("counted"))["time"].dt.epoch("ms").to_list() == [k * DAY_MS for k in (1, 6, 7, 8)]
    assert (found.changes, len(found.counted)) == (27, 27)
    assert found.drift == pytest.approx(0.01 * YEAR_DAYS)
    assert (found.start, found.end) == (prices.start, prices.end)


def test_gaps_left_out_are_left_out_of_the_spread() -> None:
    prices = index(400)
    real, simulated = (run(fund(3.0, spread), prices) for spread in (0.0135, 0.0035))
    change = np.zeros(401)
    change[200:] = -0.05
    jumped = nav(real, change)
    outside = [(int(prices.times_ms[199]), int(prices.times_ms[200]))]
    assert gr.track(jumped, simulated, leave_out=outside).implied_spread == pytest.approx(0.01, rel=1e-6)
    assert gr.track(jumped, simulated).implied_spread > 0.02
    before = (None, int(prices.times_ms[199]))
    assert gr.track(jumped, simulated, window=before).implied_spread == pytest.approx(0.01, rel=1e-6)
    after = gr.track(jumped, simulated, window=(int(prices.times_ms[200]), None))
    assert after.implied_spread == pytest.approx(0.01, rel=1e-6)
    assert after.changes == 200


def test_leverage_and_trades_are_those_of_the_time_that_counts() -> None:
    prices = index(300, volatility=0.5)
    kept = np.delete(np.arange(301), [3, 4, 50, 51, 52, 200])
    prices = gr.Prices(prices.times_ms[kept], prices.close[kept], symbol="X")
    simulated = run(fund(3.0, rule=gr.Rule(name="band", band_lower=2.5, band_upper=3.5, aim="target")), prices)
    trades = simulated.rebalances.filter(pl.col("reason") == "band")["time"].dt.epoch("ms").to_list()
    first, last = trades[1], trades[-2]
    outside = (trades[2] - DAY_MS, trades[3])
    found = gr.track(nav(simulated), simulated, window=(first, last), leave_out=[outside])
    times, leverage = prices.times_ms.tolist(), simulated.nav["leverage"].to_list()
    held, size = 0, 0.0
    for start, end, level in zip(times, times[1:], leverage, strict=False):
        if start >= first and end <= last and not outside[0] < end <= outside[1]:
            held, size = held + end - start, size + level * (end - start)
    assert found.financed_leverage == pytest.approx(size / held)
    # A trade at the first common time was made before the first gap began.
    assert found.price_triggered == len(trades) - 3


def test_years_and_the_largest_gaps() -> None:
    prices = index(800)
    simulated = run(fund(2.0), prices)
    change = np.zeros(801)
    change[100:] += 0.03
    change[101:] -= 0.02
    change[700:] -= 0.01
    found = gr.track(nav(simulated, change), simulated)
    worst = found.worst(3)
    assert worst["gap"].to_numpy() == pytest.approx([0.03, -0.02, -0.01])
    assert worst["next_gap"].to_numpy() == pytest.approx([-0.02, 0.0, 0.0], abs=1e-12)
    assert (worst["product"] + 1).log().to_numpy() - (worst["simulated"] + 1).log().to_numpy() == pytest.approx(
        worst["gap"].to_numpy()
    )
    at = int(np.searchsorted(prices.times_ms, worst["time"].dt.epoch("ms")[0]))
    assert worst["underlying"][0] == pytest.approx(prices.close[at] / prices.close[at - 1] - 1)
    years = found.by_year
    assert years["year"].to_list() == [1970, 1971, 1972]
    # The first price is known at the end of 1 January, so that 364 changes end in 1970.
    assert years["changes"].to_list() == [364, 365, 71]
    assert years["drift"].to_numpy() == pytest.approx([0.01 / 364 * YEAR_DAYS, -0.01 / 365 * YEAR_DAYS, 0.0], abs=1e-9)
    with pytest.raises(gr.InputError):
        found.worst(0)


def test_a_wipe_out_ends_what_counts() -> None:
    close = np.array([100.0, 101.0, 102.0, 99.0, 100.0, 60.0, 61.0])
    prices = gr.Prices(np.arange(1, 8, dtype=np.int64) * DAY_MS, close, symbol="X")
    simulated = run(fund(3.0), prices)
    assert simulated.summary().wiped_out
    with pytest.warns(gr.DataWarning, match="the simulation is worth nothing from 1970-01-07"):
        found = gr.track(gr.Prices(prices.times_ms, close), simulated)
    assert (found.changes, found.end) == (4, "1970-01-06T00:00:00Z")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"window": ("1990-01-01", "1991-01-01")}, "no common time from"),
        ({"window": ("1970-01-03", "1970-01-05")}, "2 gaps in common"),
        ({"leave_out": [("1970-02-01", "1970-01-01")]}, "ends before it begins"),
        ({"leave_out": [("1970-01-01", "1980-01-01")]}, "0 gaps in common"),
    ],
)
def test_what_cannot_be_measured_is_refused(more: dict, said: str) -> None:
    simulated = run(fund(2.0), index(50))
    with pytest.raises(gr.InputError, match=said):
        gr.track(nav(simulated), simulated, **more)


def test_only_a_result_is_a_simulation() -> None:
    prices = index(50)
    with pytest.raises(gr.InputError, match="is not a result"):
        gr.track(prices, prices)  # type: ignore[arg-type]


def test_figures_of_what_does_not_vary_are_no_numbers() -> None:
    flat, some = np.zeros(5), np.array([1.0, -1.0, 2.0, 0.0, 1.0])
    assert math.isnan(fig.regression(flat, some)[0])
    assert fig.regression(some, flat)[0] == 0.0
    assert math.isnan(fig.regression(some, flat)[1])
    assert math.isnan(fig.echo(flat))
    assert math.isnan(fig.echo(some[:2]))
    assert math.isnan(fig.deviation(some[:1]))
    assert math.isnan(fig.mean_error(some[:2]))
    assert math.isnan(fig.spread_of(0.1, flat))


@pytest.mark.parametrize("spread", [0.5, -0.2, 0.0, 20.0, 24.9])
def test_the_spread_of_a_log_change_is_its_inverse(spread: float) -> None:
    costs = np.array([0.04, 0.01, 0.0, 0.03])
    change = float(np.log(1 - spread * costs).sum())
    assert fig.spread_of(change, costs) == pytest.approx(spread, abs=1e-9)


def test_a_track_shows_itself(tmp_path: Path) -> None:
    simulated = run(fund(2.0), index(400))
    found = gr.track(nav(simulated, 1e-5 * np.arange(401)), simulated)
    assert repr(found).startswith("Track(REAL against F: 400 changes, drift +37 bp a year")
    figure = found.plot()
    assert [trace.name for trace in figure.data] == ["REAL", "F, simulated", "sum of the gaps"]
    assert figure.data[2].y[-1] == pytest.approx(0.004)
    assert "drift_error" in found._repr_html_()
    assert "shape:" not in found._repr_html_()
    with pytest.raises(AttributeError):
        found.drift = 0.0  # type: ignore[misc]
    assert msgspec.structs.asdict(found)["changes"] == 400
    found.report(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<h1>REAL against its simulation</h1>" in page
    assert "REAL gained on its simulation 37\u00a0bp a year" in page or "REAL gained on its simulation 37 bp" in page
    for name in ('data-name="years"', 'data-name="worst"'):
        assert name in page
    (tmp_path / "other").write_bytes(b"SQLite format 3\x00" + bytes(100))
    with pytest.raises(gr.InputError):
        found.report(tmp_path / "other", force=True)


def test_a_day_is_named_and_an_hour_is_timed() -> None:
    daily, hourly = (run(fund(2.0), index(100, step)) for step in (DAY_MS, HOUR_MS))
    change = np.zeros(101)
    change[50:] = 0.05
    found = gr.track(nav(daily, change), daily)
    # The 51st price is that of 20 February's end.
    assert time_head(found) == "day"
    assert gap_rows(found, 1)[0][0] == "1970-02-20"
    assert gap_rows(found, 1)[0][4:] == ["+500 bp", "0 bp"]
    late = gr.track(nav(hourly, change), hourly)
    assert time_head(late) == "period ends, UTC"
    assert gap_rows(late, 1)[0][0] == "1970-01-03 03:00"


@with_data
@pytest.mark.parametrize(("symbol", "target", "fee"), [("TQQQ", 3.0, 0.0095), ("PSQ", -1.0, 0.0095)])
def test_a_real_fund_has_no_drift_at_the_spread_it_implies(symbol: str, target: float, fee: float) -> None:
    real = gr.read_prices(DATA / "etf" / "etf_adjclose_1d.parquet", symbol=symbol)
    qqq = gr.read_prices(DATA / "etf" / "etf_adjclose_1d.parquet", symbol="QQQ").between(real.start, "2026-01-30")
    rates = gr.read_rates(DATA / "etf" / "us_short_rates_1d.parquet", symbol="DFF")

    def against(spread: float) -> gr.Track:
        token = msgspec.structs.replace(
            fund(target, spread, fee), legs=(gr.TotalReturnSwap(symbol="QQQ", spread=spread),)
        )
        return gr.track(real, gr.backtest(token, qqq, rates=rates))

    found = against(0.0035)
    assert 5e-4 < abs(found.drift) < 4e-3
    assert abs(against(0.0035 + found.implied_spread).drift) < 1e-6
