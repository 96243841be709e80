"""The desk's console: one record in, one screen out."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gearing.typed import escaped

if TYPE_CHECKING:
    from gearing.desk.flows import FlowsView
    from gearing.desk.happenings import Happening
    from gearing.desk.view import DeskView, TokenView
    from gearing.drive.outlook import Barrier

# Below this width each token takes two lines.
WIDE = 136
_HAPPENINGS = 8


def screen(view: DeskView, width: int, *, happenings: int = _HAPPENINGS) -> RenderableType:
    """Returns what the console shows of a desk.

    Args:
        view: the desk.
        width: characters to a line.
        happenings: how many of the last ones.
    """
    parts: list[RenderableType] = [_head(view, width), Text()]
    parts.append(_wide(view) if width >= WIDE else _narrow(view))
    if view.flows is not None:
        parts += [Text(), _line(_flows(view.flows, view.market_ms), width)]
    ill = [one for one in view.tokens if one.health not in {"ok", one.outlook.status}]
    if ill:
        parts += [Text(), *(_ill(one) for one in ill)]
    shown = view.happenings[-happenings:] if happenings else ()
    if shown:
        parts += [Text(), *(happening_line(one, width) for one in shown)]
    return Group(*parts)


def rendered(view: DeskView, width: int, *, happenings: int = _HAPPENINGS) -> str:
    """Returns the console as plain text."""
    console = Console(width=width, no_color=True, highlight=False, force_terminal=False)
    with console.capture() as capture:
        console.print(screen(view, width, happenings=happenings))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def clock(time_ms: int, *, seconds: bool = True) -> str:
    """Returns a time as "2026-01-01 22:00:00", UTC."""
    text = f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    return text if seconds else text[:-3]


def span(length_ms: float) -> str:
    """Returns a length of time in one unit: "4 s", "12 min", "3 h", "2 d"."""
    seconds = max(round(length_ms / 1000), 0)
    if seconds < 120:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    return f"{minutes} min" if minutes < 120 else f"{hours} h" if hours < 48 else f"{days} d"


def happening_line(one: Happening, width: int = 0) -> Text:
    """Returns a happening as one line; one that is too long is cut."""
    whose = one.token or one.book
    text = Text(f"{clock(one.time_ms)[5:]}  ", style="dim")
    text.append(f"{whose + '  ' if whose else ''}", style="bold")
    text.append(escaped(one.words), style="yellow" if one.level == "warning" else "")
    return _line(text, width)


def _ill(token: TokenView) -> Text:
    """Returns what is wrong with a token and the command that helps: whole, over several lines where it is long."""
    text = Text(f"{token.outlook.token}: {escaped(token.health)}", style="bold red")
    return text.append(f" → {token.helps}", style="not bold") if token.helps else text


def _line(text: Text, width: int) -> Text:
    """Returns a text on one line, cut where it is too long."""
    if width and text.cell_len > width:
        text.truncate(width, overflow="ellipsis")
    return text


def label_of(mode: str, speed: float) -> str:
    """Returns the mode and the clock's speed (0: not known here), as every header has them."""
    prices = {"demo": "invented prices", "paper": "replayed prices, simulated venue"}.get(mode, "no desk runs it yet")
    pace = "" if speed == 0 else " · real time" if speed == 1 else f" · clock {speed:,g}×"
    return f"{mode.upper()} · {prices}{pace}"


def _head(view: DeskView, width: int) -> RenderableType:
    first = Text(label_of(view.mode, view.speed), style="bold black on yellow" if view.mode == "demo" else "bold")
    facts = [f"market {clock(view.market_ms)} UTC" if view.market_ms else "no price yet"]
    if view.price_age_ms is not None:
        # What the clock's speed makes of it: the age that the person at the screen waits for.
        facts.append(f"prices {span(view.price_age_ms)} old")
    facts.append(f"journal {view.lines:,} lines")
    if view.commit_s:
        facts.append(f"commit {view.commit_s * 1000:.1f} ms")
    # As many of them beside the label as have room there.
    beside = next((n for n in range(len(facts), 0, -1) if first.cell_len + 3 + len(" · ".join(facts[:n])) <= width), 0)
    top = Text.assemble(first, "   ", " · ".join(facts[:beside])) if beside else first
    return Group(top, Text(" · ".join(facts[beside:]))) if facts[beside:] else top


