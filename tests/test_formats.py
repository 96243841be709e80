"""Files as people really have them, through every path that each can take; skipped where the data is absent."""

from __future__ import annotations

import gzip
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
import pytest

import gearing as gr
from gearing import presets
from gearing.errors import DataError, DataWarning
from gearing.market.inspect import inspect_series
from gearing.market.reading.names import TableKind
from gearing.market.reading.opening import open_table
from gearing.market.reading.options import ReadOptions
from gearing.market.reading.table import symbols_in

DATA = Path(os.environ.get("GEARING_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "formats"

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="no files of formats: set GEARING_DATA to the directory above them"),
    pytest.mark.filterwarnings("ignore::gearing.errors.DataWarning"),
]

BASE, FTX, FUND = 104.6243340779, 104.91669649506, 81.1805800070
HOURLY, EIGHT_HOURLY = 104.2574967398, 104.2797979726
_PRICE_FILE = "ref.csv"


class Row(NamedTuple):
    """One row of the folder's table.

    Args:
        file: its name.
        time: the column of its times, "" if it has no header.
        csv: what pandas must know to read it.
        options: what a person says to Gearing.
        nav: the final NAV of target 3, daily 00:00 UTC.
        ftx: that of the preset ftx.
        funding: whether it holds funding rates, charged on the base path.
    """

    file: str
    time: str
    csv: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}
    nav: float | None = None
    ftx: float | None = None
    funding: bool = False


PRICES = [
    Row("ref.csv", "timestamp", nav=BASE, ftx=FTX),
    Row("coingecko.csv", "snapped_at", nav=BASE, ftx=FTX),
    Row("vision_concat_ms_us.csv", "open_time", nav=BASE, ftx=FTX),
    Row("okx_candles.csv", "open_time", nav=BASE),
    Row("okx_candles_two.csv", "open_time", options={"symbol": "BTC-USDT-SWAP"}, nav=BASE),
    Row("header_repeated.csv", "timestamp", nav=BASE),
    Row("cdd_asis.csv", "Unix", {"skiprows": 1}, nav=BASE, ftx=FTX),
    Row("coinbase_desc.csv", "time", nav=BASE, ftx=FTX),
    Row("date_time_cols.csv", "Date", nav=BASE, ftx=FTX),
    Row("volzero.csv", "timestamp", nav=BASE),
    Row("yf_flat.csv", "Date", nav=FUND),
    Row("stooq_bulk.txt", "<DATE>", nav=FUND),
    Row("yf_adj_close.csv", "Date"),
    Row("euro_excel.csv", "timestamp", {"sep": ";"}),
    Row("investing.csv", "Date", options={"time_format": "month-first"}),
    Row("month_first_iso.csv", "Date"),
    Row("weekly_vol.csv", "Date"),
    Row("shib_redenominated.csv", "timestamp"),
]
FUNDINGS = [
    Row("funding_ref.csv", "timestamp", nav=EIGHT_HOURLY, funding=True),
    Row("kraken_funding_low.csv", "timestamp", nav=HOURLY, funding=True),
    Row("okx_all_funding.csv", "funding_time", options={"symbol": "BTC-USDT-SWAP"}, nav=EIGHT_HOURLY, funding=True),
    Row("vision_funding.csv", "calc_time", nav=EIGHT_HOURLY, funding=True),
    Row("binance_api_funding.csv", "fundingTime", nav=EIGHT_HOURLY, funding=True),
    Row("binance_web_funding.csv", "Time", nav=EIGHT_HOURLY, funding=True),
    Row("bybit_api_funding.csv", "fundingRateTimestamp", nav=EIGHT_HOURLY, funding=True),
    Row("okx_funding_late0.csv", "funding_time", nav=94.64843310608, funding=True),
    Row("okx_funding_late2000.csv", "funding_time", nav=94.64843310608, funding=True),
    Row("funding_percent_number.csv", "timestamp", nav=74.11763776777, funding=True),
]
FILES_ONLY = [
    Row("ccxt_ohlcv.json", "", nav=BASE, ftx=FTX),
    Row("BTC_USDT-1h.json", "", nav=BASE, ftx=FTX),
    Row("vision_spot_headerless_ms.csv", "", nav=BASE, ftx=FTX),
    Row("BTCUSDT-1h-2024-12.zip", "", nav=BASE, ftx=FTX),
    Row("kraken_XBTUSD_60.csv", ""),
    Row("yf_multi.csv", "", nav=FUND),
    Row("yyyymmdd_int.parquet", "", nav=FUND),
    Row("BTC_USDT_USDT-1h-funding_rate.feather", "", nav=EIGHT_HOURLY, funding=True),
]


