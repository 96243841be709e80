"""The console as text: every figure stands at 80 and at 140 columns, and no line is longer."""

from __future__ import annotations

import msgspec
import pytest

from gearing.cli.console import label_of, rendered, span
from gearing.core.attribution import N_LEDGER
from gearing.core.ledger import Balances
from gearing.core.measured import LegTraded, Measured
from gearing.core.state import Accrual, LegState, TokenState
from gearing.core.terms import Spec
from gearing.desk.demo import demo_tokens
from gearing.desk.happenings import Differing, Happening
from gearing.desk.view import DeskView, token_view

NOW_MS = 1_767_312_000_000  # 2026-01-02 00:00
M = 10**8


def token(number: int, lots: tuple[int, ...], prices: tuple[float, ...], **told):
    spec = Spec(demo_tokens()[number])
    legs = tuple(
        LegState(
            lot="0.001",
            lots=n,
            basis=round(n * p * 0.001 * M),
            mark=p,
            ref=p,
            index_ref=p,
            accruals=told.get("accruals", ()),
        )
        for n, p in zip(lots, prices, strict=True)
    )
    told.pop("accruals", None)
    balances = Balances(wallet=1_000_000 * M, capital=-1_000_000 * M, held=10_000 * M, issued=-10_000 * M)
    state = TokenState(status=told.pop("status", "open"), balances=balances, legs=legs, attended_ms=NOW_MS,
                       opened=True, ref_ms=NOW_MS, parts=(0.0,) * N_LEDGER)  # fmt: skip
    last = Measured(token=spec.token.symbol, epoch=4, reason="schedule", aim=3.0, started_ms=NOW_MS - 7_200_000,
                    ended_ms=NOW_MS - 7_200_000, before=3.1, after=3.0,
                    legs=(LegTraded(symbol="X", decided=1.0, lots=1, paid=10_007 * M, worth=10_000 * M),))  # fmt: skip
    return token_view(spec, state, spec.token.symbol, marks=prices, daily=(0.03,) * len(lots), last=last, **told)


@pytest.fixture
def view() -> DeskView:
    return DeskView(
        mode="demo", database="gearing-demo.db", running=True, market_ms=NOW_MS, speed=600.0, price_age_ms=4_000,
        lines=12_345, commit_s=0.0042,
        tokens=(token(0, (30_000,), (100_000.0,)),
                token(1, (-30_000,), (100_000.0,), status="halted", why="ann: spike"),
                token(3, (10_000, 150_000, 2_000_000), (100_000.0, 4_000.0, 200.0))),
        happenings=tuple(
            Happening(time_ms=NOW_MS, level="warning", kind="alarm", token="BTC3S", words=f"alarm {n} " * 20)
            for n in range(20)
        ),
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_everything_stands_and_nothing_is_cut(view, width):
    text = rendered(view, width)
    assert max(len(line) for line in text.splitlines()) <= width
    table = text.split("01-02 00:00:00  BTC3S")[0]
    assert "…" not in table
    for word in ("DEMO", "clock 600×", "2026-01-02 00:00:00 UTC", "prices 4 s old", "12,345 lines", "commit 4.2 ms",
                 "BTC3L", "100.0000", "+3.000", "3.00m", "-11.1% -3.9σ", "BTC3S: halted, ann: spike",
                 "2 min schedule", "2 h ago schedule 0.07%", "ok"):  # fmt: skip
        assert word in " ".join(table.split()), word


def test_what_halts_is_told_whole_with_the_command_that_helps(view):
    why = f"reconciliation: C1: {'; '.join(f'A{k}: 35,000,000 lots at the venue' for k in range(6))}"
    halted = token(0, (30_000,), (100_000.0,), book_halted=why, differs=True)
    text = " ".join(rendered(msgspec.structs.replace(view, tokens=(halted,)), 80, happenings=0).split())
    assert f"BTC3L: book halted, {why} → gearing book adopt BTC3L --reason WHY, or put it right at" in text
    assert view.tokens[1].helps == "gearing resume BTC3S --reason WHY"
    assert view.tokens[0].helps == ""
    restored = "restore: the database was restored from a backup"
    for differs, help_ in ((True, "gearing book adopt BTC3L"), (False, "gearing resume BTC3L --reason WHY")):
        assert token(0, (30_000,), (100_000.0,), book_halted=restored, differs=differs).helps.startswith(help_)
    late = token(0, (30_000,), (100_000.0,), overdue=True, accruals=(Accrual(NOW_MS - 3_600_000, 1.0, 0, 0, 0.0),))
    assert late.helps.startswith("gearing book settle BTC3L ")
    assert late.helps.endswith(" --at 2026-01-01T23:00 --rate RATE --reason WHY")


def test_a_difference_that_stays_is_told_once_until_the_book_is_resumed():
    differing = Differing()

    def news(kind, words="A: 2 lots at the venue, 1 lots by the ledger"):
        return differing.is_news(Happening(time_ms=NOW_MS, level="warning", kind=kind, book="main", words=words))

    assert [news("reconciled"), news("reconciled"), news("reconciled", "B"), news("reconciled", "B")] == [
        True, False, True, False]  # fmt: skip
    assert news("book_resumed")
    assert news("reconciled", "B")


def test_the_last_happenings_stand_below(view):
    lines = rendered(view, 80, happenings=3).splitlines()
    assert [line[:32] for line in lines[-3:]] == [f"01-02 00:00:00  BTC3S  alarm {n} "[:32] for n in (17, 18, 19)]
    assert all(line.endswith("…") for line in lines[-3:])


def test_a_basket_names_the_leg_whose_barrier_is_nearest(view):
    basket = view.tokens[2].outlook
    nearest = min((leg for leg in basket.legs if leg.below), key=lambda leg: -leg.below.move)
    assert f"{nearest.symbol[:3]} {nearest.below.move:+.1%}" in rendered(view, 140)


def test_a_running_rebalance_and_a_missing_margin_are_said(view):
    last = msgspec.structs.replace(view.tokens[0].last, ended_ms=0)
    bare = msgspec.structs.replace(view.tokens[0], last=last, headroom=None)
    text = rendered(msgspec.structs.replace(view, tokens=(bare,)), 140)
    assert "schedule, running" in text


def test_the_label_says_the_mode_and_the_clock():
    assert label_of("demo", 600.0) == "DEMO · invented prices · clock 600×"
    assert label_of("paper", 1.0) == "PAPER · replayed prices, simulated venue · real time"


@pytest.mark.parametrize(
    ("length_ms", "text"), [(4_000, "4 s"), (150_000, "2 min"), (8e6, "2 h"), (2e8, "2 d"), (-5, "0 s")]
)
def test_spans(length_ms, text):
    assert span(length_ms) == text
