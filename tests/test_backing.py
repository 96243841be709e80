"""What backs an open quote is set aside, and the supply cap holds when requests are dealt."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearing as gr
from gearing.cli.main import main
from gearing.core import holder as ho
from gearing.core.dealing import Worth
from gearing.core.holder import DEALER, Quote
from gearing.core.money import MINOR
from gearing.core.netting import Ask, Rates
from gearing.core.primary import Primary as Terms
from gearing.desk.boot import boot
from gearing.desk.counter import answer
from gearing.desk.requests import Deal, HandOn, Pay
from gearing.drive.caps import within_supply
from gearing.drive.fees import take_fees
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from tests.lives import UNITS, token
from tests.test_primary import COSTS, market
from tests.test_quotes import FEE, dealing, quoted, short, taken
from tests.test_store_dealing import kept

__all__ = ["kept"]


def many(desk, side, count=8, amount=10_000 * MINOR, prefix="m"):
    """Holders who each request a quote; returns those that were given."""
    given = []
    for k in range(count):
        name = f"{prefix}{k}"
        desk.deposit(name, 10_000)
        if side == "redeem":
            answer(desk.driver, HandOn(holder=ho.ISSUER, other=name, token="T", amount=100 * MINOR, reference=name),
                   desk.now_ms)  # fmt: skip
        quote = quoted(desk, side, amount if side == "subscribe" else 100 * MINOR, name=name)
        if isinstance(quote, Quote):
            given.append(quote)
    return given


def pay(desk, amount):
    return answer(desk.driver, Pay(holder=DEALER, asset="USDT", amount=-amount, reference="w", by="ann"), desk.now_ms)


def transfer(desk, amount, **what):
    return answer(desk.driver, HandOn(holder=DEALER, other="h9", amount=amount, reference="t", **what), desk.now_ms)


@pytest.mark.parametrize("side", ["subscribe", "redeem"])
def test_the_same_money_backs_one_quote(side):
    """10,500 of a dealing account once backed eight quotes of 10,000."""
    desk = dealing(own=10_500)
    (quote,) = many(desk, side)
    aside = desk.primary.quotes.set_aside(desk.now_ms)
    assert aside.money("USDT") == (quote.cash if side == "redeem" else pytest.approx(10_045 * MINOR, rel=1e-6))


@pytest.mark.parametrize(("margin", "gives"), [(1.4, True), (1.6, False)])
def test_the_dealing_account_needs_own_funds_for_its_open_exposure(margin, gives):
    """1,500 of its own, for a redemption of 1,000."""
    desk = dealing(own=1_500, quote_margin=margin)
    quote = quoted(desk, "redeem", 10 * MINOR, name=ho.ISSUER)
    assert isinstance(quote, Quote) == gives
    words = "its own funds are 1,500.00000000 USDT, and 1.6 times an exposure of 1,000.00000000 is 1,600.00000000"
    assert gives or words in quote


def test_what_one_open_quote_would_bring_backs_no_other():
    desk = dealing(own=10_500)
    assert len(many(desk, "subscribe", 1)) == 1
    assert many(desk, "redeem", 1, prefix="n") == []


def test_units_that_the_dealing_account_has_back_subscriptions_once():
    desk = dealing(own=30_000)
    desk.primary.post(DEALER, ho.Handed(time_ms=desk.now_ms, token="T", units=150 * MINOR, other=ho.ISSUER,
                                        reference="x", bearing=ho.Bearing(nav=1, level=1.0, parts=())))  # fmt: skip
    first, second, *_ = many(desk, "subscribe")
    aside = desk.primary.quotes.set_aside(desk.now_ms)
    assert aside.units == {"T": 150 * MINOR}
    lacking = first.units + second.units - 150 * MINOR
    assert aside.money("USDT") > lacking * 100 > 0
    words = "150.00000000 T free, 150.00000000 of which are set aside for its quotes, and is to transfer 1.00000000"
    assert transfer(desk, MINOR, token="T").words == f"dealer has {words}"
    redeem = answer(desk.driver, Deal(holder=DEALER, token="T", side="redeem", amount=MINOR), desk.now_ms)
    assert "150.00000000 of which back open quotes, and asks to redeem 1.00000000" in redeem.words


def test_a_square_leaves_the_units_that_back_open_quotes():
    desk = dealing(own=30_000)
    (redeemed,) = many(desk, "redeem", 1)
    taken(desk, redeemed, name="m0")
    desk.quote(100.0, after_ms=55_000)
    open_quote = quoted(desk, amount=4_000 * MINOR)
    desk.quote(100.0, after_ms=5_000)
    (request,) = [line.amount for line in desk.primary.holders[DEALER].state.requests.values()]
    assert request == redeemed.units - open_quote.units
    assert desk.units(DEALER) == open_quote.units


def test_money_that_backs_quotes_is_neither_paid_out_nor_transferred_nor_requested_with():
    desk = dealing(own=20_000)
    (quote, *_) = many(desk, "redeem", 1)
    free = 20_000 * MINOR - quote.cash
    assert "of which are set aside for its quotes" in pay(desk, free + 1).words
    assert "of which are set aside for its quotes" in transfer(desk, free + 1, asset="USDT").words
    request = Deal(holder=DEALER, token="T", side="subscribe", amount=free + 1)
    assert "of which back open quotes, and asks to pay" in answer(desk.driver, request, desk.now_ms).words
    assert pay(desk, free).done
    assert taken(desk, quote, name="m0") == quote


@pytest.mark.parametrize("ends", ["expired", "void", "replaced", "accepted"])
def test_it_is_free_again_once_the_quote_has_ended(ends):
    desk = dealing(own=20_000)
    (quote,) = many(desk, "redeem", 1)
    aside = desk.primary.quotes.set_aside
    assert aside(desk.now_ms).money("USDT") == quote.cash
    match ends:
        case "expired":
            desk.quote(100.0, after_ms=10_001)
        case "void":
            assert isinstance(taken(desk, quote, name="m0", mark=99.0), str)
        case "replaced":
            quoted(desk, "subscribe", 10 * MINOR, name="m0")
        case "accepted":
            taken(desk, quote, name="m0")
    left = aside(desk.now_ms).money("USDT")
    assert left == 0 if ends != "replaced" else 0 < left < 20 * MINOR


def test_money_for_units_that_were_given_out_stays_until_they_are_bought():
    desk = dealing(own=20_000)
    taken(desk, quoted(desk))
    has, aside = desk.cash(DEALER), desk.primary.quotes.set_aside(desk.now_ms)
    assert aside.for_quotes == {"USDT": 0}
    assert "are set aside" in pay(desk, has - aside.money("USDT") + 1).words
    desk.window()
    assert short(desk) == 0
    assert desk.primary.quotes.set_aside(desk.now_ms).money("USDT") == 0


def test_a_square_leaves_what_backs_open_quotes():
    """Money is short when the window ends: the open redemption is paid all the same."""
    desk = dealing(own=12_000)
    taken(desk, quoted(desk, amount=5_000 * MINOR))
    desk.quote(100.0, after_ms=55_000)
    (redemption,) = many(desk, "redeem", 1)
    state = desk.primary.holders[DEALER].state
    gone = state.cash("USDT") - redemption.cash - 2_000 * MINOR
    desk.primary.post(DEALER, ho.Withdrawn(time_ms=desk.now_ms, asset="USDT", amount=gone, reference="w", by="ann"))
    desk.filled(desk.quote(100.0, after_ms=5_000))
    assert desk.cash(DEALER) >= redemption.cash
    assert taken(desk, redemption, name="m0") == redemption


def test_it_survives_a_restart_and_is_shown(kept, capsys):
    kept.driver.change(kept.it, msgspec.structs.replace(kept.it.spec.token, primary=Terms(quote_valid="1m")), "ann",
                       "quotes", kept.now_ms)  # fmt: skip
    kept.deposit(DEALER, 50_000)
    quote = kept.primary.quotes.ask(ho.ISSUER, kept.it, "redeem", 100 * MINOR, kept.now_ms)
    kept.take()
    again = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms).driver
    assert again.primary.quotes.set_aside(kept.now_ms) == kept.primary.quotes.set_aside(kept.now_ms)
    assert again.primary.quotes.set_aside(kept.now_ms).money("USDT") == quote.cash
    assert main(["holders", "dealer", "--db", str(kept.path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"USDT +of it set aside +{quote.cash / MINOR:,.8f}", shown)
    assert main(["holders", "dealer", "--db", str(kept.path), "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["set_aside"] == {"cash:USDT": quote.cash}


# The supply cap on dealing.


def capped(room, **more):
    return market(token("A", costs=COSTS, limits=gr.Limits(supply_cap=(UNITS + room * MINOR) / MINOR), **more))


@pytest.mark.parametrize("how", ["transferred", "released"])
def test_units_that_the_dealing_account_gets_cover_what_it_is_short_of_however_they_come(how):
    desk = dealing()
    if how == "transferred":
        quote = quoted(desk)
        assert taken(desk, quote) == quote
        handed = HandOn(holder=ho.ISSUER, other=DEALER, token="T", amount=quote.units, reference="cover")
        assert answer(desk.driver, handed, desk.now_ms).done
    else:  # it has units, redeems them, gives out as many again meanwhile, and its redemption ends undealt
        answer(desk.driver, HandOn(holder=ho.ISSUER, other=DEALER, token="T", amount=300 * MINOR, reference="t"),
               desk.now_ms)  # fmt: skip
        accepted = desk.ask(DEALER, "redeem", 300 * MINOR)
        quote = quoted(desk)
        assert taken(desk, quote) == quote
        assert short(desk) == -quote.units
        desk.primary.end(desk.primary.request_of(accepted.id, DEALER), DEALER, "not dealt", desk.now_ms)
    assert short(desk) == 0
    assert desk.units(DEALER) == (0 if how == "transferred" else 300 * MINOR - quote.units)
    assert desk.primary.quotes.set_aside(desk.now_ms).money("USDT") == 0
    assert desk.primary.supply["T"] == desk.it.state.balances.units


def test_money_for_units_that_were_given_out_buys_no_other_token():
    desk = dealing(own=12_000, more_tokens=(msgspec.structs.replace(token("B"), symbol="U"),))
    quote = quoted(desk)
    assert taken(desk, quote) == quote
    aside = desk.primary.quotes.set_aside(desk.now_ms).money("USDT")
    has = desk.cash(DEALER)
    refused = answer(desk.driver, Deal(holder=DEALER, token="U", side="subscribe", amount=has - aside + 1), desk.now_ms)
    assert "back open quotes" in refused.words
    assert answer(desk.driver, Deal(holder=DEALER, token="U", side="subscribe", amount=has - aside), desk.now_ms).done
    desk.quote(100.0, 100.0, after_ms=60_000)
    assert not any("lacks money" in words for words in desk.alarms)


def test_a_last_minor_unit_is_no_request_of_the_dealing_account():
    desk = dealing(own=12_000)
    taken(desk, quoted(desk))
    spent = desk.cash(DEALER) - 1
    desk.primary.post(DEALER, ho.Withdrawn(time_ms=desk.now_ms, asset="USDT", amount=spent, reference="x", by="ann"))
    desk.window()
    assert desk.primary.requests("T") == []
    desk.deposit(DEALER, 1_000_000)
    desk.window()
    desk.window()
    assert short(desk) == 0


def test_the_supply_cap_holds_when_nav_has_fallen_since_the_request():
    """60 units of room; 5,900 of money buys 59 of them when it is asked for, and 84 when it is dealt."""
    desk = capped(60)
    for name, money in (("h1", 3_900), ("h2", 2_000)):
        desk.deposit(name, money)
        assert not isinstance(desk.ask(name, "subscribe", money * MINOR), str)
    desk.window(90.0)
    desk.filled(desk.quote(90.0))
    issued = desk.it.state.balances.units - UNITS
    assert 58 * MINOR < issued <= 60 * MINOR
    assert desk.units("h1") / desk.units("h2") == pytest.approx(3_900 / 2_000, rel=1e-4)  # pro rata
    for name, money in (("h1", 3_900), ("h2", 2_000)):  # the excess is returned
        assert desk.cash(name, ho.HELD) == 0
        assert desk.cash(name) / MINOR == pytest.approx(money * (1 - 60 / (5_900 / 70.0)), rel=0.05)
    assert desk.alarms == []


def test_the_supply_cap_holds_when_nav_falls_while_the_flow_is_hedged():
    desk = capped(60)
    desk.deposit("h1", 5_900)
    desk.ask("h1", "subscribe", 5_900 * MINOR)
    (order,) = desk.quote(100.0, after_ms=60_000)
    before, nav = desk.lots[0], desk.nav
    desk.quote(97.0)  # a unit costs 91 now, and the money would buy 64.8
    (unwinding,) = desk.hear(desk.trade(order, price=97.0), desk.status(order))
    kept = order.lots + unwinding.lots
    assert kept == pytest.approx(order.lots * 60 / (5_900 / 91), rel=0.01)
    desk.hear(desk.trade(unwinding, price=97.0), desk.status(unwinding))
    assert desk.it.state.dealing is msgspec.UNSET
    assert desk.lots[0] - before == kept  # what was hedged beyond the cap is in nobody's unit
    assert 59.9 * MINOR < desk.it.state.balances.units - UNITS <= 60 * MINOR
    assert desk.cash("h1", ho.HELD) == 0
    assert desk.nav >= nav * 0.9099


def test_a_cap_that_leaves_next_to_nothing_halts_nobody():
    """A few minor units of room: each request's share is eaten up by its fee."""
    desk = market(token("A", costs=COSTS, fees=gr.Fees(creation=0.01),
                        limits=gr.Limits(supply_cap=(UNITS + 60 * MINOR) / MINOR)))  # fmt: skip
    names = [f"h{n}" for n in range(60)]
    for name in names:
        desk.deposit(name, 100)
        assert not isinstance(desk.ask(name, "subscribe", 100 * MINOR), str)
    change = msgspec.structs.replace(desk.it.spec.token, limits=gr.Limits(supply_cap=(UNITS + 1) / MINOR))
    desk.driver.change(desk.it, change, "ann", "almost no more", desk.now_ms)
    assert desk.window() == []
    assert desk.book.state.halted == ""
    assert [desk.cash(name) for name in names] == [100 * MINOR] * 60


