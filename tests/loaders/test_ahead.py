"""Encoded batches read ahead: the right bytes and regions, every error handed over, every thread ended."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from throughput.canonical import centre_crop, draw_boxes, epoch_batches
from throughput.contracts import Fault, Source, Work
from throughput.errors import SampleError
from throughput.loaders.ahead import BLACK, Ahead, Encoded, encoded_batch, sized
from throughput.sources import FolderSource, open_source
from throughput.testing import write_contract_images


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("ahead") / "images"))


@pytest.fixture
def work(source: Source) -> Work:
    return Work(source, image_size=32, batch_size=8, workers=2)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [
        thread.name for thread in threading.enumerate() if thread.name.startswith("throughput-read")
    ] == []


def read(work: Work, first_epoch: int, batches: int | None) -> list[Encoded]:
    ahead = Ahead(work, first_epoch, batches=2)
    try:
        return list(islice(ahead, batches))
    finally:
        ahead.close()


def test_train_goes_from_epoch_to_epoch_without_end(work: Work) -> None:
    wanted = [ids.tolist() for epoch in (3, 4, 5) for ids in epoch_batches(work, epoch)]
    assert [batch.ids.tolist() for batch in read(work, 3, len(wanted))] == wanted


def test_val_is_one_epoch_and_stays_at_its_end(work: Work) -> None:
    work = replace(work, split="val", batch_size=2)
    ahead = Ahead(work, 0, batches=1)
    assert [batch.ids.tolist() for batch in ahead] == [ids.tolist() for ids in epoch_batches(work, 0)]
    assert next(ahead, None) is None
    assert next(ahead, None) is None
    ahead.close()


def test_plain_jpegs_pass_as_they_are_and_all_else_as_pixels_that_any_decoder_takes(work: Work) -> None:
    for batch in read(work, 0, len(epoch_batches(work, 0))):
        for sample, data in zip(batch.ids.tolist(), batch.data, strict=True):
            original = work.source.read(sample)
            with Image.open(io.BytesIO(original)) as image:
                plain = image.format == "JPEG" and image.mode in ("RGB", "L")
                pixels = np.asarray(image.convert("RGB"))
            if plain:
                assert data.tobytes() == original
            else:
                assert np.array_equal(np.asarray(Image.open(io.BytesIO(data.tobytes()))), pixels)


def test_train_regions_are_the_canonical_crops_and_mirrors_run_from_right_to_left(work: Work) -> None:
    ids = np.arange(8)
    heights, widths = np.arange(40, 48), np.arange(90, 82, -1)
    boxes = draw_boxes(work, 2, ids, heights, widths)
    images = [(b"", int(height), int(width)) for height, width in zip(heights, widths, strict=True)]
    regions = encoded_batch(work, 2, ids, images).regions
    assert 0 < boxes.mirror.sum() < 8, "both kinds are tested"
    for place in range(8):
        top, left, height, width, mirror = (int(values[place]) for values in boxes)
        assert regions.start[place].tolist() == [top, left]
        assert regions.shape[place].tolist() == [height, width]
        assert regions.resize_from[place].tolist() == [0, width if mirror else 0]
        assert regions.resize_to[place].tolist() == [height, 0 if mirror else width]


@pytest.mark.parametrize("size", [(40, 90), (91, 37), (32, 32)])
def test_val_regions_are_the_centre_crop_in_pixels_of_the_whole_image(
    work: Work, size: tuple[int, int]
) -> None:
    height, width = size
    work = replace(work, split="val")
    regions = encoded_batch(work, 0, np.array([0]), [(b"", height, width)]).regions
    crop = centre_crop(height, width, 32)
    assert regions.start[0].tolist() == [0, 0]
    assert regions.shape[0].tolist() == [height, width]
    scale = np.array([crop.height / height, crop.width / width])
    np.testing.assert_allclose(regions.resize_from[0] * scale, [crop.top, crop.left], atol=1e-4)
    np.testing.assert_allclose(regions.resize_to[0] * scale, [crop.top + 32, crop.left + 32], atol=1e-4)


@pytest.mark.parametrize("cut", [2, 100])
def test_a_jpeg_without_its_end_is_refused_before_any_crop_of_it(work: Work, cut: int) -> None:
    data = next(data for data in map(work.source.read, range(20)) if data[:2] == b"\xff\xd8")
    assert sized(work, 0, data)[0] == data
    with pytest.raises(SampleError, match="damaged"):
        sized(work, 0, data[:-cut])


def test_bytes_behind_the_end_of_a_jpeg_do_no_harm(work: Work) -> None:
    data = next(data for data in map(work.source.read, range(20)) if data[:2] == b"\xff\xd8")
    with Image.open(io.BytesIO(data)) as image:
        assert sized(work, 0, data + b"\x00\x00")[1:] == (image.height, image.width)


def test_a_bad_sample_that_is_met_again_is_told_once(work: Work) -> None:
    (batch,) = read(work, 0, 1)
    first, second = (Fault(sample, "somewhere", "cut") for sample in batch.ids[:2].tolist())
    once = batch.without({first.id: first})
    again = once.without({first.id: first, second.id: second})
    assert once.faults == [first]
    assert again.faults == [first, second]
    assert [again.data[place].tobytes() == BLACK for place in range(3)] == [True, True, False]


def test_an_error_is_handed_over_once_and_ends_the_batches(tmp_path: Path) -> None:
    folder = write_contract_images(tmp_path / "images")
    source = open_source(folder)
    assert isinstance(source, FolderSource)
    victim = int(source.ids("train")[0])
    Path(source.path(victim)).write_bytes(b"")
    ahead = Ahead(Work(source, image_size=32, batch_size=4, workers=2), 0, batches=1)
    with pytest.raises(SampleError, match="the file is empty") as caught:
        list(ahead)
    assert caught.value.sample == source.path(victim)
    assert next(ahead, None) is None
    ahead.close()


def test_closing_ends_a_reader_that_waits_for_room(work: Work) -> None:
    ahead = Ahead(work, 0, batches=1)
    next(ahead)
    ahead.close()
    ahead.close()
