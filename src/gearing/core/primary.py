"""The terms of a token's primary market: when flows are dealt, and how much may come in or go out."""

from __future__ import annotations

from gearing.core.record import Check, Record, duration_ms


class Primary(Record, frozen=True, kw_only=True):
    """How units are created and redeemed.

    Args:
        window: requests of so long are netted against each other, and the rest is hedged together.
        match_over: matched requests change hands at the time-weighted mark of this last part of the window, at most
            half of it and 10 minutes; only requests that were accepted before are dealt.
        match_divergence: a window whose average mark and index are further apart is postponed.
        least: of one subscription, in settlement currency.
        least_redemption: of one redemption, what its units are worth; None: the equity that half a lot hedges. Less is
            redeemed only as all that a holder has, once a day.
        largest: of one request, in settlement currency; of a redemption, what its units are worth.
        holder_per_day: of all of one holder's requests of a side on a UTC day.
        total_per_day: of all requests of a side on a UTC day.
        quote_valid: how long a firm quote may be accepted; None: no quotes are given, all requests are dealt forward.
        quote_swing: the spread of a firm quote around iNAV, a fraction of it, before the measured cost of hedging. A
            quote is void once iNAV has moved against the dealing account by more than this.
        quote_margin: the dealing account needs own funds of this fraction of its open exposure, open quotes included.
        quote_share: open quotes of one holder, with all its sub-holders, bind at most this fraction of the dealing
            account's money.
    """

    window: str = "1m"
    match_over: str = "30s"
    match_divergence: float = 0.005
    least: float = 1.0
    least_redemption: float | None = None
    largest: float | None = None
    holder_per_day: float | None = None
    total_per_day: float | None = None
    quote_valid: str | None = None
    quote_swing: float = 0.001
    quote_margin: float = 0.1
    quote_share: float = 0.5

    def __post_init__(self) -> None:
        check = Check(self)
        check.duration("window", optional=False)
        check.duration("match_over", most="10m", optional=False)
        check.number("match_divergence", 0, 1, strict=True)
        check.number("least", 0, strict=True)
        check.number("least_redemption", 0, optional=True)
        for place in ("largest", "holder_per_day", "total_per_day"):
            check.number(place, 0, strict=True, optional=True)
        check.duration("quote_valid", optional=True)
        check.number("quote_swing", 0, 0.5)
        check.number("quote_margin", 0, strict=True)
        check.number("quote_share", 0, 1, strict=True)
        check.done()

    @property
    def window_ms(self) -> int:
        """How long requests are netted."""
        return duration_ms(self.window)

    @property
    def match_ms(self) -> int:
        """Over how long matched requests are priced."""
        return min(duration_ms(self.match_over), self.window_ms // 2)

    @property
    def quote_ms(self) -> int:
        """How long a quote may be taken; 0: none is given."""
        return 0 if self.quote_valid is None else duration_ms(self.quote_valid)
