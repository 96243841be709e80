"""Funding settlements and the primary market: who deals around a settlement, at what price, and when.

A settlement is paid by those who held at its time, at a rate that is certain only once the venue has booked it. So what
falls due from one dealing window before a settlement waits until it is booked: dealing, quotes, fees taken, and reverse
splits. Trading and NAVs go on; a NAV in between contains the funding at the predicted rate, and is provisional. A
settlement counts as booked by the venue's payment, by its word that there was none, or because nothing was held.

Where a token has to trade while a flow of it waits, the settlement is booked at the predicted rate first, and what the
venue reports more or less later goes to the reserve: whoever comes, goes or stays has the same as if it had been
settled at that rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core.money import CEILING, accrued_of, as_text
from gearing.core.state import LegState
from gearing.drive.running import Book, Running
from gearing.drive.together import Position, positions, unpaid
from gearing.venues.protocol import FundingPayment, Settled

if TYPE_CHECKING:
    from gearing.drive.driver import Driver

# A venue is asked so long, 30 days, for payments of what is flat, or was booked before: its lists have pages and ends.
LATE_MS = 30 * 86_400_000
# Who books a settlement at the predicted rate.
_DESK = "desk"


class Unbooked(NamedTuple):
    """A settlement that passed and is not booked yet: of which leg, its symbol, its time, and the predicted rate."""

    k: int
    symbol: str
    time_ms: int
    rate: float | None


def unbooked(driver: Driver, running: Running, now_ms: int) -> list[Unbooked]:
    """Returns the settlements of a token's legs that passed while something was held and are not booked yet."""
    found = []
    for k, symbol in funded(running):
        leg, last = running.state.legs[k], driver.market.last_settlement(symbol, now_ms)
        # What was accrued waits to be booked, though a fill that was told later may have left nothing held then.
        found += [Unbooked(k, symbol, one.settlement_ms, one.rate) for one in leg.accruals]
        accrued_ms = max((one.settlement_ms for one in leg.accruals), default=leg.funded_ms)
        if last.time_ms > accrued_ms and leg.lots_at(last.time_ms) != range(1):
            found.append(Unbooked(k, symbol, *last))
    return found


def accrue(driver: Driver, running: Running, now_ms: int, marks: tuple[float, ...]) -> None:
    """Accrues the funding of settlements that passed, once each, until the venue's booking is known.

    A token that was wiped out has no NAV that it could be part of: what is booked later goes to whoever bore the loss.
    """
    for it in unbooked(driver, running, now_ms):
        leg = running.state.legs[it.k]
        if running.state.status != "wiped" and all(one.settlement_ms < it.time_ms for one in leg.accruals):
            driver.apply(running, ev.FundingAccrued(time_ms=now_ms, leg=it.k, settlement_ms=it.time_ms,
                                                    rate=it.rate, prices=marks))  # fmt: skip
        if now_ms - it.time_ms >= driver.patience_ms:
            driver.tell(running, f"the venue has not reported the funding of {it.symbol} at {clock(it.time_ms)}; "
                                 f"subscriptions are rejected and redemptions wait until it is booked")  # fmt: skip


def why_dealing_waits(driver: Driver, running: Running, now_ms: int) -> str:
    """Returns why nothing is dealt in a token now; empty: funding is no reason."""
    waiting = unbooked(driver, running, now_ms)
    if waiting:
        return f"the funding of {waiting[0].symbol} at {clock(waiting[0].time_ms)} is not booked yet"
    until_ms = dealt_until_ms(driver, running, now_ms)
    if now_ms >= until_ms:
        following = next_settlement_ms(driver, running, now_ms)
        return f"funding is settled at {clock(int(following))}; dealing goes on once it is booked"
    return ""


def dealt_until_ms(driver: Driver, running: Running, now_ms: int) -> float:
    """Returns until when a token is dealt in before its next settlement; ∞ if none is known.

    That is a window before it, but at most a quarter of the time since the settlement before.
    """
    following_ms, window_ms = next_settlement_ms(driver, running, now_ms), running.spec.token.primary.window_ms
    last_ms = max((driver.market.last_settlement(symbol, now_ms).time_ms for _, symbol in funded(running)), default=0)
    return following_ms - (min(window_ms, (following_ms - last_ms) / 4) if last_ms else window_ms)


def next_settlement_ms(driver: Driver, running: Running, now_ms: int) -> float:
    """Returns the next settlement of any of a token's legs; ∞ if none is known."""
    return min((driver.market.next_settlement_ms(symbol, now_ms) for _, symbol in funded(running)), default=math.inf)


