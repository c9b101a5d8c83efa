"""What trained models answer: through any loader alike, together better than alone, and as features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from throughput.contracts import Batch, Work
from throughput.errors import LoaderError, OptionError, SampleError
from throughput.sources import open_source
from throughput.sources.pack import pack
from throughput.testing import write_contract_images
from throughput.training.checkpoint import Subject, read
from throughput.training.course import Training
from throughput.training.errors import CheckpointError
from throughput.training.guess import guess
from throughput.training.judging import Judging, features, predictions_of
from throughput.training.metrics import judge, judge_classes
from throughput.training.predictions import Predictions, ensemble, predict
from throughput.training.trainer import train

MakeTraining = Callable[..., Training]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judging")


@pytest.fixture
def judging(work: Work) -> Judging:
    return Judging(work.source, workers=1, device="cpu", precision="fp32")


def test_answers_come_by_id_once_each_and_without_filler() -> None:
    def batch(ids: list[int]) -> Batch:
        numbers = torch.tensor(ids)
        return Batch(numbers[:, None].float(), 10 * numbers, numbers)

    found = predict(lambda images: images * 2, [batch([5, 2, -1]), batch([4, 2, 0])])
    assert found.ids.tolist() == [0, 2, 4, 5]
    assert found.labels.tolist() == [0, 20, 40, 50]
    assert found.outputs.tolist() == [[0], [4], [8], [10]]
    with pytest.raises(LoaderError, match="no image"):
        predict(lambda images: images, [])


def test_every_image_of_the_split_must_come_and_no_other() -> None:
    def batch(*ids: int) -> Batch:
        numbers = torch.tensor(ids)
        return Batch(numbers[:, None].float(), numbers, numbers)

    wanted = np.array([2, 5, 7])
    assert predict(lambda images: images, [batch(5, 2), batch(7)], wanted).ids.tolist() == [2, 5, 7]
    with pytest.raises(LoaderError, match=r"2 of 3 images of this split did not come .* id 5"):
        predict(lambda images: images, [batch(2)], wanted)
    with pytest.raises(LoaderError, match="yielded id 9, which is not of this split"):
        predict(lambda images: images, [batch(2, 5, 7, 9)], wanted)


def test_answers_of_many_batches_keep_their_order() -> None:
    batches = [
        Batch(torch.full((1, 1), float(sample)), torch.tensor([sample]), torch.tensor([sample]))
        for sample in reversed(range(40))
    ]
    found = predict(lambda images: images, batches)
    assert found.outputs.flatten().tolist() == found.labels.tolist() == list(range(40))


def test_a_class_without_a_chance_has_a_finite_loss() -> None:
    ids = torch.arange(1)
    sure = Predictions(ids, torch.tensor([1]), torch.tensor([[200.0, 0.0]]))
    alone = judge(sure)
    assert judge(sure.probabilities(), probabilities=True).loss == pytest.approx(alone.loss) == 200
    together = judge(ensemble([sure.probabilities()] * 2), probabilities=True)
    assert together.loss == pytest.approx(200)
    surest = Predictions(ids, torch.tensor([1]), torch.tensor([[1e4, 0.0]]))
    assert np.isfinite(judge(surest.probabilities(), probabilities=True).loss)


def test_an_ensemble_averages_and_refuses_other_images() -> None:
    ids = torch.arange(2)
    members = [
        Predictions(ids, ids, torch.tensor(rows))
        for rows in ([[0.9, 0.1], [0.6, 0.4]], [[0.3, 0.7], [0.0, 1.0]])
    ]
    torch.testing.assert_close(
        ensemble(members).outputs,
        torch.tensor([[0.6, 0.4], [0.3, 0.7]], dtype=torch.float64),
        atol=1e-6,
        rtol=0,
    )
    with pytest.raises(LoaderError, match="different images"):
        ensemble([members[0], Predictions(ids + 1, ids, members[1].outputs)])
    with pytest.raises(LoaderError, match="different numbers"):
        ensemble([members[0], Predictions(ids, ids, torch.ones(2, 3))])


def test_three_models_together_beat_their_mean(
    training: MakeTraining, work: Work, judging: Judging, tmp_path: Path
) -> None:
    members = []
    for seed in range(3):
        path = tmp_path / f"{seed}.pt"
        train(training(5, work=replace(work, seed=seed), checkpoint=path))
        members.append(predictions_of(judging, path, read(path)))
    alone = [judge_classes(one.outputs, one.labels, probabilities=True) for one in members]
    together = ensemble(members)
    found = judge_classes(together.outputs, together.labels, probabilities=True)
    assert found.top1 >= np.mean([one.top1 for one in alone])
    # The logarithm is concave: this holds for any members that differ (Jensen).
    assert found.loss < np.mean([one.loss for one in alone])


def stored(kind: str, digits: Path, folder: Path) -> dict[str, Any]:
    """What ``open_source`` takes for the digits as arrays, in class folders or in shards."""
    if kind == "array":
        return {"data": digits / "digits.npy", "labels": digits / "labels.npy"}
    images, labels = np.load(digits / "digits.npy"), np.load(digits / "labels.npy")
    for sample, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "images" / str(label) / f"{sample:03d}.png")
    if kind == "shards":
        pack(open_source(folder / "images"), folder / "shards", samples_per_shard=60)
    return {"data": folder / ("shards" if kind == "shards" else "images")}


@pytest.mark.parametrize("asked", [{"every": True}, {"every": False, "ids": [0, 1, 2]}])
def test_a_packed_copy_keeps_the_split_of_the_data(
    asked: dict[str, Any], work: Work, judging: Judging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training reads the same copy: what is looked at here may not decide which shards hold what."""
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path))
    ids = np.array(asked["ids"]) if "ids" in asked else None
    chosen = replace(judging, loader="webdataset", ids=ids)
    found = chosen.answers(
        Subject.of("cnn28", work), lambda _: lambda images: images.mean(dim=(2, 3)), every=asked["every"]
    )
    assert len(found.ids) == (len(work.source.labels) if ids is None else len(ids))
    (packed,) = (tmp_path / "packed").iterdir()
    copy = open_source(packed)
    assert [len(copy.ids(split)) for split in ("train", "val")] == [
        len(work.source.ids(split)) for split in ("train", "val")
    ]


