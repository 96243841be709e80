"""`gearing up`: a desk that runs until it is stopped."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.again import command_line
from gearing.cli.output import console, go_unread
from gearing.errors import InputError
from gearing.typed import escaped

if TYPE_CHECKING:
    import asyncio

    from gearing.desk.desk import Desk
    from gearing.desk.happenings import Happening
    from gearing.desk.planned import Planned

DatabaseOption = Annotated[
    Path | None, typer.Option("--db", help="The desk's database.", show_default="gearing-demo.db, or the file's")
]

HeadsOption = Annotated[
    Path | None, typer.Option(help="Signed heads of the journal are appended to this file, better on another disk.",
                              show_default="the database's name with .heads, or the desk file's"),
]  # fmt: skip
SigningKeyOption = Annotated[
    Path | None, typer.Option("--signing-key", envvar="GEARING_SIGNING_KEY_FILE", show_envvar=True,
                              help="The Ed25519 private key that signs them, mode 0600.",
                              show_default="GEARING_SIGNING_KEY, or the database's name with .key"),
]  # fmt: skip

# The console is drawn so often, and a line without one printed so often, s.
_FRAME_S, _LINE_S = 0.25, 10.0


def up(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="The desk's file; without one, the demo.", show_default=False)
    ] = None,
    db: DatabaseOption = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.1, max=100_000, help="Market seconds per second.", show_default="600, or the file's"),
    ] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="Print plain lines in place of the table.")] = False,
    log: Annotated[
        Path | None, typer.Option(help="Append JSON lines to this file.", show_default="none, or the file's")
    ] = None,
    heads: HeadsOption = None,
    signing_key: SigningKeyOption = None,
    new_exchange: Annotated[
        bool,
        typer.Option(
            "--new-exchange",
            help="Begin with an empty paper exchange, if the file of the desk's is "
            "lost; books that held anything there are halted.",
        ),
    ] = False,
) -> None:
    """Runs a desk: prices in, rebalances traded, NAV out, everything journalled. Ctrl-C stops it.

    Without --config it is a demo: four tokens on an invented market with 90 days of history, on a paper exchange, the
    clock at 600 times. Killed at any moment it goes on where its journal ends. A journal that does not contain the last
    signed head of its heads file is refused.
    """
    import asyncio

    again = command_line(context, new_exchange=False)
    with _ending_at_once_on_signals(again):
        plan = _planned(config, db, speed)._replace(new_exchange=new_exchange)
        from gearing.desk.config_text import by_line
        from gearing.desk.desk_files import check_desk_files

        if new_exchange and plan.paper_file.exists():
            raise InputError("the paper exchange's file is there.", where=str(plan.paper_file),
                             fix="Leave --new-exchange out, or move the file away.")  # fmt: skip

        written = log or plan.log_file
        named = heads or plan.heads_file, signing_key or plan.key_file
        with contextlib.nullcontext() if config is None else by_line(config):
            check_desk_files(plan, config=config, log=written, heads=named[0], key=named[1])
        asyncio.run(_serve(plan, written, named, again, plain=no_console or not sys.stdout.isatty()))


def _planned(config: Path | None, db: Path | None, speed: float | None) -> Planned:
    from gearing.cli.compiling import loading_desk

    with loading_desk():
        from gearing.desk.config import DeskConfig
        from gearing.desk.config_text import by_line, parse_desk
        from gearing.desk.planned import planned
    from gearing.files import read_text

    if config is None:
        return planned(DeskConfig(), Path(), database=db, speed=speed)
    described = parse_desk(read_text(config), where=str(config))
    with by_line(config):
        return planned(described, config.parent, database=db, speed=speed)


async def _serve(
    plan: Planned, log: Path | None, named: tuple[Path | None, Path | None], again: str, *, plain: bool
) -> None:  # fmt: skip
    import asyncio

    from gearing.cli.console import happening_line, label_of
    from gearing.desk.desk import Desk, prepare
    from gearing.desk.interpreter import of_a_desk
    from gearing.desk.lock import DeskLock
    from gearing.desk.logs import DeskLog
    from gearing.store.anchor import open_anchor

    label = label_of(plan.config.mode, plan.pace.speed)

    def told(one: Happening) -> None:
        if plain:
            _print(f"{plan.config.mode}  {happening_line(one).plain}")

    with (
        DeskLock(plan.database).tell(plan.database) as lock,
        contextlib.closing(DeskLog(log, plan.config.mode)) as written,
        of_a_desk(),
    ):
        _print(f"{label}\ndatabase {plan.database}, paper exchange {plan.paper_file}")
        anchor = open_anchor(plan.database, *named)
        _print(f"signed heads {anchor.file.path}, public key {anchor.key.public}")
        with _past(plan) as progress:
            last_ms = prepare(plan, progress, anchor, lock)
        _tell_differing(plan)
        stop = asyncio.Event()
        _stop_on_signals(stop)
        desk = Desk(plan, last_ms, written, told, anchor)
        written.say("started", speed=plan.pace.speed, database=str(plan.database))
        running = asyncio.ensure_future(desk.run(stop))
        showing = asyncio.ensure_future(_lines(desk, running) if plain else _table(desk, running))
        try:
            await running
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
        written.say("stopped")
        _print(f"stopped; `{again}` goes on from here")


def _tell_differing(plan: Planned) -> None:
    """Says which tokens' files are not what runs: only a command changes a running token."""
    from gearing.desk.planned import differing
    from gearing.store.store import Store

    with Store(plan.database) as store:
        for file, (token, changed) in differing(plan, store).items():
            places = ", ".join(one.place for one in changed[:3]) + (", …" if len(changed) > 3 else "")
            _print(f"{file} differs from what {token} runs on ({places}); to apply it: "
                   f"gearing change {token} {file} --db {plan.database} --reason WHY")  # fmt: skip


