"""`gearing status`, `rebalances`, `token list`, `token show`: what a desk's database tells, whether it runs or not."""

from __future__ import annotations

import math
import os
import shutil
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.output import Column, JsonFlag, heading, pairs, say, show_table
from gearing.cli.public import DISCLOSED, show_public
from gearing.cli.reading import DeskOption, StoredDesk, reading
from gearing.errors import InputError
from gearing.numerals import contracts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearing.core.measured import Measured
    from gearing.core.state import TokenState
    from gearing.core.token import Token
    from gearing.desk.life import Turn
    from gearing.desk.view import DeskView, TokenView
    from gearing.drive.outlook import Barrier

# Turns of a token's life that are shown; the JSON has all of them.
_TURNS = 10


def status(db: DeskOption = None, as_json: JsonFlag = False) -> None:
    """Shows a desk: its tokens, their leverage, barriers, next clock, last rebalance, and whether it runs."""
    with reading(db) as desk:
        view = _view(desk)
        desk.emit(_desk_payload(view), "gearing.status/1", as_json, lambda: _show_desk(view))


def token_list(db: DeskOption = None, as_json: JsonFlag = False) -> None:
    """Lists the tokens of a desk."""
    with reading(db) as desk:
        view = _view(desk)

    def show() -> None:
        rows = [
            (one.outlook.token, f"{one.outlook.target:+g}", one.outlook.status, f"{one.outlook.nav:,.4f}",
             f"{one.outlook.units:,.4f}", f"{one.outlook.equity:,.2f} {one.settlement}", one.book)
            for one in view.tokens
        ]  # fmt: skip
        show_table(("token", Column("target", "right"), "status", Column("NAV", "right"), Column("units", "right"),
                    Column("equity", "right"), "book"), rows)  # fmt: skip

    rows = [
        {"token": one.outlook.token, "target": one.outlook.target, "status": one.outlook.status,
         "nav": one.outlook.nav, "units": one.outlook.units, "equity": one.outlook.equity,
         "settlement": one.settlement, "book": one.book}
        for one in view.tokens
    ]  # fmt: skip
    desk.emit({"tokens": rows}, "gearing.token-list/1", as_json, show)


