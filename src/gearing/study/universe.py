"""One rule on many underlyings: each over its own life, from listing to delisting, and one long frame of all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import polars as pl

from gearing.core.record import Shown
from gearing.core.token import Token
from gearing.errors import DataError, DataWarning, InputError
from gearing.market.files import read_funding, read_prices
from gearing.market.reading.names import TableKind
from gearing.market.reading.table import symbols_in
from gearing.market.series import Funding, Prices
from gearing.market.symbols import underlying_of
from gearing.market.times import Moment
from gearing.study.native import library_of, native
from gearing.study.result import Result


class Universe:
    """Underlyings, each with its prices, its funding and the time it was listed.

    Args:
        prices: symbol -> anything `read_prices` reads; or one table that holds several symbols.
        funding: symbol -> anything `read_funding` reads, or one table; None: no funding. A symbol may have none.
        listed: symbol -> when it was listed; what was known before is left out. Without a date: all prices.
        delisted: symbol -> when it was delisted; what was known from then on is left out.

    Raises:
        InputError: there is no symbol, or a date is of none of them.
    """

    def __init__(
        self,
        prices: Any,
        *,
        funding: Any = None,
        listed: Mapping[str, Moment] | None = None,
        delisted: Mapping[str, Moment] | None = None,
    ) -> None:
        self.library = library_of(prices, funding)
        self._prices, self._funding = _by_symbol(prices, TableKind.PRICES), _by_symbol(funding, TableKind.FUNDING)
        if not self._prices:
            raise InputError("a universe needs prices of at least one symbol.", where="Universe", fix="Give some.")
        self._listed, self._delisted = dict(listed or {}), dict(delisted or {})
        unknown = [name for name in (*self._listed, *self._delisted, *self._funding) if name not in self._prices]
        if unknown:
            known = ", ".join(list(self._prices)[:8])
            raise InputError(
                f"there are no prices of {unknown[0]}.", where="Universe", fix=f"There are those of {known}."
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order given."""
        return tuple(self._prices)

    def series(self) -> Iterator[tuple[str, Prices, Funding | None]]:
        """Yields each symbol with its prices and funding while it was listed.

        Raises:
            DataError: a symbol has no prices between its listing and its delisting.
        """
        for symbol, source in self._prices.items():
            start, end = self._listed.get(symbol), self._delisted.get(symbol)
            try:
                prices = source(read_prices).between(start, end)
            except DataError as error:
                raise DataError(error.what, where=symbol, fix=error.fix) from None
            paid = self._funding.get(symbol)
            funding = None if paid is None else _within(paid(read_funding), prices)
            yield symbol, prices, funding

    def __repr__(self) -> str:
        shown = ", ".join(self.symbols[:6]) + (", …" if len(self.symbols) > 6 else "")
        return f"Universe({len(self.symbols)}: {shown})"


def _by_symbol(source: Any, kind: TableKind) -> dict[str, Callable[[Any], Any]]:
    """What reads the series of each symbol."""
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return {str(name): _reading(one, None) for name, one in source.items() if one is not None}
    held = symbols_in(source, kind)
    if held is None:
        what = "one table of a universe says whose its rows are."
        raise InputError(what, where="Universe", fix="Give a column symbol, or a dictionary symbol -> series.")
    return {name: _reading(source, name) for name in held}


def _reading(source: Any, symbol: str | None) -> Callable[[Any], Any]:
    return lambda read: read(source, symbol=symbol) if symbol is not None else read(source)


def _within(funding: Funding, prices: Prices) -> Funding | None:
    """The settlements of a life; None where there are none."""
    try:
        return funding.between(int(prices.times_ms[0]), int(prices.times_ms[-1]) + 1)
    except DataError:
        warnings.warn(f"{prices.symbol or 'a symbol'} has no funding while it was listed; none is charged", DataWarning,
                      stacklevel=4)  # fmt: skip
        return None


class UniverseResult(Shown):
    """What one or several tokens did on each underlying of a universe.

    Args:
        results: for each token and symbol, in that order.
        library: of the frames: "polars", or "pandas" where the prices came from there.
    """

    def __init__(self, results: Mapping[tuple[str, str], Result], library: Any) -> None:
        self.results, self._library = dict(results), library

    @property
    def frame(self) -> Any:
        """One long frame, a row for each bar: token, symbol, and the columns of `Result.nav`."""
        parts = [
            result.polars.nav.select(pl.lit(token).alias("token"), pl.lit(symbol).alias("symbol"), pl.all())
            for (token, symbol), result in self.results.items()
        ]
        return native(pl.concat(parts), self._library)

    @property
    def summaries(self) -> Any:
        """One row for each token and symbol: token, symbol, and the figures of `Result.summary`."""
        rows = [
            {"token": token, **msgspec.structs.asdict(result.summary()), "symbol": symbol}
            for (token, symbol), result in self.results.items()
        ]
        frame = pl.DataFrame(rows, infer_schema_length=None)
        return native(frame.select("token", "symbol", pl.exclude("token", "symbol")), self._library)

    def __getitem__(self, symbol: str) -> Result:
        found = [result for (_, name), result in self.results.items() if name == symbol]
        if len(found) != 1:
            known = ", ".join(dict.fromkeys(name for _, name in self.results))
            raise InputError(
                f"{symbol!r} names {len(found)} results.", where="UniverseResult", fix=f"Symbols: {known}."
            )
        return found[0]

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        wiped = sum(result.summary().wiped_out for result in self.results.values())
        symbols = len({symbol for _, symbol in self.results})
        return f"UniverseResult({len(self)} runs on {symbols} symbols, {wiped} wiped out)"


def over_universe(
    tokens: list[Token], universe: Universe, beside: tuple[Any, Any], run: Callable[[Token, Prices, Any], Result]
) -> UniverseResult:
    """Returns what tokens of one leg did on each underlying of a universe.

    Args:
        tokens: the specifications; the symbol of their leg is replaced.
        universe: the underlyings.
        beside: funding and dividends given beside the universe, which are refused.
        run: runs one token on one underlying.

    Raises:
        InputError: a token has several legs, two have one symbol, or funding stands beside the universe.
    """
    funding, dividends = beside
    if funding is not None:
        raise InputError("a universe has its own funding.", where="funding", fix="Give it to Universe(funding=...).")
    if dividends is not None:
        what = "dividends belong to one underlying, and a universe has several."
        raise InputError(what, where="dividends", fix="Give adjusted closes.")
    for token in tokens:
        if len(token.legs) != 1:
            what = f"{token.symbol} has {len(token.legs)} legs, and a universe gives one underlying at a time."
            raise InputError(what, where="tokens", fix="Give tokens of one leg.")
    names = [token.symbol for token in tokens]
    if len(set(names)) < len(names):
        rules = (token.rule if isinstance(token.rule, str) else token.rule.name for token in tokens)
        names = [f"{token.symbol} {rule}".strip() for token, rule in zip(tokens, rules, strict=True)]
    if len(set(names)) < len(names):
        raise InputError("two tokens have one symbol and one rule.", where="tokens", fix="Name them apart.")
    results: dict[tuple[str, str], Result] = {}
    series = list(universe.series())
    for name, token in zip(names, tokens, strict=True):
        for symbol, prices, paid in series:
            leg = msgspec.structs.replace(token.legs[0], symbol=underlying_of(prices.symbol) or symbol)
            results[name, symbol] = run(msgspec.structs.replace(token, legs=(leg,)), prices, paid)
    return UniverseResult(results, universe.library)
