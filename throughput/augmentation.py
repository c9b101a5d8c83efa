"""What becomes of a train image before a model sees it, whatever loader makes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from throughput.errors import OptionError

Crop = Literal["resized", "random", "centre", "none"]
CROPS: tuple[Crop, ...] = ("resized", "random", "centre", "none")


@dataclass(frozen=True)
class Augmentation:
    """The canonical train transform: a crop, resized to the work's size, a horizontal flip, and more.

    area: share of the image's area that a ``resized`` crop may keep (uniform).
    aspect: width / height of a ``resized`` crop (uniform in its logarithm).
    flip: probability of a mirror image.
    crop: ``resized`` is torchvision's RandomResizedCrop; ``random`` a square of 7/8 of the shorter side at a
    random place, ``centre`` the same square in the middle; ``none`` the whole image, for val as well.
    rotation_degrees: the finished crop is turned by up to so many degrees either way (uniform), bilinear,
    black where nothing was.
    noise: standard deviation of the Gaussian noise that is added, each value its own, where black is 0 and
    white 1; the sums are not cut off there.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    crop: Crop = "resized"
    rotation_degrees: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise OptionError(f"crop (--crop) must be one of {', '.join(CROPS)}, got {self.crop!r}")
        _require_range("area", self.area, most=1.0)
        _require_range("aspect", self.aspect, most=math.inf)
        for name, value, most in (
            ("flip (--flip)", self.flip, 1),
            ("rotation_degrees (--rotate)", self.rotation_degrees, 180),
            ("noise (--noise)", self.noise, 1),
        ):
            if not 0 <= value <= most:
                raise OptionError(f"{name} must lie in 0..{most}, got {value!r}")


def _require_range(name: str, bounds: tuple[float, float], most: float) -> None:
    """Raise OptionError unless ``bounds`` are two finite numbers above 0, in order, ``most`` at most."""
    if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] <= most or math.isinf(bounds[1]):
        upper = f" and {most:g} at most" if math.isfinite(most) else ""
        raise OptionError(f"{name} must be two numbers, the smaller first, above 0{upper}, got {bounds!r}")
