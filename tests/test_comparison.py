"""Two runs, and the loaders of one run, are told apart only where their intervals say so."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from throughput.comparison import RunComparison, compare_rounds, compare_runs, require_alike
from throughput.errors import OptionError
from throughput.measure.statistics import paired_ratio, unpaired_ratio
from throughput.results import (
    Certificate,
    Check,
    Comparison,
    EpochCount,
    LedgerCount,
    Pass,
    Phase,
    Results,
    Row,
)

GPU = {"name": "H100", "driver": "555.1", "sm_clock_mhz": 1000}
ENVIRONMENT = {
    "cpu_model": "EPYC",
    "cores_usable": 2,
    "memory_bytes": 8_000_000_000,
    "gpus": [GPU],
    "versions": {"torch": "2.15", "pillow": "12.0"},
    "python": "3.11.9",
    "command_line": "throughput bench",
}
WORK = {"workers": 2, "batch_size": 64, "cache": "any", "phases": ["load"], "budget": {"repeats": 3}}


def phase(*rates: float) -> Phase:
    return Phase(tuple(Pass(int(rate * 2), 2.0, 0.0) for rate in rates))


def run(*rows: Row, work: dict[str, Any] | None = None, **environment: Any) -> dict[str, Any]:
    """What ``bench --json`` writes of these rows."""
    results = Results("now", "throughput bench", ENVIRONMENT | environment, WORK | (work or {}), rows)
    return copy.deepcopy(results.to_json())


def one(*rates: float, loader: str = "dali", **fields: Any) -> Row:
    return Row(loader, "ok", load=phase(*rates), **fields)


class TestRuns:
    def test_the_ratio_is_b_over_a(self):
        (change,) = compare_runs(run(one(100, 102, 98)), run(one(200, 206, 195))).rates
        assert (change.loader, change.phase, change.a, change.b) == ("dali", "load", 100, 200)
        wanted = unpaired_ratio([200, 206, 195], [100, 102, 98])
        assert (change.ratio, change.low, change.high) == (wanted.value, wanted.low, wanted.high)

    @pytest.mark.parametrize(
        ("a", "b", "words"),
        [
            ((100, 101, 99), (120, 121, 119), "faster"),
            ((100, 101, 99), (80, 81, 79), "slower"),
            ((100, 101, 99), (101, 100, 99), "not told apart"),
            ((100, 140, 60), (120, 150, 90), "not told apart"),
            ((100, 100), (100, 100), "not told apart"),
            ((100, 100), (101, 101), "faster"),
            ((100,), (120, 121, 119), "no interval: one pass shows no spread"),
            ((100, 101, 99), (120,), "no interval: one pass shows no spread"),
            ((100, 101, 0), (120, 121, 119), "no ratio: a pass in which no image counted"),
        ],
    )
    def test_words(self, a, b, words):
        (change,) = compare_runs(run(one(*a)), run(one(*b))).rates
        assert change.words == words

    def test_one_pass_has_a_ratio_without_an_interval(self):
        (change,) = compare_runs(run(one(100)), run(one(120))).rates
        assert change.ratio == pytest.approx(1.2)
        assert change.low is change.high is None

    def test_every_phase_that_both_have_is_compared(self):
        everything = Row("dali", "ok", load=phase(1, 2), model=phase(3, 4), train=phase(5, 6))
        compared = compare_runs(run(everything), run(one(1, 2)))
        assert [change.phase for change in compare_runs(run(everything), run(everything)).rates] == [
            "load",
            "model",
            "train",
        ]
        assert [change.phase for change in compared.rates] == ["load"]
        assert compared.left_out == ("dali: model measured only in A", "dali: train measured only in A")

    def test_rows_that_mean_nothing_are_named_and_not_compared(self):
        failed_check = Check("train.flip", ok=False, words="never flipped")
        wrong = one(1, 2, loader="wrong", certificate=Certificate(False, (failed_check,)))
        unsure = one(1, 2, loader="unsure", certificate=Certificate(None, (), "takes no work"))
        a = run(one(1, 2), Row("gone", "skipped", "no library"), wrong, unsure, one(1, 2, loader="old"))
        b = run(
            Row("dali", "failed", "it died"),
            one(1, 2, loader="gone"),
            one(1, 2, loader="wrong"),
            unsure,
            one(1, 2, loader="new"),
        )
        compared = compare_runs(a, b)
        assert [change.loader for change in compared.rates] == ["unsure"]
        assert set(compared.left_out) == {
            "old: only in A",
            "new: only in B",
            "dali: failed (it died) in B",
            "gone: skipped (no library) in A",
            "wrong: not comparable (train.flip) in A",
        }

    def test_a_miscounted_row_is_not_compared(self):
        lost = EpochCount(0, complete=True, expected=8, unique=7, missing=1, duplicate=0, padded=0)
        compared = compare_runs(run(one(1, 2)), run(one(3, 4, ledger=LedgerCount((lost,)))))
        assert compared.rates == ()
        assert compared.left_out == (
            "dali: miscounted: samples were missing, came twice or did not belong in B",
        )

    def test_it_is_told_where_only_one_side_was_certified(self):
        compared = compare_runs(run(one(1, 2, certificate=Certificate(True))), run(one(1, 2)))
        (difference,) = compared.others
        assert (difference.name, difference.a, difference.b) == (
            "dali: certified to do the same work", True, None,
        )  # fmt: skip

    def test_what_the_runs_doubted_themselves_is_told_again(self):
        doubtful = one(10, 20, warnings=("alone: the passes differ by 50 %",))
        comparison = compare_runs(run(one(10, 11)), run(doubtful))
        assert comparison.doubts == ("dali in B: alone: the passes differ by 50 %",)

    def test_software_and_options_that_differ_are_told_and_no_obstacle(self):
        a = run(one(1, 2, options={"prefetch": 2}))
        b = run(
            one(1, 2, options={"prefetch": 4}), versions={"torch": "2.16", "dali": "2.4"}, python="3.12.1"
        )
        compared = compare_runs(a, b)
        require_alike(compared)
        told = {difference.name: (difference.a, difference.b) for difference in compared.others}
        assert told == {
            "torch": ("2.15", "2.16"),
            "pillow": ("12.0", None),
            "dali": (None, "2.4"),
            "python": ("3.11.9", "3.12.1"),
            "dali: options": ({"prefetch": 2}, {"prefetch": 4}),
        }


def compared_with(work: dict[str, Any] | None = None, **environment: Any) -> RunComparison:
    return compare_runs(run(one(1, 2)), run(one(1, 2), work=work, **environment))


class TestMachineAndWork:
    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"cpu_model": "Xeon"}, "cpu_model is EPYC in A, Xeon in B"),
            ({"cores_usable": 4}, "cores_usable is 2 in A, 4 in B"),
            ({"memory_bytes": 16_000_000_000}, "memory_bytes is 8.0 GB in A, 16.0 GB in B"),
            ({"memory_bytes": None}, "memory_bytes is 8.0 GB in A, not told in B"),
            ({"gpus": []}, r"gpus is H100 \(driver 555.1\) in A, none in B"),
            ({"gpus": [GPU, GPU]}, "gpus is H100"),
            ({"gpus": [GPU | {"driver": "560.2"}]}, r".*H100 \(driver 560.2\) in B"),
        ],
    )
    def test_another_machine_is_refused_unless_allowed(self, changed, told):
        compared = compared_with(**changed)
        with pytest.raises(OptionError, match=rf"the machine differs: {told}.*--allow machine"):
            require_alike(compared, ["work"])
        require_alike(compared, ["machine"])

    @pytest.mark.parametrize(
        "changed",
        [
            {"gpus": [GPU | {"sm_clock_mhz": 200}]},
            {"memory_bytes": 8_100_000_000},
            {"command_line": "throughput bench --steps 3"},
        ],
    )
    def test_the_same_machine_in_another_moment_is_the_same(self, changed):
        require_alike(compared_with(**changed))

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"workers": 4}, "workers is 2 in A, 4 in B"),
            ({"cache": "cold"}, "cache is any in A, cold in B"),
            ({"augmentation": {"flip": 0.5}}, "augmentation is not told in A, flip 0.5 in B"),
            ({"source_fingerprint": "f" * 64}, "source_fingerprint is not told in A, ffffffffffff"),
        ],
    )
    def test_other_work_is_refused_unless_allowed(self, changed, told):
        compared = compared_with(work=changed)
        with pytest.raises(OptionError, match=rf"the work differs: {told}.*--allow work"):
            require_alike(compared, ["machine"])
        require_alike(compared, ["work"])

    def test_how_long_and_what_was_measured_is_no_other_work(self):
        require_alike(compared_with(work={"phases": ["train"], "budget": {"repeats": 9}}))

    def test_how_long_matters_where_passes_begin_with_the_opening(self):
        cold = {"cache": "cold"}
        longer = run(one(1, 2), work=cold | {"budget": {"repeats": 3, "seconds": 9.0}})
        with pytest.raises(OptionError, match="the work differs: budget"):
            require_alike(compare_runs(run(one(1, 2), work=cold), longer))

    def test_both_are_named_at_once(self):
        with pytest.raises(OptionError, match=r"the machine differs.*the work differs"):
            require_alike(compared_with(work={"workers": 4}, cpu_model="Xeon"))


class TestRounds:
    def test_the_baseline_is_the_fastest_in_the_last_phase_that_all_have(self):
        rates = {
            "a": {"load": [9.0, 9.0, 9.0], "train": [1.0, 1.0, 1.0]},
            "b": {"load": [5.0, 5.5, 6.0], "train": [1.5, 2.0, 1.6]},
        }
        load, train = compare_rounds(rates)
        assert (load.loader, load.baseline, load.phase, load.words) == ("a", "b", "load", "faster")
        wanted = paired_ratio([1.0, 1.0, 1.0], [1.5, 2.0, 1.6])
        assert train == Comparison("a", "b", "train", wanted.value, wanted.low, wanted.high, 3)
        assert compare_rounds(rates | {"c": {"load": [1.0, 1.0]}})[0].baseline == "a"

    def test_the_baseline_may_be_named(self):
        rates = {"a": {"load": [1.0, 1.0]}, "b": {"load": [2.0, 2.0]}}
        assert [(one.loader, one.baseline) for one in compare_rounds(rates, "a")] == [("b", "a")]
        assert compare_rounds(rates, "z") == ()

    def test_only_rounds_that_both_took_part_in_are_paired(self):
        (one,) = compare_rounds({"a": {"load": [2.0, 4.0, 8.0]}, "b": {"load": [1.0, 2.0]}})
        assert (one.ratio, one.pairs) == (pytest.approx(0.5), 2)

    def test_one_pair_has_no_interval(self):
        (one,) = compare_rounds({"a": {"load": [2.0]}, "b": {"load": [1.0]}})
        assert one == Comparison("b", "a", "load", 0.5, None, None, 1)
        assert one.words == "no interval"

    @pytest.mark.parametrize(
        "rates",
        [
            {},
            {"a": {"load": [1.0]}},
            {"a": {"load": [1.0]}, "b": {}},
            {"a": {"load": [1.0]}, "b": {"load": []}},
            {"a": {"load": [1.0, 1.0]}, "b": {"load": [1.0, 0.0]}},
            {"a": {"load": [1.0]}, "b": {"train": [1.0]}},
        ],
    )
    def test_where_there_is_nothing_to_pair_nothing_is_said(self, rates):
        assert compare_rounds(rates) == ()