@pytest.mark.parametrize("loader", ["torchvision", "webdataset", "dali", "roi"])
def test_every_loader_judges_a_model_alike(
    loader: str, training: MakeTraining, judging: Judging, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(folder / "cache"))
    path = folder / "model.pt"
    if not path.exists():
        train(training(3, checkpoint=path))
    trained = read(path)
    reference = predictions_of(judging, path, trained)
    found = predictions_of(replace(judging, loader=loader), path, trained)
    assert torch.equal(found.ids, reference.ids)
    # Bilinear filters differ by a grey level at most.
    assert float((found.outputs - reference.outputs).abs().max()) < 0.05
    agreeing = (found.outputs.argmax(1) == reference.outputs.argmax(1)).double().mean()
    assert agreeing >= 0.95


def test_other_classes_are_refused(training: MakeTraining, judging: Judging, tmp_path: Path) -> None:
    train(training(1, checkpoint=tmp_path / "model.pt"))
    other = replace(judging, source=open_source(write_contract_images(tmp_path / "images")))
    with pytest.raises(CheckpointError, match=r"knows 10 classes \(0, 1, 2, \.\.\.\), and .* has 3 classes"):
        predictions_of(other, tmp_path / "model.pt", read(tmp_path / "model.pt"))


@pytest.mark.parametrize("kind", ["array", "folder", "shards"])
def test_images_that_were_trained_on_are_not_judged(
    kind: str, training: MakeTraining, work: Work, judging: Judging, digits: Path, tmp_path: Path
) -> None:
    path, data = tmp_path / "model.pt", stored(kind, digits, tmp_path)
    source = open_source(**data)
    train(training(1, work=replace(work, source=source), checkpoint=path))
    trained = read(path)
    same = replace(judging, source=open_source(**data))
    assert len(predictions_of(same, path, trained).ids) == len(source.ids("val"))
    other = open_source(**data, split_fraction=0.3)
    with pytest.raises(CheckpointError, match=r"another split of .* give the --split-fraction"):
        predictions_of(replace(judging, source=other), path, trained)
    parts = np.zeros(len(source.labels), np.int8)
    parts[::5] = 1
    with pytest.raises(CheckpointError, match="another split"):
        predictions_of(replace(judging, source=source.with_parts(parts)), path, trained)
    for seen in (source, other):
        with pytest.raises(CheckpointError, match=r"was trained on images of .*: leave --all out"):
            predictions_of(replace(judging, source=seen), path, trained, every=True)


