"""The counter: what holders, and operators for them, ask of the primary market, and what they are answered."""

from __future__ import annotations

import re
from functools import partial

from gearing.core import holder as ho
from gearing.core.dealing import bearing
from gearing.core.holder import HolderState, Quote
from gearing.core.holder_step import HolderError
from gearing.core.money import as_text
from gearing.desk.requests import Answered, AskQuote, AtCounter, Cancel, Deal, HandOn, Pay, TakeQuote, is_rejected
from gearing.drive.driver import Driver

# Ids are opaque: names and addresses live elsewhere.
# A sub-holder's follows on that of the omnibus holder it belongs to.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_-]{0,63})?")
_ASSET = re.compile(r"[A-Za-z0-9]{1,32}")


def answer(driver: Driver, wanted: AtCounter, now_ms: int) -> Answered:
    """Runs a command of a holder whole or not at all: what is rejected leaves every stream as it was."""
    return driver.atomically(partial(_answer, driver, wanted, now_ms), is_rejected)


def _answer(driver: Driver, wanted: AtCounter, now_ms: int) -> Answered:
    for name in (wanted.holder, wanted.other) if isinstance(wanted, HandOn) else (wanted.holder,):
        if not _ID.fullmatch(name):
            return _no("a holder's id is 1 to 64 letters, digits, - and _, and may have a sub-holder's after a /, not "
                       f"{name!r}", now_ms)  # fmt: skip
        if ho.omnibus_of(name) in {ho.ISSUER, ho.DEALER}:
            return _no(f"the {ho.omnibus_of(name)} has no sub-holders", now_ms)
    try:
        match wanted:
            case Pay():
                return _pay(driver, wanted, now_ms)
            case Deal():
                return _deal(driver, wanted, now_ms)
            case AskQuote():
                return _quote(driver, wanted, now_ms)
            case TakeQuote():
                taken = driver.primary.quotes.take(wanted.holder, wanted.id, now_ms)
                return _dealt(driver, wanted.holder, taken, now_ms)
            case Cancel():
                words = driver.primary.release(wanted.holder, wanted.id, "taken back", now_ms)
                return _no(words, now_ms) if words else _yes(f"{wanted.id} was taken back.", now_ms)
            case HandOn():
                return _hand_on(driver, wanted, now_ms)
    except HolderError as error:
        return _no(f"{wanted.holder}: {error}", now_ms)


def _pay(driver: Driver, wanted: Pay, now_ms: int) -> Answered:
    if not wanted.reference.strip() or not wanted.by.strip():
        return _no("money comes in or goes out with a reference and a name", now_ms)
    if not _ASSET.fullmatch(wanted.asset):
        return _no(f"a currency is 1 to 32 letters and digits, not {wanted.asset!r}", now_ms)
    holder = driver.primary.holders.get(wanted.holder)
    has = 0 if holder is None else holder.state.cash(wanted.asset)
    if has + wanted.amount < 0:
        return _no(f"{wanted.holder} has {as_text(has, grouped=True)} {wanted.asset} free, and is to be paid "
                   f"{as_text(-wanted.amount, grouped=True)}", now_ms)  # fmt: skip
    kind = ho.Deposited if wanted.amount > 0 else ho.Withdrawn
    driver.primary.post(wanted.holder, kind(time_ms=now_ms, asset=wanted.asset, amount=abs(wanted.amount),
                                            reference=wanted.reference, by=wanted.by))  # fmt: skip
    state = driver.primary.holders[wanted.holder].state
    done = "was credited" if wanted.amount > 0 else "was debited"
    amount, free = as_text(abs(wanted.amount), grouped=True), as_text(state.cash(wanted.asset), grouped=True)
    return _yes(f"{wanted.holder} {done} {amount} {wanted.asset}; {free} is free.", now_ms)


