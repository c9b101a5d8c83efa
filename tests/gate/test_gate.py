"""A gate between two checkouts: what it decides, and what it refuses to decide."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from throughput.measure.processes import ProcessTree

Said = subprocess.CompletedProcess[str]
TEST = "tests/test_theirs.py::test_loading"
TWO_TESTS = """
from loaders.theirs import Theirs


def test_eight(loader_benchmark):
    loader_benchmark(Theirs, batch_size=8, image_size=16, certified=False)


def test_four(loader_benchmark):
    loader_benchmark(Theirs, batch_size=4, image_size=16, certified=False)
"""


@pytest.fixture
def gate(
    throughput: Callable[..., Said],
    surroundings: dict[str, str],
    images: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., tuple[Said, Any]]:
    """Run a gate; what it said, and the decision that it wrote (None where there is none)."""

    def run(base: Path, head: Path, *options: object, tests: tuple[object, ...] = ()) -> tuple[Said, Any]:
        written = tmp_path / "gate.json"
        said = throughput(
            "gate", "--base", base, "--head", head, "--seconds=0.1", "--budget=60s", "--json", written,
            *options,
            "--", f"--throughput-data={images}", "--throughput-workers=1", *tests,
            env=surroundings | {"TMPDIR": str(tmp_path_factory.mktemp("inner"))},
        )  # fmt: skip
        if not written.exists():
            return said, None
        runs = json.loads(written.read_text())
        return said, (runs if isinstance(runs, dict) else runs[0])["gate"][0]

    return run


def test_a_slower_head_is_called_slower(gate, checkout, tmp_path) -> None:
    comment = tmp_path / "comment.md"
    said, decision = gate(checkout("base"), checkout("head", delay=0.02), "--markdown", comment)
    assert said.returncode == 1, said.stderr
    assert decision["decision"] == "slower"
    assert decision["test"] == TEST
    assert decision["pairs"] >= 4
    assert decision["high"] < decision["least_ratio"] == 0.95
    assert "slower" in said.stdout
    assert "slower" in comment.read_text()


def test_the_same_code_is_not_slower(gate, checkout) -> None:
    # The margin is wide, as the machine that tests run on is not quiet.
    said, decision = gate(checkout("base"), checkout("head"), "--fail-below=60%")
    assert said.returncode == 0, said.stderr
    assert decision["decision"] == "not slower"
    assert decision["low"] > 0.4
    assert (decision["loader"], decision["phase"]) == ("given:Theirs", "load")


NOTING = """
import os, pathlib, threading, time

        notes = (pathlib.Path(__file__).parents[2] / f"{os.getpid()}.notes").open("a", buffering=1)

        def note():
            while True:
                print(time.perf_counter(), file=notes)
                time.sleep(0.001)

        threading.Thread(target=note, daemon=True).start()
