"""This session of pytest as one arm of a gate: each round of a test begins when the gate says so.

What is said, in order: ``hello``; ``collected`` (the tests that measure something), answered by ``run``
(those that both arms have); then for each test ``ready`` (what it is about to measure), answered by ``go``,
and after each round ``round`` (its images and seconds), answered by ``go``; where the answer is no, or a
loader failed, ``done`` with all that was measured, or ``broken`` where nothing could be; and ``ended`` for
each test. A ``go`` tells how long a pass is. It may come with a clock: a round then begins with ``opened``
(its group of processes, which the gate may stop and let go on from then on), answered by ``begin``, and
``measured`` comes before ``round``. See ``throughput.gate``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from throughput.child_process import dies_with
from throughput.contracts import Progress
from throughput.gate.channel import PROTOCOL, Channel, inherited
from throughput.measure.nursery import Nursery
from throughput.measure.plan import Block
from throughput.measure.run import measure, observe
from throughput.results import PhaseName, Results, Row

MEASURED = "throughput_measured"
"""The fixture that whatever measures is made of."""
_TEST_FOLDERS = {"test", "tests", "testing"}
_OTHER_RULES = ("timeout", "flaky")
"""Marks that end a test after some time, or run it again: a gate does both as it needs to."""


class Arm:
    """The gate as a test session knows it. other: the folder of the other arm."""

    def __init__(self, channel: Channel, other: Path) -> None:
        self._channel = channel
        self._other = other

    def agree(self, tests: list[str], errors: list[str]) -> list[str]:
        """Of the tests that measure, those to run, in order. errors: what could not be collected."""
        self.say("collected", tests=tests, errors=errors)
        return list(self.heard()["run"])

    def rounds(self, test: str, phase: PhaseName, min_ratio: float | None) -> Rounds:
        """Those of a test."""
        return Rounds(self, test, phase, min_ratio)

    def opening_words(self, phase: PhaseName, min_ratio: float | None, results: Results) -> dict[str, Any]:
        """What the gate is to know of a test before anything is measured."""
        folder = Path.cwd()
        own = _imported(folder, but_not=self._other)
        strangers = [] if self._other == folder else _imported(self._other, but_not=folder)
        return {
            "phase": phase,
            "min_ratio": min_ratio,
            "results": results.to_json(),
            "strangers": [name for name, _ in strangers],
            "own": [name for name, file in own if not _is_test(file, folder)],
            "tests": _digest(file for _, file in own if _is_test(file, folder)),
        }

    def measured(self, test: str, results: Results) -> None:
        """All rounds of a test are over, or it broke."""
        self.say("done", test=test, results=results.to_json())

    def failed(self, test: str, reason: str) -> None:
        """Nothing could be measured."""
        self.say("broken", test=test, reason=reason)

    def ended(self, test: str, outcome: str, reason: str) -> None:
        """A test is over, whatever it did."""
        self.say("ended", test=test, outcome=outcome, reason=reason)

    def say(self, kind: str, **message: Any) -> None:
        """Tell the gate something."""
        self._channel.send(kind=kind, **message)

    def heard(self) -> dict[str, Any]:
        """What the gate says next. Ends the session where it is gone."""
        heard = self._channel.receive()
        if heard is None:
            pytest.exit("the gate is gone", returncode=3)
        return heard


class Rounds:
    """The rounds of a test, which begin when the gate says so."""

    def __init__(self, arm: Arm, test: str, phase: PhaseName, min_ratio: float | None) -> None:
        self._arm = arm
        self._test = test
        self._phase: PhaseName = phase
        self._min_ratio = min_ratio
        self._passes = 0
        self._heard: dict[str, Any] = {}

    def go_on(self, results: Results) -> bool:
        """Asked before each round; waits for the gate's word."""
        if not results.rows:
            words = self._arm.opening_words(self._phase, self._min_ratio, results)
            self._say("ready", **words)
        else:
            measured = getattr(results.rows[0], self._phase)
            new, self._passes = measured.passes[self._passes :], len(measured.passes)
            images, seconds = (sum(getattr(one, name) for one in new) for name in ("images", "seconds"))
            batches = sum(len(one.batch_wait_seconds) for one in new)
            self._say("round", images=images, batches=batches, seconds=seconds)
        self._heard = self._arm.heard()
        return bool(self._heard["go"])

    def measure_block(self, nursery: Nursery, block: Block, progress: Progress) -> Row:
        """A round: from beginning to end, or, where the gate gave a clock, when and as long as it lets it."""
        said = self._heard
        budget = replace(block.plan.budget, seconds=said["seconds"], steps=said["steps"])
        block = replace(block, plan=replace(block.plan, budget=budget))
        if said["clock"] is None:
            return measure(nursery, block, progress)

        def opened(group: int) -> None:
            self._say("opened", group=group)
            self._arm.heard()

        def measured() -> None:
            self._say("measured")

        block = replace(block, clock=Path(said["clock"]))
        return observe(nursery, block, progress, opened=opened, measured=measured).row

    def _say(self, kind: str, **message: Any) -> None:
        self._arm.say(kind, test=self._test, **message)


