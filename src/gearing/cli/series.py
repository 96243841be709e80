"""The series that backtest, compare, sweep and `token check --prices` run on, read as the options say."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gearing.cli.choose import Given, Shelf, parsed, wanted_legs, wanted_prices
from gearing.cli.compiling import loading
from gearing.cli.inputs import Stamp
from gearing.errors import DataError, DataWarning, InputError

if TYPE_CHECKING:
    from gearing.core.token import Token
    from gearing.market.rates import Dividends, Rates
    from gearing.market.reading.names import TableKind
    from gearing.market.reading.options import ReadOptions
    from gearing.market.series import Funding, Prices


class Market(NamedTuple):
    """The series a study runs on, by the names of legs and contracts.

    Args:
        prices: for each name.
        funding: for each perpetual, or None where it has none; empty if none at all is given.
        dividends: for each leg likewise.
        rates: the reference rate, or None.
        underlying: what results are held against, or None: what is held.
    """

    prices: Mapping[str, Prices]
    funding: Mapping[str, Funding | None]
    dividends: Mapping[str, Dividends | None]
    rates: Rates | None
    underlying: Prices | None

    @property
    def nameless(self) -> Prices | None:
        """The prices of a leg without a symbol, from which a preset takes its underlying."""
        return self.prices.get("")

    def for_study(self) -> dict[str, Any]:
        """Returns them as the arguments of a study."""
        return {
            "prices": self.prices,
            "funding": self.funding or None,
            "dividends": self.dividends or None,
            "rates": self.rates,
            "underlying": self.underlying,
        }

    def needs_legs(self, tokens: Sequence[Token]) -> bool:
        """Returns whether one of the tokens is more than a perpetual, so that the kernel for any legs runs."""
        from gearing.core.legs import is_plain

        given = {
            "rates": self.rates is not None,
            "dividends": bool(self.dividends),
            "underlying": self.underlying is not None,
        }
        return not all(is_plain(token, **given) for token in tokens)


class SeriesOptions(NamedTuple):
    """The options that name series, as they were given; prices, funding and dividends are FILE or NAME=FILE."""

    prices: Sequence[Path]
    funding: Sequence[Path] | None = None
    dividends: Sequence[Path] | None = None
    rates: str | None = None
    underlying_prices: Path | None = None
    symbol: str | None = None
    stamp: Stamp = Stamp.OPEN
    start: str | None = None
    end: str | None = None
    underlying: str | None = None
    reading: ReadOptions | None = None
    rates_unit: str | None = None

    def files(self) -> list[Path]:
        """Returns the files that are read, which no answer may be written over.

        Raises:
            InputError: a value names no series.
        """
        shelves = [parsed("--prices", self.prices), parsed("--funding", self.funding or ())]
        shelves.append(parsed("--dividends", self.dividends or ()))
        shelves.append([] if self.rates is None else parsed("--rates", [Path(self.rates)]))
        shelves.append(
            [] if self.underlying_prices is None else parsed("--underlying-prices", [self.underlying_prices])
        )
        return [given.file for shelf in shelves for given in shelf]

    def load(self, tokens: Sequence[Token]) -> Market:
        """Reads the series that tokens need.

        Warns:
            DataWarning: something given is not used, is missing, or belongs to another underlying.

        Raises:
            InputError: a leg has no prices, a name belongs to no leg, or a file cannot be read or used.
        """
        with loading():
            from gearing.market.reading.names import TableKind
            from gearing.market.symbols import check_underlying

        self._check_symbol(tokens)
        shelf = Shelf("--prices", parsed("--prices", self.prices), TableKind.PRICES, self.symbol, self._options)
        prices = {
            name: self._prices(file, symbol)
            for name, (file, symbol) in shelf.choose(wanted_prices(tokens), all_of_them=True).items()
        }
        for name in shelf.named:
            _note_of_another(name, prices[name].symbol)
            # Whoever names a file says whose it is.
            prices[name] = replace(prices[name], symbol=name)
        if self.underlying is not None:
            prices = {name: replace(one, symbol=name or one.symbol) for name, one in prices.items()}
        for want in wanted_prices(tokens):
            check_underlying(want.name, prices[want.name].symbol)
        funding, dividends = self._funding(tokens, prices), self._dividends(tokens)
        return Market(prices, funding, dividends, self._rates(tokens), self._underlying())

    @property
    def _options(self) -> ReadOptions:
        from gearing.market.reading.options import ReadOptions

        return self.reading or ReadOptions()

    def _prices(self, file: Path, symbol: str | None) -> Prices:
        from gearing.market.files import read_prices

        options = self._options
        return read_prices(
            file,
            symbol=symbol,
            stamp=self.stamp.value,
            start=self.start,
            end=self.end,
            time_format=options.time_format,
            columns=options.columns,
            decimal=options.decimal,
            volume_unit=options.volume_unit,
            # Dividends are paid beside raw closes; adjusted ones have them already.
            adjusted=not self.dividends,
        )

    def _funding(self, tokens: Sequence[Token], prices: Mapping[str, Prices]) -> dict[str, Funding | None]:
        if not self.funding:
            return {}
        from gearing.market.files import read_funding
        from gearing.market.reading.names import TableKind

        given, perpetuals = parsed("--funding", self.funding), wanted_legs(tokens, perpetuals=True)
        if not perpetuals:
            _warn("--funding is not used: no perpetual is held")
            return {}
        shelf = Shelf("--funding", given, TableKind.FUNDING, self.symbol, self._options)
        chosen = shelf.choose(perpetuals, all_of_them=False)
        found: dict[str, Funding | None] = {}
        for want in perpetuals:
            if want.name not in chosen:
                found[want.name] = None
                _warn(f"{want.name or want.token} has no funding; none is charged")
                continue
            file, symbol = chosen[want.name]
            priced, options = prices[want.name], self._options
            # What is cut is cut to the prices, whose days a person means.
            found[want.name] = read_funding(
                file,
                symbol=symbol,
                start=None if self.start is None else int(priced.times_ms[0]),
                end=None if self.end is None else int(priced.times_ms[-1]) + 1,
                time_format=options.time_format,
                columns=None if isinstance(options.columns, list) else options.columns,
                decimal=options.decimal,
                funding_unit=options.funding_unit,
            )
        return found

    def _dividends(self, tokens: Sequence[Token]) -> dict[str, Dividends | None]:
        if not self.dividends:
            return {}
        from gearing.market.rates import read_dividends
        from gearing.market.reading.names import TableKind
        from gearing.market.reading.options import ReadOptions

        given, legs = parsed("--dividends", self.dividends), wanted_legs(tokens, perpetuals=False)
        shelf = Shelf("--dividends", given, TableKind.DIVIDENDS, self.symbol, ReadOptions())
        chosen = shelf.choose(legs, all_of_them=False)
        found: dict[str, Dividends | None] = {want.name: None for want in legs}
        for name, (file, symbol) in chosen.items():
            paying = read_dividends(file, symbol=symbol, stamp=self.stamp.value, time_format=self._options.time_format)
            # They are rare, so that a period without any is no fault.
            try:
                found[name] = paying.between(self.start, self.end)
            except DataError:
                _warn(f"{paying.symbol or name or 'the underlying'} pays no dividend in the period")
        return found if any(found.values()) else {}

    def _check_symbol(self, tokens: Sequence[Token]) -> None:
        if self.symbol is None or any(want.alone for want in wanted_prices(tokens)):
            return
        token = tokens[0]
        kind = "legs" if len(token.legs) > 1 else "contracts"
        raise InputError(
            f"{token.symbol} has {len(wanted_prices([token]))} {kind}, and each finds its rows by its own symbol.",
            where=f"--symbol {self.symbol}",
            fix="Leave it out.",
        )

    def _rates(self, tokens: Sequence[Token]) -> Rates | None:
        from gearing.core.instruments import TotalReturnSwap

        swaps = any(isinstance(leg, TotalReturnSwap) for token in tokens for leg in token.legs)
        earning = swaps or any(token.interest_share > 0 for token in tokens)
        if self.rates is None:
            return None
        from gearing.market.rates import read_rates
        from gearing.market.reading.names import TableKind

        if (fixed := _number(self.rates)) is not None and not Path(self.rates).exists():
            if abs(fixed) >= 1:
                what = f"{fixed:g} would be {fixed * 100:,.0f} % a year."
                raise InputError(what, where=f"--rates {self.rates}", fix="Write 5% or 0.05.")
            rates = read_rates(fixed)
        else:
            given = parsed("--rates", [Path(self.rates)])[0]
            name = one_of(given, "--rates", TableKind.RATES)
            unit: Any = self.rates_unit
            found = read_rates(
                given.file,
                symbol=name,
                unit=unit,
                stamp=self.stamp.value,
                time_format=self._options.time_format,
                decimal=self._options.decimal,
            )
            rates = found.between(self.start, self.end)
        if not earning:
            _warn("--rates are not used: no swap is held, and cash earns nothing")
            return None
        return rates

    def _underlying(self) -> Prices | None:
        if self.underlying_prices is None:
            return None
        from gearing.market.reading.names import TableKind

        given = parsed("--underlying-prices", [self.underlying_prices])[0]
        return self._prices(given.file, one_of(given, "--underlying-prices", TableKind.PRICES))


def one_of(given: Given, option: str, kind: TableKind) -> str | None:
    """Returns the symbol that a single file is asked for: the name it was given with, if it holds several.

    Raises:
        InputError: it holds several, and none was named.
    """
    from gearing.market.reading.table import symbols_in

    held = symbols_in(given.file, kind)
    if given.name is None and held is not None and len(held) > 1:
        raise InputError(
            f"it holds {len(held)} series: {', '.join(held[:8])}.",
            where=given.file.name,
            fix=f"Choose one: {option} {held[0]}={given.file}.",
        )
    return given.name


def _number(text: str) -> float | None:
    from gearing.core.record import rate

    try:
        value = rate(text)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _note_of_another(name: str, symbol: str) -> None:
    from gearing.market.symbols import is_same_underlying

    if not is_same_underlying(name, symbol):
        _warn(f"the prices given for {name} are of {symbol}")


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=3)
