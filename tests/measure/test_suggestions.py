"""What is suggested helps, can be applied, is not on already, and promises what its figures bear out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from throughput.measure.suggestions import Possible
from throughput.measure.verdict import draw_verdict
from throughput.results import (
    Certificate,
    EpochCount,
    LedgerCount,
    Pass,
    Phase,
    Row,
    Suggestion,
)

CPU = {
    "device": "cpu",
    "workers": 2,
    "batch_size": 50,
    "train_images": 5000,
    "compute_dtype": "float32",
    "compile": False,
}
CUDA = CPU | {
    "device": "cuda:0",
    "workers": 16,
    "compute_dtype": "bfloat16",
    "compile": True,
    "batch_size": 4000,
}
"""On the GPU nothing is left to make its steps faster."""
EXACT = LedgerCount((EpochCount(0, True, 100, 100, 0, 0, 0),))
LOSSY = LedgerCount((EpochCount(0, True, 100, 97, 3, 0, 0),))


def phase(rate: float, wait_fraction: float = 0.0) -> Phase:
    """Three passes of 1 s that differ by 1 %."""
    return Phase(
        tuple(Pass(1000, 1000 / one, wait_fraction * 1000 / one) for one in (0.99 * rate, rate, 1.01 * rate))
    )


def row_of(load: float, model: float, train: float, wait_fraction: float = 0.0, **more: Any) -> Row:
    named = {"loader": "mine", "status": "ok", "ledger": EXACT, "decode": "cpu"} | more
    return Row(**named, load=phase(load), model=phase(model), train=phase(train, wait_fraction))


def suggestions(
    row: Row, work: dict[str, Any] = CPU, cores: int = 2, others: tuple[Row, ...] = (), **more: Any
) -> tuple[Suggestion, ...]:
    verdict = draw_verdict(row, work, cores, others, **more)
    assert verdict is not None
    return verdict.suggestions


def options_of(found: tuple[Suggestion, ...]) -> list[dict[str, str] | None]:
    return [one.options for one in found]


SLEEPER = row_of(
    20, 2000, 19.8, 0.99, cpu_utilisation=0.05, load_cpu_utilisation=0.03, model_cpu_utilisation=0.4
)
"""A loader of two workers that sleep; nothing is busy."""


def test_compiling_is_not_suggested_without_a_compiler() -> None:
    assert {"compile": "true"} in options_of(suggestions(CONTENDED))
    assert {"compile": "true"} not in options_of(suggestions(CONTENDED, possible=Possible(can_compile=False)))


def test_a_loader_that_sleeps_wants_workers_in_proportion() -> None:
    first = suggestions(SLEEPER)[0]
    assert first.options == {"workers": "8"}
    assert first.images_per_second == pytest.approx(4 * 19.8)
    assert 2 * 19.8 < first.low < first.images_per_second < first.high < 5 * 19.8
    assert "workers that it has wait" in first.text


def test_no_more_workers_than_reach_the_model() -> None:
    row = row_of(
        20, 55, 19.8, 0.9, cpu_utilisation=0.05, load_cpu_utilisation=0.02, model_cpu_utilisation=0.02
    )
    first = suggestions(row)[0]
    assert first.options == {"workers": "6"}
    assert first.images_per_second == pytest.approx(0.99 * 55)


def test_no_more_workers_than_the_cores_have_time_for() -> None:
    row = row_of(
        100, 1000, 99, 0.9, cpu_utilisation=0.45, load_cpu_utilisation=0.4, model_cpu_utilisation=0.5
    )
    first = suggestions(row)[0]
    assert first.options == {"workers": "5"}
    assert first.images_per_second == pytest.approx(99 / 100 / (0.4 / 100 + 0.5 / 1000), rel=0.02)


def test_one_worker_that_is_busy_is_not_said_to_wait() -> None:
    row = row_of(
        100, 1000, 99, 0.9, cpu_utilisation=0.14, load_cpu_utilisation=0.125, model_cpu_utilisation=0.5
    )
    first = suggestions(row, CPU | {"workers": 1}, cores=8)[0]
    assert first.options == {"workers": "4"}
    assert "1.0 of 8 cores" in first.text
    assert "wait" not in first.text


def test_workers_that_have_all_cores_get_no_company() -> None:
    row = row_of(
        100, 1000, 95, 0.9, cpu_utilisation=0.97, load_cpu_utilisation=0.96, model_cpu_utilisation=0.9
    )
    assert not any(options and "workers" in options for options in options_of(suggestions(row)))


def test_shared_cores_get_no_more_workers() -> None:
    row = row_of(300, 600, 150, 0.2, cpu_utilisation=0.9, load_cpu_utilisation=0.6, model_cpu_utilisation=0.9)
    found = options_of(suggestions(row, CPU | {"workers": 4}))
    assert {"workers": "2"} in found
    assert not any(int((options or {}).get("workers", 0)) > 4 for options in found)


def test_nobody_who_looked_at_the_cores_makes_workers_a_guess() -> None:
    row = row_of(20, 2000, 19.8, 0.99)
    first = suggestions(row)[0]
    assert first.options == {"workers": "8"}
    assert (first.low, first.high) == (pytest.approx(19.8), pytest.approx(39.6 * 2))


def test_a_pipeline_that_does_not_take_workers_is_told_in_words() -> None:
    work = {name: value for name, value in CPU.items() if name != "workers"}
    (only,) = suggestions(SLEEPER, work)
    assert only.options is None
    assert "more workers" in only.text


def test_a_measured_loader_that_trains_faster_is_promised_its_own_interval() -> None:
    slow = row_of(560, 280, 150, 0.05, cpu_utilisation=0.97, load_cpu_utilisation=1, model_cpu_utilisation=1)
    other = row_of(600, 280, 200, loader="quick")
    first = suggestions(slow, others=(other, row_of(580, 280, 170, loader="middling")))[0]
    assert first.options == {"loader": "quick"}
    assert first.images_per_second == pytest.approx(200)
    rate = phase(200).images_per_second
    assert rate.low is not None
    assert rate.high is not None
    # What equally many passes will give is less sure than where the true rate lies, by the root of 2.
    assert math.log(200 / first.low) == pytest.approx(math.sqrt(2) * math.log(200 / rate.low))
    assert math.log(first.high / 200) == pytest.approx(math.sqrt(2) * math.log(rate.high / 200))


@pytest.mark.parametrize(
    "changes",
    [
        {"ledger": None},
        {"ledger": LOSSY},
        {"certificate": Certificate(False)},
        {"status": "failed"},
        {"loader": "mine"},
    ],
    ids=["not counted", "loses images", "not comparable", "failed", "itself"],
)
def test_a_loader_that_does_other_work_is_no_replacement(changes: dict[str, Any]) -> None:
    slow = row_of(560, 280, 150, 0.05, cpu_utilisation=0.97, load_cpu_utilisation=1, model_cpu_utilisation=1)
    other = row_of(600, 280, 200, **({"loader": "quick"} | changes))
    assert not any("loader" in (options or {}) for options in options_of(suggestions(slow, others=(other,))))


def test_a_slower_loader_is_not_suggested() -> None:
    other = row_of(600, 280, 19, loader="slow")
    assert all(options != {"loader": "slow"} for options in options_of(suggestions(SLEEPER, others=(other,))))


CONTENDED = row_of(
    560, 280, 185, 0.05, cpu_utilisation=0.97, load_cpu_utilisation=1.0, model_cpu_utilisation=1.0
)


def test_on_shared_cores_less_work_helps_as_much_as_the_cores_have_time_for() -> None:
    found = suggestions(CONTENDED, CPU | {"compile": True})
    (only,) = found
    assert "less CPU work" in only.text
    assert only.low == pytest.approx(185)
    assert only.high == pytest.approx(185 / (1 / (1 / 560 + 1 / 280)) * (1 / (0.5 / 560 + 1 / 280)))


def test_threads_that_outnumber_the_cores_are_made_fewer() -> None:
    row = row_of(560, 280, 120, 0.05, cpu_utilisation=0.97, load_cpu_utilisation=1, model_cpu_utilisation=1)
    found = suggestions(row, CPU | {"workers": 8})
    fewer = next(one for one in found if one.options == {"workers": "4"})
    assert (fewer.low, fewer.high) == (pytest.approx(120), pytest.approx(560 / 3))
    assert {"workers": "4"} not in options_of(suggestions(CONTENDED, CPU | {"workers": 8})), (
        "the cores have no time left"
    )


def test_a_model_at_its_limit_is_to_be_made_faster() -> None:
    row = row_of(5000, 500, 495, cpu_utilisation=0.5)
    found = suggestions(row, CUDA | {"compute_dtype": "float32", "compile": False, "batch_size": 64}, 16)
    assert {"compile": "true"} in options_of(found)
    assert {"batch": "128"} in options_of(found)
    assert {"precision": "bf16"} not in options_of(found), "nobody said that the device is fast in it"
    found = suggestions(row, CUDA | {"compute_dtype": "float32"}, 16, possible=Possible("bfloat16"))
    assert options_of(found) == [{"precision": "bf16"}]
    assert (found[0].low, found[0].high) == (pytest.approx(495), pytest.approx(990))


def test_a_faster_model_is_no_help_to_a_slow_loader() -> None:
    found = suggestions(SLEEPER, CPU, possible=Possible("bfloat16"))
    assert options_of(found) == [{"workers": "8"}]


def test_what_is_on_already_is_not_suggested() -> None:
    row = row_of(5000, 500, 495, cpu_utilisation=0.5)
    assert suggestions(row, CUDA, 16, possible=Possible("bfloat16")) == ()


def test_a_loader_that_overlaps_in_part_gets_a_longer_queue() -> None:
    row = row_of(600, 500, 380, 0.2, cpu_utilisation=0.4, options={"prefetch": 2})
    found = suggestions(row, CUDA)
    queue = next(one for one in found if one.options and "opt" in one.options)
    assert queue.options == {"opt": "mine.prefetch=4"}
    assert (queue.low, queue.high) == (pytest.approx(380), pytest.approx(500))


def test_a_loader_that_makes_nothing_ahead_is_told_to() -> None:
    row = row_of(1000, 500, 335, 0.33, cpu_utilisation=0.4, options={"prefetch": 2})
    found = suggestions(row, CUDA)
    assert any("make batches ahead" in one.text and one.options is None for one in found)
    assert not any(one.options and "opt" in one.options for one in found)


def test_a_model_whose_steps_are_slowed_lacks_no_batches() -> None:
    """As where other programs hold the cores: waiting is 3 % of the time, and no queue helps."""
    found = suggestions(row_of(211, 65, 45, 0.03, cpu_utilisation=0.38, load_cpu_utilisation=0.4))
    assert not any("ahead" in one.text or "queue" in one.text for one in found)
    waiting = suggestions(row_of(100, 100, 30, 0.6, cpu_utilisation=0.38, load_cpu_utilisation=0.4))
    assert any("ahead" in one.text for one in waiting)


def test_a_gpu_that_waits_for_cpus_may_decode() -> None:
    row = row_of(900, 3000, 880, 0.7, cpu_utilisation=0.98, load_cpu_utilisation=0.97)
    found = suggestions(row, CUDA, 16, possible=Possible(gpu_loaders=("mine", "quick")))
    assert found[0].options == {"loader": "quick"}
    assert (found[0].low, found[0].high) == (pytest.approx(880), pytest.approx(3000))
    assert "decode on the GPU" in suggestions(row, CUDA, 16)[0].text
    measured = row_of(800, 3000, 700, decode="gpu", loader="quick")
    found = suggestions(row, CUDA, 16, (measured,), possible=Possible(gpu_loaders=("quick",)))
    assert {"loader": "quick"} not in options_of(found), "it was measured, and is slower"
    assert not any(
        "on the GPU" in one.text for one in suggestions(row_of(900, 3000, 880, decode="gpu"), CUDA)
    )


def test_a_narrow_bus_is_spared() -> None:
    row = row_of(1000, 3000, 980, 0.6, stages={"finish": 1 / 1050}, decode="gpu")
    assert any("uint8" in one.text for one in suggestions(row, CUDA))


def test_single_passes_promise_within_wide_bounds() -> None:
    one = {name: Phase((Pass(100, 100 / rate, 0.0),)) for name, rate in (("load", 20), ("model", 2000))}
    row = Row("mine", "ok", **one, train=one["load"], load_cpu_utilisation=0.03)
    first = suggestions(row)[0]
    assert first.images_per_second == pytest.approx(80)
    assert first.low < 0.8 * 50
    assert first.high > 1.2 * 80


def test_what_promises_next_to_nothing_is_left_out() -> None:
    assert suggestions(row_of(500, 100, 99.5), CPU | {"compile": True}) == ()


def test_only_workers_of_a_pipeline_of_the_users_own_are_to_live_on() -> None:
    """The loaders that are known by a name have workers that do, or threads."""
    row = row_of(1000, 500, 335, 0.33, cpu_utilisation=0.4)
    assert row.train is not None
    passes = tuple(replace(one, batch_wait_seconds=(0.001,) * 100) for one in row.train.passes)
    row = replace(row, train=replace(row.train, passes=passes, epoch_gap_seconds=1.0))
    texts = [
        [one.text for one in suggestions(replace(row, loader=name), CUDA)] for name in ("ours:make", "roi")
    ]
    assert [any("persistent_workers" in text for text in found) for found in texts] == [True, False]
