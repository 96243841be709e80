"""A token's life in the words of its issuer: where it stands, and what brought it there, with who, when and why."""

from __future__ import annotations

from typing import NamedTuple

from gearing.core import events as ev
from gearing.core.journal import line_of
from gearing.core.state import TokenState
from gearing.store.store import Store

_TAGS = ("launched", "seeded", "operated", "specification_changed", "consolidated")
_ACTIONS = {
    "halt": "halted", "resume": "open again", "close": "winding down", "pause": "creations paused",
    "unpause": "creations open again",
}  # fmt: skip


class Turn(NamedTuple):
    """A turn in a token's life: when, what it became, who had it so, and why."""

    time_ms: int
    became: str
    by: str
    reason: str


def stage_of(state: TokenState) -> str:
    """Returns where a token stands in its life."""
    match state.status:
        case "open" if state.paused is True:
            return "creations paused"
        case "open":
            return "open" if state.opened else "seeding"
        case "closing":
            return "winding down"
        case "closed":
            return "closed, units redeem at the final NAV" if state.balances.units else "closed"
        case "wiped":
            return "wiped out"
        case "draft" | "halted":
            return state.status


def turns_of(store: Store, token: str) -> list[Turn]:
    """Returns the turns of a token's life, in order."""
    found = []
    for line in store.tagged(f"token:{token}", *_TAGS):
        turn = _turn(line_of(line.body).event)
        if turn is not None:
            found.append(turn)
    return found


def _turn(event: ev.TokenEvent) -> Turn | None:
    match event:
        case ev.Launched():
            return Turn(event.time_ms, "launched", "", "")
        case ev.Seeded():
            return Turn(event.time_ms, "seeded", "", "")
        case ev.Operated() if event.action in _ACTIONS:
            return Turn(event.time_ms, _ACTIONS[event.action], event.by, event.reason)
        case ev.SpecificationChanged():
            return Turn(event.time_ms, "specification changed", event.by, event.reason)
        case ev.Consolidated():
            return Turn(event.time_ms, f"{event.factor:g} units merged into one", event.by, event.reason)
        case _:
            return None
