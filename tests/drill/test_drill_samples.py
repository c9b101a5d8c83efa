"""What each fault does to the bytes of an image, and what the reference makes of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from throughput.drill.samples import SAMPLE_FAULTS, SampleFault, pixels_of


def photo(kind: str, seed: int = 0) -> bytes:
    """A small coloured image with some detail."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 12, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    out = io.BytesIO()
    Image.fromarray(coarse).save(out, kind)
    return out.getvalue()


def stream(number: int = 0) -> np.random.Generator:
    return np.random.default_rng(number)


FAULTS = pytest.mark.parametrize("fault", SAMPLE_FAULTS, ids=lambda fault: fault.name)


@FAULTS
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_same_stream_gives_the_same_bytes(fault: SampleFault, kind: str) -> None:
    data = photo(kind)
    damaged = fault.damage(data, stream())
    assert damaged == fault.damage(data, stream())
    assert damaged != data or (kind, fault.name) == ("PNG", "png-named-jpg")


@pytest.mark.parametrize("seed", range(8))
@FAULTS
def test_what_is_damaged_is_not_what_it_was(fault: SampleFault, seed: int) -> None:
    data = photo("JPEG", seed)
    ours, theirs = pixels_of(data), pixels_of(fault.damage(data, stream(seed)))
    assert ours is not None
    if fault.readable:
        assert theirs is not None
        assert theirs.shape == ours.shape
    elif fault.telling:
        assert theirs is None
    else:
        assert theirs is None or not np.array_equal(ours, theirs)


@FAULTS
def test_what_is_written_in_place_keeps_its_size(fault: SampleFault) -> None:
    data = photo("JPEG")
    assert not fault.in_place or len(fault.damage(data, stream())) == len(data)


def test_a_jpeg_ends_early_at_several_places() -> None:
    truncated = next(fault for fault in SAMPLE_FAULTS if fault.name == "truncated")
    data = photo("JPEG")
    sizes = {len(truncated.damage(data, stream(seed))) for seed in range(40)}
    assert len(sizes) >= 4
    assert max(sizes) < len(data)


def test_a_bit_in_the_body_can_pass_unseen() -> None:
    flipped = next(fault for fault in SAMPLE_FAULTS if fault.name == "flipped-body")
    data = photo("JPEG")
    read = [pixels_of(flipped.damage(data, stream(seed))) for seed in range(20)]
    assert any(pixels is not None for pixels in read)


def test_names_differ() -> None:
    names = [fault.name for fault in SAMPLE_FAULTS]
    assert len(names) == len(set(names))
