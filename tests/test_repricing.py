"""What units were dealt at once for, and what was quoted, is worked out again by verify, to the minor unit."""

from __future__ import annotations

import math
from concurrent.futures import wait
from fractions import Fraction

import msgspec
import pytest
from msgspec import UNSET

from gearing.core import holder as ho
from gearing.core.dealing import worth
from gearing.core.hedging_cost import gross_leverage
from gearing.core.money import MINOR
from gearing.drive.acceptances import Judgement
from gearing.drive.primary import Primary
from gearing.store.repricing import ACCRUED_MAX, MARK_APART_MAX
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.forged import NAMES, at_once, desk, forging, found, is_sound, subscribed
from tests.lives import HOUR_MS

__all__ = ["desk"]

SIDES = [("subscribe", 5_000 * MINOR), ("redeem", 20 * MINOR)]


def changed(kind=ho.Exchanged, **by):
    """Adds to fields of what is dealt at once, or quoted; of both sides of a dealing, so that all sums hold."""

    def change(name, event):
        if not isinstance(event, kind):
            return event
        it = getattr(event, "quote", event)
        sign = 1 if name != ho.DEALER else -1
        signs = {"fee": 1, "cash": sign, "units": sign} if kind is ho.Exchanged else {}
        it = msgspec.structs.replace(it, **{key: getattr(it, key) + signs.get(key, 1) * n for key, n in by.items()})
        return msgspec.structs.replace(event, quote=it) if kind is ho.Quoted else it

    return change


def with_pricing(change, kind=ho.Exchanged):
    """Changes what the line says of its pricing."""

    def forged(name, event):
        it = getattr(event, "quote", event)
        if not isinstance(event, kind) or it.pricing is UNSET:
            return event
        it = msgspec.structs.replace(it, pricing=change(it.pricing))
        return msgspec.structs.replace(event, quote=it) if kind is ho.Quoted else it

    return forged


def prices(desk, what=("price",)):
    return [one for one in verify(desk.path).breaches if one.what in what]


@pytest.mark.parametrize(("side", "amount"), SIDES)
@pytest.mark.parametrize("quotes", [False, True])
def test_what_is_dealt_at_once_is_sound(desk, side, amount, quotes):
    subscribed(desk, *NAMES)
    at_once(desk, side, amount, quotes)
    assert is_sound(desk)


@pytest.mark.parametrize(("side", "amount"), SIDES)
@pytest.mark.parametrize("by", [{"units": 1}, {"units": -1}, {"cash": 200}, {"cash": -200}, {"fee": 1}, {"fee": -1}])
def test_a_minor_unit_more_or_less_than_the_price_gives_is_found(desk, monkeypatch, side, amount, by):
    subscribed(desk, *NAMES)
    forging(monkeypatch, changed(**by))
    at_once(desk, side, amount)
    breaches = prices(desk)
    assert {one.stream for one in breaches} == {"holder:h1"}


