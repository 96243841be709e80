"""`gearing journal`: verify a database, export its journals, recompute every NAV of an export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.output import FAULT_FOUND, ForceOption, JsonFlag, count, emit, pairs, say, show_table
from gearing.cli.reading import DEMO, database_of, reading
from gearing.cli.watching import bar
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.store.anchor_check import AnchorCheck
    from gearing.store.heads import SignedRecord
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
    heads: Annotated[
        Path | None,
        typer.Option(help="A heads file; the journal must contain each of its heads.", show_default="none"),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="A public key that may have signed heads: 64 hex digits, or a file. Repeat it for several.",
            show_default="any key",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Checks every journal from its first line, and all that is derived from it (exit code 3: a fault).

    The file and its tables, hash chains, double entry, NAV and state from the sums of the postings, published NAVs, the
    outbox, money and units over all streams, and signed heads are checked; events are stepped again, invariants
    included. Whether the database was rolled back or rewritten as a whole can only be found with heads that were kept
    elsewhere, and a public key that you have from elsewhere.
    """
    from gearing.cli.compiling import ensure_compiled

    if again:
        ensure_compiled()
    from gearing.store.keys import public_key
    from gearing.store.verify import verify as verified

    trusted = [public_key(one) for one in trust or ()]
    with bar("verifying") as progress:
        found = verified(db, again=again, processes=processes, progress=progress, heads=heads, trusted=trusted)
    anchor = found.anchor
    payload = {
        "file": str(db), "sound": not found.breaches, "lines": found.lines, "stepped": found.stepped,
        "elapsed_s": found.elapsed_s, "lines_since": found.came,
        "breaches": [breach._asdict() for breach in found.breaches],
        "streams": [
            {"stream": s.stream, "lines": s.lines, "stepped": s.stepped, "head": s.head, "unnamed": s.unnamed}
            for s in found.streams
        ],
        "anchor": None if anchor is None else {
            "n": anchor.end.n, "chain": anchor.end.chain, "heads_checked": anchor.heads, "signed": anchor.signed,
            "keys": anchor.keys, "restores": anchor.restores,
        },
    }  # fmt: skip
    emit(payload, "gearing.journal.verify/1", as_json, lambda: _show_verdict(found, bool(trusted)))
    if found.breaches:
        raise typer.Exit(FAULT_FOUND)


