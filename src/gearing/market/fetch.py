"""Downloading prices and funding from an exchange into a Parquet file that may be continued at any time."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gearing.errors import FetchError, InputError
from gearing.market.fetch_file import Fetched, FetchFile, Kind
from gearing.market.times import DAY_MS, Moment, iso, moment_ms

_PAGE_ROWS = 1_000
_PAGES_PER_SAVE = 50
_TRIES = 5
_WAIT_S_MAX = 30.0

# An exchange that serves a window of time answers an empty page inside a hole; it is stepped over by no more
# rows than the smallest page among the large exchanges (OKX: 100).
_WINDOW_ROWS = 100
_FUNDING_STEP_MS = 3_600_000

# Asking for years before a market began costs requests; yet BTCUSDT on Binance has bars 17 days older than
# the date of its listing.
_BEFORE_LISTING_MS = 60 * DAY_MS

# ccxt has one class for a closed region and for a maintenance; the status in its text tells them apart.
_REFUSED = re.compile(r" (451|403) |restricted location|not available in your (country|region)", re.IGNORECASE)


class Progress(NamedTuple):
    """How far a download is: rows now in hand, the moment reached, and both ends of what was asked for."""

    rows: int
    at_ms: int
    since_ms: int
    until_ms: int


def open_exchange(exchange_id: str, market: str = "") -> Any:
    """Returns ccxt's client of an exchange, held to its rate limit.

    Args:
        exchange_id: ccxt's name, such as "binance", "bybit" or "okx".
        market: the market to come; Binance keeps its perpetuals at an address of their own.

    Raises:
        InputError: ccxt is not installed, or knows no such exchange.
    """
    try:
        import ccxt
    except ImportError:
        raise InputError("downloads need ccxt.", fix='Install it: pip install "gearing[fetch]".') from None
    name = exchange_id.lower()
    if name == "binance" and ":" in market:
        name = "binanceusdm" if market.rpartition(":")[2].startswith("USD") else "binancecoinm"
    if name not in ccxt.exchanges:
        near = difflib.get_close_matches(name, ccxt.exchanges, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Give ccxt's name, such as binance, bybit or okx."
        raise FetchError(f"there is no exchange {exchange_id!r}.", fix=hint)
    return getattr(ccxt, name)({"enableRateLimit": True})


def fetch(
    exchange_id: str,
    market: str,
    *,
    since: Moment,
    out: str | Path,
    until: Moment | None = None,
    timeframe: str = "1m",
    kind: Kind = "prices",
    progress: Callable[[Progress], None] | None = None,
    exchange: Any = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Downloads bars or funding settlements, or continues a download; every interruption may be resumed.

    The file holds timestamp (a bar's open; Datetime ms UTC), open, high, low, close, volume, symbol; or
    timestamp, funding_rate, symbol. It is replaced whole every 50 pages, so a kill loses those at most. A bar
    that is still open is left out.

    Args:
        exchange_id: ccxt's name of the exchange, such as "binance".
        market: ccxt's name of the market, such as "BTC/USDT:USDT".
        since: the first stamp wanted (ISO text, datetime or ms; without a zone, UTC).
        out: the Parquet file; if it exists, it is continued after its last row, never before its first.
        until: leave out stamps at or after it; by default now.
        timeframe: of the bars, such as "1m" or "1h".
        kind: "prices" or "funding".
        progress: called after every page, and once at the end.
        exchange: a ccxt client to use in place of a new one.
        sleep: what to wait with between tries, in seconds.

    Returns:
        What the file now holds, with its gaps.

    Raises:
        FetchError: the exchange refuses, or stays away after five tries; what was saved stays valid.
        InputError: an argument, or the existing file, cannot be used.
    """
    exchange = exchange or open_exchange(exchange_id, market)
    client = _Client(exchange, exchange_id, sleep)
    client.call(exchange.load_markets)
    listed = _listed(exchange, exchange_id, market)
    step_ms = _step_ms(exchange, exchange_id, timeframe, kind)
    now_ms = int(client.call(exchange.fetch_time) if exchange.has.get("fetchTime") else exchange.milliseconds())
    until_ms = now_ms if until is None else min(moment_ms(until), now_ms)
    since_ms = max(moment_ms(since), int(listed.get("created") or 0) - _BEFORE_LISTING_MS)
    if since_ms >= until_ms:
        raise FetchError(f"the period {iso(since_ms)} to {iso(until_ms)} is empty.", fix="Give an earlier since.")

    store = FetchFile(Path(out), kind, str(listed["id"]), step_ms)
    cursor = store.next_ms(since_ms)
    try:
        for number, rows in enumerate(_pages(client, market, timeframe, kind, step_ms, cursor, until_ms, now_ms), 1):
            store.add(rows)
            if number % _PAGES_PER_SAVE == 0:
                store.save()
            if progress:
                at_ms = int(rows[-1][0]) + step_ms if rows else cursor
                progress(Progress(store.rows, min(at_ms, until_ms), since_ms, until_ms))
        if progress:
            progress(Progress(store.rows, until_ms, since_ms, until_ms))
    finally:
        # Whatever stopped the download, a signal too, the pages that arrived are kept.
        store.save()
    return store.verified(exchange_id, market)


