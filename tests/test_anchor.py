"""The anchor: lines are numbered and chained over all streams; heads are signed, kept, and checked at every start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import msgspec
import pytest

from gearing.cli.main import main
from gearing.core.anchor import START, chain_of, leaf_of
from gearing.core.journal import GENESIS
from gearing.errors import InputError
from gearing.store import keys
from gearing.store.anchor import Anchor, check_heads_file, heads_path, key_path, open_anchor
from gearing.store.backup import Restorer, backup_database, restore_database
from gearing.store.database import connect, init_database, read_meta, upgrade_database
from gearing.store.errors import DatabaseError, StoreError
from gearing.store.heads import HeadRecord, HeadsFile, RestoreRecord, signed, signed_line
from gearing.store.keys import make_key, public_key, read_key, signing_key
from gearing.store.recompute import recompute
from gearing.store.records import Commit, OutboxChange
from gearing.store.store import Store
from gearing.store.verify import verify
from tests.anchors import anchor_of, anchored, commit, further
from tests.journals import NOW_MS, book_commits, happened, lines_of, new_database, number_again, token_commits
from tests.older import older_database
from tests.test_store_verify import change, found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return anchored(tmp_path / "desk.db")


def records(path: Path) -> list[dict]:
    return [json.loads(line)["record"] for line in heads_path(path).read_bytes().splitlines()]


# Numbers and chain.


def test_leaf_and_chain_are_what_the_page_says():
    leaf = hashlib.sha256(b"token:A\n7\n" + b"ab" * 32).hexdigest()
    assert leaf_of("token:A", 7, "ab" * 32) == leaf
    assert chain_of(GENESIS, leaf) == hashlib.sha256(b"0" * 64 + leaf.encode()).hexdigest()
    assert START.after(leaf) == (1, chain_of(GENESIS, leaf))
    # A stream whose name holds what separates the parts has another leaf than any other line.
    assert len({leaf_of("a\n1", 1, "0" * 64), leaf_of("a", 11, "0" * 64), leaf_of("a", 1, "0" * 64)}) == 3


def test_lines_are_numbered_over_all_streams_in_the_order_of_their_commit(tmp_path):
    new_database(tmp_path / "desk.db")
    token, book = token_commits(happened()), book_commits()
    with Store(tmp_path / "desk.db", "demo") as store, Store(tmp_path / "desk.db", "demo") as other:
        store.commit([token[0], book[0], token[1]])
        other.commit([book[1]])  # another runner appends to a stream of its own
        store.commit([token[2]])
        rows = store.lines_since(0, 100)
        assert [row.n for row in rows] == [1, 2, 3, 4, 5]
        kinds = [(row.stream.partition(":")[0], row.seq) for row in rows]
        assert kinds == [("token", 1), ("book", 1), ("token", 2), ("book", 2), ("token", 3)]
        assert store.lines_since(3, 1) == rows[3:4]
        assert store.lines_since(5, 9) == []
        point = START
        for row in rows:
            point = point.after(leaf_of(row.stream, row.seq, row.hash))
            assert row.chain == point.chain == store.chain_at(row.n)
            assert row.line.body == row.body
        assert store.end() == point
        assert (store.chain_at(0), store.chain_at(6)) == (GENESIS, None)
        with pytest.raises(StoreError):  # a group that fails leaves no gap
            store.commit([Commit(lines=token[3].lines, states=token[3].states,
                                 changes=(OutboxChange("nobody", "ready", "sending", 1, 2),))])  # fmt: skip
        store.commit([token[3]])
        assert store.end().n == 6


def test_an_older_database_is_numbered_by_time_stream_and_seq(tmp_path):
    token, book = token_commits(happened())[:40], book_commits()
    # The clock went back once: the lines of a stream stay in order all the same.
    late = token[9].lines[0]
    token[9] = msgspec.structs.replace(token[9], lines=(late._replace(time_ms=token[2].lines[0].time_ms),))
    for schema in (1, 3):
        path = older_database(tmp_path / f"{schema}.db", schema, [*token, *book])
        upgrade_database(path)
        with Store(path) as store:
            rows = store.lines_since(0, 1_000)
        assert [row.n for row in rows] == list(range(1, 54))
        for stream in ("token:BTC3L", "book:main"):
            seqs = [row.seq for row in rows if row.stream == stream]
            assert seqs == sorted(seqs)
        others = [(row.time_ms, row.stream, row.seq) for row in rows if row.line != token[9].lines[0]]
        assert others == sorted(others)
        assert len(read_meta(path).database) == 32
        anchors = {breach.what for breach in verify(path, again=False).breaches}
        assert not anchors & {"anchor", "head", "schema"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("UPDATE journal SET n = 1000 WHERE n = 20", "anchor"),
        ("UPDATE journal SET n = -20 WHERE n = 20", "anchor"),
        ("UPDATE journal SET chain = hash WHERE n = 20", "anchor"),
        ("UPDATE journal SET n = CASE n WHEN 20 THEN 1020 ELSE 1021 END WHERE n IN (20, 21)", "anchor"),
        ("UPDATE heads SET signature = replace(signature, substr(signature, 1, 2), '00')", "head"),
        ("UPDATE heads SET time_ms = time_ms + 1", "head"),
        ("UPDATE heads SET n = n + 1", "head"),
        ("UPDATE heads SET body = x'7b' WHERE n = (SELECT max(n) FROM heads)", "head"),
        ("UPDATE heads SET body = x'7b22ff223a317d' WHERE n = (SELECT max(n) FROM heads)", "head"),
        ("UPDATE meta SET database = 'another'", "head"),
    ],
)
def test_a_changed_anchor_is_found(path, text, what):
    assert verify(path).breaches == ()
    change(path, text)
    assert what in {one[2] for one in found(path)}


def test_a_gap_in_the_numbers_is_found(path):
    """Though the chain goes on over it."""
    change(path, "UPDATE journal SET n = -n WHERE n >= 20")
    change(path, "UPDATE journal SET n = 1 - n WHERE n < 0")
    change(path, "DELETE FROM heads")
    (breach,) = verify(path).breaches
    assert (breach.what, breach.found, breach.expected) == ("anchor", "line n 21 after n 19", "n 20")


def test_heads_that_another_history_does_not_fit_are_found(path):
    change(path, "UPDATE journal SET hash = replace(hash, 'a', 'b') WHERE n = 40")
    number_again(path)
    (head,) = [breach for breach in verify(path, heads=heads_path(path)).breaches if breach.what == "head"]
    # Those of the lines from 40 on, and none of before.
    assert head.found.endswith(" at n 43 (4 of 6 heads)")
    assert head.expected.endswith(", as the table heads says")


def test_lines_that_changed_places_are_found(path):
    """Number and chain are made to fit by the forger, so that the order within the stream alone tells."""
    change(path, "UPDATE journal SET n = CASE n WHEN 20 THEN 1020 ELSE 1021 END WHERE n IN (20, 21)")
    change(path, "UPDATE journal SET n = CASE n WHEN 1020 THEN 21 ELSE 20 END WHERE n IN (1020, 1021)")
    change(path, "DELETE FROM heads")
    number_again(path)
    assert {one[2] for one in found(path)} == {"anchor"}


def test_a_token_that_was_removed_from_all_tables_is_found(path):
    for table, column in (("journal", "stream"), ("states", "stream")):
        change(path, f"DELETE FROM {table} WHERE {column} = 'token:BTC3L'")
    change(path, "DELETE FROM navs")
    change(path, "DELETE FROM rebalances")
    # Its lines were the last, so that no number is missing; the heads of the table say that there were more.
    assert {"head", "streams"} == {one[2] for one in found(path)}
    change(path, "DELETE FROM heads")
    # A forger who numbers what is left leaves a book whose token has no stream; only kept heads tell the rest.
    assert found(path) == [("book:main", 0, "streams")]
    assert "head" in {one[2] for one in found(path, heads=heads_path(path))}


# Signed heads.


def test_each_group_that_publishes_a_minute_nav_has_one_signed_head(path):
    written = [signed_line(line) for line in heads_path(path).read_bytes().splitlines()]
    assert all(one.is_signed for one in written)
    meta = read_meta(path)
    with Store(path) as store:
        kept = list(store.heads_since(0))
        assert [one.row for one in written] == kept
        assert store.head() == kept[-1]
        for one in written:
            assert store.chain_at(one.record.n) == one.record.chain
    assert [one.record.n for one in written] == [13 + 10 * k for k in range(1, 7)]  # not with the book's lines
    assert {(one.record.database, one.record.incarnation) for one in written} == {(meta.database, meta.incarnation)}
    token, (last,) = token_commits(happened()), written[-1:]
    assert last.record.time_ms == max(nav.time_ms for commit in token[50:60] for nav in commit.navs)
    others = [
        msgspec.structs.replace(one, navs=tuple(nav._replace(kind="dealing") for nav in one.navs))
        for one in token[60:70]
    ]
    assert any(one.navs for one in others)
    commit(path, others)
    assert len(records(path)) == 6


def test_nothing_is_signed_where_the_commit_fails(path):
    token = token_commits(happened())
    with pytest.raises(StoreError):
        commit(path, [*token[60:70], Commit(lines=token[75].lines, states=token[75].states)])
    assert len(records(path)) == 6
    assert verify(path, heads=heads_path(path)).breaches == ()


def test_a_heads_file_that_cannot_be_written_stops_nothing_and_is_made_good(path):
    file, told = heads_path(path), []
    with Store(path, "demo", anchor := anchor_of(path)) as store:
        anchor.on_failure = told.append
        file.rename(file.with_suffix(".away"))
        file.mkdir()
        for k in (60, 70):
            store.commit(token_commits(happened())[k : k + 10])
        assert len(told) == 1  # once, until it can be written again
        assert "signed heads cannot be appended" in told[0]
        file.rmdir()
        file.with_suffix(".away").rename(file)
        store.commit(token_commits(happened())[80:90])
    assert [one["n"] for one in records(path)] == [23 + 10 * k for k in range(9)]
    assert verify(path, heads=file).breaches == ()


def test_however_many_heads_could_not_be_appended_none_is_missing_and_none_comes_twice(path, monkeypatch):
    """The disk took the first of them, and could not say so; the others come from the database, a few at a time."""
    monkeypatch.setattr("gearing.store.anchor._AT_ONCE", 2)

    def fails(*_):
        raise OSError("the disk does not answer")

    with Store(path, "demo", anchor_of(path)) as store:
        with monkeypatch.context() as broken:
            broken.setattr("gearing.store.heads.os.fsync", fails)
            store.commit(token_commits(happened())[60:70])
        with monkeypatch.context() as broken:
            broken.setattr("gearing.store.heads.os.open", fails)
            for k in (70, 80, 90):
                store.commit(token_commits(happened())[k : k + 10])
        store.commit(token_commits(happened())[100:110])
    assert [one["n"] for one in records(path)] == [23 + 10 * k for k in range(11)]
    assert verify(path, heads=heads_path(path)).breaches == ()


def test_a_write_that_was_cut_off_is_no_record_and_is_cut_away(path):
    file = HeadsFile(heads_path(path))
    last = file.last()
    with file.path.open("ab") as raw:
        raw.write(b'{"record":{"format":"gearing.he')
    assert file.last() == last
    assert len(list(file.records())) == 6
    further(path)
    assert len(records(path)) == 7


# Keys.


def test_a_private_key_is_its_owners_alone(tmp_path, monkeypatch):
    place = tmp_path / "a.key"
    made = make_key(place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert read_key(place).public == made.public
    for mode in (0o640, 0o604, 0o620):
        place.chmod(mode)
        with pytest.raises(InputError, match=r"others than its owner may use.*chmod 600"):
            read_key(place)
    place.chmod(0o600)
    with pytest.raises(InputError):
        make_key(place)  # none is overwritten
    assert signing_key(None, place).public == made.public
    monkeypatch.setenv(keys.KEY_VARIABLE, "11" * 32)
    given = signing_key(None, place).public
    assert given not in (made.public, "11" * 32)
    assert signing_key(place, tmp_path / "none").public == made.public
    monkeypatch.setenv(keys.KEY_VARIABLE, place.read_text())
    assert signing_key(None, tmp_path / "none").public == made.public
    monkeypatch.setenv(keys.KEY_VARIABLE, "a secret")
    with pytest.raises(InputError, match="not an Ed25519 private key"):
        signing_key(None, place)
    monkeypatch.delenv(keys.KEY_VARIABLE)
    with pytest.raises(InputError, match="no such file"):
        signing_key(tmp_path / "none", place)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.key"]


def test_a_public_key_is_given_as_digits_or_as_a_file(tmp_path):
    made = make_key(tmp_path / "a.key")
    (tmp_path / "hex").write_text(made.public.upper() + "\n")
    os.system(f"openssl pkey -in {tmp_path}/a.key -pubout -out {tmp_path}/a.pem 2>/dev/null")
    given = [made.public, str(tmp_path / "hex")] + [str(tmp_path / "a.pem")] * (tmp_path / "a.pem").exists()
    assert {public_key(one) for one in given} == {made.public}
    with pytest.raises(InputError, match="does not hold an Ed25519 public key"):
        public_key(str(tmp_path / "a.key"))


# The start of a desk.


def start(path: Path) -> Anchor:
    return open_anchor(path)


def test_a_new_desk_makes_its_key_and_its_heads_file(tmp_path):
    start(tmp_path / "new.db")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.db.heads", "new.db.key"]


def test_a_rolled_back_database_is_refused(path, tmp_path):
    shutil.copy(path, tmp_path / "old.db")
    further(path)
    start(path)
    shutil.copy(tmp_path / "old.db", path)
    with pytest.raises(
        DatabaseError, match=r"of line 93, but the journal ends at line 73: it is an old copy"
    ) as caught:
        start(path)
    assert "gearing db restore" in caught.value.fix
    assert verify(path).breaches == ()  # by itself it is whole
    breaches = verify(path, heads=heads_path(path)).breaches
    assert {breach.what for breach in breaches} == {"head"}
    assert [breach.found for breach in breaches] == [
        "no line n 93 (1 of 7 heads)",
        "no row n 93 in the table heads (1 of 7 heads)",
    ]


def test_a_rewritten_database_is_refused(path):
    change(path, "DELETE FROM heads")
    change(path, "UPDATE journal SET hash = replace(hash, 'a', 'b') WHERE n = 20")
    number_again(path)
    with pytest.raises(DatabaseError, match="has another history up to line 73"):
        start(path)


def test_a_kill_between_commit_and_append_is_made_good(path):
    """The file may lag behind the database, by one head or by all of them, and never the other way round."""
    whole = heads_path(path).read_bytes()
    lines = whole.splitlines(keepends=True)
    for kept in (b"".join(lines[:-1]), b"".join(lines[:2]) + lines[2][:50], b""):
        heads_path(path).write_bytes(kept)
        start(path)
        assert heads_path(path).read_bytes() == whole


def test_a_missing_heads_file_is_refused_and_can_be_written_anew(path, capsys):
    heads_path(path).unlink()
    with pytest.raises(InputError, match=r"the heads file is missing.*gearing journal head .* --out"):
        start(path)
    assert main(["journal", "head", str(path), "--out", str(heads_path(path))]) == 0
    start(path)
    assert verify(path, heads=heads_path(path)).breaches == ()


def test_a_database_that_is_gone_is_not_begun_anew_over_its_heads(path):
    path.unlink()
    with pytest.raises(InputError, match="signed heads of one up to line 73"):
        start(path)


def test_heads_of_another_database_are_refused(path, tmp_path):
    other = anchored(tmp_path / "other.db")
    shutil.copy(heads_path(other), heads_path(path))
    with pytest.raises(InputError, match="Name this database's own heads file"):
        start(path)
    (breach,) = verify(path, heads=heads_path(path)).breaches
    named = f"{heads_path(path).name} belongs to another database, {read_meta(other).database} (6 of 12 heads)"
    assert (breach.what, breach.found, breach.expected) == ("head", named, f"this one, {read_meta(path).database}")


def test_another_incarnation_is_refused(path):
    change(path, "UPDATE meta SET incarnation = 'zzzzzz'")
    with pytest.raises(DatabaseError, match="it is incarnation zzzzzz, the newest one with signed heads is abc123"):
        start(path)


def test_records_of_another_key_do_not_lower_what_must_be_there(path, tmp_path):
    """Somebody who can write into the heads file, but has no key of the desk's, lets nothing old pass."""
    shutil.copy(path, tmp_path / "old.db")
    with Store(path) as store:
        meta, point = store.meta, store.end()
    further(path)
    shutil.copy(tmp_path / "old.db", path)
    stranger = make_key(tmp_path / "stranger.key")
    shared = {"database": meta.database, "incarnation": meta.incarnation, "n": point.n, "chain": point.chain,
              "time_ms": 1, "key": stranger.public}  # fmt: skip
    last = HeadsFile(heads_path(path)).last()
    left = {"left_n": last.record.n, "left_chain": last.record.chain}
    fresh = {**shared, "incarnation": "zzzzzz"}
    for record in (HeadRecord(**shared), RestoreRecord(**fresh, **left, by="x", reason="x")):
        HeadsFile(heads_path(path)).append([signed(record, stranger)])
        with pytest.raises(DatabaseError, match="line 93, but the journal ends at line 73"):
            start(path)
    own = read_key(key_path(path)).public
    trusted = verify(path, heads=heads_path(path), trusted=[own])
    named = f"a signature of key {stranger.public}, which is not trusted (2 of 9 heads)"
    assert (named, f"one of {own} (--trust)") in {(breach.found, breach.expected) for breach in trusted.breaches}
    forged = HeadRecord(**{**shared, "key": own, "n": 173})
    HeadsFile(heads_path(path)).append([signed(forged, stranger)])
    with pytest.raises(InputError, match="the signature of its record of line 173 is not valid"):
        start(path)


