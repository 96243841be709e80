"""Token specifications as TOML: the round trip, the example, and every mistake with its place."""

from __future__ import annotations

import contextlib
import string
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearing.core.catalog import PRESETS, preset, token
from gearing.core.fees import Consolidation, Costs, Fees, Limits
from gearing.core.instruments import KINDS, Contract, MarginTier, Perpetual
from gearing.core.rule import AimKind, Condition, Pace, Rule, Schedule, Side
from gearing.core.spec_text import EXAMPLES, example_token, format_token, parse_token
from gearing.core.token import Token
from gearing.errors import InputError, SpecError
from gearing.market.token_file import read_token

RATES = st.floats(0, 0.1)
LEVELS = st.floats(1e-3, 1e6)
MAYBE = st.none() | LEVELS
TEXTS = st.text(max_size=12)
DURATIONS = st.sampled_from(["500ms", "30s", "10m", "24h", "1d"])
TIMES = st.tuples(st.sampled_from(["00:02", "23:30:15", "00:00+08:00", "16:00Z"]))
SIDES: st.SearchStrategy[Side] = st.sampled_from(("both", "reduce"))
AIMS: st.SearchStrategy[AimKind] = st.sampled_from(("target", "edge", "reentry", "recentering"))
CONDITIONS = st.builds(Condition, band_upper=LEVELS, deviation=MAYBE, move_favour=MAYBE)
SCHEDULES = st.builds(Schedule, times=TIMES, side=SIDES, only_if=st.none() | CONDITIONS) | st.builds(
    Schedule, every=DURATIONS, side=SIDES, only_if=st.none() | CONDITIONS
)


@st.composite
def rules(draw: st.DrawFn, target: float) -> Rule:
    size = abs(target)
    aim = draw(AIMS)
    upper = size * draw(st.floats(1.01, 3))
    return Rule(
        name=draw(TEXTS),
        target=draw(st.sampled_from([None, target])),
        schedule=tuple(draw(st.lists(SCHEDULES, max_size=3))),
        band_lower=draw(st.none() | st.floats(0.01, 0.99).map(lambda share: size * share)),
        band_upper=upper,
        move_against=draw(st.none() | st.floats(0.001, 0.9)),
        move_favour=draw(st.none() | st.floats(0.001, 0.9)),
        side=draw(SIDES),
        aim=aim,
        reentry_level=size if aim == "reentry" else None,
        recentering_speed=draw(st.floats(0.01, 1)) if aim == "recentering" else None,
        pace=draw(st.none() | st.builds(Pace, largest=LEVELS, interval=DURATIONS)),
        ripcord=draw(st.sampled_from([None, upper * 1.5])),
        check_interval=draw(st.none() | DURATIONS),
    )


@st.composite
def tokens(draw: st.DrawFn) -> Token:
    target = draw(st.floats(1.25, 4)) * draw(st.sampled_from([1, -1]))
    tiers = sorted(draw(st.lists(st.floats(1, 1e9), max_size=3, unique=True)))
    yearly = draw(st.booleans())
    return Token(
        symbol=draw(TEXTS.filter(str.strip)),
        name=draw(TEXTS),
        target=target,
        rule=draw(st.sampled_from(sorted(PRESETS)) | rules(target)),
        legs=(
            Perpetual(
                symbol=draw(TEXTS),
                lot=draw(RATES),
                multiplier=draw(LEVELS),
                margin_tiers=tuple(MarginTier(notional_max=edge, rate=0.01) for edge in tiers),
            ),
        ),
        fees=Fees(
            management_per_day=0 if yearly else draw(RATES),
            management_per_year=draw(RATES) if yearly else 0,
            on=draw(st.sampled_from(["equity", "exposure"])),
            creation=draw(RATES),
            all_in=draw(st.booleans()),
        ),
        settlement=draw(TEXTS.filter(str.strip)),
        initial_nav=draw(LEVELS),
        limits=Limits(largest_exposure=draw(MAYBE), largest_order=draw(MAYBE), supply_cap=draw(MAYBE)),
        costs=Costs(taker_fee=draw(RATES), half_spread=draw(RATES), impact=draw(RATES)),
        disclosure=draw(st.sampled_from(["full", "prices", "after"])),
    )


@given(specified=tokens())
def test_what_is_written_is_read_back(specified: Token) -> None:
    assert parse_token(format_token(specified)) == specified


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_written_as_a_rule_of_ones_own(name: str) -> None:
    made = token(name, "BTC", 3, costs=Costs(taker_fee=5e-4))
    spelt_out = msgspec.structs.replace(made, rule=preset(name, target=3))
    assert parse_token(format_token(made)) == made
    assert parse_token(format_token(spelt_out)) == spelt_out