class _Client:
    """Calls an exchange, tries again what may pass, and says plainly what will not."""

    def __init__(self, exchange: Any, name: str, sleep: Callable[[float], None]) -> None:
        self.exchange, self.name, self.sleep = exchange, name, sleep

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        import ccxt

        for attempt in range(1, _TRIES + 1):
            try:
                return method(*arguments)
            except ccxt.BaseError as error:
                reason = " ".join(str(error).split())[:300].rstrip(".") + "."
                if isinstance(error, ccxt.PermissionDenied) or _REFUSED.search(reason):
                    raise FetchError(
                        f"{self.name} refuses connections from this region: {reason}",
                        fix="Fetch from a place it serves, or from another exchange.",
                    ) from error
                if not isinstance(error, ccxt.NetworkError):
                    raise FetchError(f"{self.name} refuses the request: {reason}") from error
                if attempt == _TRIES:
                    raise FetchError(
                        f"{self.name} cannot be reached after {_TRIES} tries: {reason}",
                        fix="What was saved stays valid; the same command goes on from there.",
                    ) from error
            self.sleep(min(2.0**attempt, _WAIT_S_MAX))
        raise AssertionError("the last attempt returns or raises")


def _pages(
    client: _Client,
    market: str,
    timeframe: str,
    kind: Kind,
    step_ms: int,
    cursor: int,
    until_ms: int,
    now_ms: int,
) -> Iterator[list[list[Any]]]:
    """Pages of rows [stamp, values...], strictly rising, of closed bars within [cursor, until)."""
    exchange = client.exchange
    while cursor < until_ms:
        if kind == "prices":
            page = client.call(exchange.fetch_ohlcv, market, timeframe, cursor, _PAGE_ROWS)
            closed_ms = now_ms - step_ms
        else:
            told = client.call(exchange.fetch_funding_rate_history, market, cursor, _PAGE_ROWS)
            page = [[item["timestamp"], item["fundingRate"]] for item in told]
            closed_ms = now_ms
        usable = sorted((row for row in page if row[0] >= cursor), key=lambda row: int(row[0]))
        if not usable:
            cursor += _WINDOW_ROWS * step_ms
            continue
        rows = []
        for row in usable:
            if cursor <= row[0] < until_ms and row[0] <= closed_ms:
                rows.append(row)
                cursor = int(row[0]) + 1
        yield rows
        # A bar beyond the end, or one still open, means that nothing more is to come.
        if int(usable[-1][0]) >= cursor:
            return
        cursor = int(usable[-1][0]) + (step_ms if kind == "prices" else 1)


def _listed(exchange: Any, exchange_id: str, market: str) -> dict[str, Any]:
    if market in exchange.markets:
        listed: dict[str, Any] = exchange.markets[market]
        return listed
    near = difflib.get_close_matches(market.upper(), list(exchange.markets), n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Write a perpetual as BTC/USDT:USDT."
    raise FetchError(f"{exchange_id} has no market {market!r}.", fix=hint)


def _step_ms(exchange: Any, exchange_id: str, timeframe: str, kind: Kind) -> int:
    method = "fetchOHLCV" if kind == "prices" else "fetchFundingRateHistory"
    if not exchange.has.get(method):
        raise FetchError(f"{exchange_id} does not offer past {kind}.", fix="Use another exchange.")
    if kind == "funding":
        return _FUNDING_STEP_MS
    if timeframe not in (exchange.timeframes or {}) or timeframe.endswith("M"):
        known = ", ".join(name for name in exchange.timeframes or {} if not name.endswith("M"))
        raise FetchError(f"{exchange_id} has no bars of {timeframe!r}.", fix=f"It has: {known}.")
    return int(exchange.parse_timeframe(timeframe)) * 1_000
