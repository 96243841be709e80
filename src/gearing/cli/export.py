"""`gearing export`: what an issuer's office hands out, made from the journals, as CSV or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.output import FAULT_FOUND, JsonFlag, OverwriteOption, count, note, pairs, say
from gearing.cli.reading import DeskOption, database_of, reading
from gearing.cli.watching import bar
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.office.export import Format, What

export_app = typer.Typer(
    help="Files for accountants, auditors and holders: NAVs, trial balance, holders, statements.", no_args_is_help=True
)

PeriodOption = Annotated[
    str, typer.Option(help="A year, a month or a day: 2026, 2026-03, 2026-03-14.", show_default=False)
]
ZoneOption = Annotated[str, typer.Option(help="Whose midnights the period has, such as Europe/Berlin.")]
PlainOption = Annotated[
    bool, typer.Option("--plain", help="A CSV without the rows of comments that `export check` needs.")
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="csv, parquet or xlsx.", show_default="by the file's ending")
]
OutOption = Annotated[Path, typer.Option(help="The file to write.", show_default=False)]
TokenOption = Annotated[str, typer.Option(help="Only this one.", show_default="all")]
HolderOption = Annotated[str, typer.Option(help="Only this one.", show_default="all")]


@export_app.command()
def nav(
    period: PeriodOption,
    out: OutOption,
    tz: ZoneOption = "UTC",
    token: TokenOption = "",
    form: FormatOption = None,
    plain: PlainOption = False,
    db: DeskOption = None,
    force: OverwriteOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Writes every published NAV.

    With the units, the equity behind it, and the marks it was struck at.
    """
    _export("nav", period, tz, form, out, db, token=token, plain=plain, force=force, as_json=as_json)


@export_app.command("trial-balance")
def trial_balance(
    period: PeriodOption,
    out: OutOption,
    tz: ZoneOption = "UTC",
    token: TokenOption = "",
    form: FormatOption = None,
    plain: PlainOption = False,
    db: DeskOption = None,
    force: OverwriteOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Writes the trial balance.

    It has each account's opening balance, debits, credits and closing balance, of every token and holder; debits are
    positive. It checks that each asset of each ledger sums to zero, at the beginning and at the end.
    """
    _export("trial-balance", period, tz, form, out, db, token=token, plain=plain, force=force, as_json=as_json)


@export_app.command()
def holders(
    period: PeriodOption,
    out: OutOption,
    tz: ZoneOption = "UTC",
    holder: HolderOption = "",
    form: FormatOption = None,
    plain: PlainOption = False,
    db: DeskOption = None,
    force: OverwriteOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Writes what each holder has.

    Money and units at the period's end, free and set aside, with their value at the last NAV.
    """
    _export("holders", period, tz, form, out, db, holder=holder, plain=plain, force=force, as_json=as_json)


@export_app.command()
def statement(
    period: PeriodOption,
    out: OutOption,
    tz: ZoneOption = "UTC",
    holder: HolderOption = "",
    form: FormatOption = None,
    plain: PlainOption = False,
    db: DeskOption = None,
    force: OverwriteOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Writes holders' movements.

    Deposits, withdrawals, dealings and transfers of the period, with every fee, and what the holder had after each.
    """
    _export("statement", period, tz, form, out, db, holder=holder, plain=plain, force=force, as_json=as_json)


@export_app.command()
def lots(
    period: PeriodOption,
    out: OutOption,
    tz: ZoneOption = "UTC",
    holder: HolderOption = "",
    form: FormatOption = None,
    plain: PlainOption = False,
    db: DeskOption = None,
    force: OverwriteOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Writes holders' lots.

    Those held at the period's end and those given up in it: cost, worth, and the parts of the profit, which sum to it.
    """
    _export("lots", period, tz, form, out, db, holder=holder, plain=plain, force=force, as_json=as_json)


@export_app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that was exported.", show_default=False)],
    db: DeskOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Makes an exported file anew.

    It says where the file differs from what the journals give (exit code 3).
    """
    from gearing.office.export import differences

    with reading(db) as desk, bar("reading") as progress:
        head, found = differences(file, desk.store, lambda lines: progress(lines, None))
    payload = {"file": str(file), "same": not found, "head": head, "differences": found}

    def show() -> None:
        for words in found:
            say(f"{words}.", mark="- ")
        if found and head.get("complete") == "no":
            say("The period had not ended when the file was written. Export it anew.")
        say("It differs from what the journals say." if found else "It says what the journals say, to the last digit.")

    desk.emit(payload, "gearing.export-check/1", as_json, show)
    if found:
        raise typer.Exit(FAULT_FOUND)


def _export(
    what: What, period: str, tz: str, form: str | None, out: Path, db: Path | None, *, token: str = "",
    holder: str = "", plain: bool, force: bool, as_json: bool,
) -> None:  # fmt: skip
    from gearing.office.periods import period_of
    from gearing.outputs import Output, check_outputs, database_files

    chosen, whole, db = _format(form, out), period_of(period, tz), database_of(db)
    if plain and chosen != "csv":
        raise InputError(
            f"only CSV has rows of comments, and this is {chosen}.", where="--plain", fix="Leave it out, or write CSV."
        )
    output = Output(option="--out", path=out, kind=chosen, replaces=False)
    check_outputs([output], database_files(db), force=force)
    if what == "lots":
        from gearing.cli.compiling import loading_desk

        with loading_desk():
            import gearing.office.lots  # noqa: F401
    from gearing.files import write_bytes
    from gearing.office.export import made, written

    with reading(db) as desk, bar("reading") as progress:
        export = made(desk.store, what, whole, token=token, holder=holder, progress=lambda lines: progress(lines, None))
    write_bytes(out, written(export, chosen, plain=plain), chosen, force=force)
    if export.head["complete"] == "no":
        note("the period has not ended in this database; the file says how things stand now.")

    def show() -> None:
        pairs([(key.removeprefix("gearing."), value) for key, value in export.head.items()])
        if export.words:
            say(export.words)

    desk.emit({"file": str(out), "format": chosen, "head": export.head}, "gearing.export/1", as_json, show)
    typer.echo(f"wrote {out}, {count(export.frame.height, 'row')}", err=True)


def _format(form: str | None, out: Path) -> Format:
    """Returns the format that was asked for, or that of the file's ending.

    Raises:
        InputError: it is none.
    """
    wanted = out.suffix.lower().removeprefix(".") if form is None else form
    if wanted == "csv":
        return "csv"
    if wanted == "parquet":
        return "parquet"
    if wanted == "xlsx":
        return "xlsx"
    if form is None:
        raise InputError(f"the ending {out.suffix!r} names no format.", where=str(out),
                         fix="Give --format csv, parquet or xlsx.")  # fmt: skip
    raise InputError(f"{form!r} is no format.", where="--format", fix="One of csv, parquet, xlsx.")
