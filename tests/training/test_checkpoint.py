"""Checkpoints come back as they were, and what does not fit is refused in words."""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from throughput.training.checkpoint import (
    Checkpoint,
    Subject,
    load_weights,
    read,
    require_same,
    save,
    untrained,
)
from throughput.training.errors import CheckpointError

SUBJECT = Subject("cnn28", ("a", "b", "c"), 3, 1, 28, (0.5,), (0.25,), "none")


def checkpoint(run: dict[str, Any] | None = None) -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(SUBJECT, SUBJECT.build().state_dict(), run or {})


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    written = checkpoint({"step": {"values": [1, 2.5, None, "x"], "tensor": torch.arange(3)}})
    save(path, written)
    found = read(path)
    assert found.subject == SUBJECT
    assert found.run["step"]["values"] == [1, 2.5, None, "x"]
    images = torch.rand(2, 1, 28, 28)
    model = SUBJECT.build()
    model.load_state_dict(written.weights)
    assert torch.equal(found.load()(images), model.eval()(images))
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_a_failure_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    save(path, checkpoint({"number": 1}))
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        save(path, checkpoint({"cannot be written": lambda: None}))
    assert read(path).run == {"number": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(marker),)

    torch.save({"format": 1, "weights": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="nothing else is read"):
        read(tmp_path / "evil.pt")
    assert not marker.exists()


OWN = """
from pathlib import Path
from throughput.registry import load_model_family_for

Path("imported").touch()


def net(outputs, channels):
    return load_model_family_for("cnn28").build("cnn28", outputs, channels)


def number(outputs, channels):
    return outputs + channels


def broken(outputs, channels):
    raise RuntimeError("no layers\\nat all")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current folder; a file called ``imported`` shows that its code was run."""
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return "own_models"


def test_a_file_does_not_choose_what_code_is_run(own: str, tmp_path: Path) -> None:
    name, path = f"{own}:net", tmp_path / "some.pt"
    given = checkpoint()
    save(path, replace(given, subject=replace(SUBJECT, model=name)))
    for models in ((), ("cnn28",), (f"{own}:number",)):
        with pytest.raises(CheckpointError, match=rf"some\.pt .* if you trust it, give --model {name}"):
            read(path, models)
    assert not (tmp_path / "imported").exists()
    found = read(path, ("cnn28", name)).load()
    assert (tmp_path / "imported").exists()
    assert all(torch.equal(value, given.weights[key]) for key, value in found.state_dict().items())


def test_a_model_that_was_named_must_be_the_files(tmp_path: Path) -> None:
    save(tmp_path / "some.pt", checkpoint())
    assert read(tmp_path / "some.pt", ("cnn28",)).subject == SUBJECT
    with pytest.raises(CheckpointError, match="holds cnn28, not cnn32 or cnn64: choose --model cnn28"):
        read(tmp_path / "some.pt", ("cnn32", "cnn64"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("own_models:number", "builds no torch Module, but 4"),
        ("own_models:broken", "cannot be built for 3 outputs and 1 channels: RuntimeError: no layers"),
        ("own_models:missing", "cannot load the model"),
        ("cnn29", "no model is called 'cnn29'"),
    ],
)
@pytest.mark.usefixtures("own")
def test_a_model_that_cannot_be_built_is_told(model: str, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        replace(checkpoint(), subject=replace(SUBJECT, model=model)).load()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read"),
        (b"", "damaged"),
        (b"no weights", "no"),
        ({"weights": {}}, "no checkpoint of"),
        ({"format": 3}, "format 3"),
    ],
)
def test_a_file_that_is_none_is_refused(content: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=words):
        read(path)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("subject", None),
        ("subject", 3),
        ("subject", {"model": "cnn28"}),
        ("subject", asdict(SUBJECT) | {"mean": 3}),
        ("subject", asdict(SUBJECT) | {"std": ["x"]}),
        ("subject", asdict(SUBJECT) | {"classes": [1, 2, 3]}),
        ("subject", asdict(SUBJECT) | {"outputs": "3"}),
        ("subject", asdict(SUBJECT) | {"channels": 0}),
        ("subject", asdict(SUBJECT) | {"crop": "round"}),
        ("subject", asdict(SUBJECT) | {"colour": "red"}),
        ("weights", None),
        ("weights", {"a": 1}),
        ("weights", [torch.ones(1)]),
        ("run", 3),
    ],
)
def test_a_file_with_a_part_of_another_kind_is_refused(part: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    save(path, checkpoint())
    content = torch.load(path, weights_only=True)
    torch.save(content | {part: value}, path)
    with pytest.raises(CheckpointError, match=r"some\.pt"):
        read(path)
    del content[part]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"some\.pt"):
        read(path)