def test_the_example_is_a_token_and_shows_every_field() -> None:
    text = example_token()
    made = parse_token(text)
    assert (made.symbol, made.target, made.rule) == ("BTC3L", 3.0, "ftx")
    assert made.fees == Fees(management_per_day=0.0003, creation=0.001, redemption=0.001)
    assert made.costs == Costs(taker_fee=0.0005, half_spread=0.0002)
    held = {holds: example_token(holds) for holds in EXAMPLES}
    kinds = {holds: type(parse_token(shown).legs[0]) for holds, shown in held.items()}
    assert set(kinds.values()) == set(KINDS.values())
    text = "\n".join(held.values())
    parts = (Fees, Costs, Limits, Consolidation, MarginTier, Contract, Rule, Schedule, Pace, Condition)
    for record in (Token, *parts, *KINDS.values()):
        for field in msgspec.structs.fields(record):  # type: ignore[arg-type]
            assert f"{field.name} = " in text or f"{field.name}]" in text, field.name


def test_the_commented_fields_of_the_example_are_valid_too() -> None:
    """Every comment of the form `# key = value` or `# [table]` is taken in; only alternatives clash."""
    rows = []
    for row in example_token().split("\n"):
        bare = row.removeprefix("# ").removeprefix("#")
        rows.append(bare if (row.startswith("#") and bare[:1] in "[]{ ") or " = " in bare[:24] else row)
    alternatives = (
        'rule = "ftx"',
        "management_per_day",
        'every = "24h"',
        "reentry_level",
        "recentering_speed",
    )
    text = "\n".join(row for row in rows if not row.startswith(alternatives))
    made = parse_token(text)
    assert isinstance(made.rule, Rule)
    assert made.rule.schedule[0].only_if == Condition(move_against=0.01, move_favour=0.01)
    assert made.rule.pace == Pace(largest=1e6, interval="1m")
    assert made.limits.supply_cap == 100_000
    assert made.legs[0].margin_tiers[1].rate == 0.005
    assert made.costs.liquidation_fee == 0.005


def test_numbers_may_be_whole_or_percentages() -> None:
    made = parse_token('symbol = "A"\ntarget = 3\n[fees]\ncreation = "0.03%"\nredemption = "3bp"\n')
    assert isinstance(made.target, float)
    assert made.fees.creation == 0.0003
    assert made.fees.redemption == 0.0003


MISTAKES = """\
symbl = "X"
target = "abc"
initial_nav = -1
rule = "ftxx"
[fees]
creation = 2
managment_per_day = 1
settlement = "USD"
all_in = 1
[costs]
taker_fee = true

[[legs]]
kind = "swap"
lot = -1
margin_tiers = [{ rate = 2 },
  { notional_max = 3 }]
"""


def test_every_mistake_is_named_with_its_line_in_the_order_of_the_text() -> None:
    with pytest.raises(SpecError) as caught:
        parse_token(MISTAKES, where="token.toml")
    assert caught.value.where == "token.toml"
    assert [problem.place for problem in caught.value.problems] == [
        "symbol",
        "line 1: symbl",
        "line 2: target",
        "line 3: initial_nav",
        "line 4: rule",
        "line 6: fees.creation",
        "line 7: fees.managment_per_day",
        "line 8: fees.settlement",
        "line 9: fees.all_in",
        "line 11: costs.taker_fee",
        "line 14: legs[0].kind",
        "line 15: legs[0].lot",
        "line 16: legs[0].margin_tiers[0].rate",
        "line 16: legs[0].margin_tiers[1].rate",
    ]
    text = str(caught.value)
    assert 'Did you mean "symbol"?' in text
    assert 'Did you mean "management_per_day"?' in text
    assert "move it above the first [table]" in text


RULE_MISTAKES = """\
symbol = "A"
target = 3
[rule]
preset = "ftx"
band_lower = 5
band_upper = 4
[[rule.schedule]]
times = "00:02"
[[rule.schedule]]
times = [5, 00:02:00]
[rule.schedule.only_if]
band_upper = -3
[[rule.schedule]]
times = ["25:00"]
[[rule.schedule]]
[rule.pace]
largest = 1e6
"""


