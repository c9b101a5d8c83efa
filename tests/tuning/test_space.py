"""What there is to choose from: every combination that fits into memory, and what the loaders offer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from throughput.contracts import Held, LoaderFactory, Source, Tunable, Work
from throughput.errors import NothingMeasuredError, OptionError
from throughput.options import build_options
from throughput.own_pipeline import OwnPipelineFactory
from throughput.registry import load_loader
from throughput.sources import open_source
from throughput.testing import FakeLoaderFactory, write_contract_images
from throughput.tuning.configuration import Configuration
from throughput.tuning.limits import Limits
from throughput.tuning.space import Space, build_space, worker_counts

PLENTY = Limits(memory_bytes=10**12, shm_free_bytes=10**12)
BATCH_BYTES = 8 * 3 * 32 * 32


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(write_contract_images(tmp_path_factory.mktemp("space") / "images", 10))


@pytest.fixture(scope="module")
def work(source: Source) -> Work:
    return Work(source, image_size=32, batch_size=8, workers=2)


def space_of(work: Work, name: str = "torchvision", limits: Limits = PLENTY, **chosen: Any) -> Space:
    chosen = {"batch_sizes": (8,), "workers": (1, 2, 3, 4)} | chosen
    return build_space(load_loader(name), work, chosen.pop("fixed", {}), limits=limits, **chosen)


def values(space: Space, name: str) -> set[Any]:
    return {one.settings[name] for one in space.grid}


@pytest.mark.parametrize(
    ("cores", "counts"),
    [
        (1, (1, 2)),
        (2, (1, 2, 3, 4)),
        (4, (1, 2, 3, 4, 5, 8)),
        (6, (1, 2, 4, 5, 6, 7, 8, 12)),
        (48, (1, 2, 4, 8, 16, 32, 48, 64, 96)),
    ],
)
def test_workers_go_from_one_to_twice_the_cores(cores: int, counts: tuple[int, ...]) -> None:
    assert worker_counts(cores) == counts


def test_the_grid_is_every_combination(work: Work) -> None:
    space = space_of(work, batch_sizes=(8, 4))
    assert len(space.grid) == len(set(space.grid)) == 2 * 4 * 4
    assert space.searched() == ("workers", "batch", "prefetch")
    assert space.start == Configuration(2, 8, (("prefetch", 2),))


def test_the_star_differs_in_one_setting_the_nearest_first(work: Work) -> None:
    star = space_of(work).star()
    assert star[0] == Configuration(2, 8, (("prefetch", 2),))
    assert all(len(one.differing(star[0])) == 1 for one in star[1:])
    near = [(one.workers, dict(one.options)["prefetch"]) for one in star[1:]]
    assert near == [(1, 2), (3, 2), (2, 1), (2, 4), (4, 2), (2, 8)]


def test_what_the_user_chose_is_not_searched(work: Work) -> None:
    space = space_of(work, fixed={"prefetch": "5"})
    assert space.searched() == ("workers",)
    assert len(space.grid) == 4
    with pytest.raises(OptionError, match="prefetch must be 1 or more"):
        space_of(work, fixed={"prefetch": 0})


def test_a_loader_that_offers_nothing_has_its_workers_searched(work: Work) -> None:
    factory = FakeLoaderFactory()
    space = build_space(factory, work, {}, batch_sizes=(8,), workers=(1, 2), limits=PLENTY)
    assert [one.options for one in space.grid] == [(), ()]
    own = OwnPipelineFactory("mine", lambda work: work)
    assert len(build_space(own, work, {}, batch_sizes=(8, 4), workers=(1, 2), limits=PLENTY).grid) == 4


def test_a_batch_must_fit_into_the_train_split(work: Work) -> None:
    with pytest.raises(OptionError, match="--batch 5000 is larger than the train split"):
        space_of(work, batch_sizes=(8, 5000))


def test_what_shared_memory_cannot_hold_is_left_out_with_the_reason(work: Work) -> None:
    six_batches = Limits(memory_bytes=10**12, shm_free_bytes=6 * BATCH_BYTES)
    space = space_of(work, limits=six_batches)
    held = {(one.workers, dict(one.options)["prefetch"]) for one in space.grid}
    assert held == {(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (3, 1)}
    assert len(space.grid) + len(space.too_large) == 16
    reason = space.too_large[Configuration(4, 8, (("prefetch", 8),))]
    assert "36 batches take 1 MB of shared memory, and /dev/shm has 0 MB free" in reason
    assert "--shm-size" in reason


def test_the_search_begins_with_the_nearest_that_fits(work: Work) -> None:
    two_batches = Limits(memory_bytes=10**12, shm_free_bytes=2 * BATCH_BYTES)
    assert space_of(work, limits=two_batches).start == Configuration(1, 8, (("prefetch", 1),))


def test_without_shared_memory_only_the_memory_counts(work: Work) -> None:
    assert not space_of(work, limits=Limits(10**12, None)).too_large
    # A fifth of the memory is for others.
    five_batches = Limits(memory_bytes=5 * BATCH_BYTES, shm_free_bytes=None)
    space = space_of(work, limits=five_batches)
    assert {(one.workers, dict(one.options)["prefetch"]) for one in space.grid} == {(1, 1), (1, 2), (2, 1)}
    assert "of memory, more than 80%" in next(iter(space.too_large.values()))


def test_nothing_fits(work: Work) -> None:
    with pytest.raises(
        NothingMeasuredError, match=r"nothing fits into memory; workers 1, .*prefetch 1: 2 batches"
    ):
        space_of(work, limits=Limits(10**12, 0))


@pytest.mark.parametrize("name", ["torchvision", "webdataset", "dali", "roi"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_loaders_offer_values_that_they_take(work: Work, name: str, device: str) -> None:
    factory = load_loader(name)
    assert isinstance(factory, Tunable)
    for workers in (1, 2, 4, 32):
        here = replace(work, workers=workers, device=device)
        options = build_options(factory, {})
        offered = factory.tunable(here, options)
        assert options.prefetch in offered["prefetch"]
        for option, tried in offered.items():
            assert len(set(tried)) == len(tried)
            for value in tried:
                chosen = build_options(factory, {option: value})
                held = factory.held(here, chosen)
                assert held.batches >= held.shared >= 0


def offered_by(name: str, work: Work, **chosen: Any) -> dict[str, Any]:
    factory = load_loader(name)
    assert isinstance(factory, Tunable)
    return dict(factory.tunable(work, build_options(factory, chosen)))


def test_dali_s_engine_is_tuned_where_a_gpu_decodes(work: Work) -> None:
    on_gpu = replace(work, device="cuda")
    assert "hw_decoder_load" not in offered_by("dali", work)
    assert 0.9 in offered_by("dali", on_gpu)["hw_decoder_load"]
    assert "hw_decoder_load" not in offered_by("dali", on_gpu, decode="cpu")


def test_roi_s_processes_are_never_more_than_its_threads(work: Work) -> None:
    assert offered_by("roi", replace(work, workers=1))["processes"] == (0,)
    assert offered_by("roi", replace(work, workers=2))["processes"] == (0, 2)
    assert offered_by("roi", replace(work, workers=32))["processes"] == (0, 2, 8)
    assert "processes" not in offered_by("roi", replace(work, device="cuda"), decode="gpu")


def held_by(name: str, work: Work, **chosen: Any) -> Held:
    factory = load_loader(name)
    assert isinstance(factory, Tunable)
    return factory.held(work, build_options(factory, chosen))


def test_processes_hold_their_batches_in_shared_memory_and_threads_do_not(work: Work) -> None:
    assert held_by("torchvision", work, prefetch=4) == Held(10, 10)
    assert held_by("webdataset", work, prefetch=4) == Held(10, 10)
    assert held_by("dali", work, prefetch=4) == Held(5, 0)
    assert held_by("dali", replace(work, device="cuda"), prefetch=4) == Held(0, 0)
    assert held_by("roi", work, prefetch=4) == Held(5, 0)
    assert held_by("roi", work, prefetch=4, processes=2).shared == 10


def test_memory_that_was_taken_is_held_against_the_limit() -> None:
    limits = Limits(memory_bytes=1000 * 10**6, shm_free_bytes=None)
    assert limits.exceeded(800 * 10**6) is None
    assert limits.exceeded(801 * 10**6) == (
        "all processes together took 801 MB of memory, more than 80% of the 1,000 MB that there are"
    )


def test_the_limits_are_this_machine_s() -> None:
    from throughput.tuning.limits import limits_here

    found = limits_here()
    assert found.memory_bytes > 0
    assert (found.shm_free_bytes is None) == (not Path("/dev/shm").exists())


class Stubborn(LoaderFactory):
    """Offers a value that its options do not begin with."""

    name = "stubborn"

    def open(self, work: Work, options: Any) -> Any:
        raise NotImplementedError

    Options = FakeLoaderFactory.Options

    def tunable(self, work: Work, options: Any) -> dict[str, tuple[int, ...]]:  # noqa: ARG002 - the contract's
        return {"prefetch": (16, 32)}

    def held(self, work: Work, options: Any) -> Held:  # noqa: ARG002 - the contract's
        return Held(1, 0)


def test_the_search_begins_with_the_options_own_value_in_any_case(work: Work) -> None:
    space = build_space(Stubborn(), work, {}, batch_sizes=(8,), workers=(2,), limits=PLENTY)
    assert dict(space.start.options) == {"prefetch": 2}
    assert values(space, "prefetch") == {2, 16, 32}
