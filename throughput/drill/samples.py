"""Faults of single images: what each does to encoded bytes, wherever they lie.

Marker segments and coded data are those of ITU-T T.81 (JPEG), chunks those of ISO/IEC 15948 (PNG).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from throughput.certificate.reference import as_array, decode

_TRIES = 64
"""Places that are tried until damage shows: some bits of a JPEG change no pixel."""
_BOMB_SIDE = 60_000
_TABLES_AND_HEADERS = frozenset({0xDB, 0xC4, 0xDA, *range(0xC0, 0xC4)})  # DQT, DHT, SOS, SOF0..3
_SCAN = 0xDA
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RSTn: markers without a segment

Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class SampleFault:
    """What may be wrong or unusual with an encoded image.

    damage: (encoded image, random stream) -> other bytes; the same for the same stream.
    readable: nothing is wrong, and every loader reads it. telling: the bytes themselves tell that something
    is wrong; else only a checksum can. in_place: the bytes keep their number where they are a JPEG's, so that
    they can be written over those in a shard.
    """

    name: str
    about: str
    damage: Damage
    readable: bool = False
    telling: bool = True
    in_place: bool = False


def pixels_of(data: bytes) -> NDArray[np.uint8] | None:
    """The reference's pixels, (H, W, 3) uint8; None where it refuses the bytes."""
    try:
        return as_array(decode(data, 3))
    except Exception:  # noqa: BLE001 - Pillow raises many types on damaged files
        return None


