"""Tables without names: which known order of columns makes bars of every row.

Source: the venues' REST and download pages (Binance, Bybit, OKX, Kraken, Coinbase, Bitfinex, KuCoin, Gate), ccxt's and
freqtrade's candles, MetaTrader's and HistData's exports.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from gearing.errors import DataError
from gearing.market.reading.dates import is_clock
from gearing.market.reading.numbers import numbers
from gearing.market.reading.options import Notes, ReadOptions
from gearing.market.reading.stamps import stamps_ms
from gearing.market.times import SeriesError

Floats = npt.NDArray[np.float64]

_SAY = 'Name the columns in their order: --columns time,open,high,low,close,volume ("_" leaves one out).'


class Layout(NamedTuple):
    """A known order of columns.

    Args:
        whose: who writes it.
        columns: canonical names in order; "_": one that is left out.
    """

    whose: str
    columns: tuple[str, ...]


def _layout(whose: str, columns: str) -> Layout:
    return Layout(whose, tuple(columns.split()))


LAYOUTS = (
    _layout("times and prices", "time close"),
    _layout("bars without volume", "time open high low close"),
    _layout("ccxt, freqtrade, HistData", "time open high low close volume"),
    _layout("OKX REST of an index or a mark", "time open high low close flag"),
    _layout("Coinbase REST", "time low high open close volume"),
    _layout("Bitfinex REST", "time open close high low volume"),
    _layout("Kraken OHLCVT", "time open high low close volume count"),
    _layout("Bybit REST, Bitget REST", "time open high low close volume quote_volume"),
    _layout("Bybit REST of inverse contracts", "time open high low close contracts volume"),
    _layout("KuCoin REST", "time open close high low volume quote_volume"),
    _layout("MetaTrader, HistData", "date clock open high low close volume"),
    _layout("MetaTrader without volume", "date clock open high low close"),
    _layout("MetaTrader with spread", "date clock open high low close volume _ _"),
    _layout("Kraken REST", "time open high low close _ volume count"),
    _layout("Bitget REST of spot", "time open high low close volume _ quote_volume"),
    _layout("Gate REST", "time quote_volume close high low open volume _"),
    _layout("OKX REST of swaps", "time open high low close contracts volume quote_volume flag"),
    _layout("OKX REST of spot", "time open high low close volume quote_volume _ flag"),
    _layout("Binance klines", "time open high low close volume close_time quote_volume count _ _ _"),
    _layout("Binance klines of COIN-M", "time open high low close contracts close_time volume count _ _ _"),
)
_LEFT_OUT = ("_", "clock", "close_time", "count", "flag")
_COLUMN = {"contracts": "volume_contracts"}
# Turnover over volume lies within a bar, but for the rounding of small amounts; in how many rows.
_WITHIN = 0.02
_MOST = 0.9
_CONTRACT_SIZES = (1.0, 10.0, 100.0)


def named_columns(frame: pl.DataFrame, options: ReadOptions, notes: Notes) -> pl.DataFrame:
    """Returns a table without names with those of the only known layout that fits, or of `options.columns`.

    Args:
        frame: its columns in order, under any names.
        options: a person's word on it.
        notes: the layout is added.

    Raises:
        DataError: none fits every row, or several do and differ.
    """
    count = len(frame.columns)
    given = options.positions()
    if given is not None:
        if len(given) != count:
            what = f"--columns names {len(given)} columns, but there are {count}."
            raise DataError(what, where=notes.where, fix="Name each of them; _ leaves one out.")
        return frame.rename(dict(zip(frame.columns, given, strict=True)))
    tried = [(layout, _bars(frame, layout, options)) for layout in LAYOUTS if len(layout.columns) == count]
    fitting = [(layout, values) for layout, values in tried if values is not None]
    if not fitting:
        raise DataError(
            f"the table has no names for its {count} columns, and no known layout makes bars of every row.",
            where=notes.where,
            fix=_SAY,
        )
    if len({values for _, values in fitting}) > 1:
        names = " and ".join(f"{layout.whose} ({' '.join(layout.columns)})" for layout, _ in fitting)
        raise DataError(f"the table has no names for its columns, and they can be those of {names}.",
                        where=notes.where, fix=_SAY)  # fmt: skip
    layout = fitting[0][0]
    said = [name for name in layout.columns if name not in _LEFT_OUT]
    notes.add(f"no header; read in the order of {layout.whose}: {', '.join(said)}")
    unnamed = ("_", "count", "flag")
    own = [f"_{k}" if name in unnamed else _COLUMN.get(name, name) for k, name in enumerate(layout.columns)]
    return frame.rename(dict(zip(frame.columns, own, strict=True)))


def _bars(frame: pl.DataFrame, layout: Layout, options: ReadOptions) -> bytes | None:
    """The values that a layout gives, for comparison; None if it makes no bars of them."""
    columns = {name: frame.to_series(place) for place, name in enumerate(layout.columns) if name != "_"}
    moments = {name: columns.pop(name) for name in ("time", "date", "clock", "close_time") if name in columns}
    try:
        begins = moments["time"] if "time" in moments else moments["date"]
        if "clock" in moments and not is_clock(moments["clock"]):
            return None
        times = stamps_ms(begins, moments.get("clock"), options.time_format, Notes(""), "time")
        ends = moments.get("close_time")
        if ends is not None and not (stamps_ms(ends, None, options.time_format, Notes(""), "time") >= times).all():
            return None
        read = numbers(columns, options.decimal, Notes(""))
    except SeriesError:
        return None
    steps = np.diff(times)
    if not ((steps > 0).all() or (steps < 0).all()):
        return None
    values = {name: number.values for name, number in read.items()}
    if "close" not in values or any(not (values[n] > 0).all() for n in _PRICES if n in values):
        return None
    if "low" in layout.columns and not _are_bars(values):
        return None
    if not _is_plausible(values, layout):
        return None
    parts = [times.tobytes(), *(values[name].tobytes() for name in (*_PRICES, "volume") if name in values)]
    return b"".join(parts)


_PRICES = ("open", "high", "low", "close")


def _are_bars(values: dict[str, Floats]) -> bool:
    """Whether low ≤ open, close ≤ high in every row."""
    if any(name not in values for name in _PRICES):
        return False
    low, high = values["low"] * (1 - 1e-9), values["high"] * (1 + 1e-9)
    return all(bool(((low <= values[name]) & (values[name] <= high)).all()) for name in ("open", "close"))


def _is_plausible(values: dict[str, Floats], layout: Layout) -> bool:
    """Whether volumes, turnovers, counts and flags are what a layout says."""
    flag, count, volume = values.get("flag"), values.get("count"), values.get("volume")
    if "flag" in layout.columns and (flag is None or not np.isin(flag, (0.0, 1.0)).all() or not flag.any()):
        return False
    # OKX ends each candle of an index with 1 once it is complete; no volume is 1 throughout.
    ends_in_volume = layout.columns[-1] == "volume" and volume is not None and len(volume) > 1
    if ends_in_volume and volume is not None and bool((volume == 1).sum() >= len(volume) - 1):
        return False
    if "count" in layout.columns and (count is None or not ((count >= 0) & (count == np.floor(count))).all()):
        return False
    if "contracts" in layout.columns and (volume is None or not _are_contracts(values)):
        return False
    quote = values.get("quote_volume")
    return quote is None or volume is None or _lies_within(quote, volume, values)


def _lies_within(quote: Floats, volume: Floats, values: dict[str, Floats]) -> bool:
    traded = (volume > 0) & (quote > 0)
    if not traded.any():
        return not (volume > 0).any() and not (quote > 0).any()
    price = quote[traded] / volume[traded]
    low, high = values["low"][traded] * (1 - _WITHIN), values["high"][traded] * (1 + _WITHIN)
    return bool(((price >= low) & (price <= high)).mean() >= _MOST)


def _are_contracts(values: dict[str, Floats]) -> bool:
    """Whether a column counts contracts: of a fixed size in coin, beside turnover, or of 1, 10 or 100 in money."""
    contracts, volume = values["contracts"], values["volume"]
    if "quote_volume" in values:
        return _lies_within(values["quote_volume"], volume, values)
    return any(_lies_within(contracts * size, volume, values) for size in _CONTRACT_SIZES)
