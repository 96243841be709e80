"""Reads a token specification from TOML text and names every mistake in it."""

from __future__ import annotations

import difflib
import inspect
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from gearing.core.instruments import KINDS, Instrument
from gearing.core.presets import PRESETS, unknown_preset
from gearing.core.record import Record
from gearing.core.rule import Rule
from gearing.core.spec_text.lines import Lines
from gearing.core.token import Token
from gearing.errors import Problem, SpecError

_SYNTAX_PLACE = re.compile(r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_INDEX = re.compile(r"\[\d+\]")
_TOML_MEND = 'A line is key = value, and a text stands in quotes: symbol = "BTC3L".'
_R = TypeVar("_R", bound=Record)


def parse_token(text: str, *, where: str = "") -> Token:
    """Returns the token that a TOML text specifies.

    Args:
        text: the specification.
        where: the file it came from, for messages.

    Raises:
        SpecError: the text is no TOML or no valid token; `problems` lists every mistake with its line.
    """
    text = text.removeprefix("\ufeff")
    reader = _Reader()
    token = reader.record(Token, _load(text, where), "")
    if token is None:
        raise SpecError(Lines(text).placed(reader.problems), where=where)
    return token


def _load(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise SpecError([_syntax_problem(text, str(error))], where=where) from None
    except RecursionError:
        nested = Problem("the text", "hundreds of levels", "tables and lists nested a few levels deep")
        raise SpecError([nested], where=where) from None


def _syntax_problem(text: str, message: str) -> Problem:
    match = _SYNTAX_PLACE.fullmatch(message)
    if match is None:
        return Problem("the text", f"something else ({message.partition(':')[0]})", "valid TOML", _TOML_MEND)
    reason = f"({match[1][:1].lower()}{match[1][1:]})"
    twice = any(word in match[1].lower() for word in ("overwrite", "declare", "twice"))
    mend = "Give each field and each [table] only once." if twice else _TOML_MEND
    rows = text.split("\n")
    if match[2] is None:
        return Problem(f"line {len(rows)}", f"the end of the text {reason}", "valid TOML", mend)
    row = rows[int(match[2]) - 1].strip()
    shown = row if len(row) <= 60 else f"{row[:57]}..."
    shown = shown if shown.isprintable() else repr(shown)
    return Problem(f"line {match[2]}, column {match[3]}", f"{shown} {reason}", "valid TOML", mend)


class _Reader:
    """Builds records from parsed TOML, bottom up, and notes every mistake on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def record(self, kind: type[_R], table: Mapping[str, Any], place: str) -> _R | None:
        """Returns the record that a table describes, or None after noting what is wrong with it."""
        before = len(self.problems)
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        self._note_unknown(kind, table, tuple(fields), place)
        # A faulty field keeps its default, so that the record can still check all the others.
        values: dict[str, Any] = {}
        faulty: set[str] = set()
        for name, field in fields.items():
            if name in table:
                count = len(self.problems)
                value = self._value(field.type, table[name], _under(place, name))
                if len(self.problems) == count:
                    values[name] = value
                else:
                    faulty.add(name)
            if field.required:
                # None makes the record's own check say what it expects of a missing field.
                values.setdefault(name, None)
        built = self._construct(kind, values, faulty, place)
        return built if len(self.problems) == before else None

    def _construct(self, kind: type[_R], values: dict[str, Any], faulty: set[str], place: str) -> _R | None:
        missing = {name for name, value in values.items() if value is None} - faulty
        try:
            return kind(**values)
        except SpecError as error:
            for problem in error.problems:
                name = re.split(r"[.\[]", problem.place)[0]
                if name in faulty:
                    continue
                found = (
                    problem._replace(found="nothing", fix=f"Add a line: {name} = ...") if name in missing else problem
                )
                self.problems.append(found.under(place) if place else found)
        except OverflowError:
            self._note(place or "the token", "a number beyond all bounds", "numbers of a sensible size")
        return None

    def _value(self, wanted: Any, value: Any, place: str) -> Any:
        options = _options(wanted)
        kind = next((option for option in options if _is_record(option)), None)
        items = next((typing.get_args(option)[0] for option in options if _is_list(option)), None)
        if isinstance(value, dict):
            if kind is not None and issubclass(kind, Instrument):
                return self._leg(value, place)
            if kind is not None:
                return self.record(kind, value, place)
            self._note(
                place,
                "a table",
                "a list" if items is not None else "a single value",
                _list_mend(place, items),
            )
        elif items is not None:
            if isinstance(value, list):
                return tuple(self._value(items, item, f"{place}[{n}]") for n, item in enumerate(value))
            self._note(place, repr(value), "a list", _list_mend(place, items))
        elif kind is not None and not (str in options and isinstance(value, str)):
            also = " or the name of a preset" if str in options else ""
            mend = f"Write [{_INDEX.sub('', place)}] with its fields below it."
            self._note(place, repr(value), f"a table{also}", mend)
        elif kind is Rule and value not in PRESETS:
            self.problems.append(unknown_preset(value)._replace(place=place))
        elif options == (str,) and not isinstance(value, (str, list)):
            self._note(place, str(value), "a text", f'Put it in quotes: "{value}".')
        elif not isinstance(value, (bool, int, float, str, list)):
            self._note(place, f"the date or time {value}", "a number or a text")
        elif isinstance(value, int) and not -(2**1000) < value < 2**1000:
            self._note(place, "a number beyond all bounds", "a number of a sensible size")
        return value

    def _leg(self, table: Mapping[str, Any], place: str) -> Any:
        """Returns the instrument that a table describes; its `kind` says which, a perpetual unless given."""
        name = table.get("kind", "perpetual")
        if not isinstance(name, str) or name not in KINDS:
            near = difflib.get_close_matches(str(name), KINDS, n=1)
            mend = f'Did you mean "{near[0]}"?' if near else ""
            self._note(_under(place, "kind"), repr(name), f"one of {', '.join(KINDS)}", mend)
            name = "perpetual"
        return self.record(KINDS[name], {key: value for key, value in table.items() if key != "kind"}, place)

    def _note_unknown(self, kind: type[Record], table: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
        for name, value in table.items():
            if name in known:
                continue
            mend = _unknown_mend(kind, name, value, known)
            self._note(_under(place, name), "an unknown one", "a known field", mend)

    def _note(self, place: str, found: str, expected: str, fix: str = "") -> None:
        self.problems.append(Problem(place, found, expected, fix))


def _unknown_mend(kind: type[Record], name: str, value: Any, known: tuple[str, ...]) -> str:
    if kind is Rule and name == "preset":
        return f'Write rule = "{value}" above the first [table], in place of [rule].'
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f'Did you mean "{near[0]}"?'
    if kind is not Token and name in Token.__struct_fields__:
        return f'"{name}" belongs to the token itself: move it above the first [table].'
    return f"There are {', '.join(known)}."


def _list_mend(place: str, items: Any) -> str:
    if items is None:
        return ""
    table = _INDEX.sub("", place)
    if any(_is_record(option) for option in _options(items)):
        return f"Write [[{table}]] with its fields below it."
    return f"Write {table.rpartition('.')[2]} = [...]."


def _options(wanted: Any) -> tuple[Any, ...]:
    if typing.get_origin(wanted) in (typing.Union, types.UnionType):
        return tuple(option for option in typing.get_args(wanted) if option is not types.NoneType)
    return (wanted,)


def _is_record(option: Any) -> bool:
    return inspect.isclass(option) and issubclass(option, Record)


def _is_list(option: Any) -> bool:
    return typing.get_origin(option) is tuple


def _under(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
