"""Accuracy is counted exactly, over batches of any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from throughput.contracts import Batch
from throughput.training.evaluate import top1_accuracy
from throughput.training.step import StepSettings, TrainingStep


class Oracle(nn.Module):
    """Answers the class that the image's first pixel holds; batch norm would see whether it is training."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append(self.training)
        return nn.functional.one_hot(images[:, 0, 0, 0].long(), 4) * self.scale


def batch_of(answers: list[int], labels: list[int]) -> Batch:
    images = torch.zeros(len(answers), 3, 2, 2)
    images[:, 0, 0, 0] = torch.tensor(answers)
    return Batch(images, torch.tensor(labels), torch.arange(len(answers)))


@pytest.fixture
def step() -> TrainingStep:
    return TrainingStep(Oracle(), StepSettings(torch.device("cpu")))


def test_every_image_counts_alike_whatever_its_batch(step: TrainingStep) -> None:
    batches = [batch_of([0, 1, 2, 3], [0, 1, 2, 3]), batch_of([3], [0]), batch_of([1, 1, 2], [2, 1, 0])]
    assert top1_accuracy(step, batches) == (5, 8)


@pytest.mark.parametrize(("labels", "correct"), [([0, 1, 2], 3), ([1, 2, 0], 0)])
def test_all_and_none(step: TrainingStep, labels: list[int], correct: int) -> None:
    assert top1_accuracy(step, [batch_of([0, 1, 2], labels)]) == (correct, 3)


def test_no_batches_are_no_images(step: TrainingStep) -> None:
    assert top1_accuracy(step, []) == (0, 0)


def test_the_model_is_judged_in_eval_mode_and_trains_on_after_it(step: TrainingStep) -> None:
    top1_accuracy(step, [batch_of([0], [0])] * 2)
    assert step.model.modes == [False, False]
    assert step.model.training


def test_judging_changes_no_weight(step: TrainingStep) -> None:
    before = step.model.scale.clone()
    top1_accuracy(step, [batch_of([0], [1])])
    assert torch.equal(step.model.scale, before)
    assert step.mean_loss() is None
