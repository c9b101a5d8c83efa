"""Cases for what reads JPEGs: regions that are cut out, lossless transcoding, and the loader of regions."""

from __future__ import annotations

import io
import sys
import warnings
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from judging import Case, Outcome, require
from mutators import flipped, mutated, mutated_behind
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from throughput.contracts import Work
from throughput.errors import SampleError
from throughput.jpeg.header import read_frame
from throughput.jpeg.splice import DAMAGES, FOUND, SPLICED, Region, cut, room_bytes
from throughput.jpeg.transcode import Transcoded, transcode

_CANARY = 64
_SIZES = ((40, 56), (17, 130), (96, 33))
_HEADER_BYTES = 400
"""About as many stand before the coded data: left alone in some cases, so that damage reaches that."""


def pictures() -> list[bytes]:
    """JPEGs of several kinds: layouts, grey, progressive, with restart markers of their own and a comment."""
    sys.path.append(str(Path(__file__).parents[1] / "jpeg"))
    from cutting import by_pillow, encoded, picture

    made = []
    for number, (height, width) in enumerate(_SIZES):
        made += [encoded(height, width, layout, number) for layout in ("444", "420", "422", "grey")]
        pixels = picture(height, width, number)
        made.append(by_pillow(pixels, quality=80, progressive=True))
        made.append(by_pillow(pixels, quality=80, restart_marker_blocks=2, comment=b"a comment"))
        made.append(by_pillow(pixels, "L", quality=80, progressive=True))
    return made


def whole(data: bytes) -> NDArray[np.uint8] | None:
    """All pixels by the decoder of regions, or None where it finds any fault."""
    try:
        return simplejpeg.decode_jpeg(data, strict=True)
    except ValueError:
        return None


def splices(folder: Path) -> Case:  # noqa: ARG001 - all is in memory
    """Regions of damaged files, by the lengths that an index has, by damaged ones, and by the markers."""
    all_made = [transcode(data, growth=9.0) for data in pictures()]
    sound = [made for made in all_made if len(made.interval_bytes)]
    require(len(sound) > 15, "too few files could be given restart intervals")

    def case(rng: Generator) -> Outcome:
        made, other = (sound[int(place)] for place in rng.integers(len(sound), size=2))
        data = _damaged(rng, made.data, other.data)
        lengths = (_lengths(made), FOUND, _wrong_lengths(rng, made))[int(rng.integers(3))]
        height, width = made.height, made.width
        top, left = int(rng.integers(height)), int(rng.integers(width))
        box = (top, left, int(rng.integers(1, height - top + 1)), int(rng.integers(1, width - left + 1)))
        known = (height, width) if rng.integers(2) else (-1, -1)
        room = np.full(room_bytes(len(data)) + _CANARY, 0xA5, np.uint8)
        region = cut(_read_only(data), lengths, box, room[:-_CANARY], known)
        require(bool((room[-_CANARY:] == 0xA5).all()), "written beyond the room")
        if region.status < 0:
            require(bool(DAMAGES[region.status]), "no words for it")
            return "refused"
        if region.status == SPLICED:
            _judge_region(data, region, room[: region.size_bytes].tobytes(), box)
        return "right"

    return case


def _judge_region(data: bytes, region: Region, small: bytes, box: tuple[int, int, int, int]) -> None:
    """Its pixels are those of the whole, where the same decoder finds no fault with the whole."""
    expected, found = whole(data), whole(small)
    if expected is None:
        return  # the decoder would refuse the file, and may refuse the region
    require(found is not None, "the region is refused, and the whole file is not")
    assert found is not None
    top, left, height, width = box
    down, across = top - region.top, left - region.left
    require(min(down, across) >= 0, "the region begins behind the box")
    ours = found[down : down + height, across : across + width]
    theirs = expected[top : top + height, left : left + width]
    require(ours.shape == theirs.shape and np.array_equal(ours, theirs), f"other pixels in {box}")


def transcodings(folder: Path) -> Case:  # noqa: ARG001 - all is in memory
    """Files that are given restart intervals: the same pixels, or the same bytes."""
    sound = pictures()

    def case(rng: Generator) -> Outcome:
        data, other = (sound[int(place)] for place in rng.integers(len(sound), size=2))
        data = _damaged(rng, data, other)
        _judge_frame(data)
        made = transcode(data, growth=float(rng.choice([0.0, 0.1, 9.0])))
        if made.reason:
            require(made.data == data, "a file that is not transcoded came out another")
            return "refused"
        if (expected := whole(data)) is not None:
            found = whole(made.data)
            require(found is not None and np.array_equal(found, expected), "other pixels, or a fault")
        elif (expected := _by_pillow(data)) is not None:  # whose JFIF is of a strange version, say
            found = _by_pillow(made.data)
            require(found is not None and np.array_equal(found, expected), "other pixels, or none")
        return "right"

    return case


