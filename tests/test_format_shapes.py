"""Any bars, written in the shape of any vendor, are read back as they were or rejected: never as others."""

from __future__ import annotations

import codecs
import gzip
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gearing as gr
from gearing.errors import DataError
from gearing.market.write import write_frame
from tests.vendor_files import DAY, HOUR, SHAPES, Bars, Shape

pytestmark = pytest.mark.filterwarnings("ignore::gearing.errors.DataWarning")
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIRST, LAST = 1_262_304_000_000, 1_893_456_000_000  # 2010 to 2030
SHAPED = pytest.mark.parametrize("name", SHAPES)


@st.composite
def bars(draw: st.DrawFn, steps: tuple[int, ...] = (60_000, HOUR, DAY), scales: tuple[float, ...] = (420.0,)) -> Bars:
    """Bars that no shape needs to round, of which both ends of most bars stand out."""
    step = draw(st.sampled_from(steps))
    count = draw(st.integers(14, 40))
    start = draw(st.integers(FIRST // step, LAST // step - count)) * step
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    close = draw(st.sampled_from(scales)) * np.exp(np.cumsum(random.normal(0, 0.01, count)))
    open_ = np.append(close[0], close[:-1]) * np.exp(random.normal(0, 0.003, count))
    high = np.maximum(open_, close) * (1 + random.uniform(1e-3, 4e-3, count))
    low = np.minimum(open_, close) * (1 - random.uniform(1e-3, 4e-3, count))
    volume = random.uniform(3, 900, count)
    columns = ([float(round(v, 4)) for v in column] for column in (open_, high, low, close, volume))
    return Bars([start + step * k for k in range(count)], step, *columns)


def written(shape: Shape, text: bytes, there: str, ending: str = "") -> Path:
    """A file of a text."""
    path = Path(there) / f"bars.{ending or shape.ending}"
    path.write_bytes(text)
    return path


def check(series: gr.Prices, one: Bars, shape: Shape) -> None:
    """Compares a series with the bars that were written."""
    assert series.times_ms.tolist() == [t + one.step for t in one.times]
    assert series.close.tolist() == pytest.approx(one.close, rel=1e-9)
    for part, name in (("o", "open"), ("h", "high"), ("l", "low"), ("v", "volume")):
        values = getattr(series, name)
        if part in shape.parts:
            assert values is not None, name
            assert values.tolist() == pytest.approx(getattr(one, name), rel=1e-6 if part == "v" else 1e-9), name
        else:
            assert values is None, name
    assert series.symbol == shape.symbol


@SHAPED
@given(data=st.data())
@FEW
def test_every_shape_is_read_back(name: str, data: st.DataObject) -> None:
    shape = SHAPES[name]
    one = data.draw(bars(shape.steps))
    with tempfile.TemporaryDirectory() as there:
        path = written(shape, shape.write(one).encode(), there)
        check(gr.read_prices(path, **shape.options), one, shape)


@SHAPED
@given(data=st.data())
@settings(FEW, max_examples=4)
def test_small_and_large_prices_are_read_or_rejected_and_never_others(name: str, data: st.DataObject) -> None:
    shape = SHAPES[name]
    one = data.draw(bars(shape.steps, scales=(0.05, 1.02, 61_000.0)))
    with tempfile.TemporaryDirectory() as there:
        path = written(shape, shape.write(one).encode(), there)
        try:
            series = gr.read_prices(path, **shape.options)
        except DataError:
            return
        assert series.times_ms.tolist() == [t + one.step for t in one.times]
        assert series.close.tolist() == pytest.approx(one.close, rel=1e-9)


def _zip(text: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inside", text)
    return buffer.getvalue()


WRAPPED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gz": ("{}.gz", gzip.compress),
    "zip": ("zip", _zip),
    "UTF-16": ("{}", lambda text: text.decode().encode("utf-16")),
    "UTF-16 without a mark": ("{}", lambda text: text.decode().encode("utf-16-le")),
    "byte order mark": ("{}", lambda text: codecs.BOM_UTF8 + text),
    "Windows": ("{}", lambda text: text.replace(b"\n", b"\r\n")),
    "blank lines below": ("{}", lambda text: text + b"\n\n"),
    "no last line end": ("{}", lambda text: text.rstrip(b"\n")),
}


@pytest.mark.parametrize("wrapping", WRAPPED)
@SHAPED
@given(data=st.data())
@settings(FEW, max_examples=1)
def test_every_shape_in_every_wrapping(name: str, wrapping: str, data: st.DataObject) -> None:
    shape = SHAPES[name]
    if shape.ending == "json" and wrapping == "UTF-16 without a mark":
        return
    ending, wrap = WRAPPED[wrapping]
    one = data.draw(bars(shape.steps))
    with tempfile.TemporaryDirectory() as there:
        path = written(shape, wrap(shape.write(one).encode()), there, ending.format(shape.ending))
        check(gr.read_prices(path, **shape.options), one, shape)


@pytest.mark.parametrize(
    "name", [n for n, s in SHAPES.items() if "open_time" in s.write(Bars([0], HOUR, *[[1.0]] * 5)) or n in
             ("Hyperliquid", "Binance klines without a header", "Binance REST")])  # fmt: skip
@given(one=bars())
@settings(FEW, max_examples=3)
def test_ends_of_bars_are_taken_where_they_are_given(name: str, one: Bars) -> None:
    shape = SHAPES[name]
    with tempfile.TemporaryDirectory() as there:
        path = written(shape, shape.write(one).encode(), there)
        series = gr.read_prices(path, stamp="close")
    gives_ends = name != "OKX download"
    assert series.times_ms.tolist() == [t + one.step * gives_ends for t in one.times]


TRIPS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    "polars": lambda frame, _: frame,
    "lazy": lambda frame, _: frame.lazy(),
    "pandas": lambda frame, _: frame.to_pandas(),
    "pandas by time": lambda frame, _: frame.to_pandas().set_index("time"),
    "pyarrow": lambda frame, _: frame.to_arrow(),
    "CSV": lambda frame, there: _written(frame, there / "f.csv"),
    "CSV of polars": lambda frame, there: _by(frame.write_csv, there / "f.csv"),
    "CSV of pandas": lambda frame, there: _by(frame.to_pandas().to_csv, there / "f.csv"),
    "CSV of pandas, by time": lambda frame, there: _by(frame.to_pandas().set_index("time").to_csv, there / "f.csv"),
    "CSV, read by pandas": lambda frame, there: pd.read_csv(_written(frame, there / "f.csv")),
    "Parquet": lambda frame, there: _written(frame, there / "f.parquet"),
    "Parquet of pandas": lambda frame, there: _by(frame.to_pandas().to_parquet, there / "f.parquet"),
    "Feather": lambda frame, there: _written(frame, there / "f.feather"),
    "JSON of pandas": lambda frame, there: _by(
        lambda path: frame.to_pandas().to_json(path, orient="records", double_precision=15), there / "f.json"
    ),
}


def _written(frame: pl.DataFrame, path: Path) -> Path:
    write_frame(frame, path, force=True)
    return path


def _by(write: Callable[[Any], Any], path: Path) -> Path:
    write(path)
    return path


def same(left: Any, right: Any) -> None:
    """Compares two series with all their arrays."""
    assert left.times_ms.tolist() == right.times_ms.tolist()
    assert left.symbol == right.symbol
    for name in ("open", "high", "low", "close", "volume", "rates", "amounts"):
        one, other = getattr(left, name, None), getattr(right, name, None)
        assert (one is None) == (other is None), name
        assert one is None or other is None or one.tolist() == pytest.approx(other.tolist(), rel=1e-12), name


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("symbol", ["", "BTCUSDT"])
@given(one=bars(), known_at=st.sampled_from(["open", "close"]))
@settings(FEW, max_examples=3)
def test_frames_of_series_read_back_as_the_same_series(trip: str, symbol: str, one: Bars, known_at: str) -> None:
    moments = np.array(one.times) + (one.step if known_at == "open" else 7_000)
    values: dict[str, Any] = {name: np.array(getattr(one, name)) for name in ("open", "high", "low", "close", "volume")}
    prices = gr.Prices(moments, symbol=symbol, **values)
    rates = np.array(one.volume) / 1e7
    made: list[tuple[Any, Callable[..., Any]]] = [
        (prices, gr.read_prices),
        (gr.Prices(moments, values["close"], symbol=symbol), gr.read_prices),
        (gr.Funding(one.times[0] // HOUR * HOUR + HOUR * np.arange(len(rates)), rates, symbol=symbol), gr.read_funding),
        (gr.Rates(moments, rates, symbol=symbol), gr.read_rates),
        (gr.Dividends(moments, values["volume"], symbol=symbol), gr.read_dividends),
    ]
    for series, read in made:
        with tempfile.TemporaryDirectory() as there:
            same(read(TRIPS[trip](series.frame, Path(there))), series)


@pytest.mark.parametrize("late", ["0", "3 ms", "2 s", "59 s"])
@given(data=st.data())
@FEW
def test_settlements_belong_to_their_hour_whatever_the_interval(late: str, data: st.DataObject) -> None:
    hours = data.draw(st.lists(st.sampled_from([8, 4, 1]), min_size=2, max_size=5))
    steps = np.repeat(hours, 9) * HOUR
    times = data.draw(st.integers(FIRST // DAY, LAST // DAY)) * DAY + np.cumsum(steps)
    lag = {"0": 0, "3 ms": 3, "2 s": 2_000, "59 s": 59_000}[late]
    rates = np.random.default_rng(len(times)).normal(1e-4, 1e-5, len(times))
    frame = pl.DataFrame({"fundingTime": times + lag, "fundingRate": rates})
    read = gr.read_funding(frame)
    assert read.times_ms.tolist() == times.tolist()
    assert read.rates.tolist() == rates.tolist()
    assert read.gaps() == []


@pytest.mark.parametrize(
    ("column", "factor"),
    [("funding_rate", 1), ("fundingRate", 1), ("lastFundingRate", 1), ("realizedRate", 1), ("funding_rate_pct", 100),
     ("Funding Rate (%)", 100), ("funding_rate_bps", 1e4), ("fundingRateAnnualized", 1095),
     ("annualized_funding_rate_pct", 109_500), ("interest_8h", 1)],
)  # fmt: skip
@given(seed=st.integers(0, 2**32 - 1))
@settings(FEW, max_examples=3)
def test_units_of_funding_are_told_by_their_names(column: str, factor: float, seed: int) -> None:
    rates = np.random.default_rng(seed).normal(1e-4, 1e-4, 30)
    times = FIRST + 8 * HOUR * np.arange(30)
    read = gr.read_funding(pl.DataFrame({"timestamp": times, column: rates * factor}))
    assert read.rates.tolist() == pytest.approx(rates.tolist(), rel=1e-9)
