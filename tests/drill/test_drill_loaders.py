"""Loaders that misbehave on purpose are seen through, and one that does what it is told is not accused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from throughput.contracts import OnError
from throughput.drill.cell import Cell, deliver
from throughput.drill.copies import Copies, make_copies
from throughput.drill.found import Drill
from throughput.drill.judging import FAILED, Verdict, judge
from throughput.drill.planting import FAULTS, Case, Lies, Planted, plant
from throughput.drill.processes import ProcessFault
from throughput.drill.run import Settings, chosen_faults, chosen_policies, drill, run_cell
from throughput.errors import OptionError, UnknownNameError
from throughput.measure.nursery import Nursery
from throughput.sources import open_source

SIZE = 24


@pytest.fixture(scope="module")
def copies(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return make_copies(open_source(images), tmp_path_factory.mktemp("sound"), 16, SIZE, seed=0)


@pytest.fixture(autouse=True)
def _loaders_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))


def cell_of(planted: Planted, loader: str, policy: OnError, room: Path) -> Cell:
    return Cell(
        f"misbehaving:{loader}",
        planted.data,
        policy,
        size=SIZE,
        batch_size=4,
        workers=1,
        device="cpu",
        seed=0,
        cache=room / "cache",
        later=planted.later,
        act=planted.act,
    )


def judged(
    copies: Copies, room: Path, loader: str, fault: str, policy: OnError, lies: Lies = "files"
) -> Verdict:
    """What comes of a fault in this process."""
    planted = plant(Case(FAULTS[fault], lies), copies, room, 0.1, seed=1)
    assert planted is not None
    return judge(planted, deliver(cell_of(planted, loader, policy, room)), policy)


@pytest.mark.parametrize(
    ("fault", "policy", "wanted"),
    [
        ("garbage", "raise", "raised"),
        ("empty", "skip", "skipped"),
        ("bomb", "substitute", "substituted"),
        ("removed", "skip", "skipped"),
        ("folder", "raise", "raised"),
        ("dangling-link", "raise", "raised"),
        ("cmyk", "raise", "read"),
        ("alpha", "skip", "read"),
    ],
)
def test_an_honest_loader_is_not_accused(
    copies: Copies, tmp_path: Path, fault: str, policy: OnError, wanted: str
) -> None:
    assert judged(copies, tmp_path, "Honest", fault, policy).outcome == wanted


@pytest.mark.parametrize(
    ("loader", "policy", "wanted"),
    [
        ("Drops", "raise", "SILENT"),
        ("Drops", "skip", "SILENT"),
        ("Grey", "substitute", "SILENT"),
        ("Repeats", "skip", "SILENT"),
        ("Blames", "skip", "SILENT"),
        ("Blames", "raise", "unnamed"),
        ("Nameless", "raise", "unnamed"),
    ],
)
def test_a_loader_that_misbehaves_is_seen_through(
    copies: Copies, tmp_path: Path, loader: str, policy: OnError, wanted: str
) -> None:
    assert judged(copies, tmp_path, loader, "garbage", policy).outcome == wanted


def test_a_shard_that_changes_is_told_of(copies: Copies, tmp_path: Path) -> None:
    verdict = judged(copies, tmp_path, "Honest", "shard-missing", "raise", "open shards")
    assert verdict.outcome == "raised"
    assert "shard-" in verdict.words


def test_a_loader_of_one_process_has_no_worker_to_kill(copies: Copies, tmp_path: Path) -> None:
    planted = plant(Case(FAULTS["worker-killed"], "packed"), copies, tmp_path, 0.1, seed=1)
    assert planted is not None
    with Nursery() as nursery:  # this process may have children of other tests
        delivered = run_cell(nursery, cell_of(planted, "Honest", "raise", tmp_path), 60)
    verdict = judge(planted, delivered, "raise")
    assert verdict == Verdict("not applicable", "it works in threads of one process")


def test_limits_end_with_the_run(copies: Copies, tmp_path: Path) -> None:
    judged(copies, tmp_path, "Honest", "shm-full", "raise", "packed")
    (tmp_path / "large").write_bytes(bytes(100_000))


def test_a_run_without_an_end_is_ended(copies: Copies, tmp_path: Path) -> None:
    planted = plant(Case(FAULTS["empty"], "files"), copies, tmp_path, 0.1, seed=1)
    assert planted is not None
    with Nursery() as nursery:
        crashed = run_cell(nursery, cell_of(planted, "Crashes", "raise", tmp_path), limit_seconds=60)
        hung = run_cell(nursery, cell_of(planted, "Hangs", "raise", tmp_path), limit_seconds=2)
    assert judge(planted, crashed, "raise").outcome == "crashed"
    assert "SIGSEGV" in crashed.words
    assert judge(planted, hung, "raise") == Verdict("hung", "it ran for 2 s without an end")


def test_a_drill_tells_of_each_cell(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    heard: list[Drill] = []
    settings = Settings(("misbehaving:Drops",), chosen_faults("empty,palette"), ("raise", "skip"), samples=10)
    source = open_source(images)
    found = drill(source, replace(settings, size=SIZE), on_found=heard.append)
    assert [(one.fault, one.lies, one.policy, one.outcome) for one in found.found] == [
        ("none", "files", "raise", "read"),
        ("none", "packed", "raise", "read"),
        ("empty", "files", "raise", "SILENT"),
        ("empty", "files", "skip", "SILENT"),
        ("empty", "packed", "raise", "SILENT"),
        ("empty", "packed", "skip", "SILENT"),
        ("palette", "files", "raise", "read"),
        ("palette", "packed", "raise", "read"),
    ]
    assert len(heard) == 8
    assert heard[-1].found == found.found
    assert len(found.failed) == 4
    assert found.summary() == "8 cells of 1 loader over 10 samples: 4 read, 4 SILENT; 4 failed"
    assert all(one.slowdown is not None and one.slowdown > 0 for one in found.found)
    assert not list(tmp_path.glob("tp-drill-*"))
    written = found.as_json()
    assert written["schema"] == 1
    assert [cell["failed"] for cell in written["cells"]] == [one.outcome in FAILED for one in found.found]
    assert os.environ["THROUGHPUT_CACHE"] == str(tmp_path / "cache")


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no fault is called 'emty'; known: truncated, garbage"):
        chosen_faults("empty,emty")
    with pytest.raises(OptionError, match=r"--on-error must be some of raise, skip, substitute, got 'pray'"):
        chosen_policies("skip,pray")
    with pytest.raises(OptionError, match=r"--share"):
        Settings(("roi",), share=0.0)
    with pytest.raises(OptionError, match=r"--limit"):
        Settings(("roi",), limit_seconds=0)


def test_every_fault_of_a_process_says_when() -> None:
    assert {fault.moment for fault in FAULTS.values() if isinstance(fault, ProcessFault)} == {
        "prepare",
        "open",
        "first batch",
    }
