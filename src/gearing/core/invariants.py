"""The invariants of a running token: one function each, returning what is broken, as sentences.

They are checked after every event, in production too; a breach halts the token and says which. The names are
those of the promises: L the ledger, U units and equity, R rebalances, O orders.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import astuple

from gearing.core.ledger import MONEY, UNITS, Balances, Entry
from gearing.core.money import FLOOR, MINOR, value_of
from gearing.core.state import TokenState

Check = Callable[[TokenState, TokenState, Entry], list[str]]

_ACCOUNTS = Balances.__struct_fields__


def l1_double_entry(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """Debits equal credits, per asset."""
    if not entry:
        return []
    money = sum(line.amount for line in entry if line.account in MONEY)
    units = sum(line.amount for line in entry if line.account in UNITS)
    found = []
    if money:
        found.append(f"L1: the entry's money sums to {money}")
    if units:
        found.append(f"L1: the entry's units sum to {units}")
    return found


def l2_state_from_postings(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """The balances changed by the entry, and by nothing else."""
    if not entry and before.balances == after.balances:
        return []
    changed = dict.fromkeys(_ACCOUNTS, 0)
    for line in entry:
        changed[line.account] += line.amount
    return [
        f"L2: {account} went from {old} to {new}, the entry says {changed[account]:+d}"
        for account, old, new in zip(_ACCOUNTS, astuple(before.balances), astuple(after.balances), strict=True)
        if new - old != changed[account]
    ]


def u2_unrealised(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """Unrealised profit is the positions' value at the marks less what they cost."""
    if not after.legs:
        return []
    worth = sum(value_of(leg.lots, leg.lot_size, leg.mark, FLOOR) - leg.basis for leg in after.legs)
    if worth == after.balances.unrealised:
        return []
    return [f"U2: unrealised profit is {after.balances.unrealised}, the positions say {worth}"]


def u2_nav(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """Equity less NAV times units is dust: at least nothing, and less than a minor unit for each whole unit."""
    units, equity = after.balances.units, after.balances.equity
    if units <= 0 or equity <= 0:
        return []
    dust = equity * MINOR - after.nav * units
    return [] if 0 <= dust < units else [f"U2: equity {equity} is not NAV {after.nav} times {units} units"]


def u3_nobody_is_diluted(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """Units that are created, burned or merged take nothing from the others: equity per unit does not fall by them."""
    units, left = before.balances.units, after.balances.units
    if units == left or units <= 0 or left <= 0 or before.equity <= 0:
        return []
    if any(old.mark != new.mark for old, new in zip(before.legs, after.legs, strict=False)):
        return ["U3: units changed at the same time as prices"]
    if after.equity * units >= before.equity * left:
        return []
    return [f"U3: equity {before.equity} of {units} units became {after.equity} of {left}"]


def u6_flows_at_rest(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """Nothing is owed to a flow that is not being dealt."""
    if after.dealing is UNSET and after.balances.flows:
        return [f"U6: {-after.balances.flows} is owed to a flow that is not being dealt"]
    return []


def u7_nobody_owes(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """A token without equity is frozen; at rest its shortfall is covered, and what came later is given back."""
    at_rest = after.status == "wiped" and after.is_flat and not after.is_working and after.dealing is UNSET
    if at_rest and after.balances.equity > 0 > after.balances.reserve:
        return [f"U7: the token keeps {after.balances.equity} of what the reserve paid in"]
    if not after.balances.units or after.balances.equity > 0:
        return []
    if after.status not in {"wiped", "closed"} and not after.is_working and after.dealing is UNSET:
        return [f"U7: equity is {after.balances.equity} and the token is {after.status}"]
    if at_rest and after.balances.equity < 0:
        return [f"U7: the token owes {-after.balances.equity}"]
    return []


def r1_positions(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """A leg is one position, and one more only while it rolls into the contract after the one it holds."""
    opened = [leg for leg in after.legs if leg.leg is not UNSET]
    if not opened:
        return []
    own = after.legs[: len(after.legs) - len(opened)]
    found = []
    if any(leg.leg is not UNSET for leg in own) or len({leg.leg for leg in opened}) < len(opened):
        found.append("R1: a leg has more positions than a roll opens")
    astray = [
        leg.number
        for leg in opened
        if leg.leg is UNSET or not 0 <= leg.leg < len(own) or own[leg.leg].number + 1 != leg.number
    ]
    return found + [f"R1: a position in contract {number} is of no leg that rolls into it" for number in astray]


def o3_filled_within_intended(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """No order is filled beyond what was intended, nor on the other side."""
    running = after.rebalance
    return [
        f"O3: leg {a.leg} was filled {a.filled} of {a.lots}"
        for a in (running.attempts if running else ())
        if abs(a.filled) > abs(a.lots) or a.filled * a.lots < 0
    ]


def r1_one_at_a_time(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """A rebalance begins only when no order of another lives, and at most one order lives for each leg."""
    running, former = after.rebalance, before.rebalance
    if running is None:
        return []
    found = []
    if former and running.epoch != former.epoch:
        open_before = [a for a in former.attempts if a.filled != a.lots]
        if len(open_before) > 1:
            found.append(f"R1: rebalance {running.epoch} began while {len(open_before)} orders lived")
    legs = [a.leg for a in running.attempts]
    if len(set(legs)) < len(legs):
        found.append("R1: a leg has two live orders")
    return found


CHECKS: tuple[Check, ...] = (
    l1_double_entry,
    l2_state_from_postings,
    u2_unrealised,
    u2_nav,
    u3_nobody_is_diluted,
    u6_flows_at_rest,
    u7_nobody_owes,
    o3_filled_within_intended,
    r1_one_at_a_time,
    r1_positions,
)


def breaches(before: TokenState, after: TokenState, entry: Entry) -> list[str]:
    """Returns everything that is broken by one event."""
    return [found for check in CHECKS for found in check(before, after, entry)]
