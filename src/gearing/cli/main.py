"""The entry point: commands by name, errors to exit codes.

Exit codes: 0 fine, 1 our fault, 2 wrong input, 3 a check found a fault, 4 a desk did not answer in time,
130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from gearing.cli.output import go_unread, notes, show_error
from gearing.errors import GearingError, InputError, StorageError
from gearing.numerals import is_number_text
from gearing.typed import why_not_typed

# Each command's name, its module, and what stands there: a Typer app or a function. The modules import
# what is heavy inside their functions, so that help and completion stay quick.
COMMANDS = (
    ("up", "gearing.cli.up", "up"),
    ("status", "gearing.cli.status", "status"),
    ("rebalances", "gearing.cli.status", "rebalances"),
    ("halt", "gearing.cli.operate", "halt"),
    ("resume", "gearing.cli.operate", "resume"),
    ("close", "gearing.cli.operate", "close"),
    ("rebalance", "gearing.cli.operate", "rebalance"),
    ("pause", "gearing.cli.operate", "pause"),
    ("unpause", "gearing.cli.operate", "unpause"),
    ("change", "gearing.cli.change", "change"),
    ("deposit", "gearing.cli.counter", "deposit"),
    ("withdraw", "gearing.cli.counter", "withdraw"),
    ("subscribe", "gearing.cli.counter", "subscribe"),
    ("redeem", "gearing.cli.counter", "redeem"),
    ("quote", "gearing.cli.counter", "quote"),
    ("take", "gearing.cli.counter", "take"),
    ("cancel", "gearing.cli.counter", "cancel"),
    ("transfer", "gearing.cli.counter", "transfer"),
    ("holders", "gearing.cli.holders", "holders"),
    ("holder", "gearing.cli.statement", "holder_app"),
    ("book", "gearing.cli.book", "book_app"),
    ("cash", "gearing.cli.cash", "cash_app"),
    ("fees", "gearing.cli.fees", "fees_app"),
    ("export", "gearing.cli.export", "export_app"),
    ("desk", "gearing.cli.desk", "desk_app"),
    ("backtest", "gearing.cli.backtest", "backtest"),
    ("compare", "gearing.cli.compare", "compare"),
    ("sweep", "gearing.cli.sweep", "sweep"),
    ("track", "gearing.cli.track", "track"),
    ("what-if", "gearing.cli.what_if", "what_if"),
    ("rules", "gearing.cli.rules", "rules_app"),
    ("token", "gearing.cli.token", "token_app"),
    ("market", "gearing.cli.market", "market_app"),
    ("journal", "gearing.cli.journal", "journal_app"),
    ("db", "gearing.cli.db", "db_app"),
    ("venue", "gearing.cli.venue", "venue_app"),
)

# An environment that always meant one of these would be a trap: a person consents to each command by itself.
_TYPED_ONLY = frozenset({"--by", "--force", "--help", "--install-completion", "--key", "--new-exchange", "--reason",
                         "--reference", "--show-completion", "--version", "--yes"})  # fmt: skip
# What a command that changes a desk takes from the environment: which desk it is, and how it answers.
_OF_CHANGES = frozenset({"--db", "--json", "--timeout"})

# What the machine, not the program, refuses: a person can mend it. First what was asked of it, then what it lacks.
_REFUSED = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
)
_LACKING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Runs a command; a reader that closed its end of the pipe has had enough, which is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            go_unread()
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=_Group,
    name="gearing",
    help="Issues, runs, prices and explains leveraged tokens.",
    no_args_is_help=True,
    # Plain help takes a third of the time that Rich's boxes take.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as installed

        typer.echo(f"gearing {installed('gearing')}")
        raise typer.Exit


@app.callback()
def gearing(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Issues, runs, prices and explains leveraged tokens."""


for _name, _module, _attribute in COMMANDS:
    _command = getattr(importlib.import_module(_module), _attribute)
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name)(_command)


def with_environment(command: Any) -> Any:
    """Returns a command whose options can also be given as GEARING_<OPTION>, its commands' too.

    Consent and what is to be done are typed each time: a variable that was left in a shell must change no desk.
    """
    names = {id(option): next((name for name in option.opts if name.startswith("--")), "") for option in command.params}
    changes = not {"--yes", "--key"}.isdisjoint(names.values())
    for option in command.params:
        long = names[id(option)]
        _check_values(option)
        typed = long in _TYPED_ONLY or (changes and long not in _OF_CHANGES)
        if isinstance(option, TyperOption) and option.envvar is None and not typed:
            option.envvar = f"GEARING_{long.removeprefix('--').replace('-', '_').upper()}"
            option.show_envvar = True
    for inner in getattr(command, "commands", {}).values():
        with_environment(inner)
    return command


def _check_values(option: Any) -> None:
    """Has an option or argument refuse text that no keyboard types, and numbers that are no plain decimals.

    Control characters would reach terminals and journals. Python itself reads "１２" and "1_0" as numbers.
    """
    if "process_value" in vars(option):  # it is checked already
        return
    usual, is_number = option.process_value, option.type_descriptor.annotation in {int, float}

    def process_value(context: Any, value: Any) -> Any:
        for text in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(text, str):
                what = why_not_typed(text)
                fix = "Write it again, by hand."
                if not what and is_number and not is_number_text(text):
                    what, fix = (
                        f"{text[:40]!r} is not a number.",
                        "Write digits, and a point before decimals: 10, 0.25.",
                    )
                if what:
                    name = option.opts[0]
                    where = name if name.startswith("-") else (option.metavar or name).upper()
                    raise InputError(what, where=where, fix=fix)
        return usual(context, value)

    option.process_value = process_value


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        arguments: in place of those the process was started with.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before the program began
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no "−" or "β" shows "?" rather than ending the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    code = 0
    try:
        with notes():
            with_environment(get_command(app)).main(arguments, prog_name="gearing")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        code = _answer(error)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        go_unread()
    return code


def _answer(error: Exception) -> int:
    """Says what went wrong and returns the exit code."""
    if os.environ.get("GEARING_DEBUG"):
        import traceback

        traceback.print_exc()
    if isinstance(error, InputError):
        show_error(error)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in _REFUSED | _LACKING:
        kind = StorageError if error.errno in _LACKING else InputError
        show_error(kind(f"{error.strerror}.", where=str(error.filename or "")))
        return kind.exit_code
    if isinstance(error, MemoryError):
        show_error(StorageError("there is not enough memory.", fix="Give the process more, or shorten what it reads."))
        return StorageError.exit_code
    what = " ".join(str(error).split()) or "no message"
    fault = InputError(
        f"this is a fault of Gearing, not yours ({type(error).__name__}: {what}).",
        fix="" if os.environ.get("GEARING_DEBUG") else "GEARING_DEBUG=1 shows the traceback; please report it.",
    )
    show_error(fault)
    return GearingError.exit_code


if __name__ == "__main__":
    sys.exit(main())
