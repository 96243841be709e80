"""Reference text made from the code, and kept in the pages: `python -m tools.docs.refresh` writes it again.

A page marks where it stands:

    <!-- api: study -->
    … the reference of that room's public names …
    <!-- /api -->

`cli` is that of the commands, `presets` the table of issuers, `fields: Rule` the fields of one record, `names: prices`
what columns may be called, `layouts` the known orders of columns, and `events: token` and `records: token` the events
of a stream and the records of its state.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tools.docs import api, cli, events, tables

_MARKERS: dict[str, Callable[[str], str]] = {
    "api": api.room_reference,
    "cli": lambda _: cli.reference(),
    "events": events.reference,
    "fields": api.field_list,
    "layouts": lambda _: tables.layouts(),
    "names": tables.names,
    "presets": lambda _: api.preset_table(),
    "records": events.records,
}
_MARKER = re.compile(rf"<!-- ({'|'.join(_MARKERS)})(?:: ([\w.]+))? -->(?:\n.*?<!-- /\1 -->)?", re.DOTALL)


def built(text: str) -> str:
    """Returns a page with the text of every marker as the code makes it now."""

    def made(match: re.Match[str]) -> str:
        kind, name = match[1], match[2] or ""
        head = f"<!-- {kind}: {name} -->" if name else f"<!-- {kind} -->"
        return f"{head}\n\n{_MARKERS[kind](name).strip()}\n\n<!-- /{kind} -->"

    return _MARKER.sub(made, text)
