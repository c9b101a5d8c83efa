"""A measurement for a test: run it, record it, hold it against its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import pytest

from throughput.errors import ThroughputError
from throughput.measure.budget import Budget
from throughput.measure.nursery import Nursery
from throughput.measure.rounds import Measure
from throughput.measure.run import measure
from throughput.pytesting.arm import Arm, arm_of
from throughput.pytesting.kept import records_of
from throughput.pytesting.limits import Judged, judge_rate, judge_ratio, limits_of, saved_run
from throughput.pytesting.records import TEST, Record
from throughput.results import PhaseName, Results, Row

_UNTIL_TOLD = 100_000
"""Rounds, where a gate says when they end."""


@dataclass(frozen=True)
class How:
    """How a test is to be measured in this session of pytest.

    data, settings: where the test does not say. budget: of the test's own seconds, steps and repeats, for
    what the session does not say. certified: False where nothing is timed. alone: one loader in one phase,
    for a gate. go_on: asked before each round. measure_block: measures a round, where not as usual. nursery:
    of the whole session.
    """

    data: str | None
    settings: Mapping[str, Any]
    budget: Callable[[float | None, int | None, int | None], Budget]
    certified: bool
    alone: bool
    go_on: Callable[[Results], bool]
    measure_block: Measure
    nursery: Nursery


class Measured:
    """Called once by a test, through a fixture of its own.

    tell: hears of what was measured. timed: False where it is only to run, as with ``--benchmark-disable``.
    """

    def __init__(
        self, request: pytest.FixtureRequest, tell: Callable[[Record], None], *, timed: bool
    ) -> None:
        self._item: pytest.Item = request.node
        self._module: ModuleType | None = getattr(request, "module", None)
        self._tell = tell
        self._timed = timed
        self._limits = limits_of(self._item)
        self.used = self.told = False

    @property
    def test_modules(self) -> tuple[ModuleType, ...]:
        """The test's own module, which a fresh process may be unable to import."""
        return () if self._module is None else (self._module,)

    def once_for_all(self, key: object, measure: Callable[[], Results]) -> Results:
        """``measure()``, or what it gave a test before this one with the same key."""
        kept = self._item.config.stash.setdefault(_KEPT, {})
        if key not in kept:
            kept[key] = measure()
        return kept[key]

    def __call__(self, measure: Callable[[How], Results], phase: PhaseName) -> Row:
        """``measure(how)``: a run with one row; ``phase`` is what limits and gates look at.

        Skips the test for a loader that cannot run here. Fails it where the loader failed, does other work,
        miscounts, or missed a limit.
        """
        if self.used:
            pytest.fail("a test measures once: write another test for another measurement", pytrace=False)
        self.used = True
        arm = arm_of(self._item.config)
        wrong = None
        try:
            results = measure(self._how(arm, phase))
        except ThroughputError as error:
            wrong = str(error)
        if wrong is not None:  # here, so that nothing is told of while it was handled
            if arm is not None:
                arm.failed(self._item.nodeid, wrong)
            pytest.fail(wrong, pytrace=False)
        if arm is not None:
            arm.measured(self._item.nodeid, results)
        if not results.rows and arm is not None:
            pytest.skip("the gate did not measure it")
        (row,) = results.rows
        if row.status == "skipped":
            pytest.skip(f"{row.loader}: {row.reason}")
        if row.status == "failed":
            pytest.fail(f"{row.loader} failed: {row.reason}", pytrace=False)
        results = replace(results, work=results.work | {TEST: self._item.nodeid})
        record = Record(self._item.nodeid, results, phase, self._timed)
        if arm is None:
            record = self._with_limits(record)
        records_of(self._item.config).append(record)
        self._item.user_properties += record.properties()
        self._tell(record)
        self.told = True
        self._require(record)
        if arm is not None:
            # One phase was measured, and no accuracy: what the test asserts next may ask for more.
            pytest.skip("measured for a gate")
        return row

    def _how(self, arm: Arm | None, phase: PhaseName) -> How:
        option = self._item.config.getoption
        rounds = None
        if arm is not None:
            min_ratio = limits_of(self._item, of_mark=True).min_ratio
            rounds = arm.rounds(self._item.nodeid, phase, min_ratio)
        named = {
            "batch_size": option("throughput_batch"),
            "workers": option("throughput_workers"),
            "model": option("throughput_model"),
        }
        return How(
            data=option("throughput_data"),
            settings={name: value for name, value in named.items() if value is not None},
            budget=lambda seconds, steps, repeats: self._budget(
                seconds, steps, repeats, gated=arm is not None
            ),
            certified=self._timed,
            alone=arm is not None,
            go_on=(lambda _: True) if rounds is None else rounds.go_on,
            measure_block=measure if rounds is None else rounds.measure_block,
            nursery=_nursery_of(self._item.config),
        )

    def _budget(
        self, seconds: float | None, steps: int | None, repeats: int | None, *, gated: bool
    ) -> Budget:
        """What the session says, then what the test says, then what is usual."""
        if not self._timed:
            return Budget(steps=1, repeats=1)
        option = self._item.config.getoption
        if option("throughput_seconds") is not None:
            seconds, steps = option("throughput_seconds"), None
        repeats = _UNTIL_TOLD if gated else option("throughput_repeats") or repeats or Budget.repeats
        return Budget(seconds=Budget.seconds if seconds is None else seconds, steps=steps, repeats=repeats)

    def _with_limits(self, record: Record) -> Record:
        """With what became of the limits, in the row's warnings too: they go into every report."""
        judged = self._judged(record)
        missed = tuple(one.sentence for one in judged if one.outcome != "kept")
        row = replace(record.row, warnings=(*record.row.warnings, *missed))
        return replace(record, judged=judged, results=replace(record.results, rows=(row,)))

    def _judged(self, record: Record) -> tuple[Judged, ...]:
        limits, found = self._limits, []
        if not self._timed:
            names = [name for name, value in vars(limits).items() if value is not None]
            return tuple(Judged(name, "not judged", "nothing was timed") for name in names)
        if limits.min_images_per_second is not None:
            found.append(judge_rate(record.measured.images_per_second, limits.min_images_per_second))
        path = self._item.config.getoption("throughput_compare")
        if limits.min_ratio is not None or path is not None:
            saved = saved_run(path, record.test)
            found.append(judge_ratio(record.results, saved, record.phase, limits.min_ratio))
        return tuple(found)

    def _require(self, record: Record) -> None:
        """Fail the test for what makes its rate worthless, or for a limit."""
        row = record.row
        if row.certificate is not None and row.certificate.comparable is False:
            causes = [f"{check.name}: {check.words}" for check in row.certificate.failed]
            told = "; ".join(causes) or row.certificate.reason
            pytest.fail(f"{row.loader} does not do the same work: {told}", pytrace=False)
        if row.ledger is not None and not row.ledger.exact:
            worst = row.ledger.worst
            pytest.fail(
                f"{row.loader} miscounts: in epoch {worst.epoch}, of {worst.expected} images "
                f"{worst.missing or 0} are missing, {worst.duplicate} came again, {worst.unexpected} do not "
                f"belong; {row.ledger.mislabelled} have a wrong label",
                pytrace=False,
            )
        strict = self._item.config.getoption("throughput_strict")
        limited = {name for name, value in vars(self._limits).items() if value is not None}
        missed = [
            one.sentence
            for one in record.judged
            if one.outcome == "missed" or (strict and one.outcome != "kept" and one.limit in limited)
        ]
        if missed:
            pytest.fail("; ".join(missed), pytrace=False)


_KEPT = pytest.StashKey[dict[Any, Results]]()
_NURSERY = pytest.StashKey[Nursery]()


def _nursery_of(config: pytest.Config) -> Nursery:
    """One for all tests of a session: starting it takes seconds."""
    if _NURSERY not in config.stash:
        nursery = config.stash[_NURSERY] = Nursery()
        config.add_cleanup(nursery.__exit__)
    return config.stash[_NURSERY]
