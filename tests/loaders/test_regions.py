"""Crops from regions of packed images: the canonical pixels of the originals, whatever way they are made."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from region_pictures import Pixels, by_pillow, every_id, picture, rendered, work_over, written

from throughput.contracts import Augmentation, Source, Split, Work
from throughput.errors import SampleError
from throughput.loaders.ahead import sized
from throughput.loaders.region_dali import cut_batch
from throughput.loaders.regions import Renderer, Ways
from throughput.pixels import render_batch
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack

GREY = {"channels": 1, "mean": (0.5,), "std": (0.25,)}
EPOCHS = 3


def photos() -> dict[str, bytes]:
    """JPEGs of which regions can be cut, by name."""
    found = {}
    for number, layout in enumerate(("444", "422", "440", "420", "411", "420")):
        made = simplejpeg.encode_jpeg(picture(number), quality=90, colorsubsampling=layout)
        found[f"{number}-{layout}.jpg"] = made
    image = Image.fromarray(picture(20))
    found["progressive.jpg"] = by_pillow(image, quality=90, progressive=True)
    found["grey.jpg"] = by_pillow(image.convert("L"), quality=90)
    found["restarts.jpg"] = by_pillow(image, quality=90, restart_marker_blocks=1)
    return found


def others() -> dict[str, bytes]:
    """Images that are decoded whole, by name."""
    image = Image.fromarray(picture(30))
    sixteen = np.asarray(image)[:, :, 0].astype(np.uint16) * 256 + 77
    return {
        "cmyk.jpg": by_pillow(image.convert("CMYK"), quality=90),
        "colour.png": by_pillow(image, "PNG"),
        "palette.png": by_pillow(image.quantize(64), "PNG"),
        "grey.png": by_pillow(image.convert("L"), "PNG"),
        "transparent.png": by_pillow(image.convert("RGBA"), "PNG"),
        "sixteen.png": by_pillow(Image.fromarray(sixteen), "PNG"),
        "two.png": by_pillow(image.convert("1"), "PNG"),
        "lossy.webp": by_pillow(image, "WEBP", quality=90),
    }


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("THROUGHPUT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Source:
    root = tmp_path_factory.mktemp("images")
    for name, images in (("cut", photos()), ("whole", others())):
        (root / name).mkdir()
        for file, data in images.items():
            (root / name / file).write_bytes(data)
    return open_source(root)


def packed_from(folder: Source, out: Path) -> ShardSource:
    pack(folder, out, samples_per_shard=6, growth=1.0)
    source = open_source(out)
    assert isinstance(source, ShardSource)
    return source


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, folder: Source) -> ShardSource:
    return packed_from(folder, tmp_path_factory.mktemp("shards"))


def id_of(folder: Source, name: str) -> int:
    """The id of an image by its file's name."""
    return next(int(one) for one in every_id(folder) if Path(folder.describe(int(one))).name == name)


def canonical(work: Work, epoch: int = 0) -> Pixels:
    """Pillow's pixels of all samples of a source."""
    ids = every_id(work.source)
    return render_batch(work, epoch, ids, [work.source.read(int(sample)) for sample in ids])


def cuts(work: Work, epoch: int) -> set[str]:
    """Samples of which only a part of the pixels is decoded."""
    renderer = Renderer(work, Ways())
    samples = renderer.read(every_id(work.source))
    found = set()
    for sample, wanted in zip(samples, renderer.wanted(epoch, samples), strict=True):
        encoded = renderer.cut(sample, wanted)
        if encoded.height * encoded.width < sample.height * sample.width:
            found.add(work.source.describe(sample.id))
    return found


