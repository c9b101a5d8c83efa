"""What ``pack --restart`` does to a folder of photos: proof that nothing is lost, bytes, and speed.

    python tests/benchmarks/transcoding.py FOLDER_OF_CLASS_FOLDERS

Coefficients are compared by jpeglib, pixels of random regions by a whole decode of the original, speed with
jpegtran where it is installed (the start of its process not counted). Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jpeglib
import numpy as np
import simplejpeg
from PIL import Image

from throughput.contracts import Source
from throughput.jpeg.splice import DAMAGES, NOT_ADDRESSABLE, SPLICED, WHOLE, cut, room_bytes
from throughput.jpeg.transcode import Transcoded, transcode
from throughput.sources import ShardSource, open_source
from throughput.sources.pack import MOST_GROWTH, TRANSCODED, pack
from throughput.threads import in_threads

MOST_SHARD_GROWTH = 0.005
LEAST_SCALING = 1.7
"""How many times as fast two threads must be, on two cores."""
REPEATS = 5
NAMES = {SPLICED: "cut out", WHOLE: "every interval", NOT_ADDRESSABLE: "no intervals"}


def same_coefficients(before: bytes, after: bytes, folder: Path) -> bool:
    """Whether quantised coefficients and quantisation tables are the same, as jpeglib reads them."""
    return all(map(np.array_equal, _read(before, folder / "before.jpg"), _read(after, folder / "after.jpg")))


def _read(data: bytes, path: Path) -> list[np.ndarray]:
    """Coefficients and quantisation table of each component."""
    path.write_bytes(data)
    found = jpeglib.read_dct(str(path))
    luma, (blue, red), tables = found.load()
    components = [component for component in (luma, blue, red) if component is not None]
    return [*components, *(tables[number] for number in found.quant_tbl_no)]


def same_pixels(
    before: bytes, found: Transcoded, regions: int, rng: np.random.Generator, statuses: Counter[int]
) -> int:
    """Regions, of so many random ones, whose pixels differ from those of the whole original."""
    whole = simplejpeg.decode_jpeg(before, "RGB", strict=False)
    again = simplejpeg.decode_jpeg(found.data, "RGB", strict=False)
    data = np.frombuffer(found.data, np.uint8)
    out = np.empty(room_bytes(len(data)), np.uint8)
    different = 0
    for _ in range(regions):
        height, width = (int(rng.integers(1, side + 1)) for side in whole.shape[:2])
        top = int(rng.integers(whole.shape[0] - height + 1))
        left = int(rng.integers(whole.shape[1] - width + 1))
        region = cut(data, found.interval_bytes.astype(np.uint16), (top, left, height, width), out)
        statuses[region.status] += 1
        shown, begin = again, (0, 0)
        if region.status == SPLICED:
            shown = simplejpeg.decode_jpeg(out[: region.size_bytes], "RGB")
            begin = (region.top, region.left)
        elif region.status < 0:
            different += 1
            continue
        rows, columns = top - begin[0], left - begin[1]
        ours = shown[rows : rows + height, columns : columns + width]
        different += not np.array_equal(ours, whole[top : top + height, left : left + width])
    return different


def prove(photos: list[bytes], regions: int) -> bool:
    """Coefficients of every photo, and pixels of random regions of each, most of them cut out."""
    rng = np.random.default_rng(0)
    kinds: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    wrong = different = compared = never_cut = 0
    with tempfile.TemporaryDirectory() as folder:
        for data in photos:
            found = transcode(data, MOST_GROWTH)
            kinds[found.kind] += 1
            if found.kind in TRANSCODED:
                compared += 1
                wrong += not same_coefficients(data, found.data, Path(folder))
                cut_before = statuses[SPLICED]
                different += same_pixels(data, found, regions, rng, statuses)
                never_cut += len(found.interval_bytes) > 1 and statuses[SPLICED] == cut_before
    counts = {NAMES.get(status, DAMAGES.get(status)): count for status, count in statuses.items()}
    print(f"kinds: {dict(kinds)}")
    print(f"coefficients: {compared - wrong} of {compared} photos are the same")
    print(f"pixels: {compared * regions - different} of {compared * regions} random regions are the same")
    print(f"regions: {counts}; {never_cut} photos of several intervals were never cut")
    return wrong == different == never_cut == 0


def sizes(source: Source, folder: Path) -> bool:
    """Bytes of the shards, with and without restart intervals."""
    plain, restart = pack(source, folder / "plain"), pack(source, folder / "restart", growth=MOST_GROWTH)
    index = sum(path.stat().st_size for path in (folder / "restart").rglob("*.npy"))
    packed = open_source(folder / "restart")
    assert isinstance(packed, ShardSource)
    # Progressive photos become larger baseline ones, which is not for the intervals.
    converted = restart.converted_bytes - restart.progressive_bytes
    images = (packed.encoded_bytes() - converted) / source.encoded_bytes() - 1
    shards = (restart.bytes - converted) / plain.bytes - 1
    print(
        f"bytes: images {100 * images:+.2f} %, shards {100 * shards:+.2f} % "
        f"({plain.bytes:,} to {restart.bytes:,}); the index beside them {100 * index / plain.bytes:.2f} %"
    )
    print(f"intervals: {narrowest(packed)} of {len(packed.labels)} photos have the narrowest there are")
    return images <= MOST_SHARD_GROWTH and shards <= MOST_SHARD_GROWTH


def narrowest(packed: ShardSource) -> int:
    """Photos whose intervals are as narrow as if bytes did not matter: about 48 pixels."""
    count = 0
    for sample in range(len(packed.labels)):
        kept = packed.kept(sample)
        assert kept is not None
        most = transcode(packed.read(sample), 1.0).interval_bytes
        count += len(most) > 0 and len(kept.interval_bytes) == len(most)
    return count


def speed(photos: list[bytes], files: list[str]) -> bool:
    """Seconds of one core for a photo: ours, and jpegtran's."""
    ours = sum(_least(lambda d=data: transcode(d, MOST_GROWTH), time.thread_time) for data in photos)
    begin = time.perf_counter()
    for _ in range(REPEATS):
        for data in photos:
            transcode(data, MOST_GROWTH)
    one = time.perf_counter() - begin
    begin = time.perf_counter()
    for _ in range(REPEATS):
        for _ in in_threads(lambda data: transcode(data, MOST_GROWTH), photos, 2):
            pass
    two = time.perf_counter() - begin
    scales = one / two >= LEAST_SCALING
    milliseconds = 1e3 * ours / len(photos)
    print(
        f"speed: {milliseconds:.2f} ms of one core for a photo; 2 threads are {one / two:.2f} times as fast"
    )
    if shutil.which("jpegtran") is None:
        print("jpegtran is not installed: nothing to compare the speed with")
        return scales
    command = ["jpegtran", "-copy", "all", "-optimize", "-restart", "12B"]
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder, "tiny.jpg")
        Image.new("RGB", (8, 8)).save(tiny)
        start = min(_least(lambda: _run([*command, str(tiny)]), _children_seconds) for _ in range(10))
    theirs = sum(_least(lambda f=file: _run([*command, f]), _children_seconds) for file in files) / len(files)
    print(f"speed: jpegtran takes {1e3 * theirs:.2f} ms, {1e3 * (theirs - start):.2f} ms without its start")
    return scales and ours / len(photos) <= theirs - start


def _run(command: list[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _least(call: Callable[[], object], clock: Callable[[], float]) -> float:
    taken = []
    for _ in range(REPEATS):
        begin = clock()
        call()
        taken.append(clock() - begin)
    return min(taken)


def main() -> None:
    """Print what was found, and fail where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--regions", type=int, default=20)
    arguments = parser.parse_args()
    source = open_source(arguments.folder)
    files = sorted(str(path) for path in arguments.folder.rglob("*") if path.is_file())
    photos = [Path(file).read_bytes() for file in files]
    transcode(photos[0], MOST_GROWTH)  # compiled from here on
    met = [prove(photos, arguments.regions)]
    with tempfile.TemporaryDirectory() as folder:
        met.append(sizes(source, Path(folder)))
    met.append(speed(photos, files))
    sys.exit(not all(met))


if __name__ == "__main__":
    main()
