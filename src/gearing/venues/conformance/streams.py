"""Cards C31 to C33: what streams tell."""

from __future__ import annotations

import math

from gearing.venues.conformance.deck import card
from gearing.venues.conformance.stage import Stage, collected, expect, failed
from gearing.venues.protocol import OrderStatus, Trade

_WAIT_MS, _WAITS = 1_000, 10


@card("C31", "prices rise in time")
async def quotes(stage: Stage) -> None:
    """Prices come, of the instrument that was asked for, finite, above zero, and never dated back."""
    async with collected(stage.venue.quotes([stage.symbol])) as found:
        for _ in range(_WAITS):
            await stage.wait(_WAIT_MS)
    expect(len(found) > 1, f"{len(found)} prices came in {_WAITS * _WAIT_MS} ms")
    for quote in found:
        expect(quote.symbol == stage.symbol, f"a price of {quote.symbol} came")
        expect(0.0 < quote.mark < math.inf, f"a price of {quote.mark} came")
    times = [quote.time_ms for quote in found]
    expect(times == sorted(times), "prices are dated back")
    ahead_ms = times[-1] - stage.now_ms()
    expect(ahead_ms <= _WAIT_MS, f"a price is dated {ahead_ms} ms ahead")


@card("C32", "reports of fills agree with the fills")
async def reports(stage: Stage) -> None:
    """They may repeat, but each is one of the fills, and none of them is missing."""
    async with collected(stage.venue.reports()) as found:
        _, first = await stage.traded(stage.lots)
        _, second = await stage.traded(-stage.lots)
        await stage.wait(10 * _WAIT_MS)
    known = {trade.trade_id: trade for trade in (*first, *second)}
    told = [report for report in found if isinstance(report, Trade)]
    for report in told:
        expect(known.get(report.trade_id) == report, f"a report is none of the fills: {report}")
    missing = sorted(set(known) - {report.trade_id for report in told})
    expect(not missing, f"fills {missing} were not reported")


@card("C33", "reports of orders agree with queries")
async def statuses(stage: Stage) -> None:
    """The last report of an order that ended is what a query says."""
    async with collected(stage.venue.reports()) as found:
        status, _ = await stage.traded(stage.lots)
        await stage.wait(10 * _WAIT_MS)
    ends = [r for r in found if isinstance(r, OrderStatus) and r.client_id == status.client_id and r.word != "open"]
    if not ends:
        failed("the end of an order was not reported")
    said = {(r.word, r.lots, r.filled) for r in ends}
    expect(said == {(status.word, status.lots, status.filled)}, f"reported {said}, the query says {status}")
