"""Writes below every example what it prints now: `python -m tools.docs.refresh [PAGE…]`; read the difference."""

from __future__ import annotations

import sys
import tempfile
import textwrap
from pathlib import Path

from tools.docs import examples


def refresh(page: Path, columns: int) -> int:
    """Runs a page's examples, puts what they print in place of what stood there, and returns how many changed."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        played = list(examples.played(text, Path(folder), columns=columns))
    changed = [example for example in played if not example.holds]
    for example in reversed(changed):
        shown = textwrap.indent(example.printed, example.indent)
        if example.unsaid:
            fence = f"{example.indent}```"
            at = example.end + len(fence)
            text = f"{text[:at]}\n\n{fence}text\n{shown}{fence}{text[at:]}"
        else:
            text = text[: example.start] + shown + text[example.end :]
    page.write_text(text, encoding="utf-8")
    return len(changed)


if __name__ == "__main__":
    for page in [Path(name).resolve() for name in sys.argv[1:]] or [examples.README, *examples.PAGES]:
        count = refresh(page, 100 if page == examples.README else 80)
        if count:
            print(f"{page.relative_to(examples.ROOT)}: {count} renewed")
