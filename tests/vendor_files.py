"""Bars in the shapes in which venues and vendors hand them out."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

HOUR, DAY = 3_600_000, 86_400_000


class Bars(NamedTuple):
    """Bars in units that no shape needs to round."""

    times: list[int]
    step: int
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]

    @property
    def quote(self) -> list[float]:
        """Turnover in quote currency."""
        return [round(v * c, 6) for v, c in zip(self.volume, self.close, strict=True)]


class Shape(NamedTuple):
    """How a table is written.

    Args:
        write: gives its text.
        ending: of its file.
        parts: the columns that it keeps.
        steps: the steps of bars that it can tell.
        options: what a person must say.
        symbol: whose bars it says that they are.
    """

    write: Callable[[Bars], str]
    ending: str = "csv"
    parts: str = "ohlcv"
    steps: tuple[int, ...] = (60_000, HOUR, DAY)
    options: Mapping[str, Any] = {}
    symbol: str = ""


def when(ms: int, form: str) -> str:
    """A moment as text."""
    return (dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=ms)).strftime(form)


def plain(value: Any) -> str:
    """A number without an exponent."""
    return f"{value:.10f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def lines(header: str | None, *columns: Sequence[Any], sep: str = ",", newest_first: bool = False) -> str:
    """A table as text."""
    rows = [sep.join(map(plain, row)) for row in zip(*columns, strict=True)]
    rows = rows[::-1] if newest_first else rows
    return "\n".join([*([] if header is None else [header]), *rows]) + "\n"


def lists(*columns: Sequence[Any], text: bool = False, newest_first: bool = False) -> list[list[Any]]:
    """Rows as JSON lists."""
    rows = [[plain(v) if text else v for v in row] for row in zip(*columns, strict=True)]
    return rows[::-1] if newest_first else rows


def records(names: str, *columns: Sequence[Any], text: bool = False) -> list[dict[str, Any]]:
    """Rows as JSON objects."""
    return [dict(zip(names.split(), row, strict=True)) for row in lists(*columns, text=text)]


def _same(b: Bars, value: Any) -> list[Any]:
    return [value] * len(b.times)


def _s(b: Bars) -> list[int]:
    return [t // 1000 for t in b.times]


def _at(b: Bars, form: str) -> list[str]:
    return [when(t, form) for t in b.times]


def _ends(b: Bars) -> list[int]:
    return [t + b.step - 1 for t in b.times]


def _ohlc(b: Bars) -> tuple[list[float], ...]:
    return b.open, b.high, b.low, b.close


def _klines(b: Bars) -> tuple[Sequence[Any], ...]:
    return (b.times, *_ohlc(b), b.volume, _ends(b), b.quote, _same(b, 7), b.volume, b.quote, _same(b, 0))


def _us(b: Bars) -> tuple[Sequence[Any], ...]:
    micro = [t * 1000 for t in b.times], [(t + b.step) * 1000 - 1 for t in b.times]
    return (micro[0], *_ohlc(b), b.volume, micro[1], b.quote, _same(b, 7), b.volume, b.quote, _same(b, 0))


_KLINES = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,tbqv,ignore"
_BARS = "open,high,low,close,volume"


def _changing(b: Bars) -> str:
    times = [t if k < len(b.times) // 2 else t * 1000 for k, t in enumerate(b.times)]
    return lines(f"timestamp,{_BARS}", times, *_ohlc(b), b.volume)


def _comma(values: Sequence[float]) -> list[str]:
    return [f"{v:.4f}".replace(".", ",") for v in values]


def _dollars(values: Sequence[float]) -> list[str]:
    return [f"${plain(v)}" for v in values]


def _thousands(values: Sequence[float]) -> list[str]:
    return [f'"{v:,.4f}"' for v in values]


def _json(value: Any) -> str:
    return json.dumps(value)


def _alpha(b: Bars) -> str:
    names = ("1. open", "2. high", "3. low", "4. close", "5. volume")
    rows = {d: dict(zip(names, row, strict=True))
            for d, row in zip(_at(b, "%Y-%m-%d"), lists(*_ohlc(b), b.volume, text=True), strict=True)}  # fmt: skip
    return _json({"Meta Data": {"2. Symbol": "IBM"}, "Time Series (Daily)": dict(list(rows.items())[::-1])})


def _yahoo(b: Bars) -> str:
    quote = {"open": b.open, "high": b.high, "low": b.low, "close": b.close, "volume": b.volume}
    inside = {"meta": {"symbol": "QQQ", "validRanges": ["1d", "5d"]}, "timestamp": _s(b)}
    inside["indicators"] = {"quote": [quote], "adjclose": [{"adjclose": b.close}]}
    return _json({"chart": {"result": [inside], "error": None}})


def _by_column(b: Bars) -> str:
    columns: dict[str, Sequence[Any]] = {"timestamp": b.times, "open": b.open, "high": b.high, "low": b.low}
    columns |= {"close": b.close, "volume": b.volume}
    return _json({name: {str(row): v for row, v in enumerate(column)} for name, column in columns.items()})


def _two_rows(b: Bars) -> str:
    head = "Price,Close,High,Low,Open,Volume\nTicker,QQQ,QQQ,QQQ,QQQ,QQQ\nDate,,,,,"
    return lines(head, _at(b, "%Y-%m-%d"), b.close, b.high, b.low, b.open, b.volume)


def _inverse(b: Bars) -> tuple[list[float], ...]:
    return [v * c / 100 for v, c in zip(b.volume, b.close, strict=True)], b.volume


def _again(b: Bars) -> str:
    rows = lines(f"timestamp,{_BARS}", b.times, *_ohlc(b), b.volume).splitlines()
    half = len(rows) // 2
    return "\n".join([*rows[:half], rows[0], *rows[half:]]) + "\n"


SHAPES: dict[str, Shape] = {
    "Binance klines": Shape(lambda b: lines(_KLINES, *_klines(b))),
    "Binance klines without a header": Shape(lambda b: lines(None, *_klines(b))),
    "Binance klines in µs without a header": Shape(lambda b: lines(None, *_us(b))),
    "Binance REST": Shape(lambda b: _json(lists(*_klines(b), text=True)), "json"),
    "Bybit history": Shape(
        lambda b: lines(f"symbol,period,start_at,volume,{_BARS[:-7]}", _same(b, "BTCUSDT"), _same(b, 60), _s(b),
                        b.volume, *_ohlc(b)), symbol="BTCUSDT"),
    "Bybit REST": Shape(
        lambda b: _json({"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "symbol": "BTCUSDT",
                         "list": lists(b.times, *_ohlc(b), b.volume, b.quote, text=True, newest_first=True)}}),
        "json", symbol="BTCUSDT"),
    "OKX REST of swaps": Shape(
        lambda b: _json({"code": "0", "msg": "", "data": lists(
            b.times, *_ohlc(b), [v * 100 for v in b.volume], b.volume, b.quote, _same(b, 1), text=True,
            newest_first=True)}), "json"),
    "OKX REST of spot": Shape(
        lambda b: _json({"code": "0", "msg": "", "data": lists(
            b.times, *_ohlc(b), b.volume, b.quote, b.quote, _same(b, 1), text=True)}), "json"),
    "OKX REST of an index": Shape(
        lambda b: _json({"code": "0", "data": lists(b.times, *_ohlc(b), _same(b, "1"), text=True)}), "json", "ohlc"),
    "OKX download": Shape(
        lambda b: lines("instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm",
                        _same(b, "BTC-USDT-SWAP"), *_ohlc(b), [v * 100 for v in b.volume], b.volume, b.quote,
                        b.times, _same(b, 1)), symbol="BTC-USDT-SWAP"),
    "Deribit": Shape(
        lambda b: _json({"jsonrpc": "2.0", "result": {"ticks": b.times, "open": b.open, "high": b.high, "low": b.low,
                         "close": b.close, "volume": b.volume, "cost": b.quote, "status": "ok"}}), "json"),
    "Kraken OHLCVT": Shape(lambda b: lines(None, _s(b), *_ohlc(b), b.volume, _same(b, 55))),
    "Kraken REST": Shape(
        lambda b: _json({"error": [], "result": {"XXBTZUSD": lists(
            _s(b), *([plain(v) for v in c] for c in (*_ohlc(b), b.close, b.volume)), _same(b, 5)), "last": 1}}),
        "json", symbol="XXBTZUSD"),
    "Coinbase REST": Shape(
        lambda b: _json(lists(_s(b), b.low, b.high, b.open, b.close, b.volume, newest_first=True)), "json"),
    "Bitfinex": Shape(lambda b: _json(lists(b.times, b.open, b.close, b.high, b.low, b.volume)), "json"),
    "Bitstamp": Shape(
        lambda b: _json({"data": {"pair": "BTC/USD", "ohlc": records(
            "timestamp open high low close volume", _s(b), *_ohlc(b), b.volume, text=True)}}), "json",
        symbol="BTC/USD"),
    "KuCoin": Shape(
        lambda b: _json({"code": "200000", "data": lists(
            _s(b), b.open, b.close, b.high, b.low, b.volume, b.quote, text=True, newest_first=True)}), "json"),
    "Gate": Shape(
        lambda b: _json(lists(_s(b), b.quote, b.close, b.high, b.low, b.open, b.volume, _same(b, "true"), text=True)),
        "json"),
    "HTX": Shape(
        lambda b: _json({"status": "ok", "data": records(
            "id open close low high amount vol count", _s(b), b.open, b.close, b.low, b.high, b.volume, b.quote,
            _same(b, 5))}), "json"),
    "CryptoCompare": Shape(
        lambda b: _json({"Response": "Success", "Data": {"TimeFrom": 1, "Data": records(
            "time high low open volumefrom volumeto close", _s(b), b.high, b.low, b.open, b.volume, b.quote,
            b.close)}}), "json"),
    "CoinAPI": Shape(
        lambda b: lines("time_period_start;time_period_end;time_open;px_open;px_high;px_low;px_close;sx_cnt;sx_sum",
                        _at(b, "%Y-%m-%dT%H:%M:%S.0000000Z"), [when(t + b.step, "%Y-%m-%dT%H:%M:%S.0000000Z")
                        for t in b.times], _at(b, "%Y-%m-%dT%H:%M:07.0000000Z"), *_ohlc(b), _same(b, 1), b.volume,
                        sep=";")),
    "Alpha Vantage": Shape(_alpha, "json", steps=(DAY,), symbol="IBM"),
    "Polygon": Shape(
        lambda b: _json({"ticker": "X:BTCUSD", "results": records(
            "v vw o c h l t n", b.volume, b.close, b.open, b.close, b.high, b.low, b.times, _same(b, 9))}), "json",
        symbol="X:BTCUSD"),
    "Nasdaq": Shape(
        lambda b: lines("Date,Close/Last,Volume,Open,High,Low", _at(b, "%m/%d/%Y"), _dollars(b.close), b.volume,
                        _dollars(b.open), _dollars(b.high), _dollars(b.low), newest_first=True),
        steps=(DAY,), options={"time_format": "month-first"}),
    "Yahoo chart": Shape(_yahoo, "json", symbol="QQQ"),
    "yfinance, two rows": Shape(_two_rows, steps=(DAY,), symbol="QQQ"),
    "MetaTrader 4": Shape(lambda b: lines(None, _at(b, "%Y.%m.%d"), _at(b, "%H:%M"), *_ohlc(b), b.volume)),
    "MetaTrader 5": Shape(
        lambda b: lines("<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
                        _at(b, "%Y.%m.%d"), _at(b, "%H:%M:%S"), *_ohlc(b), _same(b, 5), b.volume, _same(b, 2),
                        sep="\t")),
    "TradingView chart": Shape(
        lambda b: lines("time,open,high,low,close,Volume,Volume MA,MA,MA", _s(b), *_ohlc(b), b.volume, b.close, b.high,
                        b.low)),
    "TradingView": Shape(
        lambda b: _json({"s": "ok", "t": _s(b), "o": b.open, "h": b.high, "l": b.low, "c": b.close, "v": b.volume}),
        "json"),
    "Dukascopy": Shape(
        lambda b: lines("Gmt time,Open,High,Low,Close,Volume", _at(b, "%d.%m.%Y %H:%M:%S.000"), *_ohlc(b), b.volume),
        options={"time_format": "day-first"}),
    "HistData": Shape(lambda b: lines(None, _at(b, "%Y%m%d %H%M%S"), *_ohlc(b), b.volume, sep=";")),
    "CryptoDataDownload": Shape(
        lambda b: lines("https://www.CryptoDataDownload.com\nUnix,Date,Symbol,Open,High,Low,Close,Volume USDT,"
                        "Volume BTC", b.times, _at(b, "%Y-%m-%d %H:%M:%S"), _same(b, "BTCUSDT"), *_ohlc(b), b.quote,
                        b.volume, newest_first=True), symbol="BTCUSDT"),
    "CryptoDataDownload with AM and PM": Shape(
        lambda b: lines("Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USD", _at(b, "%Y-%m-%d %I-%p"),
                        _same(b, "BTCUSD"), *_ohlc(b), b.volume, b.quote), steps=(HOUR, DAY), symbol="BTCUSD"),
    "Hyperliquid": Shape(
        lambda b: _json(records("t T s i o c h l v n", b.times, _ends(b), _same(b, "BTC"), _same(b, "1h"), b.open,
                                b.close, b.high, b.low, b.volume, _same(b, 3))), "json", symbol="BTC"),
    "dYdX": Shape(
        lambda b: _json({"candles": records(
            "startedAt ticker low high open close baseTokenVolume usdVolume orderbookMidPriceClose",
            _at(b, "%Y-%m-%dT%H:%M:%S.000Z"), _same(b, "BTC-USD"), b.low, b.high, b.open, b.close, b.volume, b.quote,
            b.high, text=True)}), "json", symbol="BTC-USD"),
    "CoinGecko market_chart": Shape(
        lambda b: _json({"prices": lists(b.times, b.close), "market_caps": lists(b.times, b.quote),
                         "total_volumes": lists(b.times, b.quote)}), "json", "c"),
    "CoinMarketCap": Shape(
        lambda b: lines("timeOpen;timeClose;timeHigh;open;high;low;close;marketCap;timestamp",
                        _at(b, "%Y-%m-%dT%H:%M:%S.000Z"), [when(t, "%Y-%m-%dT%H:%M:%S.999Z") for t in _ends(b)],
                        _at(b, "%Y-%m-%dT%H:%M:%S.000Z"), *_ohlc(b), b.quote,
                        [when(t, "%Y-%m-%dT%H:%M:%S.999Z") for t in _ends(b)], sep=";", newest_first=True),
        parts="ohlc"),
    "Kaggle, numbered": Shape(
        lambda b: lines(f"Unnamed: 0,timestamp,{_BARS}", range(len(b.times)), b.times, *_ohlc(b), b.volume)),
    "ccxt": Shape(lambda b: _json(lists(b.times, *_ohlc(b), b.volume)), "json"),
    "pandas by column": Shape(_by_column, "json"),
    "wide": Shape(lambda b: lines("date,BTC,ETH", _at(b, "%Y-%m-%d %H:%M"), b.close, b.high), parts="c",
                  options={"symbol": "BTC"}, symbol="BTC"),
    "newest first": Shape(lambda b: lines(f"time,{_BARS}", _s(b), *_ohlc(b), b.volume, newest_first=True)),
    "header repeated": Shape(_again),
    "unit that changes": Shape(_changing),
    "ns": Shape(lambda b: lines(f"ts,{_BARS}", [t * 1_000_000 for t in b.times], *_ohlc(b), b.volume)),
    "seconds with a point": Shape(lambda b: lines(f"time,{_BARS}", [f"{t}.0" for t in _s(b)], *_ohlc(b), b.volume)),
    "YYYYMMDD": Shape(lambda b: lines(f"date,{_BARS}", _at(b, "%Y%m%d"), *_ohlc(b), b.volume), steps=(DAY,)),
    "YYYYMMDDHHMM": Shape(lambda b: lines(f"date,{_BARS}", _at(b, "%Y%m%d%H%M"), *_ohlc(b), b.volume)),
    "date and time": Shape(
        lambda b: lines(f"Date,Time,{_BARS}", _at(b, "%Y-%m-%d"), _at(b, "%H:%M"), *_ohlc(b), b.volume)),
    "date and hour": Shape(
        lambda b: lines(f"Date,Hour,{_BARS}", _at(b, "%Y-%m-%d"), [t // HOUR % 24 for t in b.times], *_ohlc(b),
                        b.volume), steps=(HOUR, DAY)),
    "AM and PM": Shape(
        lambda b: lines(f"Date,{_BARS}", _at(b, "%Y-%m-%d %I:%M:%S %p"), *_ohlc(b), b.volume)),
    "month names": Shape(
        lambda b: lines(f"Date\t{_BARS}".replace(",", "\t"), _at(b, "%b %d, %Y %H:%M"), *_ohlc(b), b.volume, sep="\t")),
    "offset": Shape(
        lambda b: lines(f"time,{_BARS}", [when(t + 2 * HOUR, "%Y-%m-%d %H:%M:%S+02:00") for t in b.times], *_ohlc(b),
                        b.volume)),
    "decimal comma": Shape(
        lambda b: lines(f"timestamp,{_BARS}".replace(",", ";"), b.times, *map(_comma, (*_ohlc(b), b.volume)), sep=";")),
    "thousands": Shape(
        lambda b: lines(f"timestamp,{_BARS}", b.times, *map(_thousands, (*_ohlc(b), b.volume)))),
    "bars between": Shape(lambda b: lines(f"timestamp|{_BARS}".replace(",", "|"), b.times, *_ohlc(b), b.volume,
                                          sep="|")),
    "separators that end rows": Shape(
        lambda b: lines(f"timestamp,{_BARS}", b.times, *_ohlc(b), b.volume, _same(b, ""))),
    "a line below": Shape(
        lambda b: lines(f"timestamp,{_BARS}", b.times, *_ohlc(b), b.volume) + "Downloaded from a vendor\n"),
    "empty rows": Shape(
        lambda b: lines(f"timestamp,{_BARS}", [*b.times, b.times[-1] + b.step],
                        *([*c, ""] for c in (*_ohlc(b), b.volume)))),
    "last seconds of bars": Shape(
        lambda b: lines(f"date,{_BARS}", [when(t + b.step - 1000, "%Y-%m-%d %H:%M:%S") for t in b.times], *_ohlc(b),
                        b.volume)),
}  # fmt: skip
