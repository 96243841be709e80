"""Many rules and many paths give what each gives alone, whatever the threads and the order."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

import gearing as gr
from gearing.core.pack import pack, schedule_times_ms
from gearing.kernels import figures as fig
from gearing.kernels.calendar import build_calendar
from gearing.kernels.many import run_paths, run_rules
from gearing.kernels.one import equity_path, path_of, run_one
from gearing.kernels.pyramid import build_pyramid, extremes, first_outside
from gearing.kernels.series import bar_at, build_series, volume_over_a_day
from tests import reference

HOUR = 3_600_000


def tokens():
    return [
        gr.presets.token(name, "BTC", target)
        for name in gr.rules.names()
        for target in (2.0, 3.0, -2.0)
        if abs(target) >= 1.25 or name != "binance-blvt"
    ]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_rules_equal_each_alone(threads):
    prices, funding = reference.market()
    calendars = [prices.calendar(funding, schedule_times_ms(token.resolved_rule)) for token in tokens()]
    flats = [pack(token, gr.Costs(taker_fee=5e-4)) for token in tokens()]
    told = []
    found = run_rules(flats, prices.index, calendars, 1e6, measured=True, threads=threads, done=told.append)
    for flat, calendar, figures in zip(flats, calendars, found, strict=True):
        alone = run_one(flat, prices.index, calendar, 1e6).figures
        np.testing.assert_array_equal(figures, alone)
    assert told == sorted(told)
    assert told[-1] == len(flats)


def test_many_paths_equal_each_alone():
    rng = np.random.default_rng(5)
    times = reference.START_MS + HOUR * np.arange(2_000, dtype=np.int64)
    paths = 100 * np.exp(np.cumsum(rng.standard_normal((40, 2_000)) * 0.01, axis=1))
    settlements, rates = times[8::8], rng.standard_normal(len(times[8::8])) * 1e-4
    token = gr.Token(symbol="T", target=3.0, rule="bybit", fees=gr.Fees(management_per_day=1e-3))
    schedules = schedule_times_ms(token.resolved_rule)

    def calendar_of(series):
        return build_calendar(times, HOUR, series.close, series.blocks, settlements, rates, schedules)

    shape = build_series(times, paths[0], spacing_ms=HOUR)
    found = run_paths(pack(token), shape, calendar_of(shape), paths, 1e6, measured=True)
    for path, figures in zip(paths, found, strict=True):
        series = build_series(times, path, spacing_ms=HOUR)
        np.testing.assert_array_equal(figures, run_one(pack(token), series, calendar_of(series), 1e6).figures)


def test_the_pyramid_finds_what_a_scan_finds():
    rng = np.random.default_rng(11)
    for n in (1, 15, 16, 17, 300, 5_000, 70_000):
        close = 100 * np.exp(np.cumsum(rng.standard_normal(n) * 0.002))
        close.flags.writeable = False
        blocks = build_pyramid(close, close)
        for _ in range(60):
            start, stop = sorted(rng.integers(0, n + 1, 2).tolist())
            width = rng.choice([1e-4, 0.01, 0.1, 1.0])
            below, above = close[min(start, n - 1)] * (1 - width), close[min(start, n - 1)] * (1 + width)
            part = close[start:stop]
            outside = np.flatnonzero((part < below) | (part > above))
            assert first_outside(close, close, blocks, start, stop, below, above) == (
                start + outside[0] if len(outside) else stop
            )
            expected = (part.min(), part.max()) if len(part) else (np.inf, -np.inf)
            assert extremes(close, close, blocks, start, stop) == expected


def test_a_bar_is_found_on_regular_and_irregular_times():
    rng = np.random.default_rng(3)
    for steps in (np.full(500, 60_000), rng.integers(1, 300_000, 500)):
        times = reference.START_MS + np.cumsum(steps)
        series = build_series(times, np.ones(500), spacing_ms=60_000)
        for _ in range(300):
            after = int(rng.integers(0, 499))
            instant = float(times[after] + rng.integers(-100_000, 3_000_000))
            later = np.flatnonzero(times[after + 1 :] >= instant)
            assert bar_at(series, after, instant) == (after + 1 + later[0] if len(later) else 500)


def test_volume_over_a_day():
    times = reference.START_MS + HOUR * np.arange(60, dtype=np.int64)
    volume = np.arange(60.0)
    found = volume_over_a_day(times, volume, HOUR)
    assert found[0] == 0.0
    assert found[30] == volume[7:31].sum()


def test_volume_over_a_day_is_exact_after_a_busy_one():
    """A sum of a window is no difference of long sums: those left a speck where nothing was traded."""
    rng = np.random.default_rng(3)
    for _ in range(40):
        n = int(rng.integers(1, 300))
        times = reference.START_MS + np.cumsum(rng.choice([60_000, HOUR, 4 * HOUR, 40 * HOUR], n))
        volume = rng.random(n) * 10 ** rng.uniform(-6, 5, n) * (rng.random(n) < 0.6)
        bar = int(rng.choice([60_000, HOUR, 24 * HOUR, 168 * HOUR]))
        share = [max(min(t - times[0] + bar, 24 * HOUR), bar) / (24 * HOUR) for t in times]
        plain = [volume[(times > t - 24 * HOUR) & (times <= t)].sum() for t in times] / np.array(share)
        assert volume_over_a_day(times, volume, bar) == pytest.approx(plain, rel=1e-13, abs=0)


def test_one_run_grows_its_rows():
    """More events than the first guess of room: nothing is lost."""
    rng = np.random.default_rng(1)
    prices = gr.Prices(
        reference.START_MS + 60_000 * np.arange(20_000), 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 20_000)))
    )
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(deviation=0.001))
    result = gr.backtest(token, prices)
    assert result.summary().rebalances == len(result.rebalances) > 10_000
    run = run_one(pack(token), prices.index, prices.calendar(None, ()), 1e6)
    assert path_of(run, prices.index)[0][-1] == run.figures[fig.EQUITY]


def _plain(rng):
    target = float(rng.choice([-3.0, -1.0, 0.5, 1.0, 2.0, 3.0, 7.3]))
    width = float(rng.choice([0.005, 0.03, 0.3, 0.9]))
    bands = {
        "deviation": width if rng.random() < 0.6 else None,
        "band_upper": abs(target) * 1.4 if rng.random() < 0.4 else None,
        "band_lower": abs(target) * 0.6 if rng.random() < 0.4 else None,
    }
    schedules = [gr.Schedule(times=("00:00",)), gr.Schedule(times=("08:00", "13:30"))][: int(rng.integers(0, 3))]
    fees = gr.Fees(management_per_day=3e-4) if rng.random() < 0.5 else gr.Fees(management_per_year=0.02, on="exposure")
    return gr.Token(symbol="T", target=target, rule=gr.Rule(schedule=tuple(schedules), **bands), fees=fees)


@pytest.mark.parametrize("seed", range(60))
def test_the_plain_run_equals_the_general_one_to_the_bit(seed):
    rng = np.random.default_rng(seed)
    n = 3_000
    times = reference.START_MS + 60_000 * np.cumsum(rng.choice([1, 1, 5, 30], n)).astype(np.int64)
    path = 100 * np.exp(np.cumsum(rng.standard_normal(n) * rng.choice([0.0, 0.001, 0.02])))
    prices = gr.Prices(times, path)
    funding = gr.Funding(times[5::40], rng.standard_normal(len(times[5::40])) * 1e-4)
    token, costs = _plain(rng), gr.Costs(taker_fee=5e-4, half_spread=2e-4)
    flat = pack(token, costs)
    calendar = prices.calendar(funding, schedule_times_ms(token.resolved_rule))
    general = run_one(flat, prices.index, calendar, 1e6)
    plain = run_rules([flat], prices.index, [calendar], 1e6)[0]
    for figure in (fig.EQUITY, fig.POSITION, fig.REBALANCES, fig.TRADES, fig.TURNOVER, fig.WIPED_OUT_BAR):
        assert plain[figure] == general.figures[figure], fig.FIGURES[figure]
    np.testing.assert_array_equal(equity_path(flat, prices.index, calendar, 1e6), path_of(general, prices.index)[0])
    bare = run_paths(flat, prices.index, calendar, np.array([path, path[::-1]]), 1e6)
    assert bare[0, fig.EQUITY] == general.figures[fig.EQUITY]


@pytest.mark.parametrize("seed", range(24))
def test_paths_side_by_side_equal_each_alone_to_the_bit(seed):
    """Dense wake-ups: calm and wild paths in one group of lanes, some wiped out, some leaving the band at once."""
    rng = np.random.default_rng(seed)
    n, k = 600, int(rng.integers(1, 40))
    times = reference.START_MS + HOUR * np.arange(n, dtype=np.int64)
    steps = rng.standard_normal((k, n)) * rng.choice([0.0, 0.002, 0.02, 0.1], (k, 1))
    paths = 100 * np.exp(np.cumsum(steps, axis=1))
    token = msgspec.structs.replace(_plain(rng), rule=gr.Rule(schedule=(gr.Schedule(times=("00:00", "12:00")),)))
    if seed % 2:
        token = msgspec.structs.replace(token, rule=msgspec.structs.replace(token.rule, deviation=0.2))
    flat, schedules = pack(token, gr.Costs(taker_fee=5e-4, half_spread=2e-4)), schedule_times_ms(token.resolved_rule)
    settlements, rates = times[4::4], rng.standard_normal(len(times[4::4])) * 1e-3
    told = []

    def calendar_of(series):
        return build_calendar(times, HOUR, series.close, series.blocks, settlements, rates, schedules)

    shape = build_series(times, paths[0], spacing_ms=HOUR)
    found = run_paths(flat, shape, calendar_of(shape), paths, 1e6, done=told.append)
    for path, figures in zip(paths, found, strict=True):
        series = build_series(times, path, spacing_ms=HOUR)
        alone = run_one(flat, series, calendar_of(series), 1e6).figures
        for figure in (fig.EQUITY, fig.POSITION, fig.REBALANCES, fig.TURNOVER, fig.WIPED_OUT_BAR):
            assert figures[figure] == alone[figure], fig.FIGURES[figure]
    assert told[-1] == k
