"""What is said of a pipeline's batches that nobody can certify."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from throughput.contracts import Augmentation, Batch, Work
from throughput.measure.plausible import implausible
from throughput.sources import open_source
from throughput.testing import write_contract_images


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Three classes."""
    return Work(open_source(write_contract_images(tmp_path / "images")), image_size=8, batch_size=4)


def batch(images: torch.Tensor, labels: list[int]) -> Batch:
    return Batch(images, torch.tensor(labels), torch.full((len(labels),), -2))


def pixels(low: float, high: float) -> torch.Tensor:
    return torch.linspace(low, high, 4 * 3 * 8 * 8).reshape(4, 3, 8, 8)


def remarks(work: Work, images: torch.Tensor, labels: list[int], samples: int = 0) -> list[str]:
    return list(implausible([batch(images, labels)], work, samples))


def test_normalised_pixels_and_known_labels_are_not_remarked_on(work: Work) -> None:
    images = len(work.source.ids("train"))
    for samples in (0, images):
        assert remarks(work, pixels(-2.1, 2.6), [0, 1, 2, 0], samples) == []


@pytest.mark.parametrize("labels", [[1, 2, 3, 1], [-1, 0, 1, 2], [0, 9999, 0, 0]])
def test_labels_beyond_the_classes(work: Work, labels: list[int]) -> None:
    (remark,) = remarks(work, pixels(-2, 2), labels)
    assert f"labels run from {min(labels)} to {max(labels)} and --data has 3 classes (0 to 2)" in remark


def test_pixels_that_were_not_divided_by_255(work: Work) -> None:
    (remark,) = remarks(work, pixels(-2.1, 1110), [0, 1, 2, 0])
    assert "reach from -2.1 to 1.11e+03" in remark
    assert "divide by 255" in remark


def test_pixels_that_were_not_normalised(work: Work) -> None:
    (remark,) = remarks(work, pixels(0, 1), [0, 1, 2, 0])
    assert "not normalised" in remark


def test_an_epoch_of_another_size(work: Work) -> None:
    (remark,) = remarks(work, pixels(-2, 2), [0, 1, 2, 0], samples=7)
    assert "an epoch of this pipeline holds 7 images" in remark


def test_noise_that_was_asked_for_is_not_remarked_on(work: Work) -> None:
    far = pixels(-5.0, 5.5)
    assert remarks(work, far, [0, 1, 2, 0])
    assert remarks(replace(work, augmentation=Augmentation(noise=0.2)), far, [0, 1, 2, 0]) == []


def test_a_smaller_last_batch_may_be_dropped(work: Work) -> None:
    images = len(work.source.ids("train"))
    assert images % 4, "there is one to drop"
    whole = images // 4 * 4
    assert remarks(work, pixels(-2, 2), [0, 1, 2, 0], whole) == []
    for samples in (whole - 4, whole + 4, images - 1 if images - 1 != whole else images + 1):
        assert len(remarks(work, pixels(-2, 2), [0, 1, 2, 0], samples)) == 1


def test_one_of_several_processes_reads_its_share(work: Work) -> None:
    images = len(work.source.ids("train"))
    work = replace(work, world_size=3, rank=1)
    assert images % 3, "shares differ"
    for share in (images // 3, images // 3 + 1, images // 3 // 4 * 4):
        assert remarks(work, pixels(-2, 2), [0, 1, 2, 0], share) == []
    (remark,) = remarks(work, pixels(-2, 2), [0, 1, 2, 0], images)
    assert "in 3 processes: it reads others" in remark


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 2])
def test_pixels_that_are_no_numbers(work: Work, value: float, place: int) -> None:
    batches = [batch(pixels(-2, 2), [0, 1, 2, 0]) for _ in range(3)]
    batches[place].images[1, 2, 3, 4] = value
    (remark,) = implausible(batches, work, 0)
    assert remark.startswith("1 of 3 batches hold pixels that are NaN or infinite")