def funded(running: Running) -> list[tuple[int, str]]:
    """Returns the legs of a token that pay funding, with their symbols."""
    pays = running.spec.is_funded
    return [(k, symbol) for k, symbol in enumerate(running.symbols) if k < len(pays) and pays[k]]


def is_overdue(driver: Driver, running: Running, now_ms: int) -> bool:
    """Returns whether the venue has not reported a settlement for too long."""
    return any(now_ms - it.time_ms >= driver.patience_ms for it in unbooked(driver, running, now_ms))


def by_hand_from_ms(driver: Driver, settlement_ms: int) -> int:
    """Returns from when on an operator may book a settlement that the venue has not reported."""
    return settlement_ms + 10 * driver.patience_ms


def waits_for_operator(driver: Driver, running: Running, now_ms: int) -> bool:
    """Returns whether a settlement of a token can be booked by hand now."""
    return any(now_ms >= by_hand_from_ms(driver, it.time_ms) for it in unbooked(driver, running, now_ms))


def waited_for(book: Book) -> set[str]:
    """Returns the instruments of which a settlement is waited for."""
    accrued = {symbol for running in book.tokens
               for symbol, leg in zip(running.symbols, running.state.legs, strict=True) if leg.accruals}  # fmt: skip
    return accrued | {symbol for symbol, _ in assumed(book)}


def with_empty(
    book: Book, settled: Mapping[str, Sequence[Settled]], payments: Sequence[FundingPayment]
) -> list[FundingPayment]:  # fmt: skip
    """Returns a book's payments by time, with an empty one for each settlement that it waits for and was no part of.

    Args:
        book: whose.
        settled: the venue's settlements of each instrument that is waited for, or that several tokens hold.
        payments: those that the venue booked in the account.
    """
    found = [*payments, *unpaid(book, [one for symbol in sorted(settled) for one in settled[symbol]], payments)]
    for symbol, those in sorted(settled.items()):
        found += never_settled(book, symbol, those, found)
    return sorted(found, key=lambda one: one.settlement_ms)


def never_settled(book: Book, symbol: str, settled: Iterable[Settled], payments: Iterable[FundingPayment]) -> list[
    FundingPayment
]:  # fmt: skip
    """Returns empty payments for settlements that are waited for and of which the venue's own list knows none.

    Of those that were booked before it reported them, so are those that are listed and were paid to nobody here.

    The list of settlements says so once it names a later one of the instrument; the payments may be ahead of it.

    Args:
        book: whose tokens wait.
        symbol: the instrument.
        settled: the venue's settlements of it.
        payments: those that it booked in the account.
    """
    listed = {it.settlement_ms for it in settled}
    paid, latest = {it.settlement_ms for it in payments if it.symbol == symbol}, max(listed, default=0)
    waiting = {(one.settlement_ms, one.mark) for at in positions(book, symbol) for one in at.leg.accruals
               if one.settlement_ms not in listed}  # fmt: skip
    waiting |= {(time_ms, 0.0) for name, time_ms in assumed(book) if name == symbol and time_ms >= latest - LATE_MS}
    return [
        FundingPayment(symbol=symbol, settlement_ms=time_ms, rate=0.0, mark=mark, lots=0, amount=0)
        for time_ms, mark in sorted(waiting)
        if time_ms < latest and time_ms not in paid
    ]


def unbooked_since_ms(book: Book, now_ms: int) -> int:
    """Returns since when the venue may have settlements of a book that are not booked yet, ms.

    So much has to be asked for. It moves on with what is booked: what is flat counts no more after `LATE_MS`, and a
    settlement that was booked before is asked for so long.
    """
    times = [_since_ms(leg, now_ms) for running in book.tokens for leg in running.state.legs]
    early = [time_ms - 1 for _, time_ms in assumed(book)]
    return min([now_ms, *times, *(time_ms for time_ms in early if time_ms >= now_ms - LATE_MS)])


def assumed(book: Book) -> list[tuple[str, int]]:
    """Returns the settlements that were booked before the venue reported them: of which symbol, and when, ms."""
    keys = {} if book.state.assumed is UNSET else book.state.assumed
    return [(symbol, int(time_ms)) for symbol, _, time_ms in (key.rpartition(" ") for key in keys)]