@pytest.mark.parametrize(("side", "amount"), SIDES)
@pytest.mark.parametrize(("field", "by"), [("units", 1), ("cash", 200), ("fee", 1), ("inav", 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_minor_unit_more_or_less_in_a_quote_is_found(desk, monkeypatch, side, amount, field, by, sign):
    subscribed(desk, *NAMES)
    forging(monkeypatch, changed(ho.Quoted, **{field: sign * by}))
    desk.quote(100.0, after_ms=1_000)
    given = desk.primary.quotes.ask("h1", desk.it, side, amount, desk.now_ms)
    assert not isinstance(given, str)
    desk.window()
    assert {(one.stream, one.what) for one in verify(desk.path).breaches} == {("holder:h1", "price")}


def test_the_price_of_a_quote_is_derived_another_way(desk):
    """From equity, units and the parts of the price, without the functions of the desk."""
    subscribed(desk, *NAMES)
    desk.quote(101.5, after_ms=1_000)
    quote = desk.primary.quotes.ask("h1", desk.it, "subscribe", 5_000 * MINOR, desk.now_ms)
    pricing, spec, state = quote.pricing, desk.it.spec, desk.it.state
    held = sum(Fraction(leg.lot) * leg.lots * Fraction(repr(mark))
               for leg, mark in zip(state.legs, pricing.marks, strict=True))  # fmt: skip
    before = sum(Fraction(leg.lot) * leg.lots * Fraction(repr(leg.mark)) for leg in state.legs)
    days = Fraction(pricing.time_ms - state.charged_until_ms, 86_400_000)
    equity = Fraction(state.equity, MINOR) + held - before
    equity -= equity * days * Fraction(repr(spec.token.fees.management_per_day))
    inav = equity / Fraction(state.balances.units, MINOR)
    spread = Fraction("0.001") + Fraction(pricing.cost) * abs(held) / equity
    units = (5_000 - 5_000 * Fraction("0.001")) / (inav * (1 + spread))
    assert float(units) == pytest.approx(quote.units / MINOR, rel=1e-9)
    assert float(inav) == pytest.approx(quote.inav / MINOR, rel=1e-9)
    assert gross_leverage(state) > 0
    assert worth(spec, state, pricing.accrued, "subscribe").units == state.balances.units


def test_units_dealt_at_a_nav_that_the_token_never_had_are_found(desk, monkeypatch):
    def change(_, event):
        if not isinstance(event, ho.Exchanged):
            return event
        where = msgspec.structs.replace(event.bearing, nav=event.bearing.nav - 1)
        return msgspec.structs.replace(event, bearing=where)

    subscribed(desk, *NAMES)
    forging(monkeypatch, change)
    at_once(desk, "redeem", 20 * MINOR)
    assert [(one.stream, one.what) for one in verify(desk.path).breaches] == [("holder:h1", "price")]


def replaced(**fields):
    return lambda pricing: msgspec.structs.replace(pricing, **{key: of(pricing) for key, of in fields.items()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced(cost=lambda it: it.cost / 2), "as was measured"),
        (replaced(cost=lambda it: math.nextafter(it.cost, 1)), "as was measured"),
        (replaced(marks=lambda it: (it.marks[0] * (1 + MARK_APART_MAX) * 1.01,)), "lines before and after"),
        (replaced(marks=lambda it: (it.marks[0] * (1 - MARK_APART_MAX) * 0.99,)), "lines before and after"),
        (replaced(marks=lambda it: (it.marks[0] * (1 - 1e-7),)), " units, "),
        (replaced(marks=lambda _: ()), "1 of each"),
        (replaced(marks=lambda it: (*it.marks, 1.0)), "1 of each"),
        (replaced(marks=lambda _: (-1.0,)), "lines before and after"),
        (replaced(accrued=lambda _: (ACCRUED_MAX * 1.01,)), "-0.1 to 0.1"),
        (replaced(accrued=lambda _: (-ACCRUED_MAX * 1.01,)), "-0.1 to 0.1"),
        (replaced(accrued=lambda _: ()), "1 of each"),
        (replaced(time_ms=lambda it: it.time_ms + HOUR_MS), " to "),
        (replaced(time_ms=lambda it: it.time_ms - HOUR_MS), " to "),
        (lambda _: UNSET, "no price is said"),
    ],
)
@pytest.mark.parametrize("kind", [ho.Exchanged, ho.Quoted])
def test_a_pricing_that_no_desk_had_is_found(desk, monkeypatch, kind, change, words):
    subscribed(desk, *NAMES)
    forging(monkeypatch, with_pricing(change, kind))
    at_once(desk, "subscribe", 5_000 * MINOR, quotes=kind is ho.Quoted)
    breaches = [one for one in verify(desk.path).breaches if one.stream == "holder:h1"]
    assert {one.what for one in breaches} == {"price"}
    assert any(words in one.expected for one in breaches), breaches


def test_a_pricing_a_minute_too_early_or_late_is_of_another_fee(desk, monkeypatch):
    """Within what the lines allow, the fee that had run up tells."""
    subscribed(desk, *NAMES)
    forging(monkeypatch, with_pricing(replaced(time_ms=lambda it: it.time_ms - 900)))
    at_once(desk, "subscribe", 50_000 * MINOR // 2)
    assert {one.what for one in verify(desk.path).breaches} == {"price"}


def test_a_quote_that_was_void_and_was_dealt_by_is_found(desk, monkeypatch):
    subscribed(desk, *NAMES)
    monkeypatch.setattr("gearing.drive.quotes.why_void", lambda *_: "")
    desk.quote(100.0, after_ms=1_000)
    given = desk.primary.quotes.ask("h1", desk.it, "subscribe", 5_000 * MINOR, desk.now_ms)
    desk.mark = 100.3
    desk.filled(desk.quote(100.3, after_ms=1_000))
    assert not isinstance(
        desk.primary.quotes.accept("h1", given.id, Judgement(desk.now_ms - 1, 0, 0), desk.now_ms), str
    )
    desk.take()
    desk.window(100.3)
    breaches = prices(desk)
    assert [(one.stream, one.found) for one in breaches] == [("holder:h1", "dealt by a quote")]
    assert "iNAV has moved" in breaches[0].expected


def test_units_that_a_holder_exchanged_with_another_are_found(desk, monkeypatch):
    subscribed(desk, *NAMES)
    post = Primary.post

    def forged(self, name, event):
        if isinstance(event, ho.Exchanged):
            name = "h2" if name == ho.DEALER else name
            event = msgspec.structs.replace(event, other="h2" if event.other == ho.DEALER else event.other, lends=False)
        return post(self, name, event)

    monkeypatch.setattr(Primary, "post", forged)
    at_once(desk, "subscribe", 500 * MINOR)
    assert set(found(desk)) == {("holder:h1", "price"), ("holder:h2", "price")}


# What is said of a dealing beside its price.


def of_quote(**values):
    """Replaces what a quote says; a function gets what it said."""

    def change(_, event):
        if not isinstance(event, ho.Quoted):
            return event
        told = {key: value(getattr(event.quote, key)) if callable(value) else value for key, value in values.items()}
        return msgspec.structs.replace(event, quote=msgspec.structs.replace(event.quote, **told))

    return change


def of_side(is_dealers, **values):
    """Replaces what one side of a dealing says."""

    def change(name, event):
        if not isinstance(event, ho.Exchanged) or (name == ho.DEALER) != is_dealers:
            return event
        told = {key: value(getattr(event, key)) if callable(value) else value for key, value in values.items()}
        return msgspec.structs.replace(event, **told)

    return change


def elsewhere(bearing):
    return msgspec.structs.replace(bearing, level=bearing.level * 1.01)


@pytest.mark.parametrize(
    ("change", "breaches"),
    [
        (of_quote(until_ms=lambda it: it + 1), [("h1", "price", "at most")]),
        (of_quote(asset="XYZ"), [("h1", "price", "for USDT")]),
        (of_side(False, money=lambda it: it + 1), [("h1", "price", "199671030583")]),
        (of_side(False, money=lambda _: -(10**18)), [("h1", "price", "199671030583")]),
        (of_side(False, lends=True), [("h1", "price", "lends: False")]),
        (of_side(True, lends=False), [("dealer", "price", "lends: True")]),
        (of_side(True, money=1), [("dealer", "price", "0 of the day's caps")]),
        (of_side(True, bearing=elsewhere), [("dealer", "transfer", "opposite"), ("h1", "transfer", "opposite")]),
        (of_side(False, bearing=elsewhere), [("h1", "price", "level")]),
    ],
)
def test_what_no_desk_says_of_a_dealing_is_found(desk, monkeypatch, change, breaches):
    subscribed(desk, *NAMES)
    forging(monkeypatch, change)
    at_once(desk, "redeem", 20 * MINOR, quotes=True)
    told = {(one.stream, one.what): one for one in verify(desk.path).breaches}
    for name, what, words in breaches:
        assert words in told[f"holder:{name}", what].expected


def test_a_dealing_in_a_currency_that_is_not_the_tokens_is_found(desk, monkeypatch):
    for name in ("h1", ho.DEALER):
        desk.primary.post(
            name, ho.Deposited(time_ms=desk.now_ms, asset="XYZ", amount=9_000 * MINOR, reference="x", by="o")
        )
    forging(monkeypatch, lambda _, it: msgspec.structs.replace(it, asset="XYZ") if isinstance(it, ho.Exchanged) else it)
    at_once(desk, "subscribe", 5_000 * MINOR)
    assert "for USDT" in [one.expected for one in prices(desk)]


def test_a_token_that_gives_no_quotes_deals_at_nothing_at_once(desk, monkeypatch):
    at_once(desk, "subscribe", 5_000 * MINOR)
    monkeypatch.setattr("gearing.core.primary.Primary.quote_ms", 0)
    assert found(desk) == [("holder:h1", "price")]


@pytest.mark.parametrize("kind", [ho.Exchanged, ho.Quoted])
def test_what_is_dealt_in_a_token_that_has_no_journal_is_found(desk, monkeypatch, kind):
    def change(_, event):
        if not isinstance(event, kind):
            return event
        if kind is ho.Quoted:
            return msgspec.structs.replace(event, quote=msgspec.structs.replace(event.quote, token="GHOST"))
        return msgspec.structs.replace(event, token="GHOST")

    forging(monkeypatch, change)
    desk.quote(100.0, after_ms=1_000)
    if kind is ho.Quoted:
        desk.primary.quotes.ask("h1", desk.it, "subscribe", 5_000 * MINOR, desk.now_ms)
        desk.take()
    else:
        at_once(desk, "subscribe", 5_000 * MINOR)
    assert ("holder:h1", "price", "nothing: it was not launched") in [
        (one.stream, one.what, one.expected) for one in verify(desk.path).breaches
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_it_is_found_whoever_reads_the_streams(desk, monkeypatch, processes):
    """Tokens are read once all holders were, even where nothing else is left to wait for by then."""
    monkeypatch.setattr("gearing.store.verify.wait", lambda them, **_: wait(them))
    subscribed(desk, *NAMES)
    forging(monkeypatch, changed(cash=-1))
    at_once(desk, "subscribe", 5_000 * MINOR)
    with Store(desk.path) as store:
        seqs = [line.seq for line in store.lines("holder:h1") if b'"event":"exchanged"' in line.body]
    verdict = verify(desk.path, processes=processes)
    with Store(desk.path) as store:
        assert {one.stream for one in verdict.streams} == set(store.streams())
    breaches = verdict.breaches
    assert {(one.stream, one.seq, one.what) for one in breaches} == {("holder:h1", seqs[0], "price")}


# Whatever the market does, what the desk did is sound.


@pytest.mark.parametrize("rate", [-0.02, 0.02])
@pytest.mark.parametrize(("side", "amount"), SIDES)
def test_predicted_funding_far_above_what_was_ever_settled_is_sound(desk, rate, side, amount):
    subscribed(desk, *NAMES)
    due = desk.now_ms + 8 * HOUR_MS
    desk.funding = {"funding_rate": 1e-4, "funding_ms": due}
    desk.quote(100.0)
    desk.now_ms += 5 * HOUR_MS
    desk.funding = {"funding_rate": rate, "funding_ms": due}
    for _ in range(8):
        desk.filled(desk.quote(100.0, after_ms=5_000))
    at_once(desk, side, amount, quotes=True)
    at_once(desk, side, amount // 2)
    assert is_sound(desk)


@pytest.mark.parametrize("side", ["subscribe", "redeem"])
def test_funding_that_no_venue_ever_paid_is_found_in_a_tokens_line(desk, monkeypatch, side):
    subscribed(desk, *NAMES)
    monkeypatch.setattr(Primary, "accrued_rates", lambda *_: (0.25,))
    assert not isinstance(desk.ask("h1", side, 1_000 * MINOR if side == "subscribe" else 10 * MINOR), str)
    desk.window()
    assert [(one.stream, one.found) for one in prices(desk)] == [("token:T", "funding of 0.25")]


@pytest.mark.parametrize("size", [0.05, -0.05, 0.12])
def test_a_wick_between_two_navs_is_sound(desk, size):
    subscribed(desk, *NAMES)
    for k in range(5):
        desk.mark = round(100 * (1 + size * (k + 1) / 5), 6)
        desk.filled(desk.quote(desk.mark, after_ms=1_000))
    given = desk.primary.quotes.ask("h1", desk.it, "subscribe", 5_000 * MINOR, desk.now_ms)
    assert not isinstance(given, str)
    for k in range(5):
        desk.mark = round(100 * (1 + size * (4 - k) / 5), 6)
        desk.filled(desk.quote(desk.mark, after_ms=1_000))
    desk.window()
    assert is_sound(desk)
