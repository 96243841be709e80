"""The reference of the journal's events: each kind with its fields, from the code, and what it posts."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import msgspec

from gearing.core.book import BookEvent, BookState
from gearing.core.events import Event, TokenEvent
from gearing.core.flow_parts import FlowNamed, FlowsState
from gearing.core.holder import HolderEvent, HolderState
from gearing.core.ledger import Balances
from gearing.core.state import TokenState
from tools.docs.docstrings import escaped, parse
from tools.docs.postings import POSTS

KINDS: dict[str, tuple[Any, ...]] = {
    "token": get_args(TokenEvent), "holder": get_args(HolderEvent), "book": get_args(BookEvent), "flows": (FlowNamed,),
}  # fmt: skip
STATES: dict[str, type[msgspec.Struct]] = {
    "token": TokenState, "holder": HolderState, "book": BookState, "flows": FlowsState,
}  # fmt: skip

# What fields are whose own docstring says no more of them.
_USUAL = {
    "action": "what is done.",
    "amount": "minor units.",
    "asset": "the currency.",
    "body": "SHA-256 of the command.",
    "by": "who.",
    "cash": "minor units.",
    "commission": "minor units, ≥ 0.",
    "fee": "minor units.",
    "id": "which.",
    "lots": "signed.",
    "price": "in the settlement currency per unit of the underlying.",
    "rate": "a positive one is paid by longs.",
    "reason": "why.",
    "reference": "of whoever pays; it counts once.",
    "symbol": "of the instrument.",
    "time_ms": "milliseconds since 1970 UTC.",
    "token": "its symbol.",
    "trade": "the venue's id of it.",
    "units": "in 1e-8 of a unit.",
    "words": "what the venue, or the desk, says.",
}


def tag_of(kind: type[msgspec.Struct]) -> str:
    """Returns what an event of a kind is called in a line."""
    return str(kind.__struct_config__.tag)


def reference(room: str) -> str:
    """Returns the section of every kind of event of a stream.

    Args:
        room: token, holder, book or flows.
    """
    return "\n\n".join(_section(room, kind) for kind in KINDS[room])


def records(room: str) -> str:
    """Returns the section of a stream's state, and of every record within it or within its events."""
    kinds = dict.fromkeys([STATES[room], *_inner(STATES[room])])
    for kind in KINDS[room]:
        kinds |= dict.fromkeys(_inner(kind))
    return "\n\n".join(_record(kind) for kind in kinds)


def _section(room: str, kind: type[msgspec.Struct]) -> str:
    tag, doc = tag_of(kind), parse(kind)
    posts = POSTS[room].get(tag, "")
    parts = [f"### `{tag}` {{ #{room}-{tag} }}", *doc.prose, _fields(kind)]
    return "\n\n".join([*(part for part in parts if part), f"**Posts** {posts or 'nothing.'}"])


def _record(kind: type[msgspec.Struct]) -> str:
    doc, config = parse(kind), kind.__struct_config__
    form = "An array, in this order." if config.array_like else ""
    return "\n\n".join(part for part in (f"#### `{kind.__name__}`", *doc.prose, form, _fields(kind)) if part)


def _fields(kind: type[msgspec.Struct]) -> str:
    said = {name.strip(): entry.text for entry in parse(kind).entries.get("Args", []) for name in entry.name.split(",")}
    rows = []
    for field in msgspec.structs.fields(kind):
        is_plain = kind is not Balances and _type(field.type).startswith(("text", "integer", "decimal"))
        words = said.get(field.name) or (_USUAL.get(field.name, "") if is_plain else "")
        if field.name != "time_ms" or not issubclass(kind, Event):
            rows.append(f"- `{field.name}` ({_type(field.type)}){': ' if words else ''}{words}")
    return "\n".join(rows)


def _type(kind: Any) -> str:
    """Returns a type as JSON has it."""
    options = [one for one in get_args(kind) if one is not msgspec.UnsetType]
    text = msgspec.inspect.type_info(kind)
    words = _words(text)
    return escaped(words) + (", may be left out" if len(options) != len(get_args(kind)) and options else "")


def _words(info: Any) -> str:
    inspected = msgspec.inspect
    match info:
        case inspected.UnionType(types=types):
            return " or ".join(_words(one) for one in types if getattr(one, "cls", None) is not msgspec.UnsetType)
        case inspected.IntType():
            return "integer"
        case inspected.FloatType():
            return "decimal"
        case inspected.StrType():
            return "text"
        case inspected.BoolType():
            return "true or false"
        case inspected.NoneType():
            return "null"
        case inspected.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in values)
        case inspected.VarTupleType(item_type=item) | inspected.ListType(item_type=item):
            return f"array of {_words(item)}"
        case inspected.TupleType(item_types=items):
            return f"array ({', '.join(_words(one) for one in items)})"
        case inspected.DictType(key_type=key, value_type=value):
            return f"object, from {_words(key)} to {_words(value)}"
        case inspected.StructType(cls=cls):
            return cls.__name__
    return str(getattr(info, "cls", type(info).__name__))


def _inner(kind: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """Returns the records within a record, those within them too; a token's specification has a page of its own."""
    found: dict[type[msgspec.Struct], None] = {}

    def see(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in found or not info.cls.__module__.startswith("gearing.core") or _is_specification(info.cls):
                return
            found[info.cls] = None
            for field in info.fields:
                see(field.type)
            return
        for name in ("types", "item_type", "item_types", "key_type", "value_type"):
            inner = getattr(info, name, ())
            for one in inner if isinstance(inner, (tuple, list)) else (inner,):
                see(one)

    for field in msgspec.structs.fields(kind):
        see(msgspec.inspect.type_info(field.type))
    return [one for one in found if one is not kind]


def _is_specification(kind: type) -> bool:
    return kind.__name__ == "Token" or inspect.getmodule(kind) is inspect.getmodule(_token())


def _token() -> type:
    from gearing.core.token import Token

    return Token
