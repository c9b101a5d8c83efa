"""How fast onnxruntime answers: against torch, in int8, and against a bare loop without this package.

    python tests/benchmarks/onnx_speed.py FOLDER_OF_CLASS_FOLDERS [--model NAME] [--rounds N] [--seconds S]

Each way in fresh processes, interleaved. Exit status 1 unless int8 (static) gives at least 2.5 times the
images/s of fp32 in onnxruntime, fp32 at least torch's, and the session as ``throughput infer`` measures it
is within 3 % of the bare loop. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from throughput.choices import choose_image_size, choose_work
from throughput.measure.budget import Budget
from throughput.measure.environment import usable_cores
from throughput.measure.nursery import Nursery
from throughput.measure.rounds import measure_rounds
from throughput.measure.statistics import Ratio, paired_ratio
from throughput.models.exporting import export
from throughput.models.inferring import Inference, compare, file_arm, torch_arm
from throughput.models.onnx_files import read_onnx
from throughput.models.quantising import Calibration, quantise
from throughput.results import Results
from throughput.sources import open_source
from throughput.training.checkpoint import Subject
from throughput.training.judging import Judging

BATCH = 8
INT8_LEAST, TORCH_LEAST, FARTHEST = 2.5, 1.0, 0.03
BARE = """
import sys, time
import numpy, onnxruntime
path, batch, channels, size, threads, seconds = sys.argv[1], *map(int, sys.argv[2:6]), float(sys.argv[6])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
images = numpy.random.default_rng(0).standard_normal((batch, channels, size, size), numpy.float32)
for _ in range(3):
    session.run(None, {name: images})
runs, begin = 0, time.perf_counter()
while time.perf_counter() - begin < seconds:
    session.run(None, {name: images})
    runs += 1
print(runs * batch / (time.perf_counter() - begin))
"""


def bare(path: Path, subject: Subject, threads: int, seconds: float) -> float:
    """Images/s of nothing but onnxruntime, in a process of its own."""
    numbers = (BATCH, subject.channels, subject.image_size, threads, seconds)
    command = [sys.executable, "-c", BARE, str(path), *map(str, numbers)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def against_a_bare_loop(inference: Inference, rounds: int) -> Ratio:
    """The session as ``infer`` measures it over a bare loop, each in turn."""
    once = replace(inference, budget=replace(inference.budget, repeats=1))
    subject = inference.file.subject
    threads = inference.threads or usable_cores()
    ours, theirs = [], []
    with Nursery() as nursery:
        for number in range(rounds):

            def tool() -> None:
                plan = once.plan(once.loaders[0], once.answering, ("model",))
                (row,) = measure_rounds([plan], nursery)
                if row.model is None:
                    raise SystemExit(row.reason)
                ours.extend(row.model.rates)

            def loop() -> None:
                theirs.append(bare(inference.file.path, subject, threads, inference.budget.seconds))

            for turn in (tool, loop) if number % 2 else (loop, tool):
                turn()
            print(f"  {ours[-1]:.2f} and {theirs[-1]:.2f} images/s", file=sys.stderr)
    return paired_ratio(ours, theirs)


def ratio_of(results: Results, name: str, baseline: str) -> Ratio:
    """Of two ways that ran in the same rounds."""
    rates = {
        row.runtime.precision if row.runtime.engine == "onnxruntime" else row.runtime.engine: row.model.rates
        for row in results.rows
        if row.runtime is not None and row.model is not None
    }
    return paired_ratio(rates[name], rates[baseline])


def told(what: str, ratio: Ratio, good: bool) -> bool:
    """Print it, and whether it is good."""
    print(f"{what}: {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]: {'met' if good else 'MISSED'}")
    return good


def main() -> int:
    """Measure; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    chosen = parser.parse_args()
    source = open_source(chosen.folder)
    judging = Judging(source, batch_size=BATCH, device="cpu", precision="fp32")
    work = choose_work(source, batch_size=1, image_size=choose_image_size(None, chosen.model), device="cpu")
    subject = replace(Subject.of(chosen.model, work), source="", train_digest="")
    with tempfile.TemporaryDirectory() as folder:
        file, small = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        export(subject.build(), subject, file, judging)
        found = read_onnx(file)
        small.write_bytes(quantise(found, "int8-static", judging, Calibration(images=32)))
        inference = Inference(
            found,
            judging,
            (judging.loader,),
            provider="cpu",
            threads=usable_cores(),
            budget=Budget(seconds=chosen.seconds, repeats=chosen.rounds),
        )
        arms = [torch_arm(inference, "torch"), file_arm(inference, file, "fp32")]
        results = compare(inference, [*arms, file_arm(inference, small, "int8-static")])
        for row in results.rows:
            if row.model is None or row.runtime is None:
                sys.exit(row.reason)
            rate = row.model.images_per_second
            name = row.runtime.precision if row.runtime.provider else row.runtime.engine
            print(f"{name}: {rate.median:.1f} images/s [{rate.low:.1f}, {rate.high:.1f}]")
        int8, torch = ratio_of(results, "int8-static", "fp32"), ratio_of(results, "fp32", "torch")
        loop = against_a_bare_loop(inference, chosen.rounds)
    good = told("int8-static / fp32", int8, int8.value >= INT8_LEAST)
    good &= told("fp32 / torch", torch, torch.value >= TORCH_LEAST)
    good &= told("as measured / bare loop", loop, abs(loop.value - 1) <= FARTHEST)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
