"""`gearing rules`: every issuer's rule, in words and in moves of the price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.output import Column, JsonFlag, emit, heading, say, show_table

if TYPE_CHECKING:
    from gearing.core.fees import Fees
    from gearing.core.presets import Preset
    from gearing.core.rule import Rule

rules_app = typer.Typer(help="Issuers' rules, in words and in moves of the price.")


def _complete_preset(incomplete: str) -> list[str]:
    from gearing.core import presets

    return [name for name in presets.names() if name.startswith(incomplete)]


@rules_app.callback(invoke_without_command=True)
def rules(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Lists every preset: what it was issued for, its rule and its fees."""
    if context.invoked_subcommand is not None:
        return
    from gearing.core import presets

    entries = list(presets.PRESETS.values())
    emit({"presets": [_listed(entry) for entry in entries]}, "gearing.rules/1", as_json, lambda: _list(entries))


def _listed(entry: Preset) -> dict[str, Any]:
    return {
        "name": entry.name,
        "issuer": entry.issuer,
        "targets": entry.targets,
        "example_target": entry.example,
        "rule": _short(entry),
        "fees": entry.fees,
    }


def _short(entry: Preset) -> str:
    import msgspec

    from gearing.core import presets
    from gearing.core.words import headline

    rule = presets.preset(entry.name, target=entry.example)
    return headline(msgspec.structs.replace(rule, name=""))


def _list(entries: list[Preset]) -> None:
    from gearing.core.words import fee_headline, number

    rows = [
        (entry.name, entry.targets, number(entry.example, sign=True), _short(entry), fee_headline(entry.fees))
        for entry in entries
    ]
    show_table((Column("preset", wrap=False), "issued for", Column("at", "right", wrap=False), "rule", "fees"), rows)
    typer.echo()
    say(
        'Levels are real leverage without its sign, for the target under "at". '
        "`gearing rules show ftx --target -3` explains one."
    )


@rules_app.command()
def show(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="Such as ftx.", autocompletion=_complete_preset)],
    target: Annotated[
        float | None,
        typer.Option(help="Target leverage, such as 3 or -1.", show_default="3, or 2"),
    ] = None,
    underlying: Annotated[str | None, typer.Option(help="Such as BTC; some rules depend on it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Explains one preset: its words, its price moves, its fees, and where it is known from."""
    import msgspec

    from gearing.core import presets
    from gearing.core.token import Token
    from gearing.core.words import number

    fees = presets.fees(preset)
    entry = presets.PRESETS[preset]
    beta = entry.example if target is None else target
    rule = presets.preset(preset, target=beta, underlying=underlying)
    # A token refuses a rule that does not fit its target, so that what is shown can also be run.
    Token(symbol="x", target=beta, rule=rule)
    payload = {
        "preset": preset,
        "issuer": entry.issuer,
        "targets": entry.targets,
        "target": beta,
        "rule": msgspec.to_builtins(rule),
        **rule_payload(rule, fees, beta),
        "about": entry.about,
        "source": entry.source,
    }

    def people() -> None:
        typer.secho(f"{preset} at a target of {number(beta, sign=True)}", bold=True)
        for paragraph in entry.about:
            say(paragraph)
        say(f"Issued for {entry.targets}.")
        show_rule(rule, beta)
        show_fees(fees, beta)
        heading("Source")
        say(entry.source)

    emit(payload, "gearing.rule/1", as_json, people)


def rule_payload(rule: Rule, fees: Fees, target: float, *, in_coin: bool = False) -> dict[str, Any]:
    """Returns a rule's words and barrier moves and its fees, for JSON."""
    from gearing.core.words import barrier_moves, describe, fee_rates, fee_words

    rates = fee_rates(fees, target)
    return {
        "words": describe(rule, target, in_coin=in_coin),
        "barrier_moves": barrier_moves(rule, target, in_coin=in_coin),
        "fees": fees,
        "fee_words": fee_words(fees, target),
        "management_per_day": rates.per_day,
        "management_per_year": rates.per_year,
    }


def show_rule(rule: Rule, target: float, *, in_coin: bool = False) -> None:
    """Prints a rule in words and the table of its barrier moves."""
    from gearing.core.words import barrier_moves, describe, level_text, percent

    heading("Rule")
    for sentence in describe(rule, target, in_coin=in_coin):
        say(sentence, mark="- ")
    moves = barrier_moves(rule, target, in_coin=in_coin)
    if not moves:
        return
    heading("Moves of the price from target")
    show_table(
        (
            Column("move", "right", wrap=False),
            Column("real leverage", "right", wrap=False),
            "trigger",
            Column("when", wrap=False),
            "trades",
        ),
        [
            (
                percent(move.move, sign=True),
                level_text(move.leverage, sign=True),
                move.trigger,
                move.when,
                _trades(move.when, move.trades),
            )
            for move in moves
        ],
    )


def _trades(when: str, trades: bool) -> str:
    if when == "the end":
        return "nothing is left"
    return "yes" if trades else "no: it would add to the position"


def show_fees(fees: Fees, target: float) -> None:
    """Prints fees in words, the management fee per day and per year."""
    from gearing.core.words import fee_words

    heading("Fees")
    for sentence in fee_words(fees, target):
        say(sentence, mark="- ")
