"""Arrays, splits, augmentation and scaling, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 of scikit-learn's digits, 8 x 8, and their labels."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    found = load_digits()
    np.save(folder / "x.npy", (found.images[:300] / 16).astype(np.float32))
    np.save(folder / "y.npy", found.target[:300])
    np.save(folder / "size.npy", found.images[:300].mean((1, 2)))
    return folder


def test_stats_tells_what_the_other_commands_take(throughput, digits, tmp_path):
    done = throughput(
        "stats", "--data", digits / "x.npy", "--labels", digits / "y.npy", "--json", tmp_path / "stats.json"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "stats.json").read_text())
    first, second = done.stdout.splitlines()
    assert first == f"{said['images']} train images, {64 * said['images']} pixels"
    assert second == f"--mean {said['mean'][0]:.6g} --std {said['std'][0]:.6g}"
    assert 235 <= said["images"] <= 245
    everything = np.rint(np.load(digits / "x.npy") * 255) / 255
    assert abs(said["mean"][0] - everything.mean()) < 0.01
    assert abs(said["std"][0] - everything.std()) < 0.01


def test_bench_measures_an_array_with_all_the_options(throughput, digits, tmp_path):
    done = throughput(
        "bench", "--data", digits / "x.npy", "--labels", digits / "y.npy", "--split-fraction", "0.5",
        "--loader", "torchvision,roi", "--size=16", "--batch=8", "--workers=1", "--steps=2", "--repeats=1",
        "--model=cnn_small", "--device=cpu", "--no-certificate", "--crop=none", "--flip=0", "--rotate=10",
        "--noise=0.05", "--mean=0.3", "--std=0.4", "--json", tmp_path / "results.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "results.json").read_text())
    work = said["work"]
    assert (work["channels"], work["mean"], work["std"]) == (1, [0.3], [0.4])
    assert abs(work["val_images"] - 150) <= 5
    augmentation = work["augmentation"]
    assert augmentation["crop"] == "none"
    assert (augmentation["rotation_degrees"], augmentation["noise"], augmentation["flip"]) == (10, 0.05, 0)
    assert {row["status"] for row in said["rows"]} == {"ok"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--crop=center"], "--crop) must be one of resized, random, centre, none"),
        (["--rotate=200"], "--rotate) must lie in 0..180"),
        (["--noise=-1"], "--noise) must lie in 0..1"),
        (["--flip=2"], "--flip) must lie in 0..1"),
        (["--split-fraction=1"], "--split-fraction) must lie between 0 and 1"),
        (["--channels=2"], "channels must be 1 (grey) or 3 (RGB), got 2"),
        (["--mean=a"], "'a' is no number"),
        (["--std=0"], "std above 0"),
        (["--mean=0.1,0.2,0.3"], "one number a channel (1)"),
        (["--labels=nowhere.npy"], "nowhere.npy"),
    ],
)
def test_what_cannot_be_is_one_line(here, digits, options, words):
    data = ["--data", digits / "x.npy", "--labels", digits / "y.npy", "--loader", "torchvision", "--size=8"]
    done = here("bench", *data, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    if not words.startswith("'a'"):  # click adds how to call the command
        assert len(done.stderr.splitlines()) == 1


def test_numbers_to_predict_are_nothing_to_bench_or_pack(here, digits, tmp_path):
    data = [digits / "x.npy", "--labels", digits / "size.npy"]
    for arguments in (["bench", "--data", *data, "--size=8"], ["pack", *data, tmp_path / "out"]):
        done = here(*arguments)
        assert done.returncode == 2
        assert "numbers to predict" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_pack_writes_an_array_as_shards_with_its_split(throughput, digits, tmp_path):
    done = throughput("pack", digits / "x.npy", tmp_path / "out", "--labels", digits / "y.npy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("300 samples")
    assert (tmp_path / "out" / "val").is_dir()
    again = throughput("stats", "--data", tmp_path / "out", "--channels=1")
    assert "--mean" in again.stdout
    direct = throughput("stats", "--data", digits / "x.npy", "--labels", digits / "y.npy")
    assert again.stdout == direct.stdout
