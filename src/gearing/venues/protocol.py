"""What a venue must be able to do, whether it is an exchange on the network or the paper one.

Sizes are signed integer lots of an instrument, money is in minor units of its asset, times are ms UTC, prices are
the decimals the venue wrote, as floats. A venue never repairs anything by itself: an answer that did not come is
no answer, and only `query` about the very id says what became of an order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

import msgspec

from gearing.core.instruments import MarginTier


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen record that crosses the seam."""


OrderWord = Literal["open", "filled", "cancelled", "rejected", "expired"]


class InstrumentRules(_Data, frozen=True, kw_only=True):
    """What the venue says about an instrument.

    Args:
        symbol: the venue's name of it.
        asset: what it settles in.
        lot: the smallest step of a size, units of the underlying per lot, a decimal.
        tick: the smallest step of a price, a decimal; "0": any.
        min_notional: the smallest order, in the asset.
        max_lots: the largest order, in lots; 0: none.
        tiers: the maintenance-margin brackets.
        funding_interval_ms: between two settlements; 0: it has none.
        delisted_ms: when trading ends; 0: not known to.
    """

    symbol: str
    asset: str
    lot: str
    tick: str = "0"
    min_notional: float = 0.0
    max_lots: int = 0
    tiers: tuple[MarginTier, ...] = ()
    funding_interval_ms: int = 0
    delisted_ms: int = 0


class OrderRequest(_Data, frozen=True, kw_only=True):
    """An order: immediate or cancel, at the market.

    Args:
        client_id: at most 32 letters and digits; its identity for ever.
        lots: signed.
        reduce_only: it may only lower the position.
        worst_price: beyond it nothing is traded; None: any.
        signed_ms: when it was signed; the venue refuses it `window_ms` later.
    """

    client_id: str
    symbol: str
    lots: int
    reduce_only: bool = False
    worst_price: float | None = None
    signed_ms: int
    window_ms: int = 2_000


class Trade(_Data, frozen=True, kw_only=True):
    """One fill, as the venue booked it.

    Args:
        trade_id: unique at the venue.
        commission: ≥ 0, in minor units of `asset`.
        realised: profit of the part that closed, minor units.
    """

    trade_id: str
    client_id: str
    symbol: str
    lots: int
    price: float
    commission: int
    asset: str
    realised: int
    time_ms: int


class OrderStatus(_Data, frozen=True, kw_only=True):
    """What the venue knows of one order."""

    client_id: str
    symbol: str
    word: OrderWord
    lots: int
    filled: int
    reason: str = ""
    time_ms: int


class Forced(_Data, frozen=True, kw_only=True):
    """The venue closed a position, or a part of it, by itself.

    Args:
        lots: signed change of the position.
        charge: commission and liquidation fee, minor units, ≥ 0.
        deleveraged: by auto-deleveraging.
    """

    trade_id: str
    symbol: str
    lots: int
    price: float
    charge: int
    realised: int
    deleveraged: bool
    time_ms: int


class FundingPayment(_Data, frozen=True, kw_only=True):
    """What one settlement paid into (out of: < 0) the wallet.

    Args:
        lots: the position it was worked out on.
        amount: minor units.
    """

    symbol: str
    settlement_ms: int
    rate: float
    mark: float
    lots: int
    amount: int


class Settled(_Data, frozen=True, kw_only=True):
    """A settlement of funding, whoever held anything; a positive rate is paid by longs."""

    symbol: str
    settlement_ms: int
    rate: float
    mark: float


class Received(_Data, frozen=True, kw_only=True):
    """Money that came into the account, and that nobody asked for by `transfer`.

    Args:
        id: the venue's, which no other has.
        amount: minor units; > 0.
    """

    id: str
    time_ms: int
    asset: str
    amount: int


