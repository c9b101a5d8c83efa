"""The held-out images, answered for and counted: bad ones that are left out are told by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from throughput.contracts import Batch, Fault, Source
from throughput.measure.feed import Feed
from throughput.measure.labels import Labels
from throughput.measure.ledger import Ledger
from throughput.ranks.company import Company
from throughput.ranks.judging import predict_together
from throughput.ranks.ledgers import LedgerOfAll
from throughput.results import LedgerCount
from throughput.training.predictions import Predictions


def predict_counted(
    answer: Callable[[Tensor], Tensor], feed: Feed, source: Source, company: Company
) -> tuple[Predictions, LedgerCount]:
    """``predict_together`` for all held-out images of a source, and what came of them. Raises LoaderError."""
    ids = source.ids("val")
    ledger = Ledger(ids, Labels(source.labels), keeps_seen=company.size > 1)
    ledger.begin(0)

    def batches() -> Iterator[Batch]:
        for batch in feed.epoch(0):
            ledger.add_batch(batch)
            yield batch

    def take_faults() -> list[Fault]:
        faults = feed.take_faults()
        ledger.add_faults(faults)
        return faults

    found = predict_together(answer, batches(), ids, take_faults, company)
    ledger.end()
    if len(ids) < company.size:
        return found, ledger.count()  # each rank judges all of so few
    return found, LedgerOfAll(ledger, company).count()
