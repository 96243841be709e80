"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from gearing.cli.main import app, with_environment


def commands() -> Iterator[tuple[str, Any]]:
    """Each command with its full name, groups before what they hold."""
    yield from _under("gearing", with_environment(get_command(app)))


def reference() -> str:
    """Returns every command with its arguments and options, as Markdown."""
    return "\n\n".join(_command(name, command) for name, command in commands())


def _under(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from _under(f"{name} {word}", inner)


def _command(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"## `{name}` {{ #{name.replace(' ', '-')} }}", _plain(command.help or ""), f"```sh\n{usage}\n```"]
    held = getattr(command, "commands", {})
    if held:
        parts.append("**Commands**")
        parts.append("\n".join(f"- [`{name} {word}`](#{name.replace(' ', '-')}-{word})" for word in held))
    # Every command takes --help; saying so each time helps nobody.
    options = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    arguments = [record for record in options if not record[0].startswith("-")]
    options = [record for record in options if record[0].startswith("-") and "--help" not in record[0]]
    for title, records in (("Arguments", arguments), ("Options", options)):
        if records:
            parts += [f"**{title}**", "\n".join(f"- `{form}` {_plain(text)}" for form, text in records)]
    return "\n\n".join(part for part in parts if part)


def _plain(text: str) -> str:
    """Help text as one line of Markdown: variable and default, which stand in brackets at its end, in round ones."""
    line = " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")
    head, bracket, tail = f" {line}".rpartition(" [")
    if not bracket or not tail.endswith("]"):
        return line
    facts = tail[:-1].replace("default: (", "default: ").replace("))", ")").removesuffix(")").split("; ")
    facts = [f"`{fact.removeprefix('env var: ')}`" if "env var" in fact else fact for fact in facts]
    return f"{head} ({'; '.join(facts)})".strip()