@pytest.mark.parametrize("loader", ["torchvision", "webdataset", "dali", "roi"])
def test_a_test_set_of_its_own_is_judged_whole(
    loader: str,
    training: MakeTraining,
    judging: Judging,
    digits: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(folder / "test_cache"))
    path, images = folder / "whole.pt", folder / "images"
    if not path.exists():
        train(training(3, checkpoint=path))
        stored("folder", digits, folder)
    whole = replace(judging, source=open_source(images), loader=loader)
    found = predictions_of(whole, path, read(path), every=True)
    assert found.ids.tolist() == list(range(len(whole.source.labels)))
    assert found.labels.tolist() == whole.source.labels.tolist()
    assert float((found.outputs.argmax(1) == found.labels).double().mean()) > 0.5
    # What was packed for it serves as well for a part.
    part = predictions_of(whole, path, read(path))
    assert part.ids.tolist() == whole.source.ids("val").tolist()
    torch.testing.assert_close(part.outputs, found.outputs[part.ids], atol=1e-5, rtol=1e-4)


def test_float_targets_of_another_width_are_refused(
    training: MakeTraining, work: Work, judging: Judging, digits: Path, tmp_path: Path
) -> None:
    heights = np.load(digits / "heights.npy")
    np.save(tmp_path / "pairs.npy", np.stack([heights, heights], axis=1))
    one = open_source(digits / "digits.npy", labels=digits / "heights.npy")
    two = open_source(digits / "digits.npy", labels=tmp_path / "pairs.npy")
    path = tmp_path / "model.pt"
    train(training(1, {"loss": "squared"}, work=replace(work, source=one), checkpoint=path))
    with pytest.raises(CheckpointError, match=r"gives 1 numbers for an image, and .* has 2"):
        predictions_of(replace(judging, source=two), path, read(path))


def test_the_batch_is_chosen_by_what_is_judged(work: Work) -> None:
    parts = np.ones(len(work.source.labels), np.int8)
    parts[:5] = 0
    source = work.source.with_parts(parts)
    subject = Subject.of("cnn28", work)
    held_out = len(source.ids("val"))
    for chosen, wanted in ((64, 64), (None, 64), (1000, held_out)):
        judging = Judging(source, batch_size=chosen, workers=1, device="cpu")
        assert judging.work(subject).batch_size == wanted
    assert Judging(source, batch_size=1000, device="cpu").work(subject, every=True).batch_size == len(parts)
    with pytest.raises(OptionError, match="nothing to judge by"):
        Judging(work.source.with_parts(0 * parts), device="cpu").work(subject)


@pytest.mark.parametrize(("model", "width"), [("cnn28", 128), ("resnet9_half", 256), ("squeezenet1_1", 512)])
def test_features_are_what_comes_into_the_classifier(
    model: str, width: int, work: Work, judging: Judging
) -> None:
    subject = replace(Subject.of(model, work), image_size=32)
    network = subject.build()
    found = features(judging, subject, network)
    assert found.ids.tolist() == list(range(len(work.source.labels))), "of both splits, in order"
    assert found.labels.tolist() == work.source.labels.tolist()
    assert found.outputs.shape == (len(work.source.labels), width)
    assert found.outputs.dtype == torch.float32
    assert float(found.outputs.std()) > 0
    assert not network.training
    if model == "cnn28":
        wanted = judging.answers(subject, lambda _: network)
        held_out = found.outputs[wanted.ids]
        torch.testing.assert_close(network[-1](held_out), wanted.outputs, atol=1e-5, rtol=1e-4)


def test_an_image_is_guessed_as_the_loader_would_show_it(
    training: MakeTraining, work: Work, judging: Judging, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    train(training(2, checkpoint=path))
    trained = read(path)
    wanted = predictions_of(judging, path, trained)
    pixels = np.load(work.source.location)
    files = []
    for sample in wanted.ids[:40].tolist():
        files.append(tmp_path / f"{sample}.png")
        Image.fromarray(pixels[sample]).save(files[-1])
    found = guess(trained, files, device="cpu", precision="fp32")
    torch.testing.assert_close(found, wanted.outputs[:40], atol=1e-4, rtol=1e-3)
    with pytest.raises(SampleError, match=r"gone\.png: cannot be read"):
        guess(trained, [tmp_path / "gone.png"], device="cpu")
