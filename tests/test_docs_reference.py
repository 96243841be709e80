"""The reference leaves nothing out: every public name, field, command, option, file column and schema is there."""

from __future__ import annotations

import inspect
import re
from functools import cached_property
from types import ModuleType

import pytest
from tools.docs import docstrings
from tools.docs.built import built
from tools.docs.examples import PAGES, ROOT
from tools.docs.extension import mathml

import gearing as gr
from gearing.cli.main import main
from gearing.core.decide import REASONS
from gearing.core.rule import _AIMS, _SIDES

REFERENCE = {page.stem: page.read_text(encoding="utf-8") for page in PAGES if page.parent.name == "reference"}
API = "\n".join(text for name, text in REFERENCE.items() if name.startswith("api-"))
NAMES = [name for name in gr.__all__ if not name.startswith("__")]
CLASSES = [name for name in NAMES if inspect.isclass(getattr(gr, name))]


def section(name: str) -> str:
    """What stands under a public name, up to the next one."""
    return API.split(f"## `{name}` {{ #{name} }}")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_one_section(name):
    assert API.count(f"\n## `{name}` {{ #{name} }}") == 1
    assert inspect.getdoc(getattr(gr, name)).split("\n")[0].split("`")[0][:20] in section(name).replace("\\", "")


@pytest.mark.parametrize("name", CLASSES)
def test_every_member_of_a_public_class_is_there(name):
    kind, text = getattr(gr, name), section(name)
    for word in getattr(kind, "__struct_fields__", getattr(kind, "__dataclass_fields__", ())):
        assert f"- `{word}`: " in text, word
    for word in dir(kind):
        member = inspect.getattr_static(kind, word)
        if word.startswith("_") or not isinstance(member, (property, cached_property, type(section))):
            continue
        inner = getattr(member, "fget", getattr(member, "func", member))
        # What every record has in common is said once, at the head of the page.
        common = inner.__qualname__ == "Shown.plot" and "`.plot()` returns a Plotly figure" in API
        assert common or re.search(rf"### `{name}\.{word}(\(\))?` ", text), word


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isfunction(getattr(gr, name))])
def test_every_argument_of_a_public_function_is_explained(name):
    for argument in inspect.signature(getattr(gr, name)).parameters:
        assert re.search(rf"- `([\w, ]+, )?{argument}(, [\w, ]+)?`: ", section(name)), argument


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(getattr(gr, name), ModuleType)])
def test_every_name_of_a_public_module_is_there(name):
    for word in getattr(gr, name).__all__:
        assert f"`gr.{name}.{word}`" in section(name)


def commands(name: list[str], capsys) -> list[tuple[list[str], str]]:
    """Every command below one, with its help, as a person would find them."""
    assert main([*name, "--help"]) == 0
    text = capsys.readouterr().out
    found = [(name, text)]
    listed = re.search(r"^Commands:\n((?:  .*\n)+)", text, flags=re.MULTILINE)
    for word in re.findall(r"^  (\w[\w-]*)  ", listed[1] if listed else "", flags=re.MULTILINE):
        found += commands([*name, word], capsys)
    return found


def test_every_command_and_option_is_there(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    seen = 0
    for name, text in commands([], capsys):
        title = " ".join(["gearing", *name])
        part = REFERENCE["cli"].split(f"## `{title}` {{")[1].split("\n## ")[0]
        options = set(re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]*)", text, flags=re.MULTILINE)) - {"--help"}
        listed = re.search(r"^Arguments:\n((?:  .*\n)+)", text, flags=re.MULTILINE)
        arguments = set(re.findall(r"^  ([\w.]+)", listed[1] if listed else "", flags=re.MULTILINE))
        for word in options | arguments:
            assert re.search(rf"^- `{re.escape(word)}\b", part, flags=re.MULTILINE), f"{title} {word}"
        for variable in re.findall(r"env var: (GEARING_\w+)", text):
            assert variable in part
        seen += len(options)
    assert seen > 60


