"""Locks of a database outlive whatever else its process looks at; without them another one could take the log away."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gearing.errors import InputError
from gearing.files import standing
from gearing.store.database import init_database
from gearing.store.store import Store
from tests.journals import NOW_MS, happened, token_commits

ROOT = Path(__file__).parents[1]

# It holds a connection, opens another, waits, and then commits what another process has committed meanwhile.
CHILD = textwrap.dedent(
    """
    import sys
    from gearing.store.errors import FencedError
    from gearing.store.store import Store
    from tests.journals import happened, token_commits

    commits = token_commits(happened())
    with Store(sys.argv[1], "demo") as store:
        store.commit(commits[:1])
        store.states()
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            store.commit(commits[1:2])
        except FencedError:
            print("fenced", flush=True)
    """
)


def test_a_desk_that_slept_while_another_took_over_is_fenced_off(tmp_path):
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOW_MS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], env=environment, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    with Store(path, "demo") as store:
        store.commit(token_commits(happened())[1:3])
    assert path.with_name("desk.db-wal").exists()  # who leaves last takes the log away, and the other has not left
    said, _ = child.communicate("go on\n", timeout=60)
    assert said == "fenced\n"
    with Store(path, "demo") as store:
        assert [line.seq for line in store.lines("token:BTC3L")] == [1, 2, 3]


def test_a_database_is_looked_for_without_being_opened(tmp_path, monkeypatch):
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOW_MS)
    opened = []
    monkeypatch.setattr(Path, "open", lambda self, *_: opened.append(self))
    with Store(path, "demo") as store:
        assert store.states() == []
    assert opened == []


@pytest.mark.parametrize(("make", "words"), [
    (lambda place: None, "there is no such file"), (lambda place: place.mkdir(), "a directory"),
    (lambda place: place.write_bytes(b""), "is empty"),
])  # fmt: skip
def test_what_is_no_file_is_said(tmp_path, make, words):
    make(tmp_path / "x")
    with pytest.raises(InputError, match=words):
        standing(tmp_path / "x")
