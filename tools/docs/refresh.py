"""Writes into the pages what the code makes now: `python -m tools.docs.refresh [PAGE…]`; read the difference.

Below every example stands what it prints, and between two markers the reference text of the code.
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
from pathlib import Path

from tools.docs import examples
from tools.docs.built import built


def refresh(page: Path, columns: int) -> int:
    """Runs a page's examples, puts what they print in place of what stood there, and returns how many changed."""
    before = page.read_text(encoding="utf-8")
    text = built(before)
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
    return len(changed) + (text != before and not changed)


if __name__ == "__main__":
    for page in [Path(name).resolve() for name in sys.argv[1:]] or [examples.README, *examples.PAGES]:
        count = refresh(page, 100 if page == examples.README else 80)
        if count:
            print(f"{page.relative_to(examples.ROOT)}: {count} renewed")