def test_an_old_head_that_is_appended_again_does_not_lower_what_must_be_there(path, tmp_path):
    """It is genuine, and in the old copy."""
    shutil.copy(path, tmp_path / "old.db")
    old = HeadsFile(heads_path(path)).last()
    further(path)
    HeadsFile(heads_path(path)).append([old])
    shutil.copy(path, tmp_path / "new.db")
    shutil.copy(tmp_path / "old.db", path)
    with pytest.raises(DatabaseError, match="line 93, but the journal ends at line 73"):
        start(path)
    shutil.copy(tmp_path / "new.db", path)
    start(path)


@pytest.mark.parametrize("length", [1, 65_535, 65_536, 65_537, 300_000])
def test_whatever_is_appended_without_an_end_is_no_record_and_switches_nothing_off(path, tmp_path, length):
    shutil.copy(path, tmp_path / "old.db")
    further(path)
    shutil.copy(path, tmp_path / "new.db")
    whole = heads_path(path).read_bytes()
    with heads_path(path).open("ab") as file:
        file.write(b"\0" * length)
    assert HeadsFile(heads_path(path)).last().record.n == 93
    shutil.copy(tmp_path / "old.db", path)
    with pytest.raises(DatabaseError, match="line 93, but the journal ends at line 73"):
        start(path)
    path.unlink()
    with pytest.raises(InputError, match="signed heads of one up to line 93"):
        start(path)
    shutil.copy(tmp_path / "new.db", path)
    start(path)
    assert heads_path(path).read_bytes() == whole


