"""One loader's measurement in its own process: whatever the loader does there, a row comes back."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
import torch

from throughput.certificate import keeping
from throughput.contracts import Progress, Source, Work, no_progress
from throughput.errors import OptionError
from throughput.measure.budget import Budget
from throughput.measure.events import Doing, Event, Finished, Measured, Started
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Block, Certification, Plan, Task
from throughput.measure.rounds import measure_rounds
from throughput.measure.run import certify
from throughput.options import build_options
from throughput.registry import load_loader
from throughput.results import Certificate, Check, PhaseName, Row
from throughput.sources import open_source
from throughput.testing import FakeOptions, write_contract_images

FAKE = "throughput.testing:FakeLoaderFactory"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("run") / "images", 10))


def plan_for(
    source: Source, loader: str = FAKE, phases: tuple[PhaseName, ...] = ("load",), **options: Any
) -> Plan:
    work = Work(source, image_size=32, batch_size=8, workers=1)
    return Plan(loader, work, "cnn_small", options, phases, Budget(steps=2, repeats=2))


@pytest.fixture
def _threads() -> Iterator[None]:
    """Measuring in this process sets torch's number of threads."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def block_of(plan: Plan) -> Block:
    """The first and last round of a plan; it has trained nothing before."""
    return Block(plan, number=0, first_epoch=0, state=Path(tempfile.mkdtemp(), "state.pt"), last=True)


def events_of(plan: Plan) -> list[Event]:
    """What the measuring process would tell, told in this one: a process of its own takes seconds."""
    events: list[Event] = []
    block = block_of(plan)
    block.carry_out(events.append)
    shutil.rmtree(block.state.parent)
    return events


def row_of(plan: Plan) -> Row:
    last = events_of(plan)[-1]
    assert isinstance(last, Finished)
    assert isinstance(last.result, Row)
    return last.result


def measure(plan: Plan, progress: Progress = no_progress) -> Row:
    """All rounds of a plan, each in a process of its own."""
    with Nursery() as nursery:
        (row,) = measure_rounds([plan], nursery, progress)
    return row


