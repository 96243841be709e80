"""The kernel cache notices an edit in any compiled source, also in a file that the kernel only calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gearing
from gearing.jit import source_hash

PACKAGE = Path(gearing.__file__).parent

# A kernel in one file calling a formula in another, through the package's own decorator.
_PROBE = "import sys; sys.path.insert(0, sys.argv[1]); from gearing.kernels.probe import twice; print(twice(2.0))"


def _tiny_package(place: Path) -> Path:
    package = place / "gearing"
    for room in ("core", "kernels"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").write_text('"""Room."""\n')
    (package / "__init__.py").write_text('"""Package."""\n')
    shutil.copy(PACKAGE / "jit.py", package / "jit.py")
    head = "from gearing.jit import compiled\n"
    formula = head + '@compiled("float64(float64)")\ndef formula(x):\n    return x + 1.0\n'
    (package / "core" / "formula.py").write_text(formula)
    probe = '@compiled("float64(float64)")\ndef twice(x):\n    return 2.0 * formula(x)\n'
    (package / "kernels" / "probe.py").write_text(f"from gearing.core.formula import formula\n{head}{probe}")
    return package


def _answer(place: Path) -> float:
    environment = {**os.environ, "GEARING_CACHE": str(place / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(place)], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_an_edited_formula_changes_the_kernel(tmp_path):
    package = _tiny_package(tmp_path)
    assert _answer(tmp_path) == 6.0
    assert _answer(tmp_path) == 6.0
    source = package / "core" / "formula.py"
    stamp = source.stat()
    source.write_text(source.read_text().replace("x + 1.0", "x + 5.0"))
    os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # not even the file's time tells
    assert _answer(tmp_path) == 14.0


def test_the_hash_covers_every_compiled_source(tmp_path):
    copy = tmp_path / "gearing"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = source_hash(copy)
    assert before != source_hash(PACKAGE)  # Numba's cache goes by place
    for source in [copy / "jit.py", *sorted((copy / "core").rglob("*.py")), *sorted((copy / "kernels").rglob("*.py"))]:
        text = source.read_text()
        source.write_text(text + "\n# edited\n")
        assert source_hash(copy) != before, source
        source.write_text(text)
    (copy / "market" / "series.py").write_text("")
    assert source_hash(copy) == before
