"""Volume of bars in units of the underlying, whatever a table counts it in."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from gearing.market.reading.names import Role, fold
from gearing.market.reading.table import Table

Floats = npt.NDArray[np.float64]

# Contracts of a fixed amount of quote currency, margined in coin: BTCUSD_PERP, BTC-USD-SWAP, XBTUSD, BTCUSD_240628.
_COIN_MARGINED = re.compile(r"(?i)(.+USD_(PERP|\d{6})|.+-USD-(SWAP|\d{6})|XBTUSD|.+/USD:(?!USD).+)")
_SWAP = re.compile(r"(?i).+-(SWAP|\d{6})")
_ROLLING = ("totalvolume", "totalvolumes")
_BASE = ("volccy", "basevolume", "volumebase")


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
    if own is not None:
        name = names[Role.VOLUME]
        if fold(name) not in _BASE and (
            _COIN_MARGINED.fullmatch(table.symbol) or (fold(name) == "vol" and _SWAP.fullmatch(table.symbol))
        ):
            notes.add(
                f"the volume of {table.symbol} is usually counted in contracts and is read as units of the underlying; "
                f"say otherwise with --volume-unit"
            )
        return _complete(own, table)
    if quote is not None and fold(names[Role.QUOTE_VOLUME]) in _ROLLING:
        notes.add(f"{names[Role.QUOTE_VOLUME]} is a sum over the last 24 h, not a bar's, and is left out")
        return None
    if quote is not None:
        notes.add(f"volume is {names[Role.QUOTE_VOLUME]} (quote currency) over the close")
        return _complete(quote / close, table)
    if contracts is not None:
        notes.add(f"{names[Role.CONTRACTS]} counts contracts and is left out; say their size with --volume-unit")
    return None


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
