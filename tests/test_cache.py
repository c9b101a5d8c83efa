"""Where the cache lies, whether there is room, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from throughput.cache import cache_folder, require_room, whole_file
from throughput.errors import RoomError


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"THROUGHPUT_CACHE": "own", "XDG_CACHE_HOME": "xdg"}, "own/packed/x"),
        ({"XDG_CACHE_HOME": "xdg"}, "xdg/throughput/packed/x"),
        ({"THROUGHPUT_CACHE": "", "XDG_CACHE_HOME": ""}, "home/.cache/throughput/packed/x"),
    ],
)
def test_the_users_settings_say_where_it_lies(
    settings: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("THROUGHPUT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in settings.items():
        monkeypatch.setenv(name, value and str(tmp_path / value))
    folder = cache_folder("packed", "x")
    assert folder == tmp_path / expected
    assert folder.is_dir()


def test_a_cache_that_cannot_be_made_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "file"))
    with pytest.raises(RoomError, match=r"file/packed.*set THROUGHPUT_CACHE"):
        cache_folder("packed")


def test_room_is_required_before_it_is_used(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    require_room(tmp_path, free // 2, "the shards")
    with pytest.raises(RoomError, match="no room for the shards"):
        require_room(tmp_path, 2 * free, "the shards")


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"old")

    def fail_halfway() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_as_such(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(RoomError, match=r"the disk is full: cannot write .*index"),
        whole_file(tmp_path / "index"),
    ):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_the_disk_are_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output"), whole_file(tmp_path / "index"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_the_file_is_as_readable_as_the_user_wants_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "index"):
            pass
        assert os.umask(0o027) == 0o027, "the umask is put back"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "index").stat().st_mode) == 0o640


def test_a_device_is_written_to_and_not_replaced() -> None:
    with whole_file(Path(os.devnull)) as file:
        file.write(b"results")
    assert Path(os.devnull).is_char_device()


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    with whole_file(tmp_path / "link.json") as file:
        file.write(b"results")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"results"
