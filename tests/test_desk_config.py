"""A desk's file: read, or refused whole with every mistake named."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.core.spec_text import format_token
from gearing.desk.config import DeskConfig, TokenEntry
from gearing.desk.config_text import EXAMPLE, parse_desk
from gearing.desk.planned import pace_of, planned
from gearing.drive.margining import MarginChoice
from gearing.errors import SpecError

REFERENCE = (Path(__file__).parents[1] / "docs" / "reference" / "desk.md").read_text(encoding="utf-8")


def mistakes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_desk(text)
    return [problem.place for problem in caught.value.problems]


def test_an_empty_file_is_the_demo():
    assert parse_desk("") == DeskConfig()


def test_the_example_is_valid_and_shows_the_defaults_it_comments_out():
    told = parse_desk(EXAMPLE)
    assert (told.mode, told.feed.kind, len(told.tokens)) == ("paper", "replay", 1)
    shown = "\n".join(line.removeprefix("# ") for line in EXAMPLE.splitlines() if " = " in line)
    for field in ("reserve", "metrics_port", "log", "latency_ms", "good_samples"):
        assert f"{field} = " in shown


def test_every_mistake_is_named_with_its_line():
    breakers = '[breakers]\nnav_drop = "150%"\nnav_withn = "1h"'
    text = f'mode = "life"\nspeed = -1\ncolour = 3\n{breakers}\n[[tokens]]\nbook = "a b"'
    assert mistakes(text) == [
        "line 1: mode", "line 2: speed", "line 3: colour", "line 5: breakers.nav_drop", "line 6: breakers.nav_withn",
        "line 7: tokens[0].file", "line 8: tokens[0].book",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("mode = ", "the text"),
        ("tokens = 3", "line 1: tokens"),
        ("feed = 3", "line 1: feed"),
        ("mode = [1]", "line 1: mode"),
        ("metrics_port = true", "line 1: metrics_port"),
        ("metrics_port = 70000", "line 1: metrics_port"),
        ("[feed]\nseed = 1.5", "line 2: feed.seed"),
        ('[feed]\nkind = "replay"', "line 1: feed.prices"),
        ('mode = "paper"', "feed.kind"),
        ('[[tokens]]\nfile = "a"\n[[tokens]]\nfile = "a"', "line 1: tokens"),
    ],
)
def test_a_mistake_is_found(text, place):
    assert mistakes(text)[0] == place


def test_a_near_miss_is_suggested():
    with pytest.raises(SpecError, match='Did you mean "nav_within"'):
        parse_desk('[breakers]\nnav_withn = "1h"')


def test_every_field_is_in_the_reference():
    kinds = [DeskConfig]
    while kinds:
        for field in msgspec.structs.fields(kinds.pop()):
            if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct) and field.name != "costs":
                assert f"`[{field.name}]`" in REFERENCE
                kinds.append(field.type)
            else:
                assert f"`{field.name}`" in REFERENCE or f"`[[{field.name}]]`" in REFERENCE, field.name


def test_tokens_that_no_desk_runs_are_all_named(tmp_path):
    legs = (gr.Perpetual(symbol="DOGEUSDT"),)
    bad = gr.Token(symbol="A-B", target=2.0, rule="ftx", legs=legs)
    swap = gr.Token(symbol="SWAP", target=2.0, rule="ftx", legs=(gr.TotalReturnSwap(symbol="BTCUSDT"),))
    for name, token in (("a.toml", bad), ("b.toml", swap)):
        (tmp_path / name).write_text(format_token(token))
    text = '[[tokens]]\nfile = "a.toml"\n[[tokens]]\nfile = "b.toml"\n'
    with pytest.raises(SpecError) as caught:
        planned(parse_desk(text), tmp_path)
    places = [problem.place for problem in caught.value.problems]
    assert [re.sub(r"line \d+", "line", place) for place in places] == [
        "a.toml: line: symbol", "a.toml: line: legs[0].symbol", "b.toml: line: legs[0]"]  # fmt: skip


def test_every_mistake_of_a_desk_names_file_and_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    leg = '[[legs]]\nsymbol = "DOGEUSDT"\n'
    Path("a.toml").write_text(f'symbol = "A"\ntarget = 2\nrule = "ftx"\n{leg}')
    Path("b.toml").write_text('symbol = "B"\ntarget = "two"\n')
    Path("desk.toml").write_text('database = "a.toml"\n[[tokens]]\nfile = "a.toml"\n')
    assert main(["desk", "check", "desk.toml"]) == 3
    assert "desk.toml: 1 mistake\n  - a.toml: line 5: legs[0].symbol: expected" in capsys.readouterr().err
    Path("a.toml").write_text(Path("a.toml").read_text().replace("DOGE", "BTC"))
    for command, code in ((["desk", "check", "desk.toml"], 3), (["up", "--config", "desk.toml"], 2)):
        assert main(command) == code
        assert "desk.toml: 2 mistakes\n  - line 1: database: expected" in capsys.readouterr().err
    Path("desk.toml").write_text('[[tokens]]\nfile = "b.toml"\n')
    assert main(["desk", "check", "desk.toml"]) == 3
    assert "desk.toml: 1 mistake\n  - b.toml: line 2: target: expected" in capsys.readouterr().err


def test_a_leverage_that_does_not_carry_the_target_is_refused(tmp_path):
    fresh = gr.Token(symbol="BTC3L", target=3.0, legs=(gr.Perpetual(symbol="BTCUSDT"),))
    (tmp_path / "t.toml").write_text(format_token(fresh))
    with pytest.raises(SpecError, match=r"tokens\[0\].leverage: expected at least 3"):
        planned(DeskConfig(tokens=(TokenEntry(file="t.toml", leverage=2.0),)), tmp_path)
    with pytest.raises(SpecError, match="a leverage where the margin is isolated"):
        TokenEntry(file="t.toml", margin_mode="isolated")
    plan = planned(DeskConfig(tokens=(TokenEntry(file="t.toml", leverage=5.0),)), tmp_path)
    assert plan.margins == {"BTC3L": MarginChoice(5.0, "cross")}


def test_tokens_of_one_book_share_an_instrument_by_cross_margin_only(tmp_path):
    for name in ("A", "B"):
        token = gr.Token(symbol=name, target=2.0, rule="ftx", legs=(gr.Perpetual(symbol="BTCUSDT"),))
        (tmp_path / f"{name}.toml").write_text(format_token(token))
    lines = [f'[[tokens]]\nfile = "{name}.toml"\nbook = "ONE"\n' for name in ("A", "B")]
    assert [placed.book for placed in planned(parse_desk("".join(lines)), tmp_path).tokens] == ["ONE", "ONE"]
    lines[1] += 'margin_mode = "isolated"\nleverage = 4.0\n'
    with pytest.raises(SpecError, match="BTCUSDT in A and B, with isolated margin"):
        planned(parse_desk("".join(lines)), tmp_path)


def test_a_quick_clock_gives_a_slow_machine_time():
    quick, real = pace_of(600.0), pace_of(1.0)
    assert (real.nav_ms, real.reconcile_ms, real.window_ms, real.tick_ms) == (60_000, 60_000, 2_000, 1_000)
    assert (quick.nav_ms, quick.reconcile_ms, quick.window_ms) == (600_000, 6_000_000, 1_200_000)
    assert quick.tick_ms == 150_000


def test_the_command_checks_a_file_and_writes_an_example(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["desk", "new", "desk.toml"]) == 0
    assert main(["desk", "new", "desk.toml"]) == 2
    Path("demo.toml").write_text('mode = "demo"\nspeed = 60\n')
    capsys.readouterr()
    assert main(["desk", "check", "demo.toml"]) == 0
    assert "BTC3L, BTC3S, ETH2L, TOP2L" in capsys.readouterr().out
    Path("demo.toml").write_text("sped = 60\n")
    assert main(["desk", "check", "demo.toml"]) == 3
    assert 'Did you mean "speed"' in " ".join(capsys.readouterr().err.split())
