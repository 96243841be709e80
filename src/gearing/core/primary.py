"""The terms of a token's primary market: when flows are dealt, and how much may come in or go out."""

from __future__ import annotations

from gearing.core.record import Check, Record, duration_ms


class Primary(Record, frozen=True, kw_only=True):
    """How units are created and redeemed.

    Args:
        window: requests of so long are netted against each other, and the rest is hedged together.
        least: of one subscription, in settlement currency.
        largest: of one request, in settlement currency; of a redemption, what its units are worth.
        holder_per_day: of all of one holder's requests of a side on a UTC day.
        total_per_day: of all requests of a side on a UTC day.
    """

    window: str = "1m"
    least: float = 1.0
    largest: float | None = None
    holder_per_day: float | None = None
    total_per_day: float | None = None

    def __post_init__(self) -> None:
        check = Check(self)
        check.duration("window", optional=False)
        check.number("least", 0, strict=True)
        for place in ("largest", "holder_per_day", "total_per_day"):
            check.number(place, 0, strict=True, optional=True)
        check.done()

    @property
    def window_ms(self) -> int:
        """How long requests are netted."""
        return duration_ms(self.window)
