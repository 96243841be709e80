"""A token as the public may see it, on the command line: `gearing token show --public`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from gearing.cli.output import heading, pairs, show_table
from gearing.typed import escaped

if TYPE_CHECKING:
    from gearing.drive.disclosure import PublicTrigger, PublicView

DISCLOSED = {
    "full": "the public knows all of the next rebalance",
    "prices": "the public knows trigger prices and side, and the size once it is done",
    "after": "the public knows nothing of a rebalance before it is done",
}


def show_public(view: PublicView, now_ms: int) -> None:
    """Prints a token as the public may see it.

    Args:
        view: the token.
        now_ms: the market's time.
    """
    from gearing.cli.console import clock, span

    typer.secho(escaped(": ".join(filter(None, (view.token, view.name)))), bold=True)
    facts = [
        ("status", view.status), ("as of", f"{clock(now_ms)} UTC"), ("target", f"{view.target:+g}"),
        ("NAV", f"{view.nav:,.8f} {view.settlement}"), ("units", f"{view.units:,.8f}"),
        ("disclosure", f"{view.disclosure}: {DISCLOSED[view.disclosure]}"),
    ]  # fmt: skip
    if view.leverage is not None and view.exposure is not None:
        facts.append(("leverage", f"{view.leverage:+.4f}, exposure {view.exposure:+,.2f}"))
    if view.due_ms is not None:
        facts.append(("next clock", f"{view.due}, in {span(view.due_ms - now_ms)}"))
    if view.side is not None:
        size = "" if view.traded is None else f" {view.traded:,.0f} to {view.aim:+.4g}"
        facts.append(("it would", f"{view.side}{size if view.side != 'nothing' else ''}, if it rebalanced now"))
    last = view.last
    if last is not None:
        facts.append(("last rebalance", f"{clock(last.ended_ms)}, {last.reason}: {last.side} {last.traded:,.0f}, "
                      f"{last.before:+.3f} → {last.after:+.3f}"))  # fmt: skip
        if last.exposure is not None:
            facts.append(("exposure after it", f"{last.exposure:+,.2f}"))
    pairs(facts)
    heading("Instruments")
    rows = [
        (leg.symbol, f"{leg.mark:,.6g}", _trigger(leg.below), _trigger(leg.above))
        + (() if leg.lots is None else (f"{leg.lots:+,}",))
        for leg in view.legs
    ]
    held = any(leg.lots is not None for leg in view.legs)
    show_table(("instrument", "mark", "trigger below", "trigger above", *(("lots",) if held else ())), rows)


def _trigger(trigger: PublicTrigger | None) -> str:
    return "–" if trigger is None else f"{trigger.side} at {trigger.price:,.6g} ({trigger.move:+.1%})"
