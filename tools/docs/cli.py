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
        parts.append("\n".join(f"- [`{name} {word}`](#{name.replace(' ', '-')}-{word})" for word in held))
    options = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    # Every command explains itself; saying so each time helps nobody.
    parts.append("\n".join(f"- `{form}` {_plain(text)}" for form, text in options if "--help" not in form))
    return "\n\n".join(part for part in parts if part)


def _plain(text: str) -> str:
    """Help text as one line of Markdown: what stands in brackets at its end becomes quieter."""
    line = " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")
    head, bracket, tail = line.rpartition("  [") if "  [" in text else line.rpartition(" [")
    if not bracket or not tail.endswith("]"):
        return line
    facts = [f"`{fact.removeprefix('env var: ')}`" if "env var" in fact else fact for fact in tail[:-1].split("; ")]
    return f"{head} ({'; '.join(facts)})" if head else f"({'; '.join(facts)})"
