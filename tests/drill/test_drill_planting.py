"""A fault in a copy of a source: it lies where it is said to, and nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import NoneType

import numpy as np
import pytest

from throughput.contracts import Source
from throughput.drill.copies import Copies, make_copies
from throughput.drill.planting import FAULTS, Case, Planted, cases_of, plant
from throughput.drill.processes import ProcessFault
from throughput.drill.shards import FileFault, ShardFault
from throughput.errors import SampleError, SourceError
from throughput.sources import open_source

CASES = cases_of(tuple(FAULTS.values()))
SIZE = 16


@pytest.fixture(scope="module")
def copies(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return make_copies(open_source(images), tmp_path_factory.mktemp("sound"), 20, SIZE, seed=3)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))


def planted_in(case: Case, copies: Copies, room: Path, share: float = 0.1) -> Planted:
    (room / "case").mkdir()
    planted = plant(case, copies, room / "case", share, seed=5)
    assert planted is not None
    return planted


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(source: Source, sample_id: int) -> bytes | None:
    try:
        return source.read(sample_id)
    except SampleError:
        return None


def test_both_copies_hold_the_same_samples(copies: Copies) -> None:
    files, packed = open_source(copies.files), open_source(copies.packed)
    assert files.labels.tolist() == packed.labels.tolist() == copies.labels.tolist()
    assert [files.describe(sample_id) for sample_id in range(20)] == [
        str(copies.files.resolve() / name) for name in copies.names
    ]
    assert copies.wanted.shape == (20, SIZE, SIZE, 3)
    assert copies.left_out == 0


def test_what_nobody_can_decode_is_left_out(images: Path, tmp_path: Path) -> None:
    source = open_source(images)
    bad = tmp_path / "images" / "red"
    bad.mkdir(parents=True)
    for place in range(9):
        (bad / f"{place}.jpg").write_bytes(source.read(place))
    (bad / "8.jpg").write_bytes(b"no image")
    copies = make_copies(open_source(tmp_path / "images"), tmp_path / "sound", 20, SIZE, seed=0)
    assert (len(copies.names), copies.left_out) == (8, 1)


def test_too_few_images_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has 5 images that can be decoded, and a drill needs 8"):
        make_copies(open_source(images), tmp_path / "sound", 5, SIZE, seed=0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} in {case.lies}")
def test_a_fault_is_put_in_and_the_copy_stays_sound(case: Case, copies: Copies, tmp_path: Path) -> None:
    before = contents(copies.files), contents(copies.packed)
    planted = planted_in(case, copies, tmp_path)
    assert planted.damaged <= planted.hit
    assert planted.untold <= planted.damaged
    sound = open_source(copies.files if case.lies == "files" else copies.packed)
    if isinstance(case.fault, ShardFault) and case.lies == "shards":
        with pytest.raises(SourceError, match=r"shard-\d{6}\.tar"):
            open_source(planted.data)
    elif isinstance(case.fault, FileFault) and case.fault.when == "at rest":
        with pytest.raises(SourceError) as raised:
            open_source(planted.data)
        assert any(copies.names[sample_id] in str(raised.value) for sample_id in planted.hit)
    else:
        source = open_source(planted.data)
        for swap in planted.later:
            swap.carry_out()
        changed = {sample_id for sample_id in range(20) if read(source, sample_id) != read(sound, sample_id)}
        assert changed >= planted.damaged
        # Narrower restart intervals for some images of a shard may cost others theirs.
        assert changed <= planted.hit or case.lies == "packed"
        assert isinstance(case.fault, (ShardFault, ProcessFault, NoneType)) or len(planted.hit) == 2
    assert (contents(copies.files), contents(copies.packed)) == before


def test_the_same_seed_hits_the_same_samples(copies: Copies, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "empty")
    hit = []
    for seed in (1, 1, 2):
        room = tmp_path / str(len(hit))
        room.mkdir()
        planted = plant(case, copies, room, 0.2, seed)
        assert planted is not None
        hit.append(planted.hit)
    assert hit[0] == hit[1] != hit[2]
    assert len(hit[0]) == 4


def test_at_least_one_sample_is_hit(copies: Copies, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "garbage" and case.lies == "shards")
    assert len(planted_in(case, copies, tmp_path, share=0.001).hit) == 1


def test_what_can_be_read_is_wanted_as_it_is_now(copies: Copies, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "sixteen-bit")
    planted = planted_in(case, copies, tmp_path)
    others = sorted(set(range(20)) - planted.hit)
    assert not planted.damaged
    assert np.array_equal(planted.wanted[others], copies.wanted[others])
    for sample_id in planted.hit:
        red, green, blue = np.moveaxis(planted.wanted[sample_id], 2, 0)
        assert (red == green).all()
        assert (green == blue).all()