@journal_app.command()
def head(
    db: Annotated[
        Path | None,
        typer.Argument(metavar="DB", help="The database's file.",
                       show_default=f"that of the only desk that runs here, else {DEMO}"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write every signed head of the database to this file, as a heads file.", show_default="none"
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Prints the last signed head: which line it is of, the chain up to it, and the key that signed it.

    Anyone who keeps it elsewhere can later prove whether this journal still contains everything up to that line.
    """
    from gearing.files import writing
    from gearing.outputs import Output, check_outputs, database_files
    from gearing.store.anchor import own_heads
    from gearing.store.heads import UNREADABLE, signed_row

    db = database_of(db)
    outputs = [] if out is None else [Output(option="--out", path=out, kind="heads", replaces=False)]
    # A heads file that was lost may be written again; one that exists may know of more than the database.
    check_outputs(outputs, [one for one in database_files(db) if one.path.suffix != ".heads"], force=force)
    with reading(db) as desk:
        store = desk.store
        row = store.head()
        if row is None:
            raise InputError("no head was signed yet.", where=str(db),
                             fix="A desk signs one with each minute NAV: gearing up")  # fmt: skip
        try:
            last = signed_row(row)
            if out is not None:
                with writing(out, "heads", force=force) as file:
                    for one in own_heads(store.heads_since(0), store.meta.incarnation):
                        file.write(one.line)
        except UNREADABLE as error:
            raise InputError(f"a row of its table heads cannot be read: {error}.", where=str(db),
                             fix=f"See what else is wrong: gearing journal verify {db}") from error  # fmt: skip
    if not last.is_signed:
        raise InputError("the signature of the last head is not valid.", where=str(db),
                         fix=f"See what else is wrong: gearing journal verify {db}")  # fmt: skip
    payload = {"file": str(db), "record": last.record, "signature": last.signature, "line": last.line.decode().strip()}
    desk.emit(payload, "gearing.journal.head/1", as_json, lambda: _show_head(last))
    if out is not None:
        typer.echo(f"wrote {out}", err=True)


@journal_app.command()
def export(
    db: DatabaseArgument,
    stream: Annotated[
        str | None, typer.Option(help='One journal only, such as "token:BTC3L".', show_default="all")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write, as JSON lines.", show_default="stdout")] = None,
    force: ForceOption = False,
) -> None:
    """Writes journals as JSON lines, each body byte for byte what was hashed, with the last signed head.

    Of lines that one journal does not have, the leaves are written, so that the chain over all can be followed.
    """
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
    """Recomputes every NAV of an exported file, and follows its chain, from the file alone (exit code 3: a difference).

    The same is done by gearing/store/recompute.py, one file that needs Python and nothing else.
    """
    from itertools import chain

    from gearing.files import readable
    from gearing.store.recompute import is_line
    from gearing.store.recompute import recompute as recomputed

    with readable(file).open("rb") as lines, bar("recomputing") as progress:
        first = next(lines, b"")
        if not is_line(first):
            raise InputError("this is not an exported journal.", where=str(file),
                             fix="Export one: gearing journal export DB --out FILE")  # fmt: skip
        found = recomputed(chain([first], lines), lambda line: progress(line, None))
    total = sum(found.counts.values())
    same = total == 0 and found.lines > 0
    payload = {
        "file": str(file), "same": same, "lines": found.lines, "navs": found.navs, "counts": dict(found.counts),
        "differences": [vars(difference) for difference in found.differences],
        "streams": [{"stream": s, "lines": seq, "head": head} for s, (seq, head) in found.heads.items()],
        "anchor": {"n": found.n, "chain": found.chain, "signed": found.signed},
    }  # fmt: skip
    emit(payload, "gearing.journal.recompute/1", as_json, lambda: _show_report(found, total))
    if not same:
        raise typer.Exit(FAULT_FOUND)


def _show_head(last: SignedRecord) -> None:
    from gearing.cli.console import clock

    record = last.record
    pairs([("database", record.database), ("incarnation", record.incarnation), ("line n", f"{record.n:,}"),
           ("chain", record.chain), ("time", f"{clock(record.time_ms)} UTC"), ("key", record.key),
           ("signature", last.signature)])  # fmt: skip


def _show_verdict(found: Verdict, is_trusted: bool) -> None:
    show_table(
        ("stream", "lines", "stepped again", "head"),
        [(s.stream, f"{s.lines:,}", f"{s.stepped:,}", s.head) for s in found.streams],
    )
    typer.echo()
    if found.anchor is not None:
        _show_anchor(found.anchor, is_trusted)
    for breach in found.breaches:
        line = f" line {breach.seq}" if breach.seq else ""
        place = f"{breach.stream}{line}: " if breach.stream else ""
        say(f"{place}{breach.what}: {breach.found}; expected {breach.expected}.", mark="- ")
    more = sum(s.unnamed for s in found.streams) + (found.anchor.unnamed if found.anchor else 0)
    words = f"{count(len(found.breaches), 'fault')} found" if found.breaches else "sound"
    rest = f", and {more:,} more that follow from them or are like them" if more else ""
    say(f"{count(found.lines, 'line')} in {found.elapsed_s:.1f} s: {words}{rest}.")
    if found.came:
        say(f"While it ran, a desk wrote {count(found.came, 'line')}. Some are among these, none is counted by n; "
            "verify again to check all of them.")  # fmt: skip


def _show_anchor(anchor: AnchorCheck, is_trusted: bool) -> None:
    say(f"Last line n {anchor.end.n:,}, chain {anchor.end.chain}.")
    if anchor.signed is None:
        say("No head was signed.")
        return
    whose = "" if is_trusted else "; compare the key with one that you have from elsewhere (--trust)"
    say(f"Signed up to n {anchor.signed.n:,}, {count(anchor.heads, 'head')} by {', '.join(anchor.keys)}{whose}.")
    for one in anchor.restores:
        say(f"The heads file records a restore by {one.by} ({one.reason}): history left at n {one.left_n:,}, "
            f"resumed at n {one.n:,}.")  # fmt: skip


def _show_report(found: Report, total: int) -> None:
    for d in found.differences:
        place = f"{d.stream} line {d.seq}: " if d.stream else ""
        say(f"{place}{d.what}: the journal says {d.journal}; recomputed: {d.recomputed}.", mark="- ")
    show_table(("stream", "lines", "head"), [(s, f"{seq:,}", head) for s, (seq, head) in found.heads.items()])
    typer.echo()
    say(f"Last line n {found.n:,}, chain {found.chain}.")
    if found.signed is not None:
        say(f"Signed up to n {found.signed.get('n')} by key {found.signed.get('key')}. The signature is not checked "
            "here: check it with OpenSSL, under a key that you have from elsewhere, as documented.")  # fmt: skip
    words = "no difference" if total == 0 else count(total, "difference")
    say(f"{count(found.lines, 'line')}, {count(found.navs, 'NAV')} recomputed: {words}.")
