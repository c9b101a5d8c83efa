"""The epochs of a run that lie behind it, as its checkpoint keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from throughput.measured import each_once
from throughput.results import BadSample, EpochCount, LedgerCount, Pass
from throughput.trained import EpochRecord
from throughput.training.errors import CheckpointError


@dataclass(frozen=True)
class Past:
    """records, passes, counts: of each epoch. best_loss, best_epoch: of early stopping, None without it.

    mislabelled, bad_samples: as in LedgerCount.
    """

    records: tuple[EpochRecord, ...] = ()
    passes: tuple[Pass, ...] = ()
    counts: tuple[EpochCount, ...] = ()
    best_loss: float | None = None
    best_epoch: int | None = None
    mislabelled: int = 0
    bad_samples: tuple[BadSample, ...] = ()

    def with_these(self, now: LedgerCount) -> LedgerCount:
        """What came in these epochs and in those of now."""
        return LedgerCount(
            (*self.counts, *now.epochs),
            self.mislabelled + now.mislabelled,
            each_once((*self.bad_samples, *now.bad_samples)),
        )

    def to_plain(self) -> dict[str, Any]:
        """Plain values. How long each batch was waited for is left out: there are many."""
        return {
            "records": [asdict(record) for record in self.records],
            "passes": [[one.images, one.seconds, one.wait_seconds] for one in self.passes],
            "counts": [asdict(one) for one in self.counts],
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "mislabelled": self.mislabelled,
            "bad_samples": [asdict(one) for one in self.bad_samples],
        }


def past_of(path: Path, run: Mapping[str, Any]) -> Past:
    """What ``to_plain`` gave. Raises CheckpointError, naming the file, where it did not give this."""
    try:
        past = Past(
            records=tuple(EpochRecord(**record) for record in run["records"]),
            passes=tuple(Pass(*one) for one in run["passes"]),
            counts=tuple(EpochCount(**one) for one in run["counts"]),
            best_loss=run["best_loss"],
            best_epoch=run["best_epoch"],
            mislabelled=run.get("mislabelled", 0),
            bad_samples=tuple(BadSample(**one) for one in run.get("bad_samples", ())),
        )
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged: it does not tell its epochs ({error})") from error
    begun = past.records or run.get("part") is not None
    if not begun or len(past.passes) != len(past.records):
        raise CheckpointError(f"{path} is damaged: its epochs are not those that it counts")
    return past
