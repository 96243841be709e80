"""`gearing book`: what an operator does for a venue account as a whole."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import UNSET

from gearing.cli.asking import (
    Asking,
    ByOption,
    KeyOption,
    ReasonOption,
    TimeoutOption,
    YesOption,
    named,
)
from gearing.cli.output import JsonFlag, aligned
from gearing.cli.reading import RunningDeskOption
from gearing.core.money import as_text
from gearing.errors import InputError
from gearing.numerals import contracts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearing.core.book import What
    from gearing.desk.view import BookLedger

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
    db: RunningDeskOption = None,
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


@book_app.command()
def adopt(
    context: typer.Context,
    book: Annotated[str, typer.Argument(metavar="BOOK", help="Its name.", show_default=False)],
    reason: ReasonOption,
    token: Annotated[
        list[str] | None,
        typer.Option(metavar="TOKEN", help="A token that takes all of it; may be repeated.",
                     show_default="the reserve takes the cash, and tokens that hold an instrument its contracts"),
    ] = None,
    db: RunningDeskOption = None,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Adopts what the venue holds beyond the ledger of a halted book, so that it trades again.

    Shows positions and cash by ledger and by venue, and asks. Positions are booked in tokens as trades at the mark,
    free of charge. The cash that differs then is the reserve's, or that of the tokens that are named.
    """
    from gearing.desk.requests import Adopt
    from gearing.desk.view import stored_ledger

    who, tokens = named(by, reason), tuple(dict.fromkeys(token or ()))
    with Asking(context, db, yes, key, timeout, as_json).desk() as desk:
        found = stored_ledger(desk.store, book)
        if found is None:
            known = ", ".join(stream.partition(":")[2] for stream in desk.store.streams() if stream.startswith("book:"))
            raise InputError(f"there is no book {book} in this database.", where=desk.name,
                             fix=f"There are: {known or 'none'}.")  # fmt: skip
        stranger = next((one for one in tokens if one not in found.state.tokens), None)
        if stranger is not None:
            raise InputError(f"book {book} has no token {stranger}.", where="--token",
                             fix=f"It has {', '.join(found.state.tokens)}.")  # fmt: skip
        differences = found.state.differences
        if differences is UNSET:
            halted = f" It is halted: {found.state.halted}; gearing resume lets it trade." if found.state.halted else ""
            raise InputError(f"by the venue's last statement book {book} agrees with its ledger: there is nothing to "
                             f"adopt.{halted}", where=desk.name)  # fmt: skip
        desk.confirm(_effect(found, book, tokens), _table(found))
        wanted = Adopt(book=book, differences=differences, tokens=tokens, by=who, reason=reason)
        desk.request(wanted, who, {"book": book, "tokens": tokens, "differences": differences})


def _effect(found: BookLedger, book: str, tokens: Sequence[str]) -> str:
    """Returns what an adoption does at the last marks, computed as the desk computes it."""
    after = f"Then book {book} trades again."
    after += "".join(
        f" Token {name} stays halted until it is resumed (gearing resume {name})." for name in found.halted
    )
    adopted = found.adopted(tokens)
    if adopted is None:
        return "no token can take a position that differs, so the desk will reject this: trade it away at the venue."
    symbols = {(one.token, one.k): symbol for symbol, those in found.takers.items() for one in those}
    taken = [f"token {key[0]} takes {contracts(n, found.lots[symbols[key]])} {symbols[key]} at the mark, free of charge"
             for key, n in adopted.lots.items() if n]  # fmt: skip
    bearer = f"{'tokens' if len(tokens) > 1 else 'token'} {' and '.join(tokens)}" if tokens else "the reserve"
    verb = "" if len(tokens) > 1 else "s"
    moved = [f"{bearer} {'receive' if amount > 0 else 'pay'}{verb} {as_text(abs(amount), grouped=True)} {asset}"
             for asset, amount in adopted.cash.items() if amount]  # fmt: skip
    marks = " (at the last mark; the desk takes that of the moment)" if taken else ""
    pays = any(amount < 0 for amount in adopted.cash.values()) and not tokens
    less = " If the reserve has less, the desk rejects this: name the tokens that pay, with --token." if pays else ""
    return f"{'; '.join([*taken, *moved])}{marks}.{less} {after}"


def _table(found: BookLedger) -> list[str]:
    """Returns what a book's account holds, by its ledger and by its venue's last statement, as lines of a table."""
    differing = {} if found.state.differences is UNSET else {(it.what, it.name): it for it in found.state.differences}
    rows = [("", "by the ledger", "at the venue", "difference")]
    for what, name in sorted({*found.amounts, *differing}, key=lambda key: (key[0] == "cash", key[1])):
        ledger, it = found.amounts.get((what, name), 0), differing.get((what, name))
        apart = 0 if it is None else it.venue - it.ledger
        amounts = [_amount(what, n, found.lots.get(name, "")) for n in (ledger, ledger + apart, apart)]
        rows.append((f"cash {name}" if what == "cash" else name, amounts[0], amounts[1], amounts[2] if apart else "–"))
    return aligned(rows, "<>>>")


def _amount(what: What, amount: int, lot: str) -> str:
    if what == "cash":
        return as_text(amount, grouped=True)
    return contracts(amount, lot) if lot else f"{amount:+,} lots"


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
