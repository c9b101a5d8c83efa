"""The processes that measure or train together, as the code that does so sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, TypeVar

from throughput.ranks.pace import Pace
from throughput.ranks.place import place

T = TypeVar("T")


class Wish(NamedTuple):
    """What is to come once a step is done. keeps: training is to be kept. stops: it is to end there."""

    keeps: bool = False
    stops: bool = False


class Turn(NamedTuple):
    """A step that all ranks take together: images of this rank's batch, of all batches, and the ranks.

    wish: what any rank wishes.
    """

    own: int
    all: int
    ranks: int
    wish: Wish = Wish()

    @property
    def weight(self) -> float:
        """What this rank's mean loss counts in the mean over ranks, so that each image counts alike."""
        return self.own * self.ranks / self.all


class Seat(NamedTuple):
    """Where a rank runs. cores: on which it may. share: of these, how many are its own, 1 or more."""

    host: str
    cores: frozenset[int]
    share: int


class Company:
    """Several processes; this class itself is one that is alone, for which nothing costs anything.

    What it offers is called by all ranks in the same order, as collectives are.
    """

    rank = 0
    size = 1
    seats: Sequence[Seat] = ()
    leads_machine = True
    """The lowest rank of its machine: others of it wait where something is written once."""

    @property
    def cores(self) -> int | None:
        """How many cores all ranks have together; None of a process by itself."""
        return sum(seat.share for seat in self.seats) or None

    def everyone(self, value: T) -> list[T]:
        """What each rank gives, in their order. Picklable. Raises RankLostError."""
        return [value]

    def first(self, do: Callable[[], T]) -> T:
        """What rank 0 gets by doing it, for all."""
        return self.everyone(do() if self.rank == 0 else None)[0]  # type: ignore[return-value] # it has done it

    def meet(self) -> None:
        """Wait for all others."""
        self.everyone(None)

    @contextmanager
    def first_on_each_machine(self) -> Iterator[None]:
        """Let one rank of a machine go through first: what it writes for all, the others find."""
        if not self.leads_machine:
            self.meet()
        yield
        if self.leads_machine:
            self.meet()

    def turn(self, images: int, wish: Wish = Wish()) -> Turn:  # noqa: B008 - it cannot be changed
        """Say how many images this rank's next batch has, 0 where there is none any more, and its wish."""
        return Turn(images, images, 1, wish)

    def end_soon(self) -> None:
        """All ranks end from here on, each in its own time: none of them is missed by another."""

    def pace(self, *, in_step: bool) -> Pace:  # noqa: ARG002 - a process by itself is in step with itself
        """How passes begin and end. in_step: after the same number of batches in each rank."""
        return Pace(self.meet)

    def group(self, name: str, device: str) -> AbstractContextManager[Company]:  # noqa: ARG002 - as above
        """The same ranks as a process group, by which tensors go from one to the other."""
        return nullcontext(self)


ALONE = Company()


def in_company() -> AbstractContextManager[Company]:
    """All ranks that torchrun started, or this process alone.

    Leaving it in whatever way tells the others. Where one has gone, what is raised in the others becomes a
    RankLostError that names it.
    """
    found = place()
    if found is None:
        return nullcontext(ALONE)
    from throughput.ranks.meeting import meeting

    return meeting(found)


def joined(name: str | None, device: str) -> AbstractContextManager[Company]:
    """The process group of that name, joined by all ranks' measuring processes; None: this process alone."""
    found = None if name is None else place()
    if name is None or found is None:
        return nullcontext(ALONE)
    from throughput.ranks.group import process_group

    return process_group(found, name, device)
