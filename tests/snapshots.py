"""Everything that a driver holds, as plain values that two moments can be compared by."""

from __future__ import annotations

from gearing.drive.undo import Restorable

_SKIPPED = {"tokens", "book", "wanted"}


def values_of(it: Restorable) -> dict[str, object]:
    found = {name: getattr(it, name) for name in it.__slots__ if name not in _SKIPPED}
    return {name: list(value.items()) if isinstance(value, dict) else value for name, value in found.items()}


def barriers_of(driver):
    """Returns the live barriers of every instrument, and the nearest of them."""
    found = {}
    for symbol, it in driver.market._instruments.items():
        lane = it.lane
        heaps = [
            sorted((edge, token) for edge, token, version in heap if lane._versions.get(token) == version)
            for heap in (lane._below, lane._above, lane._deadlines)
        ]
        found[symbol] = (lane.low, lane.high, lane.deadline_ms, heaps)
    return found


def snapshot(driver):
    """Returns all that a command may change, from tokens and holders to queues, caps, quotes, effects and barriers."""
    primary, effects = driver.primary, driver.effects
    return {
        "tokens": [values_of(one) for one in driver.tokens],
        "books": {name: values_of(one) | {"wanted": one.wanted} for name, one in driver.books.items()},
        "holders": {name: values_of(one) for name, one in primary.holders.items()},
        "order of holders": list(primary.holders),
        "queues": {name: values_of(one) for name, one in primary._queues.items() if one.waiting or one.money},
        "asked": {name: values_of(one) for name, one in primary._asked.items() if one.day.day},
        "progress": values_of(primary.dealings._progress) | values_of(primary._turns),
        "supply": dict(primary.supply),
        "quotes": dict(primary.quotes._given),
        "acceptances": dict(primary.acceptances.waiting),
        "netting": dict(driver.netting),
        "orders": dict(driver.tally.orders),
        "barriers": barriers_of(driver),
        "effects": {name: list(getattr(effects, name)) for name in effects.__slots__ if name != "cause"},
    }
