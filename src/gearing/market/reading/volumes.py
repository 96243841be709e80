"""Volume of bars in units of the underlying, whatever a table counts it in."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from gearing.market.reading.names import BASE_VOLUMES, Role, fold
from gearing.market.reading.table import Table

Floats = npt.NDArray[np.float64]

# Contracts of a fixed amount of quote currency, margined in coin: BTCUSD_PERP, BTC-USD-SWAP, XBTUSD, BTCUSD_240628.
_COIN_MARGINED = re.compile(r"(?i)(.+USD_(PERP|\d{6})|.+-USD-(SWAP|\d{6})|XBTUSD|.+/USD:(?!USD).+)")
_SWAP = re.compile(r"(?i).+-(SWAP|\d{6})")
_ROLLING = ("totalvolume", "totalvolumes")
_TICKS = ("tickvolume", "tickvol")
# Turnover over volume is the price where both are what they are called; within a bar it is not far from the close.
_PRICE_LIKE = (0.5, 2.0)
# How near the ratio of the two is to the size of a contract, in most rows.
_SIZE_LIKE = 1.1
_MOST = 0.9


def base_volume(table: Table, close: Floats, unit: str | float | None) -> Floats | None:
    """Returns the volume of each bar in units of the underlying, or None where it is not known.

    Args:
        table: of prices.
        close: its closes.
        unit: a person's word: "base", "quote", or the units of the underlying in one contract.
    """
    notes, names = table.notes, table.names
    own, quote, contracts = (table.values(role) for role in (Role.VOLUME, Role.QUOTE_VOLUME, Role.CONTRACTS))
    if unit is not None:
        given = next((values for values in (own, contracts, quote) if values is not None), None)
        if unit == "quote":
            given = next((values for values in (own, quote) if values is not None), None)
        if given is None:
            return None
        scaled = given if unit == "base" else given / close if unit == "quote" else given * float(unit)
        return _complete(scaled, table)
    if own is not None and fold(names[Role.VOLUME]) in _TICKS:
        notes.add(f"{names[Role.VOLUME]} counts changes of the price, no units, and is left out")
        own = None
    if own is not None:
        return _own(table, own, quote, close)
    if quote is not None and fold(names[Role.QUOTE_VOLUME]) in _ROLLING:
        notes.add(f"{names[Role.QUOTE_VOLUME]} is a sum over the last 24 h, not a bar's, and is left out")
        return None
    if quote is not None:
        notes.add(f"volume is {names[Role.QUOTE_VOLUME]} (quote currency) over the close")
        return _complete(quote / close, table)
    if contracts is not None:
        notes.add(f"{names[Role.CONTRACTS]} counts contracts and is left out; say their size with --volume-unit")
    return None


def _own(table: Table, own: Floats, quote: Floats | None, close: Floats) -> Floats:
    """The column called volume, seen against turnover and the instrument's name."""
    notes, name = table.notes, table.names[Role.VOLUME]
    if fold(name) in BASE_VOLUMES:
        return _complete(own, table)
    told = _told_by_turnover(own, quote, close) if quote is not None else None
    if told == "contracts" and quote is not None:
        other = table.names[Role.QUOTE_VOLUME]
        notes.add(f"{name} counts contracts; volume is {other} (quote currency) over the close")
        return _complete(quote / close, table)
    if told == "swapped" and quote is not None:
        other = table.names[Role.QUOTE_VOLUME]
        notes.add(f"{name} is in quote currency, as {other} beside it shows, which is read as the volume")
        return _complete(quote, table)
    if told == "other":
        other = table.names[Role.QUOTE_VOLUME]
        notes.add(
            f"{name} and {other} beside it do not give the price; {name} is read as units of the underlying; say "
            "otherwise with --volume-unit"
        )
    elif told is None and (
        _COIN_MARGINED.fullmatch(table.symbol) or (fold(name) == "vol" and _SWAP.fullmatch(table.symbol))
    ):
        notes.add(
            f"the volume of {table.symbol} is usually counted in contracts and is read as units of the underlying; "
            f"say otherwise with --volume-unit"
        )
    elif told is None and not {"marketcap", "marketcapitalization"}.isdisjoint(map(fold, notes.present)):
        notes.add(
            f"{name} beside a market capitalisation is usually in quote currency, and is read as units of the "
            "underlying; say otherwise with --volume-unit quote"
        )
    return _complete(own, table)


def _told_by_turnover(own: Floats, quote: Floats, close: Floats) -> str | None:
    """What turnover beside it shows a volume to be: "base", "contracts", "swapped" or "other"; None if nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = quote / (own * close)
        coins = own / (quote * close)
    known = np.isfinite(ratio) & (ratio > 0)
    if np.count_nonzero(known) < 3:
        return None
    middle = float(np.median(ratio[known]))
    if _PRICE_LIKE[0] < middle < _PRICE_LIKE[1]:
        return "base"
    # Contracts of 1, 10 or 100 units of quote currency, with turnover in coin; or of a power of ten in coin.
    swapped = min(_misses(coins[known] * size) for size in (1.0, 10.0, 100.0))
    contracts = _misses(ratio[known] / 10 ** round(float(np.log10(middle))))
    if min(swapped, contracts) > np.log(_SIZE_LIKE):
        return "other"
    return "swapped" if swapped < contracts else "contracts"


def _misses(ratios: Floats) -> float:
    """How far most ratios are from 1, in logarithms."""
    return float(np.quantile(np.abs(np.log(ratios)), _MOST))


def _complete(volume: Floats, table: Table) -> Floats:
    """The volume with 0 where none is known."""
    missing = np.isnan(volume)
    if missing.any():
        count = int(missing.sum())
        table.notes.add(
            f"{count:,} row{'s' if count > 1 else ''} without a volume count{'' if count > 1 else 's'} as 0"
        )
        return np.where(missing, 0.0, volume)
    return volume
