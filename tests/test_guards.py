"""The guards that the mutation check takes out: each stands once in its file, and its test exists."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from proof.guards import GUARDS

ROOT = Path(__file__).parents[1]


@cache
def defined_in(name):
    tree = ast.parse((ROOT / "tests" / f"{name}.py").read_text())
    return {
        f"{at.name}::{node.name}" if isinstance(at, ast.ClassDef) else node.name
        for at in ast.walk(tree)
        if isinstance(at, (ast.Module, ast.ClassDef))
        for node in at.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    } | {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
         if isinstance(target, ast.Name)}  # fmt: skip


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_once_and_its_test_exists(guard):
    assert (ROOT / "src/gearing" / guard.file).read_text().count(guard.old) == 1
    assert guard.new != guard.old
    name, _, test = guard.test.partition("::")
    known = defined_in(name)
    assert not test or test.partition("[")[0] in known
