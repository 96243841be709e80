"""Writing: the whole file or nothing, and a sentence for each way it can fail."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gearing.errors import InputError
from gearing.files import read_bytes, read_text, write_bytes, write_text, writing
from gearing.market.synthetic import make_market
from gearing.market.write import write_series


def test_a_file_appears_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "one β")
    assert read_text(path) == "one β"
    path.chmod(0o640)
    write_bytes(path, b"two")
    assert read_bytes(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_end_the_older_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with writing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_an_interruption_leaves_nothing(tmp_path: Path, interruption: type[BaseException]) -> None:
    def interrupted() -> None:
        with writing(tmp_path / "a.txt") as file:
            file.write(b"half")
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    write_text(real, "old")
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said_and_the_device_is_not_replaced() -> None:
    with pytest.raises(InputError, match="the disk is full"):
        write_bytes("/dev/full", b"x" * 100_000)
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "cannot be written: Input/output error"),
    ],
)
def test_a_failing_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, sentence: str
) -> None:
    prices, _ = make_market(days=2)
    path = tmp_path / "prices.parquet"

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match=sentence) as error:
        write_series(prices, path)
    assert str(path) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the directory does not exist"):
        write_text(tmp_path / "no" / "a.txt", "x")
    with pytest.raises(InputError, match="is a directory"):
        write_text(tmp_path, "x")
    write_text(tmp_path / "file", "x")
    with pytest.raises(InputError, match="a file, not a directory"):
        write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(InputError, match="too long"):
        write_text(tmp_path / ("n" * 400), "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="no permission to write"):
            write_text(tmp_path / "a.txt", "x")
    finally:
        tmp_path.chmod(0o700)


def test_text_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    write_bytes(path, b"abc\xff")
    with pytest.raises(InputError, match=r"not UTF-8 text \(byte 3\)"):
        read_text(path)
