"""Reading a venue's maintenance-margin brackets: a Parquet history of them, or JSON as ccxt or Binance gives it."""

from __future__ import annotations

import difflib
import gzip
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from gearing import files
from gearing.core.instruments import MarginTier, Perpetual
from gearing.errors import DataError, SpecError
from gearing.market.times import Moment, iso, moment_ms

_HISTORY = ("vintage", "symbol", "max_notional", "maint_margin_rate", "maint_amount_cum")
_KINDS = (
    "Give a Parquet history (columns vintage, symbol, max_notional, maint_margin_rate, maint_amount_cum), the JSON "
    "of ccxt's fetch_leverage_tiers, or that of Binance's leverageBracket; JSON may be gzipped."
)

# What stands behind the pair in a spelling: the settlement currency, the kind, or the day of expiry.
_EXPIRY = re.compile(r"[-_](\d{6})$")
_KIND = re.compile(r"[-_](SWAP|PERP)$")


class TierSet(NamedTuple):
    """The brackets of one contract: the file's spelling of it, since when they held (ms; None: undated)."""

    symbol: str
    since_ms: int | None
    tiers: tuple[MarginTier, ...]


class _Bracket(NamedTuple):
    """A bracket as a file has it: upper edge, rate, and the cumulative amount, if it stands there."""

    notional_max: float
    rate: float
    amount: float | None


def read_margin_tiers(
    path: str | Path, *, symbol: str | None = None, at: Moment | None = None
) -> tuple[MarginTier, ...]:
    """Returns a venue's maintenance-margin brackets of one contract, as `Perpetual.margin_tiers` takes them.

    Args:
        path: a Parquet history of brackets, or JSON (also gzipped): ccxt's unified leverage tiers, or Binance's
            own leverageBracket answer.
        symbol: the contract, in any usual spelling: BTCUSDT, BTC/USDT, BTC/USDT:USDT; a dated future is
            BTCUSDT_240927 or BTC/USDT:USDT-240927. Needed if the file holds several.
        at: of a history, the set in force then (ISO text, date, datetime or ms; without a zone, UTC); None is
            the contract's last.

    Returns:
        The brackets, smallest first: edges and amounts in settlement currency, rates as fractions.

    Raises:
        DataError: the file cannot be read, is something else, or knows no such contract or time.

    Source: Binance, "Leverage and Margin of USDⓈ-M Futures": maintenance margin = notional·rate − amount, with
        amount_k = amount_(k−1) + edge_(k−1)·(rate_k − rate_(k−1)), so that it does not jump at an edge. Where a
        file leaves the amounts out they are worked out by this.
    """
    return read_tier_set(path, symbol=symbol, at=at).tiers


def read_tier_set(path: str | Path, *, symbol: str | None = None, at: Moment | None = None) -> TierSet:
    """Returns what `read_margin_tiers` does, with the file's name of the contract and the date of the set.

    Args:
        path, symbol, at: as there.

    Raises:
        DataError: as there.
    """
    place = files.readable(path, DataError)
    with place.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        name, since_ms, brackets = _from_history(place, symbol, at)
    else:
        if at is not None:
            what = "the file holds one set of brackets without its date, so there is none to choose at a time."
            raise DataError(what, where=place.name, fix="Leave the time out, or give a Parquet history.")
        table = _from_json(place, zipped=head.startswith(b"\x1f\x8b"))
        name, since_ms = _chosen(table, symbol, place.name), None
        brackets = table[name]
    return TierSet(name, since_ms, _tiers(brackets, f"{place.name}, {name}"))


def folded_symbol(symbol: str) -> str:
    """Returns one spelling for all of a contract's: "BTCUSDT" of "btc/usdt:usdt", "BTCUSDT_240927" of a future."""
    name = symbol.strip().upper()
    expiry = _EXPIRY.search(name)
    name = _KIND.sub("", _EXPIRY.sub("", name)).partition(":")[0]
    return re.sub(r"[-_/]", "", name) + (f"_{expiry[1]}" if expiry else "")


def _from_history(path: Path, symbol: str | None, at: Moment | None) -> tuple[str, int, list[_Bracket]]:
    where = path.name
    try:
        frame = pl.scan_parquet(path, glob=False)
        present = frame.collect_schema().names()
        if missing := [name for name in _HISTORY if name not in present]:
            what = f"there is no column {missing[0]!r}; the columns are: {', '.join(present[:20])}."
            raise DataError(what, where=where, fix=_KINDS)
        table = frame.select(
            pl.col("vintage").cast(pl.Datetime("ms")).dt.epoch("ms"),
            pl.col("symbol").cast(pl.String),
            *(pl.col(name).cast(pl.Float64) for name in _HISTORY[2:]),
        ).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise DataError(f"the table cannot be read: {reason}.", where=where, fix="It may be damaged.") from error
    if not len(table):
        raise DataError("the table holds no brackets.", where=where, fix=_KINDS)
    names = table["symbol"].unique().to_list()
    mine = [_chosen(names, None, where)] if symbol is None else _spellings(names, symbol, where)
    rows = table.filter(pl.col("symbol").is_in(mine))
    last = rows["vintage"].max() if at is None else table.filter(pl.col("vintage") <= moment_ms(at))["vintage"].max()
    if last is None:
        first = iso(int(table["vintage"].min()))[:10]  # type: ignore[arg-type]
        raise DataError(
            f"no brackets are known at {at}: the first are of {first}.", where=where, fix="Ask for a later time."
        )
    rows = rows.filter(pl.col("vintage") == last)
    since_ms = int(last)  # type: ignore[arg-type]
    if not len(rows):
        known = table.filter(pl.col("symbol").is_in(mine))["vintage"]
        period = f"{iso(int(known.min()))[:10]} to {iso(int(known.max()))[:10]}"  # type: ignore[arg-type]
        what = f"the set in force at {at}, of {iso(since_ms)[:10]}, does not hold {symbol}; sets of {period} do."
        raise DataError(what, where=where, fix="Choose another time, or another contract.")
    name = _chosen(rows["symbol"].unique().to_list(), symbol, where)
    edges = rows.filter(pl.col("symbol") == name).select(_HISTORY[2:]).rows()
    return name, since_ms, [_Bracket(_edge(edge), rate, amount) for edge, rate, amount in edges]


