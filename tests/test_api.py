"""The Python interface: ready batches for a training loop, and the bench as a function."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import throughput
from throughput.errors import OptionError, SourceError, ThroughputError, UnknownNameError
from throughput.registry import load_report
from throughput.sources import open_source

FAKE = "throughput.testing:FakeLoaderFactory"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))


def opened(name, images, **options):
    options = {"batch_size": 8, "image_size": 32, "workers": 1, "device": "cpu", **options}
    return throughput.open_loader(name, images, **options)


def test_batches_are_ready_and_their_fields_have_names(images):
    with opened("torchvision", images) as loader:
        batches = list(loader.epoch(0))
    first = batches[0]
    pixels, labels, ids = first
    assert pixels is first.images
    assert tuple(pixels.shape) == (8, 3, 32, 32)
    assert pixels.dtype == getattr(torch, loader.work.compute_dtype), "what this machine computes in"
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert -3 < pixels.min() < 0 < pixels.max() < 3, "normalised"
    assert labels.dtype == ids.dtype == torch.int64
    source = open_source(images)
    assert labels.tolist() == source.labels[ids.numpy()].tolist()
    every = torch.cat([batch.ids for batch in batches])
    assert sorted(every.tolist()) == source.ids("train").tolist()
    assert len(every) == loader.samples_per_epoch


def test_what_the_loader_tells_of_itself(images):
    with opened(FAKE, images, split="val", seed=3) as loader:
        assert loader.classes == ("blue", "green", "red")
        assert loader.samples_per_epoch == len(open_source(images).ids("val"))
        assert (loader.work.split, loader.work.seed, loader.work.batch_size) == ("val", 3, 8)


def test_raw_batches_are_the_loader_s_own(images):
    with opened("torchvision", images, raw=True) as loader:
        batch = next(iter(loader.epoch(0)))
    assert batch.images.dtype == torch.uint8
    assert tuple(batch.images.shape) == (8, 3, 32, 32)


def test_options_reach_the_loader(images):
    with opened(FAKE, images, options={"drop": 3}) as loader:
        came = sum(len(batch.ids) for batch in loader.epoch(0))
    assert came == loader.samples_per_epoch - 3


def test_leaving_the_context_ends_its_processes(images):
    before = set(psutil.Process().children(recursive=True))
    with opened("torchvision", images, workers=2) as loader:
        next(iter(loader.epoch(0)))
        assert set(psutil.Process().children(recursive=True)) > before
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [process for process in left if "resource_tracker" not in " ".join(process.cmdline())]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": "torchvison"}, UnknownNameError, "did you mean 'torchvision'"),
        ({"batch_size": 1000}, OptionError, "larger than the train split"),
        ({"batch_size": 0}, OptionError, "1 or more, got 0"),
        ({"options": {"dorp": 1}}, OptionError, "did you mean 'drop'"),
        ({"seed": -1}, OptionError, "got -1"),
        ({"images": "nowhere/at/all"}, SourceError, "does not exist"),
    ],
)
def test_mistakes_raise_what_to_do(images, changes, error, said):
    with pytest.raises(error, match=said), opened(**{"name": FAKE, "images": images, **changes}):
        pytest.fail("it was opened")
    assert issubclass(error, ThroughputError)


def test_bench_returns_what_the_json_says(images):
    told = []
    results = throughput.bench(
        [FAKE, "torchvision"],
        images,
        batch_size=8,
        image_size=32,
        workers=1,
        model="cnn_small",
        phases=["load"],
        steps=2,
        repeats=2,
        device="cpu",
        options={FAKE: {"batch_seconds": 0.0}},
        certified=False,
        on_results=told.append,
    )
    assert len(told) == 5, "after each of two rounds of two loaders, and at the end"
    assert {row.loader for row in told[1].rows} == {FAKE, "torchvision"}
    assert [row.loader for row in results.rows] == [FAKE, "torchvision"]
    assert [len(row.load.passes) for row in results.rows] == [2, 2]
    assert told[-1] == results
    assert [row.status for row in results.rows] == ["ok", "ok"]
    written = json.loads(load_report("json").render([results]))
    assert written == json.loads(json.dumps(results.to_json()))
    for row, as_json in zip(results.rows, written["rows"], strict=True):
        assert as_json["load"]["images_per_second"]["median"] == row.load.images_per_second.median
        assert [one["images"] for one in as_json["load"]["passes"]] == [one.images for one in row.load.passes]


def test_bench_refuses_options_of_a_loader_that_does_not_run(images):
    with pytest.raises(OptionError, match="dali"):
        throughput.bench([FAKE], images, options={"dali": {}})


def test_importing_the_package_imports_no_torch():
    code = "import sys, throughput; print('torch' in sys.modules, throughput.open_loader.__name__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "open_loader"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = throughput.nothing_of_the_kind


def test_an_array_is_opened_with_its_labels_and_augmented(tmp_path):
    np.save(tmp_path / "x.npy", np.full((20, 32, 32), 128, np.uint8))
    np.save(tmp_path / "y.npy", np.linspace(0, 1, 20))
    options = {
        "labels": tmp_path / "y.npy",
        "split_fraction": 0.5,
        "augmentation": throughput.Augmentation(crop="none", noise=0.1),
        "mean": (0.5,),
        "std": (0.5,),
        "precision": "fp32",
    }
    with opened("torchvision", tmp_path / "x.npy", **options) as loader:
        batches = list(loader.epoch(0))
    assert loader.classes == ()
    assert sum(len(batch.ids) for batch in batches) == 10
    assert tuple(batches[0].images.shape) == (8, 1, 32, 32)
    assert batches[0].labels.dtype == torch.float32
    assert batches[0].labels.tolist() == pytest.approx((batches[0].ids / 19).tolist(), abs=1e-6)
    assert 0.15 < batches[0].images.std() < 0.25, "noise of 0.1, over the deviation"


@pytest.mark.parametrize(("model", "chosen", "size"), [("cnn32", None, 32), ("cnn32", 40, 40)])
def test_bench_takes_the_model_s_image_size(images, model, chosen, size):
    results = throughput.bench(
        [FAKE],
        images,
        batch_size=8,
        image_size=chosen,
        workers=1,
        model=model,
        phases=["load"],
        steps=1,
        repeats=1,
        device="cpu",
        options={FAKE: {"batch_seconds": 0.0}},
        certified=False,
    )
    assert results.work["image_size"] == size


def test_a_loop_of_ones_own_goes_on_in_mid_epoch(images: Path) -> None:
    with opened("torchvision", images, batch_size=4, workers=2) as loader:
        epoch = loader.epoch(1)
        first = [int(sample) for _ in range(3) for sample in next(epoch).ids]
        state = json.loads(json.dumps(loader.state_dict()))
        samples = loader.samples_per_epoch
    with opened("torchvision", images, batch_size=4) as loader:
        loader.load_state_dict(state)
        rest = [int(sample) for batch in loader.epoch(1) for sample in batch.ids]
        following = [int(sample) for batch in loader.epoch(2) for sample in batch.ids]
    assert len(first) == 12
    assert sorted(first + rest) == sorted(following)
    assert len(following) == samples


def test_bad_samples_are_told_in_a_loop_of_ones_own(images: Path, tmp_path: Path) -> None:
    data = shutil.copytree(images, tmp_path / "data")
    for path in sorted(data.rglob("*.JPEG")):
        path.write_bytes(b"")
    with opened("torchvision", data, on_error="skip") as loader:
        came = sum(len(batch.ids) for batch in loader.epoch(0))
        faults = loader.take_faults()
        assert came + len(faults) == loader.samples_per_epoch
        assert {Path(fault.sample).suffix for fault in faults} == {".JPEG"}
        assert loader.take_faults() == []
