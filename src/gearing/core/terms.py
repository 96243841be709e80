"""A token's specification in the form that decisions need, made once and used for every event."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from gearing.core.chains import Chains, expiry_problems
from gearing.core.delays import NO_DELAYS, Delays, is_due
from gearing.core.instruments import DatedFuture, Perpetual
from gearing.core.legs import LEAST, LOT, Floats, pack_legs
from gearing.core.pack import INF, N_PLAN, N_TERMS, Terms, pack, schedule_times_ms
from gearing.core.record import DAY_MS
from gearing.core.token import Token
from gearing.errors import Problem, SpecError


class Spec:
    """A token as a running one sees it.

    Args:
        token: the specification; its costs are what trading is expected to cost where an aim is met after cost.

    Raises:
        SpecError: it holds what no desk can run.
    """

    def __init__(self, token: Token) -> None:
        problems = desk_problems(token)
        if problems:
            raise SpecError(problems)
        flat = pack(token)
        count = int(flat[Terms._fields.index("n_plans")])
        self.token = token
        self.terms = Terms(*flat[:N_TERMS].tolist())
        self.plans: Floats = np.ascontiguousarray(flat[N_TERMS : N_TERMS + count * N_PLAN].reshape(count, N_PLAN))
        self.legs, self.tiers = pack_legs(token)
        self.times_ms = schedule_times_ms(token.resolved_rule)
        self.rounds_away = bool(self.legs[LOT].sum() + self.legs[LEAST].sum() > 0)
        self.all_in = token.fees.all_in
        self.chains = Chains(token.legs)
        # Which legs pay funding; a dated future pays none.
        self.is_funded = tuple(isinstance(leg, Perpetual) for leg in token.legs)

    @cached_property
    def resting(self) -> Terms:
        """The terms of a token whose rule is not asked: only the loss of all equity needs attention."""
        return self.terms._replace(lower=0.0, upper=INF, move_up=INF, move_down=INF, ripcord=INF)

    @cached_property
    def has_fee(self) -> bool:
        """Whether a day's end is a clock."""
        return bool(self.terms.fee_per_day or self.terms.fee_per_year)

    @cached_property
    def starts_ms(self) -> tuple[int, ...]:
        """The times of day of all schedules as they are stated, ms after 00:00 UTC."""
        return tuple(sorted(set().union(*self.times_ms)))

    def due_schedules(self, after_ms: int, now_ms: int, delays: Delays = NO_DELAYS) -> int:
        """Returns a mask: bit k is set if a time of schedule k, put off by its day's delay, lies in (after, now]."""
        mask, at_once = 0, delays.is_none
        for k, times in enumerate(self.times_ms):
            if at_once:
                ran_out = any((now_ms - at) // DAY_MS > (after_ms - at) // DAY_MS for at in times)
            else:
                ran_out = any(is_due(at, after_ms, now_ms, delays) for at in times)
            mask |= ran_out << k
        return mask

    def looks(self, before_ms: int, now_ms: int) -> bool:
        """Returns whether the continuous triggers look at a price known now, after one known before."""
        step = self.terms.check_ms
        return step == 0.0 or math.floor(now_ms / step) != math.floor(before_ms / step)


def desk_problems(token: Token) -> list[Problem]:
    """Returns what of a token a desk cannot run: it trades linear perpetuals and dated futures."""
    problems = []
    for k, leg in enumerate(token.legs):
        place = f"legs[{k}]"
        if isinstance(leg, Perpetual) and leg.inverse:
            problems.append(Problem(f"{place}.inverse", "true", "a linear contract", "A desk runs no coin margin yet."))
        elif not isinstance(leg, (Perpetual, DatedFuture)):
            kind = type(leg).__name__
            problems.append(Problem(place, kind, "a perpetual or a dated future", "A desk trades these two kinds."))
        elif isinstance(leg, DatedFuture):
            problems += [problem.under(place) for problem in expiry_problems(leg)]
    return problems
