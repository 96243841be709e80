"""Adoption: an operator takes over what the venue has beyond a book's ledger, so that the book can trade again.

Positions are booked in tokens that hold the instrument, as trades at the mark and free of charge. The cash that differs
then goes to the reserve, or to the tokens that the operator names. Nothing is adopted unasked, and nothing but what the
operator has seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core.book import Difference
from gearing.core.money import CEILING, as_text, value_of
from gearing.core.sharing import shared
from gearing.core.state import LegState, TokenState
from gearing.core.step_result import StepError, is_over
from gearing.drive.reconciling import differences, unasked, words_of
from gearing.drive.reserve import left
from gearing.drive.running import Book, Running
from gearing.drive.together import positions
from gearing.numerals import contracts

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


class AdoptionError(Exception):
    """What differs cannot be adopted so; the message says why."""


class Taker(NamedTuple):
    """A position that takes lots: of which token, which of its legs, and what the token is settled in."""

    token: str
    k: int
    leg: LegState
    asset: str


class Booked(NamedTuple):
    """What an adoption books.

    Args:
        lots: by token and leg.
        cash: what differs once they are booked, minor units by currency; to be paid < 0.
    """

    lots: Counter[tuple[str, int]]
    cash: Counter[str]


def booked(
    found: Iterable[Difference], takers: Callable[[Difference], Sequence[Taker]], price: Callable[[str], float]
) -> Booked:
    """Returns what an adoption books: lots as trades at the mark, and the cash that differs then.

    Args:
        found: the differences.
        takers: returns the positions that take a difference of lots, at least one.
        price: returns the mark of an instrument.
    """
    lots = Counter[tuple[str, int]]()
    cash = Counter({one.name: one.venue - one.ledger for one in found if one.what == "cash"})
    for one in (it for it in found if it.what == "position"):
        at = takers(one)
        for taker, n in zip(at, shared(one.venue - one.ledger, _sizes(at)), strict=True):
            lots[taker.token, taker.k] += n
            cash[taker.asset] += value_of(n, taker.leg.lot_size, price(one.name), CEILING)
    return Booked(lots, cash)


def can_take(leg: LegState, state: TokenState) -> bool:
    """Returns whether a token's position can take lots: it has some, or the token has units and is not over."""
    return bool(leg.lots or (state.balances.units and not is_over(state)))


def adopt(
    driver: Driver, book: Book, seen: Sequence[Difference], bearers: Sequence[str], reserve: int,
    by: str, reason: str, now_ms: int,
) -> str:  # fmt: skip
    """Adopts what the venue's last statement has beyond the ledger, and lets the book trade again.

    Args:
        driver: that runs the book.
        book: whose.
        seen: the differences that the operator has seen.
        bearers: the tokens that take the differences; none: the reserve takes the cash.
        reserve: of each currency, minor units.
        by, reason: who adopts, and why.
        now_ms: the time.

    Returns:
        What was booked, in words.

    Raises:
        AdoptionError: it cannot be done so. What was booked until then is for the caller to roll back.
    """
    found = _current(book, seen)
    for running in book.tokens:
        if running.state.dealing is not UNSET and driver.market.prices(running.symbols, now_ms) is None:
            raise AdoptionError(f"{running.name} deals in a flow, which is settled first, and has no good price now")
        trades = running.state.status == "open"
        settled = driver.primary.dealings.end_waiting(running, now_ms, keeps_excess=trades)
        if not settled and not running.state.is_working:
            raise AdoptionError(f"a flow of {running.name} is settled first, and cannot be now"
                                f"{'' if trades else '; resume the token, or close it'}")  # fmt: skip
    mine = [_named(book, name) for name in dict.fromkeys(bearers)] or book.tokens
    lots, cash = booked(found, lambda one: _takers(driver, book, one, mine, now_ms), driver.market.price)
    given = _given(cash, mine) if bearers else {}
    received = {} if bearers else {asset: amount for asset, amount in cash.items() if amount}
    _reserve_covers(driver, received, reserve)
    driver.note(book, bk.DifferencesAdopted(time_ms=now_ms, differences=found, received=received, by=by,
                                            reason=reason))  # fmt: skip
    done = [f"the reserve {_moved(amount, asset)}" for asset, amount in received.items()]
    for running in book.tokens:
        changes, money = tuple(lots[running.name, k] for k in range(len(running.symbols))), given.get(running.name, 0)
        if any(changes) or money:
            _book(driver, running, changes, money, by, reason, now_ms)
            legs = zip(changes, running.symbols, running.state.legs, strict=True)
            parts = [f"took {contracts(n, leg.lot)} {symbol}" for n, symbol, leg in legs if n]
            parts += [_moved(money, running.spec.token.settlement)] if money else []
            done.append(f"token {running.name} {' and '.join(parts)}")
    done += [f"token {one.name} is still halted: gearing resume {one.name}" for one in book.tokens
             if one.state.status == "halted"]  # fmt: skip
    if book.state.halted:
        driver.note(book, bk.BookResumed(time_ms=now_ms, by=by, reason=reason))
    return "; ".join(done)


