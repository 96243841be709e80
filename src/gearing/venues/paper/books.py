"""An account's books: profit by average cost, and the margin that is asked of it. Money is in minor units.

Money is rounded as `core.working` rounds it, so that a desk's ledger and the venue's wallet agree to the minor unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from gearing.core.instruments import MarginTier
from gearing.core.money import CEILING, FLOOR, share_of, to_minor, value_of
from gearing.venues.paper.records import Account, Position
from gearing.venues.paper.setup import Listing
from gearing.venues.protocol import Setting

FLAT = Position()
_NONE: Mapping[str, Position] = {}


@lru_cache(maxsize=4096)
def decimal_of(text: str) -> Decimal:
    """Returns a decimal that was written as text."""
    return Decimal(text)


def traded(held: Position, lots: int, lot: Decimal, price: float) -> tuple[Position, int]:
    """Returns a position after a trade, and the profit of the part that it closed.

    Args:
        held: the position before.
        lots: signed.
        lot: size of one lot, units of the underlying.
        price: of the trade.
    """
    paid = value_of(lots, lot, price, CEILING)
    realised = 0
    if held.lots and (held.lots > 0) != (lots > 0):
        closed = held.lots if abs(lots) >= abs(held.lots) else -lots
        proceeds = -paid if closed == -lots else -value_of(-closed, lot, price, CEILING)
        realised = proceeds - share_of(held.basis, closed, held.lots)
    return Position(lots=held.lots + lots, basis=held.basis + paid + realised), realised


def unrealised(held: Position, lot: Decimal, mark: float) -> int:
    """Returns what a position gained and has not yet been paid, rounded down."""
    return value_of(held.lots, lot, mark, FLOOR) - held.basis


def maintenance(tiers: tuple[MarginTier, ...], lots: int, lot: Decimal, mark: float) -> int:
    """Returns the maintenance margin of a position, rounded up; 0 where the instrument has no brackets.

    Source: Binance, "Leverage and Margin of USDⓈ-M Futures": notional · rate − amount of the notional's bracket.
    """
    if not lots or not tiers:
        return 0
    notional = value_of(abs(lots), lot, mark, CEILING) / 1e8
    tier = next((tier for tier in tiers if notional <= tier.notional_max), tiers[-1])
    return max(to_minor(notional * tier.rate - tier.amount, CEILING), 0)


class Pool(NamedTuple):
    """What stands behind positions of one asset together: equity, maintenance asked, and margin to open with."""

    equity: int
    maintenance: int
    initial: int


class _Row(NamedTuple):
    """A position in floats: units, cost, brackets, and the margin of an isolated one."""

    symbol: str
    asset: str
    q: float
    basis: float
    tiers: tuple[MarginTier, ...]
    collateral: float


# Far above what a sum of some hundred float products is off by.
_FLOAT_ERROR = 1e-9
_MINOR_ERROR = 1e-4


class Margin:
    """The margin of an account at the marks of now.

    An isolated position stands on its own margin, its cost over its leverage; the others share what is left of
    the wallet. A loss beyond an isolated position's margin falls on the wallet: there is no insurance fund.

    Args:
        listings: what is listed, by symbol.
        mark_of: the mark of a symbol.
        leverage: of an account that asked for none.
    """

    def __init__(self, listings: Mapping[str, Listing], mark_of: Callable[[str], float], leverage: float) -> None:
        self._listings, self._mark_of = listings, mark_of
        self._usual = Setting(leverage=leverage, margin_mode="cross")
        self._rows: dict[str, tuple[Account, list[_Row]]] = {}

    def setting(self, account: Account, symbol: str) -> Setting:
        """Returns how a symbol is margined in an account."""
        return account.settings.get(symbol, self._usual)

    def maintenance(self, account: Account, symbol: str) -> int:
        """Returns the maintenance margin of one position."""
        rules = self._listings[symbol].rules
        lots = account.positions.get(symbol, FLAT).lots
        return maintenance(rules.tiers, lots, decimal_of(rules.lot), self._mark_of(symbol)) if lots else 0

    def shared(self, account: Account, asset: str, instead: Mapping[str, Position] = _NONE) -> Pool:
        """Returns the pool of all positions that are not isolated.

        Args:
            account: whose.
            asset: what they settle in.
            instead: positions by symbol in place of those held.
        """
        equity, asked, initial = account.wallet.get(asset, 0), 0, 0
        for symbol, held in {**account.positions, **instead}.items():
            rules = self._listings[symbol].rules
            if rules.asset != asset or not held.lots:
                continue
            setting = self.setting(account, symbol)
            if setting.margin_mode == "isolated":
                equity -= _over(abs(held.basis), setting.leverage)
                continue
            lot, mark = decimal_of(rules.lot), self._mark_of(symbol)
            equity += unrealised(held, lot, mark)
            asked += maintenance(rules.tiers, held.lots, lot, mark)
            initial += _over(value_of(abs(held.lots), lot, mark, CEILING), setting.leverage)
        return Pool(equity, asked, initial)

    def alone(self, account: Account, symbol: str) -> Pool:
        """Returns the pool of one isolated position."""
        rules, held = self._listings[symbol].rules, account.positions.get(symbol, FLAT)
        own = _over(abs(held.basis), self.setting(account, symbol).leverage)
        gained = unrealised(held, decimal_of(rules.lot), self._mark_of(symbol))
        return Pool(own + gained, self.maintenance(account, symbol), 0)

    def doomed(self, account: Account, symbol: str) -> str | None:
        """Returns the position that the venue closes next, after a price of a symbol; None if it closes none."""
        if self.setting(account, symbol).margin_mode == "isolated":
            if symbol not in account.positions:
                return None
            pool = self.alone(account, symbol)
            return symbol if 0 < pool.maintenance >= pool.equity else None
        asset = self._listings[symbol].rules.asset
        if self._is_far(account, asset):
            return None
        pool = self.shared(account, asset)
        if not 0 < pool.maintenance >= pool.equity:
            return None
        sharing = [
            name for name in account.positions
            if self._listings[name].rules.asset == asset and self.setting(account, name).margin_mode == "cross"
        ]  # fmt: skip
        return max(sharing, key=lambda name: self.maintenance(account, name))

    def _is_far(self, account: Account, asset: str) -> bool:
        """Returns whether equity is so far above maintenance that floats show it: a price must cost little."""
        known = self._rows.get(account.name)
        if known is None or known[0] is not account:
            known = self._rows[account.name] = account, [self._row(account, symbol) for symbol in account.positions]
        spare = size = account.wallet.get(asset, 0) / 1e8
        for row in known[1]:
            if row.asset != asset:
                continue
            if row.collateral:
                spare -= row.collateral
                continue
            value = row.q * self._mark_of(row.symbol)
            notional = abs(value)
            spare += value - row.basis
            size += notional + abs(row.basis)
            if row.tiers:
                tier = next((tier for tier in row.tiers if notional <= tier.notional_max), row.tiers[-1])
                spare -= notional * tier.rate - tier.amount
        return spare > abs(size) * _FLOAT_ERROR + _MINOR_ERROR

    def _row(self, account: Account, symbol: str) -> _Row:
        rules, held, setting = self._listings[symbol].rules, account.positions[symbol], self.setting(account, symbol)
        alone = _over(abs(held.basis), setting.leverage) / 1e8 if setting.margin_mode == "isolated" else 0.0
        return _Row(symbol, rules.asset, held.lots * float(rules.lot), held.basis / 1e8, rules.tiers, alone)


def _over(amount: int, leverage: float) -> int:
    return to_minor(amount / 1e8 / leverage, CEILING)