@pytest.mark.parametrize("kind", ["Rule", "Schedule", "Condition", "Pace"])
def test_every_field_of_the_rule_language_is_explained(kind):
    for field in getattr(gr, kind).__struct_fields__:
        assert f"`{field}`" in REFERENCE["rules"], field
    if kind == "Rule":
        for field in gr.Rule.__struct_fields__:
            assert re.search(rf"^\| \[`{field}`\]", REFERENCE["rules"], flags=re.MULTILINE), field
        for choice in (*_AIMS, *_SIDES):
            assert f'`"{choice}"`' in REFERENCE["rules"]


@pytest.mark.parametrize("kind", ["Token", "Fees", "Costs", "Limits", "Perpetual", "MarginTier"])
def test_every_field_of_a_token_file_is_explained(kind):
    for field in getattr(gr, kind).__struct_fields__:
        assert f"- `{field}`: " in REFERENCE["files"], field


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- /" in page.read_text(encoding="utf-8")], ids=lambda p: p.stem
)
def test_the_text_made_from_the_code_is_that_of_now(page):
    text = page.read_text(encoding="utf-8")
    assert built(text) == text, f"python -m tools.docs.refresh {page.relative_to(ROOT)}"


def test_every_column_that_is_written_is_named():
    prices, funding = gr.make_market(days=2, interval="1h")
    result = gr.backtest(gr.Token(symbol="A", target=2.0, rule="ftx"), prices, funding=funding)
    for option, frame in (("--nav", result.nav), ("--rebalances", result.rebalances)):
        row = next(line for line in REFERENCE["files"].split("\n") if line.startswith(f"| `backtest {option}`"))
        assert re.findall(r"`(\w+)`", row.split("|")[3]) == frame.columns


def test_every_reason_of_a_posting_is_named():
    for reason in REASONS:
        assert f"`{reason}`" in REFERENCE["files"], reason


def test_every_schema_of_a_json_answer_is_named():
    sources = (ROOT / "src" / "gearing" / "cli").rglob("*.py")
    found = {name for path in sources for name in re.findall(r'"(gearing\.[a-z.-]+/\d)"', path.read_text("utf-8"))}
    assert len(found) >= 9
    assert found == set(re.findall(r"`(gearing\.[a-z.-]+/\d)`", REFERENCE["files"]))


def test_every_preset_is_in_the_table_of_issuers():
    for name in gr.presets.names():
        assert re.search(rf"^\| `{name}` \|", REFERENCE["issuers"], flags=re.MULTILINE), name


def test_no_marker_is_left_without_its_text():
    for name, text in REFERENCE.items():
        opened = re.findall(r"<!-- (\w+)(?:: [\w.]+)? -->\n\n.", text)
        assert len(opened) == text.count("<!-- /") == text.count("<!--") // 2, name


def test_a_docstring_is_taken_apart():
    def sample() -> None:
        """Does a | thing.

        More about it.

        Args:
            first: what it is,
                at length: with a colon.
            second, third: two of them.

        Returns:
            A number,
            in lots.

        Raises:
            ValueError: it is none.

        Source: a paper.
        """

    doc = docstrings.parse(sample)
    assert doc.prose == ["Does a \\| thing.", "More about it."]
    assert doc.entries["Args"] == [
        ("first", "what it is, at length: with a colon."),
        ("second, third", "two of them."),
    ]
    assert doc.entries["Raises"] == [("ValueError", "it is none.")]
    assert doc.notes == {"Returns": "A number, in lots.", "Source": "a paper."}


def test_a_formula_becomes_mathml():
    assert mathml(r"\frac{\beta}{2}") == (
        '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><mfrac>'
        "<mrow><mi>&#x003B2;</mi></mrow><mrow><mn>2</mn></mrow></mfrac></mrow></math>"
    )


def test_the_glossary_is_in_order():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^(\S.*)\n:   ", text, flags=re.MULTILINE)
    assert len(terms) > 40
    assert terms == sorted(terms, key=str.lower)
