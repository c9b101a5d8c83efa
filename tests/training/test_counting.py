"""Held-out images that are bad are left out of what a model is judged by, and told by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from throughput.choices import choose_work
from throughput.contracts import Work
from throughput.registry import load_report
from throughput.sources import FolderSource, open_source
from throughput.testing import write_contract_images
from throughput.training.course import Training
from throughput.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture
def bad(tmp_path: Path) -> tuple[Work, str]:
    """Work whose held-out images are one bad one and others, and the file of that one."""
    source = open_source(write_contract_images(tmp_path / "images"))
    assert isinstance(source, FolderSource)
    work = choose_work(source, batch_size=4, image_size=32, workers=1, device="cpu", precision="fp32")
    path = Path(source.path(int(source.ids("val")[1])))
    path.write_bytes(path.read_bytes()[:40])
    return work, str(path)


@pytest.mark.parametrize("on_error", ["skip", "substitute"])
def test_a_bad_held_out_image_is_not_judged_and_told(bad: tuple[Work, str], on_error: str) -> None:
    work, path = bad
    held_out = len(work.source.ids("val"))
    training = Training(replace(work, on_error=on_error), "cnn28", "torchvision", 1)
    results = run(training)
    (row,) = results.rows
    assert row.evaluation is not None
    assert row.evaluation.metrics.images == held_out - 1
    assert row.held_out_ledger is not None
    (epoch,) = row.held_out_ledger.epochs
    assert (epoch.unique, epoch.corrupt, epoch.missing) == (held_out - 1, 1, 0)
    (told,) = results.to_json()["rows"][0]["faults"]
    assert (told["sample"], told["times"]) == (path, 1)
    text = " ".join(load_report("table").render([results]).split())
    assert f"of {held_out} held-out images 1 BAD, left out: {path}:" in text
