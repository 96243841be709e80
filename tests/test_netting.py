"""Netting against a plain model in fractions: nothing is made or lost, and nobody is given more than their part."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gearing.core.dealing import Side, Worth
from gearing.core.money import MINOR, apportioned
from gearing.core.netting import NOTHING, Ask, Rates, match, shared_out

AMOUNTS = st.one_of(st.integers(1, 1_000), st.integers(1, 10**15))
PRICES = st.builds(Worth, st.integers(1, 10**17), st.integers(1, 10**15))
RATES = st.builds(Rates, *[st.sampled_from([0.0, 0.001, 0.0123456789])] * 2)
SIDES: st.SearchStrategy[Side] = st.sampled_from(["subscribe", "redeem"])


def _asks(found: list[tuple[Side, int]]) -> list[Ask]:
    return [Ask(f"h{k}", f"r{k}", side, amount) for k, (side, amount) in enumerate(found)]


ASKS = st.lists(st.tuples(SIDES, AMOUNTS), max_size=12).map(_asks)


def left_over(ask, given):
    """Returns what a request still has set aside after what it was given."""
    return ask.amount - sum(one.cash if ask.side == "subscribe" else one.units for one in given if one.ask.id == ask.id)


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**6), min_size=1).filter(any))
def test_parts_sum_to_the_whole_and_none_is_a_unit_off(total, weights):
    parts = apportioned(total, weights)
    assert sum(parts) == total
    assert all(abs(part - Fraction(total * w, sum(weights))) < 1 for part, w in zip(parts, weights, strict=True))


@given(ASKS, PRICES, RATES)
def test_what_changes_hands_is_paid_for_and_nobody_gets_more_than_it_is_worth(asks, price, rates):
    found = match(asks, price, rates)
    buys = [one for one in found.given if one.ask.side == "subscribe"]
    sells = [one for one in found.given if one.ask.side == "redeem"]
    assert sum(one.units for one in buys) == sum(one.units for one in sells) == found.units
    assert sum(one.cash - one.fee for one in buys) == sum(one.cash + one.fee for one in sells) == found.cash
    assert sum(one.fee for one in found.given) == found.fee
    each = Fraction(price.equity, price.units)
    off = each * (len(buys) + 1) + len(sells) + 2  # what each of the other side may have been rounded by
    for one in buys:
        assert 0 <= one.cash <= one.ask.amount
        assert one.units > 0
        assert abs(one.units * each - (one.cash - one.fee)) <= off
        assert one.fee >= (one.cash - one.fee) * Fraction(str(rates.creation)) * (1 - Fraction(1, 10**6)) - 1
    for one in sells:
        assert 0 < one.units <= one.ask.amount
        assert one.cash >= 0
        assert abs(one.units * each - (one.cash + one.fee)) <= off
    assert all(left_over(ask, found.given) >= 0 for ask in asks)
    assert all(one.cash > 0 for one in sells)


@given(ASKS, PRICES)
def test_the_smaller_side_is_met_whole(asks, price):
    free = Rates(0.0, 0.0)
    found = match(asks, price, free)
    offered = sum(ask.amount for ask in asks if ask.side == "redeem")
    bought = [ask for ask in asks if ask.side == "subscribe" and price.units_for(ask.amount)]
    if found is NOTHING:
        return
    whole = {one.ask.id for one in found.given if left_over(one.ask, found.given) == 0}
    # A redemption that is worth less than a minor unit is left out.
    sells = {ask.id for ask in asks if ask.side == "redeem" and price.money_for(ask.amount)}
    assert sells <= whole or {one.ask.id for one in found.given if one.ask.side == "subscribe"} <= whole
    assert found.units <= min(offered, price.units_for(sum(ask.amount for ask in bought)))


@given(ASKS.filter(bool), st.fractions(0, 1), st.integers(0, 10**15), RATES)
def test_what_a_hedge_is_worth_is_shared_by_what_was_paid_in(asks, part, gives, rates):
    for side in ("subscribe", "redeem"):
        mine = [ask for ask in asks if ask.side == side and (side == "redeem" or rates.money_of(ask))]
        whole = sum(rates.money_of(ask) if side == "subscribe" else ask.amount for ask in mine)
        accepted = int(whole * part)
        found = shared_out(mine, accepted, gives, rates)
        if side == "subscribe":
            assert sum(one.units for one in found) <= gives
            assert all(one.units > 0 and one.cash <= one.ask.amount for one in found)
            paid = sum(one.cash - one.fee for one in found)
            assert paid <= accepted
            if mine and len(found) == len(mine):
                assert gives - len(mine) <= sum(one.units for one in found)
                assert paid == accepted
        else:
            assert all(one.cash > 0 for one in found)
            parts = apportioned(accepted, [ask.amount for ask in mine]) if mine and accepted else []
            paid = {ask.id: gives * part // accepted for ask, part in zip(mine, parts, strict=False)}
            assert {one.ask.id for one in found} == {key for key, gross in paid.items() if gross > rates.fee_on(gross)}
            assert [one.cash + one.fee for one in found] == [paid[one.ask.id] for one in found]
            if len(found) == len(mine):
                assert sum(one.units for one in found) == accepted or not accepted
                assert 0 <= gives - sum(paid.values()) <= len(mine) or not accepted


def test_by_hand():
    """1,000 come in and 4 units go out at 100: 400 are met; of a fee of 1 % each pays on its own."""
    asks = [Ask("a", "1", "subscribe", 1_000 * MINOR), Ask("b", "2", "redeem", 4 * MINOR)]
    found = match(asks, Worth(100 * MINOR, MINOR), Rates(0.01, 0.01))
    buy, sell = found.given
    assert (buy.units, sell.units) == (4 * MINOR, 4 * MINOR)
    assert (sell.cash, sell.fee) == (396 * MINOR, 4 * MINOR)
    # The fee of 10 is on 990; 400 of those bear 10·400/990, rounded up.
    assert (buy.cash, buy.fee) == (400 * MINOR + 404_040_405, 404_040_405)
    assert left_over(asks[0], found.given) == 600 * MINOR - 404_040_405
