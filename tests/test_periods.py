"""Drawdowns, calendar returns and what was paid, against plain loops and against the attribution."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest

import gearing as gr
from gearing.study.calendar_returns import calendar_returns
from gearing.study.drawdowns import drawdowns, under_water
from gearing.study.paid import MARKET_PARTS, paid_parts, yearly_cost, yearly_decay
from tests import reference

HOUR = 3_600_000
COSTS = gr.Costs(taker_fee=0.0005, half_spread=0.0002)


def run(days=500, seed=4, start_ms=reference.START_MS + 40 * 24 * HOUR + 3 * HOUR, target=3.0, crash_at=None, tiers=()):
    n = 24 * days
    moves = np.random.default_rng(seed).normal(0, 0.006, n)
    if crash_at is not None:
        moves[crash_at] = -0.5
    times = start_ms + HOUR * np.arange(n)
    prices = gr.Prices(times_ms=times, close=100 * np.exp(np.cumsum(moves)))
    due = times[times % (8 * HOUR) == 0]
    funding = gr.Funding(times_ms=due, rates=np.random.default_rng(9).normal(1e-4, 2e-4, len(due)))
    token = gr.Token(
        symbol="T", target=target, rule="ftx", fees=gr.Fees(management_per_day=0.0003),
        legs=(gr.Perpetual(margin_tiers=tiers),),
    )  # fmt: skip
    return gr.backtest(token, prices, funding=funding, costs=COSTS)


def plain_drawdowns(result):
    """Falls as (depth, high, trough, recovery), by walking the bars."""
    high, since, falls, open_fall = result.token.initial_nav, int(result.prices.times_ms[0]), [], None
    for time, nav in zip(result.prices.times_ms.tolist(), result.nav["nav"].to_list(), strict=True):
        if nav >= high:
            if open_fall:
                falls.append((*open_fall, time))
                open_fall = None
            high, since = nav, time
        else:
            depth = nav / high - 1
            if open_fall is None or depth < open_fall[0]:
                open_fall = (depth, open_fall[1] if open_fall else since, time)
    return sorted([*falls, *([(*open_fall, None)] if open_fall else [])])


@pytest.mark.parametrize("seed", range(5))
def test_drawdowns_are_those_of_a_plain_walk(seed):
    result = run(days=60, seed=seed)
    expected = plain_drawdowns(result)
    found = drawdowns(result, most=1_000)
    assert len(found) == len(expected) > 3
    for fall, (depth, high, trough, recovery) in zip(found, expected, strict=True):
        assert fall.depth == pytest.approx(depth)
        assert (fall.start_ms, fall.trough_ms) == (high, trough)
        assert (fall.recovery is None) == (recovery is None)
        assert fall.end_ms == (recovery or int(result.prices.times_ms[-1]))
    assert found[0].depth == pytest.approx(result.summary().max_drawdown)
    assert under_water(result).min() == pytest.approx(expected[0][0])


def test_the_last_bar_can_be_the_trough():
    path = np.array([100.0, 110.0, 108.0, 112.0, 90.0])
    result = gr.backtest(gr.Token(symbol="T", target=1.0), (reference.START_MS + HOUR * np.arange(5), path))
    assert [round(fall.depth, 6) for fall in drawdowns(result)] == [round(90 / 112 - 1, 6), round(108 / 110 - 1, 6)]
    rising = gr.backtest(
        gr.Token(symbol="T", target=1.0), (reference.START_MS + HOUR * np.arange(5), np.arange(1.0, 6))
    )
    assert drawdowns(rising) == []


def test_months_are_those_of_a_plain_calendar():
    result = run()
    rows = list(zip(result.prices.times_ms.tolist(), result.nav["nav"].to_list(), strict=True))

    def at(year, month):
        moment = dt.datetime(year + (month > 12), month - 12 * (month > 12), 1, tzinfo=dt.UTC).timestamp() * 1000
        known = [nav for time, nav in rows if time <= moment]
        return known[-1] if known else 100.0

    years = calendar_returns(result)
    assert [year.year for year in years] == [2023, 2024]
    for year in years:
        for month, value in enumerate(year.months, 1):
            inside = any(dt.datetime.fromtimestamp((t - 1) / 1000, dt.UTC).strftime("%Y%m") == f"{year.year}{month:02d}"
                         for t, _ in rows)  # fmt: skip
            assert (value is not None) == inside
            if value is not None:
                assert value == pytest.approx(at(year.year, month + 1) / at(year.year, month) - 1)
        whole = math.prod(1 + value for value in year.months if value is not None)
        assert year.total == pytest.approx(whole - 1)
    assert [part for year in years for part in year.part].count(True) == 2
    assert math.prod(1 + year.total for year in years) == pytest.approx(1 + result.summary().total_return)


def test_a_month_that_just_ended_begins_no_other():
    n = 24 * 31 + 1
    prices = (reference.START_MS + HOUR * np.arange(n), np.linspace(100, 120, n))
    (year,) = calendar_returns(gr.backtest(gr.Token(symbol="T", target=1.0), prices))
    assert year.months[0] == pytest.approx(0.2)
    assert year.months[1:] == (None,) * 11
    assert not any(year.part)


@pytest.mark.parametrize(
    "case", [{}, {"target": -2.0}, {"crash_at": 5_000}, {"crash_at": 5_000, "tiers": (gr.MarginTier(rate=0.02),)}]
)
def test_what_was_paid_is_what_the_attribution_says(case):
    result = run(**case)
    parts = {part.name: part for part in paid_parts(result)}
    money = dict(result.attribution.money.items())
    assert set(parts) == {name for name, amount in money.items() if amount and name not in MARKET_PARTS}
    starts = {year.year: year.start_nav for year in calendar_returns(result)}
    for name, part in parts.items():
        assert part.per_unit == money[name]
        assert part.per_1000 == pytest.approx(money[name] * 10)
        known = [amount * starts[year] / 1_000 for year, amount in part.by_year.items() if amount is not None]
        assert math.fsum(known) == pytest.approx(money[name])
    if result.summary().wiped_out:
        assert math.isnan(yearly_cost(result))
        assert yearly_decay(result) == math.inf
    else:
        log, years = dict(result.attribution.log.items()), result.summary().years
        market = math.fsum(log[name] for name in ("leverage", "variance_drag", "timing"))
        total = math.log(result.summary().final_nav / 100)
        assert yearly_cost(result) * years == pytest.approx(market - total)
        assert yearly_decay(result) * years == pytest.approx(log["leverage"] - total)


def test_both_crashes_were_seen():
    assert run(crash_at=5_000).summary().wiped_out
    tiered = run(crash_at=5_000, tiers=(gr.MarginTier(rate=0.02),)).summary()
    assert tiered.liquidations >= 1 or tiered.wiped_out
