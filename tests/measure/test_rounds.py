"""Interleaved rounds: every loader once in each, in an order of its own, each time in a fresh process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from throughput.cache import cache_folder
from throughput.contracts import Source, Work
from throughput.measure.budget import Budget
from throughput.measure.events import Finished
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Block, Plan
from throughput.measure.rounds import measure_rounds
from throughput.results import PhaseName, Row
from throughput.sources import open_source
from throughput.testing import write_contract_images

FAKE = "throughput.testing:FakeLoaderFactory"

RECORDING = """
import os
from throughput.testing import FakeLoaderFactory

class Recording(FakeLoaderFactory):
    def prepare(self, work, options, progress):
        import sys
        with open(os.environ["RECORD"], "a") as file:
            print(type(self).__name__, os.getpid(), "tabnanny" in sys.modules, file=file)
        import tabnanny
        return super().prepare(work, options, progress)

class Other(Recording): pass

class Third(Recording): pass

class Begins(FakeLoaderFactory):
    def prepare(self, work, options, progress):
        import sys
        from throughput.normalise import normalise_rows
        has = "torch._dynamo" in sys.modules, len(normalise_rows.signatures)
        with open(os.environ["RECORD"], "a") as file:
            print(*has, os.environ["TORCHINDUCTOR_CACHE_DIR"], file=file)
        return super().prepare(work, options, progress)

class FailsLater(Recording):
    def open(self, work, options):
        with open(os.environ["RECORD"]) as file:
            if sum(line.startswith("FailsLater") for line in file) == 2:
                raise ValueError("not again")
        return super().open(work, options)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("rounds") / "images", 10))


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """One for all tests: starting it takes seconds."""
    folder = tmp_path_factory.mktemp("nursery")
    (folder / "recording_loaders.py").write_text(RECORDING)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("RECORD", str(folder / "record"))
        with Nursery() as nursery:
            yield nursery


@pytest.fixture
def record(nursery: Nursery) -> Path:  # noqa: ARG001 - it knows the file
    """Where each block writes its loader, its process and whether an earlier one had left a trace."""
    path = Path(os.environ["RECORD"])
    path.write_text("")
    return path


def plan_for(
    source: Source,
    loader: str = FAKE,
    phases: tuple[PhaseName, ...] = ("load",),
    repeats: int = 3,
    seed: int = 0,
) -> Plan:
    work = Work(source, image_size=32, batch_size=8, workers=1, seed=seed)
    return Plan(f"recording_loaders:{loader}" if ":" not in loader else loader, work, "cnn_small", {}, phases,
                Budget(steps=2, repeats=repeats))  # fmt: skip


def test_a_round_has_each_loader_once_in_a_fresh_process(
    nursery: Nursery, source: Source, record: Path
) -> None:
    rows = measure_rounds([plan_for(source, name) for name in ("Recording", "Other", "Third")], nursery)
    lines = [line.split() for line in record.read_text().splitlines()]
    names = [name for name, _, _ in lines]
    assert len(names) == 9
    for begin in (0, 3, 6):
        assert sorted(names[begin : begin + 3]) == ["Other", "Recording", "Third"]
    assert len({pid for _, pid, _ in lines}) == 9
    assert {trace for _, _, trace in lines} == {"False"}, "a process found what another had left"
    assert [row.status for row in rows] == ["ok"] * 3
    assert [len(row.load.passes) for row in rows if row.load is not None] == [3, 3, 3]


def test_the_order_is_drawn_anew_in_each_round(nursery: Nursery, source: Source, record: Path) -> None:
    orders = []
    for seed in (0, 1):
        record.write_text("")
        plans = [plan_for(source, name, seed=seed, repeats=4) for name in ("Recording", "Other", "Third")]
        measure_rounds(plans, nursery)
        names = [line.split()[0] for line in record.read_text().splitlines()]
        orders.append([tuple(names[begin : begin + 3]) for begin in range(0, 12, 3)])
    assert len(set(orders[0])) > 1
    assert orders[0] != orders[1]


def test_training_goes_on_from_round_to_round(nursery: Nursery, source: Source) -> None:
    (once,) = measure_rounds([plan_for(source, phases=("train",), repeats=1)], nursery)
    (thrice,) = measure_rounds([plan_for(source, phases=("train",), repeats=3)], nursery)
    assert once.train_steps is not None
    assert thrice.train_steps is not None
    assert thrice.train_steps > 2 * once.train_steps
    assert thrice.accuracy is not None, "measured in the last round"


def test_what_takes_long_to_load_is_there_and_compiled_code_has_its_place(
    source: Source, nursery: Nursery, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Training in this very process, as other tests do, names a place in its environment.
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    measure_rounds([plan_for(source, "Begins", ("train",), repeats=1)], nursery)
    assert record.read_text().split() == ["True", "1", str(cache_folder("compiled"))]


def test_no_epoch_is_touched_by_two_rounds(nursery: Nursery, source: Source) -> None:
    (row,) = measure_rounds([plan_for(source, repeats=3)], nursery)
    assert row.ledger is not None
    epochs = [epoch.epoch for epoch in row.ledger.epochs]
    assert epochs == sorted(set(epochs))
    assert row.ledger.exact


def test_a_loader_that_fails_takes_no_further_part(nursery: Nursery, source: Source, record: Path) -> None:
    other, failing = measure_rounds([plan_for(source, "Other"), plan_for(source, "FailsLater")], nursery)
    assert other.status == "ok"
    assert (failing.status, failing.reason) == ("failed", "in round 2: ValueError: not again")
    names = [line.split()[0] for line in record.read_text().splitlines()]
    assert (names.count("Other"), names.count("FailsLater")) == (3, 2)


def test_progress_tells_what_remains(nursery: Nursery, source: Source) -> None:
    told: list[tuple[str, float, float | None]] = []
    measure_rounds(
        [plan_for(source, phases=("load", "model", "train"), repeats=2)],
        nursery,
        progress=lambda text, done, total: told.append((text, done, total)),
    )
    assert {text.split(",")[0] for text, _, _ in told} == {"round 1 of 2", "round 2 of 2"}
    assert all(total is not None and total >= done for _, done, total in told)
    elapsed = [done for _, done, _ in told]
    assert elapsed == sorted(elapsed)


def test_rows_so_far_are_told_after_each_block(nursery: Nursery, source: Source) -> None:
    told: list[tuple[Row | None, ...]] = []
    rows = measure_rounds([plan_for(source, repeats=2)] * 2, nursery, on_block=told.append)
    assert [sum(row is not None for row in so_far) for so_far in told] == [1, 2, 2, 2]
    assert told[-1] == rows


def test_a_nursery_that_was_killed_is_started_anew(nursery: Nursery, source: Source, record: Path) -> None:
    block = Block(plan_for(source, "Recording"), 0, 0, record.parent / "state.pt", last=True)
    results = []
    for kill in (True, False):
        with nursery.running(block) as (pid, events):
            if kill:
                os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
            results.append(next(event for event in events if isinstance(event, Finished)).result)
    first, second = results
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.status == "failed"
    assert second.status == "ok"
