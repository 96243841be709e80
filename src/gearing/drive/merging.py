"""Merging units: so many become one, for every holder at once, in one transaction.

What each holder has free, what each of its redemptions has set aside, and what the dealing account is short of, is
rounded down; what is cut off is paid in money at the token's equity per unit, rounded down. So nobody who stays has
less, and no unit is left over. An operator asks for it, or the token's own rule does at a day's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from gearing.core import events as ev
from gearing.core.fees import FACTOR_MAX
from gearing.core.holder import OWN, HolderState, Merged
from gearing.core.holder_step import HolderError, holder_step
from gearing.core.merging import MergerTerms, merged
from gearing.core.money import INT64_MAX, as_text, nav_of, to_float
from gearing.core.record import DAY_MS
from gearing.core.state import TokenState
from gearing.core.step_result import StepError
from gearing.drive.running import Running
from gearing.drive.settling import why_dealing_waits

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


# The most that merged units are worth each, minor units, so that NAV can grow ten thousand times before it is too much.
_NAV_MAX = INT64_MAX // 10_000


class Merger(NamedTuple):
    """What a merger does.

    Args:
        holders: what becomes of each holder that has units.
        units: of all of them together after it, in 1e-8 of a unit.
        cash: paid to all of them together, minor units.
    """

    holders: dict[str, Merged]
    units: int
    cash: int


def merger(
    holders: Mapping[str, HolderState], token: str, asset: str, state: TokenState, factor: float, now_ms: int
) -> Merger:  # fmt: skip
    """Returns what merging units does to every holder.

    Args:
        holders: all of them.
        token, asset: its symbol and its settlement currency.
        state: of the token, at the marks of now.
        factor: so many units become one; > 1.
        now_ms: the time.
    """
    terms = MergerTerms(token, asset, factor, state.equity, state.balances.units, now_ms)
    found = {
        name: merged(holder, terms)
        for name, holder in holders.items()
        if any(holder.units(token, where) for where in OWN)
    }
    return Merger(found, sum(m.units + m.held + m.short for m in found.values()), sum(m.cash for m in found.values()))


def merge(driver: Driver, running: Running, factor: float, by: str, reason: str, now_ms: int) -> Merger | str:
    """Merges a token's units; returns what was done, or why it was not.

    Args:
        driver: that runs the token.
        running: the token.
        factor: so many units become one; > 1.
        by, reason: who asks, and why.
        now_ms: the time.
    """
    if not 1.0 < factor <= FACTOR_MAX:
        return f"units are merged by a factor above 1, at most {FACTOR_MAX:,.0f}"
    if running.state.status in {"wiped", "closed"}:
        return f"it is {running.state.status}"
    if running.state.dealing is not UNSET:
        return "a flow is being dealt; ask again once that is done"
    prices = driver.market.prices(running.symbols)
    if prices is None or not driver.market.is_good(running.symbols, now_ms):
        return "it has no good price now"
    waits = why_dealing_waits(driver, running, now_ms)
    if waits:
        return waits
    now_ms = prices.time_ms
    driver.publish(running, "dealing", now_ms, prices.marks, accrues=True)
    if running.state.equity <= 0:
        return f"it is {running.state.status}"
    states = {name: one.state for name, one in driver.primary.holders.items()}
    known = sum(one.held_units(running.name) for one in states.values())
    if known != running.state.balances.units:  # units that are owed, or nobody's, cannot be rounded for anybody
        return (f"its holders have {as_text(known, grouped=True)} units, it issued "
                f"{as_text(running.state.balances.units, grouped=True)}; ask again once they are the same")  # fmt: skip
    found = merger(states, running.name, running.spec.token.settlement, running.state, factor, now_ms)
    if found.units <= 0:
        return "nothing would be left of its units"
    nav = nav_of(running.state.equity - found.cash, found.units)
    if nav > _NAV_MAX:
        return (f"a unit would be worth {as_text(nav, grouped=True)}; at most {as_text(_NAV_MAX, grouped=True)} is "
                "allowed")  # fmt: skip
    try:
        for name, event in found.holders.items():  # all of them, before any of them is touched
            holder_step(states[name], event)
    except HolderError as error:
        return str(error)
    driver.remember(running)
    running.merged, running.merges = driver.primary.count_merger(), False  # whoever asked, it is done
    # They were for units as they were.
    driver.primary.quotes.void_all(running, f"units of {running.name} were merged", now_ms)
    driver.apply(running, ev.Consolidated(time_ms=now_ms, factor=factor, units=found.units, cash=found.cash, by=by,
                                          reason=reason))  # fmt: skip
    for name, event in found.holders.items():
        driver.primary.post(name, event)
    driver.primary.drop_ended(running)
    driver.primary.check_supply(running, now_ms)
    driver.arm(running)
    return found


def merge_by_rule(driver: Driver, running: Running, time_ms: int) -> None:
    """Merges units as the token's own rule says: it looks at the first NAV that is published on a day.

    What stands against it is told once, and waited for.

    Args:
        driver: that runs the token.
        running: the token, whose NAV was just published.
        time_ms: of that NAV.
    """
    rule, state = running.spec.token.consolidation, running.state
    if not state.balances.units:
        return
    driver.remember(running)
    if time_ms // DAY_MS > running.looked_day:
        running.looked_day = time_ms // DAY_MS
        running.merges = rule is not None and 0.0 < to_float(state.nav) < rule.below
    if not running.merges or rule is None or state.status != "open":
        return
    try:
        why, now_ms = f"NAV was below {rule.below:g} at the day's end", driver.market.now_ms
        found = merge(driver, running, rule.factor, "rule", why, now_ms)
    except StepError as error:
        found = str(error)
    running.merges = isinstance(found, str)
    if isinstance(found, str):
        driver.tell(running, f"its units are not merged yet: {found}")
