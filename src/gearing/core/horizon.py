"""The horizon of a live token: the next clock time and the two prices at which it needs attention."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gearing.core.barriers import State, barriers, liquidation_price, overdue_barriers
from gearing.core.pack import INF, N_PLAN, N_TERMS, N_TIER, Plan, Terms, pack, schedule_times_ms
from gearing.core.record import DAY_MS
from gearing.core.token import Token


class Horizon(NamedTuple):
    """When a token next needs attention.

    Args:
        deadline_ms: the next clock time, ms UTC; ∞ if there is none.
        below: a price below this one needs attention.
        above: a price above this one needs attention.
    """

    deadline_ms: float
    below: float
    above: float


def _next_time_of_day(now_ms: float, time_of_day_ms: int) -> float:
    """Returns the first instant of a time of day later than now."""
    return float(((now_ms - time_of_day_ms) // DAY_MS + 1) * DAY_MS + time_of_day_ms)


def horizon(token: Token, state: State, now_ms: float, *, settlement_ms: float = INF) -> Horizon:
    """Returns when a token next needs attention, seen from a state that was just attended to.

    Between `below` and `above`, and before the deadline, nothing is posted and nothing is traded. Beyond
    them something may be: the barriers lie inside the firing prices by the width of a touch. Already
    outside, the range is empty or does not hold the state's own price, so the next price is looked at.

    Args:
        token: the specification.
        state: the state after its last posting.
        now_ms: the time of that state.
        settlement_ms: the next funding settlement, if one is known.

    Source: E = c + q·p between postings, so ℓ meets a level at p = L·u/(1 − L), u = c/q.
    """
    flat = pack(token)
    terms = Terms(*flat[:N_TERMS])
    count = int(terms.n_plans)
    plans = [Plan(*row) for row in flat[N_TERMS : N_TERMS + count * N_PLAN].reshape(count, N_PLAN)]
    tiers = flat[N_TERMS + count * N_PLAN :].reshape(int(terms.n_tiers), N_TIER)
    deadlines = [settlement_ms]
    if terms.fee_per_day or terms.fee_per_year:
        deadlines.append(_next_time_of_day(now_ms, 0))
    below, above = barriers(terms, state)
    if state.side != 0.0:
        deadlines.append(state.slice_ms)
    else:
        for plan, times in zip(plans, schedule_times_ms(token.resolved_rule), strict=True):
            deadlines += [_next_time_of_day(now_ms, at) for at in times]
            due_ms = state.ref_ms + plan.every_ms
            if plan.every_ms and due_ms > now_ms:
                deadlines.append(due_ms)
            elif plan.every_ms:
                low, high = overdue_barriers(terms, state, plan)
                below, above = max(below, low), min(above, high)
    forced = liquidation_price(np.ascontiguousarray(tiers), state)
    if state.q > 0.0:
        below = max(below, forced) if not math.isnan(forced) else below
    elif state.q < 0.0:
        above = min(above, forced) if not math.isnan(forced) else above
    return Horizon(min(deadlines), below, above)
