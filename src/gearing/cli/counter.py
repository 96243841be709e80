"""`gearing deposit`, `withdraw`, `subscribe`, `redeem`, `quote`, `take`, `cancel`, `transfer`: the primary market."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gearing.cli.operate import DEMO, ByOption, DeskOption, KeyOption, TimeoutOption, YesOption, confirm, request
from gearing.cli.output import JsonFlag, note
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.core.dealing import Side
    from gearing.desk.requests import HandOn, Pay, Wanted

HolderArgument = Annotated[str, typer.Argument(metavar="HOLDER", help="Its opaque id.", show_default=False)]
TokenArgument = Annotated[str, typer.Argument(metavar="TOKEN", help="Its symbol.", show_default=False)]
MoneyArgument = Annotated[str, typer.Argument(metavar="AMOUNT", help="Of money.", show_default=False)]
AssetOption = Annotated[str, typer.Option(help="The currency.")]
ReferenceOption = Annotated[
    str, typer.Option(help="The payer's own; the same one counts once.", show_default=False)
]  # fmt: skip


InstantOption = Annotated[
    bool, typer.Option("--instant", help="Deal at once with the dealing account, if it can; else when the window ends.")
]  # fmt: skip


def deposit(
    holder: HolderArgument,
    amount: MoneyArgument,
    reference: ReferenceOption,
    asset: AssetOption = "USDT",
    db: DeskOption = DEMO,
    by: ByOption = None,
    yes: YesOption = False,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Credits money that a holder paid in. Gearing moves none: it books what you say has come."""
    _pay(holder, minor(amount, "AMOUNT"), asset, reference, db, by, yes=yes, timeout=timeout, as_json=as_json)


