"""`gearing journal`: verify a database, export its journals, recompute every NAV of an export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.output import FAULT_FOUND, ForceOption, JsonFlag, count, emit, say, show_table
from gearing.cli.watching import bar

if TYPE_CHECKING:
    from gearing.store.recompute import Report
    from gearing.store.verify import Verdict

journal_app = typer.Typer(help="Journals: verify, export, recompute every NAV.", no_args_is_help=True)

DatabaseArgument = Annotated[Path, typer.Argument(metavar="DB", help="The database's file.", show_default=False)]


@journal_app.command()
def verify(
    db: DatabaseArgument,
    again: Annotated[
        bool, typer.Option("--again/--no-again", envvar="GEARING_AGAIN", help="Step every event again.")
    ] = True,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Streams worked on at once.", show_default="by cores and size")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Checks every journal from its first line, and all that is derived from it (exit code 3: a fault).

    Checked are the file, hash chains, double entry, NAV and state from the sums of the postings, snapshots,
    published NAVs; and events are stepped again, invariants included.
    """
    from gearing.cli.compiling import ensure_compiled

    if again:
        ensure_compiled()
    from gearing.store.verify import verify as verified

    with bar("verifying") as progress:
        found = verified(db, again=again, processes=processes, progress=progress)
    payload = {
        "file": str(db), "sound": not found.breaches, "lines": found.lines, "stepped": found.stepped,
        "elapsed_s": found.elapsed_s, "breaches": [breach._asdict() for breach in found.breaches],
        "streams": [
            {"stream": s.stream, "lines": s.lines, "stepped": s.stepped, "head": s.head, "unnamed": s.unnamed}
            for s in found.streams
        ],
    }  # fmt: skip
    emit(payload, "gearing.journal.verify/1", as_json, lambda: _show_verdict(found))
    if found.breaches:
        raise typer.Exit(FAULT_FOUND)


@journal_app.command()
def export(
    db: DatabaseArgument,
    stream: Annotated[
        str | None, typer.Option(help='One journal only, such as "token:BTC3L".', show_default="all")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write, as JSON lines.", show_default="stdout")] = None,
    force: ForceOption = False,
) -> None:
    """Writes journals as JSON lines, each body byte for byte what was hashed."""
    import sys

    from gearing.files import writing
    from gearing.outputs import Output, check_outputs, database_files
    from gearing.store.export import write_export

    outputs = [] if out is None else [Output(option="--out", path=out, kind="journal")]
    check_outputs(outputs, database_files(db), force=force)
    with bar("exporting") as progress:

        def report(lines: int) -> None:
            progress(lines, None)

        if out is None:
            write_export(db, sys.stdout.buffer.write, stream, report)
            return
        with writing(out, "journal", force=force) as file:
            lines = write_export(db, file.write, stream, report)
    typer.echo(f"wrote {out}, {count(lines, 'line')}", err=True)


@journal_app.command()
def recompute(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An exported file.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Works every NAV of an exported file out anew, from the file alone (exit code 3: something differs).

    The same is done by gearing/store/recompute.py, one file that needs Python and nothing else.
    """
    from gearing.files import readable
    from gearing.store.recompute import recompute as recomputed

    with readable(file).open("rb") as lines, bar("recomputing") as progress:
        found = recomputed(lines, lambda line: progress(line, None))
    total = sum(found.counts.values())
    same = total == 0 and found.lines > 0
    payload = {
        "file": str(file), "same": same, "lines": found.lines, "navs": found.navs, "counts": dict(found.counts),
        "differences": [vars(difference) for difference in found.differences],
        "streams": [{"stream": s, "lines": seq, "head": head} for s, (seq, head) in found.heads.items()],
    }  # fmt: skip
    emit(payload, "gearing.journal.recompute/1", as_json, lambda: _show_report(found, total))
    if not same:
        raise typer.Exit(FAULT_FOUND)


def _show_verdict(found: Verdict) -> None:
    show_table(
        ("stream", "lines", "stepped again", "head"),
        [(s.stream, f"{s.lines:,}", f"{s.stepped:,}", s.head) for s in found.streams],
    )
    typer.echo()
    for breach in found.breaches:
        place = f"{breach.stream} line {breach.seq}: " if breach.stream else ""
        say(f"{place}{breach.what}: {breach.found}; expected {breach.expected}.", mark="- ")
    more = sum(s.unnamed for s in found.streams)
    words = f"{count(len(found.breaches) + more, 'fault')} found" if found.breaches else "sound"
    say(f"{count(found.lines, 'line')} in {found.elapsed_s:.1f} s: {words}.")


def _show_report(found: Report, total: int) -> None:
    for d in found.differences:
        place = f"{d.stream} line {d.seq}: " if d.stream else ""
        say(f"{place}{d.what}: the journal says {d.journal}; recomputed: {d.recomputed}.", mark="- ")
    show_table(("stream", "lines", "head"), [(s, f"{seq:,}", head) for s, (seq, head) in found.heads.items()])
    typer.echo()
    words = "no difference" if total == 0 else count(total, "difference")
    say(f"{count(found.lines, 'line')}, {count(found.navs, 'NAV')} recomputed: {words}.")
