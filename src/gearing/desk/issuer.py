"""What the issuer asks for on its own account, or of all holders at once, and what it is answered."""

from __future__ import annotations

from functools import partial

from gearing.core.events import FeesHow
from gearing.core.money import as_text
from gearing.core.step_result import StepError
from gearing.desk.requests import Adopt, Answered, Merge, SettleFunding, TakeFees, is_rejected
from gearing.drive.adopting import AdoptionError, adopt
from gearing.drive.driver import Driver
from gearing.drive.fees import Taken, take_fees
from gearing.drive.merging import Merger, merge
from gearing.drive.running import Book, Running
from gearing.drive.settling import book_by_hand

OfIssuer = TakeFees | Merge | SettleFunding | Adopt

_DONE: dict[FeesHow, str] = {
    "cash": "It is moved from its account at the venue with the next reconciliation.",
    "units": "The issuer has {units} new units for it.",
    "burn": "The issuer gave {units} units for it, which are burned.",
}


def answer(driver: Driver, wanted: OfIssuer, now_ms: int, reserve: int = 0) -> Answered:
    """Runs a command of the issuer whole or not at all: what is rejected leaves every stream as it was.

    Args:
        driver: of the desk.
        wanted: the command.
        now_ms: the time.
        reserve: of each currency, minor units.
    """
    return driver.atomically(partial(_answer, driver, wanted, now_ms, reserve), is_rejected)


def _answer(driver: Driver, wanted: OfIssuer, now_ms: int, reserve: int) -> Answered:
    if isinstance(wanted, (SettleFunding, Adopt)):
        return _for_book(driver, wanted, now_ms, reserve)
    running = driver.by_name.get(wanted.token)
    if running is None:
        known = ", ".join(driver.by_name)
        return Answered(done=False, words=f"there is no token {wanted.token}; there are {known}", time_ms=now_ms)
    done, words = False, f"{wanted.token} is not touched without a name and a reason"
    if wanted.by.strip() and wanted.reason.strip():
        try:
            done, words = _done(driver, running, wanted, now_ms)
        except StepError as error:
            words = f"{wanted.token}: {error}"
    return Answered(done=done, words=words, time_ms=now_ms, status=running.state.status)


def _for_book(driver: Driver, wanted: SettleFunding | Adopt, now_ms: int, reserve: int) -> Answered:
    book = driver.books.get(wanted.book)
    if book is None:
        known = ", ".join(driver.books)
        return Answered(done=False, words=f"there is no book {wanted.book}; there are {known}", time_ms=now_ms)
    if not wanted.by.strip() or not wanted.reason.strip():
        return Answered(done=False, words=f"{wanted.book} is not touched without a name and a reason", time_ms=now_ms)
    done, words = (_settled(driver, book, wanted, now_ms) if isinstance(wanted, SettleFunding)
                   else _adopted(driver, book, wanted, now_ms, reserve))  # fmt: skip
    return Answered(done=done, words=words, time_ms=now_ms)


def _settled(driver: Driver, book: Book, wanted: SettleFunding, now_ms: int) -> tuple[bool, str]:
    why = book_by_hand(driver, book, wanted.symbol, wanted.settlement_ms, wanted.rate, wanted.by, wanted.reason, now_ms)
    if why:
        return False, why
    return True, (f"The funding of {wanted.symbol} is booked in {book.name} at {wanted.rate:+.4%}. If the venue "
                  f"reports it after all, the difference goes to the reserve.")  # fmt: skip


def _adopted(driver: Driver, book: Book, wanted: Adopt, now_ms: int, reserve: int) -> tuple[bool, str]:
    try:
        done = adopt(driver, book, wanted.differences, wanted.tokens, reserve, wanted.by, wanted.reason, now_ms)
    except AdoptionError as error:
        return False, str(error)
    return True, f"Book {book.name} has adopted what its venue holds, and trades again: {done}."


def _done(driver: Driver, running: Running, wanted: TakeFees | Merge, now_ms: int) -> tuple[bool, str]:
    """Returns whether it was carried out, and what was done or why not."""
    if isinstance(wanted, TakeFees):
        taken = take_fees(driver, running, wanted.amount, wanted.how, wanted.by, wanted.reason, now_ms)
        if isinstance(taken, Taken):
            return True, _taken(running, taken, wanted.how)
        return False, f"no fees of {wanted.token} can be taken now: {taken}"
    merged = merge(driver, running, wanted.factor, wanted.by, wanted.reason, now_ms)
    if isinstance(merged, Merger):
        return True, _merged(running, merged, wanted.factor)
    return False, f"the units of {wanted.token} are not merged: {merged}"


def _taken(running: Running, taken: Taken, how: FeesHow) -> str:
    asset, owed = running.spec.token.settlement, -running.state.balances.fees
    done = _DONE[how].format(units=as_text(taken.units, grouped=True))
    return (f"{running.name} paid fees of {as_text(taken.amount, grouped=True)} {asset}. {done} "
            f"{as_text(owed, grouped=True)} {asset} is still owed.")  # fmt: skip


def _merged(running: Running, merged: Merger, factor: float) -> str:
    asset, number = running.spec.token.settlement, len(merged.holders)
    nav = as_text(running.state.nav, grouped=True)
    return (f"{factor:g} units of {running.name} became one: {as_text(merged.units, grouped=True)} units of "
            f"{number:,} holder{'' if number == 1 else 's'}, at a NAV of {nav} {asset}. "
            f"For what was cut off {as_text(merged.cash, grouped=True)} {asset} was paid.")  # fmt: skip
