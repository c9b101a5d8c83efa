"""Work by threads, in order and a little ahead, that Ctrl-C ends cleanly.

An executor of the standard library hands work out under locks of Python code. A KeyboardInterrupt that
falls between taking such a lock and holding it leaves it taken for ever, and the process hangs at its
end. The queues here are C code, which a signal does not interrupt half-way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4
"""Items under way or finished for each thread, so that a slow one does not stop the others."""


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, under_way: int | None = None
) -> Generator[Result, None, None]:
    """Yield ``work(item)`` for each item, in their order; an error comes out in its place.

    under_way: items that are taken before the result of the first is asked for, four a thread unless told.

    Closing the generator lets each thread finish the item that it has, and no more.
    """
    tasks: SimpleQueue[tuple[int, Item] | None] = SimpleQueue()
    done: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()
    pool = [Thread(target=_serve, args=(work, tasks, done), daemon=True) for _ in range(threads)]
    for thread in pool:
        thread.start()
    early: dict[int, tuple[Any, BaseException | None]] = {}
    numbered = enumerate(items)
    sent = 0
    try:
        for _, task in zip(range(under_way or threads * _AHEAD), numbered, strict=False):
            tasks.put(task)
            sent += 1
        place = 0
        while place < sent:
            while place not in early:
                index, value, failure = done.get()
                early[index] = (value, failure)
            result, error = early.pop(place)
            place += 1
            if error is not None:
                raise error
            yield result
            for task in numbered:
                tasks.put(task)
                sent += 1
                break
    finally:
        _take_back(tasks)
        for _ in pool:
            tasks.put(None)
        for thread in pool:
            thread.join()


def _serve(
    work: Callable[[Item], Result],
    tasks: SimpleQueue[tuple[int, Item] | None],
    done: SimpleQueue[tuple[int, Any, BaseException | None]],
) -> None:
    while (task := tasks.get()) is not None:
        index, item = task
        try:
            done.put((index, work(item), None))
        except BaseException as error:  # noqa: BLE001 - raised again where the result is waited for
            done.put((index, None, error))


def _take_back(tasks: SimpleQueue[Any]) -> None:
    try:
        while True:
            tasks.get_nowait()
    except Empty:
        return