def test_where_there_is_no_room_left_all_is_returned():
    desk = capped(60)
    for name in ("h1", "h2"):
        desk.deposit(name, 5_900)
    desk.ask("h1", "subscribe", 5_900 * MINOR)
    change = msgspec.structs.replace(desk.it.spec.token, limits=gr.Limits(supply_cap=UNITS / MINOR))
    desk.driver.change(desk.it, change, "ann", "no more", desk.now_ms)
    assert desk.window() == []
    assert desk.it.state.balances.units == UNITS
    assert (desk.cash("h1"), desk.cash("h1", ho.HELD)) == (5_900 * MINOR, 0)


def test_units_that_were_given_out_at_once_come_first():
    asks = [Ask("h1", "h1.1", "subscribe", 900), Ask(DEALER, "dealer.1", "subscribe", 600)]
    desk = capped(0)
    room = msgspec.structs.replace(desk.it.spec.token, limits=gr.Limits(supply_cap=(UNITS + 1_000) / MINOR))
    desk.driver.change(desk.it, room, "ann", "x", desk.now_ms)
    left = within_supply(desk.it, asks, Worth(1, 1), Rates(0.0, 0.0))
    assert [one.amount for one in left] == [400, 600]


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=6), st.integers(0, 10**12), st.sampled_from([0.0, 0.003]))
def test_what_is_let_in_is_within_the_cap_and_no_request_gets_more_than_it_asked(amounts, room, fee):
    class One:
        class spec:  # noqa: N801
            class token:  # noqa: N801
                limits = gr.Limits(supply_cap=(10**13 + room) / MINOR)

        class state:  # noqa: N801
            class balances:  # noqa: N801
                units = 10**13

    rates, price = Rates(fee, 0.0), Worth(7, 5)
    asks = [Ask(f"h{k}", f"h{k}.1", "subscribe", amount) for k, amount in enumerate(amounts)]
    left = within_supply(One, asks, price, rates)
    assert all(0 <= after.amount <= before.amount for before, after in zip(asks, left, strict=True))
    if left != asks:
        assert price.units_for(sum(rates.money_of(one) for one in left) - len(asks)) <= room


