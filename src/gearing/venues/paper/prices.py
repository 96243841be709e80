"""Prices as a broken venue publishes them: the true quotes of the feed, distorted by seed before anyone sees them."""

from __future__ import annotations

import math

import msgspec

from gearing.venues.paper.draws import Draws
from gearing.venues.paper.setup import Faults
from gearing.venues.protocol import Quote

_AHEAD_MS = 3_600_000
_SPIKE = 10.0


class _Stretch:
    """A quote that is published in place of the true ones, for so many more of them."""

    def __init__(self, quote: Quote, left: int, *, dead: bool) -> None:
        self.quote, self.left, self.dead = quote, left, dead


class Publisher:
    """Publishes quotes, with the faults of prices.

    Args:
        faults: at which rates.
        draws: its generator.
    """

    def __init__(self, faults: Faults, draws: Draws) -> None:
        self._faults, self._draws = faults, draws
        self._stretches: dict[str, _Stretch] = {}
        self._single = tuple(
            (rate, name) for name in ("nan", "infinite", "zero", "negative", "spike", "future")
            if (rate := getattr(faults, f"price_{name}")) > 0.0
        )  # fmt: skip
        self.is_true = not (self._single or faults.price_frozen or faults.price_dead)

    def published(self, quote: Quote) -> Quote:
        """Returns what is published in place of a true quote."""
        if self.is_true:
            return quote
        running = self._stretches.get(quote.symbol)
        if running is None:
            running = self._begun(quote)
        if running is not None:
            running.left -= 1
            if running.left <= 0:
                del self._stretches[quote.symbol]
            return running.quote if running.dead else msgspec.structs.replace(running.quote, time_ms=quote.time_ms)
        for rate, name in self._single:
            if self._draws.chance(rate):
                return self._distorted(quote, name)
        return quote

    def _begun(self, quote: Quote) -> _Stretch | None:
        for rate, dead in ((self._faults.price_frozen, False), (self._faults.price_dead, True)):
            if self._draws.chance(rate):
                self._stretches[quote.symbol] = _Stretch(quote, self._faults.price_stretch, dead=dead)
                return self._stretches[quote.symbol]
        return None

    def _distorted(self, quote: Quote, name: str) -> Quote:
        if name == "future":
            return msgspec.structs.replace(quote, time_ms=quote.time_ms + _AHEAD_MS)
        factor = _SPIKE if self._draws.below(2) else 1.0 / _SPIKE
        mark = {
            "nan": math.nan, "infinite": math.inf if factor > 1.0 else -math.inf, "zero": 0.0,
            "negative": -quote.mark, "spike": quote.mark * factor,
        }[name]  # fmt: skip
        return msgspec.structs.replace(quote, mark=mark)