def token_show(
    symbol: Annotated[str, typer.Argument(metavar="TOKEN", help="Its symbol.", show_default=False)],
    db: DeskOption = None,
    public: Annotated[bool, typer.Option("--public", help="Show exactly what the public may know.")] = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print its file as it runs, to keep or to change.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Shows one token of a desk: specification, position, ledger, where its result came from, barriers, forecast.

    With --public it shows what its disclosure lets the public know, and nothing else. With --toml it prints the
    token's file as it stands now, for `gearing change`.
    """
    from gearing.core.attribution import PARTS
    from gearing.core.dealing import bearing
    from gearing.core.journal import state_of
    from gearing.core.money import to_float
    from gearing.core.spec_text import format_token
    from gearing.core.terms import Spec
    from gearing.desk.boot import last_done, spec_of
    from gearing.desk.life import stage_of, turns_of
    from gearing.drive.disclosure import disclosed

    with reading(db) as desk:
        view, store = _view(desk), desk.store
        seen = next((one for one in view.tokens if one.outlook.token == symbol), None)
        if seen is None:
            known = ", ".join(one.outlook.token for one in view.tokens) or "none"
            raise InputError(f"there is no token {symbol} in this database.", where=desk.name,
                             fix=f"There are: {known}.")  # fmt: skip
        token = spec_of(store, symbol)
        found = store.state(f"token:{symbol}")
        done = last_done(store, symbol)
        turns = [] if public else turns_of(store, symbol)
    if toml:
        if public or as_json:
            raise InputError("--toml prints a file, and nothing else.", fix="Leave out --public and --json.")
        typer.echo(format_token(token), nl=False)
        return
    if public:
        shown = disclosed(seen.outlook, Spec(token), done)
        desk.emit({"market_ms": view.market_ms, "public": shown}, "gearing.token-public/1", as_json,
                  lambda: show_public(shown, view.market_ms))  # fmt: skip
        return
    if found is None:
        raise InputError(f"{symbol} has no state.", where=desk.name, fix="Run: gearing journal verify.")
    state = state_of(found.body)
    stands = bearing(Spec(token), state)
    money = dict(zip(PARTS, stands.parts, strict=True))
    # What those who came and went left, or took along: rounding, and what they overpaid for their hedges.
    money["flows"] = to_float(stands.nav) - token.initial_nav - math.fsum(stands.parts)
    ledger = {account: to_float(amount) for account, amount in state.balances.items()}
    payload = {
        "market_ms": view.market_ms, "specification": token,
        **_token_payload(seen), "ledger": ledger, "attribution_per_unit": money, "stage": stage_of(state),
        "life": [turn._asdict() for turn in turns],
    }  # fmt: skip

    def show() -> None:
        _show_token(view.market_ms, seen, token, state, ledger, money)
        _show_life(turns)

    desk.emit(payload, "gearing.token-show/1", as_json, show)


def rebalances(
    token: Annotated[str | None, typer.Argument(metavar="[TOKEN]", help="Of one token.", show_default="all")] = None,
    db: DeskOption = None,
    last: Annotated[int, typer.Option(min=1, max=100_000, help="How many of the last.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Lists the last rebalances: why, from what leverage to what, how much, and what it cost against the decision."""
    from gearing.desk.boot import measured

    with reading(db) as desk:
        if token is not None and desk.store.state(f"token:{token}") is None:
            raise InputError(f"there is no token {token} in this database.", where=desk.name,
                             fix="`gearing token list` names them.")  # fmt: skip
        found = measured(desk.store, token, last)
        desk.emit({"rebalances": [_measured_payload(one) for one in found]}, "gearing.rebalances/1", as_json,
                  lambda: _show_rebalances(found))  # fmt: skip


def _view(desk: StoredDesk) -> DeskView:
    from gearing.cli.compiling import loading_desk

    with loading_desk():
        from gearing.desk.view import stored_view

    return stored_view(desk.store, running=desk.running)


def _show_desk(view: DeskView) -> None:
    from gearing.cli.console import rendered

    columns = shutil.get_terminal_size().columns if os.environ.get("COLUMNS") or os.isatty(1) else 140
    typer.echo(rendered(view, columns))


def _show_rebalances(found: list[Measured]) -> None:
    from gearing.cli.console import clock
    from gearing.core.money import to_float

    if not found:
        say("No rebalance yet.")
        return
    rows = []
    for one in found:
        after = "running" if one.is_open else f"{one.after:+.3f}"
        rows.append((
            clock(one.started_ms, seconds=False), one.token, f"{one.epoch:,}", one.reason, f"{one.before:+.3f}", after,
            f"{one.side} {to_float(one.traded):,.0f}".strip(), f"{to_float(one.slippage):,.2f}",
            f"{to_float(one.commission):,.2f}", f"{one.cost_rate:.3%}", f"{one.slices}/{one.fills}",
        ))  # fmt: skip
    right = [Column(name, "right", wrap=False) for name in ("before", "after", "traded", "slippage", "fee", "cost")]
    show_table(
        (Column("decided, UTC", wrap=False), "token", Column("number", "right"), "reason", *right,
         Column("slices/fills", "right", wrap=False)), rows,
    )  # fmt: skip


def _show_token(
    market_ms: int, seen: TokenView, token: Token, state: TokenState, ledger: dict[str, float], money: dict[str, float]
) -> None:
    from gearing.cli.console import clock, span
    from gearing.cli.rules import show_fees, show_rule
    from gearing.core.words import merger_words
    from gearing.desk.life import stage_of

    now = seen.outlook
    typer.secho(f"{': '.join(filter(None, (token.symbol, token.name)))}", bold=True)
    facts = [
        ("stage", stage_of(state)), ("health", f"{seen.health}{seen.helps and f' → {seen.helps}'}"),
        ("as of", f"{clock(market_ms)} UTC"),
        ("NAV", f"{now.nav:,.8f} {seen.settlement}"), ("units", f"{now.units:,.8f}"),
        ("equity", f"{now.equity:,.2f}"), ("exposure", f"{now.exposure:+,.2f}"),
        ("leverage", f"{now.leverage:+.4f}, target {now.target:+g}"),
        ("margin", "none asked for" if seen.headroom is None else f"equity is {seen.headroom:.1f} × maintenance"),
        ("rebalances", f"{state.rebalances:,}, turnover {state.turnover:.2f} × equity"),
    ]  # fmt: skip
    if now.due_ms is not None:
        facts.append(("next clock", f"{now.due}, in {span(now.due_ms - market_ms)}"))
    if now.forecast is not None:
        forecast = now.forecast
        size = f"{forecast.side} {forecast.traded:,.0f}" if forecast.traded else "nothing"
        facts.append(("forecast", f"{size} to {forecast.aim:+.4g}, if it rebalanced now"))
    if token.consolidation is not None:
        facts.append(("mergers", merger_words(token)))
    facts.append(("disclosure", f"{token.disclosure}: {DISCLOSED[token.disclosure]} (--public shows it)"))
    pairs(facts)
    show_rule(token.resolved_rule, token.target)
    show_fees(token.fees, token.target)
    heading("Position")
    show_table(
        ("instrument", Column("contracts", "right"), Column("mark", "right"), Column("value", "right"),
         Column("below", "right"), Column("above", "right"), Column("equity gone at", "right")),
        [(leg.symbol, contracts(leg.lots, leg.lot), f"{leg.mark:,.6g}", f"{leg.notional:+,.0f}", _price(leg.below),
          _price(leg.above), _price(leg.zero)) for leg in now.legs],
    )  # fmt: skip
    heading("Ledger (debits positive)")
    show_table(("account", Column("amount", "right")),
               [(name, f"{amount:,.8f}") for name, amount in ledger.items() if amount])  # fmt: skip
    heading(f"Where it came from since a NAV of {token.initial_nav:g}, {seen.settlement} per unit")
    rows = [(name.replace("_", " "), f"{amount:+,.4f}") for name, amount in money.items() if abs(amount) > 5e-9]
    show_table(("part", Column("amount", "right")), [*rows, ("total", f"{sum(money.values()):+,.4f}")])


def _show_life(turns: Sequence[Turn]) -> None:
    """Shows the last turns of a token's life, with who had them so and why."""
    from gearing.cli.console import clock

    heading("Life" if len(turns) <= _TURNS else f"Life, the last {_TURNS} turns of {len(turns)}")
    show_table(("since, UTC", "", "by", "reason"),
               [(clock(turn.time_ms, seconds=False), *turn[1:]) for turn in turns[-_TURNS:]])  # fmt: skip


def _price(barrier: Barrier | None) -> str:
    if barrier is None:
        return "–"
    deviations = "" if barrier.deviations is None else f", {barrier.deviations:+.1f}σ"
    return f"{barrier.price:,.6g} ({barrier.move:+.1%}{deviations})"


def _desk_payload(view: DeskView) -> dict[str, Any]:
    return {
        "running": view.running, "market_ms": view.market_ms, "lines": view.lines,
        "tokens": [_token_payload(one) for one in view.tokens],
    }  # fmt: skip


def _token_payload(one: TokenView) -> dict[str, Any]:
    return {
        "outlook": one.outlook, "book": one.book, "settlement": one.settlement, "health": one.health,
        "helps": one.helps, "headroom": one.headroom,
        "last_rebalance": None if one.last is None else _measured_payload(one.last),
    }  # fmt: skip


def _measured_payload(one: Measured) -> dict[str, Any]:
    from gearing.core.money import to_float

    return {
        "token": one.token, "epoch": one.epoch, "reason": one.reason, "aim": one.aim, "started_ms": one.started_ms,
        "ended_ms": one.ended_ms or None, "leverage_before": one.before,
        "leverage_after": None if one.is_open else one.after, "side": one.side, "traded": to_float(one.traded),
        "slippage": to_float(one.slippage), "commission": to_float(one.commission), "cost": to_float(one.cost),
        "cost_rate": one.cost_rate, "slices": one.slices, "fills": one.fills,
        "legs": [
            {"symbol": leg.symbol, "lots": leg.lots, "decided": leg.decided, "paid": to_float(leg.paid),
             "worth": to_float(leg.worth), "commission": to_float(leg.commission)}
            for leg in one.legs
        ],
    }  # fmt: skip
