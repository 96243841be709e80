"""The running command as a line for a shell, to be run again."""

from __future__ import annotations

import shlex
from enum import Enum
from typing import Any

import typer

# What was typed or stood in the environment is said again; a default says itself.
_GIVEN = ("COMMANDLINE", "ENVIRONMENT")


def command_line(context: typer.Context, **instead: Any) -> str:
    """Returns the running command as a line for a shell, with all it was given.

    Args:
        context: the command.
        instead: what is said for a parameter whatever it was given; of one that the command has not, nothing.
    """
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name not in instead and (source is None or source.name not in _GIVEN):
            continue
        values = instead.get(name, context.params.get(name))
        long = next((option for option in parameter.opts if option.startswith("--")), "")
        for value in values if isinstance(values, (list, tuple)) else [values]:
            words += _words(long, value)
    return shlex.join([*context.command_path.split(), *words])


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option] if value else []
    text = f"{value:.15g}" if isinstance(value, float) else str(value.value if isinstance(value, Enum) else value)
    return [option, text] if option else [text]
