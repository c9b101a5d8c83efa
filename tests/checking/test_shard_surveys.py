"""A shard's own damage is listed as its fault, and the rest of it is looked at."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from throughput.checking.listing import list_pieces
from throughput.checking.shards import Named, survey_shard
from throughput.errors import SourceError
from throughput.sources import open_source
from throughput.sources.pack import pack
from throughput.sources.shard_index import samples_in_index

BLOCK = 512


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def samples(encode):
    return [
        member
        for number in range(6)
        for member in ((f"{number:03d}.jpg", encode(number=number)), (f"{number:03d}.cls", b"1"))
    ]


@pytest.fixture
def shard(tmp_path, samples) -> Path:
    return write_tar(tmp_path / "shards" / "a.tar", samples)


def survey(shard: Path):
    return survey_shard(Named(str(shard)))


def kinds(found) -> list[str]:
    return [fault.fault for fault in found.faults]


def header_of(shard: Path, name: str) -> int:
    """The byte of a member's header."""
    with tarfile.open(shard) as tar:
        return tar.getmember(name).offset


def overwrite(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


def test_a_whole_shard_has_no_fault(shard):
    found = survey(shard)
    assert found.faults == []
    assert found.members == [f"{number:03d}.jpg" for number in range(6)]
    assert found.has_end_mark
    assert found.strays == 0


def test_a_header_damaged_in_mid_shard_loses_one_sample_and_no_other(shard):
    place = header_of(shard, "002.jpg")
    overwrite(shard, place, b"\xaa" * BLOCK)
    with pytest.raises(SourceError):
        open_source(shard)
    found = survey(shard)
    assert kinds(found) == ["tar", "no image"]
    damaged, orphan = found.faults
    assert damaged.place.offset == place
    assert "samples before it: 2" in damaged.cause
    assert orphan.place.key == "002"
    assert found.members == ["000.jpg", "001.jpg", "003.jpg", "004.jpg", "005.jpg"]


def test_two_damaged_headers_are_two_faults(shard):
    for place in [header_of(shard, name) for name in ("001.cls", "004.jpg")]:
        overwrite(shard, place, bytes([1]) * BLOCK)
    found = survey(shard)
    assert kinds(found) == ["label", "tar", "tar", "no image"]
    assert len(found.members) == 5


def test_a_shard_cut_inside_a_member_keeps_those_before(shard):
    whole = shard.read_bytes()
    shard.write_bytes(whole[: header_of(shard, "003.jpg") + BLOCK + 100])
    found = survey(shard)
    assert kinds(found) == ["tar"]
    assert "truncated" in found.faults[0].cause
    assert len(found.members) == 3


def test_a_shard_cut_between_two_members_lacks_its_end_mark(shard):
    place = header_of(shard, "003.jpg")
    shard.write_bytes(shard.read_bytes()[:place])
    found = survey(shard)
    assert found.faults == []
    assert not found.has_end_mark
    listing = list_pieces(shard)
    assert [(remark.kind, remark.times) for remark in listing.remarks] == [("tar without end mark", 1)]


def test_joined_tars_are_a_fault_and_all_their_samples_are_found(shard, samples):
    other = write_tar(shard.parent / "b.tar", [(f"1{name}", data) for name, data in samples])
    shard.write_bytes(shard.read_bytes() + other.read_bytes())
    found = survey(shard)
    assert kinds(found) == ["tar"]
    assert "after its end mark" in found.faults[0].cause
    assert len(found.members) == 12


@pytest.mark.parametrize(
    ("data", "fault"), [(b"", "empty"), (b"\x5a" * 5000, "tar"), (b"\x1f\x8b" + bytes(3000), "tar")]
)
def test_what_is_no_tar_is_a_fault(tmp_path, data, fault):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    found = survey(path)
    assert kinds(found)[0] == fault
    assert found.members == []


def test_members_that_make_no_sample_are_told_apart(tmp_path, encode):
    image = encode()
    found = survey(
        write_tar(
            tmp_path / "a.tar",
            [
                ("README", b"text"), ("note.txt", b"text"), ("good.jpg", image), ("good.cls", b"0"),
                ("alone.cls", b"0"), ("unlabelled.jpg", image), ("odd.jpg", image), ("odd.cls", b"-4"),
                ("good.jpg", image), ("good.cls", b"0"),
            ],
        )
    )  # fmt: skip
    assert [(fault.fault, fault.place.key) for fault in found.faults] == [
        ("no image", "alone"),
        ("label", "unlabelled"),
        ("label", "odd"),
        ("key twice", "good"),
    ]
    assert found.strays == 2
    assert found.first_stray is not None
    assert found.first_stray.key == "README"
    assert len(found.members) == 4


@pytest.fixture
def packed(folder, tmp_path) -> Path:
    """Twelve samples in three shards of four."""
    pack(open_source(folder), tmp_path / "packed", samples_per_shard=4)
    return tmp_path / "packed"


def test_a_missing_shard_is_the_manifests_fault_and_the_others_are_listed(packed):
    shards = sorted(packed.rglob("*.tar"))
    shards[1].unlink()
    listing = list_pieces(packed)
    assert listing.samples == 8
    missing = [state for state in listing.shards if state.faults]
    assert [(one.path, one.expected, one.reached) for one in missing] == [(str(shards[1]), 4, 0)]
    assert missing[0].faults[0].fault == "missing"


def names_in(shard):
    with tarfile.open(shard) as tar:
        return tar.getnames()


def test_samples_that_are_gone_are_counted_against_the_manifest(packed):
    shard = sorted(packed.rglob("*.tar"))[0]
    overwrite(shard, header_of(shard, names_in(shard)[2]), b"\xaa" * BLOCK)
    state = next(state for state in list_pieces(packed).shards if state.path == str(shard))
    assert (state.expected, state.reached) == (4, 3)
    assert {"tar", "samples missing"} <= {fault.fault for fault in state.faults}


def test_a_shard_beside_the_manifest_is_a_fault_and_is_looked_at(packed, samples):
    stranger = write_tar(packed / "zzz.tar", samples)
    state = list_pieces(packed).shards[-1]
    assert (state.path, state.reached) == (str(stranger), 6)
    assert [fault.fault for fault in state.faults] == ["unlisted"]


@pytest.mark.parametrize("change", [lambda text: text[:1], lambda text: text.replace('"splits"', '"odd"')])
def test_a_damaged_manifest_is_a_fault_and_the_shards_are_looked_at(packed, checked, change):
    manifest = packed / "manifest.json"
    manifest.write_text(change(manifest.read_text()))
    found = checked(packed)
    assert [(fault.place.path, fault.fault) for fault in found.faults] == [(str(manifest), "manifest")]
    assert found.samples == 12
    one = next(iter(sorted(packed.rglob("*.tar"))))
    assert [fault.fault for fault in list_pieces(one).faults] == ["manifest"]


def test_an_index_of_another_shard_is_a_fault(packed):
    shard = sorted(packed.rglob("*.tar"))[0]
    shard.with_suffix(".samples.npy").write_bytes(b"no array")
    state = next(state for state in list_pieces(packed).shards if state.path == str(shard))
    assert [fault.fault for fault in state.faults] == ["index"]


def test_a_shard_alone_is_held_against_the_index_beside_it(packed, tmp_path):
    shard = sorted(packed.rglob("*.tar"))[0]
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in shard.parent.glob(f"{shard.stem}.*"):
        path.rename(alone / path.name)
    moved = alone / shard.name
    assert samples_in_index(str(moved)) == 4
    moved.write_bytes(moved.read_bytes()[: header_of(moved, names_in(moved)[4])])
    (state,) = list_pieces(alone).shards
    assert (state.expected, state.reached) == (4, 2)
    assert [fault.fault for fault in state.faults] == ["samples missing"]


def test_each_piece_is_found_again_by_its_number(packed):
    listing = list_pieces(packed)
    pieces = [listing.piece(number) for number in range(len(listing))]
    assert len(pieces) == 12 + 3
    assert sum(piece.is_shard for piece in pieces) == 3
    keys = [listing.place(piece.number).key for piece in pieces if not piece.is_shard]
    assert sorted(int(str(key)) for key in keys) == list(range(12))
    assert all(piece.has_checksum for piece in pieces if not piece.is_shard)