"""


def test_one_side_stands_still_while_the_other_runs(gate, checkout, tmp_path) -> None:
    """Each notes the time every millisecond, in a process for each pair."""
    base, head = (checkout(name, delay=0, busy=0.01, opening=NOTING.strip()) for name in ("base", "head"))
    said, decision = gate(base, head, "--seconds=1", "--fail-below=60%")
    assert said.returncode == 0, said.stderr
    assert decision["obstacle"] is None
    files = sorted(tmp_path.glob("*.notes"))
    assert len(files) >= 6, "two processes of both sides for each pair"
    told = sorted([float(line) for line in file.read_text().splitlines()] for file in files)
    assert told[0][-1] < told[1][0], "in the pair that does not count, one comes after the other"
    for one, other in (told[2:4], told[4:6]):
        for stopped, running in ((one, other), (other, one)):
            gaps = [(before, after) for before, after in pairwise(stopped) if after - before > 0.03]
            filled = [gap for gap in gaps if sum(gap[0] < time < gap[1] for time in running) > 8]
            assert len(filled) >= 5, "they ran at the same time"


def test_one_that_is_asked_to_end_says_what_becomes_of_it(script, checkout, images, surroundings) -> None:
    command = [
        script, "gate", "--base", checkout("base"), "--head", checkout("head"), "--seconds=30",
        "--budget=10m", "--", f"--throughput-data={images}", "--throughput-workers=1",
    ]  # fmt: skip
    with subprocess.Popen(command, env=surroundings, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "throughput: " in process.stderr.readline()
        process.terminate()
        *_, last = process.stderr.read().strip().splitlines()
    assert process.returncode == 130
    assert last == "throughput: interrupted; nothing was decided, and no report is written"


def test_nothing_stays_behind_where_a_gate_is_killed(script, checkout, images, surroundings) -> None:
    """Not even processes that stand still at that moment."""
    base, head = (checkout(name, delay=0, busy=0.01, opening=NOTING.strip()) for name in ("base", "head"))
    command = [
        script, "gate", "--base", base, "--head", head, "--seconds=30", "--budget=10m",
        "--", f"--throughput-data={images}", "--throughput-workers=1",
    ]  # fmt: skip
    with subprocess.Popen(command, env=surroundings) as killed:
        tree = ProcessTree(killed.pid)
        pids: tuple[int, ...] = ()

        def stands_still() -> bool:
            nonlocal pids
            reading = tree()
            assert reading is not None
            pids = reading.pids
            return any(_state(pid) == "T" for pid in pids)

        _await(stands_still)
        killed.kill()
    _await(lambda: all(_state(pid) in ("", "Z") for pid in pids))


def _await(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def _state(pid: int) -> str:
    """A letter of ps(1): T stopped, Z ended and not yet noticed; nothing of what is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("loader", "why"),
    [
        (
            {"opening": "import time, throughput.fake; throughput.fake.delay = time.sleep"},
            "head waits for",
        ),
        (
            {
                "delay": 0,
                "busy": 0.01,
                "opening": "import subprocess; subprocess.Popen(['sleep', '20'], start_new_session=True)",
            },
            "1 of head's processes is in a group of its own",
        ),
    ],
)
def test_what_would_go_on_while_it_stands_still_takes_no_turns(gate, checkout, loader, why) -> None:
    base, head = checkout("base", delay=0, busy=0.01), checkout("head", **loader)
    said, decision = gate(base, head, "--fail-below=60%", "--seconds=0.5")
    assert decision["decision"] == "not slower"
    assert why in decision["obstacle"]
    assert f"measured one after the other, as {decision['obstacle']}" in " ".join(said.stdout.split())


def test_a_side_that_waits_for_a_part_of_its_time_takes_no_turns(gate, checkout) -> None:
    """In turns, half of what it waits for would pass unseen."""
    base = checkout("base", delay=0, busy=0.06)
    sleeping = "import time, throughput.fake; throughput.fake.delay = time.sleep"
    head = checkout("head", delay=0.02, busy=0.06, opening=sleeping)
    said, decision = gate(base, head, "--fail-below=25%", "--seconds=0.5")
    assert said.returncode in (0, 1), said.stderr
    assert decision["obstacle"].startswith("head waits for ")
    assert decision["decision"] != "failed"


def test_waiting_at_first_only_is_no_obstacle(gate, checkout) -> None:
    """Such as for files that are not in the page cache yet."""
    waiting = (
        "import pathlib, time, throughput.fake; first = pathlib.Path(__file__).with_suffix('.first'); "
        "throughput.fake.delay = throughput.fake.delay if first.exists() else time.sleep; first.touch()"
    )
    base, head = checkout("base", opening=waiting), checkout("head", opening=waiting)
    said, decision = gate(base, head, "--fail-below=60%", "--seconds=0.5")
    assert said.returncode == 0, said.stderr
    assert (decision["decision"], decision["obstacle"]) == ("not slower", None)


