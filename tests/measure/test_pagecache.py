"""Real files are evicted and warmed, and what the device then gives is counted."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from PIL import Image

from throughput.contracts import Source
from throughput.errors import SourceError, ThroughputError
from throughput.measure import pagecache
from throughput.measure.pagecache import (
    counts_reads,
    device_bytes_read,
    evict,
    require_cold,
    require_warm,
    resident_share,
    warm,
)
from throughput.sources import open_source
from throughput.sources.pack import pack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the page cache is looked at on Linux only")

FILES = 20
FILE_BYTES = 200_000
ALL_BYTES = FILES * FILE_BYTES
NOBODY = 65534
READ_ALL = """
import sys
for path in sys.argv[1:]:
    open(path, "rb").read()
print("read", flush=True)
sys.stdin.read()
"""
READ_ALL_IN_A_CHILD = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import sys; [open(path, 'rb').read() for path in sys.argv[1:]]",
                *sys.argv[1:]])
print("read", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    """Files on a disk; where the test's folder is memory, there is nothing to be seen."""
    paths = tuple(tmp_path / f"{number}.jpg" for number in range(FILES))
    for path in paths:
        path.write_bytes(os.urandom(FILE_BYTES))
    try:
        require_cold(paths)
    except ThroughputError as error:
        pytest.skip(str(error))
    return paths


