"""What is done to train images once for all loaders, in ``Feed``: they are turned, and noise is added.

Angles are drawn from (seed, epoch, id), so each loader's images get the same; noise from the seed, the epoch
and the ids of the batch, on the device that it is added on.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from throughput.canonical import draw_angles, noise_seed
from throughput.contracts import Work


def is_augmented(work: Work) -> bool:
    """Whether ``augment`` would change anything."""
    asked = work.augmentation
    return work.split == "train" and bool(asked.rotation_degrees or asked.noise)


def augment(images: Tensor, work: Work, epoch: int, ids: NDArray[np.int64]) -> Tensor:
    """Turn images by their angles, then add noise; (N, C, S, S) float32 in 0..1 before and after.

    ids: (N,). Noise may leave 0..1. On another kind of device it is another noise.
    """
    asked = work.augmentation
    if asked.rotation_degrees:
        images = rotate(images, torch.from_numpy(draw_angles(work, epoch, ids)))
    if asked.noise:
        images = add_noise(images, asked.noise, noise_seed(work, epoch, ids))
    return images


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image about its centre, counter-clockwise, bilinear, black where nothing was.

    images: (N, C, S, S) floating. degrees: (N,). As torchvision's ``rotate`` does to a tensor.
    """
    turn = degrees.double().deg2rad()
    sine, cosine, zero = turn.sin(), turn.cos(), torch.zeros_like(turn)
    # From where in the image each place of the result comes; y grows downwards.
    back = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(back.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def add_noise(images: Tensor, std: float, seed: int) -> Tensor:
    """Add Gaussian noise of standard deviation ``std``, one draw for each value of the images."""
    generator = torch.Generator(images.device).manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)
    return images + std * noise
