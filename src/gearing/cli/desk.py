"""`gearing desk`: a desk's file: start a new one, or check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gearing.cli.output import FAULT_FOUND, JsonFlag, OverwriteOption, count, emit, pairs, show_error, write_out
from gearing.errors import SpecError

desk_app = typer.Typer(help="A desk's file: start a new one, or check one.", no_args_is_help=True)


@desk_app.command()
def new(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to write; stdout if not given.")] = None,
    force: OverwriteOption = False,
) -> None:
    """Writes a commented example of a desk's file."""
    from gearing.desk.config_text import EXAMPLE

    if file is None:
        typer.echo(EXAMPLE, nl=False)
        return
    from gearing.outputs import Output, check_outputs

    check_outputs([Output(option="", path=file, kind="toml", replaces=False)], force=force)
    write_out(file, EXAMPLE, "toml", force=force)


@desk_app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The desk's TOML file.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Reads a desk's file with its tokens and prices, and says what it runs, or names every mistake (exit code 3)."""
    from gearing.desk.config_text import by_line, parse_desk
    from gearing.desk.desk_files import check_desk_files
    from gearing.desk.planned import planned
    from gearing.files import read_text

    try:
        with by_line(file):
            plan = planned(parse_desk(read_text(file), where=str(file)), file.parent)
            check_desk_files(plan, config=file, log=plan.log_file)
    except SpecError as error:
        mistakes = {"file": str(file), "valid": False, "problems": [p._asdict() for p in error.problems]}
        emit(mistakes, "gearing.desk-check/1", as_json)
        if not as_json:
            show_error(error)
        raise typer.Exit(FAULT_FOUND) from None
    payload = {
        "file": str(file), "valid": True, "problems": [], "mode": plan.config.mode, "database": str(plan.database),
        "speed": plan.pace.speed, "symbols": plan.feed.symbols,
        "tokens": [{"token": one.token.symbol, "book": one.book} for one in plan.tokens],
    }  # fmt: skip
    rows = [
        ("mode", plan.config.mode), ("database", str(plan.database)), ("clock", f"{plan.pace.speed:g}×"),
        ("prices of", ", ".join(plan.feed.symbols)),
        ("runs", f"{count(len(plan.tokens), 'token')}: {', '.join(one.token.symbol for one in plan.tokens)}"),
    ]  # fmt: skip
    emit(payload, "gearing.desk-check/1", as_json, lambda: pairs(rows))