@pytest.mark.parametrize("n", [2**63, 2**64, -1, 10**30])
def test_a_record_of_a_line_that_no_journal_has_is_refused_in_words(path, tmp_path, n):
    with Store(path) as store:
        meta, point = store.meta, store.end()
    stranger = make_key(tmp_path / "stranger.key")
    forged = HeadRecord(database=meta.database, incarnation=meta.incarnation, n=n, chain=point.chain, time_ms=1,
                        key=stranger.public)  # fmt: skip
    HeadsFile(heads_path(path)).append([signed(forged, stranger)])
    if n < 0:
        start(path)
        return
    with pytest.raises(DatabaseError, match=f"line {n}, but the journal ends at line 73"):
        start(path)


def test_heads_in_the_database_that_cannot_be_read_are_told_at_a_start_and_where_they_are_printed(path, capsys):
    further(path)
    lines = heads_path(path).read_bytes().splitlines(keepends=True)
    heads_path(path).write_bytes(b"".join(lines[:-1]))
    change(path, "UPDATE heads SET body = 'x' WHERE n = (SELECT max(n) FROM heads)")
    with pytest.raises(DatabaseError, match="a row of its table heads cannot be read"):
        start(path)
    assert main(["journal", "head", str(path)]) == 2
    assert main(["journal", "head", str(path), "--out", str(path.with_name("new.heads"))]) == 2
    assert "a row of its table heads cannot be read" in capsys.readouterr().err
    assert not path.with_name("new.heads").exists()


