"""A process that commits is killed: what it was told was kept is there, and nothing stands half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from gearing.core.journal import line_of, state_hash
from gearing.store.database import init_database
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.journals import NOW_MS

ROOT = Path(__file__).parents[1]

# It commits a token's journal in groups, each line with a row of the inbox, and says what it was told was kept.
CHILD = textwrap.dedent(
    """
    import sys
    import msgspec
    from gearing.store.records import Commit, PutIn
    from gearing.store.store import Store, digest_of
    from gearing.store.writer import Writer
    from tests.journals import happened, token_commits

    path, start = sys.argv[1], int(sys.argv[2])
    print("ready", flush=True)
    with Store(path, "demo") as store, Writer(store, group_max=8) as writer:
        for commit in token_commits(happened(days=60))[start:]:
            line = commit.lines[0]
            row = PutIn("ann", f"k{line.seq}", digest_of(b"x"), b"x", b"{}", 0)
            commit = msgspec.structs.replace(commit, put_in=(row,))
            writer.submit(commit, lambda error, seq=line.seq: error or print(seq, flush=True))
    """
)


def child(path: Path, start: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(start)], env=environment, stdout=subprocess.PIPE, text=True
    )


def killed_after(path: Path, start: int, lines: int) -> int:
    """Runs the child from a line on, kills it after it was told of so many, and returns the last it was told of."""
    process = child(path, start)
    assert process.stdout is not None
    told = start
    assert process.stdout.readline() == "ready\n"
    for _ in range(lines):
        told = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return max([told, *map(int, rest)])


def test_a_kill_amid_commits_loses_nothing_and_leaves_nothing_half(tmp_path):
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOW_MS)
    kept = 0
    for lines in (1, 9, 40):
        told = killed_after(path, kept, lines)
        with Store(path, "demo") as store:
            stood = list(store.lines("token:BTC3L"))
            kept = len(stood)
            assert kept >= told > 0
            assert [line.seq for line in stood] == list(range(1, kept + 1))
            # Each commit stands whole: its line, its state, its request.
            state = store.state("token:BTC3L")
            assert state is not None
            assert (state.seq, state.hash) == (kept, stood[-1].hash)
            assert state_hash(state.body) == line_of(stood[-1].body).state
            assert store.appender.connection.execute("SELECT count(*) FROM inbox").fetchone() == (kept,)
        assert not verify(path).breaches
    assert kept < 400  # it was killed amid its work


def test_the_child_ends_well_if_it_is_left_alone(tmp_path):
    """So that what the kill is tested on is a child that works."""
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOW_MS)
    process = child(path, 0)
    out, _ = process.communicate(timeout=60)
    count = len(out.split()) - 1
    assert process.returncode == 0
    assert count > 400
    with Store(path, "demo") as store:
        assert store.streams() == {"token:BTC3L": count}
