"""Tables without names: which known order of columns makes bars of every row.

Source: the venues' REST and download pages (Binance, Bybit, OKX, Kraken, Coinbase, Bitfinex, KuCoin, Gate), ccxt's and
freqtrade's candles, MetaTrader's and HistData's exports.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from gearing.errors import DataError
from gearing.market.reading.numbers import numbers
from gearing.market.reading.options import Notes, ReadOptions
from gearing.market.reading.stamps import stamps_ms
from gearing.market.times import SeriesError

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
    _layout("Coinbase REST", "time low high open close volume"),
    _layout("Bitfinex REST", "time open close high low volume"),
    _layout("Kraken OHLCVT, Bybit REST", "time open high low close volume _"),
    _layout("KuCoin REST", "time open close high low volume _"),
    _layout("MetaTrader", "time clock open high low close volume"),
    _layout("MetaTrader with spread", "time clock open high low close volume _ _"),
    _layout("Kraken REST", "time open high low close _ volume _"),
    _layout("Gate REST", "time quote_volume close high low open volume _"),
    _layout("OKX REST", "time open high low close _ volume _ _"),
    _layout("Binance klines", "time open high low close volume _ _ _ _ _ _"),
)


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
    notes.add(f"no header; read in the order of {layout.whose}: {', '.join(c for c in layout.columns if c != '_')}")
    own = [name if name != "_" else f"_{place}" for place, name in enumerate(layout.columns)]
    return frame.rename(dict(zip(frame.columns, own, strict=True)))


def _bars(frame: pl.DataFrame, layout: Layout, options: ReadOptions) -> bytes | None:
    """The values that a layout gives, for comparison; None if it makes no bars of them."""
    columns = {name: frame.to_series(place) for place, name in enumerate(layout.columns) if name != "_"}
    try:
        times = stamps_ms(columns["time"], columns.get("clock"), options.time_format, Notes(""), "time")
        read = numbers({name: column for name, column in columns.items() if name not in ("time", "clock")},
                       options.decimal, Notes(""))  # fmt: skip
    except SeriesError:
        return None
    steps = np.diff(times)
    if not ((steps > 0).all() or (steps < 0).all()):
        return None
    values = {name: number.values for name, number in read.items()}
    if "close" not in values or any(not (v > 0).all() for n, v in values.items() if not n.endswith("volume")):
        return None
    if "low" in values:
        if any(name not in values for name in ("open", "high")):
            return None
        low, high = values["low"] * (1 + 1e-9), values["high"] * (1 - 1e-9)
        values["low"], values["high"] = low, high
        for inner in ("open", "close"):
            if not ((values["low"] >= 0) & (values["low"] <= values[inner] * (1 + 2e-9))).all():
                return None
            if not (values["high"] >= values[inner] * (1 - 2e-9)).all():
                return None
    parts = [times.tobytes()]
    parts += [values[name].tobytes() for name in ("open", "high", "low", "close", "volume") if name in values]
    return b"".join(parts)
