"""`gearing deposit`, `withdraw`, `subscribe`, `redeem`, `quote`, `take`, `cancel`, `transfer`: the primary market."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gearing.cli.asking import (
    AskedDesk,
    Asking,
    ByOption,
    KeyOption,
    TimeoutOption,
    TokenArgument,
    YesOption,
    named,
)
from gearing.cli.output import JsonFlag, note, say
from gearing.cli.reading import RunningDeskOption
from gearing.errors import InputError
from gearing.typed import why_not_reference

if TYPE_CHECKING:
    from gearing.core.dealing import Side
    from gearing.desk.requests import Answered, Wanted
    from gearing.store.store import Store

HolderArgument = Annotated[str, typer.Argument(metavar="HOLDER", help="Its opaque id.", show_default=False)]
MoneyArgument = Annotated[str, typer.Argument(metavar="AMOUNT", help="Of money.", show_default=False)]
AssetOption = Annotated[str, typer.Option(help="The currency.")]
ReferenceOption = Annotated[
    str, typer.Option(help="The payer's own; the same one counts once.", show_default=False)
]  # fmt: skip


InstantOption = Annotated[
    bool,
    typer.Option("--instant", help="Deal with the dealing account at the next price, if it can; else by the window."),
]  # fmt: skip


def deposit(
    context: typer.Context,
    holder: HolderArgument,
    amount: MoneyArgument,
    reference: ReferenceOption,
    asset: AssetOption = "USDT",
    db: RunningDeskOption = None,
    by: ByOption = None,
    yes: YesOption = False,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Credits money that a holder paid in. Gearing moves none: it books what you say has come."""
    _pay(holder, minor(amount, "AMOUNT"), asset, reference, by, Asking(context, db, yes, None, timeout, as_json))