def _wide(view: DeskView) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name, right in (("token", False), ("NAV", True), ("lev", True), ("exposure", True), ("below", True),
                        ("above", True), ("next", False), ("last rebalance", False), ("margin", True),
                        ("health", False)):  # fmt: skip
        least = max((len(one.outlook.token) for one in view.tokens), default=0) if name == "token" else None
        table.add_column(name, justify="right" if right else "left", no_wrap=True, min_width=least)
    for token in view.tokens:
        below, above = _barriers(token)
        seen = token.outlook
        table.add_row(
            Text(seen.token, style="bold"), f"{seen.nav:,.4f}", f"{seen.leverage:+.3f}", _money(seen.exposure), below,
            above, _next(token, view.market_ms), _last(token, view.market_ms), _margin(token), _health(token),
        )  # fmt: skip
    return table


def _narrow(view: DeskView) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name, right in (("token", False), ("NAV", True), ("lev", True), ("exposure", True), ("below", True),
                        ("above", True), ("margin", True)):  # fmt: skip
        least = max((len(one.outlook.token) for one in view.tokens), default=0) if name == "token" else None
        table.add_column(name, justify="right" if right else "left", no_wrap=True, min_width=least)
    for token in view.tokens:
        below, above = _barriers(token)
        seen = token.outlook
        table.add_row(Text(seen.token, style="bold"), f"{seen.nav:,.4f}", f"{seen.leverage:+.3f}",
                      _money(seen.exposure), below, above, _margin(token))  # fmt: skip
    lines: list[RenderableType] = [table, Text()]
    for token in view.tokens:
        line = Text(f"{token.outlook.token}  ", style="bold")
        line.append(f"next {_next(token, view.market_ms)} · last {_last(token, view.market_ms)} · ", style="not bold")
        line.append_text(_health(token))
        lines.append(line)
    return Group(*lines)


def _flows(flows: FlowsView, now_ms: int) -> Text:
    """Returns what holders do as one line: how many there are, who waits, and what was dealt last."""
    waits = [f"{count} {word}" for count, word in ((flows.subscribing, "in"), (flows.redeeming, "out")) if count]
    facts = [f"{flows.holders}", f"{' and '.join(waits)} wait" if waits else "nobody waits"]
    last = flows.last
    if last is not None:
        parts = ((last.met, "met"), (last.came, "in"), (last.went, "out"), (last.at_once, "at once"))
        dealt = ", ".join(f"{_money(money)} {word}" for money, word in parts if money)
        facts.append(f"{last.token} {span(now_ms - last.time_ms)} ago: {dealt}")
    return Text.assemble(("holders  ", "bold"), " · ".join(facts))


def _barriers(token: TokenView) -> tuple[str, str]:
    """Returns the nearest barrier of any leg on each side."""
    legs = token.outlook.legs
    name = len(legs) > 1
    below = [(abs(leg.below.move), leg.symbol, leg.below) for leg in legs if leg.below is not None]
    above = [(abs(leg.above.move), leg.symbol, leg.above) for leg in legs if leg.above is not None]
    return tuple(  # type: ignore[return-value]
        _barrier(min(side, key=lambda one: one[0])[2], min(side, key=lambda one: one[0])[1] if name else "")
        if side else "–"
        for side in (below, above)
    )  # fmt: skip


def _barrier(barrier: Barrier, symbol: str) -> str:
    deviations = "" if barrier.deviations is None else f" {barrier.deviations:+.1f}σ"
    return f"{symbol[:3] + ' ' if symbol else ''}{barrier.move:+.1%}{deviations}"


def _next(token: TokenView, now_ms: int) -> str:
    seen = token.outlook
    if seen.due_ms is None:
        return "–"
    words = f"{span(seen.due_ms - now_ms)} {seen.due}"
    if seen.forecast is not None and seen.due in {"schedule", "interval"}:
        side = seen.forecast.side
        words += f": {side}" if side == "nothing" else f": {side} {_money(seen.forecast.traded)}"
    return words


def _last(token: TokenView, now_ms: int) -> str:
    last = token.last
    if last is None:
        return "–"
    if last.is_open:
        return f"{last.reason}, running"
    return f"{span(now_ms - last.ended_ms)} ago {last.reason} {last.cost_rate:.2%}"


def _margin(token: TokenView) -> str:
    if token.headroom is None:
        return "–"
    return f"{token.headroom:.1f}×" if token.headroom < 10 else f"{token.headroom:.0f}×"


def _health(token: TokenView) -> Text:
    word = re.split("[,:;]", token.health, maxsplit=1)[0]
    return Text(word, style="green" if word == "ok" else "bold red")


def _money(amount: float) -> str:
    for size, unit in ((1e9, "bn"), (1e6, "m"), (1e4, "k")):
        if abs(amount) >= size:
            return f"{amount / (1e3 if unit == 'k' else size):,.{0 if unit == 'k' else 2}f}{unit}"
    return f"{amount:,.0f}"
