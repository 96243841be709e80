"""The paper exchange on the conformance stage: an invented price, two instruments, latency until a trade."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from gearing.core.fees import Costs
from gearing.core.instruments import MarginTier
from gearing.venues.conformance import Stage
from gearing.venues.paper import requests as rq
from gearing.venues.paper.asking import Asking
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.file import PaperFile
from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Faults, Latency, Listing, Setup
from gearing.venues.paper.venue import Hub, PaperVenue
from gearing.venues.protocol import InstrumentRules, Quote

SYMBOL, ASSET = "BTCUSDT", "USDT"
_START_MS = 1_700_000_000_000
_LOTS = 20
_CAPITAL = 100_000 * 10**8
_HOURS_8_MS = 28_800_000

# The first brackets of BTCUSDT at Binance, 2024.
_TIERS = (
    MarginTier(notional_max=50_000.0, rate=0.004),
    MarginTier(notional_max=600_000.0, rate=0.005, amount=50.0),
    MarginTier(notional_max=3_000_000.0, rate=0.01, amount=3_050.0),
    MarginTier(rate=0.025, amount=48_050.0),
)

LISTING = Listing(
    rules=InstrumentRules(
        symbol=SYMBOL, asset=ASSET, lot="0.001", tick="0.1", min_notional=100.0, max_lots=10_000_000, tiers=_TIERS,
        funding_interval_ms=_HOURS_8_MS,
    ),
    costs=Costs(taker_fee=5e-4, half_spread=1e-4, liquidation_fee=0.0125),
    depth_lots=10_000,
)  # fmt: skip


def stage_setup(seed: int = 0) -> Setup:
    """Returns a paper exchange that takes a tenth of a second to trade and splits every other fill in two."""
    return Setup(listings=(LISTING,), latency=Latency(match_ms=100), faults=Faults(split=0.5), seed=seed)


class PaperMarket:
    """An invented price that goes on as it is asked to.

    Args:
        control: gives the exchange what it is told.
        account: that is played on.
    """

    def __init__(self, control: Callable[[rq.Control], Awaitable[None]], account: str) -> None:
        self._control, self._account = control, account
        self.now_ms = _START_MS
        self._settled_ms = _START_MS

    async def wait(self, length_ms: int) -> None:
        """Lets time pass, with a price at its end."""
        self.now_ms += length_ms
        # Any smooth path will do; it moves some tenths of a percent in a minute.
        hours = (self.now_ms - _START_MS) / 3.6e6
        mark = round(40_000.0 * (1.0 + 0.01 * math.sin(40.0 * hours)), 1)
        await self._control(
            rq.TakeQuotes(
                quotes=(Quote(symbol=SYMBOL, time_ms=self.now_ms, mark=mark, index=mark, volume_24h=10_000.0),)
            )
        )

    async def settle(self) -> None:
        """Lets a settlement of funding happen."""
        await self._control(rq.SetRate(rate=Rate(symbol=SYMBOL, settlement_ms=self.now_ms + 500, rate=1.37e-4)))
        await self.wait(1_000)

    async def give(self, amount: int) -> None:
        """Lets somebody send money into the account."""
        await self._control(rq.Give(account=self._account, asset=ASSET, amount=amount))


async def stage_of(venue: Asking, control: Callable[[rq.Control], Awaitable[None]]) -> Stage:
    """Returns the stage of an account at a paper exchange that was set up by `stage_setup`."""
    market = PaperMarket(control, venue.account)
    await market.wait(1)
    await venue.transfer(ASSET, _CAPITAL, "capital")
    return Stage(
        venue,
        SYMBOL,
        _LOTS,
        now_ms=lambda: market.now_ms,
        wait=market.wait,
        settle=market.settle,
        give=market.give,
        prefix="card",
    )


async def paper_stage(file: PaperFile | None = None, seed: int = 0) -> Stage:
    """Returns the stage of a new paper exchange in this process."""
    hub = Hub(PaperExchange(stage_setup(seed), file))

    async def control(request: rq.Control) -> None:
        hub.control(request)

    return await stage_of(PaperVenue(hub), control)