def test_what_a_desk_wrote_while_it_was_verified_is_told(path):
    written = []
    verdict = verify(path, progress=lambda done, total: written or written.append(further(path)))
    assert (verdict.breaches, verdict.came) == ((), 20)
    assert verify(path).came == 0


# Restoring.


def restored(path: Path, tmp_path: Path) -> Path:
    """A database that lived on after its backup, was lost, and is restored from it."""
    backup_database(path, tmp_path / "backup.db")
    further(path)
    path.unlink()
    restorer = Restorer("ann", "the disk failed", lambda _: anchor_of(path).key, HeadsFile(heads_path(path)))
    restore_database(tmp_path / "backup.db", path, NOW_MS + 1, restorer=restorer)
    return path


def test_only_a_signed_restore_lets_an_older_state_go_on(path, tmp_path):
    database = read_meta(path).database
    restored(path, tmp_path)
    (record,) = [one for one in records(path) if one["format"] == "gearing.restore/1"]
    assert (record["n"], record["left_n"], record["by"], record["reason"]) == (73, 93, "ann", "the disk failed")
    assert read_meta(path).database == record["database"] == database
    assert read_meta(path).incarnation == record["incarnation"]
    start(path)
    further(path, 60, 90)  # numbers go on from the backup's
    with Store(path) as store:
        assert store.end().n == 103
        check_heads_file(store, HeadsFile(heads_path(path)), read_key(key_path(path)).public)
    verdict = verify(path, heads=heads_path(path), trusted=[read_key(key_path(path)).public])
    assert verdict.breaches == ()
    assert verdict.anchor.keys == (read_key(key_path(path)).public,)
    assert [(one.left_n, one.n) for one in verdict.anchor.restores] == [(93, 73)]
    # The backup itself is as old as any other copy.
    (breach,) = verify(tmp_path / "backup.db", heads=heads_path(path)).breaches
    assert "records a restore by ann (the disk failed): the history of this database" in breach.found
    assert "was left at n 93" in breach.found
    assert "which resumed at n 73" in breach.expected
    shutil.copy(tmp_path / "backup.db", path)
    with pytest.raises(DatabaseError, match="the journal ends at line 73"):
        start(path)


