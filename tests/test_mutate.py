"""The mutation check: what counts as the failure of a test that a guard names."""

from __future__ import annotations

import pytest
from proof.guards.guard import Guard
from proof.mutate import Copy, Run, judged, path_of

GUARD = Guard("G", "core/x.py", "a", "b", "test_x::test_it")
FAILED = "1 failed in 0.1s\n=== short test summary info ===\nFAILED tests/test_x.py::test_it"


@pytest.mark.parametrize("said", [
    FAILED, f"{FAILED} - assert 1 == 2", f"{FAILED}[1.0-a b - c] - gearing.core.book.BookError: order x",
    f"{FAILED}::test_in_a_class", f"{FAILED} - AssertionError: NameError",
])  # fmt: skip
def test_a_named_test_that_fails_notices(said):
    assert judged(GUARD, Run(1, said)).words == ""


@pytest.mark.parametrize(("run", "words"), [
    (Run(0, "1 passed"), "passes without it"),
    (Run(1, "ERROR tests/test_x.py::test_it - AssertionError"), "did not fail"),
    (Run(1, "FAILED tests/test_x.py::test_it_all - assert 0"), "did not fail"),
    (Run(1, "FAILED tests/test_y.py::test_it - assert 0"), "did not fail"),
    (Run(2, f"{FAILED}\nInterrupted"), "did not fail"),
    (Run(2, "ERROR tests/test_x.py - SyntaxError"), "did not fail"),
    (Run(3, "INTERNALERROR"), "did not fail"),
    (Run(4, "ERROR: not found: tests/test_x.py::test_it"), "did not fail"),
    (Run(1, f"{FAILED} - NameError: name 'it' is not defined"), "is no program"),
])  # fmt: skip
def test_nothing_else_does(run, words):
    verdict = judged(GUARD, run)
    assert words in verdict.words
    assert not verdict.is_timeout


def test_a_test_that_does_not_end_is_told_apart(tmp_path):
    verdict = judged(GUARD, Run(None, ""))
    assert "did not end" in verdict.words
    assert verdict.is_timeout
    assert Copy(tmp_path).run(["test_mutate"], patience_s=0.01) == Run(None, "")


@pytest.mark.parametrize(("test", "path"), [
    ("test_x", "tests/test_x.py"), ("test_x::test_it", "tests/test_x.py::test_it"),
    ("test_x::TestIt::test_it", "tests/test_x.py::TestIt::test_it"),
])  # fmt: skip
def test_a_test_is_found_where_pytest_has_it(test, path):
    assert path_of(test) == path
    guard = GUARD._replace(test=test)
    assert (
        judged(guard, Run(1, f"FAILED {path if '::' in path else path + '::test_any[1 - a]'} - assert 0")).words == ""
    )
