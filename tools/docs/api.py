"""The reference of the Python API, from the package face and its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from types import ModuleType
from typing import Any, get_args

import msgspec

import gearing as gr
from gearing.core.record import Shown
from gearing.core.words import fee_headline, headline
from tools.docs.docstrings import Doc, parse

# The page on which the public names of each room stand.
PAGE_OF = {"study": "api-studies.md", "core": "api-tokens.md", "market": "api-data.md", "errors": "api-errors.md"}


def names_of(room: str) -> list[str]:
    """Returns the public names whose home is a room ("core", "study", "market", "errors"), sorted as people read."""
    found = [name for name in gr.__all__ if not name.startswith("__") and room_of(name) == room]
    return sorted(found, key=lambda name: (isinstance(getattr(gr, name), ModuleType), name[0].isupper(), name))


def room_of(name: str) -> str:
    """Returns the room that a public name stands in."""
    thing = getattr(gr, name)
    home = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__
    return str(home).split(".")[1]


def room_reference(room: str) -> str:
    """Returns the reference of every public name of a room, as Markdown."""
    return "\n\n".join(_section(name, getattr(gr, name)) for name in names_of(room))


def field_list(name: str) -> str:
    """Returns the fields of one public record with type, default and meaning, as a Markdown list."""
    record = getattr(gr, name)
    return _fields(record, parse(record))


def preset_table() -> str:
    """Returns the issuers' rules and fees as a Markdown table."""
    rows = ["| preset | issuer | targets | rule, at the target named | fees |", "|---|---|---|---|---|"]
    for entry in gr.presets.PRESETS.values():
        rule = gr.presets.preset(entry.name, target=entry.example)
        words = headline(msgspec.structs.replace(rule, name=""))
        at = f"+{entry.example:g}: {words}"
        rows.append(f"| `{entry.name}` | {entry.issuer} | {entry.targets} | {at} | {fee_headline(entry.fees)} |")
    return "\n".join(rows)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Each public method and property of a class that this package wrote, its bases' too.

    What everything that shows itself has in common (`plot`) is left out; the pages say it once.
    """
    seen: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("gearing") and base is not Shown:
            seen |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    for name, value in seen.items():
        if isinstance(value, (property, cached_property)) or inspect.isfunction(value):
            yield name, value


def _section(name: str, thing: Any) -> str:
    title = f"## `{name}` {{ #{name} }}"
    if isinstance(thing, ModuleType):
        return f"{title}\n\n{_module(name, thing)}"
    doc = parse(thing)
    if not inspect.isclass(thing):
        return "\n\n".join([title, *_callable(f"gr.{name}", thing, doc)])
    parts = [title, *doc.prose]
    if issubclass(thing, msgspec.Struct):
        parts += ["**Fields**", _fields(thing, doc)]
    elif doc.entries.get("Args"):
        parts += ["**Attributes**", _entries(doc, "Args")]
    parts += _notes(doc)
    for kind in _inner_records(thing):
        inner = parse(kind)
        parts += [f"### `{kind.__name__}` {{ #{kind.__name__} }}", *inner.prose, _fields(kind, inner)]
    for word, member in members(thing):
        parts += _member(name, word, member)
    return "\n\n".join(part for part in parts if part)


def _inner_records(thing: type) -> list[type[msgspec.Struct]]:
    """Records that a public record holds and that have no name on the package face."""
    fields = msgspec.structs.fields(thing) if issubclass(thing, msgspec.Struct) else ()
    kinds = {option for field in fields for option in (field.type, *get_args(field.type)) if inspect.isclass(option)}
    found = [kind for kind in kinds if issubclass(kind, msgspec.Struct) and kind.__name__ not in gr.__all__]
    return sorted(found, key=lambda kind: kind.__name__)


def _module(name: str, module: ModuleType) -> str:
    parts = [*parse(module).prose]
    for word in module.__all__:
        thing = getattr(module, word)
        if word in gr.__all__:
            parts.append(f"`gr.{name}.{word}` is {_linked(word)}.")
        elif inspect.isfunction(thing):
            parts += [
                f"### `gr.{name}.{word}` {{ #{name}.{word} }}",
                *_callable(f"gr.{name}.{word}", thing, parse(thing)),
            ]
        else:
            parts += [
                f"### `gr.{name}.{word}` {{ #{name}.{word} }}",
                "A mapping from each preset's name to its record: name, issuer, targets, build, fees, example, "
                "about and source.",
            ]
    return "\n\n".join(parts)


def _callable(shown: str, thing: Any, doc: Doc) -> list[str]:
    parts = [f"```py\n{_signature(shown, thing)}\n```", *doc.prose, _entries(doc, "Args"), *_notes(doc)]
    return [part for part in parts if part]


def _member(owner: str, word: str, member: Any) -> list[str]:
    anchor = f"{{ #{owner}.{word} }}"
    if inspect.isfunction(member):
        return [f"### `{owner}.{word}()` {anchor}", *_callable(word, member, parse(member))]
    getter = member.fget if isinstance(member, property) else member.func
    doc = parse(getter)
    return [f"### `{owner}.{word}` {anchor}", *doc.prose, *_notes(doc)]


def _signature(shown: str, thing: Any) -> str:
    signature = inspect.signature(thing)
    kept = [p for p in signature.parameters.values() if p.name != "self"]
    text = f"{shown}{signature.replace(parameters=kept)}".replace("'", "").replace('"', "")
    if len(text) <= 76:
        return text
    lines, keyword = [], False
    for p in kept:
        if p.kind is p.KEYWORD_ONLY and not keyword:
            keyword = True
            lines.append("*,")
        lines.append(f"{p}".replace("'", "") + ",")
    returned = signature.return_annotation
    arrow = "" if returned is inspect.Signature.empty else f" -> {returned}".replace("'", "")
    inner = "\n".join(f"    {line}" for line in lines)
    return f"{shown}(\n{inner}\n){arrow}"


def _fields(record: type[msgspec.Struct], doc: Doc) -> str:
    # A field is told of where it is declared, which may be a record above this one.
    docs = [parse(above) for above in reversed(record.__mro__) if issubclass(above, msgspec.Struct)] + [doc]
    texts = {entry.name: entry.text for each in docs for entry in each.entries.get("Args", [])}
    lines = []
    for field in msgspec.structs.fields(record):
        default = "required" if field.required else f"default `{_default(field.default)}`"
        lines.append(f"- `{field.name}`: {_type(field.type)}, {default}. {_sentence(texts[field.name])}")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_default(item) for item in value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, msgspec.Struct):
        return f"{type(value).__name__}()"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _type(kind: Any) -> str:
    """A type in the words of a person who fills a field in, with links to the records among them."""
    text = kind.__name__ if inspect.isclass(kind) and not getattr(kind, "__args__", ()) else str(kind)
    text = re.sub(r"\b(?:typing|gearing(?:\.\w+)*|types)\.", "", text).replace("NoneType", "None")
    choices = re.fullmatch(r"Literal\[(.*)\]", text)
    if choices:
        return " or ".join(f"`{choice.strip()}`".replace("'", '"') for choice in choices[1].split(","))
    many = re.fullmatch(r"tuple\[(\w+), \.\.\.\]", text)
    if many:
        return f"tuple of {_linked(many[1])}"
    return " or ".join(_linked(part) for part in text.split(" | "))


def _linked(name: str) -> str:
    """A type's name, leading to where it is explained."""
    if name == "Parts":
        return f"[`{name}`]({PAGE_OF['study']}#{name})"
    if name in gr.__all__:
        return f"[`{name}`]({PAGE_OF[room_of(name)]}#{name})"
    return f"`{name}`"


def _entries(doc: Doc, section: str) -> str:
    return "\n".join(f"- `{entry.name}`: {entry.text}" for entry in doc.entries.get(section, []))


def _notes(doc: Doc) -> list[str]:
    parts = [f"**{title}:** {_sentence(text)}" for title, text in doc.notes.items()]
    for section in ("Raises", "Warns"):
        entries = doc.entries.get(section, [])
        parts += [f"**{section}** `{entry.name}`: {entry.text}" for entry in entries]
    return parts


def _sentence(text: str) -> str:
    """A symbol such as κ keeps its size at the beginning."""
    return text[:1].upper() + text[1:] if re.match(r"[a-z]{2}|a ", text) else text