def test_a_restore_that_is_appended_again_lets_no_copy_of_then_or_before_go_on(path, tmp_path):
    shutil.copy(path, tmp_path / "before.db")
    restored(path, tmp_path)
    shutil.copy(path, tmp_path / "then.db")
    again = HeadsFile(heads_path(path)).last()
    further(path, 60, 90)
    HeadsFile(heads_path(path)).append([again])
    for name, words in (
        ("then", "line 103, but the journal ends at line 73"),
        ("before", "the journal ends at line 73"),
    ):
        shutil.copy(tmp_path / f"{name}.db", path)
        with pytest.raises(DatabaseError, match=words):
            start(path)


def test_a_restore_that_is_appended_again_hides_no_head_from_a_verification(path, tmp_path):
    """With the record before it, which it names: what was signed since the restore counts all the same."""
    restored(path, tmp_path)
    further(path, 60, 70)
    backup_database(path, tmp_path / "second.db")
    path.unlink()
    restorer = Restorer("ann", "again", lambda _: anchor_of(path).key, HeadsFile(heads_path(path)))
    restore_database(tmp_path / "second.db", path, NOW_MS + 2, restorer=restorer)
    shutil.copy(path, tmp_path / "then.db")
    further(path, 70, 90)
    own = [read_key(key_path(path)).public]
    assert verify(path, heads=heads_path(path), trusted=own).breaches == ()
    lines = heads_path(path).read_bytes().splitlines(keepends=True)
    place, _ = [k for k, line in enumerate(lines) if b"gearing.restore/1" in line]
    heads_path(path).write_bytes(b"".join([*lines, *lines[place - 1 : place + 1]]))
    again = {breach.expected for breach in verify(path, heads=heads_path(path), trusted=own).breaches}
    assert again == {"each restore once"}
    shutil.copy(tmp_path / "then.db", path)
    found = {breach.found for breach in verify(path, heads=heads_path(path), trusted=own).breaches}
    assert any("no line n 103" in words for words in found)
    with pytest.raises(DatabaseError, match="line 103, but the journal ends at line 83"):
        start(path)