def write_loader(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> str:
    head = """\
        import os, signal, subprocess, sys, time
        from contextlib import contextmanager
        from throughput.contracts import Requirement
        from throughput.errors import LoaderError, SampleError
        from throughput.testing import FakeLoaderFactory

        class Mine(FakeLoaderFactory):
        """
    code = dedent(head).rstrip() + "\n" + "".join(f"    {line}\n" for line in dedent(body).splitlines())
    (folder / "loader_of_mine.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "loader_of_mine", raising=False)
    return "loader_of_mine:Mine"


def test_a_row_holds_all_three_phases_and_the_ledger(source: Source) -> None:
    told: list[str] = []
    row = measure(plan_for(source, phases=("load", "model", "train")), lambda text, *_: told.append(text))
    assert (row.status, row.reason) == ("ok", None)
    for phase in (row.load, row.model, row.train):
        assert phase is not None
        assert [len(one.batch_wait_seconds) for one in phase.passes] == [2, 2]
        assert all(one.seconds > 0 for one in phase.passes)
        assert phase.images_per_second.low is not None
    assert row.ledger is not None
    assert row.ledger.exact
    assert {epoch.expected for epoch in row.ledger.epochs} == {len(source.ids("train"))}
    assert row.accuracy is not None
    assert 0 <= row.accuracy <= 1
    assert row.loss is not None
    assert row.peak_rss_bytes is not None
    assert row.options == asdict(FakeOptions())
    assert any("accuracy" in text for text in told)


@pytest.mark.usefixtures("_threads")
def test_phases_that_were_not_asked_for_are_none(source: Source) -> None:
    row = row_of(plan_for(source, phases=("model",)))
    assert row.status == "ok"
    assert (row.load, row.train, row.accuracy, row.ledger) == (None, None, None, None)
    assert row.model is not None
    assert {one.images for one in row.model.passes} == {16}, "whole batches only"


@pytest.mark.usefixtures("_threads")
def test_dropped_samples_are_missing_from_the_row(source: Source) -> None:
    row = row_of(plan_for(source, drop=3))
    assert row.ledger is not None
    assert (row.ledger.worst.missing, row.ledger.worst.duplicate) == (3, 0)


@pytest.mark.usefixtures("_threads")
def test_repeated_samples_are_duplicates_and_do_not_count(source: Source) -> None:
    # Of the epoch's 28 images the first batch loses four and doubles two; a pass is four batches.
    row = row_of(replace(plan_for(source, drop=4, repeat=2), budget=Budget(steps=4, repeats=1)))
    assert row.ledger is not None
    assert row.load is not None
    assert (row.ledger.worst.missing, row.ledger.worst.duplicate) == (4, 2)
    # Four batches are an epoch, wherever in it they begin.
    assert sum(one.images for one in row.load.passes) == 28 - 4


@pytest.mark.parametrize(
    ("body", "reason", "bad_input"),
    [
        ("def open(self, work, options): raise ValueError('two\\nlines')", "ValueError: two lines", False),
        (
            "def open(self, work, options): raise SampleError('a.jpg', 'is damaged')",
            "a.jpg: is damaged; --on-error skip goes on without such samples, and `throughput check` lists "
            "all of them",
            True,
        ),
        ("def open(self, work, options): raise LoaderError('it broke')", "it broke", False),
        (
            "def prepare(self, *_): raise OSError(28, 'No space left')",
            "OSError: [Errno 28] No space left",
            False,
        ),
    ],
    ids=["error", "bad sample", "broken contract", "no room"],
)
@pytest.mark.usefixtures("_threads")
def test_a_loader_that_fails_is_a_failed_row_that_says_how(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str, bad_input: bool
) -> None:
    row = row_of(plan_for(source, write_loader(tmp_path, monkeypatch, body)))
    assert (row.status, row.reason, row.bad_input) == ("failed", reason, bad_input)


@pytest.mark.usefixtures("_threads")
def test_a_loader_that_fails_in_mid_pass_is_a_failed_row(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
        @contextmanager
        def open(self, work, options):
            with super().open(work, options) as loader:
                whole = loader.epoch
                def epoch(index):
                    yield next(whole(index))
                    raise RuntimeError("lost the connection")
                loader.epoch = epoch
                yield loader
    """
    row = row_of(plan_for(source, write_loader(tmp_path, monkeypatch, body)))
    assert (row.status, row.reason) == ("failed", "RuntimeError: lost the connection")


def test_a_loader_that_ends_its_process_is_a_failed_row_that_says_how(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "def open(self, work, options): os._exit(7)"
    row = measure(plan_for(source, write_loader(tmp_path, monkeypatch, body)))
    assert row.status == "failed"
    assert row.reason is not None
    assert "ended early with status 7" in row.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def why_not(self, work): return f'needs more than {work.image_size} px'", "needs more than 32 px"),
        (
            "requires = (Requirement('no_such_library', 'pip install it'),)",
            "no_such_library is missing: pip install it",
        ),
    ],
)
def test_work_that_cannot_be_done_here_is_a_skipped_row(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    row = row_of(plan_for(source, write_loader(tmp_path, monkeypatch, body)))
    assert (row.status, row.reason) == ("skipped", reason)
    assert row.load is None


def test_a_loader_that_cannot_be_imported_is_a_skipped_row(source: Source) -> None:
    row = row_of(plan_for(source, "no_such_module:Loader"))
    assert row.status == "skipped"
    assert row.reason is not None
    assert "no_such_module" in row.reason


def test_an_unknown_option_is_bad_input(source: Source) -> None:
    row = row_of(plan_for(source, dropp=3))
    assert row.status == "failed"
    assert row.bad_input
    assert row.reason is not None
    assert "did you mean 'drop'" in row.reason


def test_what_a_loader_prints_does_not_reach_stdout(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    body = """
        def why_not(self, work):
            print("printed", flush=True)
            os.write(1, b"written to the descriptor")
            subprocess.run(["echo", "from a child"])
            return "it only prints"
    """
    row = measure(plan_for(source, write_loader(tmp_path, monkeypatch, body)))
    assert (row.status, row.reason) == ("skipped", "it only prints")
    captured = capfd.readouterr()
    assert captured.out == ""
    for words in ("printed", "written to the descriptor", "from a child"):
        assert words in captured.err


GRANDCHILD = """
    def why_not(self, work):
        # It ignores SIGTERM and holds every descriptor of its parent.
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        code += "print('up', flush=True); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, close_fds=False)
        child.stdout.readline()
        open(os.environ["PID_FILE"], "w").write(str(child.pid))
        {then}
"""


@pytest.fixture
def pid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a loader writes its grandchild's id; whatever a failed test leaves is ended."""
    path = tmp_path / "pid"
    monkeypatch.setenv("PID_FILE", str(path))
    return path


def gone(pid: int) -> bool:
    """True if the process has ended; it is ended now if not."""
    try:
        process = psutil.Process(pid)
        # It ends a moment after it is killed, and its new parent must reap it.
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(5)
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        process.kill()
    except psutil.NoSuchProcess:
        return True
    return False


def test_leaving_early_leaves_no_process_and_no_grandchild(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid_file: Path
) -> None:
    loader = write_loader(tmp_path, monkeypatch, GRANDCHILD.format(then="self.about = work"))
    plan = plan_for(source, loader, batch_seconds=0.1)
    seen: list[Event] = []
    with Nursery() as nursery, nursery.running(block_of(plan)) as (pid, events):
        for event in events:
            seen.append(event)
            if isinstance(event, Doing):
                break
        assert psutil.pid_exists(int(pid_file.read_text()))
    assert isinstance(seen[0], Started)
    assert not any(isinstance(event, Finished) for event in seen)
    assert gone(pid)
    assert gone(int(pid_file.read_text()))


def test_a_dead_process_is_noticed_though_its_grandchild_holds_the_pipe(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid_file: Path
) -> None:
    loader = write_loader(
        tmp_path, monkeypatch, GRANDCHILD.format(then="os.kill(os.getpid(), signal.SIGKILL)")
    )
    row = measure(plan_for(source, loader))
    assert row.status == "failed"
    assert row.reason is not None
    assert "SIGKILL" in row.reason
    assert gone(int(pid_file.read_text()))


def test_an_error_in_the_parent_ends_the_process(source: Source) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        Nursery() as nursery,
        nursery.running(block_of(plan_for(source))) as (pid, _),
    ):
        raise KeyboardInterrupt
    assert gone(pid)


@pytest.mark.usefixtures("_threads")
def test_events_come_in_order(source: Source) -> None:
    events = events_of(plan_for(source, phases=("load", "model")))
    kinds = [event for event in events if not isinstance(event, Doing)]
    assert [type(event) for event in kinds] == [Started, Measured, Measured, Finished]
    windows = [event for event in kinds if isinstance(event, Measured)]
    assert [window.phase for window in windows] == ["load", "model"]
    assert all(window.start_seconds < window.end_seconds for window in windows)
    assert windows[0].end_seconds <= windows[1].start_seconds


@pytest.mark.parametrize("phases", [(), ("load", "fly")])
def test_a_plan_of_unknown_phases_is_refused(source: Source, phases: tuple[Any, ...]) -> None:
    with pytest.raises(OptionError, match="--phases must be some of load, model, train, got"):
        plan_for(source, phases=phases)


def test_what_lies_in_the_current_folder_is_not_imported(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tempfile.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    row = measure(plan_for(source, phases=("load",)))
    assert row.status == "ok", row.reason


class NoNursery(Nursery):
    """It starts nothing."""

    def running(self, task: Task) -> Any:
        raise AssertionError(f"a process is started for {task}")


def test_a_certificate_that_is_kept_needs_no_process(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path))
    check = Check("train.flip", False, "0 of 10 crops are mirrored", 0.0, 0.4)
    made = Certificate(False, (check,))
    monkeypatch.setattr(keeping, "make_certificate", lambda *_, **__: made)
    work = Work(source, image_size=32, batch_size=8, workers=1)
    torchvision = load_loader("torchvision")
    keeping.cached_certificate(
        torchvision, "torchvision", build_options(torchvision, {}), work, data=False, recertify=False
    )
    task = Certification("torchvision", {}, work, data=False, recertify=False)
    assert certify(NoNursery(), task) == replace(made, cached=True)
    for other in (
        replace(task, recertify=True),
        replace(task, data=True),
        replace(task, options={"prefetch": 7}),
        replace(task, loader="no_such_loader"),
        replace(task, work=replace(work, device="cuda")),
    ):
        with pytest.raises(AssertionError, match="a process is started"):
            certify(NoNursery(), other)
