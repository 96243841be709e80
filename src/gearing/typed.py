"""Text that people type: what may stand in names, reasons and references, and how other text is shown.

Control characters move a terminal's cursor, colour what follows or end a line, so a text that holds them can say what
was never said; the signs that turn the direction of writing do the same on any page. They are refused at the door, and
shown as escapes where older journals hold them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from gearing.numerals import is_number_text

if TYPE_CHECKING:
    import polars as pl

# C0 and C1 control characters, separators of lines and paragraphs, signs of direction, and lone surrogates.
_CONTROL = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\u2028\\u2029\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
# Of them, those that an encoder of JSON leaves as they are; and what begins a formula.
_BEYOND_ASCII = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", ""))
# Characters that are not seen: of format, other spaces, and blanks among letters, marks and symbols.
_UNSEEN = frozenset(("Cf", "Cn", "Co", "Zs"))
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
_FORMULA = ("=", "+", "-", "@")
PATTERN = rf"\A{_CONTROL.pattern.replace('[', '[^', 1)}*\Z"
"""A regular expression of text without any of these."""


def why_not_typed(text: str) -> str:
    """Returns why a text is refused at the door; empty: it is not."""
    found = _CONTROL.search(text)
    if found is None:
        return ""
    if "\ud800" <= found[0] <= "\udfff":
        return f"{_short(text)} is not UTF-8."
    return f"{_short(text)} holds a control character, {found[0]!a}."


def why_not_reference(text: str) -> str:
    """Returns why a text cannot be the reference of a payment, which counts once; empty: it can.

    Two references that look alike must be the same: nothing in them is unseen, and nothing has a plainer form (NFKC).
    """
    if not text.strip():
        return "the reference is empty"
    unseen = next((one for one in text if one != " " and (unicodedata.category(one) in _UNSEEN or one in _BLANK)), "")
    if unseen:
        return f"the reference {text!a} holds {unseen!a}, which is not seen; leave it out"
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    return "" if plain == text else f"the reference {text!a} is not written plainly; write {plain!a}"


def escaped(text: str) -> str:
    """Returns a text as it may be shown: what controls a terminal or a page stands as an escape, such as \\x1b."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def escaped_json(text: str) -> str:
    """Returns JSON with the same escaped as JSON does; only strings can hold it, beside the ends of lines."""
    return _BEYOND_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cell_text(text: str) -> str:
    """Returns a text for a cell of a CSV file: escaped, and after a ' where a spreadsheet would see a formula."""
    shown = escaped(text)
    # Some spreadsheets pass over what is not seen, and read a sign of full width as the plain one.
    seen = (one for one in unicodedata.normalize("NFKC", shown) if one.isprintable() and not one.isspace())
    return f"'{shown}" if next(seen, "") in _FORMULA and not is_number_text(shown) else shown


def safe_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Returns a table whose texts are as `cell_text` has them, for a CSV file."""
    import polars as pl

    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    return frame.with_columns(pl.col(name).map_elements(cell_text, pl.String) for name in texts)


def _short(text: str) -> str:
    return repr(escaped(text[:40]) + ("…" if len(text) > 40 else "")).replace("\\\\", "\\")
