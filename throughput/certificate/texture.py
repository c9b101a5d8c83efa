"""Train pixels: crops of finely textured images against the same crops by Pillow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from throughput.certificate.calibration import Calibration
from throughput.certificate.coordinates import Boxes, Coordinates, fit_planes, read_boxes
from throughput.certificate.heldout import PixelLimits, to_levels
from throughput.certificate.images import OwnImages
from throughput.certificate.reference import cropped_pixels, decode
from throughput.contracts import Work
from throughput.results import Check

_EDGE = 0.1
"""Share of a crop's side that is left out: there a resize may or may not look beyond the crop."""
_WAYS = ("no antialiasing", "bicubic", "nearest", "box", "lanczos")


def check_textured(
    own: OwnImages,
    crops: Sequence[tuple[int, torch.Tensor]],
    calibration: Calibration,
    work: Work,
    limits: PixelLimits,
) -> list[Check]:
    """The pixels of train crops, given as ids and ready crops (C, S, S); none where none came, or in grey.

    The box of each is read off its ramps, so it may be misread by a pixel here and there: what nine of
    ten keep to is judged.
    """
    if not crops or work.channels == 1:
        return []  # grey's square term is read to a few pixels only, under a texture
    error = _error(own, crops, calibration, work, "bilinear")
    words = (
        f"nine of ten of {len(crops)} textured crops lie within {error:.2f} grey levels of Pillow's, "
        "on average over a crop"
    )
    if error > limits.textured:
        others = {way: _error(own, crops, calibration, work, way) for way in _WAYS}
        best = min(others, key=lambda way: others[way])
        if others[best] < error / 2:
            words += f": they agree better with a resize with {best} ({others[best]:.2f})"
    return [Check("train.pixels", error <= limits.textured, words, error, limits.textured)]


def _error(
    own: OwnImages,
    crops: Sequence[tuple[int, torch.Tensor]],
    calibration: Calibration,
    work: Work,
    way: str,
) -> float:
    """The mean absolute error that nine of ten crops keep to, in grey levels."""
    images = {sample: decode(own.source.read(sample), work.channels) for sample in {one for one, _ in crops}}
    size = work.image_size
    edge = round(_EDGE * size)
    inner = slice(edge, size - edge)
    errors = []
    for sample, ready in crops:
        coordinates = own.images[sample].coordinates
        assert coordinates is not None
        boxes = read_boxes(calibration.correct(fit_planes(ready[None], work.mean, work.std)), [coordinates])
        wanted = cropped_pixels(
            images[sample],
            _edges(boxes, coordinates),
            size,
            mirror=bool(boxes.mirror[0]),
            upside_down=bool(boxes.upside_down[0]),
            way=way,
        )
        levels = calibration.correct_levels(to_levels(ready[None], work)[0])
        errors.append(float(np.abs(levels - wanted)[inner, inner].mean()))
    return float(np.percentile(errors, 90))


def _edges(boxes: Boxes, image: Coordinates) -> tuple[int, int, int, int]:
    """Left, top, right and lower edge of the one crop in ``boxes``, on whole pixels inside its image."""
    left, top, width, height = (float(part[0]) for part in boxes[:4])
    right = min(max(round(left + width), 1), image.width)
    lower = min(max(round(top + height), 1), image.height)
    return min(max(round(left), 0), right - 1), min(max(round(top), 0), lower - 1), right, lower
