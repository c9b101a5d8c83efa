"""Known cases get the verdict that they deserve, and no case at all gets one that contradicts itself."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from throughput.measure.balance import Balance, balance_of
from throughput.measure.suggestions import Possible
from throughput.measure.verdict import bottleneck_of, draw_verdict, sentence_of
from throughput.results import Bottleneck, Pass, Phase, Row, Verdict

CPU = {"device": "cpu", "workers": 2, "batch_size": 50, "train_images": 5000, "compute_dtype": "float32"}
CUDA = CPU | {"device": "cuda:0"}


def phase(rate: float, wait_fraction: float = 0.0, noise: float = 0.0) -> Phase:
    """Three passes of 1 s around a rate."""
    rates = (rate * (1 - noise), rate, rate * (1 + noise))
    return Phase(tuple(Pass(1000, 1000 / one, wait_fraction * 1000 / one) for one in rates))


def row_of(load: float, model: float, train: float, wait_fraction: float = 0.0, **more: Any) -> Row:
    return Row("mine", "ok", load=phase(load), model=phase(model), train=phase(train, wait_fraction), **more)


def verdict_of(row: Row, work: dict[str, Any] = CPU, cores: int = 2, **more: Any) -> Verdict:
    verdict = draw_verdict(row, work, cores, [], **more)
    assert verdict is not None
    return verdict


KNOWN: list[tuple[str, dict[str, Any], dict[str, Any], Bottleneck, str]] = [
    (
        "a slow loader",
        {"load": 200, "model": 2000, "train": 198, "wait_fraction": 0.9, "cpu_utilisation": 0.1},
        CPU,
        "loader-bound",
        "the loader delivers 200 images/s alone; training runs at 198 images/s, 10 % of what the model takes",
    ),
    (
        "a slow loader on busy cores",
        {"load": 200, "model": 4000, "train": 190, "wait_fraction": 0.9, "cpu_utilisation": 0.97},
        CPU,
        "loader-bound",
        "the loader delivers 200",
    ),
    (
        "a heavy model",
        {"load": 560, "model": 15, "train": 14.5, "cpu_utilisation": 0.99},
        CPU,
        "model-bound",
        "97 % of what the model takes alone (15); the loader could deliver 560",
    ),
    (
        "a heavy model that feels the loader",
        {"load": 560, "model": 30, "train": 27.6, "cpu_utilisation": 0.99},
        CPU,
        "model-bound",
        "92 %",
    ),
    (
        "a GPU that is full",
        {"load": 9000, "model": 3000, "train": 2950, "cpu_utilisation": 0.6},
        CUDA,
        "model-bound",
        "98 %",
    ),
    (
        "both sleep equally long",
        {"load": 1270, "model": 1280, "train": 1190, "wait_fraction": 0.05, "cpu_utilisation": 0.1},
        CPU,
        "balanced",
        "as fast (1,270 images/s alone)",
    ),
    (
        "equal, and overlapping badly",
        {"load": 1000, "model": 1000, "train": 700, "wait_fraction": 0.3, "cpu_utilisation": 0.2},
        CPU,
        "balanced",
        "30 % of the time goes by waiting for a batch",
    ),
    (
        "equal, and taking turns",
        {"load": 1000, "model": 1000, "train": 505, "wait_fraction": 0.5, "cpu_utilisation": 0.2},
        CPU,
        "loader-bound",
        "they take turns",
    ),
    (
        "both busy on the same cores",
        {"load": 560, "model": 280, "train": 195, "wait_fraction": 0.05, "cpu_utilisation": 0.97},
        CPU,
        "cpu-contended",
        "share the 2 cores, 97 % of which they keep busy: the loader alone reaches 560",
    ),
    (
        "equal, on the same cores",
        {"load": 300, "model": 300, "train": 155, "wait_fraction": 0.1, "cpu_utilisation": 0.95},
        CPU,
        "cpu-contended",
        "share the 2 cores",
    ),
    (
        "a loader that is slower, on the same cores",
        {"load": 280, "model": 560, "train": 190, "wait_fraction": 0.4, "cpu_utilisation": 0.97},
        CPU,
        "cpu-contended",
        "the model alone 560, both together 190 (34 % of the model's)",
    ),
    (
        "both busy on the same cores, of which others hold a part",
        {
            **{"load": 310, "model": 380, "train": 210, "wait_fraction": 0.1},
            **{"cpu_utilisation": 0.58, "load_cpu_utilisation": 0.55, "model_cpu_utilisation": 0.6},
        },
        CPU,
        "cpu-contended",
        "58 % of which they keep busy",
    ),
    (
        "taking turns on one core of two",
        {
            **{"load": 400, "model": 300, "train": 171, "wait_fraction": 0.43},
            **{"cpu_utilisation": 0.5, "load_cpu_utilisation": 0.5, "model_cpu_utilisation": 0.5},
        },
        CPU,
        "loader-bound",
        "they take turns",
    ),
    (
        "contended, and nobody looked at the cores",
        {"load": 560, "model": 280, "train": 195, "wait_fraction": 0.05},
        CPU,
        "cpu-contended",
        "share the 2 cores: ",
    ),
    (
        "a fast loader that works in the caller's thread",
        {"load": 1000, "model": 500, "train": 335, "wait_fraction": 0.33, "cpu_utilisation": 0.4},
        CPU,
        "loader-bound",
        "the loader could keep up (1,000 images/s alone), but training runs at 335 images/s, 67 % of what "
        "the model takes alone (500): they take turns",
    ),
    (
        "a slow loader that works in the caller's thread",
        {"load": 300, "model": 500, "train": 188, "wait_fraction": 0.62, "cpu_utilisation": 0.4},
        CPU,
        "loader-bound",
        "they take turns",
    ),
    (
        "threads that hold the interpreter's lock",
        {"load": 1000, "model": 900, "train": 600, "wait_fraction": 0.05, "cpu_utilisation": 0.55},
        CPU | {"workers": 8},
        "balanced",
        "a step takes 1.4 times as long as alone, though both keep only 55 % of the cores busy",
    ),
    (
        "a GPU that waits for CPUs",
        {"load": 900, "model": 3000, "train": 880, "wait_fraction": 0.7, "cpu_utilisation": 0.98},
        CUDA,
        "loader-bound",
        "the loader delivers 900",
    ),
    (
        "a GPU that decodes and trains",
        {"load": 6000, "model": 3000, "train": 2000, "wait_fraction": 0.02, "decode": "gpu"},
        CUDA,
        "loader-bound",
        "a step takes 1.5 times as long as alone, for the loader decodes on the same GPU",
    ),
    (
        "a GPU whose host is too busy",
        {"load": 3500, "model": 3000, "train": 2200, "wait_fraction": 0.05, "cpu_utilisation": 0.98},
        CUDA,
        "loader-bound",
        "cores are busy, and the process that runs the model must share them",
    ),
    (
        "a narrow bus",
        {"load": 1000, "model": 3000, "train": 980, "wait_fraction": 0.6, "stages": {"finish": 1 / 1050}},
        CUDA,
        "transfer-bound",
        "transfer to the GPU and finishing there allow 1,050 images/s and so limit the loader (1,000 alone)",
    ),
    (
        "a bus that is wide enough",
        {"load": 1000, "model": 3000, "train": 980, "wait_fraction": 0.6, "stages": {"finish": 1 / 9000}},
        CUDA,
        "loader-bound",
        "the loader delivers 1,000",
    ),
    (
        "finishing on a CPU is no transfer",
        {"load": 1000, "model": 3000, "train": 980, "cpu_utilisation": 0.5, "stages": {"finish": 1 / 1050}},
        CPU,
        "loader-bound",
        "the loader delivers 1,000",
    ),
    (
        "training that outruns its loader",
        {"load": 170, "model": 200, "train": 195},
        CPU,
        "model-bound",
        "above the 170 that the loader alone came to, which cannot be",
    ),
]


@pytest.mark.parametrize(
    ("figures", "work", "bottleneck", "words"), [case[1:] for case in KNOWN], ids=[case[0] for case in KNOWN]
)
def test_known_cases(
    figures: dict[str, Any], work: dict[str, Any], bottleneck: Bottleneck, words: str
) -> None:
    verdict = verdict_of(row_of(**figures), work)
    assert verdict.bottleneck == bottleneck
    assert words in verdict.sentence


@pytest.mark.parametrize("missing", ["load", "model", "train"])
def test_without_one_of_the_three_there_is_no_verdict(missing: str) -> None:
    phases = {"load": phase(1), "model": phase(1), "train": phase(1)} | {missing: None}
    assert draw_verdict(Row("mine", "ok", **phases), CPU, 2, []) is None  # type: ignore[arg-type] # phases by name


def test_a_phase_that_delivered_nothing_is_no_ground_for_a_verdict() -> None:
    row = Row("mine", "ok", load=Phase((Pass(0, 1.0, 0.0),)), model=phase(1), train=phase(1))
    assert draw_verdict(row, CPU, 2, []) is None


@pytest.mark.parametrize(
    ("load", "model", "train", "efficiency"),
    [
        (100, 100, 100, 1.0),
        (100, 100, 50, 0.0),
        (100, 100, 75, 2 / 3),
        (200, 100, 100, 1.0),
        (200, 100, 200 / 3, 0.0),
        (100, 200, 80, 0.5),
        (100, 100, 120, 1.0),
        (100, 100, 30, 0.0),
    ],
)
def test_overlap_efficiency(load: float, model: float, train: float, efficiency: float) -> None:
    assert Balance(load, model, train, cores=2).overlap_efficiency == pytest.approx(efficiency)


def test_what_is_expected_is_what_the_slowest_part_allows() -> None:
    balance = Balance(600, 300, 200, cores=2, load_cpu_utilisation=1.0, model_cpu_utilisation=1.0)
    assert balance.expected() == pytest.approx(200), "the cores: 1/600 + 1/300 of a second for an image"
    assert balance.expected(load_factor=0.1) == pytest.approx(60)
    assert balance.expected(cpu_factor=0.5) == pytest.approx(240)
    assert balance.expected(model_factor=2) == pytest.approx(300)
    idle = Balance(600, 300, 200, cores=2, load_cpu_utilisation=0.1, model_cpu_utilisation=0.1)
    assert idle.expected() == 300
    assert Balance(600, 300, 200, cores=2, finish_seconds=1 / 300).expected() == pytest.approx(200)
    assert Balance(600, 300, 200, cores=2, on_gpu=True, finish_seconds=1 / 300).expected() == 300


def test_an_epoch_of_the_data_and_of_as_many_images_as_were_asked_for() -> None:
    row = Row("mine", "ok", load=phase(500), model=phase(100), train=phase(100, noise=0.02))
    of_data, of_imagenet = verdict_of(row).epochs
    assert (of_data.images, of_data.seconds) == (5000, 50.0)
    assert (of_imagenet.images, of_imagenet.seconds) == (1_281_167, pytest.approx(12811.67))
    assert of_data.low is not None
    assert of_data.high is not None
    assert 45 < of_data.low < of_data.seconds < of_data.high < 55
    assert [one.images for one in verdict_of(row, project_images=10).epochs] == [5000, 10]
    assert [one.images for one in verdict_of(row, project_images=5000).epochs] == [5000]


def test_one_pass_shows_no_spread_of_an_epoch() -> None:
    one = Phase((Pass(100, 1.0, 0.0),))
    epochs = verdict_of(Row("mine", "ok", load=one, model=one, train=one)).epochs
    assert [(epoch.low, epoch.high) for epoch in epochs] == [(None, None)] * 2


def test_the_stages_are_those_of_the_row() -> None:
    stages = {"read": 0.001, "decode": 0.002, "finish": 0.0001}
    assert verdict_of(row_of(10, 20, 10, stages=stages)).stages == stages


@pytest.mark.parametrize("seed", range(20))
def test_no_figures_contradict_themselves_or_crash(seed: int) -> None:
    rng = random.Random(seed)

    def sometimes(value: float) -> float | None:
        return value if rng.random() < 0.8 else None

    for _ in range(100):
        load, model = 10 ** rng.uniform(0, 4), 10 ** rng.uniform(0, 4)
        train = min(load, model) * rng.uniform(0.2, 1.1)
        row = row_of(
            load,
            model,
            train,
            rng.random(),
            cpu_utilisation=sometimes(rng.random()),
            load_cpu_utilisation=sometimes(rng.random()),
            model_cpu_utilisation=sometimes(rng.random()),
            stages={"finish": 10 ** rng.uniform(-5, 0)} if rng.random() < 0.5 else {},
            decode=rng.choice(["cpu", "gpu"]),
            options=rng.choice([{}, {"prefetch": 2}]),
        )
        work = rng.choice([CPU, CUDA, {}, CPU | {"workers": 16, "compile": True}])
        cores = rng.choice([1, 2, 64])
        verdict = verdict_of(row, work, cores, possible=Possible("bfloat16", ("quick",)))
        balance = balance_of(row, work, cores)
        assert balance is not None
        assert sentence_of(balance) == verdict.sentence
        assert bottleneck_of(balance) == verdict.bottleneck
        share = train / model
        match verdict.bottleneck:
            case "model-bound":
                assert share >= 0.9
            case "balanced":
                assert 0.9 <= load / model <= 1 / 0.9
            case "cpu-contended":
                assert work.get("device", "cpu") == "cpu"
                assert train < min(load, model)
            case "transfer-bound":
                assert work is CUDA
                assert 1 / row.stages["finish"] < model
            case "loader-bound":
                assert share < 0.9
        for suggestion in verdict.suggestions:
            assert 0 < suggestion.low <= suggestion.images_per_second <= suggestion.high < math.inf
            assert suggestion.images_per_second > train
            assert suggestion.images_per_second <= max(load * 4, model * 2) * 1.01
        # What can be applied comes first.
        reach = [suggestion.options is None for suggestion in verdict.suggestions]
        assert reach == sorted(reach)


@pytest.mark.parametrize(("load", "model"), [(100, 1000), (1000, 100)])
def test_what_cannot_be_gets_no_verdict(load: float, model: float) -> None:
    assert draw_verdict(row_of(load, model, 130), CPU, 2, []) is None
    assert draw_verdict(row_of(load, model, 110), CPU, 2, []) is not None