@contextmanager
def reader(paths: Sequence[Path], program: str = READ_ALL) -> Iterator[int]:
    """A process that has read all files, while it lives: its pid."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, paths)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"read\n"
        yield process.pid
        process.stdin.close()


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root is told everything: be nobody for a while. Another user stays who they are."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_files_are_warmed_and_evicted(files: tuple[Path, ...]) -> None:
    assert require_warm(files) >= 0.99
    assert resident_share(files) >= 0.95  # a kernel may take pages back meanwhile
    evict(files)
    assert resident_share(files) == 0


def test_the_share_is_of_all_bytes(files: tuple[Path, ...], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    require_warm(files[:5])
    assert resident_share((*files, empty)) == pytest.approx(5 / FILES, abs=0.02)


def test_pages_that_wait_to_be_written_are_evicted_too(files: tuple[Path, ...]) -> None:
    for path in files:
        path.write_bytes(os.urandom(FILE_BYTES))
    assert resident_share(files) > 0.99
    assert require_cold(files) == 0
    assert all(path.stat().st_size == FILE_BYTES for path in files)


@pytest.mark.parametrize("program", [READ_ALL, READ_ALL_IN_A_CHILD])
def test_cold_files_come_from_the_device_and_warm_ones_do_not(files: tuple[Path, ...], program: str) -> None:
    if not counts_reads(files):
        pytest.skip("reads from this filesystem are not counted")
    with reader(files[:0], program):
        pass  # brings in the interpreter's own files
    require_cold(files)
    with reader(files, program) as pid:
        cold_bytes = device_bytes_read(pid)
    require_warm(files)
    with reader(files, program) as pid:
        warm_bytes = device_bytes_read(pid)
    assert cold_bytes >= 0.95 * ALL_BYTES
    # The kernel may have taken back a page or two, of these files or of the interpreter's.
    assert warm_bytes <= 0.1 * ALL_BYTES


def test_a_worker_that_ends_keeps_its_bytes_counted_once(files: tuple[Path, ...]) -> None:
    if not counts_reads(files):
        pytest.skip("reads from this filesystem are not counted")
    require_cold(files)
    before = device_bytes_read(os.getpid())
    with reader(files) as pid:
        alone = device_bytes_read(pid)
        during = device_bytes_read(os.getpid()) - before
    after = device_bytes_read(os.getpid()) - before
    assert during >= alone >= 0.95 * ALL_BYTES
    assert during <= after < 1.5 * ALL_BYTES


def test_whether_reads_are_counted_leaves_the_files_cold(files: tuple[Path, ...]) -> None:
    assert isinstance(counts_reads(files), bool)
    assert resident_share(files) == 0


def test_a_file_that_is_mapped_is_not_cold(files: tuple[Path, ...]) -> None:
    with files[3].open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        assert sum(mapping[place] for place in range(0, FILE_BYTES, 512)) >= 0
        with pytest.raises(ThroughputError, match=r"\d+\.\d % of the pages of .* and 19 more files stayed"):
            require_cold(files)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no /dev/shm to write to")
def test_memory_is_never_cold() -> None:
    file = Path(f"/dev/shm/throughput-test-{os.getpid()}")
    file.write_bytes(b"x" * 10_000)
    try:
        with pytest.raises(ThroughputError, match="is memory: there is no cold; put the data on a disk"):
            require_cold([file])
        assert require_warm([file]) == 1
    finally:
        file.unlink()


def test_what_the_kernel_does_not_tell_is_not_believed() -> None:
    # A file of root's that everybody may read.
    file = Path("/etc/passwd")
    with as_somebody_else():
        if os.access(file, os.W_OK, effective_ids=True):
            pytest.skip(f"this user may write {file}")
        with pytest.raises(ThroughputError, match=r"what of /etc/passwd .* measure as user 0"):
            resident_share([file])


@pytest.mark.parametrize("function", [evict, resident_share, warm, require_cold, require_warm])
def test_a_file_that_is_not_there_is_named(function: Callable[..., object], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*gone\.jpg: No such file"):
        function([tmp_path / "gone.jpg"])


@pytest.mark.parametrize("paths", [[], ["empty"]])
def test_files_without_a_byte_have_no_share(paths: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ThroughputError, match=f"{len(paths)} files hold no byte"):
        resident_share([tmp_path / path for path in paths])


@pytest.mark.parametrize("scarce", ["available", "limit"])
def test_more_than_memory_holds_cannot_be_warm(
    scarce: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(3 * 10**9)
    room = {"available": 64 * 10**9, "limit": 64 * 10**9} | {scarce: 2 * 10**9}
    memory = SimpleNamespace(available=room["available"])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(pagecache, "usable_memory_bytes", lambda: room["limit"])
    with pytest.raises(ThroughputError, match=r"the files hold 3\.0 GB and memory has room for 2\.0 GB"):
        warm([tmp_path / "large"])


def test_files_that_do_not_stay_are_not_warm(
    files: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagecache, "warm", lambda paths, _progress: evict(paths))
    with pytest.raises(ThroughputError, match=r"only 0\.0 % of the pages"):
        require_warm(files)


def test_a_process_that_has_ended_or_is_another_users() -> None:
    with reader([]) as pid:
        assert device_bytes_read(pid) >= 0
    with pytest.raises(ThroughputError, match=f"what process {pid} read from the device cannot be told"):
        device_bytes_read(pid)
    with as_somebody_else(), pytest.raises(ThroughputError, match="cannot be told: /proc/1/io is closed"):
        device_bytes_read(1)


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for function in (evict, resident_share, warm, require_cold, require_warm):
        with pytest.raises(ThroughputError, match="on Linux only, not on darwin"):
            function([tmp_path])
    with pytest.raises(ThroughputError, match="on Linux only"):
        device_bytes_read(1)


def test_progress_is_told(files: tuple[Path, ...]) -> None:
    told: list[tuple[str, float, float | None]] = []
    evict(files, lambda *what: told.append(what))
    warm(files, lambda *what: told.append(what))
    assert told == [
        ("emptying the page cache", FILES, FILES),
        ("reading into the page cache", FILES, FILES),
    ]


def test_a_source_names_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    images = [tmp_path / "photos" / name / f"{number}.png" for name in ("a", "b") for number in range(10)]
    for path in images:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    folder = open_source(tmp_path / "photos")
    assert sorted(folder.files()) == sorted(images)
    pack(folder, tmp_path / "shards", samples_per_shard=4)
    shards: Source = open_source(tmp_path / "shards")
    assert sorted(shards.files()) == sorted((tmp_path / "shards").rglob("*.tar"))
    assert len(shards.files()) == 5
