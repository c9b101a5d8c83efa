"""Crops from regions of packed images: the canonical pixels of the originals, whatever way they are made."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from throughput.contracts import Source, Split, Work
from throughput.errors import SampleError
from throughput.jpeg.splice import DAMAGES
from throughput.loaders.regions import Renderer, Ways
from throughput.pixels import render_batch
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import pack

Pixels = NDArray[np.uint8]
GREY = {"channels": 1, "mean": (0.5,), "std": (0.25,)}
EPOCHS = 3


def picture(number: int) -> Pixels:
    """A photo-like image of its own size, (H, W, 3): waves, an edge and noise."""
    rng = np.random.default_rng(number)
    height, width = (int(side) for side in rng.integers(150, 420, 2))
    down, across = np.mgrid[:height, :width]
    waves = [np.sin(down / rng.uniform(9, 40)) + np.cos(across / rng.uniform(9, 40)) for _ in range(3)]
    pixels = 128 + 45 * np.stack(waves, axis=2) + rng.normal(0, 6, (height, width, 3))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def by_pillow(image: Image.Image, kind: str = "JPEG", **settings: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **settings)
    return data.getvalue()


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


def every_id(source: Source) -> NDArray[np.int64]:
    return np.arange(len(source.labels), dtype=np.int64)


def id_of(folder: Source, name: str) -> int:
    """The id of an image by its file's name."""
    return next(int(one) for one in every_id(folder) if Path(folder.describe(int(one))).name == name)


def work_over(source: Source, split: Split = "train", **changes: Any) -> Work:
    return replace(Work(source, split, image_size=48, batch_size=8), **changes)


def rendered(work: Work, ways: Ways, ids: NDArray[np.int64] | None = None, epoch: int = 0) -> Pixels:
    ids = every_id(work.source) if ids is None else ids
    out = np.full((len(ids), work.image_size, work.image_size, work.channels), 99, np.uint8)
    Renderer(work, ways).render(epoch, ids, out)
    return out


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
    sound = rendered(work, Ways(verify=True), ids)
    for place in rng.integers(0, own.sizes[sample], 50).tolist():
        byte = own.read(sample)[place]
        old = overwrite(own, sample, place, bytes((int(byte) ^ 1 << int(rng.integers(8)),)))
        with pytest.raises(SampleError, match=r"not those that were packed \(CRC-32\)") as caught:
            rendered(work, Ways(verify=True), ids)
        assert caught.value.sample == own.describe(sample)
        overwrite(own, sample, place, old)
    assert np.array_equal(rendered(work, Ways(verify=True), ids), sound)


def test_where_no_checksum_was_kept_there_is_nothing_to_verify_by(folder: Source) -> None:
    with pytest.raises(SampleError, match="no checksum was kept"):
        rendered(work_over(folder), Ways(verify=True))


def test_a_damaged_marker_is_named(folder: Source, own: ShardSource) -> None:
    sample, work = id_of(folder, "3-420.jpg"), work_over(own)
    epoch = next(epoch for epoch in range(20) if own.describe(sample) in cuts(work, epoch))
    data = own.read(sample)
    for place in range(data.rindex(b"\xff\xda") + 14, len(data) - 1):
        if data[place] == 0xFF and 0xD0 <= data[place + 1] <= 0xD7:
            overwrite(own, sample, place, b"\x00\x00")
    with pytest.raises(SampleError) as caught:
        rendered(work, Ways(), np.array([sample]), epoch)
    assert caught.value.sample == own.describe(sample)
    assert any(text in str(caught.value) for text in DAMAGES.values())
