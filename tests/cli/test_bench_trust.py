"""Why a bench can be trusted: certificates, predictions that are checked, caches that are proved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from throughput.errors import ThroughputError
from throughput.measure.pagecache import counts_reads, require_cold, require_warm

FAKE = "throughput.testing:FakeLoaderFactory"
SLOW_MODEL = "--model=throughput.testing:sleep_200ms"
"""So slow that any loader keeps up: passes of two batches agree, whatever else the machine does."""

OWN = """
import torch

def make_loader():
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        yield torch.rand((8, 3, 32, 32), generator=generator), torch.zeros(8, dtype=torch.int64)
"""

WATCHED = """
from throughput.loaders.imagefolder import TorchvisionLoaderFactory
from throughput.measure.pagecache import resident_share

class Watched(TorchvisionLoaderFactory):
    def open(self, work, options):
        with open("resident.txt", "a") as told:
            print(resident_share(work.source.files()), file=told)
        return super().open(work, options)
"""


@pytest.fixture
def bench(throughput, small, images, tmp_path):
    """Run the bench over the images, and return what it said and the rows that it wrote."""

    def run(*arguments: str, certified: bool = False) -> tuple[Any, dict[str, Any]]:
        chosen = [option for option in small if not (certified and option == "--no-certificate")]
        out = tmp_path / "out.json"
        ran = throughput("bench", "--data", images, *chosen, *arguments, "--json", out, cwd=tmp_path)
        rows = json.loads(out.read_text())["rows"] if out.exists() else []
        return ran, {row["loader"]: row for row in rows}

    return run


@pytest.fixture
def cold_files(images):
    """The images, cold now; skips where files cannot be, or where nobody counts what is read of them."""
    files = tuple(path for path in Path(images).rglob("*") if path.is_file())
    try:
        if not counts_reads(files):
            pytest.skip("nobody counts reads on this file system")
        require_cold(files)
    except ThroughputError as error:
        pytest.skip(str(error))
    return files


def test_a_loader_that_does_other_work_is_stamped_and_strict_says_so(bench):
    ran, rows = bench(f"--loader={FAKE},dali", "--phases=load", "--strict", certified=True)
    assert ran.returncode == 1, ran.stderr
    assert rows[FAKE]["certificate"]["comparable"] is False
    failed = [check["name"] for check in rows[FAKE]["certificate"]["checks"] if not check["ok"]]
    assert "train.content" in failed, "the images are black"
    assert rows["dali"]["certificate"]["comparable"] is True
    table, notes = ran.stdout.split("└", 1)
    assert table.index("│ dali ") < table.index(f"│ {FAKE} "), "below the ranked rows, though faster"
    assert "NOT COMPARABLE" in table
    assert f"{FAKE}: NOT COMPARABLE: train.content: " in notes


def test_the_first_suggestion_is_applied_and_measured(bench):
    # So slow that the cores idle for nearly all the time, whatever else the machine does.
    options = (f"--loader={FAKE}", f"--opt={FAKE}.batch_seconds=0.4", "--workers=1", "--check-prediction")
    for steps in (2, 6, 16):
        ran, rows = bench(*options, f"--steps={steps}")
        assert ran.returncode == 0, ran.stderr
        verdict = rows[FAKE]["verdict"]
        if verdict is not None:
            break
        # Where a busy machine stops a step, the loader gets ahead, and in so short a pass training comes out
        # faster than the loader alone; then nothing is said of it. Over a longer one, that does not matter.
        assert "which cannot be" in ran.stderr
    assert verdict["bottleneck"] == "loader-bound"
    first, *others = verdict["suggestions"]
    assert list(first["options"]) == ["workers"]
    assert first["measured"]["median"] > 0
    assert all(other["measured"] is None for other in others)
    assert "predicted [" in ran.stdout
    assert " measured" in ran.stdout


def test_predictions_need_all_phases(bench):
    ran, _ = bench("--loader=dali", "--phases=load", "--check-prediction")
    assert ran.returncode == 2
    assert ran.stderr == "throughput: --check-prediction needs all of --phases load,model,train\n"


def test_loaders_are_compared_and_projected(throughput, small, images, tmp_path):
    ran = throughput(
        "bench", "--data", images, *small, SLOW_MODEL, "--loader=torchvision,dali", "--json=out.json",
        "--project-images=12345", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = json.loads((tmp_path / "out.json").read_text())
    for compared in told["comparisons"]:
        assert {compared["loader"], compared["baseline"]} == {"torchvision", "dali"}
        assert compared["pairs"] == 2
        assert compared["low"] < compared["ratio"] < compared["high"]
    assert [compared["phase"] for compared in told["comparisons"]] == ["load", "train"]
    for row in told["rows"]:
        assert [one["images"] for one in row["verdict"]["epochs"]] == [28, 12345]
        assert row["certificate"]["comparable"] is None
    assert "for 12,345 images" in ran.stdout
    assert "not certified: its certificate was left out on request" in ran.stdout


@pytest.mark.usefixtures("cold_files")
def test_a_cold_pass_reads_the_files_from_the_device(bench):
    ran, rows = bench("--loader=torchvision", "--cache=cold", "--phases=load", "--steps=4")
    assert ran.returncode == 0, ran.stderr
    evidence = rows["torchvision"]["cache"]
    assert evidence["mode"] == "cold"
    assert evidence["resident_before"] <= 0.01
    assert evidence["bytes_read"] >= 0.95 * evidence["bytes_delivered"] > 0
    # So few batches may all come while a busy machine still starts the workers of the warm pass.
    told = evidence["cold_seconds"] > evidence["startup_seconds"]
    assert 0 <= evidence["fetch_stall_fraction"] <= 1 if told else evidence["fetch_stall_fraction"] is None
    assert "read from the device" in ran.stdout


def test_what_happens_at_first_use_only_is_over_before_the_files_are_made_cold(bench, cold_files, tmp_path):
    require_warm(cold_files)
    (tmp_path / "watched_loader.py").write_text(WATCHED)
    ran, _ = bench("--loader=watched_loader:Watched", "--cache=cold", "--phases=load", "--repeats=1")
    assert ran.returncode == 0, ran.stderr
    rehearsed, cold, *_ = map(float, (tmp_path / "resident.txt").read_text().split())
    assert rehearsed == 1, "the first opening in a process, with all that is compiled or loaded then"
    assert cold == 0


@pytest.mark.usefixtures("cold_files")
@pytest.mark.parametrize("loader", ["dali", "torchvision"])
def test_an_array_that_the_measuring_process_has_mapped_is_made_cold(bench, tmp_path, loader):
    np.save(tmp_path / "images.npy", np.zeros((2000, 32, 32, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(2000) % 10)
    arrays = (f"--data={tmp_path / 'images.npy'}", f"--labels={tmp_path / 'labels.npy'}")
    ran, rows = bench(f"--loader={loader}", *arrays, "--cache=cold", "--phases=load", "--steps=4")
    assert ran.returncode == 0, ran.stderr
    assert rows[loader]["cache"]["resident_before"] <= 0.01


def test_a_cold_pass_that_reads_nothing_is_a_failed_row(bench, images):
    files = tuple(path for path in Path(images).rglob("*") if path.is_file())
    try:
        require_cold(files)
    except ThroughputError as error:
        pytest.skip(str(error))
    ran, rows = bench(f"--loader={FAKE}", "--cache=cold", "--phases=load")
    assert ran.returncode == 3
    assert rows[FAKE]["status"] == "failed"
    assert "the loader keeps a copy of its own, or reads something else" in rows[FAKE]["reason"]


def test_a_pipeline_of_one_s_own_stands_beside_ours(bench, tmp_path):
    (tmp_path / "own_pipeline_of_mine.py").write_text(OWN)
    name = "own_pipeline_of_mine:make_loader"
    ran, rows = bench(f"--loader={name}", SLOW_MODEL, certified=True)
    assert ran.returncode == 0, ran.stderr
    row = rows[name]
    assert (row["status"], row["decode"], row["ledger"], row["accuracy"]) == ("ok", None, None, None)
    assert row["load"]["images_per_second"]["median"] > 0
    assert row["train"]["first_batch_seconds"] > 0
    assert row["verdict"]["bottleneck"]
    assert row["certificate"]["comparable"] is None
    assert "takes no Work" in row["certificate"]["reason"]
    assert f"{name}: not certified: this pipeline takes no Work" in ran.stdout


def test_an_unknown_state_of_the_cache_is_refused(bench):
    ran, _ = bench("--loader=dali", "--cache=lukewarm")
    assert ran.returncode == 2
    assert ran.stderr == "throughput: --cache must be one of any, cold, warm, got 'lukewarm'\n"