def test_fees_in_units_stay_within_the_supply_cap():
    desk = market(token("A", costs=COSTS, fees=gr.Fees(management_per_day=0.01), limits=gr.Limits(supply_cap=10_010.0)))
    desk.filled(desk.quote(100.0, after_ms=13 * 3_600_000))
    refused = take_fees(desk.driver, desk.it, 0, "units", "ann", "x", desk.now_ms)
    assert refused.startswith("the supply cap leaves 10.00000000 units, and ")
    assert not isinstance(take_fees(desk.driver, desk.it, 900 * MINOR, "units", "ann", "x", desk.now_ms), str)


# Nobody keeps all others from quotes by renewing one that costs nothing.


def test_open_quotes_of_one_holder_leave_a_share_for_others():
    desk = dealing(own=50_000, quote_share=0.5)
    for name in ("ex/a", "ex/b", "h2"):
        desk.deposit(name, 50_000)
    assert "may bind 0.5 of the dealing account: 25,000.00000000 USDT" in quoted(desk, amount=26_000 * MINOR)
    assert isinstance(quoted(desk, amount=20_000 * MINOR), Quote)
    assert isinstance(quoted(desk, amount=24_000 * MINOR), Quote)  # it voids the one before
    assert isinstance(quoted(desk, amount=15_000 * MINOR, name="h2"), Quote)