def _deal(driver: Driver, wanted: Deal, now_ms: int) -> Answered:
    running, why = driver.by_name.get(wanted.token), ""
    if wanted.instant and running is not None and wanted.amount > 0:
        quote = driver.primary.quotes.at_once(wanted.holder, running, wanted.side, wanted.amount, now_ms)
        if not isinstance(quote, str):
            return _dealt(driver, wanted.holder, quote, now_ms)
        why = f"Not at once: {quote}. "
    accepted = driver.primary.request(wanted.holder, wanted.token, wanted.side, wanted.amount, now_ms)
    status = "" if running is None else running.state.status
    if isinstance(accepted, str):
        return Answered(done=False, words=accepted, time_ms=now_ms, status=status)
    place = "the next to be dealt" if accepted.place == 1 else f"number {accepted.place} of those that wait"
    if running is not None and (running.state.status == "halted" or running.book.state.halted):
        place += f", once {wanted.token} is resumed"
    return Answered(done=True, words=f"{why}{accepted.id} is accepted; it is {place}.", time_ms=now_ms, status=status,
                    id=accepted.id, place=accepted.place)  # fmt: skip


def _quote(driver: Driver, wanted: AskQuote, now_ms: int) -> Answered:
    running = driver.by_name.get(wanted.token)
    if running is None:
        return _no(f"there is no token {wanted.token}; there are {', '.join(driver.by_name)}", now_ms)
    if wanted.amount <= 0:
        return _no("a quote is for more than nothing", now_ms)
    quote = driver.primary.quotes.ask(wanted.holder, running, wanted.side, wanted.amount, now_ms)
    if isinstance(quote, str):
        return _no(quote, now_ms)
    lasts, move = (quote.until_ms - now_ms) / 1000, running.spec.token.primary.quote_move
    words = f"{quote.id}: {_terms(quote)}, for {lasts:,.10g} s, void if the price moves by more than {move:.3%}."
    return Answered(done=True, words=words, time_ms=now_ms, status=running.state.status, id=quote.id, quote=quote)


def _dealt(driver: Driver, name: str, quote: Quote | str, now_ms: int) -> Answered:
    if isinstance(quote, str):
        return _no(quote, now_ms)
    status = driver.by_name[quote.token].state.status
    return Answered(done=True, words=f"{name} {_terms(quote)}.", time_ms=now_ms, status=status, id=quote.id,
                    quote=quote)  # fmt: skip


def _terms(quote: Quote) -> str:
    units, cash = as_text(quote.units, grouped=True), as_text(quote.cash, grouped=True)
    fee = f", {as_text(quote.fee, grouped=True)} of it fee" if quote.side == "subscribe" else ""
    if quote.side == "subscribe":
        return f"gets {units} {quote.token} for {cash} {quote.asset}{fee}"
    return f"gets {cash} {quote.asset} for {units} {quote.token}, after a fee of {as_text(quote.fee, grouped=True)}"


def _hand_on(driver: Driver, wanted: HandOn, now_ms: int) -> Answered:
    if wanted.other == wanted.holder:
        return _no("a transfer goes to another holder's id", now_ms)
    if bool(wanted.token) == bool(wanted.asset) or wanted.amount <= 0 or not wanted.reference:
        return _no("a transfer is of units or of money, of more than nothing, and has a reference", now_ms)
    running = driver.by_name.get(wanted.token)
    if wanted.token and running is None:
        return _no(f"there is no token {wanted.token}", now_ms)
    holder = driver.primary.holders.get(wanted.holder)
    state = HolderState() if holder is None else holder.state
    has = state.units(wanted.token) if wanted.token else state.cash(wanted.asset)
    if has < wanted.amount:
        return _no(f"{wanted.holder} has {as_text(has)} {wanted.token or wanted.asset} free", now_ms)
    stands = None if running is None else bearing(running.spec, running.state)
    for name, sign, other in ((wanted.holder, -1, wanted.other), (wanted.other, 1, wanted.holder)):
        amount = sign * wanted.amount
        units, cash = (amount, 0) if wanted.token else (0, amount)
        driver.primary.post(name, ho.Handed(time_ms=now_ms, token=wanted.token, units=units, asset=wanted.asset,
                                            cash=cash, other=other, reference=wanted.reference,
                                            bearing=stands))  # fmt: skip
    what = f"{as_text(wanted.amount)} {wanted.token or wanted.asset}"
    return _yes(f"{wanted.holder} handed {what} to {wanted.other}.", now_ms)


def _yes(words: str, now_ms: int) -> Answered:
    return Answered(done=True, words=words, time_ms=now_ms)


def _no(words: str, now_ms: int) -> Answered:
    return Answered(done=False, words=words, time_ms=now_ms)
