"""What a symbol names: its underlying and its quote currency, in the spelling of any venue."""

from __future__ import annotations

import re

from gearing.errors import DataError

_QUOTES = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD", "EUR", "GBP", "JPY", "KRW", "TRY", "BRL", "AUD")
_NAMES = "|".join(_QUOTES)
# BTCUSDT, BTC/USDT:USDT, BTC-USD-SWAP, BTC_USDT, BTCUSD_PERP, BTCUSDT Perpetual.
_PAIR = re.compile(rf"([A-Za-z0-9]+?)[-_/]?({_NAMES})(?:[-_/: ].*)?", re.IGNORECASE)
# BTC-PERP, BTC-PERPETUAL, BTC-28JUN24, ETH_240628, QQQ.US.
_KIND = re.compile(r"([A-Za-z0-9]+)(?:[-_. ](?:PERP|PERPETUAL|SWAP|SPOT|INDEX|US|\d.*))", re.IGNORECASE)
_VENUE = re.compile(r"(?:[A-Za-z]+:|P[FI]_|F[FI]_|t(?=[A-Z]{6}$))(?=.+)")
# Quotes that end in another one; without a separator, an underlying before them has at least three letters.
_LONGER_USD = ("BUSD", "TUSD")
_SHORTEST = 3
_SAME = {"XXBTZ": "BTC", "XETHZ": "ETH", "XBT": "BTC", "XXBT": "BTC", "XETH": "ETH", "XDG": "DOGE"}


def underlying_of(symbol: str) -> str:
    """Returns the underlying that a series is of: "BTC" of "BTCUSDT", "BTC/USDT:USDT", "BTC-PERP" and "BTC"."""
    bare = _VENUE.sub("", symbol.strip(), count=1)
    match = _PAIR.fullmatch(bare) or _KIND.fullmatch(bare)
    name = match[1] if match else symbol.strip()
    if match is not None and match.re is _PAIR and len(name) < _SHORTEST and match[2].upper() in _LONGER_USD:
        # DOTUSD is of DOT, not of DO in TUSD.
        name = bare[: len(name) + len(match[2]) - 3]
    return _SAME.get(name.upper(), name)


def quote_of(symbol: str) -> str | None:
    """Returns the quote currency that a symbol names, or None."""
    match = _PAIR.fullmatch(_VENUE.sub("", symbol.strip(), count=1))
    if match is None:
        return None
    quote = match[2].upper()
    return "USD" if quote in _LONGER_USD and len(match[1]) < _SHORTEST else quote


def is_same_underlying(one: str, other: str) -> bool:
    """Returns whether two symbols name one underlying; one that is empty contradicts none."""
    return not one or not other or not _candidates(one).isdisjoint(_candidates(other))


def _candidates(symbol: str) -> set[str]:
    """The underlyings that a symbol can be of: SHIBUSD may be SHIB in USD or SHI in BUSD."""
    bare = _VENUE.sub("", symbol.strip(), count=1).upper()
    found = {underlying_of(symbol).upper()}
    if any(bare.endswith(quote) for quote in _LONGER_USD) and bare.isalnum():
        found.add(_SAME.get(bare[:-3], bare[:-3]))
    return found


def check_underlying(wanted: str, symbol: str, what: str = "prices") -> None:
    """Checks that prices or dividends are of what a token holds.

    Args:
        wanted: the symbol of the token's leg; "" if it has none.
        symbol: whose the series is; "" if it does not say.
        what: the series: "prices" or "dividends".

    Raises:
        DataError: they are of something else.
    """
    if not is_same_underlying(wanted, symbol):
        raise DataError(
            f"the token holds {wanted}, but the {what} are of {symbol}.",
            where=what,
            fix=f"Give {what} of {wanted}; or, if they are the same, say --underlying {wanted} "
            f'(in Python: read_prices(..., symbol="{wanted}") of the series).',
        )
