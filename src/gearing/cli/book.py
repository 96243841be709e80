"""`gearing book`: what an operator does for a venue account as a whole."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from gearing.cli.asking import (
    AskedDeskOption,
    Asking,
    ByOption,
    KeyOption,
    ReasonOption,
    TimeoutOption,
    YesOption,
    named,
)
from gearing.cli.output import JsonFlag
from gearing.errors import InputError

# No venue's cap on a settlement's rate is as wide.
_RATE_MAX = 0.1

book_app = typer.Typer(help="Books: what an operator does for a venue account as a whole.", no_args_is_help=True)


@book_app.callback()
def books() -> None:
    """Books: what an operator does for a venue account as a whole."""


@book_app.command()
def settle(
    context: typer.Context,
    book: Annotated[str, typer.Argument(metavar="BOOK", help="Its name.", show_default=False)],
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="The instrument.", show_default=False)],
    at: Annotated[str, typer.Option(help="The settlement's time, UTC: 2026-01-02T08:00.", show_default=False)],
    rate: Annotated[
        str, typer.Option(help="The rate that the venue published, such as 0.01%; 0: there was no settlement.",
                          show_default=False)
    ],
    reason: ReasonOption,
    db: AskedDeskOption = None,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Books a funding settlement that the venue has not reported.

    Possible ten minutes after the settlement. If the venue reports it later, the difference goes to the reserve.
    """
    from gearing.desk.requests import SettleFunding

    who, time_ms, exact = named(by, reason), _time_ms(at), _rate(rate)
    wanted = SettleFunding(book=book, symbol=symbol, settlement_ms=time_ms, rate=exact, by=who, reason=reason)
    with Asking(context, db, yes, key, timeout, as_json).desk() as desk:
        desk.confirm(f"the funding of {symbol} at {at} UTC is booked for every token of {book} that held it, at "
                     f"{wanted.rate:+.4%}.")  # fmt: skip
        desk.request(wanted, who, {"book": book, "symbol": symbol, "settlement_ms": time_ms})


def _time_ms(text: str) -> int:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InputError(f"{text!r} is not a time.", where="--at", fix="Write it like 2026-01-02T08:00.") from None
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _rate(text: str) -> float:
    from gearing.core.record import rate

    try:
        found = rate(text)
    except ValueError:
        found = 1.0
    if not abs(found) < _RATE_MAX:
        raise InputError(f"{text!r} is not a funding rate.", where="--rate",
                         fix=f"Write it like 0.01% or -0.0001; the largest is {_RATE_MAX:.0%}.")  # fmt: skip
    return found
