"""Metrics against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from throughput.trained import Classification
from throughput.training.metrics import judge, judge_classes, judge_targets
from throughput.training.predictions import Predictions

CLASSES, IMAGES = 8, 300
RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, CLASSES - 1, IMAGES)  # the last class has no image
OUTPUTS = RNG.normal(size=(IMAGES, CLASSES)) + 1.5 * np.eye(CLASSES)[LABELS]


@pytest.fixture(scope="module")
def found() -> Classification:
    return judge_classes(torch.tensor(OUTPUTS), torch.tensor(LABELS))


def test_the_confusion_matrix(found: Classification) -> None:
    wanted = reference.confusion_matrix(LABELS, OUTPUTS.argmax(1), labels=range(CLASSES))
    np.testing.assert_array_equal(found.confusion, wanted)
    assert found.images == IMAGES


def test_accuracy_and_loss(found: Classification) -> None:
    probabilities = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(1, keepdims=True)
    assert found.top1 == pytest.approx(reference.accuracy_score(LABELS, OUTPUTS.argmax(1)))
    assert found.top5 == pytest.approx(
        reference.top_k_accuracy_score(LABELS, OUTPUTS, k=5, labels=range(CLASSES))
    )
    assert found.loss == pytest.approx(reference.log_loss(LABELS, probabilities, labels=range(CLASSES)))
    again = judge_classes(torch.tensor(probabilities), torch.tensor(LABELS), probabilities=True)
    assert again.loss == pytest.approx(found.loss)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_each_class_and_their_means(found: Classification) -> None:
    answers = OUTPUTS.argmax(1)
    each = reference.precision_recall_fscore_support(LABELS, answers, labels=range(CLASSES), zero_division=0)
    for name, wanted in zip(("precision", "recall", "f1", "support"), each, strict=True):
        np.testing.assert_allclose(getattr(found, name), wanted, err_msg=name)
    macro = reference.precision_recall_fscore_support(LABELS, answers, average="macro", zero_division=0)
    assert list(found.macro.values()) == pytest.approx(list(macro[:3]))


def test_few_classes_have_no_top_five() -> None:
    assert judge_classes(torch.zeros(3, 5), torch.tensor([0, 1, 2])).top5 is None


def test_a_class_nobody_saw_or_answered_does_not_count_in_the_mean() -> None:
    outputs = torch.eye(4)[[0, 1, 1]]
    assert judge_classes(outputs, torch.tensor([0, 1, 1])).macro == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
    }


@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_errors_of_targets(shape: tuple[int, ...]) -> None:
    targets = RNG.normal(size=shape)
    outputs = targets.reshape(50, -1) + RNG.normal(scale=0.3, size=(50, targets.size // 50))
    found = judge_targets(torch.tensor(outputs), torch.tensor(targets))
    wanted = targets.reshape(outputs.shape)
    assert found.loss == pytest.approx(reference.mean_squared_error(wanted, outputs))
    assert found.mae == pytest.approx(reference.mean_absolute_error(wanted, outputs))
    assert found.r2 == pytest.approx(reference.r2_score(wanted, outputs))


def test_targets_that_never_vary_have_no_r2() -> None:
    assert judge_targets(torch.zeros(4, 1), torch.ones(4)).r2 is None


def test_the_labels_say_what_is_judged() -> None:
    ids = torch.arange(2)
    assert isinstance(judge(Predictions(ids, ids, torch.eye(2))), Classification)
    assert not isinstance(judge(Predictions(ids, ids.float(), torch.ones(2, 1))), Classification)


def test_of_many_classes_only_what_occurs_is_held() -> None:
    classes = 200_000  # a whole matrix would take 320 GB
    labels = torch.tensor([3, classes - 1, classes - 1])
    outputs = torch.zeros(3, classes)
    outputs[[0, 1, 2], [3, classes - 1, 7]] = 1
    found = judge_classes(outputs, labels)
    last = classes - 1
    assert found.cells.tolist() == [[3, 3, 1], [last, 7, 1], [last, last, 1]]
    assert found.top1 == pytest.approx(2 / 3)
    assert (found.recall[last], found.precision[last], found.f1[last]) == pytest.approx((0.5, 1, 2 / 3))
    assert found.macro["recall"] == pytest.approx(1.5 / 3)
