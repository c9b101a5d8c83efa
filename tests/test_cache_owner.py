"""What lies in the cache is used without another look, so nobody else may have put it there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from throughput.cache import cache_folder, require_own, whole_file
from throughput.errors import CacheError
from throughput.sources import open_source
from throughput.sources.conversion import packed_copy
from throughput.testing import write_contract_images

STRANGER = 12_345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_files_in_it_are_the_owners_alone(cache: Path, tmp_path: Path) -> None:
    folder = cache_folder("packed", "x")
    assert [mode(one) for one in (folder, folder.parent, cache)] == [0o700] * 3
    for path, expected in ((folder / "shard", 0o600), (tmp_path / "results.json", 0o644)):
        before = os.umask(0o022)
        try:
            with whole_file(path) as file:
                file.write(b"x")
        finally:
            os.umask(before)
        assert mode(path) == expected


@pytest.mark.parametrize("where", [".", "packed", "packed/x"])
@pytest.mark.parametrize("by", [0o020, 0o002])
def test_a_folder_that_others_may_write_to_is_refused(cache: Path, where: str, by: int) -> None:
    cache_folder("packed", "x")
    (cache / where).chmod(0o700 | by)
    with pytest.raises(CacheError, match=r"others may write to .*chmod go-w .*THROUGHPUT_CACHE"):
        cache_folder("packed", "x")
    (cache / where).chmod(0o755)
    assert cache_folder("packed", "x").is_dir(), "others may look"


@needs_root
@pytest.mark.parametrize("where", [".", "packed", "packed/x"])
def test_a_folder_of_another_user_is_refused(cache: Path, where: str) -> None:
    cache_folder("packed", "x")
    os.chown(cache / where, STRANGER, STRANGER)
    with pytest.raises(CacheError, match=r"belongs to another user \(uid 12345\).*THROUGHPUT_CACHE"):
        cache_folder("packed", "x")


@needs_root
def test_a_link_that_another_user_laid_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    cache.symlink_to(tmp_path / "mine")
    assert cache_folder("x").is_dir()
    os.chown(cache, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(CacheError, match="another user"):
        cache_folder("x")


def test_a_kept_index_that_others_may_write_to_is_refused(cache: Path, tmp_path: Path) -> None:
    images = write_contract_images(tmp_path / "images", images_per_class=2)
    copy = packed_copy(open_source(images))
    kept = list((cache / "index").glob("*.npz"))
    assert kept
    assert {mode(path) for path in kept} == {0o600}
    kept[0].chmod(0o666)
    with pytest.raises(CacheError, match="others may write"):
        open_source(copy.folder)


def test_a_packed_copy_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    images = open_source(write_contract_images(tmp_path / "images", images_per_class=2))
    shard = next(Path(packed_copy(images).folder).rglob("*.tar"))
    assert mode(shard) == 0o600
    shard.chmod(0o622)
    with pytest.raises(CacheError, match="others may write"):
        packed_copy(images)


def test_the_output_of_a_command_that_others_may_write_to_is_refused(cache: Path, tmp_path: Path) -> None:
    shard = next(
        Path(packed_copy(open_source(write_contract_images(tmp_path / "images"))).folder).rglob("*.tar")
    )
    command = f"pipe:cat {shard}"
    before = open_source(command, allow_pipe=True)
    next((cache / "pipes").iterdir()).chmod(0o666)
    with pytest.raises(CacheError, match="others may write"):
        open_source(command, allow_pipe=True)
    assert len(np.unique(before.labels)) > 1


def test_what_is_not_there_is_no_matter_of_owners(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        require_own(tmp_path / "absent")
