"""Rules in words, and barrier moves against a portfolio that is really moved."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gearing.core.fees import Fees
from gearing.core.presets import PRESETS, preset
from gearing.core.rule import Condition, Pace, Rule, Schedule
from gearing.core.words import (
    barrier_moves,
    describe,
    fee_headline,
    fee_rates,
    fee_words,
    headline,
    level_text,
    leverage_after,
    move_to,
    number,
    percent,
)

TARGETS = st.floats(-20, 20).filter(lambda beta: abs(beta) > 0.05)


@pytest.mark.parametrize(
    ("target", "level", "move"),
    [(3, 4, "−11.111 %"), (-3, -4, "+6.667 %"), (-1, -4 / 3, "+14.286 %")],
)
def test_level_rows_of_the_oracle_table(target: float, level: float, move: str) -> None:
    (barrier, _) = barrier_moves(Rule(band_upper=abs(level)), target)
    assert percent(barrier.move, sign=True) == move
    assert barrier.leverage == level
    assert percent(barrier_moves(preset("ftx", target=target), target)[0].move, sign=True) == move


@pytest.mark.parametrize(
    ("target", "against", "favour", "levels"),
    [
        (3, 0.12, 0.20, ("4.125", "2.25")),
        (-3, 0.12, 0.20, ("−5.25", "−1.5")),
        (3, 0.15, 0.15, ("4.636", "2.379")),
        (-3, 0.15, 0.15, ("−6.273", "−1.759")),
    ],
)
def test_move_rows_of_the_oracle_table(target: float, against: float, favour: float, levels: tuple[str, str]) -> None:
    found = barrier_moves(Rule(move_against=against, move_favour=favour), target)
    assert [barrier.trigger for barrier in found] == ["move_against", "move_favour", "wipe-out"]
    assert (number(found[0].leverage), number(found[1].leverage)) == levels
    loss = -1 if target > 0 else 1
    assert [barrier.move for barrier in found[:2]] == [loss * against, -loss * favour]


@given(
    target=TARGETS,
    share=st.floats(0.05, 4),
    move=st.floats(0.01, 0.9),
    side=st.sampled_from(["both", "reduce"]),
)
def test_barriers_hold_in_a_portfolio_that_is_moved(target: float, share: float, move: float, side: str) -> None:
    level = abs(target) * share
    assume(abs(share - 1) > 1e-6)
    edge = {"band_upper": level} if share > 1 else {"band_lower": level}
    rule = Rule(move_against=move, move_favour=move, side=side, **edge)  # type: ignore[arg-type]
    for barrier in barrier_moves(rule, target):
        # One unit of equity holds `target` contracts at a price of 1; then the price moves.
        price = 1 + barrier.move
        equity = 1 + target * barrier.move
        assert price > 0
        if barrier.trigger == "wipe-out":
            assert equity == pytest.approx(0, abs=1e-12)
            assert math.isinf(barrier.leverage)
            continue
        assert equity > 0
        assert target * price / equity == pytest.approx(barrier.leverage, rel=1e-6)
        if abs(barrier.leverage / target - 1) > 1e-9:
            position_after = target * equity / price
            reduces = abs(position_after) < abs(target)
            assert barrier.trades == (side == "both" or reduces)


@given(target=TARGETS, level=st.floats(0.01, 40))
def test_a_level_without_a_move_is_never_crossed(target: float, level: float) -> None:
    signed = math.copysign(level, target)
    assume(abs(signed - 1) > 1e-6)
    assume(abs(target - 1) > 1e-6)
    if move_to(signed, target) is not None:
        return
    moves = [-1 + 1e-7, -0.99, -0.9, -0.5, -0.1, 0, 0.1, 1, 10, 1e3, 1e6]
    reached = [value for value in (leverage_after(target, move) for move in moves) if value is not None]
    assert all(value < signed for value in reached) or all(value > signed for value in reached)


@pytest.mark.parametrize("target", [1, 0.5])
def test_an_unlevered_holding_is_never_wiped_out(target: float) -> None:
    assert all(barrier.trigger != "wipe-out" for barrier in barrier_moves(Rule(band_upper=2), target))
    assert leverage_after(1, 0.3) == 1
    assert move_to(1.2, 1) is None


def test_a_move_beyond_the_wipe_out_is_said_and_left_out() -> None:
    rule = preset("gate", target=5)
    assert "move_against" not in [b.trigger for b in barrier_moves(rule, 5) if b.when == "at once"]
    assert any("nothing left" in line for line in describe(rule, 5))


def test_conditions_and_the_ripcord_have_barriers_too() -> None:
    rule = Rule(
        schedule=(Schedule(times=("00:00",), side="reduce", only_if=Condition(band_lower=2, band_upper=3.5)),),
        band_upper=4,
        ripcord=5,
    )
    found = [(b.trigger, b.when, b.leverage, b.trades) for b in barrier_moves(rule, 3)]
    assert found == [
        ("band_upper", "at once", 4, True),
        ("ripcord", "at once", 5, True),
        ("band_upper", "on schedule", 3.5, True),
        ("band_lower", "on schedule", 2, False),
        ("wipe-out", "the end", math.inf, True),
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_words(name: str) -> None:
    rule = preset(name, target=3)
    assert headline(rule).startswith(f"{name}: ")
    assert "\n" not in headline(rule)
    assert repr(rule) == f"Rule({headline(rule)})"
    for target in (3.0, -3.0):
        lines = describe(preset(name, target=target), target)
        assert lines
        assert all(line.endswith(".") and "None" not in line for line in lines)


def test_words_say_every_part_of_a_rule() -> None:
    rule = Rule(
        schedule=(
            Schedule(every="12h", side="reduce"),
            Schedule(times=("00:02", "12:00+02:00"), only_if=Condition(move_against=0.01, move_favour=0.02)),
        ),
        band_lower=1.9,
        band_upper=4,
        deviation=0.5,
        side="reduce",
        aim="edge",
        ripcord=6,
        pace=Pace(largest=250_000, interval="30s"),
        check_interval="10m",
    )
    assert describe(rule, 3) == [
        "12 hours after its last completed rebalance it rebalances, only to reduce the position.",
        "Every day at 00:02 and 10:00 UTC it rebalances, if the price has fallen 1 % since the last "
        "rebalance (leverage then: 3.062), or the price has risen 2 % since the last "
        "rebalance (leverage then: 2.887).",
        "At once when real leverage is above 4 (the price −11.111 % from target), it rebalances.",
        "At once when real leverage is below 1.9 (the price +40.741 % from target), it rebalances.",
        "At once when real leverage is more than 50 % off target (outside 1.5 to 4.5), it rebalances.",
        "Such a trade at once may only reduce the position: after a loss.",
        "It trades to the edge of the band that was crossed, and meets it after cost.",
        "A trade larger than 250,000 in settlement currency is cut into slices of that size, at least "
        "30 seconds apart.",
        "Ripcord: beyond 6 it reduces to 4 in one trade, whatever the pace.",
        "What acts at once looks only at the first price of each 10 minutes.",
    ]
    assert headline(rule) == (
        "every 12h, only to reduce; daily 00:02 and 10:00 UTC if move 1% against or move 2% in favour; "
        "outside 1.9–4 or 50% off target, only to reduce; to the edge; ripcord 6; "
        "slices of 250,000 each 30s; looks every 10m"
    )
    assert describe(Rule(), 3) == ["It never rebalances: real leverage drifts with the price."]
    assert headline(Rule()) == "never rebalances"


def test_numbers_as_people_write_them() -> None:
    assert [number(v) for v in (4.0, -5.25, 1e6, -0.0001, math.inf, -math.inf)] == [
        "4", "−5.25", "1,000,000", "0", "∞", "−∞",
    ]  # fmt: skip
    assert [level_text(v) for v in (3.0, 2.99985, 4 / 3, 4.636363)] == ["3", "2.99985", "1.333", "4.636"]
    assert percent(0.0003) == "0.03 %"


@pytest.mark.parametrize(
    ("fees", "target"),
    [
        (Fees(management_per_day=0.001), 3),
        (Fees(management_per_year=0.0195), -3),
        (Fees(management_per_year=0.02, on="exposure"), 5),
        (Fees(), 3),
    ],
)
def test_a_year_of_fees_is_365_days_of_them(fees: Fees, target: float) -> None:
    rates = fee_rates(fees, target)
    equity = 1.0
    for _ in range(365):
        base = equity * abs(target) if fees.on == "exposure" else equity
        equity -= base * (fees.management_per_day + fees.management_per_year / 365)
    assert rates.per_year == pytest.approx(1 - equity, rel=1e-9)


def test_a_daily_fee_is_always_shown_with_its_year() -> None:
    fees = Fees(management_per_day=0.001, all_in=True)
    assert "0.1 % a day" in fee_words(fees, 3)[0]
    assert "30.6 % of equity a year" in fee_words(fees, 3)[0]
    assert fee_headline(fees) == "0.1%/day = 30.6%/yr; all in"
    assert fee_words(Fees(), 3) == ["No fees."]
    assert fee_headline(Fees(redemption=0.001)) == "out 0.1%"
