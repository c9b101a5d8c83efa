"""What is done to train images beyond the crop and the mirror: angles and noise, read off and compared.

The references are crops that torchvision draws, Pillow makes, torchvision turns and torch makes noisy; they
are read like the loader's, so what reading leaves uncertain is the same on both sides. Each comparison may
be wrong with probability ALPHA, of which ``crops.py`` does the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from throughput.certificate.chance import SMALLEST_KS_SAMPLE, ks_distance, ks_limit
from throughput.certificate.coordinates import MARGIN, Coordinates, fit_planes
from throughput.certificate.crops import ALPHA
from throughput.certificate.delivery import Delivery, deliver
from throughput.certificate.images import OwnImages
from throughput.certificate.reference import cropped_pixels, decode, draw_crops, turned_pixels
from throughput.certificate.values import MEAN_LIMIT
from throughput.contracts import LoaderFactory, Work
from throughput.results import Check

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

LEAST_DEGREES = 2.0
LEAST_NOISE = 3 / 255
"""Below these, what decoders and resizes leave uncertain weighs as much as what is looked for."""
_SIZE = 32
"""Of the crops that are looked at, in pixels, or the work's own size where that is smaller."""
_EPOCHS = (0, 1)


class _Place(NamedTuple):
    """Where each of M samples came, (M,) each: its id, epoch, batch and place in the batch."""

    ids: Rows
    epochs: Rows
    batches: Rows
    places: Rows


@dataclass(frozen=True)
class _Seen:
    """images: (M, C, S, S) float32 in 0..1, black and white, in the order of ``where``."""

    where: _Place
    images: torch.Tensor


def augmentation_checks(factory: LoaderFactory, options: Any, work: Work, steady: OwnImages) -> list[Check]:
    """Checks of the angles and of the noise that the work asks for; none where it asks for none.

    Angles are read off colour images only. Raises BrokenError and UnknownIdsError.
    """
    asked = work.augmentation
    over = replace(work, source=steady.source, split="train", image_size=min(work.image_size, _SIZE))
    checks = []
    if asked.rotation_degrees >= LEAST_DEGREES and work.channels == 3:
        turned = replace(over, augmentation=replace(asked, noise=0.0))
        checks += _both(factory, options, turned, steady, _rotation_checks)
    if asked.noise >= LEAST_NOISE:
        noisy = replace(over, augmentation=replace(asked, rotation_degrees=0.0))
        checks += _both(factory, options, noisy, steady, _noise_checks)
    return checks


def _both(
    factory: LoaderFactory,
    options: Any,
    work: Work,
    own: OwnImages,
    judge: Callable[[_Seen, _Seen, Work, list[Coordinates]], list[Check]],
) -> list[Check]:
    """Judge what the loader delivers, beside the reference; nothing where too few samples came."""
    ours = _delivered(factory, options, work, own)
    if len(ours.where.ids) < 2 * SMALLEST_KS_SAMPLE:
        return []
    known = [own.images[sample].coordinates for sample in ours.where.ids.tolist()]
    images = [one for one in known if one is not None]
    return judge(ours, _reference(ours.where, images, work, own), work, images)


