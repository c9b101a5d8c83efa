"""Which crops, angles and noise the work asks for, and what it refuses to be asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from throughput.canonical import Boxes, draw_angles, draw_boxes, noise_seed
from throughput.contracts import Augmentation, Source, Split, Work
from throughput.errors import OptionError

COUNT = 4000
SEEDS = 3


class Numbered(Source):
    """Ids and nothing else."""

    def __init__(self) -> None:
        self.location, self.classes, self.fingerprint = "nowhere", ("one",), ""
        self.labels = np.zeros(COUNT, np.int64)

    def ids(self, split: Split) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.arange(COUNT) if split == "train" else np.arange(0)

    def read(self, sample_id: int) -> bytes:
        raise NotImplementedError

    def describe(self, sample_id: int) -> str:
        raise NotImplementedError

    def encoded_bytes(self) -> int:
        return 0

    def files(self) -> tuple[()]:
        return ()


IDS = np.arange(COUNT)
WORK = Work(Numbered())


def drawn(work: Work, height: int, width: int, epoch: int = 0) -> Boxes:
    return draw_boxes(work, epoch, IDS, np.full(COUNT, height), np.full(COUNT, width))


def with_(split: Split = "train", **changes: Any) -> Work:
    return replace(WORK, split=split, augmentation=Augmentation(**changes))


def test_a_random_crop_is_a_square_that_lies_anywhere() -> None:
    boxes = drawn(with_(crop="random"), height=40, width=60)
    assert set(boxes.height) == set(boxes.width) == {35}
    for edges, room in ((boxes.top, 40 - 35), (boxes.left, 60 - 35)):
        counts = np.bincount(edges, minlength=room + 1)
        assert len(counts) == room + 1
        # Each count is binomial: six standard deviations.
        expected = COUNT / (room + 1)
        assert np.abs(counts - expected).max() < 6 * expected**0.5
    other = drawn(with_(crop="random"), height=40, width=60, epoch=1)
    assert (boxes.left != other.left).mean() > 0.9
    assert 0.4 < boxes.mirror.mean() < 0.6


@pytest.mark.parametrize(("height", "width", "top", "left", "side"), [(40, 60, 2, 12, 35), (1, 9, 0, 4, 1)])
def test_a_centre_crop_is_that_square_in_the_middle(
    height: int, width: int, top: int, left: int, side: int
) -> None:
    boxes = drawn(with_(crop="centre"), height=height, width=width)
    assert {(a, b, c, d) for a, b, c, d in zip(*(part.tolist() for part in boxes[:4]), strict=True)} == {
        (top, left, side, side)
    }


def test_no_crop_is_the_whole_image_mirrored_in_train_alone() -> None:
    for split, share in (("train", 0.5), ("val", 0.0)):
        work = with_(split, crop="none")  # type: ignore[arg-type] # a split
        assert not work.centred
        boxes = drawn(work, height=40, width=60)
        assert (boxes.top == 0).all()
        assert (boxes.left == 0).all()
        assert (boxes.height == 40).all()
        assert (boxes.width == 60).all()
        assert abs(boxes.mirror.mean() - share) < 0.05
    for crop in ("resized", "random", "centre"):
        assert with_("val", crop=crop).centred
        assert not with_("train", crop=crop).centred


def test_angles_are_uniform_and_each_sample_and_epoch_has_its_own() -> None:
    work = with_(rotation_degrees=30.0)
    angles = draw_angles(work, 0, IDS)
    assert np.abs(angles).max() <= 30
    # Kolmogorov-Smirnov distance to the uniform distribution: P(D > 2.5 / sqrt(n)) < 1e-5.
    places = np.sort((angles + 30) / 60)
    assert np.abs(places - (np.arange(COUNT) + 0.5) / COUNT).max() < 2.5 / COUNT**0.5
    assert abs(np.corrcoef(angles, draw_angles(work, 1, IDS))[0, 1]) < 5 / COUNT**0.5
    assert abs(np.corrcoef(angles, draw_angles(replace(work, seed=1), 0, IDS))[0, 1]) < 5 / COUNT**0.5
    assert (draw_angles(work, 0, IDS[::-1]) == angles[::-1]).all()
    # Not the number that decides where the crop lies, or whether it is mirrored.
    boxes = drawn(with_(crop="random"), height=200, width=200)
    for part in (boxes.left, boxes.top, boxes.mirror):
        assert abs(np.corrcoef(angles, part)[0, 1]) < 5 / COUNT**0.5


def test_the_seed_of_the_noise_depends_on_seed_epoch_and_ids() -> None:
    seeds = {
        noise_seed(replace(WORK, seed=seed), epoch, ids)
        for seed in range(SEEDS)
        for epoch in range(SEEDS)
        for ids in (IDS[:4], IDS[1:5], IDS[:4][::-1])
    }
    assert len(seeds) == SEEDS**2 * 3
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": "center"}, "crop .* must be one of resized, random, centre, none, got 'center'"),
        ({"flip": 1.5}, "flip .* 0..1, got 1.5"),
        ({"flip": float("nan")}, "flip"),
        ({"rotation_degrees": -1}, "rotation_degrees .* 0..180"),
        ({"rotation_degrees": 181}, "rotation_degrees"),
        ({"noise": -0.1}, "noise"),
        ({"noise": 2}, "noise .* 0..1"),
        ({"area": (0.5, 0.1)}, "area must be two numbers"),
        ({"area": (0.0, 1.0)}, "area"),
        ({"area": (0.1, 1.1)}, "area .* 1 at most"),
        ({"aspect": (0.0, 1.0)}, "aspect"),
        ({"aspect": (1.0, float("inf"))}, "aspect"),
    ],
)
def test_what_cannot_be_done_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Augmentation(**changes)
