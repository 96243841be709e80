"""What a change of its specification would do to a token at the marks of now. Pure."""

from __future__ import annotations

from typing import NamedTuple

from gearing.core.decide import NONE, REASONS
from gearing.core.events import SpecificationChanged
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.terms import Spec
from gearing.core.trading import decide_now
from gearing.core.working import Working
from gearing.drive.outlook import Forecast, Outlook, forecast_of, outlook


class Effect(NamedTuple):
    """How a token would stand after a change.

    Args:
        outlook: under the new specification.
        reason: why it would trade at the next price, a word of `decide.REASONS`; empty: it would not.
        trade: what it would trade then; None: nothing.
    """

    outlook: Outlook
    reason: str = ""
    trade: Forecast | None = None


def effect_of(old: Spec, new: Spec, state: TokenState, now_ms: int, daily: tuple[float, ...] = ()) -> Effect:
    """Returns what a change would do, at the last marks.

    Args:
        old, new: the specifications.
        state: the token's; it is left as it is.
        now_ms: when it would be changed.
        daily: see `outlook`.

    Raises:
        StepError: the token cannot be changed now.
    """
    marks = tuple(leg.mark for leg in state.legs)
    changed = SpecificationChanged(time_ms=now_ms, token=new.token, by="nobody", reason="to see what it does")
    after = step(old, state, changed).state
    seen = outlook(new, after, marks, daily)
    if after.status != "open" or after.equity <= 0 or not after.balances.units:
        return Effect(seen)
    work = Working(new, after)
    decision = decide_now(new, work, 0, now_ms, -1)
    if decision.reason == NONE:
        return Effect(seen)
    trade = forecast_of(new, work, decision)
    return Effect(seen, REASONS[int(decision.reason)], trade) if any(trade.lots) else Effect(seen)