def _delivered(factory: LoaderFactory, options: Any, work: Work, own: OwnImages) -> _Seen:
    """Two epochs, without samples that do not belong."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (work.mean, work.std))
    images: list[torch.Tensor] = []
    sizes: list[int] = []

    def look(ready: torch.Tensor, ids: Rows) -> None:
        images.append(ready.float().cpu() * std + mean)
        sizes.append(len(ids))

    delivery = deliver(factory, options, work, _EPOCHS, look)
    where = _places(delivery, sizes)
    train = set(own.ids("coordinates", "train").tolist())
    right = np.array([sample in train for sample in where.ids.tolist()], np.bool_)
    return _Seen(_Place(*(part[right] for part in where)), torch.cat(images)[torch.from_numpy(right)])


def _places(delivery: Delivery, sizes: list[int]) -> _Place:
    epochs = np.repeat(np.arange(len(delivery.epochs)), [len(epoch.ids) for epoch in delivery.epochs])
    places = np.concatenate([np.arange(size) for size in sizes])
    batches = np.repeat(np.arange(len(sizes)), sizes)
    first = [int((epochs < epoch).sum()) for epoch in range(len(delivery.epochs))]
    batches -= batches[np.minimum(first, len(batches) - 1)][epochs]
    return _Place(np.concatenate([epoch.ids for epoch in delivery.epochs]), epochs, batches, places)


def _reference(where: _Place, images: list[Coordinates], work: Work, own: OwnImages) -> _Seen:
    """As many samples as came, made without any of the loaders' code."""
    asked = work.augmentation
    seed = int(np.random.SeedSequence([work.seed, 0xA17E]).generate_state(1, np.uint64)[0] >> 1)
    sizes = np.array([(image.width, image.height) for image in images], np.int64)
    boxes = draw_crops(sizes, asked, seed)
    mirror = np.random.default_rng(seed).random(len(images)) < asked.flip
    made = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        for sample, (left, top, width, height), mirrored in zip(
            where.ids.tolist(), boxes.tolist(), mirror.tolist(), strict=True
        ):
            image = decode(own.source.read(sample), work.channels)
            box = (left, top, left + width, top + height)
            pixels = cropped_pixels(image, box, work.image_size, mirror=mirrored, upside_down=False)
            if asked.rotation_degrees:
                pixels = turned_pixels(pixels, asked.rotation_degrees)
            crop = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
            made.append(crop + asked.noise * torch.randn(crop.shape) if asked.noise else crop)
    return _Seen(where, torch.stack(made))


def _rotation_checks(ours: _Seen, theirs: _Seen, work: Work, images: list[Coordinates]) -> list[Check]:
    mine, other = (_angles(seen, images) for seen in (ours, theirs))
    limit = work.augmentation.rotation_degrees
    low, high = np.percentile(mine, (5, 95))
    words = (
        f"90 % of the crops are turned by {low:.1f} to {high:.1f} degrees, "
        f"torchvision's up to {limit:g} either way by {np.percentile(other, 5):.1f} to "
        f"{np.percentile(other, 95):.1f}"
    )
    return [
        _compared("train.rotation", mine, other, words),
        *(
            _compared(
                f"train.rotation_{name}",
                mine[first] - mine[second],
                other[first] - other[second],
                f"the angle of {what} is another one",
            )
            for name, what, first, second in _pairs(ours.where)
        ),
    ]


def _angles(seen: _Seen, images: list[Coordinates]) -> Floats:
    """Degrees that each crop is turned by, (M,): where its channel that rises downwards rises to.

    A mirror image changes nothing about that, nor does the shape of the crop.
    """
    channels = seen.images.shape[1]
    planes = fit_planes(seen.images, (0.0,) * channels, (1.0,) * channels)
    rows, down = np.arange(len(images)), np.array([image.down for image in images])
    return np.asarray(np.degrees(np.arctan2(planes.across[rows, down], planes.down[rows, down])))


def _noise_checks(ours: _Seen, theirs: _Seen, work: Work, images: list[Coordinates]) -> list[Check]:
    mine, other = (_noise_of(seen.images) for seen in (ours, theirs))
    std, std_wanted = (255 * noise.pow(2).mean((1, 2)).sqrt().double().numpy() for noise in (mine, other))
    words = f"noise of {std.mean():.2f} grey levels is added, and the reference's is {std_wanted.mean():.2f}"
    checks = [_compared("train.noise", std, std_wanted, words)]
    if work.channels == 3:
        checks.append(_check_noise_mean(ours.images, work, images))
        between = [
            _likeness(noise[:, [0, 0, 1]].flatten(0, 1), noise[:, [1, 2, 2]].flatten(0, 1)).reshape(-1, 3)
            for noise in (mine, other)
        ]
        words = "each channel has noise of its own"
        checks.append(_compared("train.noise_channels", between[0].mean(1), between[1].mean(1), words))
    for name, what, first, second in _pairs(ours.where):
        alike, alike_by_chance = (
            _likeness(noise[first].flatten(1), noise[second].flatten(1)) for noise in (mine, other)
        )
        words = f"the noise of {what} is another one"
        checks.append(_compared(f"train.noise_{name}", alike, alike_by_chance, words))
    return checks


