"""What trained models answer: through any loader alike, together better than alone, and as features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from throughput.contracts import Batch, Work
from throughput.errors import LoaderError, SampleError
from throughput.sources import open_source
from throughput.testing import write_contract_images
from throughput.training.checkpoint import Subject, read
from throughput.training.course import Training
from throughput.training.errors import CheckpointError
from throughput.training.guess import guess
from throughput.training.judging import Judging, features, predictions_of
from throughput.training.metrics import judge_classes
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


def test_an_ensemble_averages_and_refuses_other_images() -> None:
    ids = torch.arange(2)
    members = [
        Predictions(ids, ids, torch.tensor(rows))
        for rows in ([[0.9, 0.1], [0.6, 0.4]], [[0.3, 0.7], [0.0, 1.0]])
    ]
    torch.testing.assert_close(ensemble(members).outputs, torch.tensor([[0.6, 0.4], [0.3, 0.7]]))
    with pytest.raises(LoaderError, match="different images"):
        ensemble([members[0], Predictions(ids + 1, ids, members[1].outputs)])


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
