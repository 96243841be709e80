"""What a paper exchange is told: what it lists, how quick it is, what goes wrong and how often."""

from __future__ import annotations

import msgspec

from gearing.core.fees import Costs
from gearing.core.instruments import Instrument
from gearing.core.money import finest_lot
from gearing.core.record import DAY_MS, Check, Record
from gearing.venues.protocol import InstrumentRules


def _whole_ms(check: Check, place: str, value: object, *, least: int) -> None:
    """A whole number up to a day's milliseconds; `Check.number` would make it a float."""
    fits = isinstance(value, int) and least <= value <= DAY_MS
    check.that(fits, place, f"a whole number from {least} to {DAY_MS}")


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument of a paper exchange.

    Args:
        rules: what the venue says about it.
        costs: spread, impact, taker fee and liquidation fee of a trade.
        depth_lots: what one order finds on the other side; the rest of it is cancelled. 0: any size.
    """

    rules: InstrumentRules
    costs: Costs = Costs()
    depth_lots: int = 0


class Latency(Record, frozen=True, kw_only=True):
    """How long things take, in ms of the exchange's time. All 0: everything happens at once.

    Args:
        request_ms: from sending to arrival.
        match_ms: from acceptance to the trade; until then the order is open.
        answer_ms: from arrival to the caller's knowing.
        report_ms: from an event to its report.
        jitter_ms: at most so much is added to each of them that is not 0, by seed.
        timeout_ms: a caller who is not answered gives up after this.
        visibility_ms: at most so long an accepted order may be missing from a query.
        ahead_ms_max: an order signed further in the future than this is refused.
        report_order_kept: whether reports of one account keep their order in spite of jitter.
    """

    request_ms: int = 0
    match_ms: int = 0
    answer_ms: int = 0
    report_ms: int = 0
    jitter_ms: int = 0
    timeout_ms: int = 5_000
    visibility_ms: int = 1_000
    ahead_ms_max: int = 1_000
    report_order_kept: bool = True

    def __post_init__(self) -> None:
        check = Check(self)
        for place in (name for name in self.__struct_fields__ if name.endswith(("_ms", "_max"))):
            _whole_ms(check, place, getattr(self, place), least=0)
        check.done()


class Faults(Record, frozen=True, kw_only=True):
    """What goes wrong, each at its rate in [0, 1], by seed. Rates are per request, report, order or price.

    Args:
        request_lost: a request never arrives; its caller is never answered.
        request_late: a request arrives up to `request_late_ms` later, when its caller may have given up.
        request_late_ms: see there.
        answer_lost: it was carried out; its caller is never answered.
        dropped: the connection breaks before it is carried out, or after it (as likely).
        busy: the venue's gateway answers 429 and does nothing.
        error: it answers 503 and does nothing.
        error_done: it answers 503 and has done it.
        report_lost, report_duplicated: of reports.
        report_late: a report comes up to `report_late_ms` later, and is overtaken.
        report_late_ms: see there.
        funding_late: a report of funding comes `funding_late_ms` later, when the size may have changed.
        funding_late_ms: see there.
        hidden: an accepted order is missing from queries for the venue's visibility delay.
        partial: an order is filled in part only, and the rest cancelled.
        split: a fill comes as two trades.
        deleveraged: at a price, a part of a position is closed by auto-deleveraging.
        liquidation_split: a liquidation comes as many trades, of which no list that is cut off at 256 holds all.
        list_repeated: a list of payments, or of what the venue closed by itself, holds everything from the beginning,
            twice, whatever was asked for.
        payment_unlisted: a payment is missing from lists for `payment_unlisted_ms`, though it is in the wallet.
        payment_unlisted_ms: see there.
        outage: at a price, an outage begins, of one of `outage_ms`.
        outage_ms: how long outages last.
        price_nan, price_infinite, price_zero, price_negative: one price is this.
        price_spike: one price is ten times, or a tenth.
        price_future: one price is dated an hour ahead.
        price_frozen: for `price_stretch` prices the price stands still while its time goes on.
        price_dead: for `price_stretch` prices messages come, but price and time stand still.
        price_stretch: see there.
    """

    request_lost: float = 0.0
    request_late: float = 0.0
    request_late_ms: int = 3_000
    answer_lost: float = 0.0
    dropped: float = 0.0
    busy: float = 0.0
    error: float = 0.0
    error_done: float = 0.0
    report_lost: float = 0.0
    report_duplicated: float = 0.0
    report_late: float = 0.0
    report_late_ms: int = 3_000
    funding_late: float = 0.0
    funding_late_ms: int = 10_000
    hidden: float = 0.0
    partial: float = 0.0
    split: float = 0.0
    deleveraged: float = 0.0
    liquidation_split: float = 0.0
    list_repeated: float = 0.0
    payment_unlisted: float = 0.0
    payment_unlisted_ms: int = 3_000
    outage: float = 0.0
    outage_ms: tuple[int, ...] = (1_000, 600_000, 10_800_000)
    price_nan: float = 0.0
    price_infinite: float = 0.0
    price_zero: float = 0.0
    price_negative: float = 0.0
    price_spike: float = 0.0
    price_future: float = 0.0
    price_frozen: float = 0.0
    price_dead: float = 0.0
    price_stretch: int = 20

    def __post_init__(self) -> None:
        check = Check(self)
        for place in self.__struct_fields__:
            if place == "price_stretch" or (place.endswith("_ms") and place != "outage_ms"):
                _whole_ms(check, place, getattr(self, place), least=1)
            elif place != "outage_ms":
                check.number(place, 0, 1)
        check.that(bool(self.outage_ms) and all(ms > 0 for ms in self.outage_ms), "outage_ms", "lengths in ms, above 0")
        check.done()


class Setup(Record, frozen=True, kw_only=True):
    """All that a paper exchange is told at its start.

    Args:
        listings: what it lists; a file that holds an instrument already keeps its own.
        latency: how quick it is.
        faults: what goes wrong.
        seed: of everything random.
        leverage: of an account that asked for none.
    """

    listings: tuple[Listing, ...] = ()
    latency: Latency = Latency()
    faults: Faults = Faults()
    seed: int = 0
    leverage: float = 20.0

    def __post_init__(self) -> None:
        check = Check(self)
        check.that(0 <= self.seed < 2**63, "seed", "a whole number from 0 to 2⁶³ − 1")
        check.number("leverage", 0, 1_000, strict=True)
        check.done()


def listed(
    leg: Instrument, *, asset: str, price: float, costs: Costs, depth_lots: int = 0, interval_ms: int = 28_800_000
) -> Listing:
    """Returns the listing of a token's leg.

    Args:
        leg: its lot, tick, least trade and margin brackets are the instrument's.
        asset: what it settles in.
        price: about; where the leg has no lot, one so fine that it is worth no minor unit is taken.
        costs: of a trade.
        depth_lots: see `Listing`.
        interval_ms: between two settlements of funding.
    """
    size = leg.lot * leg.multiplier
    rules = InstrumentRules(
        symbol=leg.symbol, asset=asset, lot=repr(size) if size > 0 else str(finest_lot(price)),
        tick=repr(leg.tick) if leg.tick > 0 else "0", min_notional=leg.min_notional, tiers=leg.margin_tiers,
        funding_interval_ms=interval_ms,
    )  # fmt: skip
    return Listing(rules=rules, costs=costs, depth_lots=depth_lots)
