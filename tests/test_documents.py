"""README and documentation are true: their Python and their commands run here and print what stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.docs import examples
from tools.docs.examples import PAGES, README, ROOT

from gearing.core.spec_text import parse_token


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_print_what_stands_there(page: Path, tmp_path: Path) -> None:
    for example in examples.played(text_of(page), tmp_path):
        assert example.holds, f"{example.code}\nprinted:\n{example.printed}"


def test_the_examples_of_the_readme_print_what_stands_there(tmp_path: Path) -> None:
    played = []
    for example in examples.played(text_of(README), tmp_path, columns=100):
        assert example.holds, f"{example.code}\nprinted:\n{example.printed}"
        played.append(example)
    assert len(played) >= 8


def test_the_token_in_the_readme_is_valid() -> None:
    tokens = [parse_token(block.text) for block in examples.blocks(text_of(README)) if block.kind == "toml"]
    assert [token.symbol for token in tokens] == ["BTC3L"]


def test_the_first_screen_of_the_readme_is_short() -> None:
    assert text_of(README).index("## Installing") < 3_500


@pytest.mark.parametrize(
    "page",
    [
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\nprint(1)\n```\n",
        "```console\n$ gearing --version\n```\n",
        "```console\n$ gearing rules show nobody\nanother answer\n```\n",
        '=== "A"\n\n    ```python\n    print(1)\n    ```\n\n    ```text\n    2\n    ```\n',
    ],
)
def test_an_example_that_prints_something_else_is_found(page: str, tmp_path: Path) -> None:
    assert [example.holds for example in examples.played(page, tmp_path)] == [False]


@pytest.mark.parametrize(
    "page",
    [
        "```yaml\na: 1\n```\n",
        "```text\nnobody printed this\n```\n",
        '```toml\nsymbol = "A"\ntarget = 3\n```\n\n```python\nimport gearing as gr\n'
        'token = gr.Token(symbol="A", target=2.0)\n```\n',
    ],
)
def test_a_block_that_nothing_checks_is_found(page: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        list(examples.played(page, tmp_path))


def test_no_fence_escapes_the_reader() -> None:
    for page in (README, *PAGES):
        text = text_of(page)
        fences = re.findall(r"^ *```", text, flags=re.MULTILINE)
        assert len(fences) == 2 * len(examples.blocks(text)), page
