"""Circuit breakers: each trips once, for its own reason, and without it nothing does."""

from __future__ import annotations

import msgspec
import pytest

from gearing.core.state import Attempt, Rebalance, TokenState
from gearing.drive.breakers import BreakerLimits, Breakers, Facts, after_deleveraging
from gearing.errors import SpecError

NOW_MS, NAV = 1_767_225_600_000, 100 * 10**8
LIMITS = BreakerLimits(stale_after="1m", nav_drop=0.3, nav_within="1h", margin_least=2.0)
CALM = Facts(time_ms=NOW_MS, status="open", nav=NAV, units=10**12, equity=1e6, maintenance=1e4, price_age_ms=1_000)


def after(minutes: float, **changed) -> Facts:
    return CALM._replace(time_ms=NOW_MS + round(minutes * 60_000), **changed)


def test_nothing_trips_in_calm():
    breakers = Breakers(LIMITS)
    assert [breakers.look(after(n)) for n in range(200)] == [[]] * 200


def test_a_stale_price_raises_one_alarm_until_it_was_fresh_again():
    breakers = Breakers(LIMITS)
    assert breakers.look(after(0, price_age_ms=60_000)) == []
    (verdict,) = breakers.look(after(1, price_age_ms=61_000))
    assert (verdict.action, verdict.words) == ("alarm", "no good price for 61 s; nothing is traded")
    assert breakers.look(after(2, price_age_ms=90_000)) == []
    (over,) = breakers.look(after(3))
    assert (over.action, over.words) == ("over", verdict.words)
    assert len(breakers.look(after(4, price_age_ms=61_000))) == 1


def test_a_drop_of_nav_within_the_window_halts():
    breakers = Breakers(LIMITS)
    breakers.look(CALM)
    assert breakers.look(after(30, nav=NAV * 71 // 100)) == []
    (verdict,) = breakers.look(after(59, nav=NAV * 70 // 100))
    assert verdict.action == "halt"
    assert verdict.words == "NAV fell by 30.0% within 1h"


def test_a_slow_drop_does_not():
    breakers = Breakers(LIMITS)
    found = [breakers.look(after(10 * n, nav=round(NAV * 0.96**n))) for n in range(40)]
    assert not any(found)


def test_the_highest_nav_counts_not_the_first():
    breakers = Breakers(LIMITS)
    for minute, nav in ((0, 60), (10, 100), (20, 90)):
        assert breakers.look(after(minute, nav=nav * 10**8)) == []
    assert breakers.look(after(30, nav=69 * 10**8))[0].action == "halt"


def test_a_restart_does_not_forget_the_window():
    breakers = Breakers(LIMITS)
    breakers.remember(NOW_MS, NAV, 10**12)
    assert breakers.look(after(30, nav=NAV // 2))[0].action == "halt"


def test_what_a_person_resumed_is_not_halted_for_the_same_drop():
    breakers = Breakers(LIMITS)
    breakers.look(CALM)
    assert breakers.look(after(1, nav=NAV // 2))
    assert breakers.look(after(2, nav=NAV // 2, status="halted")) == []
    assert breakers.look(after(3, nav=NAV // 2)) == []
    assert breakers.look(after(4, nav=NAV // 4))


def test_an_old_price_says_nothing_of_nav_and_margin():
    breakers = Breakers(LIMITS)
    breakers.look(CALM)
    found = breakers.look(after(1, nav=1, equity=1.0, price_age_ms=61_000))
    assert [verdict.action for verdict in found] == ["alarm"]


def test_too_little_margin_halts_once_and_again_after_it_was_enough():
    breakers = Breakers(LIMITS)
    assert breakers.look(after(0, equity=20_000.0)) == []
    (verdict,) = breakers.look(after(1, equity=19_999.0))
    assert (verdict.action, verdict.words) == ("halt", "equity is 2.00 times the maintenance margin, below 2")
    assert breakers.look(after(2, equity=15_000.0, status="halted")) == []
    assert breakers.look(after(3, equity=30_000.0, status="halted")) == []
    assert breakers.look(after(4, equity=15_000.0, status="halted"))[0].action == "alarm"


def test_no_margin_asked_for_is_none_missing():
    assert Breakers(LIMITS).look(after(0, maintenance=0.0, equity=0.0)) == []


def test_deleveraging_is_rehedged_only_where_that_is_wanted_and_possible():
    opened = TokenState(status="open")
    running = Rebalance(epoch=1, reason="band", aim=3.0, edge=0.0, side=1.0, restores=False, decided_ms=0, prices=(),
                        cut=False, attempts=(Attempt(leg=0, number=0, lots=1),))  # fmt: skip
    trading = msgspec.structs.replace(opened, rebalance=running)
    assert after_deleveraging("rehedge", opened) == "rebalance"
    assert after_deleveraging("freeze", opened) == "halt"
    assert after_deleveraging("rehedge", trading) == "halt"
    assert after_deleveraging("rehedge", msgspec.structs.replace(opened, status="halted")) == "halt"


@pytest.mark.parametrize(
    ("field", "value"),
    [("nav_drop", 0.0), ("nav_drop", 1.5), ("nav_within", "soon"), ("stale_after", 5), ("margin_least", 0.9),
     ("on_deleveraging", "panic")],
)  # fmt: skip
def test_limits_that_cannot_be_are_refused(field, value):
    with pytest.raises(SpecError) as caught:
        BreakerLimits(**{field: value})
    assert [problem.place for problem in caught.value.problems] == [field]


def test_a_token_without_units_has_no_nav_that_could_fall():
    breakers = Breakers(LIMITS)
    breakers.look(CALM)
    empty = [breakers.look(after(n, nav=0, units=0, equity=0.0, maintenance=0.0)) for n in (1, 2, 90, 200)]
    assert empty == [[]] * 4
    assert breakers.look(after(201, nav=NAV // 2)) == []  # its first units begin at the initial NAV
    assert breakers.look(after(202, nav=NAV // 4))[0].action == "halt"


def test_a_restart_does_not_remember_what_was_before_there_were_no_units():
    breakers = Breakers(LIMITS)
    for minute, units in ((0, 10**12), (1, 0)):
        breakers.remember(NOW_MS + minute * 60_000, NAV, units)
    assert breakers.look(after(2, nav=NAV // 2)) == []