class _Hooks:
    """Measure what both arms have, in one order."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._errors: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            said = str(report.longrepr).strip().splitlines() or ["it cannot be collected"]
            self._errors.append(f"{report.nodeid}: {said[-1].removeprefix('E ').strip()}")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        measuring = {item.nodeid: item for item in items if MEASURED in getattr(item, "fixturenames", ())}
        wanted = [measuring[test] for test in self._arm.agree(list(measuring), self._errors)]
        for item in wanted:
            for node in item.listchain():
                node.own_markers[:] = [mark for mark in node.own_markers if mark.name not in _OTHER_RULES]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A test that is skipped, or breaks, before it is called has no phase "call".
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self._arm.ended(report.nodeid, report.outcome, _reason(report.longrepr))


def _reason(told: Any) -> str:
    """Why a test did not pass, in a line; nothing of one that did."""
    if isinstance(told, tuple):
        return str(told[2])  # skipped: file, line, reason
    crash = getattr(told, "reprcrash", None)
    lines = str(told or "" if crash is None else crash.message).strip().splitlines()
    return lines[0].removeprefix("Failed: ") if lines else ""


_ARM = pytest.StashKey[Arm]()


def join_gate(config: pytest.Config) -> None:
    """Connect to the gate that started this session, which measures whatever else is switched off."""
    # Whatever ends the gate, what measures for us is ended, and cleans up: it may stand still just now.
    signal.signal(signal.SIGTERM, _interrupt)
    dies_with(os.getppid())
    for name in ("benchmark_skip", "benchmark_disable"):
        if hasattr(config.option, name):
            setattr(config.option, name, False)
    channel = inherited(int(config.getoption("throughput_arm")))
    channel.send(kind="hello", protocol=PROTOCOL)
    answer = channel.receive()
    if answer is None:
        pytest.exit("the gate is gone", returncode=3)
    arm = Arm(channel, Path(answer["other"]))
    config.stash[_ARM] = arm
    config.pluginmanager.register(_Hooks(arm), "throughput-arm")


def arm_of(config: pytest.Config) -> Arm | None:
    """The gate's arm that this session is; None in any other."""
    return config.stash.get(_ARM, None)


def arguments_for_an_arm(config: pytest.Config) -> list[str]:
    """What switches off that tests run beside each other, again, or for so long only."""
    off = {"xdist": ["-n0"], "rerunfailures": ["--reruns=0"], "timeout": ["--timeout=0"]}
    found = [one for name, words in off.items() if config.pluginmanager.hasplugin(name) for one in words]
    return [*found, "--maxfail=0"]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _imported(folder: Path, but_not: Path) -> list[tuple[str, Path]]:
    """Modules of this process whose files lie in ``folder``; a Python that lies there is left out.

    but_not: a folder that may lie within it.
    """
    nested = but_not != folder and but_not.is_relative_to(folder)
    left_out = [Path(sys.prefix), Path(sys.base_prefix), *([but_not] if nested else [])]
    files = ((name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items()))
    return sorted(
        (name, Path(file))
        for name, file in files
        if file and Path(file).is_relative_to(folder) and not any(map(Path(file).is_relative_to, left_out))
    )


def _is_test(file: Path, folder: Path) -> bool:
    """Whether it is a test, or lies beside tests in a folder for them."""
    within = file.relative_to(folder).parts[:-1]
    return (
        file.name == "conftest.py"
        or file.name.startswith("test_")
        or file.stem.endswith("_test")
        or not _TEST_FOLDERS.isdisjoint(within)
    )


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