def _since_ms(leg: LegState, now_ms: int) -> int:
    """Returns since when a position may have settlements that are not booked yet; now: it has none."""
    late_ms = now_ms - LATE_MS
    if leg.accruals:
        return leg.funded_ms or min(leg.accruals[0].settlement_ms - 1, late_ms)
    if leg.lots:
        return leg.funded_ms or late_ms
    return max(leg.funded_ms, late_ms) if leg.changed_ms > max(leg.funded_ms, late_ms) else now_ms


def book_by_hand(
    driver: Driver, book: Book, symbol: str, settlement_ms: int, rate: float, by: str, reason: str, now_ms: int
) -> str:  # fmt: skip
    """Books a settlement that the venue has not reported, at the rate that it published.

    If it reports the settlement after all, the difference goes to the reserve. It is asked for that for `LATE_MS`.

    Args:
        driver: that runs the book.
        book: whose.
        symbol: the instrument.
        settlement_ms: the venue's time of it.
        rate: a positive one is paid by longs; 0: there was none.
        by, reason: who books it, and why.
        now_ms: the time.

    Returns:
        Why it is not booked; empty: it is.
    """
    for running in book.tokens:  # no price may have come since
        if any((it.symbol, it.time_ms) == (symbol, settlement_ms) for it in unbooked(driver, running, now_ms)):
            accrue(driver, running, now_ms, driver.marks(running))
    at = [one for one in positions(book, symbol)
          if _waits(one, settlement_ms) or _is_missed(driver, one, settlement_ms)]  # fmt: skip
    if not at:
        held = {name for running in book.tokens for name in running.symbols}
        if symbol not in held:
            return f"{book.name} has no {symbol}; it has {', '.join(sorted(held))}"
        waiting = {f"{name} at {clock(a.settlement_ms)}" for running in book.tokens
                   for name, leg in zip(running.symbols, running.state.legs, strict=True)
                   for a in leg.accruals}  # fmt: skip
        return (f"no settlement of {symbol} at {clock(settlement_ms)} waits to be booked in {book.name}; waiting: "
                f"{', '.join(sorted(waiting)) or 'none'}")  # fmt: skip
    earlier_ms = min((it for one in at if (it := waits_before(one, settlement_ms)) is not None), default=None)
    if earlier_ms is not None:
        return f"the funding of {symbol} at {clock(earlier_ms)} is not booked yet; book that settlement first"
    before = next((it for one in at if (it := driver.settled_before(one, settlement_ms)) is not None), None)
    if before is not None:
        return f"{symbol} may have been settled at {clock(before)}, which is not booked; that comes first"
    least_ms = by_hand_from_ms(driver, settlement_ms)
    if now_ms < least_ms:
        return f"the venue may still report it; it can be booked by hand from {clock(least_ms)} on"
    why = _assume(driver, book, symbol, settlement_ms, rate, by, reason, now_ms)
    driver.go_on((one.running for one in at), now_ms)
    return why


def book_first(driver: Driver, running: Running, now_ms: int) -> bool:
    """Books the settlements that a token waits for at their predicted rates, since it has to trade before that.

    All tokens of its book that held the instrument are booked with it, and what they wait for before. None is booked
    where no rate was predicted, where an order may have been filled before it, where one before it may be missing, or
    where it would wipe a token out.

    Returns:
        Whether the token waits for none any more.
    """
    if not unbooked(driver, running, now_ms):
        return True
    accrue(driver, running, now_ms, driver.marks(running))
    waiting = unbooked(driver, running, now_ms)
    rates: dict[tuple[int, str], float | None] = {(it.time_ms, it.symbol): it.rate for it in waiting}
    for it in waiting:
        at = positions(running.book, it.symbol)
        if any(driver.settled_before(one, it.time_ms) is not None for one in at):
            return False  # there may have been one before it; the venue's list will tell
        for one in (one for held in at for one in held.leg.accruals if one.settlement_ms <= it.time_ms):
            key = one.settlement_ms, it.symbol
            rates[key] = one.rate if rates.get(key) is None else rates[key]
    symbols = {symbol for _, symbol in rates}
    if None in rates.values() or any(order.symbol in symbols for order in running.book.state.live.values()):
        return False  # nothing is guessed, and a fill of before it may not be told yet

    def booked() -> str:
        reason = f"{running.name} trades before the venue reports it"
        whys = (
            _assume(driver, running.book, symbol, time_ms, rate or 0.0, _DESK, reason, now_ms)
            for (time_ms, symbol), rate in sorted(rates.items())
        )
        return next(filter(None, whys), "")

    if driver.atomically(booked, bool):
        return False
    driver.go_on([one for one in running.book.tokens if one is not running], now_ms)
    return not unbooked(driver, running, now_ms)


