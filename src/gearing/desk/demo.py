"""The demo: four tokens on an invented market, with a past."""

from __future__ import annotations

import time

import msgspec

from gearing.core import catalog
from gearing.core.fees import Costs, Fees
from gearing.core.instruments import MarginTier, Perpetual
from gearing.core.primary import Primary
from gearing.core.rule import Rule, Schedule
from gearing.core.token import Token

# Two hours before the end of a day: at 600 times the daily rebalances come within seconds of the start.
_START_MS = 1_767_304_800_000  # 2026-01-01 22:00 UTC
# In the shape of a large venue's brackets; the figures are the demo's own.
_TIERS = (
    MarginTier(notional_max=300_000.0, rate=0.004),
    MarginTier(notional_max=3_000_000.0, rate=0.005, amount=300.0),
    MarginTier(notional_max=30_000_000.0, rate=0.01, amount=15_300.0),
    MarginTier(rate=0.025, amount=465_300.0),
)
_COSTS = Costs(taker_fee=0.0005, half_spread=0.0002, liquidation_fee=0.005)
# Narrow enough that an invented holder is refused now and then.
# At 600 times the clock a quote of two hours may be taken for twelve seconds.
_PRIMARY = Primary(largest=20_000.0, holder_per_day=30_000.0, total_per_day=150_000.0, quote_valid="2h")
CAPITAL = 1_000_000.0


def demo_tokens() -> tuple[Token, ...]:
    """Returns the example tokens: FTX's long and short one on BTC, one that keeps a band, a basket of three coins."""
    btc, eth, sol = (
        Perpetual(symbol=symbol, lot=lot, min_notional=5.0, margin_tiers=_TIERS)
        for symbol, lot in (("BTCUSDT", 0.001), ("ETHUSDT", 0.01), ("SOLUSDT", 0.1))
    )
    band = Rule(name="band", band_lower=1.9, band_upper=2.1)
    eight_hours = Rule(name="every 8 hours", schedule=(Schedule(every="8h"),), deviation=0.2)
    basket = tuple(
        Perpetual(symbol=leg.symbol, lot=leg.lot, min_notional=5.0, margin_tiers=_TIERS, weight=weight)
        for leg, weight in ((btc, 0.5), (eth, 0.3), (sol, 0.2))
    )
    fees = Fees(management_per_day=0.0001)
    tokens = (
        catalog.token("ftx", "BTC", 3, legs=(btc,), costs=_COSTS),
        catalog.token("ftx", "BTC", -3, legs=(btc,), costs=_COSTS),
        Token(symbol="ETH2L", name="ETH 2x long", target=2.0, rule=band, legs=(eth,), fees=fees, costs=_COSTS),
        Token(symbol="TOP2L", name="BTC, ETH and SOL 2x long", target=2.0, rule=eight_hours, legs=basket, fees=fees,
              costs=_COSTS),
    )  # fmt: skip
    return tuple(msgspec.structs.replace(token, primary=_PRIMARY) for token in tokens)


def demo_start_ms(speed: float) -> int:
    """Returns when a new demo's market begins to be watched: always at the same time, in real time now."""
    return time.time_ns() // 1_000_000 if speed == 1.0 else _START_MS
