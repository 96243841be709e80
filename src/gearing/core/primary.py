"""The terms of a token's primary market: when flows are dealt, and how much may come in or go out."""

from __future__ import annotations

from typing import Literal

from gearing.core.record import Check, Record, duration_ms

DealingMode = Literal["forward", "instant"]
DEALING_MODES: tuple[DealingMode, ...] = ("forward", "instant")


class Primary(Record, frozen=True, kw_only=True):
    """How units are created and redeemed.

    Args:
        dealing: "forward": every flow is dealt at its own hedge's price; "instant": quotes are given as well.
        window: requests of so long are netted against each other, and the rest is hedged together.
        least: of one subscription, in settlement currency.
        largest: of one request, in settlement currency; of a redemption, what its units are worth.
        holder_per_day: of all of one holder's requests of a side on a UTC day.
        total_per_day: of all requests of a side on a UTC day.
        swing: of a quote, a fraction: what it stands off the iNAV besides the fee.
        quote_lasts: how long a quote binds.
        quote_move: it is void once the iNAV moved by this fraction.
        quote_hedge: so much may stand open on the issuer's dealing account, in settlement currency.
    """

    dealing: DealingMode = "forward"
    window: str = "1m"
    least: float = 1.0
    largest: float | None = None
    holder_per_day: float | None = None
    total_per_day: float | None = None
    swing: float = 0.001
    quote_lasts: str = "10s"
    quote_move: float = 0.002
    quote_hedge: float = 100_000.0

    def __post_init__(self) -> None:
        check = Check(self)
        check.choice("dealing", DEALING_MODES)
        check.duration("window", optional=False)
        check.duration("quote_lasts", optional=False)
        check.number("least", 0, strict=True)
        for place in ("largest", "holder_per_day", "total_per_day"):
            check.number(place, 0, strict=True, optional=True)
        check.number("swing", 0, 0.5)
        check.number("quote_move", 0, 0.5, strict=True)
        check.number("quote_hedge", 0)
        check.done()

    @property
    def window_ms(self) -> int:
        """How long requests are netted."""
        return duration_ms(self.window)