class Quote(_Data, frozen=True, kw_only=True, gc=False):
    """A price of one instrument.

    Args:
        time_ms: the venue's own time of it.
        mark: the price positions are marked at.
        index: the price of the underlying that the mark is held against; NaN: unknown.
        volume_24h: traded in the 24 h before, units of the underlying; 0: unknown.
        funding_rate: predicted for the next settlement; a positive one is paid by longs. None: nothing is predicted.
        funding_ms: when that is; 0: unknown.
    """

    symbol: str
    time_ms: int
    mark: float
    index: float
    volume_24h: float = 0.0
    funding_rate: float | None = None
    funding_ms: int = 0


class Setting(_Data, frozen=True, kw_only=True):
    """How an instrument is margined in this account."""

    leverage: float
    margin_mode: Literal["cross", "isolated"]


class Statement(_Data, frozen=True, kw_only=True):
    """The account at one instant.

    Args:
        positions: lots by symbol; a symbol that is absent is flat.
        costs: what those positions cost by average cost, signed, minor units of the asset it settles in, by asset.
        wallet: minor units by asset, without unrealised profit.
        maintenance: margin asked for, minor units of the asset it settles in, by asset.
    """

    time_ms: int
    positions: dict[str, int]
    costs: dict[str, int]
    wallet: dict[str, int]
    maintenance: dict[str, int]


Report = OrderStatus | Trade | Forced | FundingPayment


class RefusedError(Exception):
    """The venue said no, so the order does not exist. Whatever else `place` raises means that its fate is unknown.

    Args:
        code: the venue's own word for it, such as "expired", "margin", "size", "reduce_only", "halted".
    """

    def __init__(self, code: str, words: str = "") -> None:
        super().__init__(words or code)
        self.code = code


class GatewayError(Exception):
    """Something in front of the venue answered in its place: 429, or 5xx. What became of the request is unknown.

    Args:
        status: of the answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the venue's gateway answered {status}")
        self.status = status


class Venue(Protocol):
    """One account at a venue. Every method may fail; only `RefusedError` is an answer."""

    name: str
    # How long after its arrival an order may still be missing from `query`.
    visibility_delay_ms: int

    async def instruments(self) -> list[InstrumentRules]:
        """Returns the rules of every instrument."""
        ...

    async def place(self, order: OrderRequest) -> OrderStatus:
        """Places an order and returns its status.

        Raises:
            RefusedError: the venue refused it; it does not exist.
        """
        ...

    async def cancel(self, client_id: str) -> None:
        """Cancels what is left of an order; nothing happens where nothing is left."""
        ...

    async def query(self, client_id: str) -> OrderStatus | None:
        """Returns what the venue knows of an order, or None if it knows none of this id."""
        ...

    async def fills(self, client_id: str) -> list[Trade]:
        """Returns all fills of an order so far; of one that it does not know, none."""
        ...

    async def open_orders(self) -> list[OrderStatus]:
        """Returns the orders that may still be filled."""
        ...

    async def statement(self) -> Statement:
        """Returns positions, wallet and margin at one instant."""
        ...

    async def funding_payments(self, since_ms: int) -> list[FundingPayment]:
        """Returns the settlements booked after a time."""
        ...

    async def settlements(self, symbol: str, since_ms: int) -> list[Settled]:
        """Returns the settlements of an instrument after a time, whether the account held anything of it or not."""
        ...

    async def forced_trades(self, since_ms: int) -> list[Forced]:
        """Returns what the venue closed by itself after a time."""
        ...

    async def received(self, since_ms: int) -> list[Received]:
        """Returns the money that came in unasked after a time."""
        ...

    async def setting(self, symbol: str) -> Setting:
        """Returns how an instrument is margined."""
        ...

    async def set_setting(self, symbol: str, setting: Setting) -> None:
        """Asks for another leverage or margin mode; read back with `setting`."""
        ...

    async def transfer(self, asset: str, amount: int, reference: str) -> None:
        """Moves money into (out of: < 0) the account, once per reference."""
        ...

    def quotes(self, symbols: list[str]) -> AsyncIterator[Quote]:
        """Yields prices as they come; ends or raises when the stream breaks."""
        ...

    def reports(self) -> AsyncIterator[Report]:
        """Yields what happens to this account; may repeat, reorder or lose, so `query` and `fills` decide."""
        ...