@pytest.mark.parametrize("channels", [{}, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("size", [16, 48, 160])
@pytest.mark.parametrize("split", ["train", "val"])
def test_pixels_are_the_canonical_ones_of_the_originals(
    folder: Source, packed: ShardSource, split: Split, size: int, channels: dict[str, Any]
) -> None:
    errors = []
    for epoch in range(EPOCHS if split == "train" else 1):
        ours = rendered(work_over(packed, split, image_size=size, **channels), Ways(), epoch=epoch)
        errors.append(
            ours.astype(int) - canonical(work_over(folder, split, image_size=size, **channels), epoch)
        )
        for sample in every_id(folder):
            error = np.abs(errors[-1][sample])
            assert error.max() <= 1, folder.describe(int(sample))
            # Pillow rounds twice: up to a fifth of its values are one off.
            assert error.mean() < 0.25, folder.describe(int(sample))
    assert abs(np.mean(errors)) < 0.02, "as often above as below"


@pytest.mark.parametrize("split", ["train", "val"])
def test_regions_are_cut_and_change_nothing(packed: ShardSource, split: Split) -> None:
    work = work_over(packed, split, image_size=32)
    for epoch in range(2 * EPOCHS if split == "train" else 1):
        assert np.array_equal(
            rendered(work, Ways(), epoch=epoch), rendered(work, Ways(region=False), epoch=epoch)
        )
    cut = set.union(*(cuts(work, epoch) for epoch in range(2 * EPOCHS)))
    if split == "train":
        assert len(cut) == len(photos()), "of every JPEG that can be, a region is cut in some epoch"
    else:
        assert len(cut) > 2, "what lies beside the centre of long images is left out"


@pytest.mark.parametrize("size", [16, 24, 33])
def test_all_that_the_filter_reaches_is_in_the_region(tmp_path: Path, size: int) -> None:
    """Regions of the narrowest intervals, 8 pixels, end close behind what a held-out image needs."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in range(15):
            rng = np.random.default_rng([number, folder == "a"])
            noise = rng.integers(0, 256, (int(rng.integers(60, 99)), int(rng.integers(100, 200))), np.uint8)
            image = Image.fromarray(noise if folder == "a" else noise.T)
            image.save(tmp_path / folder / f"{number}.jpg", restart_marker_blocks=1)
    work = work_over(open_source(tmp_path), "val", image_size=size)
    assert len(cuts(work, 0)) == 30
    assert np.array_equal(rendered(work, Ways()), rendered(work, Ways(region=False)))


def test_a_folder_gives_the_pixels_of_its_packed_copy(folder: Source, packed: ShardSource) -> None:
    """One of its files has restart intervals: regions of it are cut without an index."""
    assert np.array_equal(rendered(work_over(folder), Ways()), rendered(work_over(packed), Ways()))
    cut = set.union(*(cuts(work_over(folder), epoch) for epoch in range(2 * EPOCHS)))
    assert {Path(name).name for name in cut} == {"restarts.jpg"}


def test_memory_that_is_used_again_leaves_no_trace(packed: ShardSource) -> None:
    work = work_over(packed)
    renderer = Renderer(work, Ways())
    ids = np.random.default_rng(1).permutation(np.tile(every_id(packed), 2))
    out = np.empty((len(ids), 48, 48, 3), np.uint8)
    renderer.render(0, ids, out)
    assert np.array_equal(out, rendered(work, Ways())[ids])


def test_half_size_is_close_and_not_the_same(packed: ShardSource) -> None:
    work = work_over(packed, image_size=16)
    whole = work_over(packed, "val", image_size=16)
    for one in (work, whole):
        exact, half = rendered(one, Ways()), rendered(one, Ways(half=True))
        error = np.abs(exact.astype(int) - half).mean(axis=(1, 2, 3))
        assert error.mean() > 0
        assert error.max() < 2.5


def test_half_size_leaves_small_crops_alone(packed: ShardSource) -> None:
    """An image of 420 pixels at most is not twice as large as what is made of it."""
    work = work_over(packed, image_size=224)
    assert np.array_equal(rendered(work, Ways(half=True)), rendered(work, Ways()))


@pytest.fixture
def own(tmp_path: Path, folder: Source) -> ShardSource:
    """A packed copy that a test may damage."""
    return packed_from(folder, tmp_path / "own")


def overwrite(source: ShardSource, sample: int, place: int, new: bytes) -> bytes:
    """Write into a sample where it lies; what was there before."""
    with Path(source.shards[source.shard_of[sample]]).open("r+b") as shard:
        shard.seek(int(source.offsets[sample]) + place)
        old = shard.read(len(new))
        shard.seek(int(source.offsets[sample]) + place)
        shard.write(new)
    return old


@pytest.mark.parametrize("name", ["3-420.jpg", "sixteen.png"])
def test_any_flipped_bit_is_found_and_named(folder: Source, own: ShardSource, name: str) -> None:
    sample = id_of(folder, name)
    work, ids = work_over(own), np.array([sample])
    rng = np.random.default_rng(2)
    sound = rendered(work, Ways(), ids)
    for place in rng.integers(0, own.sizes[sample], 50).tolist():
        byte = own.read(sample)[place]
        old = overwrite(own, sample, place, bytes((int(byte) ^ 1 << int(rng.integers(8)),)))
        with pytest.raises(SampleError, match=r"not those that were packed \(CRC-32\)") as caught:
            rendered(work, Ways(), ids)
        assert caught.value.sample == own.describe(sample)
        overwrite(own, sample, place, old)
    assert np.array_equal(rendered(work, Ways(), ids), sound)


def test_a_damaged_marker_is_named(folder: Source, own: ShardSource) -> None:
    sample, work = id_of(folder, "3-420.jpg"), work_over(own)
    epoch = next(epoch for epoch in range(20) if own.describe(sample) in cuts(work, epoch))
    data = own.read(sample)
    for place in range(data.rindex(b"\xff\xda") + 14, len(data) - 1):
        if data[place] == 0xFF and 0xD0 <= data[place + 1] <= 0xD7:
            overwrite(own, sample, place, b"\x00\x00")
    with pytest.raises(SampleError, match="not those that were packed") as caught:
        rendered(work, Ways(), np.array([sample]), epoch)
    assert caught.value.sample == own.describe(sample)


def zero_some(source: ShardSource, sample: int) -> None:
    """Coded bytes here and there, no marker among them: the file still has its end."""
    data = source.read(sample)
    for place in range(data.rindex(b"\xff\xda") + 14, len(data) - 40, 40):
        if b"\xff" not in data[place - 1 : place + 21]:
            overwrite(source, sample, place, bytes(20))


def test_damage_between_markers_is_named_though_a_decoder_could_go_on(
    folder: Source, own: ShardSource
) -> None:
    """The whole file has its end, and libjpeg makes pixels of it: the checksum tells that it was changed."""
    sample, work = id_of(folder, "3-420.jpg"), work_over(own)
    epoch = next(epoch for epoch in range(20) if own.describe(sample) in cuts(work, epoch))
    zero_some(own, sample)
    with pytest.raises(SampleError, match="not those that were packed") as caught:
        rendered(work, Ways(), np.array([sample]), epoch)
    assert caught.value.sample == own.describe(sample)


@pytest.mark.parametrize("ways", [Ways(), Ways(region=False)], ids=["all intervals", "whole images"])
def test_damage_is_named_where_an_image_is_decoded_whole(
    folder: Source, own: ShardSource, ways: Ways
) -> None:
    whole = work_over(own, augmentation=Augmentation(crop="none"))
    for name in photos():
        sample = id_of(folder, name)
        assert rendered(whole, ways, np.array([sample])).any()
        zero_some(own, sample)
        with pytest.raises(SampleError, match="not those that were packed") as caught:
            rendered(whole, ways, np.array([sample]))
        assert caught.value.sample == own.describe(sample)


@pytest.mark.usefixtures("_cache")
def test_a_strange_header_is_no_damage_where_an_image_is_decoded_whole(tmp_path: Path) -> None:
    data = by_pillow(Image.fromarray(picture(5)), quality=90)
    source = written(tmp_path / "images", {"strange.jpg": strange(data)["version.jpg"]})
    own = packed_from(source, tmp_path / "packed")
    whole = {"augmentation": Augmentation(crop="none")}
    expected = canonical(work_over(source, **whole))
    for ways in (Ways(), Ways(region=False)):
        assert np.abs(rendered(work_over(own, **whole), ways).astype(int) - expected).max() <= 1


def strange(data: bytes) -> dict[str, bytes]:
    """What decoders cope with: a restart marker too many, and a JFIF version that libjpeg warns of."""
    version = data.index(b"JFIF") + 5
    return {
        "marker.jpg": data[:-2] + b"\xff\xd0" + data[-2:],
        "version.jpg": data[:version] + b"\x09" + data[version + 1 :],
    }


@pytest.mark.usefixtures("_cache")
def test_strange_files_that_decoders_cope_with_are_decoded(tmp_path: Path) -> None:
    data = by_pillow(Image.fromarray(picture(5)), quality=90, restart_marker_blocks=1)
    files = strange(data)
    source = written(tmp_path / "images", files)
    for work in (work_over(source), work_over(source, channels=1, mean=(0.5,), std=(0.25,))):
        for epoch in range(8):
            ours = rendered(work, Ways(), epoch=epoch)
            assert np.abs(ours.astype(int) - canonical(work, epoch)).max() <= 1
    assert set.union(*(cuts(work_over(source), epoch) for epoch in range(8))) == {
        source.describe(id_of(source, "version.jpg"))
    }
    for half in (Ways(half=True), Ways(half=True, region=False)):
        assert rendered(work_over(source, image_size=16), half).any(axis=(1, 2, 3)).all()


@pytest.mark.usefixtures("_cache")
def test_a_strange_header_in_a_packed_shard_is_decoded(tmp_path: Path) -> None:
    data = by_pillow(Image.fromarray(picture(5)), quality=90)
    source = written(tmp_path / "images", {"version.jpg": strange(data)["version.jpg"]})
    own = packed_from(source, tmp_path / "packed")
    assert own.read(0)[11] == 9
    seen = 0
    for epoch in range(8):
        seen += len(cuts(work_over(own), epoch))
        assert np.array_equal(
            rendered(work_over(own), Ways(), epoch=epoch),
            rendered(work_over(own), Ways(region=False), epoch=epoch),
        )
    assert seen


@pytest.mark.usefixtures("_cache")
def test_regions_for_another_decoder_are_the_same_by_any_number_of_threads(
    tmp_path: Path, packed: ShardSource
) -> None:
    """Whole images where nothing can be cut, and regions of the others."""
    data = by_pillow(Image.fromarray(picture(5)), quality=90, restart_marker_blocks=1)
    for source in (written(tmp_path / "images", strange(data)), packed):
        work = work_over(source)
        ids = np.tile(every_id(source), 25)
        images = [sized(work, int(sample), source.read(int(sample))) for sample in ids]
        one, many = (cut_batch(replace(work, workers=count), 0, ids, images) for count in (1, 3))
        assert [found.tobytes() for found in one.data] == [found.tobytes() for found in many.data]
        assert np.array_equal(one.regions.start, many.regions.start)
        assert sum(map(len, one.data)) < sum(len(image[0]) for image in images)
        for place, sample in enumerate(ids.tolist()):
            if source.describe(sample).endswith("marker.jpg"):
                assert one.data[place].tobytes() == source.read(sample)


@pytest.mark.parametrize("name", ["3-420.jpg", "0-444.jpg", "colour.png"])
def test_more_pixels_than_pillow_takes_are_refused(
    folder: Source, packed: ShardSource, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = id_of(folder, name)
    with Image.open(io.BytesIO(folder.read(sample))) as image:
        count = image.height * image.width
    for source in (folder, packed):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", (count - 1) // 2)
        with pytest.raises(SampleError, match=f"not a readable image: .*{count} pixels") as caught:
            rendered(work_over(source), Ways(), np.array([sample]))
        assert caught.value.sample == source.describe(sample)
        for enough in (-(-count // 2), None):
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", enough)
            assert rendered(work_over(source), Ways(), np.array([sample])).any()


def test_an_image_of_another_size_is_not_resized_as_what_it_was(folder: Source, own: ShardSource) -> None:
    """A kernel would read beyond its pixels."""
    sample = id_of(folder, "3-420.jpg")
    other = by_pillow(Image.new("CMYK", (24, 24), (10, 20, 30, 40)))
    overwrite(own, sample, 0, other + bytes(int(own.sizes[sample]) - len(other)))
    for ways in (Ways(), Ways(region=False)):
        with pytest.raises(SampleError, match=r"index beside its shard|not those that") as caught:
            rendered(work_over(own), ways, np.array([sample]))
        assert caught.value.sample == own.describe(sample)
