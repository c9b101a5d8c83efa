"""One photograph that nobody took: a plan drawn from a seed, and its pixels and JPEG bytes.

What a decoder has to do follows ImageNet's photos: their sizes, qualities, chroma subsampling and bits
per pixel, with bits that come from 1/f texture, edges and sensor noise. What there is to learn is
spread over the whole photo, so that a small crop, mirrored or not, still shows it: the class is a
texture (orientation), a pair of colours and an outline, all varied from photo to photo.
"""

from __future__ import annotations

import colorsys
import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Chroma = Literal["4:4:4", "4:2:0", "4:2:2", "grey"]
Field = NDArray[np.float32]

_PERIOD = 101
"""Chroma layouts repeat after this many photos. A prime, so that no number of classes lines up with it."""
_TILE = 1024
"""Side of a noise tile in pixels; no photo is larger."""
_QUALITIES = (96, 92, 90, 85, 80, 75, 99)
_QUALITY_SHARES = (0.68, 0.07, 0.07, 0.05, 0.05, 0.05, 0.03)
_ASPECTS = (4 / 3, 3 / 2, 1.2, 1.0, 16 / 9)
_ASPECT_SHARES = (0.56, 0.26, 0.08, 0.07, 0.03)
_TEXTURES = 4
_OUTLINES = 3


@dataclass(frozen=True)
class Photo:
    """What a photo is like, before it has pixels.

    width, height: pixels. quality: libjpeg's scale. chroma: subsampling of the colour planes.
    detail: factor on fine texture and sensor noise; its spread gives the spread of bits per pixel.
    """

    width: int
    height: int
    quality: int
    chroma: Chroma
    detail: float


@dataclass(frozen=True)
class Noise:
    """Fields of unit variance, (2 * 1024, 2 * 1024) float32: a tile repeated, so that any crop is a view.

    pink: amplitude 1/f, the spectrum of natural scenes (Field, "Relations between the statistics of
    natural images and the response properties of cortical cells", JOSA A 1987).
    clouds: its lowest frequencies only.
    grain: a sensor's white noise, slightly correlated as demosaicing leaves it.
    """

    pink: Field
    clouds: Field
    grain: Field


def plan_photo(seed: int, index: int) -> Photo:
    """Draw photo ``index`` of a set. The shares and spreads are fitted to a sample of ImageNet."""
    rng = np.random.default_rng([seed, index, 0])
    kind = rng.random()
    if kind < 0.72:
        longer = 500.0
    elif kind < 0.86:
        longer = rng.uniform(110, 480)
    else:
        longer = 510 + 514 * rng.random() ** 2
    shorter = longer / rng.choice(_ASPECTS, p=_ASPECT_SHARES)
    width, height = (shorter, longer) if rng.random() < 0.25 else (longer, shorter)
    return Photo(
        width=round(width),
        height=round(height),
        quality=int(rng.choice(_QUALITIES, p=_QUALITY_SHARES)),
        chroma=_chroma((seed + 37 * index) % _PERIOD),
        detail=float(np.exp(np.clip(rng.normal(-1.05, 1.3), -3.0, 1.0))),
    )


def render_photo(noise: Noise, seed: int, index: int, label: int, classes: int) -> bytes:
    """Paint and encode photo ``index`` of a set: a baseline JPEG of class ``label`` of ``classes``."""
    photo = plan_photo(seed, index)
    pixels = paint(noise, photo, np.random.default_rng([seed, index, 1]), label, classes)
    image = Image.fromarray(pixels)
    encoded = io.BytesIO()
    if photo.chroma == "grey":
        image.convert("L").save(encoded, "JPEG", quality=photo.quality)
    else:
        image.save(encoded, "JPEG", quality=photo.quality, subsampling=photo.chroma)
    return encoded.getvalue()


