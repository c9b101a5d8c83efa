"""Images and labels in two arrays: what is read, how it is split, and what is refused in one line."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from throughput.contracts import Source
from throughput.errors import OptionError, SampleError, SourceError, ThroughputError
from throughput.sources import ArraySource, conversion, open_source
from throughput.sources.conversion import packed_copy
from throughput.sources.pack import pack
from throughput.testing import write_contract_images

COUNT = 40
LABELS = np.arange(COUNT) % 4


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def opened(folder: Path, images: Any, labels: Any = LABELS, **options: Any) -> Source:
    np.save(folder / "faces.npy", images)
    np.save(folder / "labels.npy", labels)
    return open_source(folder / "faces.npy", labels=folder / "labels.npy", **options)


def pixels_of(source: Source, sample: int) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(source.read(sample))))


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (6, 9, 3)])
def test_any_decoder_reads_an_image_as_it_is(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = noise(COUNT, *shape)
    source = opened(tmp_path, images)
    assert isinstance(source, ArraySource)
    assert source.channels == (3 if shape[-1] == 3 else 1)
    for sample in (0, 17, COUNT - 1):
        assert (pixels_of(source, sample) == images[sample].squeeze()).all()
        assert source.describe(sample) == f"{tmp_path / 'faces.npy'}[{sample}]"
    assert source.encoded_bytes() == sum(len(source.read(sample)) for sample in range(COUNT))
    assert source.files() == (tmp_path / "faces.npy",)


def test_the_order_in_memory_does_not_matter(tmp_path: Path) -> None:
    images = noise(COUNT, 6, 9, 3)
    source = opened(tmp_path, np.asfortranarray(images))
    assert (pixels_of(source, 5) == images[5]).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_rounded_to_255ths(tmp_path: Path, dtype: str) -> None:
    levels = np.arange(256).reshape(1, 16, 16).repeat(2, 0)
    # A third of a level below: cutting off would be a level too dark.
    images = ((levels - 0.3) / 255).clip(0).astype(dtype)
    source = opened(tmp_path, images, np.arange(2))
    expected = levels if dtype != "float16" else np.rint(images.astype(np.float32) * 255)
    assert (pixels_of(source, 1) == expected[1]).all()


def test_a_source_is_small_to_send_and_maps_the_file_itself(tmp_path: Path) -> None:
    source = opened(tmp_path, noise(COUNT, 50, 50, 3))
    sent = pickle.dumps(source)
    assert len(sent) < 5_000
    assert pickle.loads(sent).read(3) == source.read(3)


def test_numbers_name_classes_and_names_are_sorted(tmp_path: Path) -> None:
    assert opened(tmp_path, noise(COUNT, 4, 4)).classes == ("0", "1", "2", "3")
    words = np.array(["owl", "cat", "ox", "cat"] * 10)
    named = opened(tmp_path, noise(COUNT, 4, 4), words)
    assert named.classes == ("cat", "owl", "ox")
    assert [named.classes[label] for label in named.labels] == words.tolist()
    assert named.labels.dtype == np.int64


def test_some_classes_may_have_no_image(tmp_path: Path) -> None:
    assert len(opened(tmp_path, noise(COUNT, 4, 4), 2 * LABELS + 1).classes) == 8


@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 5)])
def test_floats_are_targets_and_no_classes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    targets = np.random.default_rng(1).normal(size=shape)
    source = opened(tmp_path, noise(COUNT, 4, 4), targets)
    assert source.classes == ()
    assert source.labels.dtype == np.float32
    np.testing.assert_array_equal(source.labels, targets.astype(np.float32))
    assert len(source.ids("val")) == COUNT // 5


def test_a_fifth_of_each_class_is_held_out_the_same_way_each_time(tmp_path: Path) -> None:
    source = opened(tmp_path, noise(COUNT, 4, 4))
    held_out = source.ids("val")
    assert np.bincount(LABELS[held_out]).tolist() == [2, 2, 2, 2]
    assert sorted([*held_out, *source.ids("train")]) == list(range(COUNT))
    assert (opened(tmp_path, noise(COUNT, 4, 4)).ids("val") == held_out).all()
    half = opened(tmp_path, noise(COUNT, 4, 4), split_fraction=0.5)
    assert np.bincount(LABELS[half.ids("val")]).tolist() == [5, 5, 5, 5]


def test_a_split_fraction_is_for_whatever_brings_no_split(tmp_path: Path) -> None:
    folder = write_contract_images(tmp_path / "images")
    assert len(open_source(folder, split_fraction=0.4).ids("val")) == 12
    pack(open_source(folder), tmp_path / "shards")
    packed = open_source(tmp_path / "shards", split_fraction=0.4)
    assert (packed.ids("val") == open_source(folder, split_fraction=0.4).ids("val")).all()
    pack(packed, tmp_path / "split")
    assert (open_source(tmp_path / "split").ids("val") == packed.ids("val")).all()
    with pytest.raises(OptionError, match="brings its own split"):
        open_source(tmp_path / "split", split_fraction=0.4)
    for share in (0, 1, -0.5, float("nan")):
        with pytest.raises(OptionError, match="between 0 and 1"):
            open_source(folder, split_fraction=share)
    with pytest.raises(OptionError, match="goes with an array"):
        open_source(folder, labels=tmp_path / "labels.npy")


@pytest.mark.parametrize("kind", ["array", "folder", "shards"])
def test_any_source_can_be_split_otherwise(tmp_path: Path, kind: str) -> None:
    source = open_source(write_contract_images(tmp_path / "images"))
    if kind == "shards":
        pack(source, tmp_path / "shards")
        source = open_source(tmp_path / "shards")
    elif kind == "array":
        source = opened(tmp_path, noise(COUNT, 4, 4))
    parts = (np.arange(len(source.labels)) % 3).astype(np.int8)
    other = source.with_parts(parts)
    assert other.ids("train").tolist() == np.flatnonzero(parts == 0).tolist()
    assert other.ids("val").tolist() == np.flatnonzero(parts == 1).tolist()
    assert other.read(4) == source.read(4)
    assert other.fingerprint == source.fingerprint
    for wrong in (parts[1:], parts + 1):
        with pytest.raises(SourceError, match="parts must be"):
            source.with_parts(wrong)


def test_a_packed_copy_keeps_labels_classes_and_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    images = noise(COUNT, 5, 7, 3)
    for labels in (LABELS, np.array(["b", "a"] * 20), np.linspace(0, 1, 3 * COUNT).reshape(COUNT, 3)):
        source = opened(tmp_path, images, labels)
        parts = (np.arange(COUNT) % 3).astype(np.int8)
        copies = [packed_copy(one).source for one in (source, source.with_parts(parts))]
        for copy, original in zip(copies, (source, source.with_parts(parts)), strict=True):
            assert copy.classes == original.classes
            assert copy.channels == 3
            np.testing.assert_array_equal(copy.labels, original.labels)
            for split in ("train", "val"):
                assert copy.ids(split).tolist() == original.ids(split).tolist()
            assert all(copy.read(sample) == original.read(sample) for sample in range(COUNT))
        assert copies[0].shards == copies[1].shards, "one copy serves both splits"


def test_shards_hold_no_targets(tmp_path: Path) -> None:
    source = opened(tmp_path, noise(COUNT, 4, 4), np.linspace(0, 1, COUNT))
    with pytest.raises(SourceError, match="numbers to predict"):
        pack(source, tmp_path / "shards")


def _with(value: float, place: int) -> Any:
    images = np.full((COUNT, 4, 4), 0.5, np.float32)
    images[place, 2, 1] = value
    return images


def _with_label(value: int, place: int) -> Any:
    labels = LABELS.copy()
    labels[place] = value
    return labels


OBJECTS = np.array([{"never": "unpickled"}] * COUNT, dtype=object)
GREY = noise(COUNT, 4, 4)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (GREY, LABELS[:-1], "holds 40 images and .*labels.npy 39 labels"),
        (GREY, np.float64(3), "one value"),
        (OBJECTS, LABELS, "faces.npy holds Python objects, which are never unpickled"),
        (GREY, OBJECTS, "labels.npy holds Python objects"),
        (_with(np.nan, 7), LABELS, r"faces.npy\[7\] holds nan"),
        (_with(np.inf, 8), LABELS, r"faces.npy\[8\] holds inf"),
        (_with(-0.01, 9), LABELS, r"faces.npy\[9\] holds -0.01"),
        (_with(16.0, 39), LABELS, r"faces.npy\[39\] holds 16"),
        (GREY.astype(np.int64), LABELS, "holds int64: images are uint8"),
        (noise(COUNT, 3, 8, 8), LABELS, "channels first"),
        (noise(COUNT, 8, 8, 4), LABELS, r"images are \(N, H, W\)"),
        (noise(COUNT, 8), LABELS, r"images are \(N, H, W\)"),
        (noise(0, 8, 8), LABELS[:0], "no pixel"),
        (GREY, LABELS - 1, r"labels.npy\[0\] is -1"),
        (GREY, LABELS * 10**12, r"labels.npy\[1\] is 1000000000000"),
        (GREY, np.full(COUNT, 2**64 - 1, np.uint64), r"labels.npy\[0\] is 18446744073709551615"),
        (GREY, _with_label(65_535, 17), r"labels.npy\[17\] is 65535, .* 65536 classes of 40 images; .*renum"),
        (GREY, _with_label(COUNT, 17), r"labels.npy\[17\] is 40, .* makes 41 classes of 40 images"),
        (GREY, _with_label(10, 17), r"labels.npy\[17\] is 10, .*: 6 of 11 would have no image; .*renumber"),
        (GREY, np.full(COUNT, 7), r"labels.npy\[0\] is 7, .*: 7 of 8 would have no image"),
        (GREY, np.eye(COUNT, 4, dtype=np.int64), "argmax"),
        (GREY, np.full(COUNT, np.nan), r"labels.npy\[0\] is nan"),
        (GREY, np.full(COUNT, 1e300), r"labels.npy\[0\] is 1e\+300"),
        (GREY, np.zeros(COUNT, "S3"), "labels are whole numbers, strings or floats"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, images: Any, labels: Any, words: str) -> None:
    np.save(tmp_path / "faces.npy", images, allow_pickle=True)
    np.save(tmp_path / "labels.npy", labels, allow_pickle=True)
    with pytest.raises(SourceError, match=words) as caught:
        open_source(tmp_path / "faces.npy", labels=tmp_path / "labels.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"hello", "cut", "zip"])
def test_a_file_that_is_no_array_is_refused(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "faces.npy"
    np.save(path, noise(COUNT, 40, 40))
    if content == "zip":
        with path.open("wb") as file:
            np.savez(file, one=GREY)
    else:
        path.write_bytes(path.read_bytes()[:5000] if content == "cut" else content)  # type: ignore[arg-type] # bytes here
    np.save(tmp_path / "labels.npy", LABELS)
    with pytest.raises(SourceError, match=r"faces\.npy"):
        open_source(path, labels=tmp_path / "labels.npy")


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut", "huge"])
@pytest.mark.parametrize("name", ["faces.npy", "labels.npy"])
def test_damaged_files_of_either_kind_are_refused(tmp_path: Path, name: str, content: bytes | str) -> None:
    np.save(tmp_path / "faces.npy", noise(COUNT, 6, 9))
    np.save(tmp_path / "labels.npy", LABELS)
    if content == "huge":  # a header that promises far more than the file holds
        with (tmp_path / name).open("wb") as file:
            header = {"descr": "<i8", "fortran_order": False, "shape": (10**14,)}
            np.lib.format.write_array_header_1_0(file, header)
    else:
        assert isinstance(content, bytes)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=name):
        open_source(tmp_path / "faces.npy", labels=tmp_path / "labels.npy")


def test_a_misspelt_array_is_looked_for(tmp_path: Path) -> None:
    opened(tmp_path, noise(COUNT, 6, 9))
    with pytest.raises(SourceError, match=r"face\.npy does not exist: did you mean .*faces\.npy"):
        open_source(tmp_path / "face.npy", labels=tmp_path / "labels.npy")
    with pytest.raises(OptionError, match="--label-field belongs to shards"):
        open_source(tmp_path / "faces.npy", labels=tmp_path / "labels.npy", label_field="label")


def test_a_copy_that_another_process_finished_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For another split, so that its packing is another: it serves as it is."""
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    source = opened(tmp_path, noise(COUNT, 6, 9))
    other = source.with_parts(np.arange(COUNT, dtype=np.int8) % 2)
    first: list[Any] = []
    pack_as_it_is = conversion.pack

    def pack_behind_another(*given: Any, **options: Any) -> Any:
        if not first:
            first.append(None)
            first[0] = packed_copy(other)
        return pack_as_it_is(*given, **options)

    monkeypatch.setattr(conversion, "pack", pack_behind_another)
    ours = packed_copy(source)
    assert ours.folder == first[0].folder
    assert ours.seconds == 0
    assert first[0].source.read(0) == ours.source.read(0)
    assert ours.source.ids("val").tolist() == source.ids("val").tolist()


def test_labels_must_be_named_and_be_there(tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", GREY)
    with pytest.raises(SourceError, match="--labels"):
        open_source(tmp_path / "faces.npy")
    with pytest.raises(ThroughputError, match=r"nowhere\.npy"):
        open_source(tmp_path / "faces.npy", labels=tmp_path / "nowhere.npy")


def test_an_array_that_is_gone_is_named(tmp_path: Path) -> None:
    source = opened(tmp_path, GREY)
    (tmp_path / "faces.npy").unlink()
    with pytest.raises(SampleError, match=r"faces\.npy\[3\]"):
        source.read(3)