@contextlib.contextmanager
def _past(plan: Planned) -> Iterator[Callable[[int, int], None]]:
    """Says what takes so long where a new demo's past is made."""
    if plan.database.exists() or plan.config.mode != "demo":
        yield lambda done, total: None
        return
    days = f"{plan.config.history_days:g} days"
    shown = console(stderr=True)
    if not shown.is_terminal:
        _print(f"living through {days} of an invented market")
        yield lambda done, total: None
        return
    with shown.status(f"Living through {days} of an invented market…"):
        yield lambda done, total: None


def _signals() -> list[signal.Signals]:
    """Returns the signals that end a desk; a hang-up that is ignored (nohup) stays so."""
    named = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in named if signal.getsignal(number) != signal.SIG_IGN]


class _EndedError(SystemExit):
    """A desk was asked to end before it began."""


@contextlib.contextmanager
def _ending_at_once_on_signals(again: str) -> Iterator[None]:
    """Ends a desk that has not begun yet when it is asked to: nothing is under way, and what is kept is whole.

    Args:
        again: the command that starts it again.
    """

    def ended(number: int, frame: object) -> None:
        raise _EndedError(0)

    before = {number: signal.signal(number, ended) for number in _signals()}
    try:
        yield
    except _EndedError:
        _print(f"stopped; `{again}` starts it again")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Ctrl-C, a service manager's TERM and a hang-up end the desk in order; a second one ends it at once."""
    import asyncio

    loop, numbers = asyncio.get_running_loop(), _signals()

    def asked() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, asked)


async def _table(desk: Desk, running: Any) -> None:
    """Draws the console until the desk ends."""
    import asyncio

    from rich.live import Live

    from gearing.cli.console import screen

    shown = console()
    with Live(console=shown, auto_refresh=False, screen=False, vertical_overflow="crop") as live:
        while not running.done():
            view = desk.view() if desk.is_ready else None
            if view is not None:
                rows = max(shown.height - 2 * len(view.tokens) - 11, 3)
                try:
                    live.update(screen(view, shown.width, happenings=min(rows, 12)), refresh=True)
                except OSError:
                    go_unread()
            await asyncio.sleep(_FRAME_S)


async def _lines(desk: Desk, running: Any) -> None:
    """Prints a line about the whole desk now and then."""
    import asyncio

    from gearing.cli.console import clock

    while not running.done():
        if desk.is_ready:
            view = desk.view()
            tokens = ", ".join(
                f"{one.outlook.token} {one.outlook.nav:,.4f} at {one.outlook.leverage:+.2f}"
                + ("" if one.health == "ok" else f" ({one.health})")
                for one in view.tokens
            )
            _print(f"{view.mode}  {clock(view.market_ms)[5:]}  {view.speed:g}×  {tokens}; {view.lines:,} lines")
        await asyncio.sleep(_LINE_S if desk.is_ready else _FRAME_S)


def _print(text: str) -> None:
    # A service's log shall have each line when it happens, not when a buffer is full.
    try:
        print(*map(escaped, text.splitlines()), sep="\n", flush=True)
    except OSError:  # nobody reads any more, or the terminal is gone: a desk goes on
        go_unread()