def withdraw(
    context: typer.Context,
    holder: HolderArgument,
    amount: MoneyArgument,
    reference: ReferenceOption,
    asset: AssetOption = "USDT",
    db: RunningDeskOption = None,
    by: ByOption = None,
    yes: YesOption = False,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Debits money that a holder is paid out. It never goes below what is free."""
    _pay(holder, -minor(amount, "AMOUNT"), asset, reference, by, Asking(context, db, yes, None, timeout, as_json))


def subscribe(
    context: typer.Context,
    holder: HolderArgument,
    token: TokenArgument,
    amount: MoneyArgument,
    instant: InstantOption = False,
    db: RunningDeskOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Asks for new units against money: dealt when the token's window ends, at the price of its own hedge."""
    from gearing.desk.requests import Deal

    wanted = Deal(holder=holder, token=token, side="subscribe", amount=minor(amount, "AMOUNT"), instant=instant)
    effect = f"{holder} pays up to {amount} for units of {token}{_when(instant)}"
    _ask(wanted, holder, effect, {"token": token}, Asking(context, db, yes, key, timeout, as_json))


def redeem(
    context: typer.Context,
    holder: HolderArgument,
    token: TokenArgument,
    units: Annotated[str, typer.Argument(metavar="UNITS", help="How many, or all.", show_default=False)],
    instant: InstantOption = False,
    db: RunningDeskOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Gives units back for money: dealt when the token's window ends, at the price of its own hedge."""
    from gearing.core.money import as_text
    from gearing.desk.requests import Deal

    amount = None if units == "all" else minor(units, "UNITS")
    effect = f"{holder} gives back {units} units of {token}{_when(instant)}"
    with Asking(context, db, yes, key, timeout, as_json).desk() as desk:
        amount = _free_units(desk, holder, token) if amount is None else amount
        wanted = Deal(holder=holder, token=token, side="redeem", amount=amount, instant=instant)
        # Asked again, "all" would be another number.
        _ask_desk(desk, wanted, holder, effect, {"token": token}, units=as_text(amount))


def quote(
    context: typer.Context,
    holder: HolderArgument,
    token: TokenArgument,
    side: Annotated[str, typer.Argument(metavar="SIDE", help="subscribe or redeem.", show_default=False)],
    amount: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="Of money, or of units, or all of these.", show_default=False)
    ],
    db: RunningDeskOption = None,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Requests a firm quote to subscribe or redeem now. You may accept it until it expires; it voids your open one."""
    from gearing.core.money import as_text
    from gearing.desk.requests import AskQuote

    if side not in {"subscribe", "redeem"}:
        raise InputError(f"{side!r} is not a side.", where="SIDE", fix="Give subscribe or redeem.")
    asked = None if (side, amount) == ("redeem", "all") else minor(amount, "AMOUNT")
    with Asking(context, db, True, key, timeout, as_json).desk() as desk:
        asked = _free_units(desk, holder, token) if asked is None else asked
        wanted = AskQuote(holder=holder, token=token, side=cast("Side", side), amount=asked)
        answered = _ask_desk(desk, wanted, holder, "", {"token": token}, amount=as_text(asked))
        command = shlex.join(["gearing", "take", holder, answered.id, "--db", str(desk.store.path)])
    if answered.terms is not None and not as_json:
        say(expiry_text(answered.terms.expires_at))
    note(f"Accept it with: {command}")


def take(
    context: typer.Context,
    holder: HolderArgument,
    quote_id: Annotated[str, typer.Argument(metavar="QUOTE", help="Its id.", show_default=False)],
    db: RunningDeskOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Accepts the holder's open quote. It is judged at the first price after this arrives, and may be void by then."""
    from gearing.desk.requests import TakeQuote

    with Asking(context, db, yes, key, timeout, as_json).desk() as desk:
        state = desk.store.holders().get(holder)
        quote = None if state is None else state.quote(quote_id)
        if quote is None and not yes and key is None:
            what = f"{holder} has no open quote {quote_id}: it was accepted, it is void, or there never was one."
            raise InputError(what, where=desk.name, fix="Ask for another: gearing quote.")
        effect = f"{holder} has no open quote {quote_id}." if quote is None else f"{holder} {quote.terms}."
        _ask_desk(desk, TakeQuote(holder=holder, id=quote_id), holder, effect, {})


def cancel(
    context: typer.Context,
    holder: HolderArgument,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="Its id.", show_default=False)],
    db: RunningDeskOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Cancels a request, as long as it is not being dealt."""
    from gearing.desk.requests import Cancel

    asking = Asking(context, db, yes, key, timeout, as_json)
    _ask(Cancel(holder=holder, id=request_id), holder, f"{request_id} is cancelled.", {}, asking)


def transfer(
    context: typer.Context,
    holder: HolderArgument,
    other: Annotated[str, typer.Argument(metavar="TO", help="The other holder's id.", show_default=False)],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Of units, or of money.", show_default=False)],
    reference: ReferenceOption,
    token: Annotated[str, typer.Option(help="Hand on units of this token.", show_default="money")] = "",
    asset: AssetOption = "USDT",
    db: RunningDeskOption = None,
    yes: YesOption = False,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Hands units or money from one holder to another."""
    from gearing.desk.requests import HandOn

    reference = _said(reference)
    wanted = HandOn(holder=holder, other=other, token=token, asset="" if token else asset,
                    amount=minor(amount, "AMOUNT"), reference=reference)  # fmt: skip
    effect = f"{holder} hands {amount} {token or asset} to {other}."
    _ask(wanted, holder, effect, {"other": other}, Asking(context, db, yes, None, timeout, as_json))


def expiry_text(expires_at: str) -> str:
    """Returns when a quote expires, on the reader's own clock.

    Args:
        expires_at: in ISO 8601, with its offset from UTC.
    """
    text = local_text(expires_at)
    return f"It expired at {text}." if text.endswith(" ago") else f"It expires at {text}."


def local_text(at: str) -> str:
    """Returns a time on the reader's own clock, and how far away it is: "12:00:05, in 4 s".

    Args:
        at: in ISO 8601, with its offset from UTC.
    """
    from datetime import UTC, datetime

    from gearing.cli.console import span

    time = datetime.fromisoformat(at)
    left_s = (time - datetime.now(UTC)).total_seconds()
    local = f"{time.astimezone():%H:%M:%S}"
    return f"{local}, in {span(1000 * left_s)}" if left_s > 0 else f"{local}, {span(-1000 * left_s)} ago"