def restore_from(backup: Path, path: Path, key=None, heads: Path | None = None, is_new_key: bool = False) -> None:
    signs, file = key or anchor_of(path).key, HeadsFile(heads or heads_path(path))
    restore_database(backup, path, NOW_MS + 1, restorer=Restorer("ann", "why", lambda _: signs, file, is_new_key))


def test_heads_that_could_not_be_appended_are_appended_whatever_comes_last_meanwhile(path, tmp_path):
    """An old head that a restore gave up, of a later line, hides none of those that the file lacks."""
    backup_database(path, tmp_path / "backup.db")
    further(path)
    left = HeadsFile(heads_path(path)).last()
    path.unlink()
    restore_from(tmp_path / "backup.db", path)
    further(path, 60, 80)
    *before, lacks = heads_path(path).read_bytes().splitlines(keepends=True)
    heads_path(path).write_bytes(b"".join(before) + left.line)
    anchor = anchor_of(path)
    anchor._fails = True
    with Store(path) as store:
        anchor.publish(signed_line(lacks), store.heads_since)
    assert heads_path(path).read_bytes() == b"".join(before) + left.line + lacks


def test_a_restore_into_another_heads_file_is_none_of_this_one(path, tmp_path):
    """A drill with the desk's own key lets no old copy go on, and does not stop the newest."""
    backup_database(path, tmp_path / "backup.db")
    further(path)
    drill = tmp_path / "drill.db"
    restore_from(tmp_path / "backup.db", drill, anchor_of(path).key, tmp_path / "drill.heads")
    HeadsFile(heads_path(path)).append([HeadsFile(tmp_path / "drill.heads").last()])
    start(path)
    found = {breach.found for breach in verify(path, heads=heads_path(path)).breaches}
    assert any("gives up line n 0" in words for words in found)
    shutil.copy(drill, path)
    with pytest.raises(DatabaseError, match="line 93, but the journal ends at line 73"):
        start(path)


@pytest.mark.parametrize("depth", [500, 5_000, 200_000])
def test_a_line_that_is_nested_too_deeply_is_no_record(path, depth):
    with heads_path(path).open("ab") as file:
        file.write(b'{"record":' + b"[" * depth + b"\n")
    for read in (start, lambda it: verify(it, heads=heads_path(it)), lambda it: HeadsFile(heads_path(it)).last()):
        with pytest.raises(InputError, match="does not hold a signed head"):
            read(path)


def test_a_restore_gives_up_no_line_that_nobody_signed(path, tmp_path):
    backup_database(path, tmp_path / "backup.db")
    line = heads_path(path).read_bytes().splitlines(keepends=True)[-1].replace(b'"n":73', b'"n":999')
    with heads_path(path).open("ab") as file:
        file.write(line)
    path.unlink()
    with pytest.raises(InputError, match="its record of line 999 is not signed with the key that it names"):
        restore_from(tmp_path / "backup.db", path)
    assert not path.exists()


def test_whoever_goes_back_to_an_earlier_key_says_so_and_gives_up_the_furthest_head(path, tmp_path):
    backup_database(path, tmp_path / "backup.db")
    further(path)
    first, second = anchor_of(path).key, make_key(tmp_path / "second.key")
    path.unlink()
    restore_from(tmp_path / "backup.db", path, second, is_new_key=True)
    # Under the former key neither the copy of before nor the restored database goes on.
    shutil.copy(path, tmp_path / "restored.db")
    with pytest.raises((DatabaseError, InputError)):
        start(path)
    key_path(path).rename(tmp_path / "first.key")
    shutil.copy(tmp_path / "second.key", key_path(path))
    start(path)
    further(path, 60, 70)
    path.unlink()
    with pytest.raises(InputError, match=f"its furthest head was signed with key {second.public}"):
        restore_from(tmp_path / "backup.db", path, first)
    restore_from(tmp_path / "backup.db", path, first, is_new_key=True)
    assert records(path)[-1]["left_n"] == 83
    assert verify(path, heads=heads_path(path), trusted=[first.public, second.public]).breaches == ()


def test_under_the_former_key_the_copy_of_before_a_restore_does_not_go_on(path, tmp_path):
    backup_database(path, tmp_path / "backup.db")
    shutil.copy(path, tmp_path / "before.db")
    path.unlink()
    restore_from(tmp_path / "backup.db", path, make_key(tmp_path / "second.key"), is_new_key=True)
    shutil.copy(tmp_path / "before.db", path)
    with pytest.raises(DatabaseError, match="incarnation abc123, the newest one with signed heads is"):
        start(path)


