"""Made-up results with all that a page can tell: four loaders in three rounds, and what else comes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from throughput.results import (
    Certificate,
    Check,
    Comparison,
    EpochCount,
    EpochRecord,
    Evaluation,
    GateDecision,
    LedgerCount,
    Parity,
    Pass,
    Phase,
    PhaseName,
    Preparation,
    Projection,
    Rate,
    Results,
    Row,
    Runtime,
    Suggestion,
    Timeline,
    TrainingRun,
    Usage,
    Verdict,
    Window,
)
from throughput.trained import Classification

WORK = {
    "train_images": 12_345, "val_images": 1_371, "source": "/data/photos", "image_size": 224,
    "batch_size": 64, "model": "cnn_small", "compute_dtype": "float32", "device": "cpu", "workers": 2,
    "mean": (0.485, 0.456),
    "augmentation": {"crop": "resized", "flip": 0.5},
}  # fmt: skip
ENVIRONMENT = {
    "cpu_model": "Processor X", "cores_usable": 2, "memory_bytes": 8_000_000_000,
    "versions": {"torch": "2.11.0"},
    "gpus": [{"name": "GPU Y", "driver": "580"}], "git_commit": None,
}  # fmt: skip
PASS_SECONDS = 2.0
ROUND_SECONDS = 10.0
BATCH = 64


def one_pass(rate: float, waiting: float, draw: random.Random, *, steps: bool = False) -> Pass:
    """A pass of PASS_SECONDS at a rate, ``waiting`` of it for batches."""
    batches = max(2, round(rate * PASS_SECONDS / BATCH))
    weights = [draw.lognormvariate(0, 0.8) for _ in range(batches)]
    waits = [weight / sum(weights) * waiting * PASS_SECONDS for weight in weights]
    spare = (PASS_SECONDS - sum(waits)) / batches
    begins = [sum(waits[:place]) + spare * place for place in range(batches)]
    took = tuple(spare * draw.uniform(0.8, 1.2) for _ in range(batches)) if steps else ()
    return Pass(
        batches * BATCH, PASS_SECONDS, sum(waits), tuple(waits), took, batch_begin_seconds=tuple(begins)
    )


def loader_row(
    name: str, place: int, load: float, model: float, train: float, *, loaders: int = 4, rounds: int = 3
) -> Row:
    """A row measured in rounds, in turn with others."""
    draw = random.Random(name)
    rates: dict[PhaseName, tuple[float, float]] = {
        "load": (load, 1),
        "model": (model, 0),
        "train": (train, 0.3),
    }
    passes: dict[PhaseName, list[Pass]] = {phase: [] for phase in rates}
    windows, usage = [], []
    for number in range(rounds):
        start = 1000 + (number * loaders + place) * ROUND_SECONDS
        for turn, (phase, (rate, waiting)) in enumerate(rates.items()):
            begin = start + 1 + 3 * turn
            passes[phase].append(one_pass(rate * draw.uniform(0.97, 1.03), waiting, draw))
            windows.append(Window(phase, begin, begin + PASS_SECONDS))
        usage += [
            Usage(start + tick / 4, draw.uniform(0.6, 1), 10**9, draw.uniform(0.2, 0.7)) for tick in range(38)
        ]
    counted = EpochCount(0, complete=True, expected=12_345, unique=12_345, missing=0, duplicate=0, padded=0)
    return Row(
        name,
        "ok",
        decode="cpu",
        options={"prefetch": 2},
        prepare=Preparation(1.5, 56_700_000, "/cache/packed"),
        load=Phase(tuple(passes["load"]), 0.41, 0.012),
        model=Phase(tuple(passes["model"])),
        train=Phase(tuple(passes["train"]), 0.7, 0.1),
        accuracy=0.714,
        train_steps=120,
        train_images=7_680,
        loss=1.234,
        gpu_utilisation=0.45,
        cpu_utilisation=0.87,
        load_cpu_utilisation=0.95,
        model_cpu_utilisation=0.76,
        peak_rss_bytes=2_340_000_000,
        energy_joules=431.0,
        ledger=LedgerCount((counted,)),
        certificate=Certificate(True, (Check("val.ids", True, "every id once", 0.0, 0.0),), seconds=6.2),
        verdict=Verdict(
            "loader-bound",
            f"the loader delivers {load:,.0f} images/s alone",
            0.9,
            suggestions=(
                Suggestion(
                    "more workers", train * 1.2, train, train * 1.4, {"workers": "4"}, Rate(train, 1, 2)
                ),
                Suggestion("another disk", train * 1.1, train, train * 1.2),
            ),
            epochs=(Projection(12_345, 12_345 / train, 10.0, 100.0),),
        ),
        stages={"read": 0.0001, "decode": 0.001, "transform": 0.0004, "finish": 0.0001},
        timeline=Timeline(tuple(windows), tuple(usage)),
        warnings=("other programs used 12 % of the cores meanwhile",),
    )


ROWS = (
    loader_row("dali", 0, 962, 640, 533),
    loader_row("torchvision", 1, 488, 590, 266),
    loader_row("webdataset", 2, 410, 600, 240),
    loader_row("roi", 3, 1_465, 630, 421),
)
FOUR = Results(
    "2026-01-02T03:04:05+00:00",
    "throughput bench --loader all",
    ENVIRONMENT,
    WORK,
    ROWS,
    tuple(
        Comparison(name, "dali", "train", ratio, ratio - 0.05, ratio + 0.05, 3)
        for name, ratio in (("torchvision", 0.5), ("webdataset", 0.45), ("roi", 0.79))
    ),
)

BARE = Results("now", "throughput bench", {}, {}, ())
SKIPPED = Row("gone", "skipped", "it needs a library: pip install it")
FAILED = Row("broken", "failed", "the pipeline died")
ONE_PASS = Row("once", "ok", load=Phase((Pass(100, 2.0, 0.5),)))
NO_TRAIN = replace(ROWS[0], train=None, verdict=None, timeline=None)
UNSOUND = replace(
    ROWS[0],
    loader="lossy",
    certificate=Certificate(False, (Check("val.pixels", False, "pixels differ by 9", 9.0, 1.0),)),
    ledger=LedgerCount((EpochCount(0, True, 100, 93, 7, 0, 0),), mislabelled=0),
)
OWN = replace(
    ROWS[0], loader="my_pipeline:make_loader", decode=None, ledger=None, stages={"loader": 0.002},
    certificate=Certificate(None, reason="this pipeline takes no Work"),
)  # fmt: skip
ANSWERED = replace(
    ROWS[0],
    model=Phase(tuple(one_pass(2_000, 0, random.Random(place), steps=True) for place in range(3))),
    runtime=Runtime("onnxruntime", "fp32", "cpu", threads=2),
    parity=Parity("torch", 10, 0.1, 0.01, 0.2, 1.0),
)
EVALUATION = Evaluation(
    "cnn28 after epoch 3",
    ("cat", "dog"),
    Classification(0.5, 2, np.array([[0, 0, 30], [0, 1, 7], [1, 1, 20]]), None),
)
EVALUATED = Row("torchvision", "ok", evaluation=EVALUATION, accuracy=0.877)
RECORDS = tuple(
    EpochRecord(epoch, 1.5 / (epoch + 1), 2.0, 0.001, held_out_loss=0.5, accuracy=0.5 + epoch / 10)
    for epoch in range(3)
)
TRAINED = Row(
    "torchvision",
    "ok",
    train=Phase(tuple(Pass(80, 2.0, 0.5, (0.1, 0.4)) for _ in RECORDS)),
    accuracy=0.7,
    train_images=240,
    training=TrainingRun("cnn28", {"lr": 0.1}, RECORDS, 3, 2, 1000),
    evaluation=EVALUATION,
)
DECISIONS = (
    GateDecision("test_fast", "not slower", 0.95, "dali", "load", 0.99, 0.97, 1.01, 0.99, 5, 100.0, 99.0),
    GateDecision("test_slow", "slower", 0.95, "dali", "load", 0.8, 0.7, 0.9, 0.99, 5, 100.0, 80.0),
    GateDecision("test_gone", "failed", 0.95, reason="it ended with 1"),
)


def inference() -> Results:
    """Of ``throughput infer``."""
    return replace(FOUR, rows=(ANSWERED,), work=WORK | {"activity": "inference", "images": 13_716})


def workers(*counts: int) -> list[Results]:
    """Runs that differ in the number of workers."""
    return [
        replace(
            FOUR,
            work=WORK | {"workers": count},
            rows=tuple(
                loader_row(name, place, rate * count, 640, min(500, rate * count / 2), loaders=2)
                for place, (name, rate) in enumerate((("dali", 480), ("torchvision", 240)))
            ),
        )
        for count in counts
    ]
