"""Amounts and numbers are plain ASCII decimals; whatever else is typed is refused in one sentence with an example."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from gearing.cli.main import app, with_environment
from gearing.core.money import INT64_MAX, MINOR, as_text, minor_of
from gearing.core.record import duration_ms, rate, time_of_day_ms
from gearing.core.token import Token
from gearing.errors import InputError, SpecError
from gearing.numerals import number_of

NO_NUMBERS = [
    "", " ", "1,5", "1,,5", "1,000", "1_000", "1 000", " 1", "1 ", "1\n", "１２", "١٢", "੧", "1.5.2", "1..5", "--1",
    "inf", "Infinity", "nan", "1e400", "1" * 400, "0x10", "1e", "e5", ".", "½", "1\x00", "\udcff", "一",
]  # fmt: skip


@pytest.mark.parametrize("text", [*NO_NUMBERS, "+1", "-1", "1e3", ".5", "5.", "1.000000001", "0", "0.00000000"])
def test_what_is_no_plain_amount_is_refused_with_an_example(text):
    with pytest.raises(InputError) as raised:
        minor_of(text)
    assert re.search(r"\d", raised.value.fix)
    assert len(str(raised.value)) < 200


@given(st.integers(1, INT64_MAX))
def test_an_amount_is_read_to_the_last_minor_unit(amount):
    assert minor_of(as_text(amount)) == amount
    assert minor_of(f"000{as_text(amount)}") == amount


@given(st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{1,8})?\Z"))
def test_an_amount_is_what_a_decimal_says_or_refused(text):
    exact = Fraction(Decimal(text)) * MINOR
    if 0 < exact <= INT64_MAX:
        assert minor_of(text) == exact
    else:
        with pytest.raises(InputError):
            minor_of(text)


@given(st.text(max_size=12))
def test_any_text_is_an_amount_in_ascii_or_refused(text):
    try:
        minor_of(text)
    except InputError:
        return
    assert not set(text) - set("0123456789.")


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_plain_number_is_refused(text):
    with pytest.raises(ValueError, match=r"(?s).*"):
        number_of(text)
    for read in (rate, lambda text: rate(f"{text}%"), lambda text: rate(f"{text}bp")):
        if text.strip() == text:
            with pytest.raises(ValueError, match=r"(?s).*"):
                read(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_is_written(number):
    assert number_of(repr(number)) == number


@pytest.mark.parametrize(("read", "text"), [(duration_ms, "１2h"), (time_of_day_ms, "0１:00"), (duration_ms, "٢h")])
def test_durations_and_times_are_in_ascii(read, text):
    with pytest.raises(ValueError, match=text):
        read(text)


def test_a_command_that_is_run_again_and_again_is_checked_once():
    command = with_environment(get_command(app))
    before = [option.process_value for option in command.commands["up"].params]
    with_environment(command)
    assert [option.process_value for option in command.commands["up"].params] == before


@pytest.mark.parametrize("nav", [1e-9, 9e-7, 1.1e9, 1e300])
def test_a_first_nav_that_could_not_be_counted_is_refused(nav):
    with pytest.raises(SpecError, match="initial_nav: expected a number at least 1e-06 and at most 1e"):
        Token(symbol="X", target=3.0, initial_nav=nav)
