"""Files of weights that tell of more than they hold, or are not what was written."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from throughput.training.checkpoint import load_weights, read
from throughput.training.errors import CheckpointError
from throughput.training.weights_file import read_file

WEIGHTS = {"weight": torch.arange(256.0).reshape(16, 16), "bias": torch.ones(16)}


def saved(content: Any, path: Path, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def rewritten(
    path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> None:
    """The same archive with other records and checksums that are right."""
    made = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    path.write_bytes(made.getvalue())


def refused(path: Path, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as error:
        read_file(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_was_written_comes_back_and_no_longer_needs_the_file(tmp_path: Path, zipped: bool) -> None:
    content = {"weights": WEIGHTS, "again": [WEIGHTS["weight"], ("x", 1)], "view": WEIGHTS["weight"][3:5].T}
    path = saved(content, tmp_path / "w.pt", zipped=zipped)
    found = read_file(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(found["weights"]["weight"], WEIGHTS["weight"])
    assert torch.equal(found["view"], content["view"])
    assert found["again"][1] == ("x", 1)
    assert found["again"][0].data_ptr() == found["weights"]["weight"].data_ptr(), "what was shared is"
    found["weights"]["weight"].add_(1)


def test_a_damaged_number_is_found(tmp_path: Path) -> None:
    """torch itself does not look at the checksums of its archives."""
    path = saved(WEIGHTS, tmp_path / "w.pt")
    data = bytearray(path.read_bytes())
    place = data.index(WEIGHTS["weight"].numpy().tobytes()) + 100
    data[place] ^= 1
    path.write_bytes(data)
    assert not torch.equal(torch.load(path, weights_only=True)["weight"], WEIGHTS["weight"])
    refused(path, r"its record .*data/0 is not what was written")


def test_a_record_that_is_shorter_than_its_tensor(tmp_path: Path) -> None:
    """It would be filled with whatever lies behind it in memory."""
    path = saved(WEIGHTS, tmp_path / "w.pt")
    rewritten(path, lambda name, data: data[:8] if name.endswith("data/1") else data)
    refused(path, "is damaged")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_tensor_of_more_numbers_than_the_file_has(tmp_path: Path, zipped: bool) -> None:
    path = saved({"weight": torch.zeros(1).expand(100_000, 100_000)}, tmp_path / "w.pt", zipped=zipped)
    refused(path, "tells of more numbers than it holds")


def test_packed_records(tmp_path: Path) -> None:
    path = saved({"weight": torch.zeros(1_000_000)}, tmp_path / "w.pt")
    rewritten(path, lambda _, data: data, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    refused(path, "its records are packed")


@pytest.mark.parametrize(
    "content",
    [
        {"weight": torch.zeros(4, 4).to_sparse()},
        {"weight": torch.zeros(4, device="meta")},
    ],
    ids=["sparse", "meta"],
)
def test_tensors_of_another_kind(tmp_path: Path, content: dict[str, torch.Tensor]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(saved(content, tmp_path / "w.pt"), "is damaged|another kind")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("zipped", [True, False, None])
def test_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool | None) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pt"
    if zipped is None:
        path.write_bytes(pickle.dumps(Evil()))
    else:
        saved({"weight": Evil()}, path, zipped=zipped)
    with pytest.raises(CheckpointError, match=r"w\.pt"):
        read_file(path)
    assert not (tmp_path / "ran").exists()


def test_names_that_are_no_names(tmp_path: Path) -> None:
    path = saved({0: torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_weights(torch.nn.Linear(1, 1), path)


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": 10**9, "classes": ()}, {"image_size": 10**9}, {"outputs": True}, {"channels": 10**6},
        {"std": (0.0,)}, {"mean": (float("inf"),)}, {"std": (-1.0,)},
    ],
    ids=str,
)  # fmt: skip
def test_a_subject_that_no_model_has(tmp_path: Path, change: dict[str, Any]) -> None:
    """What a file says of its model decides how much memory that takes."""
    subject = {
        "model": "cnn_small", "classes": ("a", "b"), "outputs": 2, "channels": 1, "image_size": 32,
        "mean": (0.5,), "std": (0.2,), "crop": "resized",
    }  # fmt: skip
    content = {"format": 1, "subject": subject, "weights": WEIGHTS, "run": {}}
    assert read(saved(content, tmp_path / "w.pt")).subject.outputs == 2
    content["subject"] = subject | change
    with pytest.raises(CheckpointError, match="does not say what its weights belong to"):
        read(saved(content, tmp_path / "w.pt"))
