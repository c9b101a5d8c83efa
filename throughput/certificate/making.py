"""Make a certificate: a few thousand images of our own, and some of the user's, through one loader."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from throughput.certificate.augmenting import LEAST_DEGREES, LEAST_NOISE, augmentation_checks
from throughput.certificate.coordinates import SMALLEST_SIZE
from throughput.certificate.delivery import BrokenError, UnknownIdsError, deliver
from throughput.certificate.heldout import PixelLimits, data_checks, held_out_checks, limits_for
from throughput.certificate.images import OwnImages, own_images
from throughput.certificate.rollcall import check_ranks
from throughput.certificate.train import STEADY_SIZE, train_checks
from throughput.contracts import LoaderFactory, Progress, Work, no_progress
from throughput.registry import missing_requirements
from throughput.results import Certificate, Check

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

MOST_BATCH = 64
FEWEST_WORKERS, MOST_WORKERS = 2, 4
"""One worker alone could not share its random stream with another; more than four show nothing new."""
MOST_DATA_IMAGES = 64

_GREY = (
    "grey work: whether train crops hold their own image's pixels, their exact scale, their antialiasing and "
    "the angles that they are turned by were not looked at"
)
_ROUNDING_LEVELS = {"bfloat16": 0.6, "float16": 0.1}
"""Grey levels that rounding a normalised value adds to an error at most: half a unit in the last of 8 or 11
significant bits of values up to 4, times a standard deviation of 0.3."""


def make_certificate(
    factory: LoaderFactory,
    options: Any,
    work: Work,
    *,
    data: bool,
    progress: Progress = no_progress,
) -> Certificate:
    """Whether a loader does the canonical work at the size, device, seed and dtype of ``work``.

    It runs in this process. ``data``: look at the held-out images of ``work.source`` as well. Whatever the
    loader raises is a failed check; RoomError is raised where the certificate's own images find no room.
    """
    reason = _why_not(factory, work)
    if reason is not None:
        return Certificate(None, reason=reason)
    start = time.perf_counter()
    steady = own_images("steady", work.channels, progress)
    mixed = own_images("mixed", work.channels, progress)
    # The finishing is the same for every loader; in float32 its rounding does not blur what is looked at.
    own = replace(
        work,
        batch_size=min(work.batch_size, MOST_BATCH),
        workers=min(max(work.workers, FEWEST_WORKERS), MOST_WORKERS),
        compute_dtype="float32",
        rank=0,
        world_size=1,
    )
    dtype = work.compute_dtype
    limits = limits_for(factory.decode(work, options))
    # Boxes are read off crops that are neither turned nor noisy: what is added to them is looked at apart.
    plain = replace(own, augmentation=replace(own.augmentation, rotation_degrees=0.0, noise=0.0))
    held_out = replace(own, source=mixed.source, split="val")
    over_steady = replace(own, source=steady.source, image_size=min(own.image_size, STEADY_SIZE))
    stages: list[tuple[str, str, Callable[[], list[Check]]]] = [
        ("val", "held-out pixels", lambda: held_out_checks(factory, options, held_out, mixed, limits)),
        (
            "val",
            "batches as the model takes them",
            lambda: _check_ready(factory, options, replace(held_out, compute_dtype=dtype), mixed, limits),
        ),
        ("train", "train crops", lambda: train_checks(factory, options, plain, steady, mixed, limits)),
        (
            "train",
            "angles and noise",
            # What they are read off must be sound.
            lambda: (
                augmentation_checks(factory, options, own, steady)
                if all(check.ok for check in checks if check.name.startswith("train."))
                else []
            ),
        ),
    ]
    if factory.shares_ranks or work.world_size > 1:
        held_out_steady = replace(over_steady, split="val")
        stages += [
            (
                "val",
                "two ranks, held-out",
                lambda: [check_ranks("val.ranks", factory, options, held_out_steady)],
            ),
            ("train", "two ranks", lambda: [check_ranks("train.ranks", factory, options, over_steady)]),
        ]
    if data:
        of_user = replace(own, source=work.source, split="val")
        stages.append(
            (
                "data",
                "your held-out images",
                lambda: data_checks(factory, options, of_user, limits, MOST_DATA_IMAGES),
            )
        )
    checks: list[Check] = []
    broken: set[str] = set()
    for done, (prefix, text, stage) in enumerate(stages):
        progress(f"certifying {factory.name}: {text}", done, len(stages))
        if prefix in broken:
            continue  # it would fail there in the same way
        try:
            checks += stage()
        except BrokenError as error:
            checks = [check for check in checks if check.name != f"{prefix}.{error.check}"]
            checks.append(Check(f"{prefix}.{error.check}", False, f"{prefix}: {error.words}"))
            broken.add(prefix)
        except UnknownIdsError:
            return Certificate(
                None,
                reason="the pipeline does not tell which samples its batches hold, so nobody can say whether "
                "they are the right ones: yield (images, labels, ids)",
                seconds=time.perf_counter() - start,
            )
    comparable = all(check.ok for check in checks)
    seconds = time.perf_counter() - start
    return Certificate(comparable, tuple(checks), _not_looked_at(work), seconds)


def _not_looked_at(work: Work) -> str | None:
    """What of the work nothing was read off, in words; None where all was looked at."""
    asked = work.augmentation
    said = [_GREY] if work.channels == 1 else []
    if 0 < asked.rotation_degrees < LEAST_DEGREES and work.channels == 3:
        said.append(f"angles of less than {LEAST_DEGREES:g} degrees are too small to be read off")
    if 0 < asked.noise < LEAST_NOISE:
        said.append(f"noise of less than {LEAST_NOISE:.3f} is too weak to be read off")
    return "; ".join(said) or None


def _why_not(factory: LoaderFactory, work: Work) -> str | None:
    """Why the loader cannot be certified, or None."""
    if factory.ceiling:
        return f"{factory.name} repeats samples on purpose: it shows a limit and is compared with nothing"
    if not factory.takes_work:
        return (
            "this pipeline takes no Work, so nobody knows whether it crops, mirrors and normalises like the "
            "others: let it take one argument named `work`"
        )
    if missing := missing_requirements(factory):
        return "; ".join(f"{one.module} is missing: {one.install}" for one in missing)
    if work.image_size < SMALLEST_SIZE:
        return (
            f"crops of {work.image_size} px are too small to read anything off: "
            f"at least {SMALLEST_SIZE} are needed"
        )
    return factory.why_not(work)


def _check_ready(
    factory: LoaderFactory, options: Any, held_out: Work, mixed: OwnImages, limits: PixelLimits
) -> list[Check]:
    """The held-out pixels in the dtype that the model takes; in float32 they have been looked at.

    A loader that normalises by itself may do so in another way there.
    """
    dtype = held_out.compute_dtype
    if dtype == "float32":
        return []
    deliver(factory, options, replace(held_out, split="train"), [0], _see, most_samples=1)
    wider = limits.wider_by(_ROUNDING_LEVELS[dtype])
    failed = [one for one in held_out_checks(factory, options, held_out, mixed, wider) if not one.ok]
    words = failed[0].words if failed else f"held-out images are the same in {dtype}"
    return [Check(f"val.{dtype}", not failed, f"in {dtype}: {words}" if failed else words)]


def _see(images: torch.Tensor, ids: NDArray[np.int64]) -> None:
    """Nothing more: that there are ready images is what was asked."""