def _free_units(desk: AskedDesk, holder: str, token: str) -> int:
    """Returns the units a holder has free, which are all that it can redeem.

    Raises:
        InputError: it has none, or there is no such holder.
    """
    from gearing.cli.holders import holder_state

    units = holder_state(desk.store.holders(), holder, desk.store.path).units(token)
    if units <= 0:
        raise InputError(f"{holder} has no units of {token} free.", where=desk.name)
    return units


def _when(instant: bool) -> str:
    """Returns when a request is dealt, and what becomes of the rest."""
    later = "when the token's window ends; what cannot be hedged is returned."
    return f" at the next price if the dealing account can, else {later}" if instant else f" {later}"


def _pay(holder: str, amount: int, asset: str, reference: str, by: str | None, asking: Asking) -> None:
    from gearing.core.money import as_text
    from gearing.desk.requests import Pay

    reference = _said(reference)
    wanted = Pay(holder=holder, asset=asset, amount=amount, reference=reference, by=named(by, reference))
    money = f"{as_text(abs(amount), grouped=True)} {asset}"
    effect = f"{holder} is {'credited' if amount > 0 else 'debited'} {money}."
    _ask(wanted, holder, effect, {"asset": asset, "reference": reference}, asking)


def _ask(wanted: Wanted, holder: str, effect: str, details: dict[str, object], asking: Asking) -> None:
    with asking.desk() as desk:
        _ask_desk(desk, wanted, holder, effect, details)


def _ask_desk(
    desk: AskedDesk, wanted: Wanted, holder: str, effect: str, details: dict[str, object], **instead: str
) -> Answered:
    """Shows what a request does, asks, puts it into the inbox, and waits for the answer; a reference counts once."""
    before, details = _booked(desk.store, wanted), {"holder": holder, **details}
    if before is not None:
        return desk.show(before, details)
    desk.confirm(effect)
    key = _key(desk.store, f"holder:{holder}", wanted)
    answered = desk.request(wanted, f"holder:{holder}", details, key, **instead)
    if answered.deals_at and not desk.asking.as_json:
        say(f"On your clock that is at {local_text(answered.deals_at)}.")
    return answered


def _key(store: Store, principal: str, wanted: Wanted) -> str | None:
    """Returns the key of a payment or transfer: the same command is one request until it is rejected; None: any."""
    import hashlib
    from itertools import count

    from gearing.desk.requests import HandOn, Pay, answered_of, encode

    if not isinstance(wanted, (Pay, HandOn)):
        return None
    digest = hashlib.sha256(encode(wanted)).hexdigest()[:32]
    for attempt in count(1):
        kept = store.kept(principal, f"{digest}.{attempt}")
        if kept is None or kept.answer is None or answered_of(kept.answer).done:
            return f"{digest}.{attempt}"
    raise AssertionError("unreachable")


def _booked(store: Store, wanted: Wanted) -> Answered | None:
    """Returns the answer to a payment or transfer whose reference the journal has already; None: it is new."""
    from msgspec import UNSET

    from gearing.desk.causes import cause_of, replayed

    cause = cause_of("", "", wanted)
    if cause.reference is UNSET:
        return None
    line = store.caused([cause.reference]).get(cause.reference)
    return None if line is None else replayed(line, cause, "reference", line.time_ms)


def _said(reference: str) -> str:
    if not reference.strip():
        raise InputError("the reference is empty.", where="--reference", fix="Give the payer's own, such as D-2026-17.")
    why = why_not_reference(reference.strip())
    if why:
        raise InputError(f"{why}.", where="--reference")
    return reference.strip()


def minor(text: str, where: str) -> int:
    """Returns an amount that was typed in minor units; `where` names the argument.

    Raises:
        InputError: it is no amount.
    """
    from gearing.core.money import minor_of

    try:
        return minor_of(text)
    except InputError as error:
        raise InputError(error.what, where=where, fix=error.fix) from None
