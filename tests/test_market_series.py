"""Price and funding series: what they refuse, what they offer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearing.errors import DataError
from gearing.market.series import Funding, Gap, Prices
from gearing.market.thin import thin
from gearing.market.times import SeriesError, iso, moment_ms

MINUTE = 60_000
DAY = 86_400_000
T0 = 1_672_531_200_000  # 2023-01-01 00:00 UTC


def minutes(n: int = 10, **columns: Any) -> Prices:
    times = T0 + MINUTE * np.arange(n)
    return Prices(times, columns.pop("close", np.linspace(100.0, 110.0, n)), symbol="BTC", **columns)


def test_a_series_is_immutable_even_through_the_arrays_it_was_made_of() -> None:
    times, close = T0 + MINUTE * np.arange(3), np.array([1.0, 2.0, 3.0])
    prices = Prices(times, close)
    close[0], times[0] = 99.0, 0
    assert prices.close.tolist() == [1.0, 2.0, 3.0]
    assert prices.times_ms[0] == T0
    with pytest.raises(ValueError, match="read-only"):
        prices.close[0] = 5.0
    with pytest.raises(AttributeError):
        prices.symbol = "ETH"  # type: ignore[misc]
    view = close[:]
    view.flags.writeable = False
    of_view = Prices(times + 1, view)
    close[1] = 77.0
    assert of_view.close[1] == 2.0


def test_arrays_become_contiguous_and_of_one_kind() -> None:
    prices = Prices((T0 + MINUTE * np.arange(6))[::2], [1, 2, 3])  # type: ignore[arg-type]
    assert prices.close.dtype == np.float64
    assert prices.times_ms.dtype == np.int64
    assert prices.times_ms.flags.c_contiguous
    assert prices.spacing_ms == 2 * MINUTE


def test_the_index_is_made_once() -> None:
    prices = Prices(T0 + MINUTE * np.arange(3), np.ones(3))
    assert prices.index is prices.index
    assert prices.calendar(None, ((0,),)) is prices.calendar(None, ((0,),))
    assert prices.calendar(None, ((0,),)) is not prices.calendar(None, ((60_000,),))


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "nan": (
        lambda: minutes(3, close=[1.0, np.nan, 2.0]),
        r"BTC, row 2 \(2023-01-01T00:01:00Z\): the close price is missing",
    ),
    "infinite": (lambda: minutes(3, close=[1.0, 2.0, np.inf]), "row 3 .*infinite"),
    "zero": (lambda: minutes(3, close=[0.0, 1.0, 2.0]), "row 1 .*is 0; it must be finite and above 0"),
    "negative": (lambda: minutes(2, low=[1.0, -2.0]), "row 2 .*low price is -2"),
    "volume": (lambda: minutes(2, volume=[1.0, -1.0]), "row 2 .*volume is -1"),
    "lengths": (lambda: minutes(3, close=[1.0, 2.0]), "3 times but 2 values of close"),
    "empty": (lambda: Prices(np.array([], dtype=np.int64), np.array([])), "the series is empty"),
    "floats": (lambda: Prices(np.array([1.5, 2.5]), np.ones(2)), "array of integers"),
    "unsorted": (
        lambda: Prices(np.array([T0, T0 + 2 * MINUTE, T0 + MINUTE]), np.ones(3)),
        r"row 3 \(2023-01-01T00:01:00Z\): the times are not sorted.*2023-01-01T00:02:00Z",
    ),
    "duplicate": (lambda: Prices(np.array([T0, T0, T0 + 1]), np.ones(3)), r"row 2 .*stands there twice"),
    "low": (lambda: minutes(2, close=[5.0, 5.0], low=[5.0, 5.1]), "row 2 .*the low 5.1 is above the close 5"),
    "high": (
        lambda: minutes(2, close=[5.0, 5.0], open=[5.0, 6.0], high=[5.0, 5.5]),
        "row 2 .*the high 5.5 is below the open 6",
    ),
    "rate": (lambda: Funding(np.array([T0]), np.array([1.0])), "funding rate is 1; .*between -1 and 1"),
    "rate nan": (lambda: Funding(np.array([T0]), np.array([np.nan])), "funding rate is missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_series_are_refused_with_row_and_time(name: str) -> None:
    make, sentence = BAD[name]
    with pytest.raises(SeriesError, match=sentence) as error:
        make()
    assert error.value.fix
    assert isinstance(error.value, DataError)


def test_float_noise_in_a_bar_is_tolerated() -> None:
    assert minutes(1, close=[0.1 + 0.2], high=[0.3], low=[0.3]).high is not None


def test_between_is_half_open_and_reads_naive_times_as_utc() -> None:
    prices = minutes(10, volume=np.arange(10.0))
    zone = dt.timezone(dt.timedelta(hours=5))
    for start, end in (
        ("2023-01-01T00:02", "2023-01-01 00:05:00"),
        (T0 + 2 * MINUTE, T0 + 5 * MINUTE),
        (dt.datetime(2023, 1, 1, 0, 2), dt.datetime(2023, 1, 1, 5, 5, tzinfo=zone)),
        (np.datetime64("2023-01-01T00:02"), "2023-01-01T00:05:00Z"),
        ("2023-01-01T05:02+05:00", T0 + 4 * MINUTE + 1),
    ):
        cut = prices.between(start, end)
        assert cut.times_ms.tolist() == [T0 + i * MINUTE for i in (2, 3, 4)]
        assert cut.volume is not None
        assert cut.volume.tolist() == [2.0, 3.0, 4.0]
        assert cut.symbol == "BTC"
    assert len(prices.between("2023")) == len(prices.between(end=dt.date(2023, 1, 2))) == 10
    with pytest.raises(DataError, match=r"no prices in .*runs from 2023-01-01T00:00:00Z to 2023-01-01T00:09:00Z"):
        prices.between("2024")
    with pytest.raises(DataError, match="'yesterday' is no moment"):
        prices.between("yesterday")
    funding = Funding(T0 + DAY // 3 * np.arange(9), np.full(9, 1e-4))
    assert len(funding.between("2023-01-02", "2023-01-03")) == 3


@given(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1)), st.integers(-14, 14))
def test_a_moment_is_the_same_however_it_is_written(moment: dt.datetime, hours: int) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    expected = round((moment - dt.datetime(1970, 1, 1)).total_seconds() * 1000)
    zoned = moment.replace(tzinfo=dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=hours)))
    assert moment_ms(moment) == moment_ms(moment.isoformat()) == moment_ms(zoned) == moment_ms(zoned.isoformat())
    assert moment_ms(zoned) == expected
    assert moment_ms(iso(expected)) == expected


def test_spacing_is_the_most_common_difference() -> None:
    assert minutes(1).spacing_ms == 0
    assert minutes(5).spacing_ms == MINUTE
    assert Prices(T0 + np.array([0, 1, 3, 4, 6, 100]), np.ones(6)).spacing_ms == 1
    assert Prices(T0 + np.array([0, 5, 7, 9, 20, 31, 33]), np.ones(7)).spacing_ms == 2


@given(st.lists(st.integers(1, 4), min_size=1, max_size=60))
def test_spacing_against_counting(steps: list[int]) -> None:
    times = T0 + np.concatenate(([0], np.cumsum(steps)))
    best = max(sorted(set(steps)), key=steps.count)
    assert Prices(times, np.ones(len(times))).spacing_ms == best


def test_gaps() -> None:
    keep = [0, 1, 2, 5, 6, 7, 8, 20]
    prices = Prices(T0 + MINUTE * np.array(keep), np.ones(len(keep)))
    assert prices.gaps() == [
        Gap(T0 + 2 * MINUTE, T0 + 5 * MINUTE, 2),
        Gap(T0 + 8 * MINUTE, T0 + 20 * MINUTE, 11),
    ]
    assert minutes(1).gaps() == minutes(9).gaps() == []


def test_weekends_of_a_listed_market_are_no_gaps_but_months_are() -> None:
    days = [day for day in range(120) if day % 7 < 5 and not 50 <= day < 80]
    listed = Prices(T0 + DAY * np.array(days), np.ones(len(days)))
    assert [(gap.until_ms - gap.after_ms) // DAY for gap in listed.gaps()] == [31]
    crypto = Prices(T0 + DAY * np.array([0, 1, 2, 3, 4, 5, 6, 7, 10]), np.ones(9))
    assert [gap.missing for gap in crypto.gaps()] == [2]


def test_a_changed_funding_schedule_is_no_gap_but_a_missing_settlement_is() -> None:
    hours = [0, 8, 16, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 72, 80, 96, 104]
    funding = Funding(T0 + 3_600_000 * np.array(hours), np.zeros(len(hours)))
    assert funding.spacing_ms == 4 * 3_600_000
    assert [(gap.after_ms - T0) // 3_600_000 for gap in funding.gaps()] == [80]
    regular = Funding(T0 + 3_600_000 * np.array([0, 4, 8, 12, 20, 24, 28, 32]), np.zeros(8))
    assert [gap.missing for gap in regular.gaps()] == [1]
    assert Funding(np.array([T0]), np.zeros(1)).gaps() == []


def test_frame_and_courtesies() -> None:
    prices = minutes(5, high=np.full(5, 111.0), low=np.full(5, 99.0))
    assert prices.frame.columns == ["time", "open_time", "high", "low", "close", "symbol"]
    assert prices.frame.schema["time"] == pl.Datetime("ms", "UTC")
    assert prices.frame["time"][1] == dt.datetime(2023, 1, 1, 0, 1, tzinfo=dt.UTC)
    assert repr(prices) == "Prices(BTC, 5 × 1m, 2023-01-01T00:00:00Z to 2023-01-01T00:04:00Z)"
    assert "<caption>Prices BTC</caption>" in prices._repr_html_()
    assert "111" in prices._repr_html_()
    funding = Funding(T0 + DAY // 3 * np.arange(4), np.full(4, 1e-4), symbol="<b>")
    assert repr(funding).endswith("mean 1 bp)")
    assert "&lt;b&gt;" in funding._repr_html_()
    assert funding.frame.columns == ["time", "funding_rate", "symbol"]
    assert len(funding.plot().data[0].x) == 4


def test_a_plot_is_thinned_without_losing_extremes() -> None:
    close = 100 + np.sin(np.arange(300_000) / 5_000)
    close[123_456], close[222_222] = 300.0, 3.0
    drawn = minutes(300_000, close=close).plot().data[0].y
    assert len(drawn) <= 4_002
    assert (drawn.min(), drawn.max()) == (3.0, 300.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(4, 40))
def test_thinning_keeps_both_ends_and_every_stretch_of_extremes(values: list[float], points: int) -> None:
    array = np.array(values)
    rows = thin(array, points)
    assert (np.diff(rows) > 0).all()
    assert {0, len(array) - 1} <= set(rows.tolist())
    assert (array[rows].min(), array[rows].max()) == (array.min(), array.max())
    assert len(rows) <= max(points + 4, 4)