def _noise_of(images: torch.Tensor) -> torch.Tensor:
    """What a plane with a square term leaves over of each crop's inner part, (M, C, P) in 0..1 units."""
    size = images.shape[-1]
    margin = round(size * MARGIN)
    inner = images[:, :, margin : size - margin, margin : size - margin].flatten(2).double()
    across, down = torch.meshgrid(*[torch.linspace(-1, 1, size - 2 * margin).double()] * 2, indexing="xy")
    terms = torch.stack([torch.ones_like(down), across, down, down.square()]).flatten(1)
    basis: torch.Tensor = torch.linalg.qr(terms.T).Q
    return (inner - (inner @ basis) @ basis.T).float()


def _check_noise_mean(images: torch.Tensor, work: Work, own: list[Coordinates]) -> Check:
    """In the flat channels, whose level is known. The mean of n Gaussian values is bounded by its tail."""
    size = images.shape[-1]
    margin = round(size * MARGIN)
    rows, flat = torch.arange(len(own)), torch.tensor([image.flat for image in own])
    inner = images[rows, flat, margin : size - margin, margin : size - margin].double()
    codes = np.array([image.code for image in own])
    off = float((255 * inner.mean((1, 2)).numpy() - codes).mean())
    chance = 255 * work.augmentation.noise * math.sqrt(2 * math.log(2 / ALPHA) / inner.numel())
    limit = MEAN_LIMIT + chance
    words = f"noise shifts the images by {off:+.2f} grey levels on average"
    return Check("train.noise_mean", abs(off) <= limit, words, abs(off), limit)


def _likeness(first: torch.Tensor, second: torch.Tensor) -> Floats:
    """Correlation of each row with the same row of the other, (M,), of (M, P) of zero mean."""
    return np.asarray(torch.cosine_similarity(first, second, dim=1).double().numpy())


def _pairs(where: _Place) -> list[tuple[str, str, Rows, Rows]]:
    """Samples that share what faulty random streams are keyed by: names, words, and the rows of each pair.

    Within a set of pairs each row comes once, so honest pairs are independent.
    """
    first, second = (np.flatnonzero(where.epochs == epoch) for epoch in _EPOCHS)
    most_places, most_batches = where.places.max() + 1, where.batches.max() + 1
    place = where.batches * most_places + where.places
    even, odd = (np.flatnonzero(where.batches % 2 == rest) for rest in (0, 1))
    pair = (where.epochs * most_batches + where.batches // 2) * most_places + where.places
    ids = where.ids
    return [
        ("epochs", "a sample in the next epoch", *_matched(first, ids[first], second, ids[second])),
        ("places", "the same place in the next epoch", *_matched(first, place[first], second, place[second])),
        ("batches", "the same place in the next batch", *_matched(even, pair[even], odd, pair[odd])),
    ]


def _matched(first: Rows, first_keys: Rows, second: Rows, second_keys: Rows) -> tuple[Rows, Rows]:
    """The rows on either side that have a key in common, in the same order."""
    _, one, other = np.intersect1d(first_keys, second_keys, return_indices=True)
    return first[one], second[other]


def _compared(name: str, ours: Floats, theirs: Floats, words: str) -> Check:
    if len(ours) < SMALLEST_KS_SAMPLE:
        return Check(name, True, f"too few samples came to compare: {len(ours)}")
    distance, limit = ks_distance(ours, theirs), ks_limit(len(ours), ALPHA)
    words += f"; over {len(ours):,} the distributions differ by {distance:.3f} (chance: up to {limit:.3f})"
    return Check(name, distance <= limit, words, distance, limit)
