"""Whether a gate can be believed: a project of somebody else's against itself, and against a slower head.

    python tests/benchmarks/gating.py

The project has ``loaders`` and ``models`` folders of its own, and a DataLoader; the slower head takes 15 %
longer for each image, by the clock. Exits with 1 where a bar is missed. Nothing else should run on the
machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROUNDS = ("not slower", "slower", "undecided", "failed")
LIMIT_SECONDS = 60

LOADER = """
import statistics
import time

import torch
from torchvision import transforms
from torchvision.datasets import ImageFolder

DELAY = {delay}


class Photos(ImageFolder):
    taken = ()

    def __getitem__(self, place):
        begin = time.perf_counter()
        item = super().__getitem__(place)
        end = time.perf_counter()
        self.taken = (*self.taken[-19:], end - begin)
        # A gate has this process stand still now and then: that is no time that an image takes.
        usual = [seconds for seconds in self.taken if seconds <= 3 * statistics.median(self.taken)]
        end += DELAY * statistics.fmean(usual)
        while time.perf_counter() < end:
            pass
        return item


def make_loader():
    transform = transforms.Compose([transforms.RandomResizedCrop(224), transforms.PILToTensor()])
    return torch.utils.data.DataLoader(
        Photos({photos!r}, transform), batch_size=16, shuffle=True, num_workers=2, drop_last=True,
        persistent_workers=True,
    )
"""

MODEL = """
NAME = "ours"
"""

TEST = """
from loaders.photos import make_loader
from models.own import NAME


def test_loading(loader_benchmark):
    row = loader_benchmark(make_loader, batch_size=16)
    assert row.status == "ok"
    assert NAME == "ours"
"""


@dataclass(frozen=True)
class Run:
    """One gate. seconds: of the whole command."""

    decision: str
    pairs: int
    ratio: float
    seconds: float


def checkout(folder: Path, photos: Path, delay: float) -> Path:
    """A project; its ``loaders`` and ``models`` are not ours."""
    for name, text in (
        ("loaders/__init__.py", ""),
        ("loaders/photos.py", LOADER.format(delay=delay, photos=str(photos))),
        ("models/__init__.py", ""),
        ("models/own.py", MODEL),
        ("tests/test_loading.py", TEST),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def gate(
    base: Path, head: Path, photos: Path, seed: int, scratch: Path, arguments: argparse.Namespace
) -> Run:
    """Run the command."""
    written = scratch / "gate.json"
    begin = time.monotonic()
    ran = subprocess.run(
        [
            shutil.which("throughput", path=str(Path(sys.executable).parent)) or "throughput",
            "gate", "--base", base, "--head", head, "--fail-below", "5%", "--seconds", str(arguments.seconds),
            "--budget", f"{arguments.budget}s", "--seed", str(seed), "--json", written,
            "tests/test_loading.py", "--", "--throughput-data", photos,
        ],
        capture_output=True, text=True, check=False, cwd=scratch,
    )  # fmt: skip
    seconds = time.monotonic() - begin
    if not written.exists():
        raise SystemExit(ran.stderr)
    run = json.loads(written.read_text())
    (decision,) = run["gate"]
    written.unlink()
    if (decision["decision"] == "slower") != (ran.returncode == 1):
        raise SystemExit(f"{decision} ended with {ran.returncode}")
    return Run(decision["decision"], decision["pairs"], decision["ratio"], seconds)


def told(runs: list[Run]) -> str:
    words = {word: sum(run.decision == word for run in runs) for word in ROUNDS}
    return (
        ", ".join(f"{word} in {count}" for word, count in words.items() if count)
        + f" of {len(runs)}; {statistics.median(run.pairs for run in runs):g} pairs and "
        f"{statistics.median(run.seconds for run in runs):.0f} s in the median, "
        f"{max(run.seconds for run in runs):.0f} s at most; the ratio's median "
        f"{statistics.median(run.ratio for run in runs):.3f}"
    )


def main() -> None:
    """Print what was decided, and fail where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--budget", type=float, default=56.0)
    parser.add_argument("--seconds", type=float, default=1.5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        photos = scratch / "photos"
        subprocess.run([sys.executable, "-m", "throughput", "synth", photos, "--count", "256"], check=True)
        base = checkout(scratch / "base", photos, 0.0)
        same = checkout(scratch / "same", photos, 0.0)
        slow = checkout(scratch / "slow", photos, 0.15)
        found: dict[str, list[Run]] = {"the same": [], "15 % longer": []}
        for seed in range(arguments.runs):
            for word, head in (("the same", same), ("15 % longer", slow)):
                run = gate(base, head, photos, seed, scratch, arguments)
                found[word].append(run)
                print(f"  {word} {seed + 1}/{arguments.runs}: {run}", file=sys.stderr)
    passed = True
    for word, wanted, least in (("the same", "not slower", 0.9), ("15 % longer", "slower", 0.95)):
        runs = found[word]
        wrong = sum(run.decision == ("slower" if wanted == "not slower" else "not slower") for run in runs)
        met = sum(run.decision == wanted for run in runs) >= least * len(runs) and (
            wanted == "slower" or wrong == 0
        )
        met &= max(run.seconds for run in runs) <= LIMIT_SECONDS
        passed &= met
        print(f"{'passed' if met else 'MISSED'}: {word}: {told(runs)}")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