def test_mistakes_in_nested_tables_are_found_where_they_stand() -> None:
    with pytest.raises(SpecError) as caught:
        parse_token(RULE_MISTAKES)
    found = [(problem.place, problem.fix) for problem in caught.value.problems]
    assert [place for place, _ in found] == [
        "line 4: rule.preset",
        "line 5: rule.band_lower",
        "line 8: rule.schedule[0].times",
        "line 10: rule.schedule[1].times[0]",
        "line 10: rule.schedule[1].times[1]",
        "line 12: rule.schedule[1].only_if.band_upper",
        "line 14: rule.schedule[2].times[0]",
        "line 15: rule.schedule[3].times",
        "line 16: rule.pace.interval",
    ]
    assert found[0][1].startswith('Write rule = "ftx"')
    assert found[2][1] == "Write times = [...]."


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a", "line 1", "end of the text"),
        ('symbol = "A"\ntarget = = 3\n', "line 2, column 10", "target = = 3 (invalid value)"),
        ('symbol = "A"\nsymbol = "B"\n', "line 2, column 13", "only once"),
        ("x = " + "[" * 5000, "the text", "nested"),
        ("target = 1" + "0" * 5000, "the text", "digits"),
        ('symbol = "A"\ntarget = 1' + "0" * 400, "line 2: target", "beyond all bounds"),
        ('symbol = "A"\ntarget = 2024-01-01', "line 2: target", "date or time 2024-01-01"),
        ('symbol = "A"\ntarget = nan', "line 2: target", "nan"),
        ('symbol = "A"\ntarget = 3\nrule = "ftxx"', "line 3: rule", 'Did you mean "ftx"?'),
        ('symbol = "A"\ntarget = 5\nrule = "binance-blvt"', "line 3: rule.target", "1.25 to 4"),
        ('symbol = "A"\ntarget = 3\nlegs = 3', "line 3: legs", "Write [[legs]]"),
        ('symbol = "A"\ntarget = 3\n[legs]\nlot = 1', "line 3: legs", "Write [[legs]]"),
        ('symbol = "A"\ntarget = 3\nfees = 7', "line 3: fees", "Write [fees]"),
        ('symbol = "A"\ntarget = 3\nrule = 5', "line 3: rule", "the name of a preset"),
        ('symbol = "A"\ntarget = 3\nsettlement = 5', "line 3: settlement", 'quotes: "5"'),
        ('symbol = "A"\ntarget = 3\n[[legs]]\nweight = 0.5', "line 3: legs", "weights that sum to 1"),
        ('name = """\ntarget = 5\n"""\nsymbol = "A"\ntarget = 0', "line 5: target", "other than 0"),
        ('symbol = "A"\ntarget = 3\nfees.creation = 9', "line 3: fees.creation", "at most 0.5"),
        ('symbol = "A"\ntarget = 3\nrule = { band_upper = 2 }', "line 3: rule.band_upper", "no lower than"),
    ],
)
def test_a_mistake_has_a_place_and_a_plain_word(text: str, place: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_token(text)
    (problem,) = caught.value.problems
    assert problem.place == place
    assert words in str(problem)


@given(
    at=st.integers(0, len(example_token())),
    removed=st.integers(0, 30),
    put=st.text(alphabet=string.printable + "é\x00\ud800", max_size=8),
)
def test_a_damaged_text_is_a_token_or_a_list_of_mistakes(at: int, removed: int, put: str) -> None:
    whole = example_token()
    with contextlib.suppress(SpecError):
        parse_token(whole[:at] + put + whole[at + removed :])


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["true", "-1", "3", "1e999", "nan", '"x"', '"ftx"', '"9e9h"', "1979-05-27", "07:32:00", '"5%"']),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
        | inner.map(lambda value: f"{{ band_upper = {value} }}")
    ),
    max_leaves=3,
)
PLACES = [
    f"{prefix}{field}"
    for prefix, record in (
        ("", Token),
        ("rule.", Rule),
        ("rule.pace.", Pace),
        ("fees.", Fees),
        ("costs.", Costs),
        ("limits.", Limits),
    )
    for field in record.__struct_fields__
]


@given(fields=st.dictionaries(st.sampled_from(PLACES), VALUES, max_size=4))
def test_any_value_in_any_place_is_a_token_or_a_list_of_mistakes(fields: dict[str, str]) -> None:
    given_fields = {"symbol": '"A"', "target": "3"} | fields
    text = "\n".join(f"{place} = {value}" for place, value in given_fields.items())
    problems = []
    try:
        parse_token(text)
    except SpecError as error:
        problems = error.problems
    assert all(problem.place and problem.found and problem.expected for problem in problems)


def test_a_specification_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token.toml"
    path.write_bytes(b"\xef\xbb\xbf" + example_token().replace("\n", "\r\n").encode())
    assert read_token(path) == parse_token(example_token())
    path.write_text("target = 3\n")
    with pytest.raises(SpecError, match="symbol") as caught:
        read_token(path)
    assert caught.value.where == str(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8") as unreadable:
        read_token(path)
    assert not isinstance(unreadable.value, SpecError)


def test_the_text_that_is_written_is_plain_toml() -> None:
    made = Token(symbol='q"\\\n\x7f\t', target=-1.0, rule=Rule(schedule=(Schedule(every="24h"),)))
    assert tomllib.loads(format_token(made)) == {
        "symbol": 'q"\\\n\x7f\t',
        "target": -1.0,
        "rule": {"schedule": [{"every": "24h"}]},
    }
