"""A loader, opened by its name for a work, as ready batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from throughput.contracts import LoaderFactory, Prepared, Progress, Work, no_progress
from throughput.errors import OptionError
from throughput.measure.feed import Feed
from throughput.options import build_options
from throughput.registry import load_loader, require_usable


@dataclass(frozen=True)
class Feeding:
    """A loader with its options, and what it wrote before it could read the source."""

    factory: LoaderFactory
    options: Any

    @classmethod
    def by(cls, loader: str, options: Mapping[str, Any], work: Work) -> Feeding:
        """The registered loader. Raises OptionError where it cannot train on this work here."""
        factory = load_loader(loader)
        if not factory.takes_work:
            raise OptionError(
                f"the loader {loader!r} reads what it likes, and does not say which images it holds out: "
                "train with a registered loader (`throughput list`)"
            )
        if factory.ceiling:
            raise OptionError(
                f"the loader {loader!r} repeats a few batches, to show a limit: train with another"
            )
        require_usable(factory, work)
        return cls(factory, build_options(factory, options))

    def prepare(self, work: Work, progress: Progress = no_progress) -> Prepared:
        """Convert what the loader cannot read itself."""
        return self.factory.prepare(work, self.options, progress)

    @contextmanager
    def open(self, work: Work) -> Iterator[Feed]:
        """Ready batches of a work that ``prepare`` returned."""
        with self.factory.open(work, self.options) as loader:
            yield Feed(loader, work)


def held_out(work: Work) -> Work | None:
    """The same over the held-out images; None where there are none.

    Bad ones are left out where others would stand in for them in training: these would be judged twice.
    """
    images = len(work.source.ids("val"))
    if not images:
        return None
    on_error = "skip" if work.on_error == "substitute" else work.on_error
    return replace(work, split="val", batch_size=min(work.batch_size, images), on_error=on_error)
