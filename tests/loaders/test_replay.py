"""Replay is real batches, ready, again and again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from throughput.canonical import epoch_batches
from throughput.contracts import Source, Work
from throughput.errors import LoaderError
from throughput.loaders.replay import ReplayLoaderFactory, ReplayOptions
from throughput.measure.feed import Feed
from throughput.pixels import render_batch
from throughput.sources import open_source
from throughput.testing import write_contract_images


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("replay") / "images"))


@pytest.fixture
def work(source: Source) -> Work:
    return Work(source, image_size=32, batch_size=4, compute_dtype="bfloat16")


def test_the_first_batches_come_round_in_every_epoch(work: Work) -> None:
    wanted = [ids.tolist() for ids in epoch_batches(work, 0)]
    with ReplayLoaderFactory().open(work, ReplayOptions(batches=2)) as loader:
        assert loader.samples_per_epoch == sum(map(len, wanted))
        for epoch in (0, 5):
            came = [batch.ids.tolist() for batch in loader.epoch(epoch)]
            assert came == [wanted[place % 2] for place in range(len(wanted))]


def test_batches_are_ready_and_the_feed_copies_nothing(work: Work) -> None:
    with ReplayLoaderFactory().open(work, ReplayOptions()) as loader:
        given = [batch.images for batch in loader.epoch(0)]
        fed = [batch.images for batch in Feed(loader, work).epoch(0)]
    assert {images.dtype for images in given} == {torch.bfloat16}
    assert [images.data_ptr() for images in given] == [images.data_ptr() for images in fed]


def test_pixels_and_labels_are_real(work: Work) -> None:
    ids = epoch_batches(work, 0)[1]
    pixels = render_batch(work, 0, ids, [work.source.read(int(sample)) for sample in ids])
    with ReplayLoaderFactory().open(work, ReplayOptions(batches=2)) as loader:
        _, batch, *_ = loader.epoch(0)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (work.mean, work.std))
    wanted = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    torch.testing.assert_close(batch.images.float(), wanted, rtol=0.01, atol=0.01)
    assert batch.labels.tolist() == work.source.labels[ids].tolist()


def test_more_batches_than_an_epoch_has_are_the_whole_epoch(work: Work) -> None:
    with ReplayLoaderFactory().open(work, ReplayOptions(batches=1000)) as loader:
        ids = sorted(int(sample) for batch in loader.epoch(0) for sample in batch.ids)
    assert ids == work.source.ids("train").tolist()


def test_batches_without_a_good_image_are_an_error(tmp_path: Path) -> None:
    folder = write_contract_images(tmp_path / "images")
    for path in folder.rglob("*.*"):
        path.write_bytes(b"")
    work = Work(open_source(folder), image_size=32, batch_size=4, on_error="skip")
    with (
        pytest.raises(LoaderError, match="all images of the first 2 batches are bad"),
        ReplayLoaderFactory().open(work, ReplayOptions()),
    ):
        pass


def test_it_says_that_it_is_a_ceiling() -> None:
    assert ReplayLoaderFactory().ceiling
