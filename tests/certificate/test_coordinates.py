"""A crop's box is read off its pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from throughput.certificate.coordinates import Coordinates, fit_planes, paint_coordinates, read_boxes

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def ready(image: Coordinates, box: tuple[int, int, int, int], size: int, channels: int) -> torch.Tensor:
    """The crop through a JPEG and Pillow's resize, normalised: (1, C, S, S)."""
    encoded = io.BytesIO()
    Image.fromarray(paint_coordinates(image, channels)).save(encoded, "JPEG", quality=100, subsampling=0)
    pixels = np.array(Image.open(encoded).crop(box).resize((size, size), Image.Resampling.BILINEAR))
    tensor = torch.from_numpy(pixels.reshape(size, size, channels)).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values[:channels]).view(-1, 1, 1) for values in (MEAN, STD))
    return (tensor - mean) / std


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("shape", [(100, 75), (180, 60), (60, 180), (640, 480)])
@pytest.mark.parametrize("flat", [0, 1, 2])
def test_boxes_are_read_to_less_than_a_pixel(size: int, shape: tuple[int, int], flat: int) -> None:
    image = Coordinates(*shape, flat=flat, code=100)
    box = (shape[0] // 5, shape[1] // 4, shape[0] // 5 + shape[0] // 2, shape[1] // 4 + shape[1] // 3)
    crop = ready(image, box, size, 3)
    planes = fit_planes(crop, MEAN, STD)
    boxes = read_boxes(planes, [image])
    found = [float(boxes.left[0]), float(boxes.top[0]), float(boxes.width[0]), float(boxes.height[0])]
    assert found == pytest.approx([box[0], box[1], box[2] - box[0], box[3] - box[1]], abs=0.5)
    assert planes.centre[0, flat] == pytest.approx(100, abs=1)
    assert not boxes.mirror[0]
    assert not boxes.upside_down[0]
    turned = read_boxes(fit_planes(crop.flip(2, 3), MEAN, STD), [image])
    assert turned.mirror[0]
    assert turned.upside_down[0]
    assert float(turned.left[0]) == pytest.approx(box[0], abs=0.5)


def test_a_grey_crop_tells_its_size() -> None:
    image = Coordinates(100, 75, flat=0, code=100)
    boxes = read_boxes(fit_planes(ready(image, (20, 15, 70, 55), 64, 1), MEAN[:1], STD[:1]), [image])
    assert float(boxes.width[0]) == pytest.approx(50, abs=1.5)
    assert float(boxes.height[0]) == pytest.approx(40, abs=2.5)
