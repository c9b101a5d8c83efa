"""The plugin in a project of somebody else's: what it measures, where it is off, and what fails a test."""

from __future__ import annotations

import json

import pytest

FAKE = "throughput.testing:FakeLoaderFactory"

MANY = f"""
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from throughput.testing import FakeLoaderFactory

SMALL = dict(image_size=16, certified=False)
MINE = 3


class Pairs(Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, index):
        return torch.zeros(3, 16, 16, dtype=torch.uint8), index % MINE


def make_loader():
    return DataLoader(Pairs(), batch_size=4)


class Mine(FakeLoaderFactory):
    name = "mine"


@pytest.mark.benchmark(group="named")
def test_named(loader_benchmark):
    row = loader_benchmark("{FAKE}", **SMALL)
    assert row.status == "ok"
    assert len(row.load.passes) == 2
    assert row.ledger.exact


def test_function(loader_benchmark):
    row = loader_benchmark(make_loader, **SMALL)
    assert row.loader == "given:make_loader"


def test_dataloader(loader_benchmark):
    row = loader_benchmark(DataLoader(Pairs(), batch_size=4, collate_fn=lambda pairs: (
        torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs]))), **SMALL)
    assert row.loader == "given:DataLoader"


def test_factory(loader_benchmark):
    row = loader_benchmark(Mine, options={{"prefetch": 3}}, **SMALL)
    assert row.options["prefetch"] == 3


def test_training(train_benchmark):
    row = train_benchmark("{FAKE}", model="cnn_small", **SMALL)
    assert [phase is None for phase in (row.load, row.model, row.train)] == [False] * 3
    assert row.train_steps > 0


@pytest.mark.throughput(min_images_per_second=1)
def test_fast_enough(loader_benchmark):
    loader_benchmark("{FAKE}", on_error="skip", max_errors=5, **SMALL)


@pytest.mark.throughput(min_images_per_second=1e12)
def test_too_slow(loader_benchmark):
    loader_benchmark("{FAKE}", **SMALL)


def test_miscounted(loader_benchmark):
    loader_benchmark("{FAKE}", options={{"drop": 1}}, steps=50, **SMALL)


def test_other_work(loader_benchmark):
    loader_benchmark("{FAKE}", image_size=16)


def test_unknown(loader_benchmark):
    loader_benchmark("torchvisoin", **SMALL)


def test_unpicklable(loader_benchmark):
    loader_benchmark((batch for batch in []), **SMALL)


def test_twice(loader_benchmark):
    loader_benchmark("{FAKE}", **SMALL)
    loader_benchmark("{FAKE}", **SMALL)


def test_beside_benchmark(benchmark, loader_benchmark):
    pass


def test_misspelt_setting(loader_benchmark):
    loader_benchmark("{FAKE}", batchsize=3)


@pytest.mark.throughput(at_least=3)
def test_misspelt_mark(loader_benchmark):
    pass
"""

TWO = f"""
import pytest

def test_plain():
    pass

def test_loader(loader_benchmark):
    loader_benchmark("{FAKE}", image_size=16, certified=False)
"""


def test_what_tests_measure_and_what_fails_them(project) -> None:
    session = project(MANY, "--benchmark-json=benchmark.json", "--throughput-seconds=0.1")
    assert session.outcomes == {
        "test_named": "passed",
        "test_function": "passed",
        "test_dataloader": "passed",
        "test_factory": "passed",
        "test_training": "passed",
        "test_fast_enough": "passed",
        "test_too_slow": "failure",
        "test_miscounted": "failure",
        "test_other_work": "failure",
        "test_unknown": "failure",
        "test_unpicklable": "failure",
        "test_twice": "failure",
        "test_beside_benchmark": "error",
        "test_misspelt_mark": "error",
        "test_misspelt_setting": "failure",
    }, session.said
    said = " ".join(session.said.split())
    for words in (
        "min_images_per_second missed",
        "miscounts: in epoch",
        "does not do the same work: ",
        "did you mean 'torchvision'?",
        "hand over a function that makes it",
        "a test measures once",
        "asks for `benchmark` as well",
        "takes min_ratio=... and min_images_per_second=..., got at_least",
        "unknown settings batchsize; there are phases, options,",
    ):
        assert words in said, words
    missed = [line for line in session.said.splitlines() if line.startswith("  min_images_per_second missed")]
    assert len(missed) == 1
    benchmark = session.benchmarks()["test_named"]
    (run,) = [run for run in session.runs() if run["work"]["test"] == "test_theirs.py::test_named"]
    # The figures of pytest-benchmark are those of the passes: seconds for an image.
    passes = run["rows"][0]["load"]["passes"]
    assert benchmark["stats"]["data"] == pytest.approx([one["seconds"] / one["images"] for one in passes])
    assert benchmark["group"] == "named"
    told = benchmark["extra_info"]
    assert told["images_per_second"] == run["rows"][0]["load"]["images_per_second"]
    assert set(told) >= {"wait_fraction", "wait_ms", "ledger", "certificate", "environment", "work", "loader"}
    assert told["certificate"]["comparable"] is None
    assert "batch_wait_seconds" not in json.dumps(told)
    properties = session.properties("test_named")
    assert float(properties["throughput.images_per_second"]) == told["images_per_second"]["median"]
    assert properties["throughput.ledger_exact"] == "True"
    assert properties["throughput.phase"] == "load"
    assert "test_theirs.py::test_fast_enough: throughput.testing:FakeLoaderFactory, load: " in said