def _from_json(path: Path, *, zipped: bool) -> dict[str, list[_Bracket]]:
    where = path.name
    try:
        raw = path.read_bytes()
        payload = msgspec.json.decode(gzip.decompress(raw) if zipped else raw)
    except (OSError, EOFError) as error:
        raise DataError("the gzip file is damaged.", where=where, fix="Write it again.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the file holds no valid JSON: {error}.", where=where, fix=_KINDS) from None
    if isinstance(payload, dict) and "exchangeInfo" not in payload and isinstance(payload.get("symbols"), list):
        what = "this is a list of markets (exchangeInfo), which states no brackets of maintenance margin."
        raise DataError(what, where=where, fix=_KINDS)
    try:
        table = _raw(payload) or _unified(payload)
    except (LookupError, TypeError, ValueError, AttributeError):
        table = {}
    if not table:
        raise DataError("the file holds no leverage tiers in a known form.", where=where, fix=_KINDS)
    return table


def _raw(payload: Any) -> dict[str, list[_Bracket]]:
    """Binance's own form: one record, or a list of them, with `brackets`."""
    records = payload if isinstance(payload, list) else [payload]
    return {
        str(record["symbol"]): [
            _Bracket(_edge(row["notionalCap"]), float(row["maintMarginRatio"]), _amount(row.get("cum")))
            for row in record["brackets"]
        ]
        for record in records
        if "brackets" in record
    }


def _unified(payload: Any) -> dict[str, list[_Bracket]]:
    """The unified form of ccxt: lists of tiers by symbol, or one list; amounts stand in the raw part, if at all."""
    if isinstance(payload, list):
        payload = {str(payload[0].get("symbol") or ""): payload}
    table = {}
    for symbol, rows in payload.items():
        table[str(symbol)] = [
            _Bracket(
                _edge(row["maxNotional"]),
                float(row["maintenanceMarginRate"]),
                _amount((row.get("info") or {}).get("cum")),
            )
            for row in rows
        ]
    return table


def _edge(value: Any) -> float:
    # Binance's oldest sets write the largest 64-bit integer for a bracket without an upper edge.
    return math.inf if value is None or float(value) >= 2.0**63 else float(value)


def _amount(value: Any) -> float | None:
    return None if value is None else float(value)


def _tiers(brackets: list[_Bracket], where: str) -> tuple[MarginTier, ...]:
    tiers: list[MarginTier] = []
    try:
        for row in sorted(brackets, key=lambda bracket: bracket.notional_max):
            amount = row.amount
            if amount is None:
                low = tiers[-1] if tiers else MarginTier(rate=row.rate)
                step = low.notional_max * (row.rate - low.rate) if tiers else 0.0
                amount = low.amount + step
            tiers.append(MarginTier(notional_max=row.notional_max, rate=row.rate, amount=amount))
        return Perpetual(margin_tiers=tuple(tiers)).margin_tiers
    except SpecError as error:
        what = f"the brackets contradict each other: {error.problems[0]}"
        raise DataError(what, where=where, fix="Fetch them again.") from None


def _spellings(names: Iterable[str], symbol: str, where: str) -> list[str]:
    """The names in a file that mean one contract; a venue's spelling may change in the course of a history."""
    wanted = folded_symbol(symbol)
    known = {name: folded_symbol(name) for name in names}
    found = sorted(name for name, key in known.items() if key == wanted)
    if found:
        return found
    near = difflib.get_close_matches(wanted, sorted(set(known.values())), n=3, cutoff=0.6)
    near = near or sorted({key for key in known.values() if wanted in key})[:3]
    hint = (
        f"Did you mean {' or '.join(near)}?"
        if near
        else f"It holds {len(known):,}, such as {', '.join(sorted(known)[:5])}."
    )
    raise DataError(f"there is no contract {symbol!r}.", where=where, fix=hint)


def _chosen(names: Iterable[str], symbol: str | None, where: str) -> str:
    """The one name that a symbol means; one spelled exactly so goes before others."""
    known = sorted(names)
    if symbol is None:
        if len(known) != 1:
            shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise DataError(
                f"it holds {len(known):,} contracts: {shown}.",
                where=where,
                fix="Choose one with --symbol (symbol= in Python).",
            )
        return known[0]
    found = _spellings(known, symbol, where)
    if symbol not in found and len(found) > 1:
        what = f"{symbol!r} may mean {' or '.join(found)}."
        raise DataError(what, where=where, fix="Give one of these names.")
    return symbol if symbol in found else found[0]
