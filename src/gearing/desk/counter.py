"""The counter: what holders, and operators for them, ask of the primary market, and what they are answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from gearing.core import holder as ho
from gearing.core.dealing import bearing
from gearing.core.holder import HolderState, Quote
from gearing.core.holder_step import HolderError
from gearing.core.journal import Cause
from gearing.core.money import MINOR, as_text, to_float
from gearing.desk.requests import Answered, AskQuote, AtCounter, Cancel, Deal, HandOn, Pay, TakeQuote, is_rejected
from gearing.desk.waits import Wait, wait_of
from gearing.drive.acceptances import Acceptance, Judgement
from gearing.drive.caps import least_redemption
from gearing.drive.crowds import Rejection
from gearing.drive.driver import Driver
from gearing.drive.running import Running
from gearing.drive.settling import clock, next_settlement_ms
from gearing.typed import why_not_reference

# Ids are opaque: names and addresses live elsewhere.
# A sub-holder's follows on that of the omnibus holder it belongs to.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_-]{0,63})?")
_ASSET = re.compile(r"[A-Za-z0-9]{1,32}")


def submit(driver: Driver, wanted: AtCounter, now_ms: int, on_answer: Callable[[Answered], object]) -> None:
    """Runs a command of a holder now or, if it deals at once, at the first good price after its arrival.

    Args:
        driver: runs it.
        wanted: the command.
        now_ms: the time of its arrival.
        on_answer: is called with the answer, before this returns or with a later price.
    """
    running = token_to_wait_for(driver, wanted, now_ms)
    if running is None:
        on_answer(answer(driver, wanted, now_ms))
        return
    wait(driver, wanted, running, arrival(driver, now_ms), lambda at_ms, judgement: on_answer(
        judge(driver, wanted, at_ms, judgement)))  # fmt: skip


def token_to_wait_for(driver: Driver, wanted: AtCounter, now_ms: int) -> Running | None:
    """Returns the token whose next good price a command is judged at; None: it is run at once.

    What could not be dealt at once at any price, or is too little for it, does not wait for one, and where too many do
    nothing does.
    """
    if driver.primary.acceptances.why_crowded(wanted.holder):
        return None
    if isinstance(wanted, TakeQuote):
        quote = driver.primary.state_of(wanted.holder).quote(wanted.id)
        if quote is None or driver.primary.quotes.why_not_accepted(wanted.holder, wanted.id, now_ms):
            return None
        return driver.by_name[quote.token]
    if not isinstance(wanted, Deal) or not wanted.instant or wanted.amount <= 0 or _why_no_id(wanted):
        return None
    running, state = driver.by_name.get(wanted.token), driver.primary.state_of(wanted.holder)
    if running is None or not running.spec.token.primary.quote_ms:
        return None
    has = state.cash(running.spec.token.settlement) if wanted.side == "subscribe" else state.units(wanted.token)
    return running if has >= wanted.amount and not _is_dust(running, wanted) else None


def _is_dust(running: Running, wanted: Deal) -> bool:
    """Returns whether a dealing is below the least by far: it would only take the place of another in the queue."""
    if wanted.side == "subscribe":
        return to_float(wanted.amount) < running.spec.token.primary.least
    return to_float(wanted.amount * running.state.nav // MINOR) < least_redemption(running) / 2


def wait(
    driver: Driver, wanted: AtCounter, running: Running, judgement: Judgement,
    on_price: Callable[[int, Judgement], object],
) -> None:  # fmt: skip
    """Lets a dealing at once wait for its price; see `Acceptance` for what is called then."""
    quote_id = wanted.id if isinstance(wanted, TakeQuote) else ""
    driver.primary.acceptances.add(Acceptance(wanted.holder, running, quote_id, judgement, on_price))


def judge(
    driver: Driver, wanted: AtCounter, now_ms: int, judgement: Judgement, cause: Cause | None = None
) -> Answered:  # fmt: skip
    """Runs a dealing at once at the prices of now; a quote whose acceptance is rejected is void from then on."""
    try:
        answered = answer(driver, wanted, now_ms, judgement, cause)
    except Exception:
        _void(driver, wanted, "an internal error", now_ms)
        raise
    if not answered.done:
        _void(driver, wanted, answered.words, now_ms)
    return answered


def answer(
    driver: Driver, wanted: AtCounter, now_ms: int, judgement: Judgement | None = None, cause: Cause | None = None
) -> Answered:  # fmt: skip
    """Runs a command of a holder whole or not at all: what is rejected leaves every stream as it was.

    Args:
        driver: runs it.
        wanted: the command.
        now_ms: the time.
        judgement: of what deals at once, see `submit`; None: it arrives now, and no price can have followed it.
        cause: of the journal's lines; by default that of the work around it.
    """
    work = partial(_answer, driver, wanted, now_ms, judgement or arrival(driver, now_ms, holder=wanted.holder))
    return driver.atomically(work, is_rejected, cause)


def _void(driver: Driver, wanted: AtCounter, reason: str, now_ms: int) -> None:
    if isinstance(wanted, TakeQuote):
        driver.atomically(partial(driver.primary.quotes.void, wanted.holder, wanted.id, reason, now_ms))


def _why_no_id(wanted: AtCounter) -> str:
    """Returns why a command names no holder that there may be; empty: it does."""
    for name in (wanted.holder, wanted.other) if isinstance(wanted, HandOn) else (wanted.holder,):
        if not _ID.fullmatch(name):
            return (f"a holder's id is 1 to 64 letters, digits, - and _, and may have a sub-holder's after a /, not "
                    f"{name!r}")  # fmt: skip
        if ho.omnibus_of(name) in {ho.ISSUER, ho.DEALER}:
            return f"the {ho.omnibus_of(name)} has no sub-holders"
    return ""


def _why_unknown(driver: Driver, wanted: AtCounter) -> str:
    """Returns that whoever is to give something is no holder; empty: it is one, or is given something."""
    gives = not isinstance(wanted, (Pay, Cancel, TakeQuote)) or (isinstance(wanted, Pay) and wanted.amount < 0)
    name, primary = wanted.holder, driver.primary
    if not gives or name in primary.holders or not primary.is_run(name):
        return ""
    return f"there is no holder {name}; a first deposit makes one"


def arrival(driver: Driver, now_ms: int, mergers: int | None = None, holder: str = "") -> Judgement:
    """Returns how a command is judged that is looked at now.

    Args:
        driver: runs it.
        now_ms: the time.
        mergers: how many there had been when the desk took it in; None: it does so now.
        holder: whose command it is that is answered at once; empty: it waits for a price.
    """
    crowded = driver.primary.acceptances.why_crowded(holder) if holder else ""
    count = driver.primary.mergers if mergers is None else mergers
    return Judgement(now_ms, driver.market.received, count, crowded=crowded)


def _why_merged(driver: Driver, wanted: AtCounter, judgement: Judgement) -> str:
    """Returns that a command counts in units that were merged since it arrived; empty: it does not."""
    in_units = isinstance(wanted, HandOn) or (isinstance(wanted, (Deal, AskQuote)) and wanted.side == "redeem")
    running = driver.by_name.get(wanted.token) if isinstance(wanted, (HandOn, Deal, AskQuote)) and in_units else None
    if running is None or running.merged <= judgement.mergers:
        return ""
    return f"units of {running.name} were merged after this was sent, and nothing was done; look how many there are now"


def _answer(driver: Driver, wanted: AtCounter, now_ms: int, judgement: Judgement) -> Answered:
    why = _why_no_id(wanted) or _why_unknown(driver, wanted) or _why_merged(driver, wanted, judgement)
    if why:
        return _no(why, now_ms)
    try:
        match wanted:
            case Pay():
                return _pay(driver, wanted, now_ms)
            case Deal():
                return _deal(driver, wanted, now_ms, judgement)
            case AskQuote():
                return _quote(driver, wanted, now_ms)
            case TakeQuote():
                return _accept(driver, wanted, now_ms, judgement)
            case Cancel():
                words = driver.primary.cancel(wanted.holder, wanted.id, now_ms)
                return _no(words, now_ms) if words else _yes(f"{wanted.id} was cancelled.", now_ms)
            case HandOn():
                return _hand_on(driver, wanted, now_ms)
    except HolderError as error:
        return _no(f"{wanted.holder}: {error}", now_ms)


def _pay(driver: Driver, wanted: Pay, now_ms: int) -> Answered:
    if not wanted.reference.strip() or not wanted.by.strip():
        return _no("money comes in or goes out with a reference and a name", now_ms)
    why = why_not_reference(wanted.reference)
    if why:
        return _no(why, now_ms)
    if not _ASSET.fullmatch(wanted.asset):
        return _no(f"a currency is 1 to 32 letters and digits, not {wanted.asset!r}", now_ms)
    known = sorted({one.spec.token.settlement for one in driver.tokens})
    if wanted.amount > 0 and known and wanted.asset not in known:
        return _no(f"no token settles in {wanted.asset}; deposits are in {', '.join(known)}", now_ms)
    holder = driver.primary.holders.get(wanted.holder)
    has = 0 if holder is None else holder.state.cash(wanted.asset)
    aside = _set_aside(driver, wanted.holder, "", wanted.asset, now_ms)
    if wanted.amount < 0 and has - aside + wanted.amount < 0:
        return _no(f"{wanted.holder} has {_free(has, aside, wanted.asset)}, and is to be paid "
                   f"{as_text(-wanted.amount, grouped=True)}", now_ms)  # fmt: skip
    if wanted.amount < 0 and wanted.holder == ho.DEALER:
        why = driver.primary.quotes.why_not_paid_out(wanted.asset, -wanted.amount, now_ms)
        if why:
            return _no(why, now_ms)
    kind = ho.Deposited if wanted.amount > 0 else ho.Withdrawn
    driver.primary.post(wanted.holder, kind(time_ms=now_ms, asset=wanted.asset, amount=abs(wanted.amount),
                                            reference=wanted.reference, by=wanted.by))  # fmt: skip
    state = driver.primary.holders[wanted.holder].state
    done = "was credited" if wanted.amount > 0 else "was debited"
    amount, free = as_text(abs(wanted.amount), grouped=True), as_text(state.cash(wanted.asset), grouped=True)
    return _yes(f"{wanted.holder} {done} {amount} {wanted.asset}; {free} is free.", now_ms)


def _accept(driver: Driver, wanted: TakeQuote, now_ms: int, judgement: Judgement) -> Answered:
    if judgement.crowded:
        return _no(f"quote {wanted.id} is not accepted: {judgement.crowded}; ask again", now_ms, "waiting_for_price")
    if judgement.overdue:
        return _no(f"quote {wanted.id} is void: {judgement.overdue}", now_ms)
    accepted = driver.primary.quotes.accept(wanted.holder, wanted.id, judgement, now_ms)
    return _dealt(driver, wanted.holder, accepted, now_ms)


def _deal(driver: Driver, wanted: Deal, now_ms: int, judgement: Judgement) -> Answered:
    running, why = driver.by_name.get(wanted.token), ""
    if wanted.instant and running is not None and wanted.amount > 0:
        quote = (
            judgement.crowded
            or judgement.overdue
            or driver.primary.quotes.at_once(wanted.holder, running, wanted.side, wanted.amount, judgement, now_ms)
        )
        if not isinstance(quote, str):
            return _dealt(driver, wanted.holder, quote, now_ms)
        why = f"Not at once: {quote}. "
    accepted = driver.primary.request(wanted.holder, wanted.token, wanted.side, wanted.amount, now_ms)
    status = "" if running is None else running.state.status
    if isinstance(accepted, str):
        return _no(accepted, now_ms, status=status)
    assert running is not None  # whose request was accepted
    noun = "subscription" if wanted.side == "subscribe" else "redemption"
    words, wait = f"{why}{accepted.id} is accepted", Wait("It was dealt.")  # as of a token that is closed
    if accepted.id in driver.primary.state_of(wanted.holder).requests:
        wait = wait_of(driver, running, wanted.side, now_ms)
        words += f", number {accepted.place} of the {noun}s that wait in {wanted.token}"
    return Answered(done=True, words=f"{words}. {wait.words}", time_ms=now_ms, status=status,
                    id=accepted.id, place=accepted.place, deals_ms=wait.deals_ms)  # fmt: skip


def _quote(driver: Driver, wanted: AskQuote, now_ms: int) -> Answered:
    running = driver.by_name.get(wanted.token)
    if running is None:
        return _no(f"there is no token {wanted.token}; there are {', '.join(driver.by_name)}", now_ms)
    if wanted.amount <= 0:
        return _no(f"the amount of a quote must be positive, not {as_text(wanted.amount)}", now_ms)
    quote = driver.primary.quotes.ask(wanted.holder, running, wanted.side, wanted.amount, now_ms)
    if isinstance(quote, str):
        return _no(quote, now_ms)
    above = "above" if quote.side == "subscribe" else "below"
    swing = running.spec.token.primary.quote_swing
    words = (f"{quote.id}: {wanted.holder} {quote.terms}; {to_float(quote.unit_price):,.8g} per unit before the fee, "
             f"{abs(quote.difference_pct):.3f} % {above} iNAV ({to_float(quote.base_inav):,.8g}). It is judged at the "
             f"first price after its acceptance, and void if iNAV has "
             f"{'risen' if quote.side == 'subscribe' else 'fallen'} by more than {swing:.3%} by then.")  # fmt: skip
    if quote.until_ms < now_ms + running.spec.token.primary.quote_ms:
        settled_ms = next_settlement_ms(driver, running, now_ms)
        words += f" It expires early: funding is settled at {clock(settled_ms)}, and no quote is open around that."
    return Answered(done=True, words=words, time_ms=now_ms, status=running.state.status, id=quote.id, quote=quote)


def _dealt(driver: Driver, name: str, quote: Quote | str, now_ms: int) -> Answered:
    if isinstance(quote, str):
        return _no(quote, now_ms)
    status = driver.by_name[quote.token].state.status
    return Answered(done=True, words=f"{name} {quote.terms}.", time_ms=now_ms, status=status, id=quote.id,
                    quote=quote)  # fmt: skip


def _hand_on(driver: Driver, wanted: HandOn, now_ms: int) -> Answered:
    if wanted.other == wanted.holder:
        return _no("sender and recipient of a transfer are the same", now_ms)
    if bool(wanted.token) == bool(wanted.asset) or wanted.amount <= 0 or not wanted.reference:
        return _no("a transfer is of units or of money, of more than nothing, and has a reference", now_ms)
    why = why_not_reference(wanted.reference)
    if why:
        return _no(why, now_ms)
    running = driver.by_name.get(wanted.token)
    if wanted.token and running is None:
        return _no(f"there is no token {wanted.token}", now_ms)
    holder = driver.primary.holders.get(wanted.holder)
    state = HolderState() if holder is None else holder.state
    has = state.units(wanted.token) if wanted.token else state.cash(wanted.asset)
    aside = _set_aside(driver, wanted.holder, wanted.token, wanted.asset, now_ms)
    if has - aside < wanted.amount:
        return _no(f"{wanted.holder} has {_free(has, aside, wanted.token or wanted.asset)}, and is to transfer "
                   f"{as_text(wanted.amount, grouped=True)}", now_ms)  # fmt: skip
    if wanted.asset and wanted.holder == ho.DEALER:
        why = driver.primary.quotes.why_not_paid_out(wanted.asset, wanted.amount, now_ms)
        if why:
            return _no(why, now_ms)
    stands = None if running is None else bearing(running.spec, running.state)
    for name, sign, other in ((wanted.holder, -1, wanted.other), (wanted.other, 1, wanted.holder)):
        amount = sign * wanted.amount
        units, cash = (amount, 0) if wanted.token else (0, amount)
        driver.primary.post(name, ho.Handed(time_ms=now_ms, token=wanted.token, units=units, asset=wanted.asset,
                                            cash=cash, other=other, reference=wanted.reference,
                                            bearing=stands))  # fmt: skip
    what = f"{as_text(wanted.amount)} {wanted.token or wanted.asset}"
    return _yes(f"{wanted.holder} handed {what} to {wanted.other}.", now_ms)


def _set_aside(driver: Driver, name: str, token: str, asset: str, now_ms: int) -> int:
    """Returns what of a holder's free units, or money, may not leave it: only of the dealing account there is any."""
    if name != ho.DEALER:
        return 0
    aside = driver.primary.quotes.set_aside(now_ms)
    return aside.units.get(token, 0) if token else aside.money(asset)


def _free(has: int, aside: int, what: str) -> str:
    words = f"{as_text(has, grouped=True)} {what} free"
    return f"{words}, {as_text(aside, grouped=True)} of which are set aside for its quotes" if aside else words


def _yes(words: str, now_ms: int) -> Answered:
    return Answered(done=True, words=words, time_ms=now_ms)


def _no(words: str, now_ms: int, code: str = "", status: str = "") -> Answered:
    code = words.code if isinstance(words, Rejection) else code
    return Answered(done=False, words=str(words), time_ms=now_ms, status=status, code=code)  # str: of no other type