def test_disabled_it_only_runs(project) -> None:
    limit = "--throughput-min-images-per-second=1e12"
    session = project(TWO, "--benchmark-disable", limit)
    assert session.code == 0, session.said
    assert "ran, and was not timed" in session.said
    assert not (session.folder / "throughput.json").exists()
    strict = project("", "--benchmark-disable", limit, "--throughput-strict")
    assert strict.code == 1, strict.said
    assert "nothing was timed" in strict.said


def test_benchmark_only_leaves_the_others_out(project) -> None:
    session = project(TWO, "--benchmark-only", "--benchmark-autosave", "--benchmark-compare")
    assert session.outcomes == {"test_plain": "skipped", "test_loader": "passed"}, session.said


def test_without_pytest_benchmark_it_measures_all_the_same(project) -> None:
    session = project(TWO, "-p", "no:benchmark")
    assert session.outcomes == {"test_plain": "passed", "test_loader": "passed"}, session.said
    assert len(session.runs()) == 1
    assert float(session.properties("test_loader")["throughput.images_per_second"]) > 0


def test_beside_other_tests_it_says_that_it_is_off(project) -> None:
    session = project(TWO, "-n", "2")
    assert session.outcomes == {"test_plain": "passed", "test_loader": "passed"}, session.said
    assert "tests that run beside each other (-n) are not timed" in session.said
    assert "1 tests ran their loaders, and timed nothing" in session.said
    assert session.properties("test_loader")["throughput.timed"] == "False"


def test_modules_that_nothing_else_can_import_are_measured(project) -> None:
    code = """
from throughput.testing import FakeLoaderFactory

class Mine(FakeLoaderFactory):
    name = "mine"

def test_mine(loader_benchmark):
    loader_benchmark(Mine, image_size=16, certified=False)
"""
    session = project(code, "--import-mode=importlib", name="test_alone.py")
    assert session.code == 0, session.said


def test_pytest_stays_light_until_it_is_used(project) -> None:
    code = """
import atexit
import sys

HEAVY = {"torch", "numpy", "rich", "cloudpickle", "throughput.api"}
atexit.register(lambda: print("heavy at the end:", sorted(HEAVY & set(sys.modules))))


def test_light():
    assert not HEAVY & set(sys.modules)
"""
    session = project(code, "-p", "no:benchmark")
    assert session.code == 0, session.said
    assert "heavy at the end: []" in session.said


def test_a_test_that_is_slower_than_a_saved_run_fails(project) -> None:
    first = project(TWO, "--throughput-repeats=6")
    assert first.code == 0, first.said
    (run,) = first.runs()
    for one in run["rows"][0]["load"]["passes"]:
        one["seconds"] /= 1000
    saved = first.folder / "saved.json"
    saved.write_text(json.dumps(run))
    slower = project(
        "", f"--throughput-compare={saved}", "--throughput-fail-below=50%", "--throughput-repeats=6"
    )
    assert slower.outcomes["test_loader"] == "failure", slower.said
    assert "min_ratio missed: " in slower.said


@pytest.mark.parametrize(
    "option",
    [
        "--throughput-seconds=0",
        "--throughput-repeats=x",
        "--throughput-fail-below=5 percent",
        "--throughput-json=nowhere/file",
        "--throughput-compare=nowhere",
    ],
)
def test_options_are_checked_at_once(project, option: str) -> None:
    session = project(TWO, option)
    assert session.code == 4
    assert option.partition("=")[0] in session.said


def test_the_ready_comparison(project) -> None:
    session = project(
        "",
        "--pyargs",
        "throughput.ci",
        f"--throughput-loaders=torchvision,{FAKE}",
        "--throughput-phases=load",
    )
    assert session.outcomes == {"test_loader[torchvision]": "passed", f"test_loader[{FAKE}]": "failure"}, (
        session.said
    )
    assert "does not do the same work" in session.said
    assert len(session.runs()) == 2
    assert "torchvision, load: " in session.said
