"""One desk on one database, under whatever name; and the paper exchange that it trades at, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

from gearing.desk import lock
from gearing.desk.lock import DeskLock, is_running
from gearing.errors import InputError
from gearing.files import followed
from gearing.store.database import connect, init_database
from gearing.store.errors import DatabaseError, FencedError
from gearing.store.store import Store
from gearing.venues.paper.file import PaperFile, remove_paper_file
from tests.journals import NOW_MS, happened, token_commits

HOLDS = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from gearing.desk.lock import DeskLock

    with DeskLock(Path(sys.argv[1])).tell(Path(sys.argv[1])):
        print("holds", flush=True)
        sys.stdin.readline()
    """
)


@pytest.fixture
def database(tmp_path):
    init_database(tmp_path / "desk.db", "demo", NOW_MS)
    return tmp_path / "desk.db"


@pytest.fixture
def other(database):
    """A process that runs a desk on it."""
    child = subprocess.Popen([sys.executable, "-c", HOLDS, str(database)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "holds\n"
    yield child
    child.kill()
    child.communicate()


def symbolic(database):
    name = database.parent / "elsewhere" / "other.db"
    name.parent.mkdir()
    name.symlink_to(database)
    return name


def folder(database):
    name = database.parent.parent / f"{database.parent.name}-link"
    name.symlink_to(database.parent, target_is_directory=True)
    return name / database.name


def hard(database):
    name = database.parent / "elsewhere" / "other.db"
    name.parent.mkdir()
    os.link(database, name)
    return name


def itself(database):
    return database.parent / "." / ".." / database.parent.name / database.name


@pytest.mark.parametrize("link", [symbolic, folder, hard, itself])
def test_no_second_desk_begins_under_another_name(database, other, link):
    name = link(database)
    assert is_running(name)
    with pytest.raises(InputError, match="another desk runs on this database"):
        DeskLock(name, wait_s=0.1)
    other.communicate("end\n")
    assert not is_running(name)


@pytest.mark.parametrize("link", [symbolic, folder, itself])
def test_a_desk_that_runs_under_another_name_is_seen_under_each(database, link):
    name = link(database)
    with DeskLock(name):
        assert is_running(name)
        assert is_running(database)
    assert not is_running(database)


@pytest.mark.parametrize("link", [symbolic, folder, itself])
def test_no_second_desk_begins_behind_a_link_where_files_have_no_such_locks(database, other, link, monkeypatch):
    monkeypatch.setattr(lock, "_OFD_SETLK", None)
    monkeypatch.setattr(lock, "_OFD_GETLK", None)
    name = link(database)
    assert is_running(name)
    with pytest.raises(InputError, match="another desk runs on this database"):
        DeskLock(name, wait_s=0.1)


def test_a_kill_gives_the_lock_back(database, other):
    other.kill()
    other.wait()
    with DeskLock(symbolic(database), wait_s=5.0):
        pass


def test_a_database_that_is_made_while_its_name_is_locked_is_locked_then(tmp_path):
    path = tmp_path / "new.db"
    with DeskLock(path) as held:
        init_database(path, "demo", NOW_MS)
        held.hold()
        with pytest.raises(InputError, match="another desk runs"):
            DeskLock(hard(path), wait_s=0.1)


def test_looking_whether_a_desk_runs_leaves_sqlites_own_locks(database):
    """Else whoever closes the database last, as it thinks, takes the log away from a process that reads."""
    looks = textwrap.dedent(
        """
        import sqlite3, sys
        with sqlite3.connect(sys.argv[1]) as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.close()
        """
    )
    with Store(database) as store:
        store.states()
        assert not is_running(database)
        with DeskLock(database):
            pass
        store.commit(token_commits(happened())[:1])
        subprocess.run([sys.executable, "-c", looks, str(database)], check=True, timeout=60)
        assert database.with_name("desk.db-wal").exists()


def test_a_database_of_several_names_is_used_under_none(database):
    """What SQLite keeps beside one of them is missing beside the others; a desk that runs is not disturbed."""
    with Store(database) as store:
        store.commit(token_commits(happened())[:1])
        name = hard(database)
        store.commit(token_commits(happened())[1:2])
        Store(database).close()
        with pytest.raises(DatabaseError, match=r"has 2 names \(hard links\)"):
            Store(name)
    for path in (database, name):
        with pytest.raises(DatabaseError, match=r"has 2 names \(hard links\)"):
            DeskLock(path)
        with pytest.raises(DatabaseError, match=r"has 2 names \(hard links\)"):
            Store(path)
    name.unlink()
    Store(database).close()
    with DeskLock(database):
        os.link(database, name)
        Store(database).close()  # nothing beside it shows that it is in use
        with pytest.raises(DatabaseError, match=r"has 2 names \(hard links\)"):
            Store(name)


def test_the_file_behind_links_is_followed_and_a_plain_path_stays(database, monkeypatch):
    monkeypatch.chdir(database.parent)
    assert str(followed(database.relative_to(database.parent))) == "desk.db"
    assert followed(symbolic(database)) == database.resolve()


def test_a_desk_whose_database_another_one_took_over_commits_nothing(database):
    """Not even on streams that the other has not written to yet."""
    commits = token_commits(happened())
    with Store(database) as first, Store(database) as second:
        first.take_over()
        first.commit(commits[:1])
        second.take_over()
        with pytest.raises(FencedError, match="another desk has begun"):
            first.commit(commits[1:2])
        second.commit(commits[1:2])
    with closing(connect(database)) as raw:
        assert raw.execute("SELECT generation FROM meta").fetchone() == (2,)


# The exchange of a desk.


def test_a_desk_trades_at_its_own_exchange_alone(tmp_path):
    path = tmp_path / "paper.db"
    PaperFile(path, owner="a" * 32).close()
    PaperFile(path, owner="a" * 32, begun=True).close()
    PaperFile(path).close()
    with pytest.raises(InputError, match="serves another desk"):
        PaperFile(path, owner="b" * 32)
    PaperFile(path, owner="a" * 32, begun=True).close()


def test_a_desk_that_has_traded_begins_at_no_exchange_that_is_missing_or_empty(tmp_path):
    path = tmp_path / "paper.db"
    with pytest.raises(InputError, match="is missing"):
        PaperFile(path, owner="a" * 32, begun=True)
    assert not path.exists()
    PaperFile(path).close()
    with pytest.raises(InputError, match="knows no desk"):
        PaperFile(path, owner="a" * 32, begun=True)
    remove_paper_file(path)
    PaperFile(path, owner="a" * 32).close()
