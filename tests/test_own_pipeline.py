"""A pipeline of the user's own is a loader like ours, and what is wrong with one is said in words."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from throughput.contracts import UNKNOWN_ID, Batch, Loader, LoaderFactory, NoOptions, Work
from throughput.errors import LoaderError, OptionError, SampleError, UnknownNameError
from throughput.measure.feed import Feed
from throughput.measure.ledger import Ledger
from throughput.measure.stream import LoaderStream
from throughput.registry import load_loader
from throughput.sources import open_source

SIZE, BATCH = 16, 4

PIPELINES = (Path(__file__).parent / "own_pipelines.py").read_text()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module ``own_pipelines`` that can be imported."""
    path = tmp_path / "own_pipelines.py"
    path.write_text(PIPELINES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_pipelines", raising=False)
    return path


@pytest.fixture
def load(module: Path) -> Callable[[str], LoaderFactory]:  # noqa: ARG001 - it must be there
    return lambda attribute: load_loader(f"own_pipelines:{attribute}")


@pytest.fixture
def work(images: Path) -> Work:
    return Work(open_source(images), image_size=SIZE, batch_size=BATCH)


def pulled(factory: LoaderFactory, work: Work, count: int, ledger: Ledger | None = None) -> list[Batch]:
    """Ready batches as the harness pulls them."""
    with factory.open(work, NoOptions()) as loader:
        stream = LoaderStream(Feed(loader, work), ledger, itertools.count().__next__)
        batches = [stream.pull() for _ in range(count)]
        stream.finish()
    assert sum(one.images for one in batches) == sum(len(one.batch.labels) for one in batches)
    return [one.batch for one in batches]


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


class TestWhatIsTaken:
    def test_a_dataloader_without_work(self, load, work):
        factory = load("plain")
        assert not factory.takes_work
        assert factory.name == "own_pipelines:plain"
        batches = pulled(factory, work, 6, ledger := Ledger(None))
        assert [len(batch.labels) for batch in batches] == [4, 4, 2, 4, 4, 2]
        assert batches[1].labels.tolist() == [1, 2, 0, 1]
        assert batches[0].images.shape == (4, 3, SIZE, SIZE)
        assert set(batches[0].ids.tolist()) == {UNKNOWN_ID}
        assert not ledger.known
        assert ledger.count().epochs == ()

    def test_what_a_dataloader_tells_of_its_length(self, load, work):
        with load("plain").open(work, NoOptions()) as loader:
            assert loader.samples_per_epoch == 10
        with load("generator").open(work, NoOptions()) as loader:
            assert loader.samples_per_epoch == 0, "unknown"

    def test_ids_of_its_own_are_counted(self, load, work):
        pulled(load("with_ids"), work, 6, ledger := Ledger(None))
        count = ledger.count()
        assert ledger.known
        assert count.exact
        assert [(epoch.complete, epoch.unique, epoch.missing) for epoch in count.epochs] == [
            (True, 10, None),
            (True, 10, None),
        ]

    @pytest.mark.parametrize("attribute", ["of_work", "annotated", "keyword", "half_bound"])
    @pytest.mark.parametrize("split", ["train", "val"])
    def test_a_callable_that_takes_the_work(self, load, work, attribute, split):
        work = replace(work, split=split)
        expected = work.source.ids(split)
        factory = load(attribute)
        assert factory.takes_work
        batches = pulled(factory, work, -(-len(expected) // BATCH), ledger := Ledger(expected))
        ids = torch.cat([batch.ids for batch in batches])
        assert sorted(ids.tolist()) == expected.tolist()
        labels = torch.cat([batch.labels for batch in batches])
        assert labels.tolist() == work.source.labels[ids.numpy()].tolist()
        assert ledger.count().exact
        assert ledger.count().worst.complete

    def test_a_split_that_is_smaller_than_a_batch(self, load, work):
        held_out = len(work.source.ids("val"))
        work = replace(work, split="val", batch_size=held_out + 5)
        (batch,) = pulled(load("of_work"), work, 1)
        assert len(batch.labels) == held_out

    @pytest.mark.parametrize("attribute", ["generator", "a_list", "module_level", "module_level_loader"])
    def test_any_iterable_starts_anew_in_each_epoch(self, load, work, attribute):
        factory = load(attribute)
        for _ in range(2):  # opened once for each phase
            assert all(len(batch.labels) >= 2 for batch in pulled(factory, work, 7))

    def test_a_partial_that_leaves_nothing_to_give(self, load, work):
        assert not load("all_bound").takes_work
        assert len(pulled(load("all_bound"), work, 1)) == 1

    def test_a_class_whose_instances_are_iterable_is_told_the_epoch(self, load, work):
        batches = pulled(load("Sized"), work, 3)
        assert [batch.labels[0].item() for batch in batches] == [0, 1, 2]

    def test_dictionaries_with_ids(self, load, work):
        batches = pulled(load("dictionary"), work, 3, ledger := Ledger(np.arange(12)))
        assert [batch.ids.dtype for batch in batches] == [torch.int64] * 3
        assert [batch.labels.dtype for batch in batches] == [torch.int64] * 3
        assert [tuple(batch.labels.shape) for batch in batches] == [(4,)] * 3
        assert ledger.count().worst.unique == 12

    def test_arrays_and_floating_images(self, load, work):
        black_to_white, backwards, floating = pulled(load("arrays"), work, 3)
        assert torch.equal(black_to_white.images, backwards.images)
        assert floating.images.max() == pytest.approx(3 / 255)

    @pytest.mark.parametrize("attribute", ["persistent", "passing", "wrapped"])
    def test_no_process_is_left(self, load, work, attribute):
        before = children()
        factory = load(attribute)
        with factory.open(work, NoOptions()) as loader:
            for epoch in (0, 1):  # the first is left early
                next(iter(loader.epoch(epoch)))
            assert len(children() - before) >= 2
        assert children() <= before

    def test_nobody_claims_to_know_where_it_decodes(self, load, work):
        assert load("plain").decode(work, NoOptions()) is None


class TestWhatIsRefusedBeforeItIsCalled:
    @pytest.mark.parametrize(("attribute", "wanted"), [("needs", "folder"), ("needs_more", "folder")])
    def test_arguments_that_nobody_can_give(self, load, attribute, wanted):
        with pytest.raises(OptionError, match=f"own_pipelines:{attribute} cannot be called.*for {wanted}"):
            load(attribute)

    @pytest.mark.parametrize("attribute", ["NotIterable", "sys.version"])
    def test_what_makes_no_batches(self, load, attribute):
        with pytest.raises(UnknownNameError, match="nor a callable that returns an iterable of batches"):
            load(attribute)

    def test_what_is_not_iterable(self, load, work):
        with (
            pytest.raises(OptionError, match="type NoneType, which cannot be iterated over"),
            load("returns_nothing").open(work, NoOptions()),
        ):
            pass


@pytest.fixture
def serve(module: Path, work: Work) -> Callable[..., list[Batch]]:
    """Pull the one batch that a pipeline of that code yields."""

    def served(code: str) -> list[Batch]:
        module.write_text(f"{PIPELINES}\n\ndef served():\n    yield {code}\n")
        return pulled(load_loader("own_pipelines:served"), work, 1)

    return served


class TestWhatIsNoBatch:
    @pytest.mark.parametrize(
        ("code", "told"),
        [
            ("PIXELS[:4]", "yielded a Tensor: a batch is"),
            ("(PIXELS[:4],)", "yielded a tuple of length 1"),
            ("(1, 2, 3, 4)", "yielded a tuple of length 4"),
            ("plain()", "yielded a DataLoader"),
            ("{'images': PIXELS[:4], 'target': 0}", "a dictionary of images, target: it must hold"),
            ("(PIXELS[0], 0)", r"shape \(3, 16, 16\).*one image is no batch"),
            ("batch(images=PIXELS[:4].permute(0, 2, 3, 1))", r"channels last.*permute\(0, 3, 1, 2\)"),
            ("batch(images=PIXELS[:4].permute(0, 2, 3, 1).numpy())", "channels last"),
            ("batch(images=PIXELS[:4].int())", "images of torch.int32: uint8"),
            ("batch(images='abc')", "images of type str, which torch cannot take"),
            ("batch(images=PIXELS[:4, :, :8, :8])", "give --size 8, or crop to 16"),
            ("batch(images=PIXELS[:4, :, :8])", "the work asks for images of shape"),
            ("batch(images=PIXELS[:4, :1])", "the work asks for images of shape"),
            ("batch(images=PIXELS[:3])", "3 images with 4 labels"),
            ("(PIXELS[:2], torch.zeros(2).long())", "a batch of 2 images.*give --batch 2"),
            ("(PIXELS[:9], torch.zeros(9).long())", "a batch of 9 images.*give --batch 9"),
            ("batch(torch.eye(4).long())", r"labels of shape \(4, 4\).*argmax\(1\)"),
            ("batch(torch.zeros(4))", "labels of torch.float32; whole numbers"),
            ("batch(torch.zeros(4, 1))", "labels of torch.float32"),
            ("batch(['cat'] * 4)", "labels of type list, which torch cannot take"),
            ("(*batch(), torch.arange(3))", "4 images with 3 ids"),
            ("(*batch(), torch.rand(4))", "ids of torch.float32"),
        ],
    )
    def test_it_is_said_what_is_wrong(self, serve, code, told):
        with pytest.raises(LoaderError, match=told):
            serve(code)

    def test_ids_are_given_always_or_never(self, load, work):
        with pytest.raises(LoaderError, match="ids of some samples only"):
            pulled(load("once_with_ids_and_once_without"), work, 2, Ledger(None))

    @pytest.mark.parametrize(
        ("attribute", "epoch", "cause"),
        [("empty", 0, "it is empty, or holds less than"), ("drained_in_epoch_1", 1, "every epoch iterates")],
    )
    def test_an_epoch_without_batches(self, load, work, attribute, epoch, cause):
        with pytest.raises(LoaderError, match=f"no batch in epoch {epoch}: {cause}"):
            pulled(load(attribute), work, 2)


class TestWhatFails:
    @pytest.mark.parametrize(
        ("attribute", "cause", "mark"),
        [
            ("fails_when_called", r"KeyError: 'no such\\nfolder'", "# here"),
            ("fails_in_a_library", "RuntimeError: shape", "# in here"),
            ("fails_on_the_way", "ZeroDivisionError: the second batch", "# on the way"),
            ("fails_in_a_worker", "ValueError: index 9", "# in a worker"),
            ("leaves", "SystemExit: 3", "sys.exit(3)"),
        ],
    )
    def test_the_error_names_the_user_s_line(self, load, work, module, attribute, cause, mark):
        line = next(n for n, text in enumerate(PIPELINES.splitlines(), 1) if mark in text)
        with pytest.raises(LoaderError) as caught:
            pulled(load(attribute), work, 3)
        told = str(caught.value)
        assert told.startswith(cause.replace("\\\\", "\\"))
        assert told.endswith(f" ({module}:{line})")
        assert "\n" not in told

    def test_a_bad_sample_keeps_its_name(self, load, work):
        with pytest.raises(SampleError, match=r"cat\.jpg"):
            pulled(load("meets_a_bad_sample"), work, 1)

    def test_no_worker_is_left(self, load, work):
        before = children()
        with pytest.raises(LoaderError):
            pulled(load("fails_in_a_worker"), work, 3)
        assert children() <= before


def test_reading_ahead_of_an_endless_pipeline_is_not_needed_to_finish() -> None:
    """Without a number of samples, finishing must not wait for a batch that may never come."""

    class Endless(Loader):
        samples_per_epoch = 0

        def epoch(self, index: int) -> Iterator[Batch]:  # noqa: ARG002 - there is only one
            yield Batch(torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
            raise AssertionError("another batch was waited for")

    stream = LoaderStream(Endless(), Ledger(None), itertools.count().__next__)
    stream.pull()
    stream.finish()
