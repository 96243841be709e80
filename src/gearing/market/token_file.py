"""Reads a token's specification from its file."""

from __future__ import annotations

from pathlib import Path

from gearing.core.spec_text import parse_token
from gearing.core.token import Token
from gearing.files import read_text


def read_token(path: str | Path) -> Token:
    """Returns the token that a TOML file specifies.

    Args:
        path: the file.

    Raises:
        SpecError: the file is no valid specification; `problems` lists every mistake with its line.
        InputError: the file cannot be read, or is no text.
    """
    return parse_token(read_text(path), where=str(path))
