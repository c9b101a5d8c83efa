"""A whole check: what is bad is named, whatever kills a worker or the check itself, and it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from throughput.checking.findings import Place, as_json
from throughput.checking.kept import Kept
from throughput.checking.listing import list_pieces
from throughput.checking.pieces import SourceListing
from throughput.checking.pool import PoolError
from throughput.checking.run import check
from throughput.errors import OptionError
from throughput.sources import open_source
from throughput.sources.pack import pack

DECODER = '''
"""A decoder of a third party, in every process of this Python: it does what the image says."""
import glob
import os
import signal
import time
from PIL import Image, ImageFile, TiffImagePlugin

class Deadly(ImageFile.ImageFile):
    format = "DEADLY"
    format_description = "dies"

    def _open(self):
        order = self.fp.read(64).decode()
        with open(os.environ["DEADLY_LOG"], "a") as log:
            log.write(f"{order} {os.getpid()}\\n")
        with open(os.environ["DEADLY_LOG"]) as log:
            times = log.read().count(order)
        if order == "deadly: always" or (order == "deadly: once" and times == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "deadly: parent":
            while not glob.glob(os.environ["THROUGHPUT_CACHE"] + "/check/*.json"):
                time.sleep(0.001)
            os.kill(os.getppid(), signal.SIGKILL)
        if order == "deadly: stop" and times == 1:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(600)  # its end does not wait for this
        self._size = (1, 1)
        self._mode = "L"
        self.tile = []

    def load(self):
        return None

# In place of one that is looked for; its own has been registered by now.
Image.register_open("TIFF", Deadly, lambda start: start.startswith(b"deadly: "))
'''


@pytest.fixture
def deadly(tmp_path, monkeypatch) -> Path:
    """Have workers meet that decoder; the file in which it notes what it was asked to do."""
    home = tmp_path / "decoder"
    home.mkdir()
    (home / "sitecustomize.py").write_text(DECODER)
    monkeypatch.syspath_prepend(home)
    monkeypatch.setenv("DEADLY_LOG", str(home / "log"))
    return home / "log"


@pytest.fixture(autouse=True)
def _no_process_is_left():
    before = psutil.Process().children(recursive=True)
    yield
    assert [one for one in psutil.Process().children(recursive=True) if one not in before] == []


def test_a_whole_folder_is_good(checked, folder):
    found = checked(folder)
    assert found.faults == ()
    assert found.samples == 12
    assert found.bytes == sum(path.stat().st_size for path in folder.rglob("*.jpg"))
    assert found.remarks == ()


def test_every_bad_file_is_named_in_the_order_of_the_source(checked, folder, encode):
    faults = {
        "class0/00.jpg": ("truncated", encode()[:-50]),
        "class0/02.jpg": ("empty", b""),
        "class1/03.jpg": ("garbage", b"Z" * 100),
        "class1/05.jpg": ("bomb", b"P5\n20000 20000\n255\n"),
    }
    for name, (_, data) in faults.items():
        (folder / name).write_bytes(data)
    (folder / "class1" / "07.jpg").write_bytes(encode(progressive=True))
    found = checked(folder)
    assert [(fault.place, fault.fault) for fault in found.bad] == [
        (Place(str(folder / name)), kind) for name, (kind, _) in faults.items()
    ]
    assert [(remark.kind, remark.times, remark.first) for remark in found.remarks] == [
        ("progressive", 1, Place(str(folder / "class1" / "07.jpg")))
    ]


def test_a_pipe_and_a_file_that_went_away_are_unreadable(folder):
    listing = list_pieces(folder)
    (folder / "class0" / "00.jpg").unlink()
    os.mkfifo(folder / "class0" / "00.jpg")
    (folder / "class0" / "02.jpg").unlink()
    found = check(listing, 1)
    assert [(Path(fault.place.path).name, fault.fault) for fault in found.bad] == [
        ("00.jpg", "unreadable"),
        ("02.jpg", "unreadable"),
    ]


def test_a_link_that_leads_nowhere_is_unreadable(checked, folder):
    (folder / "class1" / "z.jpg").symlink_to("nowhere.jpg")
    found = checked(folder)
    assert found.samples == 13
    assert [(fault.place.path, fault.fault) for fault in found.bad] == [
        (str(folder / "class1" / "z.jpg"), "unreadable")
    ]


@pytest.fixture
def packed(folder, tmp_path) -> Path:
    pack(open_source(folder), tmp_path / "packed", samples_per_shard=4)
    return tmp_path / "packed"


def test_whole_shards_are_good(checked, packed):
    found = checked(packed)
    assert found.faults == ()
    assert found.samples == 12
    assert sum(shard.reached for shard in found.shards) == 12


def test_altered_bytes_that_still_decode_are_a_fault_of_the_sample_alone(checked, packed):
    source = open_source(packed)
    offset, size = int(source.offsets[5]), int(source.sizes[5])
    shard = Path(source.shards[source.shard_of[5]])
    data = bytearray(shard.read_bytes())
    place = data.index(b"JFIF", offset, offset + size) + 8  # the density, which no decoder looks at
    data[place] ^= 1
    shard.write_bytes(data)
    found = checked(packed)
    assert [(fault.place, fault.fault) for fault in found.faults] == [
        (Place(str(shard), "000000005", offset), "checksum")
    ]
    assert "CRC-32" in found.bad[0].cause
    by_source = check(SourceListing(open_source(packed)), 1)
    assert [(fault.place.path, fault.fault) for fault in by_source.faults] == [
        (source.describe(5), "checksum")
    ]


def test_an_altered_label_is_a_fault_of_the_shard(checked, packed):
    shard = sorted(packed.rglob("*.tar"))[0]
    data = bytearray(shard.read_bytes())
    place = next(
        place + 512
        for place in range(0, len(data), 512)
        if data[place : place + 100].rstrip(b"\0").endswith(b".cls")
    )
    data[place] = ord("0") if data[place] == ord("1") else ord("1")
    shard.write_bytes(data)
    found = checked(packed)
    assert [(fault.place, fault.fault) for fault in found.faults] == [(Place(str(shard)), "checksum")]
    assert found.bad == ()


def test_checksums_hold_behind_a_damaged_header_too(checked, packed):
    shard = sorted(packed.rglob("*.tar"))[0]
    data = bytearray(shard.read_bytes())
    data[0:512] = b"\xaa" * 512
    shard.write_bytes(data)
    found = checked(packed)
    assert found.bad == ()
    assert found.samples == 11


def test_arrays_are_looked_at(checked, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((20, 8, 8), np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(20) % 2)
    found = checked(tmp_path / "images.npy", labels=tmp_path / "labels.npy")
    assert (found.samples, found.faults, found.remarks) == (20, (), ())


def test_a_decoder_that_kills_its_process_is_named_and_the_check_goes_on(checked, folder, deadly):
    bad = folder / "class0" / "04.jpg"
    bad.write_bytes(b"deadly: always")
    found = checked(folder)
    assert [(fault.place.path, fault.fault) for fault in found.bad] == [(str(bad), "crash")]
    assert "SIGKILL" in found.bad[0].cause
    assert found.samples == 12
    assert deadly.read_text().count("deadly: always") == 2


@pytest.mark.usefixtures("deadly")
def test_a_sample_whose_worker_was_killed_once_is_no_fault_but_a_remark(checked, folder):
    innocent = folder / "class0" / "04.jpg"
    innocent.write_bytes(b"deadly: once")
    found = checked(folder)
    assert found.bad == ()
    assert [(remark.kind, remark.first.path) for remark in found.remarks] == [
        ("worker died once", str(innocent))
    ]


@pytest.mark.usefixtures("deadly")
def test_many_crashes_leave_everything_else_looked_at(checked, folder, encode):
    for number in range(0, 12, 3):
        (folder / f"class{number % 2}" / f"{number:02d}.jpg").write_bytes(b"deadly: always")
    (folder / "class1" / "01.jpg").write_bytes(encode()[:-9])
    kinds = [fault.fault for fault in checked(folder, workers=3).bad]
    assert sorted(kinds) == ["crash"] * 4 + ["truncated"]


def test_after_a_kill_of_the_whole_a_second_run_goes_on_where_it_was(folder, deadly, encode):
    """The fifth sample ends the check itself: what came before it was saved, and is not looked at again."""
    (folder / "class0" / "00.jpg").write_bytes(b"deadly: seen")
    (folder / "class0" / "02.jpg").write_bytes(encode()[:-9])
    killer = folder / "class0" / "08.jpg"
    killer.write_bytes(b"deadly: parent")
    code = (
        "import sys; from throughput.checking.kept import Kept; from throughput.checking.run import check\n"
        "from throughput.checking.listing import list_pieces\n"
        "listing = list_pieces(sys.argv[1]); check(listing, 1, kept=Kept(listing, save_seconds=0.0))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", code, folder], env=environment, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    worker = int(deadly.read_text().split()[-1])
    with suppress(psutil.NoSuchProcess):
        psutil.Process(worker).wait(timeout=30)

    listing = list_pieces(folder)
    kept = Kept(listing, save_seconds=0.0)
    left = kept.load()
    assert left is not None
    assert 0 < left.samples <= 4
    assert left.samples == left.below

    deadly.write_text("")
    # In this process the order to kill the parent would end the tests.
    original = killer.stat()
    killer.write_bytes(b"deadly: spared")
    os.utime(killer, ns=(original.st_atime_ns, original.st_mtime_ns))
    found = check(listing, 1, kept=kept)
    assert found.resumed_samples == left.samples
    assert [(Path(fault.place.path).name, fault.fault) for fault in found.bad] == [("02.jpg", "truncated")]
    assert found.bytes == sum(path.stat().st_size for path in folder.rglob("*.jpg"))
    assert "seen" not in deadly.read_text()
    assert not kept.path.exists()


@pytest.mark.usefixtures("deadly")
def test_a_request_to_end_saves_exactly_what_was_seen(folder, encode):
    (folder / "class0" / "02.jpg").write_bytes(encode()[:-9])
    (folder / "class1" / "01.jpg").write_bytes(b"deadly: stop")
    listing = list_pieces(folder)
    kept = Kept(listing)
    with pytest.raises(KeyboardInterrupt):
        check(listing, 2, kept=kept)
    left = kept.load()
    assert left is not None
    assert left.samples == left.done == 6
    found = check(listing, 2, kept=kept)
    assert found.resumed_samples == left.samples
    assert [(Path(fault.place.path).name, fault.fault) for fault in found.bad] == [("02.jpg", "truncated")]
    assert found.bytes == sum(path.stat().st_size for path in folder.rglob("*.jpg"))


def test_again_begins_anew_and_a_damaged_state_does_too(folder):
    listing = list_pieces(folder)
    kept = Kept(listing)
    kept.path.write_text('{"below": 12, "beyond": []')
    assert check(listing, 1, kept=kept).resumed_samples == 0
    kept.path.write_text(
        json.dumps(
            {"below": 12, "beyond": [], "samples": 12, "bytes": 1, "seconds": 9, "bad": [], "remarks": []}
        )
    )
    assert check(listing, 1, kept=kept, again=True).resumed_samples == 0


def test_another_state_of_the_files_is_another_check(folder, encode):
    before = Kept(list_pieces(folder)).path
    (folder / "class0" / "00.jpg").write_bytes(encode(number=77))
    assert Kept(list_pieces(folder)).path != before


def test_the_json_holds_everything(checked, folder, packed):
    (folder / "class0" / "00.jpg").write_bytes(b"")
    record = json.loads(json.dumps(as_json(checked(folder))))
    assert record["schema"] == 1
    assert record["samples"] == 12
    assert record["faults"] == {"empty": 1}
    assert record["bad"] == [
        {
            "path": str(folder / "class0" / "00.jpg"), "key": None, "offset": None,
            "fault": "empty", "cause": "the file is empty",
        }
    ]  # fmt: skip
    shards = as_json(checked(packed))["shards"]
    assert [(shard["expected"], shard["reached"], shard["faults"]) for shard in shards] == [(4, 4, [])] * 3


def test_no_worker_is_no_check(folder):
    with pytest.raises(OptionError):
        check(list_pieces(folder), 0)


def test_workers_that_cannot_start_end_the_check_with_a_word(folder, tmp_path, monkeypatch):
    home = tmp_path / "broken"
    home.mkdir()
    (home / "sitecustomize.py").write_text("import os; os._exit(7)")
    monkeypatch.syspath_prepend(home)
    with pytest.raises(PoolError, match="it ended with status 7"):
        check(list_pieces(folder), 2)
