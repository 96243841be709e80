"""The exact run beside a backtest, as `gearing backtest --exact` prints it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gearing.cli.output import Column, heading, pairs, say, show_table
from gearing.errors import InputError
from gearing.numerals import amount, number

if TYPE_CHECKING:
    from gearing.cli.series import Market
    from gearing.core.token import Token
    from gearing.study.exact_result import ExactResult
    from gearing.study.result import Result

# What each account of the ledger is, in the order it is printed.
_ACCOUNTS = {
    "wallet": "wallet at the venue", "unrealised": "unrealised profit", "fees": "fees owed to the issuer",
    "capital": "capital paid in", "price": "price moves", "spread": "spread", "commission": "commission",
    "funding": "funding", "management": "management fee", "liquidation": "liquidation", "reserve": "reserve",
}  # fmt: skip


def exactly(token: Token, market: Market, equity: float) -> ExactResult:
    """Runs a token through the desk's own step and ledger.

    Raises:
        InputError: it holds, or the study was given, what a desk does not run.
    """
    from gearing.study.exact import exact_backtest

    if market.dividends or market.rates or market.underlying:
        what = "a desk books prices and funding; dividends, rates and another underlying are a study's."
        raise InputError(what, where="--exact", fix="Leave them out, or leave --exact out.")
    return exact_backtest(token, market.prices, funding=market.funding or None, equity=equity)


def write_journal(exact: ExactResult, file: Path | None, *, force: bool) -> None:
    """Writes the journal of an exact run, if it was asked for, and says how it is looked at."""
    if file is not None:
        count = exact.journal(file, force=force)
        typer.echo(f"wrote {file}, {count:,} lines; see: gearing journal recompute {file}", err=True)


def exact_payload(exact: ExactResult, quick: Result) -> dict[str, Any]:
    """Returns an exact run's answer for JSON; amounts are decimals as text, to the last minor unit."""
    from gearing.core.money import as_text

    return {
        "nav": as_text(exact.state.nav),
        "equity": as_text(exact.state.equity),
        "units": as_text(exact.balances.units),
        "rebalances": exact.rebalances,
        "fills": exact.fills,
        "events": len(exact.happened),
        "status": exact.state.status,
        "difference": exact.final_nav - quick.summary().final_nav,
        "ledger": {account: as_text(balance) for account, balance in exact.balances.items()},
    }


def show_exact(exact: ExactResult, quick: Result) -> None:
    """Prints an exact run: what it ended at, how far its quick twin is from that, and the ledger."""
    from gearing.core.money import as_text

    currency, nav = exact.token.settlement, quick.summary().final_nav
    heading("Exact: the desk's own step and ledger")
    pairs(
        [
            ("NAV", f"{as_text(exact.state.nav, grouped=True)} {currency}"),
            ("apart from the above by", f"{amount(abs(exact.final_nav - nav))} {currency}"),
            ("events", f"{len(exact.happened):,}, of them {exact.fills:,} fills"),
            ("rebalances", f"{exact.rebalances:,}; above {quick.summary().rebalances:,}"),
            ("units", number(exact.balances.units / 1e8, decimals=8)),
        ]
    )
    rows = [
        (words, as_text(getattr(exact.balances, account), grouped=True))
        for account, words in _ACCOUNTS.items()
        if getattr(exact.balances, account)
    ]
    typer.echo()
    show_table((Column("account", wrap=False), Column(f"balance, {currency}", "right", wrap=False)), rows)
    say("Debits are positive. All balances sum to zero; wallet, unrealised profit and fees owed make the equity.")
