"""Each invariant is found broken by a state, or an entry, that breaks it and nothing else."""

from __future__ import annotations

import msgspec
import pytest

from gearing.core import invariants as inv
from gearing.core.invariants import breaches
from gearing.core.ledger import CAPITAL, HELD, ISSUED, WALLET, Posting
from gearing.core.state import Attempt, TokenState
from tests.lives import Life, token
from tests.test_rolls import rolling

replaced = msgspec.structs.replace


def sound():
    """A token with a position and an order under way; its state before and after, and the entry."""
    life = Life(token("A", "B")).opened()
    orders = life.mark(120.0, 100.0)
    before = life.state
    life.fill(orders[0], lots=orders[0].lots // 2, commission=7)
    return before, life.state, life.entry


def with_balances(state, **changed):
    return replaced(state, balances=replaced(state.balances, **changed))


def with_attempts(state, *attempts):
    return replaced(state, rebalance=replaced(state.rebalance, attempts=attempts))


def test_a_sound_step_breaks_nothing():
    before, after, entry = sound()
    assert entry
    assert breaches(before, after, entry) == []


@pytest.mark.parametrize(("equity", "units", "found"), [
    (-1, 0, 0), (-10**9, -10**11, 0), (10**9, 10**10, 1), (-1, 1, 1), (0, 1, 1), (-10**12, -1, 1),
])  # fmt: skip
def test_u3_units_that_come_or_go_leave_the_others_what_they_have(equity, units, found):
    """By one NAV per unit; a change of equity alone is no flow."""
    _, state, _ = sound()
    whole = with_balances(state, wallet=state.balances.wallet + equity, held=state.balances.held + units)
    assert len(inv.u3_nobody_is_diluted(state, whole, ())) == found
    marked = replaced(whole, legs=tuple(replaced(leg, mark=leg.mark + 1) for leg in whole.legs))
    assert len(inv.u3_nobody_is_diluted(state, marked, ())) == (units != 0)


def test_u6_what_is_owed_to_a_flow_is_owed_only_while_it_is_dealt():
    _, state, _ = sound()
    assert inv.u6_flows_at_rest(state, state, ()) == []
    (words,) = inv.u6_flows_at_rest(state, with_balances(state, flows=-5), ())
    assert words.startswith("U6: 5 is owed")


@pytest.mark.parametrize(("lines", "words"), [
    ((Posting(WALLET, 5), Posting(CAPITAL, -4)), "money sums to 1"),
    ((Posting(HELD, 5), Posting(ISSUED, -6)), "units sum to -1"),
    ((Posting(WALLET, 5), Posting(ISSUED, -5)), "money sums to 5"),
])  # fmt: skip
def test_l1_debits_equal_credits_for_each_asset(lines, words):
    empty = TokenState()
    found = inv.l1_double_entry(empty, empty, lines)
    assert any(words in one for one in found)
    assert found[0].startswith("L1")


def test_l2_balances_change_by_the_entry_alone():
    before, after, entry = sound()
    moved = with_balances(after, wallet=after.balances.wallet + 1, capital=after.balances.capital - 1)
    found = inv.l2_state_from_postings(before, moved, entry)
    assert [one.split()[1] for one in found] == ["wallet", "capital"]
    assert inv.l2_state_from_postings(before, after, entry[:-1]) != []


def test_u2_unrealised_profit_is_that_of_the_positions():
    before, after, entry = sound()
    moved = with_balances(after, unrealised=after.balances.unrealised + 1, wallet=after.balances.wallet - 1)
    (words,) = inv.u2_unrealised(before, moved, entry)
    assert words.startswith("U2")
    leg = replaced(after.legs[0], lots=after.legs[0].lots + 1)
    assert inv.u2_unrealised(before, replaced(after, legs=(leg, after.legs[1])), entry)


def test_u2_nav_times_units_is_equity_but_for_dust(monkeypatch):
    before, after, entry = sound()
    for off in (1, -1):
        monkeypatch.setattr(TokenState, "nav", after.nav + off)
        assert inv.u2_nav(before, after, entry)
        monkeypatch.undo()
    assert inv.u2_nav(before, after, entry) == []


@pytest.mark.parametrize("status", ["open", "halted", "closing"])
def test_u7_a_token_without_equity_is_frozen(status):
    life = Life().opened()
    broke = with_balances(replaced(life.state, status=status), wallet=-life.state.balances.unrealised)
    (words,) = inv.u7_nobody_owes(life.state, broke, ())
    assert words == f"U7: equity is 0 and the token is {status}"


def test_u7_at_rest_nobody_owes():
    life = Life()
    broke = with_balances(replaced(life.state, status="wiped"), wallet=-1)
    assert inv.u7_nobody_owes(life.state, broke, ()) == ["U7: the token owes 1"]
    assert inv.u7_nobody_owes(life.state, with_balances(broke, wallet=0), ()) == []


def test_u7_at_rest_nothing_of_the_reserve_is_kept():
    life = Life()
    rich = with_balances(replaced(life.state, status="wiped"), wallet=3, reserve=-2)
    assert inv.u7_nobody_owes(life.state, rich, ()) == ["U7: the token keeps 3 of what the reserve paid in"]
    assert inv.u7_nobody_owes(life.state, with_balances(rich, reserve=0), ()) == []


@pytest.mark.parametrize("filled", [11, -1])
def test_o3_no_order_is_filled_beyond_what_was_intended(filled):
    before, after, _ = sound()
    broken = with_attempts(after, Attempt(leg=0, number=0, lots=10, filled=filled))
    (words,) = inv.o3_filled_within_intended(before, broken, ())
    assert words == f"O3: leg 0 was filled {filled} of 10"


def test_r1_one_rebalance_at_a_time():
    before, after, _ = sound()
    assert len(before.rebalance.attempts) > 1
    next_one = replaced(after, rebalance=replaced(after.rebalance, epoch=after.rebalance.epoch + 1))
    assert "began while" in inv.r1_one_at_a_time(before, next_one, ())[0]


def test_r1_at_most_one_live_order_for_a_leg():
    before, after, _ = sound()
    twice = with_attempts(after, Attempt(leg=0, number=0, lots=5), Attempt(leg=0, number=1, lots=5))
    assert inv.r1_one_at_a_time(before, twice, ()) == ["R1: a leg has two live orders"]


def test_every_check_is_asked():
    named = {value for name, value in vars(inv).items() if name[:1] in "luor" and name[1:2].isdigit()}
    assert named == set(inv.CHECKS)
    assert len(inv.CHECKS) >= 7


def test_r1_a_second_position_is_of_a_leg_that_rolls_into_it():
    life, _ = rolling()
    own, opened = life.state.legs
    assert inv.r1_positions(life.state, life.state, ()) == []
    for wrong in (replaced(opened, contract=2), replaced(opened, leg=1)):
        assert len(inv.r1_positions(life.state, replaced(life.state, legs=(own, wrong)), ())) == 1
    twice = replaced(life.state, legs=(own, opened, opened))
    assert inv.r1_positions(life.state, twice, ()) == ["R1: a leg has more positions than a roll opens"]