def _judge_frame(data: bytes) -> None:
    """The size that is read from the header is that which Pillow decodes."""
    frame, pixels = read_frame(data), _by_pillow(data)
    if frame is not None and pixels is not None:
        require(pixels.shape[:2] == (frame.height, frame.width), f"{frame} and {pixels.shape}")


def _by_pillow(data: bytes) -> NDArray[np.uint8] | None:
    """All pixels, or None where Pillow refuses the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]))
    except Exception:  # noqa: BLE001 - of many types
        return None


def _damaged(rng: Generator, data: bytes, other: bytes) -> bytes:
    action = rng.integers(3)
    if action == 0:
        return mutated(rng, data, other)
    if action == 1:
        return flipped(rng, data)
    return mutated_behind(rng, data, min(_HEADER_BYTES, len(data) // 2))


def _lengths(made: Transcoded) -> NDArray[np.uint16]:
    lengths = made.interval_bytes.astype(np.uint16)
    lengths.flags.writeable = False
    return lengths


def _wrong_lengths(rng: Generator, made: Transcoded) -> NDArray[np.uint16]:
    lengths = np.frombuffer(flipped(rng, _lengths(made).tobytes()), np.uint16)
    return lengths[: int(rng.integers(len(lengths) + 1))] if rng.integers(3) == 0 else lengths


def _read_only(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def regions(folder: Path) -> Case:
    """Crops of damaged images in packed shards, cut and whole, with their checksums and without."""
    from throughput.loaders.regions import Renderer, Ways
    from throughput.sources import open_source
    from throughput.sources.pack import pack

    for number, data in enumerate(pictures()):
        home = folder / f"images/class_{number % 2}"
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{number:04d}.jpg").write_bytes(data)
    pack(open_source(folder / "images"), folder / "packed", samples_per_shard=100, growth=1.0)
    source: Any = open_source(folder / "packed")
    shard = Path(source.shards[0])
    sound = shard.read_bytes()
    # No checksums, and nobody looks whether the shard was changed: the markers are looked for.
    without = replace(source, indexed=False, stamps=())
    works = [Work(one, split, image_size=16) for one in (source, without) for split in ("train", "val")]

    @cache
    def renderer(work: int, ways: Ways) -> Renderer:
        return Renderer(works[work], ways)

    def rendered(work: int, ways: Ways, epoch: int, sample: int) -> NDArray[np.uint8] | None:
        out = np.zeros((1, 16, 16, 3), np.uint8)
        try:
            renderer(work, ways).render(epoch, np.array([sample]), out)
        except SampleError as error:
            require(str(shard) in str(error), f"the error does not name the shard: {error}")
            return None
        return out

    def case(rng: Generator) -> Outcome:
        sample, work, epoch = (int(one) for one in rng.integers([len(source.labels), 4, 100]))
        begin, size = int(source.offsets[sample]), int(source.sizes[sample])
        image = sound[begin : begin + size]
        damaged = _damaged(rng, image, image)[:size].ljust(size, b"\0")
        with shard.open("r+b") as file:  # in place: the loader has it open
            file.seek(begin)
            file.write(damaged)
        try:
            ours = rendered(work, Ways(), epoch, sample)
            theirs = rendered(work, Ways(region=False), epoch, sample)
        finally:
            with shard.open("r+b") as file:
                file.seek(begin)
                file.write(image)
        if works[work].source.indexed:
            changed = zlib.crc32(damaged) != zlib.crc32(image)
            require((ours is None) == changed, "a changed byte was not found, or a sound image refused")
        # Where the decoder finds a fault in the whole, what it makes of the rest is nobody's claim: a fault
        # before a region moves what lies behind it in the whole, and not in the region.
        if ours is not None and theirs is not None and whole(damaged) is not None:
            far = int(np.abs(ours.astype(int) - theirs).max())
            require(far <= 1, f"the crop of the region is {far} from that of the whole")
        return "refused" if ours is None else "right"

    return case
