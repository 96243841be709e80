"""When a running token next needs attention: its horizon, as a clock time and a range of prices for each leg."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import UNSET

from gearing.core.box import set_box
from gearing.core.decide import NONE
from gearing.core.delays import DelayOf, at_event, next_start
from gearing.core.events import Marked
from gearing.core.legs import AT, FLAT, HIGH, LOW, SIDE
from gearing.core.legs import PRICE as MARK
from gearing.core.pack import INF
from gearing.core.portfolio import copy_row
from gearing.core.record import DAY_MS
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.core.trading import decide_now
from gearing.core.working import Working

# A closing that the venue did not fill is asked for again so much later.
CLOSE_AGAIN_MS = 60_000


class Watch(NamedTuple):
    """A token's horizon.

    Args:
        deadline_ms: the next clock time, ms UTC; ∞ if there is none.
        below: for each leg, a price below which it needs attention.
        above: for each leg, a price above which it does; an empty range asks for every price.
    """

    deadline_ms: float
    below: tuple[float, ...]
    above: tuple[float, ...]

    def is_crossed(self, prices: tuple[float, ...]) -> bool:
        """Returns whether any leg's price left its range."""
        return any(p < low or p > high for p, low, high in zip(prices, self.below, self.above, strict=True))


def watch(spec: Spec, state: TokenState, delay_of: DelayOf | None = None) -> Watch:
    """Returns the horizon of a token that was just attended to.

    Within the ranges and before the deadline nothing is posted and nothing is traded.

    Args:
        spec, state: the token.
        delay_of: by how much times of a day are put off where the state has not fixed it; None: not at all.
    """
    count = len(state.legs) or len(spec.token.legs)
    nothing = Watch(INF, (0.0,) * count, (INF,) * count)
    if state.status in {"wiped", "closing"} and not state.is_working and not state.is_flat:
        return nothing._replace(deadline_ms=state.attended_ms + CLOSE_AGAIN_MS)
    if state.status in {"wiped", "closed", "draft"} or not state.balances.units:
        return nothing
    if not state.opened and state.status == "open":
        return Watch(state.attended_ms, (0.0,) * count, (INF,) * count)
    if state.is_rolling:
        return _of_roll(state)
    deadline, overdue = _clocks(spec, state, delay_of)
    work = Working(spec, state)
    v, x = work.arrays()
    rests = state.status != "open" or state.is_working
    every_price = Watch(deadline, (INF,) * count, (0.0,) * count)
    if v[FLAT] != 0.0:  # it has no leverage that could be held against a condition
        return every_price if overdue and not rests else nothing._replace(deadline_ms=deadline)
    copy_row(x, AT, MARK)
    if rests:  # no rule is asked, but equity may run out
        v[SIDE] = 1.0
    terms = spec.resting if rests else spec.terms
    if not set_box(terms, spec.plans, spec.tiers, spec.legs, v, x, float(state.attended_ms)):
        return every_price
    return Watch(deadline, tuple(x[LOW].tolist()), tuple(x[HIGH].tolist()))


def _of_roll(state: TokenState) -> Watch:
    """Returns the horizon while two contracts of a leg are held, whose prices have no common range.

    Each price is looked at; a roll that no order of is under way goes on at the next one, a halted one waits.
    """
    count = len(state.legs)
    if state.status == "open" and not state.is_working:
        return Watch(state.attended_ms, (0.0,) * count, (INF,) * count)
    day_ends_ms = (state.charged_until_ms // DAY_MS + 1) * DAY_MS
    return Watch(float(day_ends_ms), (INF,) * count, (0.0,) * count)


def needs(spec: Spec, state: TokenState, event: Marked, *, asks_rule: bool = True) -> bool:
    """Returns whether prices beyond a token's range are worth an event: equity is gone, or the rule would trade."""
    work = Working(spec, state)
    work.mark(event.prices)
    if state.status in {"wiped", "closed", "draft"}:
        return False
    if not state.balances.units:
        return False
    if work.equity <= 0:
        return True
    if not asks_rule:
        return False
    delays = at_event(state.delays, state.attended_ms, event.delays_ms, event.time_ms)
    due = spec.due_schedules(state.attended_ms, event.time_ms, delays)
    return bool(decide_now(spec, work, due, event.time_ms, event.before_ms).reason != NONE)


def _clocks(spec: Spec, state: TokenState, delay_of: DelayOf | None) -> tuple[float, bool]:
    """Returns the next clock time, and whether an interval has run out that was held back."""
    # While a flow is under way the rule's own clock stands still, and its driver asks the rule at every price.
    since = state.attended_ms if state.dealing is UNSET else max(state.attended_ms, state.charged_until_ms)
    rolls = spec.chains.times_ms(state) if state.status == "open" and not state.is_working else []
    times = [float(at) for at in rolls]
    if spec.has_fee:
        times.append(float((max(since, state.charged_until_ms) // DAY_MS + 1) * DAY_MS))
    if delay_of is None and state.delays is msgspec.UNSET:
        times += [float(((since - at) // DAY_MS + 1) * DAY_MS + at) for at in spec.starts_ms]
    else:
        drawn = delay_of or (lambda day: 0)
        times += [float(next_start(at, since, state.delays, since, drawn)) for at in spec.starts_ms]
    overdue = False
    running = state.rebalance
    if running is not None:
        if not running.attempts:
            times.append(float(running.due_ms))
    else:
        for every in spec.plans[:, 0].tolist():
            if every > 0.0:
                due_ms = state.ref_ms + every
                overdue |= due_ms <= since
                if due_ms > since:
                    times.append(due_ms)
    return min(times, default=INF), overdue