def _moved(amount: int, asset: str) -> str:
    return f"{'received' if amount > 0 else 'paid'} {as_text(abs(amount), grouped=True)} {asset}"


def _current(book: Book, seen: Sequence[Difference]) -> tuple[Difference, ...]:
    """Returns the differences of now, which must be those that the operator has seen."""
    if book.statement is None:
        raise AdoptionError(f"the venue's statement of {book.name} has not been read yet; ask again in a minute")
    if book.state.live:
        raise AdoptionError(f"{book.name} has orders under way; ask again once they have ended")
    found = differences(book, book.statement)
    if not found:
        raise AdoptionError(f"the ledger of {book.name} agrees with its venue: there is nothing to adopt")
    if {(one.what, one.name, one.venue - one.ledger) for one in found} != {
        (one.what, one.name, one.venue - one.ledger) for one in seen
    }:
        raise AdoptionError(f"the difference is another one than was shown: {words_of(found)}. Look at it again")
    return found


def _named(book: Book, name: str) -> Running:
    found = next((one for one in book.tokens if one.name == name), None)
    if found is None:
        raise AdoptionError(f"{book.name} has no token {name}; it has {', '.join(one.name for one in book.tokens)}")
    return found


def _takers(driver: Driver, book: Book, one: Difference, mine: Sequence[Running], now_ms: int) -> list[Taker]:
    """Returns the positions that take lots of an instrument."""
    at = [it for it in positions(book, one.name) if it.running in mine and can_take(it.leg, it.running.state)]
    if not at:
        whose = "of the tokens that were named" if len(mine) < len(book.tokens) else f"of {book.name}"
        raise AdoptionError(f"no token {whose} can take {one.venue - one.ledger:+,} lots of {one.name}: trade them "
                            f"away at the venue")  # fmt: skip
    for running in {it.running.name: it.running for it in at}.values():
        if driver.market.prices(running.symbols, now_ms) is None:
            raise AdoptionError(f"{running.name} has no good price now; its position is booked at the mark")
        most = running.spec.token.primary.match_divergence
        apart = not all(driver.market.agrees(symbol, most) for symbol in running.symbols)
        if apart or driver.market.divergence(running.symbols) > most:
            raise AdoptionError(f"mark, index and fair price of {running.name} are more than {most:.3%} apart now; its "
                                f"position is booked at the mark")  # fmt: skip
    return [Taker(it.running.name, it.k, it.leg, it.running.spec.token.settlement) for it in at]


def _sizes(at: Sequence[Taker]) -> list[int]:
    """Returns the weights of positions: their sizes; where nothing is held, all the same."""
    sizes = [abs(one.leg.lots) for one in at]
    return sizes if any(sizes) else [1] * len(at)


def _given(cash: Mapping[str, int], mine: Sequence[Running]) -> dict[str, int]:
    """Returns what each named token receives (gives up: < 0), minor units: by equity."""
    found: dict[str, int] = {}
    for asset, amount in cash.items():
        among = [one for one in mine if one.spec.token.settlement == asset]
        if amount and not among:
            raise AdoptionError(f"no token that was named is settled in {asset}, of which {as_text(amount)} is to be "
                                f"booked")  # fmt: skip
        weights = [max(one.state.equity, 0) for one in among]
        parts = shared(amount, weights if any(weights) else [1] * len(among)) if among else ()
        found |= {one.name: part for one, part in zip(among, parts, strict=True) if part}
    return found


def _reserve_covers(driver: Driver, received: Mapping[str, int], reserve: int) -> None:
    """Makes sure that the reserve has the money that it is to give."""
    tokens = [(one.name, one.spec.token.settlement, one.state) for one in driver.tokens]
    for asset, amount in received.items():
        has = max(left(tokens, reserve, unasked(driver.books.values()), asset), 0)
        if has + amount < 0:
            raise AdoptionError(f"{as_text(-amount, grouped=True)} {asset} is missing, and the reserve has "
                                f"{as_text(has, grouped=True)}: name the tokens that bear it")  # fmt: skip


def _book(
    driver: Driver, running: Running, lots: tuple[int, ...], cash: int, by: str, reason: str, now_ms: int
) -> None:  # fmt: skip
    prices = driver.market.prices(running.symbols)
    marks = prices.marks if any(lots) and prices is not None else tuple(leg.mark for leg in running.state.legs)
    try:
        driver.apply(running, ev.Adopted(time_ms=now_ms, lots=lots, cash=cash, prices=marks, by=by, reason=reason))
    except StepError as error:
        raise AdoptionError(f"{running.name} cannot take it: {error}") from error
    driver.primary.dealings.after(running, now_ms)
    driver.arm(running)