def test_waiting_that_begins_later_begins_the_pairs_anew(gate, checkout) -> None:
    waiting = (
        "import pathlib, time, throughput.fake; count = pathlib.Path(__file__).with_suffix('.count'); "
        "opened = count.stat().st_size if count.exists() else 0; count.open('a').write('x'); "
        "throughput.fake.delay = throughput.fake.delay if opened < 2 else time.sleep"
    )
    said, decision = gate(
        checkout("base"), checkout("head", opening=waiting), "--fail-below=60%", "--seconds=0.5"
    )
    assert said.returncode == 0, said.stderr
    assert decision["decision"] == "not slower"
    assert decision["obstacle"].startswith("head waits for ")


def test_passes_too_short_to_be_looked_at_take_no_turns(gate, checkout) -> None:
    said, decision = gate(
        checkout("base", delay=0), checkout("head", delay=0), "--fail-below=90%", "--seconds=0.01"
    )
    assert said.returncode == 0, said.stderr
    assert decision["obstacle"].startswith("its passes are too short to see whether ")


def test_rules_of_daily_tests_do_not_apply(gate, checkout) -> None:
    """A test lasts here for as long as there is something to measure."""
    mark = "pytestmark = [pytest.mark.timeout(1), pytest.mark.flaky(reruns=2)]"
    base, head = checkout("base", mark=mark), checkout("head", mark=mark)
    for folder in (base, head):
        (folder / "conftest.py").write_text(
            "def pytest_runtest_setup(item):\n"
            "    assert not [mark for mark in item.iter_markers() if mark.name in ('timeout', 'flaky')]\n"
        )
    said, decision = gate(base, head, "--fail-below=60%")
    assert said.returncode == 0, said.stderr
    assert decision["decision"] == "not slower"


def test_a_mark_has_the_last_word_on_the_margin(gate, checkout) -> None:
    mark = "@pytest.mark.throughput(min_ratio=0.05)"
    said, decision = gate(checkout("base", mark=mark), checkout("head", delay=0.02, mark=mark))
    assert said.returncode == 0, said.stderr
    assert decision["least_ratio"] == 0.05
    assert decision["decision"] == "not slower"


def test_without_time_it_is_undecided_and_says_so(gate, checkout) -> None:
    base, head = checkout("base"), checkout("head")
    said, decision = gate(base, head, "--budget=1s")
    assert said.returncode == 0, said.stderr
    assert decision["decision"] == "undecided"
    assert "no time was left for it" in said.stdout or "there was time for" in said.stdout
    assert gate(base, head, "--budget=1s", "--strict")[0].returncode == 1


def test_other_work_is_not_compared(gate, checkout) -> None:
    said, decision = gate(checkout("base"), checkout("head", batch=8))
    assert said.returncode == 0
    assert decision["decision"] == "undecided"
    assert "batch_size is 4 in A, 8 in B" in decision["reason"]


def test_a_head_that_breaks_fails(gate, checkout) -> None:
    said, decision = gate(checkout("base"), checkout("head", drop=1), "--fail-below=60%")
    assert said.returncode == 1, said.stdout
    assert decision["decision"] == "failed"
    assert "miscounts" in decision["reason"]


def test_a_loader_that_breaks_in_one_test_leaves_the_next_one_as_it_is(gate, checkout) -> None:
    two = TWO_TESTS
    base = checkout("base", test=two, opening="assert work.batch_size != 8")
    said, first = gate(base, checkout("head", busy=0.03, test=two), "--budget=80s")
    assert said.returncode == 1, said.stderr
    assert first["decision"] == "undecided"
    assert first["reason"].startswith("base failed: given:Theirs failed: AssertionError")
    assert "test_four" in said.stdout
    assert "slower" in said.stdout


