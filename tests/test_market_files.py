"""Reading series from every kind of source, and saying plainly what is wrong with a bad one."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gearing.errors import DataError, DataWarning, InputError
from gearing.market.files import check_overlap, read_funding, read_prices
from gearing.market.reading.table import kind_of
from gearing.market.series import Funding, Prices
from gearing.market.write import write_frame, write_series

MINUTE = 60_000
T0 = 1_672_531_200_000
N = 6
TIMES = T0 + MINUTE * np.arange(N)
CLOSE = np.array([100.0, 101.5, 99.25, 100.125, 103.0, 102.0])
FRAME = pl.DataFrame(
    {
        "timestamp": pl.Series(TIMES).cast(pl.Datetime("ms", "UTC")),
        "open": CLOSE - 0.5,
        "high": CLOSE + 1,
        "low": CLOSE - 1,
        "close": CLOSE,
        "volume": np.arange(N) + 0.5,
    }
)


def same(prices: Prices, *, shift: int = MINUTE) -> None:
    assert prices.times_ms.tolist() == (TIMES + shift).tolist()
    assert prices.close.tolist() == CLOSE.tolist()


# Each makes the same six bars as another kind of source.
TABLES: dict[str, Callable[[Path], Any]] = {
    "polars": lambda _: FRAME,
    "lazy": lambda _: FRAME.lazy(),
    "pandas": lambda _: FRAME.to_pandas(),
    "pandas index": lambda _: FRAME.to_pandas().set_index("timestamp"),
    "pandas unnamed index": lambda _: FRAME.to_pandas().set_index("timestamp").rename_axis(None),
    "pandas naive index": lambda _: FRAME.to_pandas().set_index("timestamp").tz_localize(None),
    "pandas other zone": lambda _: FRAME.to_pandas().set_index("timestamp").tz_convert("Asia/Tokyo"),
    "pyarrow": lambda _: FRAME.to_arrow(),
    "csv": lambda d: saved(FRAME, d / "p.csv"),
    "csv text path": lambda d: str(saved(FRAME, d / "p.csv")),
    "csv gz": lambda d: zipped(saved(FRAME, d / "p.csv")),
    "parquet": lambda d: saved(FRAME, d / "p.parquet"),
    "feather": lambda d: saved(FRAME, d / "p.feather"),
    "no ending": lambda d: saved(FRAME, d / "p.parquet").rename(d / "p"),
    "seconds": lambda _: FRAME.with_columns(pl.Series("timestamp", TIMES // 1000)),
    "milliseconds": lambda _: FRAME.with_columns(pl.Series("timestamp", TIMES)),
    "microseconds": lambda _: FRAME.with_columns(pl.Series("timestamp", TIMES * 1000)),
    "nanoseconds": lambda _: FRAME.with_columns(pl.Series("timestamp", TIMES * 1_000_000)),
    "float seconds": lambda _: FRAME.with_columns(pl.Series("timestamp", TIMES / 1000)),
    "naive": lambda _: FRAME.with_columns(pl.col("timestamp").dt.replace_time_zone(None)),
    "iso": lambda _: FRAME.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "iso naive": lambda _: FRAME.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M")),
    "iso offset": lambda _: FRAME.with_columns(
        pl.col("timestamp").dt.offset_by("5h30m").dt.strftime("%Y-%m-%d %H:%M:%S%.3f+05:30")
    ),
    "iso west": lambda _: FRAME.with_columns(
        pl.col("timestamp").dt.offset_by("-8h").dt.strftime("%Y-%m-%dT%H:%M:%S-0800")
    ),
    "slashes": lambda _: FRAME.with_columns(pl.col("timestamp").dt.strftime("%Y/%m/%d %H:%M")),
    "objects": lambda _: FRAME.with_columns(pl.Series("timestamp", FRAME["timestamp"].to_list(), dtype=pl.Object)),
    "short names": lambda _: FRAME.rename({"open": "O", "high": "H", "low": "L", "close": "C", "timestamp": "Date"}),
    "price": lambda _: FRAME.select(pl.col("timestamp").alias("Open_Time"), pl.col("close").alias("Price")),
    "numbers as text": lambda _: FRAME.with_columns(pl.col("close").cast(pl.String)),
    "integers and decimals": lambda _: FRAME.with_columns(pl.col("close").cast(pl.Decimal(20, 4))),
    "semicolons": lambda d: written(d / "p.csv", FRAME.write_csv(separator=";")),
    "spaces in the header": lambda d: written(d / "p.csv", FRAME.write_csv().replace(",close,", ", Close ,")),
    "byte order mark": lambda d: written(d / "p.csv", "\ufeff" + FRAME.write_csv()),
    "windows lines": lambda d: written(d / "p.csv", FRAME.write_csv(line_terminator="\r\n")),
}


def saved(frame: pl.DataFrame, path: Path) -> Path:
    write_frame(frame, path)
    return path


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def zipped(path: Path) -> Path:
    return written(path.with_name("p.csv.gz"), gzip.compress(path.read_bytes()))


@pytest.mark.parametrize("name", TABLES)
def test_every_kind_of_table_gives_the_same_prices(name: str, tmp_path: Path) -> None:
    same(read_prices(TABLES[name](tmp_path)))
    same(read_prices(TABLES[name](tmp_path), stamp="close"), shift=0)


PAIRS: dict[str, Callable[[], Any]] = {
    "milliseconds": lambda: (TIMES, CLOSE),
    "datetime64": lambda: (TIMES.astype("datetime64[ms]"), CLOSE),
    "datetime64 ns": lambda: (TIMES.astype("datetime64[ms]").astype("datetime64[ns]"), CLOSE.tolist()),
    "seconds as a list": lambda: ((TIMES // 1000).tolist(), CLOSE),
    "datetimes": lambda: ([dt.datetime.fromtimestamp(t / 1000, dt.UTC) for t in TIMES], CLOSE),
    "naive datetimes": lambda: (
        [dt.datetime.fromtimestamp(t / 1000, dt.UTC).replace(tzinfo=None) for t in TIMES],
        CLOSE,
    ),
    "texts": lambda: ([f"2023-01-01T00:0{i}" for i in range(N)], CLOSE),
    "polars series": lambda: (FRAME["timestamp"], FRAME["close"]),
    "pandas index": lambda: (FRAME.to_pandas().set_index("timestamp").index, CLOSE),
    "pandas series": lambda: FRAME.to_pandas().set_index("timestamp")["close"],
    "prices": lambda: Prices(TIMES, CLOSE),
}


@pytest.mark.parametrize("name", PAIRS)
def test_arrays_are_taken_as_they_are(name: str) -> None:
    same(read_prices(PAIRS[name]()), shift=0)
    same(read_prices(PAIRS[name](), symbol="X"), shift=0)
    assert read_prices(PAIRS[name](), symbol="X").symbol == "X"


def test_all_columns_arrive() -> None:
    prices = read_prices(FRAME.with_columns(pl.lit("BTC").alias("Symbol")))
    assert prices.symbol == "BTC"
    for name in ("open", "high", "low", "volume"):
        assert getattr(prices, name).tolist() == FRAME[name].to_list()
    bare = read_prices(FRAME.select("timestamp", "close", pl.lit(None).alias("volume")))
    assert bare.volume is None
    assert bare.high is None


def test_a_date_is_known_at_the_end_of_its_day() -> None:
    days = [dt.date(2020, 2, 28), dt.date(2020, 2, 29), dt.date(2020, 3, 1)]
    prices = read_prices(pl.DataFrame({"date": days, "adj_close": [1.0, 2.0, 3.0]}))
    assert (prices.start, prices.end) == ("2020-02-29T00:00:00Z", "2020-03-02T00:00:00Z")


def test_start_and_end_cut_by_the_moment_known() -> None:
    prices = read_prices(FRAME, start="2023-01-01T00:03", end=T0 + 5 * MINUTE)
    assert prices.close.tolist() == [99.25, 100.125]
    with pytest.raises(DataError, match="no prices in"):
        read_prices(FRAME, start="2024")


def test_symbols_are_chosen_and_missing_ones_answered_with_near_ones(tmp_path: Path) -> None:
    both = pl.concat([FRAME.with_columns(pl.lit(s).alias("symbol")) for s in ("BTCUSDT", "ETHUSDT")])
    for source in (both, saved(both, tmp_path / "p.parquet"), saved(both, tmp_path / "p.csv")):
        same(read_prices(source, symbol="ETHUSDT"))
        with pytest.raises(DataError, match="holds 2 symbols: BTCUSDT, ETHUSDT"):
            read_prices(source)
        with pytest.raises(DataError, match=r"no symbol 'BTC'\. Did you mean BTCUSDT"):
            read_prices(source, symbol="BTC")
        with pytest.raises(DataError, match=r"no symbol 'zzzz'\. It holds: BTCUSDT, ETHUSDT"):
            read_prices(source, symbol="zzzz")
    one = both.filter(symbol="BTCUSDT").with_columns(pl.col("symbol").cast(pl.Categorical))
    assert read_prices(one).symbol == "BTCUSDT"
    nameless = FRAME.with_columns(pl.lit(None, dtype=pl.String).alias("symbol"))
    assert read_prices(nameless).symbol == ""
    with pytest.raises(DataError, match="holds 2 symbols"):
        read_prices(pl.concat([nameless, both]).filter(pl.col("symbol").is_null() | (pl.col("symbol") == "BTCUSDT")))


def with_row(row: int, **values: Any) -> pl.DataFrame:
    table = FRAME.with_row_index()
    return table.with_columns(
        pl.when(pl.col("index") == row).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    ).drop("index")


TEXT = FRAME.write_csv().splitlines()

BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda d: d / "none.csv", r"none\.csv: there is no such file"),
    "directory": (lambda d: d, "this is a directory"),
    "empty": (lambda d: written(d / "p.csv", ""), r"p\.csv: the file is empty"),
    "header only": (lambda d: written(d / "p.csv", TEXT[0] + "\n"), "the series is empty"),
    "csv as parquet": (
        lambda d: written(d / "p.parquet", "\n".join(TEXT)),
        r"p\.parquet: the ending '\.parquet' says Parquet, but the file holds CSV",
    ),
    "parquet as csv": (
        lambda d: saved(FRAME, d / "p.parquet").rename(d / "p.csv"),
        "the ending '.csv' says CSV, but the file holds Parquet",
    ),
    "zip": (lambda d: written(d / "p.zip", b"PK\x03\x04" + b"x" * 50), "the zip archive is damaged"),
    "old feather": (lambda d: written(d / "p.feather", b"FEA1" + b"x" * 50), "old Feather"),
    "damaged gzip": (lambda d: written(d / "p.csv.gz", b"\x1f\x8b" + b"x" * 50), "the gzip file is damaged"),
    "cut parquet": (
        lambda d: written(d / "q.parquet", saved(FRAME, d / "p.parquet").read_bytes()[:-300]),
        r"q\.parquet: the table cannot be read",
    ),
    "cut feather": (
        lambda d: written(d / "q.feather", saved(FRAME, d / "p.feather").read_bytes()[:-300]),
        r"q\.feather: the table cannot be read",
    ),
    "missing column": (
        lambda _: FRAME.drop("close"),
        "no column 'close'; the columns are: timestamp, open, high, low, volume",
    ),
    "missing time": (lambda _: FRAME.drop("timestamp"), "no column 'timestamp'; the columns are: open"),
    "no header": (lambda d: written(d / "p.csv", "1,2,3\n4,5,6\n"), "no names for its 3 columns, and no known layout"),
    "ragged": (lambda d: written(d / "p.csv", "\n".join([*TEXT, "1,2,3,4,5,6,7,8,9"])), "row 7: the row has 9 values"),
    "unsorted": (lambda _: FRAME[[0, 2, 1, 3]], r"row 3 \(2023-01-01T00:01:00Z\): the times are not sorted"),
    "duplicate": (
        lambda _: FRAME[[0, 1, 1, 2]].with_columns(volume=pl.Series([1.0, 2.0, 3.0, 4.0])),
        r"row 3 \(2023-01-01T00:01:00Z\): this time stands there twice",
    ),
    "nan": (
        lambda _: with_row(2, close=float("nan")),
        r"row 3 \(2023-01-01T00:02:00Z\): the close price is missing",
    ),
    "null": (lambda _: with_row(2, close=None), "row 3 .*close price is missing"),
    "all null": (lambda _: FRAME.with_columns(close=pl.lit(None)), "row 1 .*close price is missing"),
    "infinite": (lambda _: with_row(1, close=float("inf")), "row 2 .*infinite"),
    "zero": (lambda _: with_row(5, close=0.0), "row 6 .*is 0"),
    "negative": (lambda _: with_row(0, low=-3.0), "row 1 .*low price is -3"),
    "null time": (lambda _: with_row(3, timestamp=None), "row 4: the time is missing"),
    "word in numbers": (
        lambda d: written(d / "p.csv", "\n".join([*TEXT[:3], TEXT[3].replace("99.25", "n/a"), *TEXT[4:]])),
        r"p\.csv, column close, row 3: 'n/a' stands where a number should",
    ),
    "booleans": (lambda _: FRAME.with_columns(close=pl.lit(True)), "of type Boolean, not numbers"),
    "word in times": (
        lambda d: written(d / "p.csv", "time,close\n2020-01-01,1\nsoon,2\n"),
        "row 2: 'soon' is not a moment",
    ),
    "mixed zones": (
        lambda d: written(d / "p.csv", "time,close\n2020-01-01T00:00Z,1\n2020-01-01T00:01,2\n"),
        "mixed time zones",
    ),
    "times of an odd type": (
        lambda _: FRAME.with_columns(timestamp=pl.lit(dt.timedelta(1))),
        "of type Duration",
    ),
    "huge integers": (lambda _: FRAME.with_columns(timestamp=-pl.int_range(6)), "unit cannot be told"),
    "single bar": (lambda _: FRAME[:1], "single bar"),
    "no table": (lambda _: 42, "a int cannot be read as a table"),
    "triple": (lambda _: (TIMES, CLOSE, CLOSE), "a sequence of 3"),
    "words": (lambda _: (TIMES, ["a"] * N), "not all numbers"),
    "lengths": (lambda _: (TIMES, CLOSE[:-1]), "6 times but 5 values"),
    "mixed zones in a list": (
        lambda _: ([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2, tzinfo=dt.UTC)], [1.0, 2.0]),
        "mixed time zones",
    ),
    "not a time": (lambda _: ([None, None], [1.0, 2.0]), "row 1: None is not a moment"),
    "nat": (
        lambda _: (np.array(["2020-01-01", "NaT"], "datetime64[s]"), [1.0, 2.0]),
        "row 2: the time is missing",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_has_its_own_sentence_and_a_mend(name: str, tmp_path: Path) -> None:
    make, sentence = BAD[name]
    source = make(tmp_path)
    with pytest.raises(DataError, match=sentence) as error:
        read_prices(source)
    assert "\n" not in str(error.value)
    assert error.value.fix or name in {"ragged", "booleans"}


def test_mixed_zones_in_a_pandas_column() -> None:
    pd = pytest.importorskip("pandas")
    times = [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-02", tz="UTC")]
    with pytest.raises(DataError, match="mixed time zones"):
        read_prices(pd.DataFrame({"time": pd.Series(times, dtype=object), "close": [1.0, 2.0]}))
    alike = [time.tz_localize(None) for time in times]
    frame = pd.DataFrame({"Date": pd.Series(alike, dtype=object), "close": [1.0, 2.0]})
    assert read_prices(frame).start == "2020-01-02T00:00:00Z"


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather", "txt", "dat"])
def test_random_bytes_are_refused_under_every_ending(ending: str, tmp_path: Path) -> None:
    for seed in range(20):
        data = random.Random(seed).randbytes(700)
        with pytest.raises(DataError):
            read_prices(written(tmp_path / f"p.{ending}", data))


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_flipped_bytes_never_end_in_anything_but_a_data_error(ending: str, tmp_path: Path) -> None:
    good = saved(FRAME, tmp_path / f"good.{ending}").read_bytes()
    for seed in range(150):
        chance = random.Random(seed)
        data = bytearray(good)
        for _ in range(4):
            data[chance.randrange(8, len(data))] = chance.randrange(256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                read_prices(written(tmp_path / f"p.{ending}", bytes(data)))
        except DataError:
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_to_read(tmp_path: Path) -> None:
    path = saved(FRAME, tmp_path / "p.csv")
    path.chmod(0)
    with pytest.raises(DataError, match="no permission"):
        read_prices(path)


def test_no_permission_is_said_whoever_runs_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(FRAME, tmp_path / "p.csv")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="no permission to read this file"):
        read_prices(path)


def test_gaps_warn_in_one_line() -> None:
    rows = [0, 1, 2, 5]
    with pytest.warns(DataWarning) as caught:
        prices = read_prices(FRAME[rows], symbol="BTC")
    assert [str(item.message) for item in caught] == [
        "BTC: 1 gap, 2 rows of 1m missing; the longest lasts 3m, 2023-01-01T00:03:00Z to 2023-01-01T00:06:00Z"
    ]
    assert caught[0].filename == __file__
    assert len(prices) == 4


def test_funding_is_read_and_floored() -> None:
    eight = 8 * 60 * MINUTE
    stamps = T0 + eight * np.arange(4) + np.array([0, 7, 60_000, 62_000])
    frame = pl.DataFrame({"fundingTime": stamps, "fundingRate": [1e-4, -2e-4, 0.0, 3e-4]})
    funding = read_funding(frame, symbol="BTC")
    assert (funding.times_ms - T0).tolist() == [0, eight, 2 * eight, 3 * eight + 62_000]
    assert funding.rates.tolist() == [1e-4, -2e-4, 0.0, 3e-4]
    assert funding.symbol == "BTC"
    pair = read_funding((stamps, [1e-4, -2e-4, 0.0, 3e-4]), start=T0 + 1)
    assert pair.times_ms.tolist() == funding.times_ms.tolist()[1:]
    assert read_funding(funding) is funding
    with pytest.raises(DataError, match="no column 'funding_rate'"):
        read_funding(FRAME)
    with pytest.raises(DataError, match=r"row 2 .*funding rate is 1.5"):
        read_funding((stamps, [0.1, 1.5, 0.1, 0.1]))
    assert (kind_of(frame), kind_of(FRAME)) == ("funding", "prices")
    with pytest.raises(DataError, match="no column 'close'; the columns are: timestamp"):
        kind_of(FRAME.select("timestamp"))


def test_overlap_of_prices_and_funding() -> None:
    hour = 60 * MINUTE
    prices = Prices(T0 + hour * np.arange(49), np.ones(49), symbol="BTC")

    def funding(first: int, last: int) -> Funding:
        return Funding(T0 + 8 * hour * np.arange(first, last + 1), np.zeros(last + 1 - first))

    check_overlap(prices, funding(1, 6))
    check_overlap(prices, funding(0, 6))
    with pytest.warns(DataWarning, match="2 of 9 settlements lie outside the price period"):
        check_overlap(prices, funding(-2, 6))
    with pytest.warns(DataWarning, match="no funding is known for 2023-01-02T00:00:00Z to 2023-01-03T00:00:00Z"):
        check_overlap(prices, funding(0, 3))
    for none in (funding(7, 20), funding(-9, 0)):
        with pytest.raises(DataError, match="no funding settlement falls into the price period"):
            check_overlap(prices, none)


@pytest.mark.parametrize("ending", ["parquet", "csv", "feather"])
def test_what_is_written_reads_back_identically(ending: str, tmp_path: Path) -> None:
    prices = Prices(
        TIMES,
        CLOSE / 3,
        open=CLOSE / 3,
        high=CLOSE / 3 + 0.1,
        low=CLOSE / 3 - 0.1,
        volume=CLOSE / 7,
        symbol="BTC",
    )
    write_series(prices, tmp_path / f"p.{ending}")
    again = read_prices(tmp_path / f"p.{ending}")
    for name in ("times_ms", "open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(again, name), getattr(prices, name))
    assert again.symbol == "BTC"
    funding = Funding(TIMES, CLOSE / 1e10 / 3, symbol="BTC")
    write_series(funding, tmp_path / f"f.{ending}")
    assert np.array_equal(read_funding(tmp_path / f"f.{ending}").rates, funding.rates)
    with pytest.raises(InputError, match=r"the ending '\.xls' names no format"):
        write_series(prices, tmp_path / "p.xls")
