"""What ranks measured becomes one row: all images over the longest time, and the slowest by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from throughput.contracts import Fault
from throughput.measure.ledger import Ledger
from throughput.measure.merge import merge
from throughput.measure.run import Observed
from throughput.measure.snapshot import Snapshot
from throughput.ranks.company import Seat, Turn
from throughput.ranks.measuring import together
from throughput.ranks.merging import merge_epoch, merge_passes, merge_rows, slowest_share
from throughput.ranks.pace import InStep
from throughput.results import Pass, Phase, RemoteReading, Row

FAST = Pass(100, 2.0, 0.2, (0.1, 0.1), batch_begin_seconds=(0.0, 1.0))
SLOW = Pass(80, 2.5, 1.0, (0.5, 0.5), batch_begin_seconds=(0.0, 1.2))
SEATS = [Seat("a", frozenset({0}), 1), Seat("b", frozenset({0}), 1)]


def row(load: Pass, train: Pass | None = None, **changes: object) -> Row:
    both = None if train is None else Phase((train,))
    return Row("fake", "ok", load=Phase((load,), 0.5), train=both, **changes)  # type: ignore[arg-type]


def test_images_add_up_over_the_longest_time() -> None:
    one = merge_passes([FAST, SLOW], in_step=False)
    assert (one.images, one.seconds) == (180, 2.5)
    assert (one.wait_seconds, one.batch_begin_seconds) == (1.0, (0.0, 1.2)), "batches are the slowest rank's"


def test_in_step_the_one_that_waits_is_the_slowest() -> None:
    waits = Pass(100, 2.0, 1.5, (0.75, 0.75))
    assert merge_passes([waits, Pass(90, 2.0, 0.1, (0.05, 0.05))], in_step=True).wait_seconds == 1.5


def test_a_loss_is_the_mean_over_images() -> None:
    one, loss = merge_epoch([(FAST, 1.0), (SLOW, 2.0)])
    assert one.images == 180
    assert loss == pytest.approx((100 * 1.0 + 80 * 2.0) / 180)
    assert merge_epoch([(FAST, 0.1)]) == (FAST, 0.1)


def test_a_row_tells_each_rank_and_names_the_straggler() -> None:
    merged = merge_rows([row(FAST, FAST), row(SLOW, FAST)], ["a", "b"])
    assert merged.load is not None
    assert merged.load.images_per_second.median == pytest.approx(180 / 2.5)
    assert [(one.rank, one.host) for one in merged.ranks] == [(0, "a"), (1, "b")]
    assert [one.load_images_per_second for one in merged.ranks] == [50.0, 32.0]
    assert slowest_share(merged.ranks).rank == 1
    (warning,) = merged.warnings
    assert warning.startswith("rank 1 on b is a straggler: its loader alone reaches 32 images/s")


def test_ranks_that_are_alike_are_not_remarked_on() -> None:
    nearly = Pass(95, 2.0, 0.2, (0.1, 0.1))
    assert merge_rows([row(FAST), row(nearly)], ["a", "a"]).warnings == ()


def test_in_training_alone_the_one_that_waits_is_the_straggler() -> None:
    waits = Pass(100, 2.0, 1.2, (0.6, 0.6))
    rows = [Row("fake", "ok", train=Phase((one,))) for one in (FAST, FAST, waits)]
    (warning,) = merge_rows(rows, ["a", "b", "c"]).warnings
    assert warning.startswith("rank 2 on c is a straggler: it waits for its batches 60 % of the time")


def test_what_ranks_read_at_once_adds_up_and_what_blocks_read_follows_on() -> None:
    one = row(FAST, remote=RemoteReading(40_000_000, 10, 1, 5, 4.0, 20.0))
    other = row(FAST, remote=RemoteReading(38_000_000, 9, 0, 5, 3.9, 20.0))
    together = merge_rows([one, other], ["a", "b"]).remote
    assert together == RemoteReading(78_000_000, 19, 1, 10, 4.0, 20.0)
    assert together.megabytes_per_second == pytest.approx(19.5)
    after_another = merge([one, other]).remote
    assert after_another == RemoteReading(78_000_000, 19, 1, 10, 7.9, 20.0)


def test_blocks_keep_their_ranks() -> None:
    block = merge_rows([row(FAST), row(SLOW)], ["a", "b"])
    merged = merge([block, block])
    assert [one.seconds for one in merged.ranks] == [4.0, 5.0]
    assert merged.ranks[0].images_per_second == pytest.approx(50.0)


def test_the_rank_that_knows_why_is_asked() -> None:
    broken = Row("fake", "failed", "the connection to another rank broke")
    ended = Row("fake", "failed", "the measuring process was ended by SIGTERM; its last words are above")
    cause = Row("fake", "failed", "IsADirectoryError: no image", bad_input=True)
    found = together([Observed(broken), Observed(cause), Observed(ended)], [*SEATS, SEATS[0]])
    assert (found.status, found.reason) == ("failed", "rank 1 on b: IsADirectoryError: no image")
    same = Row("fake", "skipped", "dali is missing")
    assert together([Observed(same), Observed(same)], SEATS).reason == "dali is missing"


def test_ranks_of_one_machine_are_no_strangers_to_each_other() -> None:
    """Two ranks keep both cores of a machine busy, each one of them; two more are bound to a core each."""

    def snapshot(seconds: float, cores: int) -> Snapshot:
        return Snapshot(seconds, cores, seconds * cores, None, None, None, None, None, 0.0)

    def seen(cores: int, own_cpu_seconds: float) -> Observed:
        return Observed(row(FAST), snapshot(0, cores), snapshot(10, cores), own_cpu_seconds)

    both = frozenset({0, 1})
    shared = [Seat("a", both, 1), Seat("a", both, 1)]
    assert together([seen(2, 10.0), seen(2, 10.0)], shared).warnings == ()
    bound = [Seat("a", frozenset({core}), 1) for core in both]
    assert together([seen(1, 10.0), seen(1, 10.0)], bound).warnings == ()
    (warning,) = together([seen(2, 10.0), seen(2, 2.0)], shared).warnings
    assert warning.startswith("other processes kept 0.8 of 2 cores busy")


def test_each_image_counts_alike() -> None:
    turns = [Turn(8, 11, 2), Turn(3, 11, 2)]
    gradients = [1.0, 5.0]
    mean = sum(turn.weight * gradient for turn, gradient in zip(turns, gradients, strict=True)) / 2
    assert mean == pytest.approx((8 * 1.0 + 3 * 5.0) / 11)
    assert Turn(0, 5, 2).weight == 0


def test_ranks_in_step_end_after_the_same_batch() -> None:
    """Each wants to end at another batch: all end one after the first of them."""
    asked: list[list[bool]] = []
    said = [[False, False, True, True], [False, False, False, False], [False, True, True, True]]
    ended = [False, False, False]
    steps = 0
    paces = []
    for _ in said:
        paces.append(InStep(lambda: None, lambda own: _ask(asked, own)))
    while not any(ended):
        asked.append([])
        ended = [pace.over(wants[steps]) for pace, wants in zip(paces, said, strict=True)]
        steps += 1
    assert ended == [True] * 3
    assert steps == 3, "the third rank wanted to end at its second batch"


def _ask(asked: list[list[bool]], own: bool) -> Callable[[], bool]:
    place = asked[-1]
    place.append(own)
    return lambda: any(place)


def test_a_ledger_tells_what_came() -> None:
    ledger = Ledger(np.arange(6), keeps_seen=True)
    ledger.begin(0)
    ledger.add(np.array([4, 1, 4, -1]))
    ledger.add_faults([Fault(5, "5.jpg", "cut short"), Fault(9, "9.jpg", "not of this split")])
    ledger.end()
    assert [(seen.came.tolist(), seen.bad.tolist()) for seen in ledger.take_seen()] == [([1, 4], [5])]
    assert ledger.take_seen() == []
