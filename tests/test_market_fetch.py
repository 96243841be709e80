"""Downloads through ccxt's real Binance client from a local server that plays the exchange."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import polars as pl
import pytest

from gearing.errors import DataError, FetchError, InputError
from gearing.market import fetch as module
from gearing.market.fetch import Progress, fetch, open_exchange
from gearing.market.files import read_funding, read_prices

pytest.importorskip("ccxt")

MINUTE = 60_000
HOUR = 3_600_000
T0 = 1_700_000_040_000 // MINUTE * MINUTE
MARKET = "BTC/USDT:USDT"

_SYMBOL = {
    "symbol": "BTCUSDT",
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404800000,
    "onboardDate": T0,
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 2,
    "quantityPrecision": 3,
    "baseAssetPrecision": 8,
    "quotePrecision": 8,
    "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "1", "maxPrice": "9999999"}],
}


class Venue:
    """Plays the four endpoints; `faults` are answered first, one per request to klines or funding."""

    def __init__(self) -> None:
        self.bars = 2_500
        self.holes: set[int] = set()
        self.faults: list[tuple[int, str]] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stall_after: int | None = None
        self.now = T0 + self.bars * MINUTE + 20_000
        venue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlparse(self.path)
                status, body = venue.answer(url.path, {k: v[0] for k, v in parse_qs(url.query).items()})
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(BrokenPipeError):  # a killed client does not wait for its answer
                    self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        if path.endswith("/exchangeInfo"):
            return 200, json.dumps({"symbols": [_SYMBOL], "assets": [], "rateLimits": []}).encode()
        if path.endswith("/time"):
            return 200, json.dumps({"serverTime": self.now}).encode()
        self.requests.append((path, query))
        if self.faults:
            status, text = self.faults.pop(0)
            return status, text.encode()
        if self.stall_after is not None and len(self.requests) > self.stall_after:
            time.sleep(30)
        rows = self.klines(query) if path.endswith("/klines") else self.funding(query)
        return 200, json.dumps(rows).encode()

    def klines(self, query: dict[str, str]) -> list[list[Any]]:
        first = max(0, -(-(int(query["startTime"]) - T0) // MINUTE))
        # The last one is still open.
        numbers = [i for i in range(first, self.bars + 1) if i not in self.holes][: int(query["limit"])]
        return [
            [
                T0 + i * MINUTE,
                *(f"{100 + i}.0", f"{101 + i}.5", f"{99 + i}.5", f"{101 + i}.0", f"{i}.25"),
                *(T0 + (i + 1) * MINUTE - 1, "0", 1, "0", "0", "0"),
            ]
            for i in numbers
        ]

    def funding(self, query: dict[str, str]) -> list[dict[str, Any]]:
        since, limit = int(query["startTime"]), int(query["limit"])
        # Binance stamps some settlements a few milliseconds late.
        times = [(T0 // (8 * HOUR) + 1 + k) * 8 * HOUR + k % 7 for k in range(30)]
        chosen = [(k, t) for k, t in enumerate(times) if t >= since and t <= self.now][:limit]
        return [{"symbol": "BTCUSDT", "fundingTime": t, "fundingRate": f"{k * 1e-5:.8f}"} for k, t in chosen]

    def client(self) -> Any:
        import ccxt

        exchange = ccxt.binanceusdm({"enableRateLimit": True, "rateLimit": 1, "timeout": 5_000})
        exchange.urls["api"] = {
            name: url.replace("https://fapi.binance.com", self.base) for name, url in exchange.urls["api"].items()
        }
        return exchange


@pytest.fixture
def venue() -> Iterator[Venue]:
    venue = Venue()
    yield venue
    venue.server.shutdown()
    venue.server.server_close()


def run(venue: Venue, out: Path, **options: Any) -> Any:
    client = venue.client()
    options = {"since": T0, "sleep": lambda _: None, **options}
    try:
        return fetch("binance", MARKET, out=out, exchange=client, **options)
    finally:
        client.session.close()


def test_pages_are_joined_and_the_open_bar_is_left_out(venue: Venue, tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = run(venue, tmp_path / "p.parquet", progress=seen.append)
    frame = pl.read_parquet(tmp_path / "p.parquet")
    assert frame.columns == ["timestamp", "open", "high", "low", "close", "volume", "symbol"]
    assert frame.schema["timestamp"] == pl.Datetime("ms", "UTC")
    assert frame["timestamp"].to_physical().to_list() == [T0 + i * MINUTE for i in range(2_500)]
    assert frame["close"].to_list() == [101.0 + i for i in range(2_500)]
    assert frame["volume"].to_list() == [i + 0.25 for i in range(2_500)]
    assert frame["symbol"].unique().to_list() == ["BTCUSDT"]
    assert (result.rows, result.added, result.gaps, result.symbol) == (2_500, 2_500, (), "BTCUSDT")
    assert len(venue.requests) == 3
    assert [step.rows for step in seen] == [1_000, 2_000, 2_500, 2_500]
    assert seen[-1].at_ms == seen[-1].until_ms == venue.now
    assert [step.at_ms for step in seen] == sorted(step.at_ms for step in seen)
    assert read_prices(tmp_path / "p.parquet").times_ms[0] == T0 + MINUTE


def test_until_is_left_out(venue: Venue, tmp_path: Path) -> None:
    result = run(venue, tmp_path / "p.parquet", since=T0 + 5 * MINUTE, until=T0 + 1_200 * MINUTE)
    assert result.rows == 1_195
    assert pl.read_parquet(tmp_path / "p.parquet")["close"][-1] == 101.0 + 1_199


def test_the_same_command_goes_on_where_it_ended(venue: Venue, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    run(venue, out, until=T0 + 700 * MINUTE)
    venue.requests.clear()
    result = run(venue, out)
    assert (result.rows, result.added) == (2_500, 1_800)
    assert int(venue.requests[0][1]["startTime"]) == T0 + 700 * MINUTE
    whole = tmp_path / "whole.parquet"
    run(venue, whole)
    assert pl.read_parquet(out).equals(pl.read_parquet(whole))
    venue.requests.clear()
    assert run(venue, out).added == 0


def test_funding_keeps_the_stamps_and_the_reader_floors_them(venue: Venue, tmp_path: Path) -> None:
    out = tmp_path / "f.parquet"
    venue.now = T0 + 4 * 24 * HOUR
    result = run(venue, out, kind="funding")
    assert result.rows == 12
    assert result.gaps == ()
    venue.now = T0 + 9 * 24 * HOUR
    assert run(venue, out, kind="funding").added == 15
    funding = read_funding(out)
    assert (funding.times_ms % (8 * HOUR) == 0).all()
    assert funding.rates.tolist() == pytest.approx([k * 1e-5 for k in range(27)], abs=1e-12)


def test_what_passes_is_tried_again(venue: Venue, tmp_path: Path) -> None:
    venue.faults = [(429, '{"code":-1003,"msg":"Too many requests"}'), (503, "busy"), (502, "")]
    waits: list[float] = []
    result = run(venue, tmp_path / "p.parquet", sleep=waits.append)
    assert result.rows == 2_500
    assert waits == sorted(waits)
    assert len(waits) == 3
    assert 0 < waits[0] <= waits[-1] <= 30


def test_an_exchange_that_stays_away_ends_after_five_tries_and_keeps_what_came(venue: Venue, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    real = venue.klines

    def once(query: dict[str, str]) -> list[list[Any]]:
        venue.faults = [(503, "down")] * 50
        return real(query)

    venue.klines = once  # type: ignore[method-assign]
    with pytest.raises(FetchError, match=r"cannot be reached after 5 tries"):
        run(venue, out)
    assert len(venue.requests) == 6
    assert len(pl.read_parquet(out)) == 1_000
    venue.klines, venue.faults = real, []  # type: ignore[method-assign]
    assert run(venue, out).rows == 2_500


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (451, '{"code":0,"msg":"Service unavailable from a restricted location according to the terms."}'),
        (403, "<html>The request could not be satisfied</html>"),
    ],
)
def test_a_closed_region_is_said_plainly_and_not_tried_again(
    venue: Venue, tmp_path: Path, status: int, body: str
) -> None:
    venue.faults = [(status, body)] * 9
    waits: list[float] = []
    with pytest.raises(FetchError, match="binance refuses connections from this region"):
        run(venue, tmp_path / "p.parquet", sleep=waits.append)
    assert waits == []
    assert list(tmp_path.iterdir()) == []


def test_a_number_451_in_an_ordinary_fault_is_no_closed_region(venue: Venue, tmp_path: Path) -> None:
    venue.faults = [(503, '{"msg":"451"}')]
    assert run(venue, tmp_path / "p.parquet").rows == 2_500


def test_gaps_are_found(venue: Venue, tmp_path: Path) -> None:
    venue.holes = {*range(300, 420), 1_999, 2_000}
    result = run(venue, tmp_path / "p.parquet")
    assert [(gap.after_ms, gap.missing) for gap in result.gaps] == [
        (T0 + 299 * MINUTE, 120),
        (T0 + 1_998 * MINUTE, 2),
    ]


def test_an_exchange_that_serves_windows_is_walked_through_a_hole(venue: Venue, tmp_path: Path) -> None:
    venue.holes = set(range(300, 1_000))
    real = venue.klines

    def window(query: dict[str, str]) -> list[list[Any]]:
        end = int(query["startTime"]) + 100 * MINUTE
        return [row for row in real(query) if row[0] < end]

    venue.klines = window  # type: ignore[method-assign]
    assert run(venue, tmp_path / "p.parquet").rows == 1_800


def test_a_kill_in_the_middle_leaves_a_valid_file_to_go_on_from(venue: Venue, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    venue.stall_after = 2
    script = f"""
        import sys; sys.path[:0] = {sys.path!r}
        import ccxt
        from gearing.market import fetch as module
        module._PAGES_PER_SAVE = 1
        exchange = ccxt.binanceusdm({{"rateLimit": 1}})
        exchange.urls["api"] = {{
            name: url.replace("https://fapi.binance.com", {venue.base!r})
            for name, url in exchange.urls["api"].items()
        }}
        module.fetch("binance", {MARKET!r}, since={T0}, out={str(out)!r}, exchange=exchange)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    deadline = time.monotonic() + 20
    while len(venue.requests) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(pl.read_parquet(out)) == 2_000
    venue.stall_after = None
    result = run(venue, out)
    assert (result.rows, result.added) == (2_500, 500)


