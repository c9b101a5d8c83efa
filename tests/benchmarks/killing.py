"""Whether a run that is killed at any moment goes on exactly: every image once an epoch, the same weights.

    python tests/benchmarks/killing.py --kills 20

Trains with a checkpoint after every batch, ends the command by SIGKILL at random moments, goes on with
--resume and another number of workers, and holds what comes of it against a run that nobody disturbed. Exits
with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from throughput.resuming import unpacked
from throughput.sources import open_source
from throughput.training.checkpoint import Checkpoint, read

MODEL, EPOCHS, BATCH = "cnn32", 2, 4
STREAMING = ("webdataset",)
"""Loaders whose order, and so what is learnt, depends on the number of workers."""
START_SHARE, START_SECONDS = 0.2, 4.0
"""So many of the kills come within so long from the command's start, when it may have trained on nothing."""
DEADLINE_SECONDS = 120
SMALLEST_WAIT_SECONDS = 0.001


@dataclass(frozen=True)
class Drill:
    """folder: where everything is written. data: what is trained on. most_batches: between two kills."""

    folder: Path
    data: Path
    loader: str
    workers: int
    most_batches: int
    draw: random.Random

    def start(self, name: str, workers: int, *more: str) -> subprocess.Popen[str]:
        """``throughput train``, in a group of processes of its own."""
        command = (
            "-m", "throughput", "train", f"--data={self.data}", f"--model={MODEL}", "--size=32",
            f"--batch={BATCH}", f"--epochs={EPOCHS}", f"--loader={self.loader}", f"--workers={workers}",
            "--device=cpu", "--precision=fp32", "--deterministic", "--resume",
            f"--checkpoint={self.path(name)}", f"--json={self.folder / name}.json", *more,
        )  # fmt: skip
        return subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def path(self, name: str) -> Path:
        """The checkpoint of a run by this name."""
        return self.folder / f"{name}.pt"


def killed(drill: Drill, name: str, workers: int) -> bool:
    """Start or go on, and kill at a random moment; False where the run ended before that."""
    with drill.start(name, workers, f"--checkpoint-every={SMALLEST_WAIT_SECONDS}s") as process:
        try:
            moment = drill.draw.random()
            if moment < START_SHARE:
                ended = _ends_within(process, START_SECONDS * moment / START_SHARE)
            else:
                ended = _writes(process, drill.path(name), drill.draw.randint(1, drill.most_batches))
                ended = ended or _ends_within(process, drill.draw.uniform(0, 0.05))
            if ended:
                _, said = process.communicate()
                if process.returncode:
                    raise SystemExit(f"{name} failed: {said}")
        finally:
            # Its workers would end by themselves, seconds later.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return not ended


def _ends_within(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _writes(process: subprocess.Popen[str], path: Path, times: int) -> bool:
    """Return once the checkpoint was written so often; True where the process ended before."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    for _ in range(times):
        before = _version(path)
        while _version(path) == before:
            if time.monotonic() > deadline:
                raise SystemExit(f"no checkpoint was written for {DEADLINE_SECONDS} s")
            if _ends_within(process, SMALLEST_WAIT_SECONDS):
                return True
    return False


def _version(path: Path) -> int | None:
    """Tells one file from the whole new one that takes its place; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def faults_of_a_checkpoint(found: Checkpoint) -> list[str]:
    """What of a checkpoint does not fit together: what the loader says that it delivered, and what came."""
    part = found.run.get("part")
    if part is None:
        return []
    delivered = unpacked(part["loader"]["by_rank"], part["loader"]["samples"])
    seen = unpacked(part["ledger"]["seen"], _bits(part["ledger"]["seen"]))[: len(delivered)]
    told = {
        "the loader's": int(np.count_nonzero(delivered)),
        "the ledger's": int(np.count_nonzero(seen)),
        "the batches'": sum(part["sizes"]),
        "the pass's": part["images"],
        "the optimiser's": found.run["step"]["images"] - sum(images for images, *_ in found.run["passes"]),
    }
    same = set(told.values()) == {part["images"]} and np.array_equal(
        np.flatnonzero(delivered), np.flatnonzero(seen)
    )
    return [] if same else [f"images of epoch {part['epoch'] + 1} so far: {told}"]


def _bits(text: str) -> int:
    return 8 * (len(text) * 3 // 4 - text.count("="))


def faults_of_a_run(drill: Drill, name: str, straight: Checkpoint) -> list[str]:
    """What of a run that came to its end is not as if nobody had disturbed it."""
    row: dict[str, Any] = json.loads((drill.folder / f"{name}.json").read_text())["rows"][0]
    found, ledger = read(drill.path(name), (MODEL,)), row["ledger"]
    faults = [f"{key}: {ledger[key]}" for key in ("missing", "duplicate", "padded") if ledger[key]]
    if ledger["unique"] != ledger["expected"]:
        faults.append(f"{ledger['unique']} of {ledger['expected']} images came")
    for key in ("steps", "images"):
        if found.run["step"][key] != straight.run["step"][key]:
            faults.append(f"{key}: {found.run['step'][key]}, not {straight.run['step'][key]}")
    same = all(torch.equal(value, found.weights[key]) for key, value in straight.weights.items())
    if drill.loader not in STREAMING and not same:
        faults.append("the weights differ from those of the run that nobody disturbed")
    return faults


def run(drill: Drill, kills: int) -> list[str]:
    """Kill so often, and return what was wrong; tells how it goes."""
    process = drill.start("straight", drill.workers)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run that nobody disturbs failed: {said}")
    straight = read(drill.path("straight"), (MODEL,))
    faults: list[str] = []
    done = runs = 0
    while done < kills or runs == 0:
        runs += 1
        name = f"killed{runs}"
        while done < kills:
            workers = 1 + (drill.workers + done) % 3
            if not killed(drill, name, workers):
                break
            done += 1
            where = "before anything was kept"
            if drill.path(name).exists():
                found = read(drill.path(name), (MODEL,))
                faults += [f"{name}: {fault}" for fault in faults_of_a_checkpoint(found)]
                part, epochs = found.run.get("part"), len(found.run["records"])
                where = f"with {part['batches'] if part else 0} batches of epoch {epochs + 1} kept"
            print(f"kill {done}: {workers} workers, {where}", flush=True)
        if done == kills:
            _, said = (last := drill.start(name, drill.workers)).communicate()
            if last.returncode:
                raise SystemExit(f"{name} failed: {said}")
        faults += [f"{name}: {fault}" for fault in faults_of_a_run(drill, name, straight)]
    print(f"{done} kills in {runs} runs of {EPOCHS} epochs by {drill.loader}: {len(faults)} faults")
    return faults


def main() -> None:
    """Make photos, or take some, and drill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--loader", default="torchvision")
    parser.add_argument("--data", type=Path, help="class folders; photos made here where there are none")
    parser.add_argument("--photos", type=int, default=240, help="how many to make")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name), arguments.data
        if data is None:
            data = folder / "photos"
            synth = ("synth", str(data), f"--count={arguments.photos}")
            subprocess.run(
                [sys.executable, "-m", "throughput", *synth], check=True, stdout=subprocess.DEVNULL
            )
        batches = EPOCHS * len(open_source(data).ids("train")) // BATCH
        draw = random.Random(arguments.seed)
        drill = Drill(folder, data, arguments.loader, arguments.workers, max(1, batches // 6), draw)
        faults = run(drill, arguments.kills)
    for fault in faults:
        print(fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