def test_a_session_that_dies_is_told_with_its_last_words(gate, checkout) -> None:
    dying = (
        "def test_loading(loader_benchmark):\n    print('farewell', flush=True)\n    import os; os._exit(7)\n"
    )
    said, decision = gate(checkout("base"), checkout("head", test=dying), tests=("-s",))
    assert said.returncode == 1
    assert decision["decision"] == "failed"
    assert "pytest's status 7" in decision["reason"]
    assert "farewell" in decision["reason"]


def test_a_test_that_only_one_side_has_is_undecided(gate, checkout) -> None:
    base, head = checkout("base"), checkout("head")
    (base / "tests" / "test_theirs.py").rename(base / "tests" / "test_before.py")
    said, decision = gate(base, head)
    assert said.returncode == 0, said.stderr
    assert decision["decision"] == "undecided"
    assert "only the head has this test" in said.stdout
    assert "only the base has this test" in said.stdout
    assert gate(base, head, "--strict")[0].returncode == 1
    new, _ = gate(base, head, tests=("tests/test_theirs.py",))
    assert new.returncode == 0, new.stderr
    assert "only the head has this test" in new.stdout


@pytest.mark.parametrize("beside", [(), ("__init__.py", "common.py")], ids=str)
def test_the_same_code_from_elsewhere_is_told(gate, checkout, tmp_path, beside) -> None:
    base, head = checkout("base"), checkout("head")
    for name in beside:
        for folder in (base, head):
            (folder / "tests" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (base / "loaders").rename(tmp_path / "elsewhere" / "loaders")
    shutil.rmtree(head / "loaders")
    for folder in (base, head):
        (folder / "conftest.py").write_text(
            f"import sys\nsys.path.insert(0, {str(tmp_path / 'elsewhere')!r})\n"
            + "".join(f"import tests.{name.removesuffix('.py')}\n" for name in beside)
        )
    said, decision = gate(base, head)
    assert said.returncode == 0, said.stderr
    assert decision["decision"] == "undecided"
    assert "both would measure the same code" in decision["reason"]


def test_code_of_the_other_side_is_refused(gate, checkout) -> None:
    base = checkout("base")
    head = checkout("head")
    head_test = (base / "tests" / "test_theirs.py").read_text()
    (head / "tests" / "test_theirs.py").write_text(
        f"import sys\nsys.path.insert(0, {str(base)!r})\n{head_test}"
    )
    (head / "loaders" / "theirs.py").unlink()
    (head / "loaders" / "__init__.py").unlink()
    (head / "loaders").rmdir()
    said, _ = gate(base, head)
    assert said.returncode == 2
    assert "loaders.theirs from the other side's folder" in said.stderr


def test_nothing_to_measure(gate, checkout) -> None:
    nothing = "def test_something():\n    pass\n"
    said, _ = gate(checkout("base"), checkout("head", test=nothing))
    assert said.returncode == 3
    assert "no test of" in said.stderr


def test_what_cannot_be_started(gate, checkout, here, tmp_path) -> None:
    base, head = checkout("base"), checkout("head")
    missing = here("gate", "--base", tmp_path / "gone", "--head", head)
    assert missing.returncode == 2
    assert "there is no such folder" in missing.stderr
    python = here("gate", "--base", base, "--head", head, "--base-python", tmp_path / "python")
    assert python.returncode == 2
    assert "cannot run the Python of --base" in python.stderr
    without, _ = gate(base, head, tests=("-p", "no:throughput"))
    assert without.returncode == 2
    assert "does not know throughput's plugin" in without.stderr
    typo = here("gate", "--base", base, "--head", head, "--buget", "5s")
    assert typo.returncode == 2
    assert "--budget" in typo.stderr
    nowhere, decision = gate(base, head, tests=("--throughput-data=nowhere",))
    assert nowhere.returncode == 1
    assert decision["reason"].startswith("both failed, the head so: nowhere")
    broken = checkout("broken", test="import nothing_of_this_name\n")
    said, _ = gate(base, broken)
    assert said.returncode == 2
    assert "nothing_of_this_name" in said.stderr