def _assume(
    driver: Driver, book: Book, symbol: str, settlement_ms: int, rate: float, by: str, reason: str, now_ms: int
) -> str:  # fmt: skip
    """Books a settlement before the venue reports it; what it reports more or less later goes to the reserve.

    Returns:
        Why it is not booked; empty: it is.
    """
    at = [one for one in positions(book, symbol) if one.leg.funded_ms < settlement_ms]
    if not at or book.state.assumption(symbol, settlement_ms) is not None:
        return ""
    marks = [one.mark for it in at for one in it.leg.accruals if one.settlement_ms == settlement_ms]
    mark = marks[0] if marks else at[0].leg.mark
    spans = [one.leg.lots_at(settlement_ms) or range(one.leg.lots, one.leg.lots + 1) for one in at]
    sizes = [span[0] for span in spans]
    amount = sum(-accrued_of(lots, one.leg.lot_size, mark, rate, CEILING)
                 for lots, one in zip(sizes, at, strict=True))  # fmt: skip
    payment = FundingPayment(symbol=symbol, settlement_ms=settlement_ms, rate=rate, mark=mark, lots=sum(sizes),
                             amount=amount)  # fmt: skip
    wiped = {one.running.name for one in at if one.running.state.status == "wiped"}

    def booked() -> str:
        driver.book_funding(book, payment, now_ms)
        if any(one.leg.funded_ms < settlement_ms for one in positions(book, symbol)):
            return f"the settlement could not be booked: {book.state.halted}"
        fresh = [one.running.name for one in at if one.running.state.status == "wiped"]
        if by == _DESK and not wiped.issuperset(fresh):
            return f"a predicted rate alone would wipe {fresh[0]} out"
        if not any(sizes) or (amount == 0 and sum(sizes) == 0):
            return ""  # of what sums to nothing the venue reports nothing
        # Only now: a report of a settlement that was booked is a correction.
        driver.note(book, bk.FundingAssumed(
            time_ms=now_ms, symbol=symbol, settlement_ms=settlement_ms, asset=at[0].running.spec.token.settlement,
            amount=amount, rate=rate, by=by, reason=reason,
        ))  # fmt: skip
        return ""

    return driver.atomically(booked, bool)


def correct(driver: Driver, book: Book, payment: FundingPayment, now_ms: int) -> bool:
    """Books the difference of a settlement that was booked before and is reported now; returns whether it is one."""
    before = book.state.assumption(payment.symbol, payment.settlement_ms)
    if before is None:
        return False
    difference = payment.amount - before.amount
    driver.note(book, bk.FundingCorrected(time_ms=now_ms, symbol=payment.symbol, settlement_ms=payment.settlement_ms,
                                          amount=difference))  # fmt: skip
    driver.effects.alarms.append(
        f"{book.name}: the venue reports the funding of {payment.symbol} at {clock(payment.settlement_ms)}, which was "
        f"booked before; the difference of {as_text(difference, grouped=True)} {before.asset} goes to the reserve"
    )
    return True


def waits_before(at: Position, settlement_ms: int) -> int | None:
    """Returns the first settlement of a position before a time that is not booked yet, ms; None: there is none.

    Settlements are booked in their order: once a later one is booked, a payment of an earlier one is not taken any
    more.
    """
    return min((one.settlement_ms for one in at.leg.accruals if one.settlement_ms < settlement_ms), default=None)


def attention_ms(driver: Driver, running: Running) -> float:
    """Returns when a token's primary market next needs a price: to average, to deal, or to accrue a settlement."""
    return min(running.averages_ms, next_settlement_ms(driver, running, driver.market.now_ms))


def _waits(at: Position, settlement_ms: int) -> bool:
    return any(one.settlement_ms == settlement_ms for one in at.leg.accruals)


def _is_missed(driver: Driver, at: Position, settlement_ms: int) -> bool:
    """Returns whether a settlement may have been before one that waits, with no price between them: one of several."""
    interval_ms = driver.market.funding_interval_ms(at.symbol)
    if not interval_ms or settlement_ms <= at.leg.funded_ms or at.leg.lots_at(settlement_ms) == range(1):
        return False
    return any(
        settlement_ms < one.settlement_ms and (one.settlement_ms - settlement_ms) % interval_ms == 0
        for one in at.leg.accruals
    )


def clock(time_ms: float) -> str:
    """Returns a time as people read it: 2026-01-02 08:00 UTC."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
