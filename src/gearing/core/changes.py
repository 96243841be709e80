"""What differs between two specifications of a token, and what of it may change while the token runs. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from gearing.core.instruments import DatedFuture, Instrument
from gearing.core.record import Record
from gearing.core.terms import desk_problems
from gearing.core.token import Token
from gearing.errors import Problem

# Of a leg, everything else makes its lots another thing than what is held and was booked.
_LEG_CHANGES = frozenset({"weight", "tick", "min_notional", "margin_tiers"})
_TOKEN_FIXED = frozenset({"symbol", "settlement", "initial_nav"})
_WHY = {
    "symbol": "Its journal, its orders and its holders know it by this name.",
    "settlement": "Its ledger is kept in this currency.",
    "initial_nav": "Its first units were issued at it.",
    "legs": "Its position is counted in these. Close the token, and launch another one.",
}


class Changed(NamedTuple):
    """One field that differs: its place, and what stands there before and after, in words."""

    place: str
    old: str
    new: str


def differences(old: Token, new: Token) -> tuple[Changed, ...]:
    """Returns what differs between two specifications, field by field.

    A rule is compared by its name and by what it comes to, so that a preset's levels are seen to move with the target.

    Args:
        old, new: the specifications.
    """
    found = _between(_plain(old), _plain(new), "")
    if old.resolved_rule != new.resolved_rule:
        found += _between(_fields(old.resolved_rule), _fields(new.resolved_rule), "rule")
    return tuple(found)


def change_problems(old: Token, new: Token) -> list[Problem]:
    """Returns why a running token cannot go on under another specification; none: it can.

    Args:
        old: under which it runs.
        new: what it is to go on with.
    """
    problems = [
        Problem(place, getattr(new, place), f"{getattr(old, place)}, as it was launched", _WHY[place])
        for place in sorted(_TOKEN_FIXED)
        if getattr(old, place) != getattr(new, place)
    ]
    if len(old.legs) != len(new.legs):
        return [*problems, Problem("legs", f"{len(new.legs)}", f"the {len(old.legs)} it holds", _WHY["legs"])]
    for k, (held, wanted) in enumerate(zip(old.legs, new.legs, strict=True)):
        problems += _leg_problems(f"legs[{k}]", held, wanted)
    return problems + desk_problems(new)


def _leg_problems(place: str, held: Instrument, wanted: Instrument) -> list[Problem]:
    if type(held) is not type(wanted):
        names = type(wanted).__name__, type(held).__name__
        return [Problem(f"{place}.kind", names[0], f"the {names[1]} it holds", _WHY["legs"])]
    return [
        Problem(f"{place}.{name}", _words(getattr(wanted, name)), f"{_words(getattr(held, name))}, as it holds",
                _WHY["legs"])
        for name in held.__struct_fields__
        if name not in _LEG_CHANGES and getattr(held, name) != getattr(wanted, name)
        and not (name == "contracts" and _is_longer(held, wanted))
    ]  # fmt: skip


def _is_longer(held: Instrument, wanted: Instrument) -> bool:
    """Returns whether a chain only goes on with further contracts, as a venue lists them."""
    if not (isinstance(held, DatedFuture) and isinstance(wanted, DatedFuture) and held.contracts):
        return False
    return wanted.contracts[: len(held.contracts)] == held.contracts


def _plain(token: Token) -> dict[str, Any]:
    """Returns a specification's fields, its own rule by its name alone."""
    rule = token.rule if isinstance(token.rule, str) else (token.rule.name or "its own")
    return {**_fields(token), "rule": rule}


def _fields(record: Record) -> dict[str, Any]:
    return msgspec.structs.asdict(record)


def _between(old: dict[str, Any], new: dict[str, Any], under: str) -> list[Changed]:
    """Returns the differences of two tables; a record on both sides is looked into, a list of as many items too."""
    found: list[Changed] = []
    for name in dict.fromkeys([*old, *new]):
        place = f"{under}.{name}" if under else name
        found += _at(place, old.get(name), new.get(name))
    return found


def _at(place: str, old: Any, new: Any) -> list[Changed]:
    if old == new and type(old) is type(new):
        return []
    if isinstance(old, Record) and type(old) is type(new):
        return _between(_fields(old), _fields(new), place)
    if isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        return [one for k, pair in enumerate(zip(old, new, strict=True)) for one in _at(f"{place}[{k}]", *pair)]
    return [Changed(place, _words(old), _words(new))]


def _words(value: Any) -> str:
    """Returns a value as a person writes it in the file."""
    if value is None or value in ((), ""):
        return "none"
    if isinstance(value, Record):
        given = [
            f"{field.name} = {_words(getattr(value, field.name))}"
            for field in msgspec.structs.fields(value)
            if field.required or getattr(value, field.name) != field.default
        ]
        return f"{{ {', '.join(given)} }}" if given else "{ }"
    if isinstance(value, tuple):
        return f"[{', '.join(_words(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)