def withdraw(
    holder: HolderArgument,
    amount: MoneyArgument,
    reference: ReferenceOption,
    asset: AssetOption = "USDT",
    db: DeskOption = DEMO,
    by: ByOption = None,
    yes: YesOption = False,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Debits money that a holder is paid out. It never goes below what is free."""
    _pay(holder, -minor(amount, "AMOUNT"), asset, reference, db, by, yes=yes, timeout=timeout, as_json=as_json)


def subscribe(
    holder: HolderArgument,
    token: TokenArgument,
    amount: MoneyArgument,
    instant: InstantOption = False,
    db: DeskOption = DEMO,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Asks for new units against money: dealt when the token's window ends, at the price of its own hedge."""
    from gearing.desk.requests import Deal

    wanted = Deal(holder=holder, token=token, side="subscribe", amount=minor(amount, "AMOUNT"), instant=instant)
    effect = f"{holder} pays up to {amount} for units of {token}; what cannot be hedged is returned."
    again = f"gearing subscribe {holder} {token} {amount}{' --instant' * instant}"
    _ask(wanted, f"holder:{holder}", again, effect, db, yes=yes, key=key, timeout=timeout, as_json=as_json,
         details={"holder": holder, "token": token})  # fmt: skip


def redeem(
    holder: HolderArgument,
    token: TokenArgument,
    units: Annotated[str, typer.Argument(metavar="UNITS", help="How many, or all.", show_default=False)],
    instant: InstantOption = False,
    db: DeskOption = DEMO,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Gives units back for money: dealt when the token's window ends, at the price of its own hedge."""
    from gearing.cli.holders import free_units
    from gearing.desk.requests import Deal

    amount = free_units(db, holder, token) if units == "all" else minor(units, "UNITS")
    wanted = Deal(holder=holder, token=token, side="redeem", amount=amount, instant=instant)
    effect = f"{holder} gives back {units} units of {token}; what cannot be hedged is returned."
    again = f"gearing redeem {holder} {token} {units}{' --instant' * instant}"
    _ask(wanted, f"holder:{holder}", again, effect, db, yes=yes, key=key, timeout=timeout, as_json=as_json,
         details={"holder": holder, "token": token})  # fmt: skip


def quote(
    holder: HolderArgument,
    token: TokenArgument,
    side: Annotated[str, typer.Argument(metavar="SIDE", help="subscribe or redeem.", show_default=False)],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Of money, or of units.", show_default=False)],
    db: DeskOption = DEMO,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Asks for a binding price to come in or go out at once. It may be taken until it ends; it need not be."""
    from gearing.desk.requests import AskQuote

    if side not in {"subscribe", "redeem"}:
        raise InputError(f"{side!r} is no side.", where="SIDE", fix="Say subscribe or redeem.")
    wanted = AskQuote(holder=holder, token=token, side=cast("Side", side), amount=minor(amount, "AMOUNT"))
    _ask(wanted, f"holder:{holder}", f"gearing quote {holder} {token} {side} {amount}", "", db, yes=True, key=key,
         timeout=timeout, as_json=as_json,
         details={"holder": holder, "token": token})  # fmt: skip
    note(f"It is taken by: gearing take {holder} QUOTE --db {db}")


def take(
    holder: HolderArgument,
    quote_id: Annotated[str, typer.Argument(metavar="QUOTE", help="Its id.", show_default=False)],
    db: DeskOption = DEMO,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Deals by a quote that was given to this holder, if it is not void by now."""
    from gearing.desk.requests import TakeQuote

    _ask(TakeQuote(holder=holder, id=quote_id), f"holder:{holder}", f"gearing take {holder} {quote_id}",
         f"{holder} deals by quote {quote_id}.", db, yes=yes, key=key, timeout=timeout, as_json=as_json,
         details={"holder": holder})  # fmt: skip


def cancel(
    holder: HolderArgument,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="Its id.", show_default=False)],
    db: DeskOption = DEMO,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Takes a request back, as long as it is not being dealt."""
    from gearing.desk.requests import Cancel

    wanted = Cancel(holder=holder, id=request_id)
    _ask(wanted, f"holder:{holder}", f"gearing cancel {holder} {request_id}", f"{request_id} is taken back.", db,
         yes=yes, key=key, timeout=timeout, as_json=as_json,
         details={"holder": holder})  # fmt: skip


def transfer(
    holder: HolderArgument,
    other: Annotated[str, typer.Argument(metavar="TO", help="The other holder's id.", show_default=False)],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Of units, or of money.", show_default=False)],
    reference: ReferenceOption,
    token: Annotated[str, typer.Option(help="Hand on units of this token.", show_default="money")] = "",
    asset: AssetOption = "USDT",
    db: DeskOption = DEMO,
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
    _ask(wanted, f"holder:{holder}", f"gearing transfer {holder} {other} {amount} --reference {reference!r}", effect,
         db, yes=yes, once=True, timeout=timeout, as_json=as_json,
         details={"holder": holder, "other": other})  # fmt: skip


def _pay(
    holder: str, amount: int, asset: str, reference: str, db: Path, by: str | None, *, yes: bool, timeout: float,
    as_json: bool,
) -> None:  # fmt: skip
    from gearing.cli.operate import named
    from gearing.desk.requests import Pay

    reference = _said(reference)
    word = "deposit" if amount > 0 else "withdraw"
    wanted = Pay(holder=holder, asset=asset, amount=amount, reference=reference, by=named(by, reference))
    effect = f"{holder} is {'credited' if amount > 0 else 'debited'} {abs(amount) / 10**8:,.2f} {asset}."
    again = f"gearing {word} {holder} {abs(amount) / 10**8:.8f} --reference {reference!r}"
    _ask(wanted, f"holder:{holder}", again, effect, db, yes=yes, once=True, timeout=timeout,
         as_json=as_json, details={"holder": holder, "asset": asset, "reference": reference})  # fmt: skip


def _ask(
    wanted: Wanted, principal: str, again: str, effect: str, db: Path, *, yes: bool, key: str | None = None,
    once: bool = False, timeout: float, as_json: bool, details: dict[str, object],
) -> None:  # fmt: skip
    """Shows what a request does, asks, puts it into the inbox, and waits for the answer.

    What counts `once` does so by its reference.
    """
    from gearing.desk.lock import is_running
    from gearing.desk.references import counted_once
    from gearing.store.store import Store

    with Store(db) as store:
        running = is_running(db)
        if once:
            wanted, key = counted_once(store, cast("Pay | HandOn", wanted))
        if not yes:
            confirm(again.split()[1], effect, running=running)
        request(store, wanted, principal, again, running=running, key=key, timeout=timeout, as_json=as_json,
                details=details)  # fmt: skip


def _said(reference: str) -> str:
    if not reference.strip():
        raise InputError("the reference is empty.", where="--reference", fix="Give the payer's own, such as D-2026-17.")
    return reference.strip()


def minor(text: str, where: str) -> int:
    """Returns an amount > 0 in minor units; what is finer is refused, not rounded.

    Raises:
        InputError: it is no such amount.
    """
    from decimal import Decimal, InvalidOperation

    from gearing.core.money import FLOOR, MINOR, checked

    try:
        amount = Decimal(text.replace(",", "").replace("_", ""))
    except InvalidOperation:
        raise InputError(f"{text!r} is no amount.", where=where, fix="Write a number such as 1000 or 0.25.") from None
    if not amount.is_finite() or amount <= 0 or amount * MINOR != (amount * MINOR).to_integral_value(FLOOR):
        raise InputError(f"{text} is no amount.", where=where, fix="Give one above 0, with at most 8 decimals.")
    return checked(int(amount * MINOR))
