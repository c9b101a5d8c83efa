"""Every fault that a loader can show in its ids is counted as what it is."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from throughput.contracts import UNKNOWN_ID, Batch, Fault
from throughput.errors import LoaderError, StateError
from throughput.measure.labels import Labels
from throughput.measure.ledger import Ledger
from throughput.results import BadSample, EpochCount, LedgerCount

EXPECTED = np.array([0, 2, 4, 6, 8, 10])


def counted(*epochs: Sequence[Sequence[int]], cut: bool = False) -> LedgerCount:
    """Counts of epochs, each a sequence of batches; ``cut``: the last one did not end."""
    ledger = Ledger(EXPECTED)
    for epoch, batches in enumerate(epochs):
        ledger.begin(epoch)
        for batch in batches:
            ledger.add(np.array(batch, np.int64))
        if not (cut and epoch == len(epochs) - 1):
            ledger.end()
    return ledger.count()


def faults(count: EpochCount) -> dict[str, int | None]:
    found = {name: getattr(count, name) for name in ("missing", "duplicate", "padded", "unexpected")}
    return {name: value for name, value in found.items() if value}


def test_an_epoch_in_any_order_is_exact() -> None:
    count = counted([[8, 2, 0], [10, 6, 4]])
    assert count.epochs == (
        EpochCount(0, complete=True, expected=6, unique=6, missing=0, duplicate=0, padded=0),
    )
    assert count.exact


def test_what_did_not_come_is_missing() -> None:
    count = counted([[0, 2], [6, 10]])
    assert faults(count.worst) == {"missing": 2}
    assert count.worst.unique == 4
    assert not count.exact


def test_a_repeat_within_a_batch_is_a_duplicate() -> None:
    count = counted([[0, 0, 0, 2, 4], [6, 8, 10]])
    assert faults(count.worst) == {"duplicate": 2}
    assert not count.exact


def test_a_repeat_in_another_batch_is_a_duplicate() -> None:
    assert faults(counted([[0, 2, 4], [6, 8, 10], [4, 0]]).worst) == {"duplicate": 2}


def test_a_repeat_in_another_epoch_is_none() -> None:
    assert counted([[0, 2, 4, 6, 8, 10]], [[10, 8, 6, 4, 2, 0]]).exact


def test_padding_is_shown_and_is_no_fault() -> None:
    count = counted([[0, 2, 4, 6], [8, 10, -1, -1]])
    assert faults(count.worst) == {"padded": 2}
    assert count.exact


def test_ids_of_another_split_or_beyond_the_source_are_unexpected() -> None:
    count = counted([[0, 2, 4, 6, 8, 10], [1, 9, 11, 10**12]])
    assert faults(count.worst) == {"unexpected": 4}
    assert count.worst.unique == 6
    assert not count.exact


def test_nothing_is_missing_from_an_epoch_that_was_cut_short() -> None:
    count = counted([[0, 2]], cut=True)
    assert count.epochs[0].missing is None
    assert not count.epochs[0].complete
    assert count.exact


def test_a_duplicate_in_an_epoch_that_was_cut_short_is_a_fault() -> None:
    count = counted([[0, 2, 2]], cut=True)
    assert faults(count.worst) == {"duplicate": 1}
    assert not count.exact


def test_beginning_an_epoch_cuts_the_one_that_is_open() -> None:
    ledger = Ledger(EXPECTED)
    ledger.begin(3)
    ledger.add(np.array([0]))
    ledger.begin(9)
    ledger.add(np.array([0]))
    assert [(epoch.epoch, epoch.complete, epoch.unique) for epoch in ledger.count().epochs] == [
        (3, False, 1),
        (9, False, 1),
    ]


def test_only_ids_that_come_for_the_first_time_count_as_images() -> None:
    ledger = Ledger(EXPECTED)
    ledger.begin(0)
    counts = [ledger.add(np.array(ids)) for ids in ([0, 2, 2], [2, 4, -1], [1, 99, 6], [0, 2])]
    assert counts == [2, 1, 1, 0]
    ledger.begin(1)
    assert ledger.add(np.array([0, 2])) == 2


def test_the_summary_is_the_worst_complete_epoch() -> None:
    count = counted([[0, 2, 4, 6, 8, 10]], [[0, 2, 4, 6]], [[0, 2, 4, 6, 8]], [[0, 0, 0, 0]], cut=True)
    assert count.worst.epoch == 1


def test_a_fault_that_shows_only_in_a_cut_epoch_is_summarised() -> None:
    count = counted([[0, 2, 4, 6, 8, 10]], [[0, 0]], cut=True)
    assert not count.exact
    assert faults(count.worst) == {"duplicate": 1}


def test_nothing_expected_and_nothing_delivered_is_exact() -> None:
    ledger = Ledger(np.array([], np.int64))
    ledger.begin(0)
    assert ledger.add(np.array([5])) == 0
    ledger.end()
    assert faults(ledger.count().worst) == {"unexpected": 1}


def test_before_any_epoch_there_is_nothing_to_tell() -> None:
    assert Ledger(EXPECTED).count().epochs == ()


def test_of_ids_that_are_not_known_all_count_and_there_is_no_ledger() -> None:
    ledger = Ledger(EXPECTED)
    ledger.begin(0)
    assert ledger.known
    assert [ledger.add(np.full(3, UNKNOWN_ID)) for _ in range(5)] == [3] * 5
    ledger.end()
    ledger.begin(1)
    assert not ledger.known
    assert ledger.count().epochs == ()


@pytest.mark.parametrize(
    "batches", [[[0, UNKNOWN_ID]], [[0], [UNKNOWN_ID]], [[UNKNOWN_ID], [0]], [[-1, UNKNOWN_ID]]]
)
def test_ids_that_are_known_of_some_samples_only_are_an_error(batches: list[list[int]]) -> None:
    ledger = Ledger(EXPECTED)
    ledger.begin(0)
    *before, last = map(np.array, batches)
    for batch in before:
        ledger.add(batch)
    with pytest.raises(LoaderError, match="give all of them, or none"):
        ledger.add(last)


def test_of_ids_of_a_pipeline_s_own_only_repeats_are_found() -> None:
    ledger = Ledger(None)
    for epoch in range(2):
        ledger.begin(epoch)
        assert ledger.add(np.array([7, 10**15, 7])) == 2
        assert ledger.add(np.array([7, 8, -1])) == 1
        ledger.end()
    first, second = ledger.count().epochs
    assert (first.expected, first.unique, first.missing, first.duplicate) == (3, 3, None, 2)
    assert (first.padded, first.unexpected, first.complete) == (1, 0, True)
    assert not second.exact


@pytest.mark.parametrize(
    ("of_source", "delivered", "wrong"),
    [
        (np.arange(11), [0, 2, 4, 6, 8, 10], 0),
        (np.arange(11), [1, 2, 4, 6, 8, 9], 2),
        (np.arange(11, dtype=np.float32), [0.0, 2.0, 4.0, 6.0, 8.0, 10.5], 1),
    ],
)
def test_labels_that_are_not_their_ids_own_are_counted(
    of_source: np.ndarray, delivered: list[float], wrong: int
) -> None:
    ledger = Ledger(EXPECTED, Labels(of_source))
    ledger.begin(0)
    ledger.add_batch(Batch(torch.zeros(6, 3, 4, 4), torch.tensor(delivered), torch.from_numpy(EXPECTED)))
    ledger.end()
    count = ledger.count()
    assert count.epochs[0].exact
    assert (count.mislabelled, count.exact) == (wrong, wrong == 0)


def test_filler_and_ids_that_nobody_knows_have_no_label_to_be_wrong() -> None:
    ledger = Ledger(EXPECTED, Labels(np.zeros(11, np.int64)))
    ledger.begin(0)
    ids = torch.tensor([-1, 99, 2])
    ledger.add_batch(Batch(torch.zeros(3, 3, 4, 4), torch.tensor([7, 7, 0]), ids))
    assert ledger.count().mislabelled == 0


def test_a_pipeline_that_takes_the_work_and_tells_no_ids_has_no_label_to_be_wrong() -> None:
    ledger = Ledger(EXPECTED, Labels(np.zeros(11, np.int64)))
    ledger.begin(0)
    untold = torch.full((3,), UNKNOWN_ID)
    assert ledger.add_batch(Batch(torch.zeros(3, 3, 4, 4), torch.tensor([7, 7, 0]), untold)) == 3
    assert not ledger.known


def fault(sample: int) -> Fault:
    return Fault(sample, f"{sample}.jpg", "the file is empty")


def test_a_sample_that_is_named_as_bad_is_not_missing() -> None:
    ledger = Ledger(EXPECTED)
    for epoch in range(2):
        ledger.begin(epoch)
        ledger.add(np.array([0, 2, 4, -1, 8]))
        ledger.add_faults([fault(6)])
        ledger.end()
    count = ledger.count()
    for one in count.epochs:
        assert (one.unique, one.corrupt, one.padded, one.missing) == (4, 1, 1, 1)
    assert count.bad_samples == (BadSample("6.jpg", "the file is empty", times=2),)
    assert not count.exact


def test_naming_a_sample_makes_up_for_no_other() -> None:
    """Neither one that came all the same, nor one that does not belong, nor the same one twice."""
    ledger = Ledger(EXPECTED)
    ledger.begin(0)
    ledger.add(np.array([0, 2, 4, 6]))
    ledger.add_faults([fault(6), fault(7), fault(99), fault(8), fault(8)])
    ledger.end()
    (one,) = ledger.count().epochs
    assert (one.unique, one.corrupt, one.missing) == (4, 1, 1)


def test_an_epoch_goes_on_where_an_earlier_process_left_it() -> None:
    first, second = [*EXPECTED[:3].tolist(), int(EXPECTED[0]), -1], EXPECTED[3:-1]
    fault = Fault(int(EXPECTED[-1]), "a.jpg", "is no image")
    whole, one, other = (Ledger(EXPECTED) for _ in range(3))
    for ledger in (whole, one):
        ledger.begin(3)
        ledger.add(np.array(first))
        ledger.add_faults([fault])
    state = json.loads(json.dumps(one.state()))
    assert one.count_finished().epochs == ()
    other.begin(3, state)
    for ledger in (whole, other):
        ledger.add(second)
        ledger.end()
    assert other.count() == whole.count()
    (epoch,) = other.count().epochs
    assert (epoch.missing, epoch.duplicate, epoch.padded, epoch.corrupt) == (0, 1, 1, 1)
    with pytest.raises(StateError):
        Ledger(np.arange(1000)).begin(3, state)
