"""Plotly's script as a report carries it: it opens with the kinds of trace that the page draws, and no others."""

from __future__ import annotations

import re
from functools import cache

# The last thing the bundle does: it makes every module of its list, each of which is a call such as "Ab1()".
_LIST = re.compile(r"\.register\(\[((?:[\w$]+\(\),?)+)\]\)")
_MADE_BY = re.compile(r"exports=([\w$]+)\(\)")
_NAME = re.compile(r'moduleType:"trace",name:"(\w+)"')

# A trace's module says its name within so many characters from its beginning.
_REACH = 3_000


@cache
def script(kinds: frozenset[str]) -> str:
    """Returns the bundle of the installed Plotly, ready to stand in a script element.

    Args:
        kinds: the types of traces on the page; "scatter" is always there.
    """
    from plotly.offline import get_plotlyjs

    # The script element would end at such a text inside it; the bundle holds none today.
    return eager(with_only(str(get_plotlyjs()).replace("</script", "<\\/script"), kinds))


def with_only(bundle: str, kinds: frozenset[str]) -> str:
    """Returns a bundle that makes only some kinds of trace when it is read: half the time to open a page.

    It is returned as it is where its list, or one of the kinds, is not found in it.
    """
    lists = list(_LIST.finditer(bundle))
    if len(lists) != 1:
        return bundle
    wanted = set(kinds) - {"scatter"}
    kept = []
    for call in lists[0][1].split(","):
        if not wanted:
            break
        name = _kind_of(bundle, call.removesuffix("()"))
        if name in wanted:
            wanted.remove(name)
            kept.append(call)
    if wanted:
        return bundle
    return f"{bundle[: lists[0].start(1)]}{','.join(kept)}{bundle[lists[0].end(1) :]}"


def _kind_of(bundle: str, module: str) -> str | None:
    """The kind of trace that a module of the list makes; None if it cannot be told."""
    made = _MADE_BY.search(_definition(bundle, module)[:200])
    found = None if made is None else _NAME.search(_definition(bundle, made[1]))
    return None if found is None else found[1]


def _definition(bundle: str, module: str) -> str:
    places = [bundle.find(f"{mark}{module}=") for mark in (" ", ",", ";")]
    place = min((place for place in places if place >= 0), default=-1)
    return "" if place < 0 else bundle[place : place + _REACH]


def eager(bundle: str) -> str:
    """Returns a bundle whose outer function stands in brackets: a browser reads it once, and not twice."""
    head, factory, body = bundle.partition(", () => {\n")
    end = body.rfind("}));")
    if not factory or end < 0:
        return bundle
    return f"{head}, (() => {{\n{body[:end]}}})){body[end + 2 :]}"
