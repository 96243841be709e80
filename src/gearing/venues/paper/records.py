"""What a paper exchange remembers: frozen records, each saved under its kind and key when it changes."""

from __future__ import annotations

import msgspec

from gearing.venues.protocol import OrderRequest, OrderStatus, OrderWord, Setting, Trade


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen record of the exchange's own."""


class Rate(Kept, frozen=True, kw_only=True):
    """A settlement of funding to come: a positive rate is paid by longs."""

    symbol: str
    settlement_ms: int
    rate: float


class Clock(Kept, frozen=True, kw_only=True):
    """The exchange's time, its generator, its counters.

    Args:
        now_ms: its time.
        draws: state of its generator.
        orders, trades: how many there were.
        settled_ms: the last settlement of each symbol.
    """

    now_ms: int = 0
    draws: int = 0
    orders: int = 0
    trades: int = 0
    settled_ms: dict[str, int] = {}


class Position(Kept, frozen=True, kw_only=True):
    """A position: signed lots, and what they cost, signed, in minor units."""

    lots: int = 0
    basis: int = 0


class Account(Kept, frozen=True, kw_only=True):
    """An account. Wallets are minor units by asset, without unrealised profit; they may be below zero."""

    name: str
    wallet: dict[str, int] = {}
    positions: dict[str, Position] = {}
    settings: dict[str, Setting] = {}


class Moved(Kept, frozen=True, kw_only=True):
    """A transfer into (out of: < 0) an account, once per reference."""

    asset: str
    amount: int
    time_ms: int


class Order(Kept, frozen=True, kw_only=True):
    """An order that was accepted, with its fills.

    Args:
        account: whose.
        number: in the order of acceptance.
        request: as it was asked for.
        accepted_ms: when it was accepted.
        match_ms: when it is matched.
        visible_ms: from when on queries know it.
        word: what became of it.
        reason: why not more of it was filled.
        ended_ms: when it ended; 0 while it is open.
        trades: its fills.
    """

    account: str
    number: int
    request: OrderRequest
    accepted_ms: int
    match_ms: int
    visible_ms: int
    word: OrderWord = "open"
    reason: str = ""
    ended_ms: int = 0
    trades: tuple[Trade, ...] = ()

    @property
    def key(self) -> str:
        """Under which it is saved: the last order of a client id hides those before it."""
        return f"{self.account}/{self.request.client_id}"

    @property
    def status(self) -> OrderStatus:
        """What the venue says of it."""
        filled = sum(trade.lots for trade in self.trades)
        return OrderStatus(
            client_id=self.request.client_id, symbol=self.request.symbol, word=self.word, lots=self.request.lots,
            filled=filled, reason=self.reason, time_ms=self.ended_ms or self.accepted_ms,
        )  # fmt: skip