def test_a_restored_database_without_lines_holds(tmp_path):
    path = tmp_path / "new.db"
    anchor = start(path)
    init_database(path, "demo", NOW_MS)
    backup_database(path, tmp_path / "backup.db")
    path.unlink()
    restore_from(tmp_path / "backup.db", path, anchor.key)
    start(path)
    assert verify(path, heads=heads_path(path)).breaches == ()


def test_heads_that_are_written_anew_are_those_of_the_present_incarnation(path, tmp_path):
    """Those of before a restore stand before it in the file that was lost."""
    backup_database(path, tmp_path / "backup.db")
    path.unlink()
    restore_from(tmp_path / "backup.db", path)
    further(path, 60, 80)
    heads_path(path).unlink()
    assert main(["journal", "head", str(path), "--out", str(heads_path(path))]) == 0
    assert {record["incarnation"] for record in records(path)} == {read_meta(path).incarnation}
    start(path)


def test_a_head_that_a_restore_gave_up_is_appended_again_and_stops_nobody(path, tmp_path):
    backup_database(path, tmp_path / "backup.db")
    further(path)
    left = HeadsFile(heads_path(path)).last()
    path.unlink()
    restorer = Restorer("ann", "why", lambda _: anchor_of(path).key, HeadsFile(heads_path(path)))
    restore_database(tmp_path / "backup.db", path, NOW_MS + 1, restorer=restorer)
    HeadsFile(heads_path(path)).append([left])
    start(path)


def test_a_restore_gives_up_the_furthest_head_whatever_comes_last(path, tmp_path):
    old = HeadsFile(heads_path(path)).last()
    backup_database(path, tmp_path / "backup.db")
    further(path)
    HeadsFile(heads_path(path)).append([old])
    path.unlink()
    restorer = Restorer("ann", "why", lambda _: anchor_of(path).key, HeadsFile(heads_path(path)))
    restore_database(tmp_path / "backup.db", path, NOW_MS + 1, restorer=restorer)
    assert records(path)[-1]["left_n"] == 93
    assert verify(path, heads=heads_path(path)).breaches == ()


def test_a_copy_of_before_a_restore_that_has_all_its_lines_is_of_another_incarnation(path, tmp_path):
    backup_database(path, tmp_path / "backup.db")
    shutil.copy(path, tmp_path / "before.db")
    path.unlink()
    restorer = Restorer("ann", "why", lambda _: anchor_of(path).key, HeadsFile(heads_path(path)))
    made = restore_database(tmp_path / "backup.db", path, NOW_MS + 1, restorer=restorer)
    shutil.copy(tmp_path / "before.db", path)
    with pytest.raises(
        DatabaseError, match=f"incarnation abc123, the newest one with signed heads is {made.incarnation}"
    ):
        start(path)


def test_a_restore_that_was_taken_out_of_the_heads_file_or_moved_is_found(path, tmp_path):
    restored(path, tmp_path)
    further(path, 60, 90)
    lines = heads_path(path).read_bytes().splitlines(keepends=True)
    (place,) = [k for k, line in enumerate(lines) if b"gearing.restore/1" in line]
    for fewer in (lines[:place] + lines[place + 1 :], lines[: place - 1] + lines[place:]):
        heads_path(path).write_bytes(b"".join(fewer))
        assert "head" in {what for _, _, what in found(path, heads=heads_path(path))}


def test_a_restore_whose_record_cannot_be_written_makes_no_database(path, tmp_path):
    backup_database(path, tmp_path / "backup.db")
    path.unlink()
    file = HeadsFile(tmp_path / "none" / "heads")
    with pytest.raises(InputError, match="the directory does not exist"):
        restore_database(tmp_path / "backup.db", path, NOW_MS,
                         restorer=Restorer("ann", "why", lambda _: anchor_of(path).key, file))  # fmt: skip
    assert not path.exists()
    other = anchored(tmp_path / "other.db")
    fresh = tmp_path / "fresh.key"
    restorer = Restorer("ann", "why", lambda may: signing_key(None, fresh, may), HeadsFile(heads_path(other)))
    with pytest.raises(InputError, match="Name the backup's own heads file"):
        restore_database(tmp_path / "backup.db", path, NOW_MS, restorer=restorer)
    assert not path.exists()
    assert not fresh.exists()


# The command line.