def read(row: Row, source: Any) -> gr.Prices | gr.Funding:
    """The series of a source, without any gap being told."""
    return gr.read_funding(source, **row.options) if row.funding else gr.read_prices(source, **row.options)


def pandas_of(row: Row, **more: Any) -> Any:
    """The file as pandas reads it."""
    return pd.read_csv(DATA / row.file, **row.csv, **more)


def _as(ending: str, write: Callable[[bytes, Path], object]) -> Callable[[Row, Path], Path]:
    def made(row: Row, there: Path) -> Path:
        path = there / f"file.{ending}"
        write((DATA / row.file).read_bytes(), path)
        return path

    return made


def _zipped(data: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.csv", data)


def _indexed(row: Row, there: Path) -> Any:
    frame = pandas_of(row)
    return frame.set_index(row.time)


def _polars(row: Row) -> pl.DataFrame:
    return pl.from_pandas(pandas_of(row))


def _written(row: Row, path: Path) -> Path:
    if path.suffix == ".parquet":
        _polars(row).write_parquet(path)
    else:
        _polars(row).write_ipc(path)
    return path


def _records(row: Row, path: Path) -> Path:
    path.write_text(pandas_of(row, dtype=str).to_json(orient="records"))
    return path


TEXTS: dict[str, Callable[[Row, Path], Any]] = {
    "path": lambda row, _: DATA / row.file,
    "text of the path": lambda row, _: str(DATA / row.file),
    "txt": _as("txt", lambda data, path: path.write_bytes(data)),
    "Windows": _as("csv", lambda data, path: path.write_bytes(data.replace(b"\n", b"\r\n"))),
    "byte order mark": _as("csv", lambda data, path: path.write_bytes(b"\xef\xbb\xbf" + data)),
    "UTF-16": _as("csv", lambda data, path: path.write_bytes(data.decode().encode("utf-16"))),
    "gz": _as("csv.gz", lambda data, path: path.write_bytes(gzip.compress(data))),
    "zip": _as("zip", _zipped),
}
FRAMES: dict[str, Callable[[Row, Path], Any]] = {
    "pandas": lambda row, _: pandas_of(row),
    "pandas of text": lambda row, _: pandas_of(row, dtype=str),
    "pandas indexed by time": _indexed,
    "polars": lambda row, _: _polars(row),
    "polars, lazy": lambda row, _: _polars(row).lazy(),
    "pyarrow": lambda row, _: _polars(row).to_arrow(),
    "Parquet": lambda row, there: _written(row, there / "f.parquet"),
    "Feather": lambda row, there: _written(row, there / "f.feather"),
    "JSON": lambda row, there: _records(row, there / "f.json"),
}


def check(row: Row, series: gr.Prices | gr.Funding) -> None:
    """Compares the final NAV with the folder's own."""
    token = gr.read_token(DATA / "tok.toml")
    if isinstance(series, gr.Funding):
        result = gr.backtest(token, gr.read_prices(DATA / _PRICE_FILE), funding=series)
        assert result.nav["nav"][-1] == pytest.approx(row.nav, rel=1e-11)
        return
    series = gr.read_prices(series, symbol="BTC")
    if row.nav is not None:
        assert gr.backtest(token, series).nav["nav"][-1] == pytest.approx(row.nav, rel=1e-11)
    if row.ftx is not None:
        result = gr.backtest(presets.token("ftx", "BTC", 3), series)
        assert result.nav["nav"][-1] == pytest.approx(row.ftx, rel=1e-11)
        assert len(result.rebalances) == 4


@pytest.mark.parametrize("path", TEXTS | FRAMES)
@pytest.mark.parametrize("row", [*PRICES, *FUNDINGS], ids=lambda row: row.file)
def test_every_file_through_every_path(row: Row, path: str, tmp_path: Path) -> None:
    series = read(row, (TEXTS | FRAMES)[path](row, tmp_path))
    straight = read(row, DATA / row.file)
    assert series.times_ms.tolist() == straight.times_ms.tolist()
    own, other = ((s.rates if isinstance(s, gr.Funding) else s.close) for s in (series, straight))
    assert own.tolist() == pytest.approx(other.tolist(), rel=1e-12)
    if isinstance(series, gr.Prices) and isinstance(straight, gr.Prices):
        for name in ("open", "high", "low", "volume"):
            left, right = getattr(series, name), getattr(straight, name)
            assert (left is None) == (right is None), name
            assert left is None or left.tolist() == pytest.approx(right.tolist(), rel=1e-12)


@pytest.mark.parametrize("row", [*PRICES, *FUNDINGS, *FILES_ONLY], ids=lambda row: row.file)
def test_every_file_gives_the_nav_that_is_known(row: Row) -> None:
    check(row, read(row, DATA / row.file))


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("name", ["vision_spot_headerless_ms.csv", "kraken_XBTUSD_60.csv", "yf_multi.csv"])
def test_tables_without_an_ordinary_header_as_any_text(name: str, path: str, tmp_path: Path) -> None:
    row = next(row for row in FILES_ONLY if row.file == name)
    check(row, read(row, TEXTS[path](row, tmp_path)))


@pytest.mark.parametrize("path", ["gz", "zip", "txt", "byte order mark"])
@pytest.mark.parametrize("name", ["ccxt_ohlcv.json", "BTC_USDT-1h.json"])
def test_json_as_any_file(name: str, path: str, tmp_path: Path) -> None:
    row = next(row for row in FILES_ONLY if row.file == name)
    ended = {"gz": "f.json.gz", "zip": "f.zip", "txt": "f.txt", "byte order mark": "f.json"}[path]
    made = TEXTS[path](row, tmp_path).rename(tmp_path / ended)
    check(row, read(row, made))


@pytest.mark.parametrize("path", [name for name in FRAMES if name not in ("pandas indexed by time", "JSON")])
def test_rows_without_a_known_time_are_never_given_one(path: str, tmp_path: Path) -> None:
    row = next(row for row in PRICES if row.file == "coingecko.csv")
    frame = FRAMES[path](row, tmp_path)
    if isinstance(frame, Path):
        opened = open_table(frame, ReadOptions()).frame.collect().rename({"snapped_at": "when"})
        opened.write_parquet(tmp_path / "g.parquet")
        frame = tmp_path / "g.parquet"
    elif isinstance(frame, pd.DataFrame):
        frame = frame.rename(columns={"snapped_at": "when"})
    elif isinstance(frame, (pl.DataFrame, pl.LazyFrame)):
        frame = frame.rename({"snapped_at": "when"})
    else:
        frame = frame.rename_columns(["when", *frame.column_names[1:]])
    with pytest.raises(DataError, match=r"there is no column 'timestamp'; the columns are: when, price, "):
        gr.read_prices(frame)


def test_the_pickled_frame_of_yfinance_is_read_as_a_frame_and_never_as_a_file() -> None:
    frame = pd.read_pickle(DATA / "yf_multi.pkl")
    series = gr.read_prices(frame, symbol="QQQ")
    assert series.symbol == "QQQ"
    assert gr.backtest(gr.read_token(DATA / "trs.toml"), series).nav["nav"][-1] == pytest.approx(FUND, rel=1e-11)
    with pytest.raises(DataError, match="the file holds a pickle, which is never read"):
        gr.read_prices(DATA / "yf_multi.pkl")


@pytest.mark.parametrize(
    ("name", "kind", "listed"),
    [("okx_candles_two.csv", "prices", "BTC-USDT-SWAP, ETH-USDT-SWAP"),
     ("okx_all_funding.csv", "funding", "BTC-USDT-SWAP, ETH-USDT-SWAP")],
)  # fmt: skip
def test_several_instruments_are_listed_and_none_is_relabelled(name: str, kind: str, listed: str) -> None:
    reader = gr.read_prices if kind == "prices" else gr.read_funding
    with pytest.raises(DataError, match=f"it holds 2 symbols: {listed}"):
        reader(DATA / name)
    with pytest.raises(DataError, match="there is no symbol 'DOGE-USDT-SWAP'"):
        reader(DATA / name, symbol="DOGE-USDT-SWAP")
    assert symbols_in(DATA / name, TableKind(kind)) == listed.split(", ")


def test_a_symbol_that_the_file_contradicts_is_rejected() -> None:
    with pytest.raises(DataError, match="there is no symbol 'ETH-USDT-SWAP'"):
        gr.read_prices(DATA / "okx_candles.csv", symbol="ETH-USDT-SWAP")


def test_twelve_days_of_january_need_a_word() -> None:
    with pytest.raises(DataError, match=r"'01/12/2024' and the rows below it can be read as day-first or month-first"):
        gr.read_prices(DATA / "investing.csv")
    told = gr.read_prices(DATA / "investing.csv", time_format="month-first")
    assert (told.start, told.end) == ("2024-01-02T00:00:00Z", "2024-01-13T00:00:00Z")
    assert told.volume is not None
    assert told.volume[0] == 12_500


def test_two_digit_years_need_a_word() -> None:
    with pytest.raises(DataError, match=r"'01/01/24' and the rows below it can be read as day-first or month-first"):
        gr.read_prices(DATA / "month_first_mdyy.csv")
    told = gr.read_prices(DATA / "month_first_mdyy.csv", time_format="month-first", symbol="QQQ")
    iso = gr.read_prices(DATA / "month_first_iso.csv", symbol="QQQ")
    assert told.times_ms.tolist() == iso.times_ms.tolist()
    token = presets.token("daily-etf", "QQQ", 2)
    bare = gr.Token(symbol="Q2L", target=2, rule=token.rule, legs=token.legs)
    assert gr.backtest(bare, told).nav["nav"][-1] == gr.backtest(bare, iso).nav["nav"][-1]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("vision_concat_ms_us.csv", "times change from milliseconds to microseconds in row 49"),
        ("header_repeated.csv", "the header is repeated in row 49, and skipped"),
        ("coinbase_desc.csv", "rows that stand newest first are reversed"),
        ("cdd_asis.csv", "a line above the table is skipped"),
        ("yf_adj_close.csv", "Adj Close is taken, not Close; open, high, low are scaled alike"),
        ("yf_multi.csv", "a header of two rows is joined"),
        ("vision_spot_headerless_ms.csv", "no header; read in the order of Binance klines"),
        ("kraken_XBTUSD_60.csv", "no header; read in the order of Kraken OHLCVT"),
        ("euro_excel.csv", "numbers are read with a decimal comma"),
        ("yyyymmdd_int.parquet", "integers such as 20241230 are read as dates"),
        ("coingecko.csv", "total_volume is a sum over the last 24 h"),
    ],
)
def test_what_is_done_beyond_plain_reading_is_a_note(name: str, note: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        series = gr.read_prices(DATA / name)
    assert any(note in told for told in series.notes)
    assert any(note in str(one.message) for one in caught if one.category is DataWarning)


def test_plain_files_have_no_notes() -> None:
    assert gr.read_prices(DATA / "ref.csv").notes == ()
    assert gr.read_funding(DATA / "funding_ref.csv").notes == ()


def test_raw_closes_where_dividends_are_given() -> None:
    raw = gr.read_prices(DATA / "yf_adj_close.csv", adjusted=False)
    assert raw.close[0] == 99.3134
    assert any("since dividends are given" in note for note in raw.notes)


def test_settlements_stamped_late_belong_to_their_hour() -> None:
    late, on_time = (gr.read_funding(DATA / f"okx_funding_late{ms}.csv") for ms in (2000, 0))
    assert late.times_ms.tolist() == on_time.times_ms.tolist()


def test_rates_that_must_be_percent_are_told() -> None:
    told = gr.read_funding(DATA / "funding_percent_number.csv").notes
    assert "a mean of 100 bp per 8 h is 100 times the usual 1 bp" in told[0]
    percent = gr.read_funding(DATA / "funding_percent_number.csv", funding_unit="percent")
    assert percent.rates.tolist() == gr.read_funding(DATA / "funding_ref.csv").rates.tolist()


def test_a_new_denomination_is_suspect() -> None:
    found = inspect_series(gr.read_prices(DATA / "shib_redenominated.csv"))
    assert any("a factor of 1,000" in str(one) for one in found["suspects"])


def test_eleven_settlements() -> None:
    for name in ("vision_funding.csv", "binance_api_funding.csv"):
        assert len(gr.read_funding(pd.read_csv(DATA / name))) == 11
