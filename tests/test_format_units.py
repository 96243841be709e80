"""Units, dates, rates, volumes, funding and instruments: what each is read as, or the sentence that rejects it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import gearing as gr
from gearing.errors import DataError, InputError
from gearing.market.inspect import inspect_series
from gearing.market.reading.names import TableKind
from gearing.market.reading.options import ReadOptions
from gearing.market.reading.table import kind_of, symbols_in
from gearing.market.suspects import suspects_in
from gearing.market.symbols import is_same_underlying, quote_of, underlying_of

pytestmark = pytest.mark.filterwarnings("ignore::gearing.errors.DataWarning")

HOUR, DAY = 3_600_000, 86_400_000
T0 = 1_735_516_800_000  # 2024-12-30
CLOSE = (100.0, 101.0, 102.5, 101.5, 103.0)


def table(name: str, cells: Sequence[Any], **more: Sequence[Any]) -> str:
    """A table of five rows: a column, the closes, and others."""
    columns = {name: cells, "close": CLOSE[: len(cells)]} | more
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    return "\n".join([",".join(columns), *rows]) + "\n"


def written(there: Path, text: str, name: str = "p.csv") -> Path:
    """A file of a text."""
    path = there / name
    path.write_text(text)
    return path


def hours(count: int = 5) -> list[int]:
    """Moments an hour apart."""
    return [T0 + HOUR * k for k in range(count)]


@pytest.mark.parametrize(
    ("cells", "options", "first"),
    [
        ([t // 1000 for t in hours()], {}, "2024-12-30T01:00:00Z"),
        ([t * 1000 for t in hours()], {}, "2024-12-30T01:00:00Z"),
        ([t * 1_000_000 for t in hours()], {}, "2024-12-30T01:00:00Z"),
        ([f"{t / 1000:.3f}" for t in hours()], {}, "2024-12-30T01:00:00Z"),
        ([f"{t:.12e}" for t in hours()], {}, "2024-12-30T01:00:00Z"),
        ([20241230, 20241231, 20250101, 20250102, 20250103], {}, "2024-12-31T00:00:00Z"),
        (["30.12.2024", "31.12.2024", "01.01.2025", "02.01.2025", "03.01.2025"], {}, "2024-12-31T00:00:00Z"),
        (["12/30/24", "12/31/24", "01/01/25", "01/02/25", "01/03/25"], {}, "2024-12-31T00:00:00Z"),
        (["24-12-30", "24-12-31", "25-01-01", "25-01-02", "25-01-03"], {}, "2024-12-31T00:00:00Z"),
        (["01/02/24", "01/03/24", "01/04/24"], {"time_format": "month-first"}, "2024-01-03T00:00:00Z"),
        (["01/02/24", "01/03/24", "01/04/24"], {"time_format": "%d/%m/%y"}, "2024-03-01T00:00:00Z"),
        ([45656, 45657, 45658], {"time_format": "excel"}, "2024-12-31T00:00:00Z"),
        ([45656, 45656.5, 45657], {"time_format": "excel"}, "2024-12-30T12:00:00Z"),
        (["30-Dec-2024", "31-Dec-2024", "1-Jan-2025"], {}, "2024-12-31T00:00:00Z"),
        (["2024-12-30T01:00+01:00", "2024-12-30T02:00+01:00"], {}, "2024-12-30T01:00:00Z"),
        (["30.12.2024 01:00:00.000 GMT+0100", "30.12.2024 02:00:00.000 GMT+0100"], {}, "2024-12-30T01:00:00Z"),
        (["2024-12-30 11 PM", "2024-12-31 12 AM"], {}, "2024-12-31T00:00:00Z"),
        (["2024-12-29 23:59:59", "2024-12-30 23:59:59"], {}, "2024-12-30T00:00:00Z"),
        (["2024-12-29 23:59:59.999", "2024-12-30 23:59:59.999"], {}, "2024-12-30T00:00:00Z"),
    ],
)
def test_times_are_read_as(tmp_path: Path, cells: list[Any], options: Mapping[str, Any], first: str) -> None:
    assert gr.read_prices(written(tmp_path, table("time", cells)), **options).start == first


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (
            ["01/02/24", "01/03/24", "01/04/24"],
            r"'01/02/24' .* can be read as day-first or month-first or year-first. Say",
        ),
        ([1, 2, 3], r"unit cannot be told \(1 in row 1, the largest is 3\)"),
        ([45656, 45657, 45658], r"row 1: 45656 may be a spreadsheet's number of a day \(2024-12-30T00:00:00Z\)"),
        (["1.73552E+12"] * 3, "row 1: '1.73552E[+]12' is a rounded number, as spreadsheets show large ones"),
        (["2024-12-30 00:00 EST"] * 3, r"names the time zone EST, whose offset .* or with their offset"),
        (["2024-12-30 00:00 Europe/Berlin"] * 3, "names the time zone Europe/Berlin"),
        (["2024-12-30", "2024-13-30", "2025-01-01"], "row 2: '2024-13-30' is not a moment in time"),
        (["2024-12-30T00:00Z", "2024-12-31T00:00", "2025-01-01T00:00Z"], "some times have a zone and some have none"),
        (["1969-12-31", "1970-01-01", "1970-01-02"], "'1969-12-31' would be before 1970 or after 2100"),
        (["2101-12-31", "2102-01-01", "2103-01-02"], "would be before 1970 or after 2100"),
        ([T0, (T0 + HOUR) * 1000, T0 - HOUR], "row 2: the unit of the times changes here from milliseconds to micro"),
        (["", "2024-12-31", "2025-01-01"], "row 1: the time is missing"),
    ],
)
def test_times_are_rejected(tmp_path: Path, cells: list[Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        gr.read_prices(written(tmp_path, table("time", cells)))
    assert error.value.fix


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index"])
@pytest.mark.parametrize("first", [0, 1, 150_000_000])
def test_row_numbers_are_never_times(tmp_path: Path, name: str, first: int) -> None:
    text = table(name, range(first, first + 5))
    with pytest.raises(DataError, match="there is no column 'timestamp'; the columns are: "):
        gr.read_prices(written(tmp_path, text))
    named = gr.read_prices(written(tmp_path, table(name, range(5), time=hours()), "q.csv"))
    assert named.start == "2024-12-30T01:00:00Z"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("time,close\n1,2\n3,4,5\n", "row 2: the row has 3 values, but the table has 2 columns"),
        ("when,preis\n2024-01-01,1\n", "there is no column 'timestamp'; the columns are: when, preis"),
        ("when,volume\n1735516800000,1\n1735520400000,2\n", "there is no column 'timestamp'"),
        ("time,close,Close\n1735516800000,1,2\n1735520400000,2,3\n", "'close' and 'Close' have one name and different"),
        ("time,close,close\n1735516800000,1,2\n1735520400000,2,3\n", "'close' and 'close_2' have one name and differ"),
        ("time,settlement\n1735516800000,USDT\n", "column settlement, row 1: 'USDT' stands where a number should"),
        ("time,price\n1735516800000,1\n1735516800000,2\n", "stands there twice. Drop the duplicate rows; make bars of"),
        ("time,close\n1735516800000,\"1,234\"\n1735520400000,\"1,235\"\n", "'1,234' may have a decimal comma"),
        ("time,close\n1735516800000,1%\n1735520400000,2\n", "some values have a percent sign, others none"),
        ("time,close\n1735516800000,1\n1735520400000,\n", "row 2 .*the close price is missing"),
        ("", "the file is empty"),
        ("time,close\n", "prices: the series is empty|no rows|there are no"),
        ('{"Note": "25 requests a day"}', "the JSON holds no rows; it says '25 requests a day'"),
        ("<!doctype html><html>", "the file holds a web page"),
        ("time,close\n1735516800000\n1735520400000,2\n", "row 1: the row has 1 values, but the table has 2 columns"),
        ('time,close\n1735516800000,"1\n1735520400000,2\n', "line 2 has a quotation mark that no other one closes"),
        ("1,2,3\n4,5,6\n", "no names for its 3 columns, and no known layout"),
        ("1735516800,9,12,8,10\n1735520400,9,12,8,15\n", "no names for its 5 columns, and no known layout"),
    ],
)  # fmt: skip
def test_files_are_rejected_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        gr.read_prices(written(tmp_path, text))
    assert "polars" not in str(error.value).lower()
    assert "schema" not in str(error.value).lower()


def test_a_letter_beyond_ascii_makes_no_file_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(table("time", hours(), note=["\xe9"] * 5).encode("cp1252"))
    series = gr.read_prices(path)
    assert series.close.tolist() == list(CLOSE)
    assert "it is read as Windows-1252" in series.notes[0]
    path.write_bytes(table("time", range(T0, T0 + 8_000 * HOUR, HOUR), close=[1] * 8_000).encode() + b"\xe9\xe9,1\n")
    with pytest.raises(DataError, match="line 8002 is not UTF-8"):
        gr.read_prices(path)


def test_orders_that_both_fit_are_rejected_and_named(tmp_path: Path) -> None:
    rows = "".join(f"{t // 1000},{c},{c},{c},{c},{c}\n" for t, c in zip(hours(), CLOSE, strict=True))
    flat = gr.read_prices(written(tmp_path, rows))
    assert flat.close.tolist() == list(CLOSE)
    two = "".join(f"{t},{c},{c + 1},{c + 1},{c},9\n" for t, c in zip(hours(), CLOSE, strict=True))
    with pytest.raises(DataError, match=r"they can be those of Coinbase REST .* and Bitfinex REST"):
        gr.read_prices(written(tmp_path, two))
    told = gr.read_prices(written(tmp_path, two), columns=["time", "open", "close", "high", "low", "volume"])
    assert told.close[0] == 101.0


OHLC = {"open": CLOSE, "high": [c * 1.01 for c in CLOSE], "low": [c * 0.99 for c in CLOSE]}
UNITS = [7.0, 8.0, 9.0, 10.0, 11.0]
TURNOVER = [v * c for v, c in zip(UNITS, CLOSE, strict=True)]


@pytest.mark.parametrize(
    ("columns", "options", "note", "expected"),
    [
        ({"volume": UNITS}, {}, "", UNITS),
        ({"volume": UNITS, "quote_volume": TURNOVER}, {}, "", UNITS),
        ({"quote_volume": TURNOVER}, {}, "volume is quote_volume (quote currency) over the close", UNITS),
        ({"volume": [v * 100 for v in UNITS], "turnover": TURNOVER}, {}, "volume counts contracts", UNITS),
        ({"volume": TURNOVER, "turnover": UNITS}, {}, "volume is in quote currency, as turnover beside it", UNITS),
        ({"volume": UNITS, "turnover": [v * 3.3 for v in UNITS]}, {}, "do not give the price", UNITS),
        ({"vol": TURNOVER, "amount": UNITS}, {}, "vol is in quote currency", UNITS),
        ({"Volume BTC": UNITS, "Volume USDT": TURNOVER}, {}, "", UNITS),
        ({"Volume_(BTC)": UNITS, "Volume_(Currency)": TURNOVER}, {}, "", UNITS),
        ({"Volume": UNITS, "Volume MA": [1.0] * 5}, {}, "", UNITS),
        ({"volume": [1.0] * 5, "base_asset_volume": UNITS}, {}, "", UNITS),
        ({"volume_contracts": UNITS}, {}, "counts contracts and is left out", None),
        ({"volume_contracts": UNITS}, {"volume_unit": 2}, "", [2 * v for v in UNITS]),
        ({"tickvol": UNITS}, {}, "counts changes of the price, no units, and is left out", None),
        ({"total_volume": UNITS}, {}, "is a sum over the last 24 h", None),
        ({"volume": ["", *UNITS[1:]]}, {}, "1 row without a volume counts as 0", [0.0, *UNITS[1:]]),
        ({"volume": [""] * 5}, {}, "", None),
        ({"volume": UNITS, "market_cap": [1e9] * 5}, {}, "is usually in quote currency", UNITS),
        ({"volume": TURNOVER}, {"volume_unit": "quote"}, "", UNITS),
    ],
)
def test_volumes_are_read_as(
    tmp_path: Path, columns: Mapping[str, Any], options: Mapping[str, Any], note: str, expected: list[float] | None
) -> None:
    series = gr.read_prices(written(tmp_path, table("time", hours(), **OHLC, **columns)), **options)
    assert (note in " ".join(series.notes)) if note else not series.notes
    if expected is None:
        assert series.volume is None
    else:
        assert series.volume is not None
        assert series.volume.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("columns", "close"),
    [
        ({"last": 1, "close": 2}, 2), ({"value": 1, "close": 2}, 2), ({"value": 1, "price": 2}, 2),
        ({"mark_price": 1, "index_price": 1, "bid": 1, "ask": 1, "last_price": 2}, 2), ({"last": 2, "nav": 1}, 2),
        ({"settlement": 1, "close": 2}, 2), ({"mid": 1, "price": 2}, 2), ({"PRC": 2, "BID": 1}, 2),
        ({"funding_rate": 0.0001, "close": 2}, 2),
    ],
)  # fmt: skip
def test_the_close_among_other_prices(columns: Mapping[str, float], close: float) -> None:
    frame = pl.DataFrame({"time": hours(), **{name: [float(value)] * 5 for name, value in columns.items()}})
    assert gr.read_prices(frame).close.tolist() == [close] * 5


EIGHT = [T0 + 8 * HOUR * k for k in range(12)]
RATE = 0.0001


@pytest.mark.parametrize(
    ("columns", "options", "note"),
    [
        ({"funding_rate": RATE}, {}, ""),
        ({"funding_rate": "0.01%"}, {}, "rates with a percent sign are read as percent of the notional"),
        ({"fundingRate": 4.2, "relativeFundingRate": RATE}, {}, ""),
        ({"fundingRate": 0.5, "realizedRate": RATE}, {}, ""),
        ({"funding_rate": 4.2, "mark_price": 42_000.0}, {"funding_unit": "absolute"}, ""),
        ({"absoluteFundingRate": 4.2, "mark_price": 42_000.0}, {}, "quote currency per unit of the underlying"),
        ({"funding_rate": 0.01}, {"funding_unit": "percent"}, ""),
        ({"funding_rate": 1.0}, {"funding_unit": "bp"}, ""),
        ({"funding_rate": 0.1095}, {"funding_unit": "annual"}, ""),
        ({"funding_rate_annualized": 0.1095}, {}, "a rate per year"),
        ({"funding_rate_pct": 0.01}, {}, "percent of the notional"),
        ({"fundingRateBps": 1.0}, {}, "basis points"),
    ],
)
def test_funding_is_read_as(columns: Mapping[str, Any], options: Mapping[str, Any], note: str) -> None:
    frame = pl.DataFrame({"timestamp": EIGHT, **{name: [value] * 12 for name, value in columns.items()}})
    series = gr.read_funding(frame, **options)
    assert series.rates.tolist() == pytest.approx([RATE] * 12)
    assert (note in " ".join(series.notes)) if note else not series.notes


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        ({"funding_rate": [0.99] * 12}, {}, "cannot be fractions of the notional: a mean of 9,900 bp.*--funding-unit"),
        (
            {"funding_rate": [1.0] * 12},
            {},
            "row 1 .*the funding rate is 1; it must be between.*--funding-unit",
        ),
        ({"funding_rate": [4.2] * 12}, {"funding_unit": "absolute"}, "there is no column of marks"),
        ({"funding_rate": ["1%"] * 11 + ["0.01"]}, {}, "row 12: some values have|some values have a percent sign"),
        ({"premium": [RATE] * 12}, {}, "there is no column 'funding_rate'; the columns are: timestamp, premium"),
        ({"funding_rate": [RATE] * 11 + [None]}, {}, "row 12 .*the funding rate is missing"),
    ],
)
def test_funding_is_rejected(columns: Mapping[str, Any], options: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        gr.read_funding(pl.DataFrame({"timestamp": EIGHT, **columns}), **options)
    assert error.value.fix


def test_rates_written_into_every_bar_are_not_paid_in_every_bar() -> None:
    rates = np.repeat(np.random.default_rng(1).normal(RATE, RATE, 12), 8)
    times = T0 + HOUR * np.arange(96)
    bars = {name: np.full(96, 42_000.0) for name in ("open", "high", "low", "close")}
    frame = pl.DataFrame({"timestamp": times, **bars, "funding_rate": rates})
    with pytest.raises(DataError, match=r"row 9 .*the rate changes every 8 h at most, but stands in a row every 1h"):
        gr.read_funding(frame)
    assert kind_of(frame) is TableKind.PRICES
    sparse = frame.with_columns(funding_rate=pl.when(pl.arange(96) % 8 == 0).then(pl.col("funding_rate")))
    assert gr.read_funding(sparse).rates.tolist() == rates[::8].tolist()


def test_predicted_rates_give_one_settlement_each() -> None:
    due = np.repeat(EIGHT, 4)
    frame = pl.DataFrame({"timestamp": due - np.tile([4, 3, 2, 1], 12) * HOUR, "funding_timestamp": due,
                          "funding_rate": np.tile([9e-4, 8e-4, 7e-4, RATE], 12), "last_price": 42_000.0})  # fmt: skip
    series = gr.read_funding(frame)
    assert series.times_ms.tolist() == EIGHT
    assert series.rates.tolist() == [RATE] * 12


@pytest.mark.parametrize(
    ("name", "value", "options", "expected", "note"),
    [
        ("rate", 0.05, {}, 0.05, ""), ("rate", 5.0, {}, 0.05, "since the highest is 5"), ("rate", "5%", {}, 0.05, ""),
        ("DFF", 0.05, {}, 0.0005, "read as percent a year, as FRED publishes it"), ("rate_pct", 0.5, {}, 0.005, ""),
        ("Close", 0.05, {}, 0.05, "is read as a fraction"), ("rate", 0.25, {}, 0.25, "if it is percent, say"),
        ("rate", 0.25, {"unit": "percent"}, 0.0025, ""), ("rate", -0.5, {"unit": "percent"}, -0.005, ""),
        ("OBS_VALUE", 3.9, {}, 0.039, "since the highest is 3.9"),
    ],
)  # fmt: skip
def test_rates_are_read_as(
    tmp_path: Path, name: str, value: object, options: Mapping[str, Any], expected: float, note: str
) -> None:
    text = "date," + name + "\n" + "".join(f"2024-01-0{day},{value}\n" for day in range(1, 6)) + "2024-01-06,.\n"
    series = gr.read_rates(written(tmp_path, text), **options)
    assert series.rates.tolist() == pytest.approx([expected] * 5)
    assert series.start == "2024-01-02T00:00:00Z"
    assert note in " ".join(series.notes)


def test_rates_without_a_known_name_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'rate'; the columns are: Date, 1 Mo, 3 Mo. Name it one of: rate,"):
        gr.read_rates(written(tmp_path, "Date,1 Mo,3 Mo\n2024-01-01,5,5\n2024-01-02,5,5\n"))


@pytest.mark.parametrize(
    ("symbol", "underlying", "quote"),
    [("BTCUSDT", "BTC", "USDT"), ("BTC/USDT:USDT", "BTC", "USDT"), ("BTC-USD-SWAP", "BTC", "USD"),
     ("XBTUSD", "BTC", "USD"), ("DOTUSD", "DOT", "USD"), ("BNBUSD", "BNB", "USD"), ("ETHBUSD", "ETH", "BUSD"),
     ("BTC-PERP", "BTC", None), ("BTC-28JUN24", "BTC", None), ("QQQ", "QQQ", None), ("BTCUSD_PERP", "BTC", "USD"),
     ("1000SHIBUSDT", "1000SHIB", "USDT")],
)  # fmt: skip
def test_symbols(symbol: str, underlying: str, quote: str | None) -> None:
    assert underlying_of(symbol) == underlying
    assert quote_of(symbol) == quote
    assert is_same_underlying(symbol, underlying)
    assert is_same_underlying("SHIBUSD", "SHIB")
    assert not is_same_underlying("SHIBUSD", "BTC")


def test_instruments_are_picked_and_never_spliced(tmp_path: Path) -> None:
    times = [t for t in hours() for _ in range(2)]
    frame = pl.DataFrame({"time": times, "ticker": ["ETH", "BTC"] * 5, "close": [1.0, 2.0] * 5})
    with pytest.raises(DataError, match="it holds 2 symbols: BTC, ETH"):
        gr.read_prices(frame)
    assert gr.read_prices(frame, symbol="BTC").close.tolist() == [2.0] * 5
    assert symbols_in(frame, TableKind.PRICES) == ["BTC", "ETH"]
    blocks = frame.sort("ticker", "time").with_columns(time=pl.Series([T0 + HOUR * k for k in range(10)]))
    with pytest.raises(DataError, match="it holds 2 symbols"):
        gr.read_prices(blocks)
    wide = written(tmp_path, "date,btc,eth\n2024-01-01,1,2\n2024-01-02,1,2\n")
    assert gr.read_prices(wide, symbol="btc").symbol == "btc"
    with pytest.raises(DataError, match="there is no column 'close'; the columns are: date, btc, eth"):
        gr.read_prices(wide)


@pytest.mark.parametrize(
    ("factor", "what"), [(10.0, "a factor of 10"), (1e-3, "a factor of 1,000"), (0.25, "split of 4 to 1")]
)
def test_steps_that_no_market_makes_are_suspect(factor: float, what: str) -> None:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.005, 120)))
    close[60:] *= factor
    prices = gr.Prices(T0 + DAY * np.arange(120), close, symbol="X")
    found = suspects_in(prices)
    assert [one.row for one in found] == [60]
    assert what in str(found[0])
    assert any(what in fault for fault in inspect_series(prices)["faults"])
    token = gr.Token(symbol="T", target=1.0, rule=gr.Rule())
    with pytest.warns(match=f"X: suspect: .*{what}"):
        gr.backtest(token, prices)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"decimal": ";"}, "decimal is ';'"), ({"time_format": "dmy"}, "the time format 'dmy' is not one"),
     ({"columns": {"klose": "c"}}, "columns names 'klose'"), ({"volume_unit": "lots"}, "volume_unit is 'lots'"),
     ({"funding_unit": "pips"}, "funding_unit is 'pips'")],
)  # fmt: skip
def test_words_that_are_none(options: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ReadOptions(**options)


def test_a_persons_names_of_columns_go_before_the_known_ones() -> None:
    frame = pl.DataFrame({"open_time": hours(), "close": CLOSE, "WHEN": [t + DAY for t in hours()],
                          "LETZTER": [2 * c for c in CLOSE], "STUECK": UNITS})  # fmt: skip
    named = {"time": "WHEN", "close": "LETZTER", "contracts": "STUECK"}
    series = gr.read_prices(frame, columns=named, volume_unit=0.5)
    assert series.start == "2024-12-31T01:00:00Z"
    assert series.close[0] == 200.0
    assert series.volume is not None
    assert series.volume[0] == 3.5
    with pytest.raises(DataError, match="there is no column 'nix'; the columns are: open_time, close"):
        gr.read_prices(frame, columns={"close": "nix"})


def test_copies_of_a_row_count_once_and_other_rows_of_its_time_do_not(tmp_path: Path) -> None:
    text = table("time", hours())
    again = gr.read_prices(written(tmp_path, text + text.splitlines()[-1] + "\n"))
    assert len(again) == 5
    assert "stands there twice with the same values, and counts once" in again.notes[0]
    with pytest.raises(DataError, match="this time stands there twice"):
        gr.read_prices(written(tmp_path, text + f"{hours()[-1]},7\n"))
