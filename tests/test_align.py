"""Two series at common times: what is known, never later, and only while it is fresh."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import gearing as gr

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def series(times: list[int], symbol: str = "") -> gr.Prices:
    """Prices that say when they were known: the price is the number of hours since 1970, plus one."""
    moments = np.array(times, np.int64)
    return gr.Prices(moments, moments / HOUR_MS + 1.0, symbol=symbol)


def days(count: int, hour: int = 0, first: int = 1) -> list[int]:
    return [(first + k) * DAY_MS + hour * HOUR_MS for k in range(count)]


def rows(frame: pl.DataFrame) -> list:
    """Times, and the values' own times, all in hours since 1970."""
    hours = (frame["time"].dt.epoch("ms") // HOUR_MS).to_list()
    return list(zip(hours, (frame["a"] - 1).to_list(), (frame["b"] - 1).to_list(), strict=True))


def test_the_coarser_series_gives_the_times_whichever_comes_first() -> None:
    daily, hourly = series(days(4)), series([k * HOUR_MS + 7 for k in range(20, 97)])
    found = gr.align(daily, hourly)
    # The hourly value at 24:00:00.007 is later than the daily one, so that of 23:00:00.007 is the last known.
    assert rows(found) == [(hour, hour, pytest.approx(hour - 1, abs=1e-5)) for hour in (24, 48, 72, 96)]
    swapped = gr.align(hourly, daily)
    assert swapped["a"].to_list() == found["b"].to_list()
    assert found.schema["time"] == pl.Datetime("ms", "UTC")


def test_nothing_is_known_before_it_is() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        step_a, step_b = rng.integers(1, 30, 2) * HOUR_MS
        a = series(sorted({int(t) for t in rng.integers(0, 60, 40) * step_a}))
        b = series(sorted({int(t) for t in rng.integers(0, 60, 40) * step_b + int(rng.integers(0, HOUR_MS))}))
        try:
            found = gr.align(a, b)
        except gr.InputError:
            continue
        time = found["time"].dt.epoch("ms").to_numpy()
        limit = max(a.spacing_ms, b.spacing_ms) / HOUR_MS
        for name, source in (("a", a), ("b", b)):
            age = time / HOUR_MS + 1 - found[name].to_numpy()
            assert (age > -1e-9).all()
            assert (age < limit + 1e-9).all()
            assert np.isin(found[name].to_numpy(), source.close).all()
            # The last known value: no other of the series lies between it and the time.
            after = source.times_ms[np.searchsorted(source.close, found[name].to_numpy(), side="right") - 1]
            assert all(
                not ((source.times_ms > own) & (source.times_ms <= t)).any() for own, t in zip(after, time, strict=True)
            )
            assert (np.diff(found[name].to_numpy()) > 0).all()


def test_a_missing_day_is_left_out_and_not_carried_over() -> None:
    whole, holed = days(6), [time for k, time in enumerate(days(6)) if k != 2]
    found = gr.align(series(whole), series(holed))
    assert (found["time"].dt.epoch("ms") // DAY_MS).to_list() == [1, 2, 4, 5, 6]
    assert found["a"].to_list() == found["b"].to_list()


def test_a_value_as_old_as_the_spacing_is_not_fresh() -> None:
    a, b = ([k * DAY_MS for k in ks] for ks in ((1, 3, 4, 5), (1, 2, 4, 5)))
    for found in (gr.align(series(a), series(b)), gr.align(series(b), series(a))):
        assert (found["time"].dt.epoch("ms") // DAY_MS).to_list() == [1, 4, 5]


def test_a_close_at_21_is_paired_with_the_midnight_after_it() -> None:
    evening, midnight = series(days(5, hour=21)), series(days(5, first=2))
    for found, late in ((gr.align(evening, midnight), "a"), (gr.align(midnight, evening), "b")):
        hours = (found["time"].dt.epoch("ms") // HOUR_MS).to_list()
        assert hours == [48, 72, 96, 120, 144]
        assert (found[late] - 1).to_list() == [45.0, 69.0, 93.0, 117.0, 141.0]


def test_weekends_of_a_listed_market_are_not_paired_with_the_friday() -> None:
    every = days(14, first=4)
    weekdays = [time for time in every if (time // DAY_MS) % 7 not in (2, 3)]
    found = gr.align(series(every), series(weekdays))
    assert (found["time"].dt.epoch("ms")).to_list() == weekdays


def test_no_value_serves_twice() -> None:
    # Daily times, but for one an hour after another; the other series has nothing new by then.
    a = series([*days(3), 3 * DAY_MS + HOUR_MS, *days(3, first=4)])
    found = gr.align(a, series(days(6)))
    assert (found["time"].dt.epoch("ms") // HOUR_MS).to_list() == [24, 48, 72, 96, 120, 144]


def test_results_and_frames_of_nav_can_be_aligned() -> None:
    prices, _ = gr.make_market(seed=2, days=4, interval="1h")
    result = gr.backtest(gr.Token(symbol="A", target=2.0, rule="daily-etf"), prices)
    from_result, from_frame = gr.align(result, prices), gr.align(result.nav, prices)
    assert from_result.equals(from_frame)
    assert from_result["a"].to_list() == result.nav["nav"].to_list()
    assert from_result["b"].to_list() == prices.close.tolist()
    assert gr.align(result.nav.to_pandas(), prices).equals(from_result)
    pair = (prices.times_ms, prices.close)
    assert gr.align(result, pair).equals(from_result)


def test_a_day_is_no_moment_but_a_bar() -> None:
    dates = pl.Series("time", [time - DAY_MS for time in days(3)]).cast(pl.Datetime("ms")).cast(pl.Date)
    frame = pl.DataFrame([dates, pl.Series("nav", [1.0, 2.0, 3.0])])
    with pytest.raises(gr.InputError, match="holds Date, not times"):
        gr.align(frame, series(days(3)))
    # As a bar it is known at the day's end.
    assert gr.align(gr.read_prices(frame), series(days(3)))["a"].to_list() == [1.0, 2.0, 3.0]


def test_a_wiped_out_nav_is_still_a_value() -> None:
    times = pl.Series(days(3)).cast(pl.Datetime("ms", "UTC"))
    frame = pl.DataFrame({"time": times, "nav": [1.0, 0.5, 0.0]})
    assert gr.align(frame, series(days(3)))["a"].to_list() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"time": days(3), "nav": [1.0, 2.0, 3.0]}, "not times"),
        ({"time": [1, 1, 2], "nav": [1.0, 2.0, 3.0]}, "repeat or go back"),
        ({"time": [2, 1, 3], "nav": [1.0, 2.0, 3.0]}, "repeat or go back"),
        ({"time": [1, 2, 3], "nav": [1.0, None, 3.0]}, "missing"),
        ({"time": [1, 2, 3], "nav": [1.0, -2.0, 3.0]}, "missing or not a number"),
        ({"time": [], "nav": []}, "missing"),
    ],
)
def test_a_frame_that_is_no_series_is_refused(frame: dict[str, list], said: str) -> None:
    made = pl.DataFrame(frame, schema_overrides={"nav": pl.Float64, "time": pl.Int64})
    if said != "not times":
        made = made.with_columns(pl.col("time").cast(pl.Datetime("ms", "UTC")))
    with pytest.raises(gr.InputError, match=said):
        gr.align(made, series(days(3)))


def test_series_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(gr.InputError, match="no time in common: A runs from 1970-01-02T00:00:00Z to") as caught:
        gr.align(series(days(3), "A"), series(days(3, first=40), "B"))
    assert "no two values" not in str(caught.value)
    with pytest.raises(gr.InputError, match="no two values lie within 1d of each other"):
        gr.align(series([*days(3), *days(1, first=40)], "A"), series(days(3, first=10), "B"))