def _truncated(data: bytes, rng: np.random.Generator) -> bytes:
    jpeg = _as_jpeg(data)
    scan = _scan_begin(jpeg)
    in_scan = [scan + round(share * (len(jpeg) - scan)) for share in (0.02, 0.5, 0.9)]
    for place in rng.permutation([scan // 2, *in_scan, len(jpeg) - 24]).tolist():
        if _differ(jpeg, jpeg[:place]):
            return jpeg[:place]
    return jpeg[: scan // 2]


def _garbage(data: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(len(data))


def _empty(data: bytes, rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as every fault
    return b""


def _bit_in_body(data: bytes, rng: np.random.Generator) -> bytes:
    jpeg = _as_jpeg(data)
    return _with_a_bit_flipped(jpeg, np.arange(_scan_begin(jpeg), len(jpeg) - 2), rng)


def _bit_in_header(data: bytes, rng: np.random.Generator) -> bytes:
    jpeg = _as_jpeg(data)
    places = [
        np.arange(begin, end) for marker, begin, end in _segments(jpeg) if marker in _TABLES_AND_HEADERS
    ]
    return _with_a_bit_flipped(jpeg, np.concatenate(places), rng)


def _with_a_bit_flipped(jpeg: bytes, places: NDArray[Any], rng: np.random.Generator) -> bytes:
    """One bit at one of the places, such that the pixels change or nothing can be decoded."""
    damaged = bytearray(jpeg)
    for _ in range(_TRIES):
        damaged = bytearray(jpeg)
        damaged[int(rng.choice(places))] ^= 1 << int(rng.integers(8))
        if _differ(jpeg, bytes(damaged)):
            break
    return bytes(damaged)


def _bomb(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes that claim 3.6 gigapixels: a PNG, or the JPEG itself with other numbers in its frame."""
    if rng.random() < 0.5:
        header = struct.pack(">IIBBBBB", _BOMB_SIDE, _BOMB_SIDE, 8, 2, 0, 0, 0)
        chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    jpeg = _as_jpeg(data)
    frame = next(begin for marker, begin, _ in _segments(jpeg) if 0xC0 <= marker <= 0xC3)
    return jpeg[: frame + 3] + struct.pack(">HH", _BOMB_SIDE, _BOMB_SIDE) + jpeg[frame + 7 :]


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _png(data: bytes, rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as every fault
    return _saved(decode(data, 3), "PNG")


def _sixteen_bit(data: bytes, rng: np.random.Generator) -> bytes:
    grey = np.asarray(decode(data, 1)).astype(np.uint16) << 8
    low_bits = rng.integers(256, size=grey.shape).astype(np.uint16)
    return _saved(Image.fromarray(grey | low_bits), "PNG")


def _palette(data: bytes, rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as every fault
    return _saved(decode(data, 3).quantize(64), "PNG")


def _alpha(data: bytes, rng: np.random.Generator) -> bytes:
    image = decode(data, 3)
    image.putalpha(Image.fromarray(rng.integers(256, size=image.size[::-1]).astype(np.uint8)))
    return _saved(image, "PNG")


def _cmyk(data: bytes, rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as every fault
    return _saved(decode(data, 3).convert("CMYK"), "JPEG", quality=95)


def _animated_gif(data: bytes, rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as every fault
    frames = [decode(data, 3).quantize(64), Image.new("P", decode(data, 3).size)]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=40)


def _animated_webp(data: bytes, rng: np.random.Generator) -> bytes:  # noqa: ARG001 - as every fault
    image = decode(data, 3)
    return _saved(image, "WEBP", save_all=True, append_images=[Image.new("RGB", image.size)], duration=40)


def _exif_rotated(data: bytes, rng: np.random.Generator) -> bytes:
    jpeg, exif = _as_jpeg(data), Image.Exif()
    exif[0x0112] = int(rng.choice((3, 6, 8)))  # turned about, to the right, to the left
    words = exif.tobytes()
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(words) + 2) + words + jpeg[2:]


def _as_jpeg(data: bytes) -> bytes:
    """The bytes themselves where they are a JPEG; else, the image as one."""
    return data if data.startswith(b"\xff\xd8") else _saved(decode(data, 3), "JPEG", quality=90)


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, begin (behind the length field) and end of each segment, up to the first scan's header."""
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF:
        marker = jpeg[place + 1]
        if marker == 0xFF or marker in _STANDALONE:
            place += 1 if marker == 0xFF else 2
            continue
        end = place + 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
        yield marker, place + 4, end
        if marker == _SCAN:
            return
        place = end


def _scan_begin(jpeg: bytes) -> int:
    """Where the first scan's coded data begin."""
    return [end for _, _, end in _segments(jpeg)][-1]


def _differ(before: bytes, after: bytes) -> bool:
    """Whether the reference sees something else in other bytes, or refuses them."""
    ours, theirs = pixels_of(before), pixels_of(after)
    return ours is None or theirs is None or not np.array_equal(ours, theirs)


SAMPLE_FAULTS = (
    SampleFault(
        "truncated", "a JPEG that ends too early: in its header, in its body, near its end", _truncated
    ),
    SampleFault("garbage", "as many random bytes", _garbage, in_place=True),
    SampleFault("empty", "no bytes at all", _empty),
    SampleFault(
        "flipped-body",
        "one bit of a JPEG's coded data is another",
        _bit_in_body,
        telling=False,
        in_place=True,
    ),
    SampleFault(
        "flipped-header",
        "one bit of a JPEG's tables or headers is another",
        _bit_in_header,
        telling=False,
        in_place=True,
    ),
    SampleFault("bomb", "a small file that claims 60,000 x 60,000 pixels", _bomb),
    SampleFault("png-named-jpg", "a PNG, whatever its name says", _png, readable=True),
    SampleFault("cmyk", "a JPEG in four colours of print", _cmyk, readable=True),
    SampleFault("sixteen-bit", "a grey PNG of 16 bits a pixel", _sixteen_bit, readable=True),
    SampleFault("palette", "a PNG of 64 colours", _palette, readable=True),
    SampleFault("alpha", "a PNG that is transparent in places", _alpha, readable=True),
    SampleFault("animated-gif", "a GIF of several pictures, of which the first counts", _animated_gif, True),
    SampleFault(
        "animated-webp", "a WebP of several pictures, of which the first counts", _animated_webp, True
    ),
    SampleFault(
        "exif-rotated", "a JPEG whose EXIF asks to turn it, which the work does not", _exif_rotated, True
    ),
)
