"""Training in the table: epochs, classes, confusion, and sentences that a reader needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from throughput.registry import load_report
from throughput.results import EpochRecord, Evaluation, Pass, Phase, Results, Row, TrainingRun
from throughput.trained import Classification, Regression

WORK = {
    "train_images": 80, "val_images": 20, "source": "data", "image_size": 28, "batch_size": 8,
    "model": "cnn28", "compute_dtype": "float32", "device": "cpu", "workers": 1,
}  # fmt: skip
RECORDS = tuple(
    EpochRecord(epoch, 1.5 / (epoch + 1), 2.0, 0.001, held_out_loss=0.5, accuracy=0.5 + epoch / 100)
    for epoch in range(3)
)
RUN = TrainingRun("cnn28", {}, RECORDS, 3, 2, 1000)


def evaluation(classes: int) -> Evaluation:
    right = [[place, place, 10] for place in range(classes)]
    cells = np.array([right[0], [0, 1, 7], *right[1:]])
    names = tuple(f"class{place}[red]" for place in range(classes))
    return Evaluation("cnn28 after epoch 3", names, Classification(0.5, classes, cells, None))


def render(row: Row) -> str:
    return load_report("table").render([Results("now", "throughput train", {}, WORK, (row,))])


@pytest.fixture
def row() -> Row:
    passes = tuple(Pass(80, 2.0, 0.5, (0.1, 0.4)) for _ in RECORDS)
    return Row(
        "torchvision",
        "ok",
        train=Phase(passes),
        accuracy=0.8,
        train_images=240,
        training=RUN,
        evaluation=evaluation(4),
    )


def line_with(text: str, words: str) -> str:
    (line,) = [line for line in text.splitlines() if words in line]
    return line


def test_every_epoch_has_a_line(row: Row) -> None:
    text = render(row)
    assert line_with(text, "0.7500").split() == [
        "2",
        "0.7500",
        "0.5000",
        "51.00%",
        "40",
        "25%",
        "2.0",
        "0.001",
    ]


def test_every_class_has_a_line_and_a_row_of_the_matrix(row: Row) -> None:
    first, counts = [
        line.split()
        for line in render(row).splitlines()
        if line.strip().startswith("class0[red]") and len(line.split()) == 5
    ]
    assert first == ["class0[red]", "17", "1.0000", "0.5882", "0.7407"]
    assert counts == ["class0[red]", "10", "7", ".", "."]


def test_many_classes_are_cut_to_what_matters(row: Row) -> None:
    text = render(replace(row, evaluation=evaluation(40)))
    assert "with the lowest F1" in text
    assert line_with(text, "class0[red]   class1[red]").split() == ["class0[red]", "class1[red]", "7"]
    assert "class30[red]" not in text


def test_what_became_of_the_run_is_told(row: Row) -> None:
    stopped = replace(
        RUN, asked_epochs=9, stopped="enough", target_accuracy=0.5, target_seconds=2.0, checkpoint="a.pt"
    )
    text = render(replace(row, training=stopped))
    assert "stopped after 3 of 9 epochs: enough" in text
    assert "50 % of the held-out images after 2.0 s of training" in text
    by_the_clock = render(replace(row, training=replace(stopped, target_wall_seconds=3.0)))
    assert "2.0 s of training, judging left out; 3.0 s by the clock" in by_the_clock
    assert "the weights of epoch 3 lie in a.pt" in text
    assert "was not reached" in render(replace(row, training=replace(stopped, target_seconds=None)))


def test_targets_have_errors_and_no_classes(row: Row) -> None:
    found = Evaluation("cnn28", (), Regression(20, 0.25, 0.4, 0.9))
    text = render(replace(row, accuracy=None, evaluation=found))
    assert "20 held-out images: mean absolute error 0.4, R2 0.9000, mean squared error 0.25" in text
    assert "confusion" not in text


def test_an_evaluation_alone_has_no_empty_table() -> None:
    text = render(Row("torchvision", "ok", accuracy=0.8, evaluation=evaluation(4)))
    assert "ceiling" not in text
    assert "class0[red]" in text


def test_the_json_holds_it_all(row: Row) -> None:
    (told,) = Results("now", "throughput train", {}, WORK, (row,)).to_json()["rows"]
    assert told["training"]["epochs"][1] == vars(RECORDS[1])
    assert told["evaluation"]["confusion"][0] == [10, 7, 0, 0]
    assert told["evaluation"]["classes"][0] == pytest.approx(
        {"name": "class0[red]", "images": 17, "precision": 1.0, "recall": 10 / 17, "f1": 20 / 27}
    )


@pytest.mark.parametrize(("classes", "whole"), [(100, True), (101, False)])
def test_of_many_classes_the_json_holds_what_is_not_0(row: Row, classes: int, whole: bool) -> None:
    many = replace(row, evaluation=evaluation(classes))
    told = Results("now", "throughput train", {}, WORK, (many,)).to_json()["rows"][0]["evaluation"]
    assert ("confusion" in told, "confusion_cells" in told) == (whole, not whole)
    if not whole:
        assert told["confusion_cells"][:3] == [[0, 0, 10], [0, 1, 7], [1, 1, 10]]
        assert len(told["confusion_cells"]) == classes + 1
