"""What stands against what the issuer asks of a running token: to halt, resume or close it, or to change it."""

from __future__ import annotations

from msgspec import UNSET

from gearing.core.changes import change_problems, differences
from gearing.core.holder import DEALER
from gearing.core.money import MINOR
from gearing.desk.engine import Engine
from gearing.desk.requests import Change, Operate
from gearing.drive.reconciling import words_of
from gearing.drive.running import Book, Running
from gearing.drive.settling import clock, unbooked


def why_never(running: Running, wanted: Operate | Change) -> str:
    """Returns why nothing at all is done to a token; empty: something may be."""
    if not wanted.by.strip() or not wanted.reason.strip():
        return "is not touched without a name and a reason"
    status = running.state.status
    return f"is {status}, and stays so" if status in {"wiped", "closed"} else ""


def why_not(engine: Engine, running: Running, wanted: Operate | Change, now_ms: int) -> str:
    """Returns why a request cannot be carried out now; empty: it can."""
    if isinstance(wanted, Change):
        short = engine.margins.why_short(wanted.specification)
        return _why_unchanged(running, wanted, now_ms) or short or _why_unsettled(engine, running, now_ms)
    status, book = running.state.status, running.book.state
    if wanted.action == "halt" and status == "halted":
        return "is halted already"
    if wanted.action == "halt" and status == "closing":
        return "is being closed; that is not halted"
    paused = running.state.paused is True
    if wanted.action in {"pause", "unpause"} and paused == (wanted.action == "pause"):
        return "creates no units already" if paused else "creates units already"
    if wanted.action == "resume" and status != "halted" and not book.halted:
        return f"is {status}; there is nothing to resume"
    if wanted.action == "resume" and (status != "halted" or running.state.dealing is UNSET):
        # A halted token whose flow waits may be resumed though its book is not: adoption settles the flow first.
        return why_book_stays_halted(running.book)
    if wanted.action in {"close", "rebalance"} and book.halted:
        return f"cannot trade: its book is halted ({book.halted})"
    lent = -engine.driver.primary.quotes.stands(running)
    if wanted.action == "close" and not engine.driver.primary.is_run(DEALER):
        return "cannot be closed while its dealing account is not run: it may have given out units"
    if wanted.action == "close" and lent > 0:
        return f"has given out {lent / MINOR:,.8f} units that its dealing account has not got yet; ask again later"
    priced = engine.driver.market.is_good(running.symbols, now_ms)
    waits = running.state.dealing is not UNSET and not running.state.is_working
    if wanted.action in {"close", "rebalance"} and waits and not priced:
        return "has a flow that is settled first, and has no good price now; ask again"
    if wanted.action == "rebalance" and status != "open":
        return f"is {status}, and does not rebalance"
    if wanted.action == "rebalance" and running.state.is_working:
        return "is rebalancing already"
    if wanted.action == "rebalance" and running.state.is_rolling:
        return "is rolling into its next contract first"
    if wanted.action == "rebalance" and not priced:
        return "has no good price now, and trades nothing without one"
    return ""


def why_book_stays_halted(book: Book) -> str:
    """Returns why a halted book cannot be resumed now; empty: it can."""
    if not book.state.halted:
        return ""
    if book.state.differences is not UNSET:
        apart = words_of(book.state.differences)
        return (f"cannot be resumed: the venue's last statement differs from the ledger ({apart}); correct it at the "
                f"venue, or adopt it with `gearing book adopt {book.name} --reason ...`")  # fmt: skip
    if book.statement is None:
        return "cannot be resumed yet: its book has not been reconciled since the desk started; ask again in a minute"
    return ""


def _why_unchanged(running: Running, wanted: Change, now_ms: int) -> str:
    """Returns why a specification cannot take the place of a token's now; empty: it can."""
    state, old, new = running.state, running.spec.token, wanted.specification
    if state.status == "closing":
        return "is being closed; its specification stays"
    problems = change_problems(old, new)
    if problems:
        return f"cannot go on as that: {'; '.join(str(one) for one in problems)}"
    if not differences(old, new):
        return "has this specification already"
    if state.is_working:
        return "is rebalancing; ask again once that is done"
    if running.horizon is not None and running.horizon.deadline_ms <= now_ms:
        return "has a clock that ran out, and waits for a price to act on it; ask again after that"
    return ""


def _why_unsettled(engine: Engine, running: Running, now_ms: int) -> str:
    """Returns what a change would reach back to, that began under the former specification; empty: nothing."""
    waiting = unbooked(engine.driver, running, now_ms)
    if waiting:
        return (f"cannot change yet: the funding of {waiting[0].symbol} at {clock(waiting[0].time_ms)} is not booked; "
                "ask again then")  # fmt: skip
    return "deals in a flow; ask again once that is settled" if running.state.dealing is not UNSET else ""
