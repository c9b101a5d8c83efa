"""Work by threads comes back in order, with its errors in their places."""

from __future__ import annotations

import threading
from itertools import count, islice

import pytest

from throughput.threads import in_threads


def test_results_come_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        # The first item ends only once the second has: order is made, not found.
        if item == 0:
            assert first_may_end.wait(10)
        if item == 1:
            first_may_end.set()
        return item * item

    assert list(in_threads(work, range(50), 2)) == [item * item for item in range(50)]


def test_an_error_comes_out_in_its_place() -> None:
    results = in_threads(lambda item: 1 / (3 - item), range(6), 2)
    assert len(list(islice(results, 3))) == 3
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_endless_items_are_taken_only_a_little_ahead() -> None:
    taken: list[int] = []

    def items():  # type: ignore[no-untyped-def]
        for item in count():
            taken.append(item)
            yield item

    results = in_threads(lambda item: item, items(), 2)
    assert list(islice(results, 5)) == [0, 1, 2, 3, 4]
    assert len(taken) < 20


def test_closing_ends_the_threads() -> None:
    before = threading.active_count()
    results = in_threads(lambda item: item, count(), 3)
    next(results)
    assert threading.active_count() == before + 3
    results.close()
    assert threading.active_count() == before


def test_no_items_are_no_results() -> None:
    assert list(in_threads(lambda item: item, [], 2)) == []