def test_a_share_is_of_an_exchange_with_all_its_customers():
    desk = dealing(own=50_000, quote_share=0.5)
    for name in ("ex/a", "ex/b"):
        desk.deposit(name, 50_000)
    assert isinstance(quoted(desk, amount=15_000 * MINOR, name="ex/a"), Quote)
    assert "they would bind 30," in quoted(desk, amount=15_000 * MINOR, name="ex/b")
    assert isinstance(quoted(desk, amount=9_000 * MINOR, name="ex/b"), Quote)


def test_a_share_counts_both_sides_and_the_margin_of_their_exposure():
    desk = dealing(own=50_000, quote_share=0.5, quote_margin=2.0)
    assert "they would bind 25,999.99" in quoted(desk, amount=round(13_000 * MINOR / (1 - FEE)))
    assert isinstance(quoted(desk, amount=12_000 * MINOR), Quote)


def test_a_share_leaves_out_what_was_lent_already_and_what_is_dealt_without_a_quote():
    desk = dealing(own=50_000, quote_share=0.5)
    asked = Deal(holder="h1", token="T", side="subscribe", amount=30_000 * MINOR, instant=True)
    assert desk.judged(asked).done
    lent = desk.primary.quotes.set_aside(desk.now_ms).money("USDT")
    assert lent > 30_000 * MINOR
    most = int(0.5 * (desk.cash(DEALER) - lent)) / MINOR
    desk.deposit("h2", 50_000)
    assert f"dealing account: {most:,.8f} USDT" in quoted(desk, amount=int((most + 500) * MINOR), name="h2")
    assert isinstance(quoted(desk, amount=int((most - 500) * MINOR), name="h2"), Quote)
