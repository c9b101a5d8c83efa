"""What cannot be certified, what breaks, and what grey work is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from recipes import RIGHT, RecipeLoader, RecipeLoaderFactory, normalised

from throughput.certificate import make_certificate
from throughput.contracts import UNKNOWN_ID, Augmentation, Batch, Loader, LoaderFactory, Requirement, Work
from throughput.sources import open_source


class Changed(LoaderFactory):
    """The right batches, changed on their way out."""

    name = "changed"

    def __init__(self, change: Any) -> None:
        self._change = change

    @contextmanager
    def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
        loader = RecipeLoader(work, RIGHT)
        right = loader.epoch
        loader.epoch = lambda index: (self._change(batch) for batch in right(index))  # type: ignore[method-assign] # the fault
        yield loader


def failed(factory: LoaderFactory, work: Work, **options: Any) -> dict[str, str]:
    certificate = make_certificate(factory, None, work, data=options.get("data", False))
    assert certificate.comparable is False
    return {check.name: check.words for check in certificate.failed}


def test_ids_that_are_not_told_leave_nothing_to_certify(work: Work) -> None:
    factory = Changed(lambda batch: batch._replace(ids=torch.full_like(batch.ids, UNKNOWN_ID)))
    certificate = make_certificate(factory, None, work, data=False)
    assert certificate.comparable is None
    assert certificate.reason is not None
    assert "does not tell which samples" in certificate.reason


def test_a_ceiling_and_a_missing_library_are_not_certified(work: Work) -> None:
    class Ceiling(RecipeLoaderFactory):
        ceiling = True

    class Lacking(RecipeLoaderFactory):
        requires = (Requirement("not_a_module_at_all", "pip install it"),)

    assert make_certificate(Ceiling(), None, work, data=False).comparable is None
    lacking = make_certificate(Lacking(), None, work, data=False)
    assert lacking.comparable is None
    assert lacking.reason == "not_a_module_at_all is missing: pip install it"
    small = make_certificate(RecipeLoaderFactory(), None, replace(work, image_size=8), data=False)
    assert small.comparable is None


def test_a_loader_that_raises_fails_in_words(work: Work) -> None:
    def burst(batch: Batch) -> Batch:  # noqa: ARG001 - the fault
        raise ValueError("out of paper")

    found = failed(Changed(burst), work)
    assert set(found) == {"val.run", "train.run"}
    assert "ValueError: out of paper" in found["train.run"]


@pytest.mark.parametrize(
    ("change", "check", "words"),
    [
        (lambda batch: batch._replace(images=(255 * batch.images).int()), "val.dtype", "int32"),
        (lambda batch: batch._replace(labels=batch.labels.float()), "val.dtype", "labels are float32"),
        (
            lambda batch: batch._replace(images=batch.images.permute(0, 2, 3, 1)),
            "val.shape",
            "(3, 32, 32, 3)",
        ),
        (lambda batch: batch._replace(labels=batch.labels[1:]), "val.shape", "labels"),
    ],
    ids=["whole-numbers", "labels-as-floats", "channels-last", "a-label-short"],
)
def test_a_batch_that_breaks_the_contract_is_said_and_nothing_else(
    work: Work, change: Any, check: str, words: str
) -> None:
    found = failed(Changed(change), replace(work, batch_size=3))
    assert set(found) == {check, check.replace("val", "train")}
    assert words in found[check]


def test_an_epoch_without_end_is_left(work: Work) -> None:
    class Endless(RecipeLoaderFactory):
        @contextmanager
        def open(self, work: Work, options: Any) -> Iterator[Loader]:  # noqa: ARG002 - part of the contract
            loader = RecipeLoader(work, RIGHT)
            batch = next(iter(loader.epoch(0)))
            loader.epoch = lambda index: iter(lambda: batch, None)  # type: ignore[method-assign] # noqa: ARG005 - the fault
            yield loader

    assert {"val.ids", "train.ids"} <= set(failed(Endless(), work))


def test_filler_and_a_narrow_dtype_are_no_faults_and_no_random_state_is_touched(work: Work) -> None:
    def pad(batch: Batch) -> Batch:
        images, labels = (torch.cat([part, part[:1]]) for part in batch[:2])
        return Batch(images, labels, torch.cat([batch.ids, torch.tensor([-1])]))

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    certificate = make_certificate(Changed(pad), None, replace(work, compute_dtype="bfloat16"), data=False)
    assert certificate.comparable, certificate.failed
    assert torch.rand(1) == expected


def test_a_loader_that_normalises_otherwise_in_half_precision_is_caught(work: Work) -> None:
    def careless(images: torch.Tensor, over: Work) -> torch.Tensor:
        ready = normalised(images, over)
        return ready if over.compute_dtype == "float32" else (ready * 1.05).to(torch.bfloat16)

    factory = RecipeLoaderFactory(replace(RIGHT, finish=careless))
    assert make_certificate(factory, None, work, data=False).comparable
    assert "val.bfloat16" in failed(factory, replace(work, compute_dtype="bfloat16"))


def test_angles_and_noise_too_small_to_be_read_are_told(work: Work) -> None:
    hardly = replace(work, augmentation=Augmentation(rotation_degrees=1.0, noise=0.005))
    certificate = make_certificate(RecipeLoaderFactory(), None, hardly, data=False)
    assert certificate.reason is not None
    assert "angles of less than 2 degrees" in certificate.reason
    assert "noise of less than" in certificate.reason


def test_grey_work_is_certified_and_told_what_was_not_looked_at(work: Work) -> None:
    grey = replace(work, channels=1, mean=(0.5,), std=(0.25,))
    certificate = make_certificate(RecipeLoaderFactory(), None, grey, data=False)
    assert certificate.comparable, certificate.failed
    assert certificate.reason is not None
    assert "grey" in certificate.reason
    assert "train.pixels" not in {check.name for check in certificate.checks}
    unmirrored = failed(RecipeLoaderFactory(replace(RIGHT, flip=0.0)), grey)
    assert set(unmirrored) == {"train.flip"}
    assert "train.smallest_areas" in failed(RecipeLoaderFactory(replace(RIGHT, area=(0.1, 1.0))), grey)


def test_the_users_own_images_are_looked_at(work: Work, tmp_path: Path) -> None:
    for name, shade in (("dark", 60), ("light", 180)):
        folder = tmp_path / "val" / name
        folder.mkdir(parents=True)
        (tmp_path / "train" / name).mkdir(parents=True)
        for place, mode in enumerate(("RGB", "L", "CMYK")):
            ramp = (
                Image.linear_gradient("L").resize((80, 60)).point(lambda level, top=shade: level * top // 255)
            )
            ramp.convert(mode).save(folder / f"{place}.jpg", quality=95)
        ramp.save(folder / "3.png")
        ramp.save(tmp_path / "train" / name / "0.png")
    mine = replace(work, source=open_source(tmp_path))

    def darker(images: torch.Tensor, over: Work) -> torch.Tensor:
        ours = over.source.fingerprint == mine.source.fingerprint
        return normalised(images // 2 if ours else images, over)

    right = make_certificate(RecipeLoaderFactory(), None, mine, data=True)
    assert right.comparable, right.failed
    found = failed(RecipeLoaderFactory(replace(RIGHT, finish=darker)), mine, data=True)
    assert found
    assert set(found) <= {"data.range", "data.mean", "data.std"}
    assert not any(
        check.name.startswith("data")
        for check in make_certificate(RecipeLoaderFactory(), None, mine, data=False).checks
    )