def paint(
    noise: Noise, photo: Photo, rng: np.random.Generator, label: int, classes: int
) -> NDArray[np.uint8]:
    """The photo's pixels, (height, width, 3) uint8 RGB."""
    shape = (photo.height, photo.width)
    clouds = _crop(noise.clouds, rng, shape)
    pattern = _texture(label % _TEXTURES, rng, shape, clouds)
    things = _outlines(label % _OUTLINES, rng, shape)
    # Inside the things the two colours change places: an edge, and no pixel without the class in it.
    mix = pattern + things - 2 * pattern * things
    ground, figure = _palette(label // _TEXTURES, math.ceil(classes / _TEXTURES), rng)
    # Photos are sharp in places and soft in others.
    focus = photo.detail * np.clip(1 + 0.8 * _crop(noise.clouds, rng, shape), 0.15, 2.5)
    light = np.maximum(1 + 0.35 * clouds + 0.3 * (things - 0.5), 0.25)
    luma = focus * (9 * _crop(noise.pink, rng, shape) + 2.8 * _crop(noise.grain, rng, shape))
    tint = focus * (_crop(noise.pink, rng, shape) + 0.5 * _crop(noise.grain, rng, shape))
    canvas = np.empty((*shape, 3), np.float32)
    for channel, (back, front, sway) in enumerate(zip(ground, figure, (0.8, -0.2, -0.8), strict=True)):
        canvas[..., channel] = (back + (front - back) * mix) * light + luma + sway * tint
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _chroma(slot: int) -> Chroma:
    """76 % 4:4:4, 20 % 4:2:0, 2 % grey and 1 % 4:2:2, exactly so in every period, not only on average."""
    if slot == 0:
        return "4:2:2"
    if slot <= 2:
        return "grey"
    return "4:2:0" if slot <= 22 else "4:4:4"


def make_noise() -> Noise:
    """The noise that every photo is cut from; always the same, about half a second to make."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :])
    pink = 1 / np.maximum(frequency, 4 / _TILE)
    return Noise(
        pink=_filtered(rng, pink),
        clouds=_filtered(rng, pink * np.exp(-((frequency * 110) ** 2))),
        grain=_filtered(rng, np.exp(-((frequency / 0.45) ** 2))),
    )


def _filtered(rng: np.random.Generator, gain: NDArray[np.float64]) -> Field:
    """White noise through a filter, of zero mean and unit variance: one tile, repeated 2 x 2."""
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE, _TILE))) * gain
    spectrum[0, 0] = 0
    tile = np.fft.irfft2(spectrum)
    return np.tile((tile / tile.std()).astype(np.float32), (2, 2))


def _crop(noise: Field, rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """A view of the noise at a random place, (height, width) float32, perhaps mirrored."""
    top, left = rng.integers(_TILE, size=2)
    crop = noise[top : top + shape[0], left : left + shape[1]]
    return crop[:: int(rng.choice((-1, 1))), :: int(rng.choice((-1, 1)))]


def _texture(kind: int, rng: np.random.Generator, shape: tuple[int, int], clouds: Field) -> Field:
    """A warped pattern in 0..1, (height, width) float32: level, upright or slanting bands, or spots.

    A mirror image of each is of the same kind.
    """
    period = rng.uniform(18, 30) * (1, 1, 1.5, 0.85)[kind]
    down = np.arange(shape[0], dtype=np.float32)[:, None] * np.float32(2 * math.pi / period)
    across = np.arange(shape[1], dtype=np.float32)[None, :] * np.float32(2 * math.pi / period)
    tilt = rng.normal(0, 0.12) + (0, math.pi / 2, rng.choice((-1, 1)) * math.pi / 4, math.pi / 4)[kind]
    along = np.float32(math.cos(tilt)) * down + np.float32(math.sin(tilt)) * across + 1.3 * clouds
    wave = np.sin(along + np.float32(rng.uniform(0, 2 * math.pi)))
    if kind == 3:
        beside = np.float32(math.cos(tilt)) * across - np.float32(math.sin(tilt)) * down + 1.3 * clouds
        wave = 2 * wave * np.sin(beside) - 0.4
    sharpness = np.float32(rng.uniform(1.0, 3.0))
    pattern: Field = np.clip(0.5 + 0.5 * sharpness * wave, 0, 1).astype(np.float32, copy=False)
    return pattern


def _outlines(kind: int, rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """A few things in the scene, (height, width) float32 of 0 and 1: discs, boxes or triangles."""
    height, width = shape
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(3, 7)):
        x, y = rng.random() * width, rng.random() * height
        radius = rng.uniform(0.07, 0.22) * max(shape)
        if kind == 0:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
        else:
            draw.regular_polygon((x, y, radius), 4 if kind == 1 else 3, rotation=rng.uniform(-15, 15), fill=1)
    return np.asarray(image, np.float32)


def _palette(
    place: int, places: int, rng: np.random.Generator
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Two colours as RGB in 0..255: light and dark, a third of the hue circle apart, and some luck."""
    hue = place / places + rng.normal(0, 0.12 / places)

    def colour(turn: float, value: float) -> tuple[float, float, float]:
        red, green, blue = colorsys.hsv_to_rgb((hue + turn) % 1, rng.uniform(0.2, 0.5), value)
        return 255 * red, 255 * green, 255 * blue

    return colour(0.0, rng.uniform(0.6, 0.9)), colour(1 / 3, rng.uniform(0.25, 0.5))
