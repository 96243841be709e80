"""What a venue is asked, as records: the same in process and over a socket."""

from __future__ import annotations

from typing import Any

import msgspec

from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Listing
from gearing.venues.protocol import (
    Forced,
    FundingPayment,
    InstrumentRules,
    OrderRequest,
    OrderStatus,
    Quote,
    Received,
    Setting,
    Settled,
    Statement,
    Trade,
)


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="ask"):
    """A frozen request."""


class Instruments(_Request, frozen=True, kw_only=True, tag="instruments"):
    """The rules of every instrument."""


class Place(_Request, frozen=True, kw_only=True, tag="place"):
    """Place an order."""

    order: OrderRequest


class Cancel(_Request, frozen=True, kw_only=True, tag="cancel"):
    """Cancel what is left of an order."""

    client_id: str


class Query(_Request, frozen=True, kw_only=True, tag="query"):
    """What is known of an order?"""

    client_id: str


class Fills(_Request, frozen=True, kw_only=True, tag="fills"):
    """The fills of an order."""

    client_id: str


class OpenOrders(_Request, frozen=True, kw_only=True, tag="open_orders"):
    """The orders that may still be filled."""


class GetStatement(_Request, frozen=True, kw_only=True, tag="statement"):
    """Positions, wallet and margin."""


class Payments(_Request, frozen=True, kw_only=True, tag="payments"):
    """Settlements booked after a time."""

    since_ms: int


class Settlements(_Request, frozen=True, kw_only=True, tag="settlements"):
    """Settlements of an instrument after a time."""

    symbol: str
    since_ms: int


class ForcedTrades(_Request, frozen=True, kw_only=True, tag="forced"):
    """What the venue closed by itself after a time."""

    since_ms: int


class Unasked(_Request, frozen=True, kw_only=True, tag="received"):
    """Money that came in unasked after a time."""

    since_ms: int


class GetSetting(_Request, frozen=True, kw_only=True, tag="get_setting"):
    """How is an instrument margined?"""

    symbol: str


class PutSetting(_Request, frozen=True, kw_only=True, tag="put_setting"):
    """Another leverage or margin mode."""

    symbol: str
    setting: Setting


class Transfer(_Request, frozen=True, kw_only=True, tag="transfer"):
    """Move money in (out: < 0), once per reference."""

    asset: str
    amount: int
    reference: str


Request = (
    Instruments | Place | Cancel | Query | Fills | OpenOrders | GetStatement | Payments | Settlements | ForcedTrades
    | Unasked | GetSetting | PutSetting | Transfer
)  # fmt: skip

ANSWERS: dict[type, Any] = {
    Instruments: list[InstrumentRules], Place: OrderStatus, Cancel: None, Query: OrderStatus | None,
    Fills: list[Trade], OpenOrders: list[OrderStatus], GetStatement: Statement, Payments: list[FundingPayment],
    Settlements: list[Settled], ForcedTrades: list[Forced], Unasked: list[Received], GetSetting: Setting,
    PutSetting: None, Transfer: None,
}  # fmt: skip
"""What each request is answered with."""


class TakeQuotes(_Request, frozen=True, kw_only=True, tag="take_quotes"):
    """True prices of one instant, from the feed; they set the exchange's time."""

    quotes: tuple[Quote, ...]


class Advance(_Request, frozen=True, kw_only=True, tag="advance"):
    """The exchange's time goes on to this."""

    now_ms: int


class SetRate(_Request, frozen=True, kw_only=True, tag="set_rate"):
    """A settlement of funding to come."""

    rate: Rate


class List(_Request, frozen=True, kw_only=True, tag="list"):
    """List an instrument, if it is not listed yet."""

    listing: Listing


class Delist(_Request, frozen=True, kw_only=True, tag="delist"):
    """Trading in an instrument ends at a time; what is held then is closed at the mark."""

    symbol: str
    at_ms: int


class Resize(_Request, frozen=True, kw_only=True, tag="resize"):
    """The contract size of an instrument changes; positions keep their size in units of the underlying."""

    symbol: str
    lot: str


class Give(_Request, frozen=True, kw_only=True, tag="give"):
    """Somebody sends money into an account, unasked."""

    account: str
    asset: str
    amount: int


class Outage(_Request, frozen=True, kw_only=True, tag="outage"):
    """The venue cannot be reached for so long."""

    length_ms: int


Control = TakeQuotes | Advance | SetRate | List | Delist | Resize | Give | Outage
