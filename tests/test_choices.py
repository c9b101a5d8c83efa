"""From what a user types to the work: sensible defaults, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from throughput.choices import (
    CPU_BATCH_SIZE,
    choose_device,
    choose_image_size,
    choose_model,
    choose_source,
    choose_work,
)
from throughput.contracts import IMAGENET_MEAN, IMAGENET_STD, Augmentation, Source
from throughput.errors import OptionError, UnknownNameError
from throughput.sources import open_source
from throughput.testing import write_contract_images

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("choices") / "images"))


def test_a_small_source_gets_a_batch_that_fits(source: Source) -> None:
    assert len(source.ids("train")) < CPU_BATCH_SIZE
    assert choose_work(source, device="cpu").batch_size == len(source.ids("train"))
    assert choose_work(source, device="cpu", world_size=4).batch_size == len(source.ids("train")) // 4


def test_what_is_asked_for_is_taken(source: Source) -> None:
    work = choose_work(
        source,
        batch_size=4,
        image_size=64,
        workers="3",
        precision="bf16",
        device="cpu",
        seed=9,
        rank=1,
        world_size=2,
    )
    assert (work.batch_size, work.image_size, work.workers, work.compute_dtype) == (4, 64, 3, "bfloat16")
    assert (work.device, work.seed, work.rank, work.world_size) == ("cpu", 9, 1, 2)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"batch_size": 0}, r"--batch\) must be a whole number of 1 or more, got 0"),
        ({"batch_size": -8}, r"--batch\) must be .* got -8"),
        (
            {"batch_size": 10_000},
            r"--batch 10000 is larger than the train split .* has (\d+) images: choose --batch \1 or",
        ),
        ({"batch_size": 20, "world_size": 2}, "for each of 2 ranks"),
        ({"image_size": 0}, r"--size\) must be"),
        ({"workers": "x"}, "--workers must be auto or a whole number of 1 or more, got 'x'"),
        ({"workers": 0}, r"--workers\) must be a whole number of 1 or more, got 0"),
        ({"workers": "-2"}, r"--workers\) must be .* got -2"),
        ({"precision": "fp8"}, "--precision must be auto, fp32, bf16, fp16; got 'fp8'"),
        ({"world_size": 0}, "world_size must be a whole number of 1 or more, got 0"),
        ({"rank": 2, "world_size": 2}, r"rank must be in 0\.\.1, got 2"),
        ({"rank": -1}, "rank must be"),
        ({"seed": -1}, r"--seed\) must be a whole number of 0 or more, .* got -1"),
        ({"world_size": 1000}, "for each of 1000 ranks"),
    ],
)
def test_a_choice_that_cannot_work_is_refused(source: Source, choice: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        choose_work(source, **{"device": "cpu", **choice})


@pytest.mark.parametrize("device", ["tpu", "cpu:1", "cuda:x", "cuda:-1", "gpu", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(OptionError, match="--device must be auto, cpu, cuda or cuda:N"):
        choose_device(device)


@without_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_that_is_not_there_is_refused_and_the_way_out_is_named(device: str) -> None:
    with pytest.raises(OptionError, match=rf"--device {device}: .*--device cpu.*throughput doctor"):
        choose_device(device)


@without_gpu
def test_auto_takes_the_cpu_where_there_is_no_gpu(source: Source) -> None:
    assert choose_device("auto") == torch.device("cpu")
    assert choose_work(source).device == "cpu"


def test_the_default_model_suits_the_device() -> None:
    assert choose_model(None, "cpu") == "cnn_small"
    assert choose_model(None, "cuda:0") == "resnet50"
    assert choose_model("resnet18", "cpu") == "resnet18"


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("cnn28", 28),
        ("cnn32", 32),
        ("cnn64", 64),
        ("resnet9", 32),
        ("resnet9_half", 32),
        ("cnn_small", 224),
        ("resnet50", 224),
        ("inception_v3", 299),
    ],
)
def test_images_are_as_large_as_the_model_wants_them_unless_chosen(model: str, size: int) -> None:
    assert choose_image_size(None, model) == size
    assert choose_image_size(96, model) == 96


@pytest.mark.parametrize(("typed", "meant"), [("resnet5", "resnet50"), ("cnn_smal", "cnn_small")])
def test_an_unknown_model_offers_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"no model is called '{typed}' .did you mean '{meant}'"):
        choose_model(typed, "cpu")


def test_data_may_be_a_path_or_a_source(source: Source, tmp_path: Path) -> None:
    assert choose_source(source) is source
    folder = write_contract_images(tmp_path / "images", 2)
    assert len(choose_source(folder).labels) == len(choose_source(str(folder)).labels) == 7


def test_channels_and_scale_are_the_source_s_unless_chosen(source: Source, tmp_path: Path) -> None:
    colour = choose_work(source, device="cpu")
    assert (colour.channels, colour.mean, colour.std) == (3, IMAGENET_MEAN, IMAGENET_STD)
    assert colour.augmentation == Augmentation()
    np.save(tmp_path / "x.npy", np.zeros((20, 8, 8), np.uint8))
    np.save(tmp_path / "y.npy", np.arange(20) % 2)
    array = choose_source(tmp_path / "x.npy", labels=tmp_path / "y.npy", split_fraction=0.5)
    assert len(array.ids("val")) == 10
    for grey in (choose_work(array, device="cpu"), choose_work(source, device="cpu", channels=1)):
        assert grey.channels == 1
        assert grey.mean == pytest.approx([sum(IMAGENET_MEAN) / 3], abs=1e-6)
        assert grey.std == pytest.approx([sum(IMAGENET_STD) / 3], abs=1e-6)
    chosen = choose_work(array, device="cpu", channels=3, mean=(0.4,), std=(0.1, 0.2, 0.3))
    assert (chosen.channels, chosen.mean, chosen.std) == (3, (0.4, 0.4, 0.4), (0.1, 0.2, 0.3))
    with pytest.raises(OptionError, match="one number a channel"):
        choose_work(array, device="cpu", mean=(0.1, 0.2))
    with pytest.raises(OptionError, match="open already"):
        choose_source(array, split_fraction=0.5)
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(OptionError, match="finite"):
            choose_work(array, device="cpu", std=(wrong,))
