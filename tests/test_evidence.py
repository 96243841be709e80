"""Fair evidence against plain ranks over plain rows."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

import gearing as gr
from gearing.study.evidence import distributions, mid_rank, standing, windows
from tests import reference

DAY = 86_400_000
HOUR = 3_600_000
DATA = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def made(days=40, seed=3, target=3.0, sigma=0.012, crash_at=None):
    n = 24 * days
    moves = np.random.default_rng(seed).normal(0, sigma, n)
    if crash_at is not None:
        moves[crash_at] = -0.6
    path = 100 * np.exp(np.cumsum(moves))
    prices = gr.Prices(times_ms=reference.START_MS + 7 * HOUR + HOUR * np.arange(n), close=path)
    return gr.backtest(gr.Token(symbol="T", target=target, rule="ftx"), prices)


def plain_windows(result, length_ms, phase_ms=0):
    """Every window as (start, log return): a walk over the rows, day by day."""
    times = result.prices.times_ms.tolist()
    nav = result.nav["nav"].to_list()

    def known(moment):
        return [value for time, value in zip(times, nav, strict=True) if time <= moment][-1]

    found = []
    day = times[0] // DAY - 1
    while day * DAY + phase_ms + length_ms <= times[-1]:
        start = day * DAY + phase_ms
        day += 1
        if start < times[0]:
            continue
        before, after = known(start), known(start + length_ms)
        if before > 0:
            found.append((start, math.log(after / before) if after > 0 else -math.inf))
    return found


@pytest.mark.parametrize("crash_at", [None, 500])
@pytest.mark.parametrize("days", [1, 7, 30])
def test_windows_are_those_of_a_plain_walk(days, crash_at):
    result = made(crash_at=crash_at)
    assert result.summary().wiped_out == (crash_at is not None)
    expected = plain_windows(result, days * DAY)
    found = windows(result, days * DAY)
    assert found.starts_ms.tolist() == [start for start, _ in expected]
    assert found.logs.tolist() == pytest.approx([log for _, log in expected])


def test_the_percentile_is_a_plain_mid_rank():
    result = made(crash_at=500)
    first = reference.START_MS + 7 * HOUR
    for start_day, length_days in ((1, 7), (10, 3), (18, 7), (14, 7), (2, 30)):
        start = first + start_day * DAY
        rows = plain_windows(result, length_days * DAY, phase_ms=7 * HOUR)
        own = next(log for at, log in rows if at == start)
        below = sum(log < own for _, log in rows)
        equal = sum(log == own for _, log in rows)
        found = standing(result, start, start + length_days * DAY)
        assert found.percentile == pytest.approx(100 * (below + equal / 2) / len(rows))
        assert found.count == len(rows)
        assert found.wiped_out == sum(log == -math.inf for _, log in rows) > 0
        assert found.total_return == pytest.approx(math.exp(own) - 1)


def test_ties_share_their_ranks_and_wiped_out_windows_rank_last():
    values = np.array([-math.inf, -math.inf, -1.0, 0.0, 0.0, 0.0, 2.0, 3.0])
    assert [mid_rank(values, x) for x in (-math.inf, -1.0, 0.0, 3.0)] == [12.5, 31.25, 56.25, 93.75]


def test_a_window_that_ends_wiped_out_ranks_below_one_that_lost_nearly_all():
    """A return of −1 + 1e-17 is −1 as a float; the rank tells them apart all the same."""
    result = made(days=30, crash_at=500)
    logs = windows(result, 7 * DAY).logs
    assert mid_rank(np.append(logs, -60.0), -60.0) > mid_rank(np.append(logs, -60.0), -math.inf)


def test_distributions_hold_their_quantiles():
    result = made()
    found = {d.days: d for d in distributions(result, (1, 7, 365))}
    returns = [math.exp(log) - 1 for _, log in plain_windows(result, 7 * DAY)]
    assert found[7].count == len(returns)
    assert found[7].quantiles == pytest.approx(np.percentile(returns, [5, 25, 50, 75, 95]))
    assert (found[7].worst, found[7].best) == pytest.approx((min(returns), max(returns)))
    assert found[7].gained == sum(x > 0 for x in returns) / len(returns)
    assert found[365].count == 0
    assert math.isnan(found[365].best)


def test_a_weekend_begins_no_window():
    days = [day for day in range(60) if day % 7 < 5]
    times = np.array([reference.START_MS + day * DAY for day in days])
    path = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, len(days))))
    result = gr.backtest(gr.Token(symbol="T", target=2.0, rule="daily-etf"), gr.Prices(times_ms=times, close=path))
    assert np.isin(windows(result, 7 * DAY).starts_ms, times).all()
    assert len(windows(result, 7 * DAY).starts_ms) == sum(day + 7 <= days[-1] for day in days)


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (("2023-01-05", "2023-01-05"), "ends before it begins"),
        (("2022-01-05", "2023-01-07"), "not inside the data"),
        (("2023-01-05", "2024-01-07"), "not inside the data"),
        (("2023-01-01T07:00", "2023-02-10T06:00"), "no second window"),
        (("2023-02-01", "2023-02-03"), "wiped out before this window"),
        (("soon", "later"), "no moment in time"),
    ],
)
def test_a_window_that_cannot_be_ranked_is_refused(window, words):
    with pytest.raises(gr.InputError, match=words):
        standing(made(crash_at=500), *window)


def test_a_length_that_is_none_is_refused():
    for length in (0, -1, 1.5, True):
        with pytest.raises(gr.InputError, match="no length"):
            distributions(made(days=5), [length])


@pytest.mark.skipif(not (DATA / "crypto").is_dir(), reason="no market data: set GEARING_DATA to its directory")
def test_may_2021_was_among_the_worst_months_of_btc_times_three():
    prices = gr.read_prices(DATA / "crypto" / "perp_binance_usdm_1h.parquet", symbol="BTCUSDT", start="2019-09-10")
    result = gr.backtest(gr.presets.token("ftx", "BTC", 3), prices)
    found = standing(result, "2021-05-01", "2021-06-01")
    assert found.count > 2_000
    assert found.percentile < 3


def test_the_evidence_of_a_result_is_that_of_its_windows():
    result = made()
    start, end = reference.START_MS + 10 * DAY, reference.START_MS + 17 * DAY
    found = result.evidence(window=(start, end))
    logs = [log for _, log in plain_windows(result, 7 * DAY)]
    own = dict(plain_windows(result, 7 * DAY))[start]
    assert found.standing is not None
    assert found.standing.total_return == pytest.approx(math.expm1(own))
    rank = sum(log < own - 1e-12 for log in logs) + 0.5 * sum(abs(log - own) <= 1e-12 for log in logs)
    assert found.standing.percentile == pytest.approx(100 * rank / len(logs))
    row = found.frame.row(1, named=True)
    assert (row["days"], row["count"]) == (7, len(logs))
    returns = np.sort(np.expm1(logs))
    at = 0.25 * (len(returns) - 1)
    low, share = int(at), at - int(at)
    assert row["q25"] == pytest.approx(returns[low] * (1 - share) + returns[low + 1] * share)
    assert result.evidence().standing is None
    assert math.isnan(result.evidence().frame["q50"][4])