def test_a_save_that_fails_leaves_the_older_file(venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "p.parquet"
    run(venue, out, until=T0 + 700 * MINUTE)
    before = out.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="disk is full"):
        run(venue, out)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_of_something_else_is_not_continued(venue: Venue, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    run(venue, out, until=T0 + 700 * MINUTE)
    with pytest.raises(DataError, match="holds bars of 1m, not 1h"):
        run(venue, out, timeframe="1h")
    with pytest.raises(DataError, match="does not hold funding"):
        run(venue, out, kind="funding")
    pl.read_parquet(out).with_columns(pl.lit("ETHUSDT").alias("symbol")).write_parquet(out)
    with pytest.raises(DataError, match="holds ETHUSDT, not BTCUSDT"):
        run(venue, out)
    out.write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match="no Parquet file"):
        run(venue, out)
    assert out.read_bytes() == b"PAR1 but no more"


def test_wrong_names_are_answered_with_near_ones(venue: Venue, tmp_path: Path) -> None:
    client = venue.client()
    out = tmp_path / "p.parquet"
    with pytest.raises(FetchError, match="Did you mean BTC/USDT:USDT"):
        fetch("binance", "BTC/USDT", since=T0, out=out, exchange=client)
    with pytest.raises(FetchError, match=r"no bars of '7m'.*It has: .*1m"):
        fetch("binance", MARKET, since=T0, out=out, exchange=client, timeframe="7m")
    with pytest.raises(FetchError, match="is empty"):
        fetch("binance", MARKET, since=T0, until=T0, out=out, exchange=client)
    venue.bars = -1
    with pytest.raises(FetchError, match="has no prices"):
        fetch("binance", MARKET, since=T0, until=T0 + MINUTE, out=out, exchange=client)
    with pytest.raises(FetchError, match=r"Did you mean .*binance"):
        open_exchange("binnance")
    client.session.close()
    assert not out.exists()


def test_binance_perpetuals_have_an_address_of_their_own() -> None:
    assert open_exchange("binance", MARKET).id == "binanceusdm"
    assert open_exchange("binance", "BTC/USD:BTC").id == "binancecoinm"
    assert open_exchange("binance", "BTC/USDT").id == "binance"
    assert open_exchange("okx", MARKET).enableRateLimit


def test_a_missing_ccxt_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(InputError, match=r'pip install "gearing\[fetch\]"'):
        module.open_exchange("binance")
