"""Four set-ups whose bottleneck is known, and what the verdict says of them.

    python tests/benchmarks/verdicts.py [--data FOLDER] [--seconds S] [--repeats N]

Prints a table in Markdown. Exits with 1 where a verdict is wrong, or where the first suggestion for the slow
loader promised another gain than it gave. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import throughput
from throughput.measure.environment import usable_cores
from throughput.results import Bottleneck, Row, Suggestion

FAKE = "throughput.testing:FakeLoaderFactory"
BATCH = 32
"""The photos that are made by default are 29 batches of this size: none is smaller than the others."""
LARGEST_ERROR = 0.1
"""Of a predicted rate, as a share of the measured one."""


@dataclass(frozen=True)
class SetUp:
    """A loader and a model of known speeds. loader: the fake loader's options."""

    name: str
    expected: Bottleneck
    model: str
    loader: dict[str, Any]
    workers: int = 1
    image_size: int = 64
    check_prediction: bool = False


def set_ups(busy_seconds: float) -> Iterator[SetUp]:
    """``busy_seconds``: CPU time for a batch; all cores burn it for half as many again as cnn_small takes."""
    yield SetUp(
        "a slow loader (sleeps 0.2 s a batch)",
        "loader-bound",
        "throughput.testing:sleep_10ms",
        {"batch_seconds": 0.2},
        check_prediction=True,
    )
    yield SetUp("a heavy model (ResNet-18)", "model-bound", "resnet18", {})
    yield SetUp(
        "both sleep 0.2 s a batch",
        "balanced",
        "throughput.testing:sleep_200ms",
        {"batch_seconds": 0.2},
    )
    yield SetUp(
        "both busy on the same cores",
        "cpu-contended",
        "cnn_small",
        {"busy_seconds": busy_seconds},
        workers=usable_cores(),
        image_size=224,
    )


def measure(set_up: SetUp, chosen: argparse.Namespace, **more: Any) -> Row:
    """The row of the fake loader."""
    (row,) = throughput.bench(
        [FAKE],
        chosen.data,
        batch_size=BATCH,
        image_size=set_up.image_size,
        workers=set_up.workers,
        model=set_up.model,
        seconds=chosen.seconds,
        repeats=chosen.repeats,
        precision="fp32",
        device="cpu",
        certified=False,
        options={FAKE: set_up.loader},
        **more,
    ).rows
    if row.status != "ok":
        sys.exit(f"{set_up.name}: {row.reason}")
    for warning in row.warnings:
        print(f"{set_up.name}: {warning}", file=sys.stderr)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", help="class folders; their images are counted, not read")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    small = SetUp("cnn_small alone", "model-bound", "cnn_small", {}, image_size=224)
    model = measure(small, chosen, phases=["model"]).model
    assert model is not None
    busy_seconds = usable_cores() * BATCH / (1.5 * model.images_per_second.median)

    failed = False
    print("| set-up | alone | model | training | expected | verdict | in words |")
    print("|---|---|---|---|---|---|---|")
    for set_up in set_ups(busy_seconds):
        row = measure(set_up, chosen, check_prediction=set_up.check_prediction)
        assert row.verdict is not None
        phases = (row.load, row.model, row.train)
        rates = " | ".join(f"{phase.images_per_second.median:,.0f}" for phase in phases if phase)
        print(
            f"| {set_up.name} | {rates} | {set_up.expected} | {row.verdict.bottleneck} "
            f"| {row.verdict.sentence} |",
            flush=True,
        )
        failed |= row.verdict.bottleneck != set_up.expected
        if set_up.check_prediction:
            first = next(iter(row.verdict.suggestions), None)
            failed |= first is None or not _holds(row, first)
    return int(failed)


def _holds(row: Row, suggestion: Suggestion) -> bool:
    """Whether the suggestion, once applied, gave what it promised."""
    if suggestion.measured is None or row.train is None:
        print(f"not applied: {suggestion}", file=sys.stderr)
        return False
    now, then = row.train.images_per_second.median, suggestion.measured.median
    error = suggestion.images_per_second / then - 1
    print(
        f"{suggestion.text}, {suggestion.options}: predicted {suggestion.images_per_second:,.0f} "
        f"[{suggestion.low:,.0f}, {suggestion.high:,.0f}] images/s, measured {then:,.0f} "
        f"({then / now:.2f} times as fast as before): the prediction is off by {100 * error:+.1f} %",
        file=sys.stderr,
    )
    return abs(error) <= LARGEST_ERROR


if __name__ == "__main__":
    sys.exit(main())