def test_the_last_head_is_printed(path, capsys):
    assert main(["journal", "head", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["record"]["n"]) == ("gearing.journal.head/1", 73)
    assert told["line"].encode() == heads_path(path).read_bytes().splitlines()[-1]
    assert main(["journal", "head", str(path)]) == 0
    assert read_key(key_path(path)).public in capsys.readouterr().out
    change(path, "UPDATE heads SET signature = replace(signature, 'a', 'b')")
    assert main(["journal", "head", str(path)]) == 2
    assert "not valid" in capsys.readouterr().err
    change(path, "DELETE FROM heads")
    assert main(["journal", "head", str(path)]) == 2
    assert "no head was signed yet" in capsys.readouterr().err


def test_verify_takes_heads_and_trusted_keys(path, tmp_path, capsys):
    own, other = read_key(key_path(path)).public, make_key(tmp_path / "b.key").public
    heads = ["--heads", str(heads_path(path))]
    assert main(["journal", "verify", str(path), *heads, "--trust", other, "--trust", own]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"Signed up to n 73, 6 heads by {own}." in out
    assert main(["journal", "verify", str(path), *heads]) == 0
    assert "compare the key with one that you have" in " ".join(capsys.readouterr().out.split())
    assert main(["journal", "verify", str(path), "--trust", other]) == 3
    assert f"a signature of key {own}, which is not trusted (6 of 6 heads)" in " ".join(capsys.readouterr().out.split())
    assert main(["journal", "verify", str(path), "--trust", "abc"]) == 2
    assert main(["journal", "verify", str(path), "--heads", "none"]) == 2
    assert "no such heads file" in capsys.readouterr().err


def test_restore_needs_a_reason_and_signs_who_and_why(path, tmp_path, capsys):
    backup_database(path, tmp_path / "backup.db")
    path.unlink()
    command = ["db", "restore", str(tmp_path / "backup.db"), str(path), "--by", "ann"]
    assert main(command) == 2
    assert main([*command, "--reason", " "]) == 2
    assert not path.exists()
    assert main([*command, "--reason", "a test"]) == 0
    assert "the signed record of it is in" in " ".join(capsys.readouterr().out.split())
    assert (records(path)[-1]["by"], records(path)[-1]["reason"]) == ("ann", "a test")
    connect(path).execute("SELECT 1")


def test_a_restore_is_signed_with_the_key_of_the_heads_so_far_or_says_that_it_is_another(path, tmp_path, capsys):
    backup_database(path, tmp_path / "backup.db")
    path.unlink()
    kept = key_path(path).rename(tmp_path / "kept.key")
    command = ["db", "restore", str(tmp_path / "backup.db"), str(path), "--by", "ann", "--reason", "why"]
    assert main(command) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the key that signed the heads so far is not here" in said
    assert "--new-key" in said
    make_key(tmp_path / "other.key")
    assert main([*command, "--signing-key", str(tmp_path / "other.key")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"its furthest head was signed with key {read_key(kept).public}" in said
    assert not path.exists()
    assert not key_path(path).exists()
    before = heads_path(path).read_bytes()
    assert main([*command, "--signing-key", str(kept)]) == 0
    path.unlink()
    heads_path(path).write_bytes(before)
    assert main([*command, "--new-key"]) == 0
    start(path)


@pytest.mark.parametrize("option", ["--reason", "--by"])
def test_a_restore_takes_no_more_words_than_a_desk_does(path, tmp_path, capsys, option):
    backup_database(path, tmp_path / "backup.db")
    path.unlink()
    command = ["db", "restore", str(tmp_path / "backup.db"), str(path), "--by", "ann", "--reason", "why"]
    assert main([*command, option, "x" * 1_001]) == 2
    assert "at most 1,000 characters" in capsys.readouterr().err
    assert main([*command, option, "a\x1b[31mb"]) == 2
    assert not path.exists()
    assert main([*command, option, "x" * 1_000]) == 0


# Exports.


def test_an_export_carries_the_anchor_and_its_script_follows_it(path):
    with Store(path) as store:
        end = store.end()
    for stream in (None, "token:BTC3L", "book:main"):
        lines = lines_of(path, stream)
        report = recompute(lines)
        assert report.differences == []
        assert (report.n, report.chain) == end
        assert (report.signed["n"], report.signed["key"]) == (73, read_key(key_path(path)).public)
        assert len(lines) == end.n + 1
        for fewer in (lines[:4] + lines[5:], lines[:20] + lines[21:]):
            assert {"anchor", "head"} <= set(recompute(fewer).counts)
        assert recompute(lines[:30] + lines[-1:]).counts["head"] == 1  # lines before the head are missing
    leaf = lines_of(path, "book:main")[40]
    changed = [line.replace(leaf[-10:-4], b"000000") if line == leaf else line for line in lines]
    assert recompute(changed).counts["head"] == 1


def test_a_recomputation_says_up_to_where_and_by_which_key_it_is_signed(path, tmp_path, capsys):
    out = str(tmp_path / "all.jsonl")
    assert main(["journal", "export", str(path), "--out", out]) == 0
    assert main(["journal", "recompute", out]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"Signed up to n 73 by key {read_key(key_path(path)).public}. The signature is not checked here" in said


def test_the_head_of_an_export_stands_after_its_line(path):
    later = next(k for k in range(60, 80) if not token_commits(happened())[k].navs)
    commit(path, token_commits(happened())[60:later], token_commits(happened())[later : later + 1])
    with Store(path) as store:
        assert store.head().n < store.end().n
    lines = [json.loads(line) for line in lines_of(path)]
    (place,) = [k for k, line in enumerate(lines) if "record" in line]
    assert lines[place]["record"]["n"] == lines[place - 1]["n"]
