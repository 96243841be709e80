"""The layers hold, and the checker would notice if they did not: a forbidden import is planted and caught."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gearing

ROOT = Path(gearing.__file__).parents[2]


def lint(place: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(place / "src")}
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_the_layers_hold(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("core/formulas.py", "from gearing.study import summary"),
        ("core/rule.py", "def late():\n    import gearing.market.series"),
        ("core/horizon.py", "import random"),
        ("kernels/run.py", "import time"),
        ("kernels/one.py", "import polars"),
        ("market/series.py", "import gearing.cli.main"),
        ("study/summary.py", "from gearing.cli import output"),
        ("store/store.py", "import gearing.drive.effects"),
        ("store/records.py", "import gearing.venues.protocol"),
        ("venues/quote.py", "import gearing.store.records"),
    ],
)
def test_a_planted_import_is_caught(copy, place, line):
    source = copy / "src" / "gearing" / place
    source.write_text(source.read_text() + f"\n{line}\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout
    assert place.removesuffix(".py").replace("/", ".") in done.stdout