def test_a_damaged_file_of_torchs_old_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + b"." + whole[place + 1 :])
        with suppress(CheckpointError):
            load_weights(nn.Linear(1, 1), path)
        path.write_bytes(whole[:place])
        with pytest.raises(CheckpointError, match=r"old\.pt"):
            load_weights(nn.Linear(1, 1), path)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    save(path, checkpoint())
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="damaged"):
        read(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "cnn32"}, "holds cnn28, not cnn32: choose --model cnn28"),
        ({"classes": ("a", "b"), "outputs": 2}, "knows 3 classes, and this data has 2"),
        ({"classes": ("a", "b", "d")}, "trained with classes"),
        ({"image_size": 32}, "trained with image_size 28, not 32"),
    ],
)
def test_other_work_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        require_same(Path("some.pt"), SUBJECT, replace(SUBJECT, **changes))


def test_weights_that_are_not_the_models_are_refused() -> None:
    with pytest.raises(CheckpointError, match="these are not weights of cnn28"):
        Checkpoint(SUBJECT, nn.Linear(2, 2).state_dict(), {}).load()


@pytest.mark.parametrize("bare", [False, True])
def test_another_classifier_is_left_new(bare: bool, tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    given = checkpoint()
    if bare:
        torch.save(given.weights, path)
    else:
        save(path, given)
    model = replace(SUBJECT, outputs=5).build()
    own = {name: value.clone() for name, value in model.state_dict().items()}
    left = load_weights(model, path)
    assert len(left) == 2
    assert untrained(path, left).endswith(f"({left[0]}, {left[1]}), which begins untrained")
    for name, value in model.state_dict().items():
        assert torch.equal(value, own[name] if name in left else given.weights[name]), name


def test_the_same_classifier_is_taken(tmp_path: Path) -> None:
    save(tmp_path / "some.pt", checkpoint())
    model = SUBJECT.build()
    assert load_weights(model, tmp_path / "some.pt") == ()
    assert all(torch.equal(value, checkpoint().weights[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("other", ["cnn64", "resnet9_half"])
def test_weights_of_another_model_are_named(other: str, tmp_path: Path) -> None:
    save(tmp_path / "some.pt", checkpoint())
    with pytest.raises(CheckpointError, match="weights of another model: it lacks "):
        load_weights(replace(SUBJECT, model=other).build(), tmp_path / "some.pt")


def test_auxiliary_classifiers_of_a_file_are_left_out(tmp_path: Path) -> None:
    given = SUBJECT.build().state_dict()
    more = {f"{name}.fc.weight": torch.ones(2) for name in ("AuxLogits", "aux1", "aux2")}
    torch.save(given | more, tmp_path / "some.pt")
    model = SUBJECT.build()
    assert load_weights(model, tmp_path / "some.pt") == ()
    assert all(torch.equal(value, given[name]) for name, value in model.state_dict().items())


def test_a_file_without_tensors_holds_no_weights(tmp_path: Path) -> None:
    torch.save({"weights": [1, 2]}, tmp_path / "some.pt")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_weights(SUBJECT.build(), tmp_path / "some.pt")
