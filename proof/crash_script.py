"""The market and the tokens of the crash harness: a few steps in which every boundary is passed.

A step has moments. At the first prices move, and tokens rebalance; at the second they do what had to wait for that, and
holders ask; at the third what they asked is dealt. Prices move at the first alone, and no rule wants anything at the
third, so whoever was killed at any of them trades and deals at the same price when it comes back. At the third they
come again and again, until an average has formed of them and all is dealt.
"""

from __future__ import annotations

import gearing as gr
from gearing.core.money import MINOR
from gearing.core.token import Token
from gearing.venues.paper.setup import Latency, Listing, Setup, listed
from gearing.venues.protocol import Quote

MINUTE_MS = 60_000
STEP_MS = 60 * MINUTE_MS
SETTLEMENT_MS = 1_767_312_000_000  # 2026-01-02 00:00 UTC, when a day's fee is due too
START_MS = SETTLEMENT_MS - 4 * STEP_MS
STEPS = 7
AFTER_MS = (0, 2 * MINUTE_MS, 10 * MINUTE_MS)
AGAIN_MS = MINUTE_MS // 2
MOMENTS = len(AFTER_MS) * STEPS
WINDOW_MS, VISIBILITY_MS = 2_000, 1_000
AMOUNT, UNITS = 1_000_000 * MINOR, 10_000 * MINOR
GIFT = 77 * MINOR  # sent to each account unasked, before the desk begins
COSTS = gr.Costs(taker_fee=5e-4, half_spread=2e-4)
PRICES = {
    "BTCUSDT": (64_000.0, 64_900.0, 63_700.0, 63_950.0, 65_010.0, 65_020.0, 62_980.0),
    "ETHUSDT": (3_100.0, 3_130.0, 3_060.0, 3_085.0, 3_147.0, 3_148.0, 3_022.0),
}
RATES = {"BTCUSDT": 1e-4, "ETHUSDT": -2e-4}


def tokens() -> list[Token]:
    """Returns a token whose rebalances come in slices, and a basket of two legs."""
    paced = gr.Rule(deviation=0.01, pace=gr.Pace(largest=1_600_000.0, interval="30m"))
    # When flows of both sides are dealt hangs on when a desk began again, so the token that has them charges nothing
    # by time.
    fees, timed = gr.Fees(creation=1e-3, redemption=2e-3), gr.Fees(management_per_day=3e-4)
    pair = tuple(gr.Perpetual(symbol=symbol, weight=0.5) for symbol in PRICES)
    return [
        gr.Token(symbol="T0", target=3.0, rule=paced, legs=(gr.Perpetual(symbol="BTCUSDT"),), fees=fees,
                 costs=COSTS),
        gr.Token(symbol="T1", target=-2.0, rule=gr.Rule(deviation=0.02), legs=pair, fees=timed, costs=COSTS),
    ]  # fmt: skip


def time_of(moment: int) -> int:
    """Returns the market's time of a moment, ms UTC."""
    step, place = divmod(moment, len(AFTER_MS))
    return START_MS + step * STEP_MS + AFTER_MS[place]


def quotes(moment: int, time_ms: int = 0) -> tuple[Quote, ...]:
    """Returns the prices of a moment, as they come then or at a later time."""
    step = moment // len(AFTER_MS)
    return tuple(
        Quote(symbol=symbol, time_ms=max(time_of(moment), time_ms), mark=prices[step], index=prices[step])
        for symbol, prices in PRICES.items()
    )


def setup() -> Setup:
    """Returns the exchange: an order is matched a moment after it was accepted, and reports tell of it."""
    listings: tuple[Listing, ...] = tuple(
        listed(gr.Perpetual(symbol=symbol, lot=0.001), asset="USDT", price=prices[0], costs=COSTS)
        for symbol, prices in PRICES.items()
    )
    return Setup(listings=listings, latency=Latency(match_ms=40, visibility_ms=VISIBILITY_MS), seed=1)
