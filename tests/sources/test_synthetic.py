from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from throughput.cli.synth import command
from throughput.errors import OptionError, RoomError
from throughput.sources import synthetic
from throughput.sources.photo import make_noise, plan_photo, render_photo
from throughput.sources.synthetic import default_source_folder, write_synthetic

SUBSAMPLING = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "photos"
    write_synthetic(out, count=256)
    return out


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_set_is_planned_like_imagenet(seed: int) -> None:
    plans = [plan_photo(seed, index) for index in range(1024)]

    def share(chroma: str) -> float:
        return sum(plan.chroma == chroma for plan in plans) / len(plans)

    assert np.mean([plan.width for plan in plans]) == pytest.approx(474, rel=0.05)
    assert np.mean([plan.height for plan in plans]) == pytest.approx(403, rel=0.05)
    assert np.mean([plan.width * plan.height for plan in plans]) == pytest.approx(199_000, rel=0.05)
    assert np.mean([plan.quality for plan in plans]) == pytest.approx(93, rel=0.02)
    assert share("4:4:4") == pytest.approx(0.76, rel=0.05)
    assert share("4:2:0") == pytest.approx(0.20, rel=0.05)
    assert share("grey") == pytest.approx(0.02, rel=0.15)
    assert share("4:2:2") == pytest.approx(0.01, rel=0.15)


def test_encoded_size_is_like_imagenet(photos: Path) -> None:
    files = sorted(photos.glob("*/*.jpg"))
    encoded_bytes = np.array([file.stat().st_size for file in files])
    pixels = np.array([np.prod(Image.open(file).size) for file in files])
    assert encoded_bytes.mean() == pytest.approx(110_000, rel=0.15)
    assert (8 * encoded_bytes / pixels).mean() == pytest.approx(4.6, rel=0.15)
    low, high = np.percentile(encoded_bytes, [5, 95])
    assert low < 40_000
    assert 160_000 < high < 265_000


def test_a_photo_is_encoded_as_planned(photos: Path) -> None:
    for file in sorted(photos.glob("*/*.jpg"))[::8]:
        plan = plan_photo(0, int(file.stem))
        image = Image.open(file)
        assert image.size == (plan.width, plan.height)
        assert "progressive" not in image.info
        assert image.mode == ("L" if plan.chroma == "grey" else "RGB")
        if plan.chroma != "grey":
            assert JpegImagePlugin.get_sampling(image) == SUBSAMPLING[plan.chroma]


def test_classes_take_turns_in_named_folders(photos: Path) -> None:
    folders = sorted(photos.iterdir())
    assert [folder.name for folder in folders] == [f"class_{label:02d}" for label in range(16)]
    assert all(len(list(folder.iterdir())) == 16 for folder in folders)
    assert (photos / "class_03" / "000019.jpg").is_file()


def test_bytes_depend_on_seed_and_index_alone(
    photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(synthetic, "usable_cores", lambda: 5)
    made = write_synthetic(tmp_path / "few", count=20)
    few = sorted((tmp_path / "few").glob("*/*.jpg"))
    assert made.samples == len(few) == 20
    assert made.bytes == sum(file.stat().st_size for file in few)
    for file in few:
        assert file.read_bytes() == (photos / file.parent.name / file.name).read_bytes()
    assert render_photo(make_noise(), 1, 0, 0, 16) != (photos / "class_00" / "000000.jpg").read_bytes()


def test_classes_show_in_colour_and_texture_together(photos: Path) -> None:
    files = sorted(photos.glob("*/*.jpg"), key=lambda file: file.stem)
    features = np.stack([_features(file.read_bytes()) for file in files])
    labels = np.arange(len(files)) % 16
    assert _centroid_accuracy(features, labels) > 0.6
    # A mean colour tells four groups apart, not sixteen classes.
    assert _centroid_accuracy(features[:, :2], labels) < 0.40


def _features(encoded: bytes) -> NDArray[np.float64]:
    """Mean chroma (2), and how gradients of the colour lie: across, down and along both diagonals (3)."""
    image = Image.open(io.BytesIO(encoded)).convert("YCbCr")
    image = image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX)
    _, blue, red = (np.asarray(plane, np.float64) for plane in image.split())
    across, down = np.diff(blue - red, axis=1)[1:], np.diff(blue - red, axis=0)[:, 1:]
    energy = np.array([(across**2).mean(), (down**2).mean(), abs((across * down).mean())]) + 1e-3
    return np.array(
        [blue.mean(), red.mean(), *np.log(energy[:2] / energy[:2].sum()), energy[2] / energy[:2].sum()]
    )


def _centroid_accuracy(features: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Top-1 of the nearest class mean: fitted on the first half, tested on the second."""
    features = (features - features.mean(0)) / features.std(0)
    half = len(labels) // 2
    centres = np.stack([features[:half][labels[:half] == label].mean(0) for label in range(16)])
    distance = ((features[half:, None] - centres) ** 2).sum(2)
    return float((distance.argmin(1) == labels[half:]).mean())


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    heard: list[tuple[float, float | None]] = []
    write_synthetic(
        tmp_path / "out", count=3, classes=2, progress=lambda _, done, total: heard.append((done, total))
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("count", "classes", "seed", "named"),
    [(0, 1, 0, "--count"), (8, 9, 0, "--classes"), (8, 0, 0, "--classes"), (8, 2, -1, "--seed")],
)
def test_an_option_that_cannot_work_is_named(
    count: int, classes: int, seed: int, named: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=f"^{named} must be"):
        write_synthetic(tmp_path / "out", count=count, classes=classes, seed=seed)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(OptionError, match="is not empty"):
            write_synthetic(out, count=2, classes=1)
    assert (tmp_path / "mine").read_text() == "keep"


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_synthetic(tmp_path / "out", count=2, classes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list((tmp_path / "out" / "class_00").iterdir())) == 2


def test_room_is_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(RoomError, match=r"^no room for the synthetic photos"):
        write_synthetic(tmp_path / "out", count=100)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(text: str, done: float, total: float | None) -> None:  # noqa: ARG001 - Progress passes them by place
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "out", count=64, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_default_set_is_made_once_by_however_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path))
    made = write_synthetic
    monkeypatch.setattr(
        synthetic, "write_synthetic", lambda out, progress: made(out, count=4, classes=2, progress=progress)
    )
    with ThreadPoolExecutor(3) as pool:
        folders = {future.result() for future in [pool.submit(default_source_folder) for _ in range(3)]}
    (folder,) = folders
    assert list((tmp_path / "synthetic").iterdir()) == [folder]
    before = folder.stat().st_mtime_ns
    assert default_source_folder() == folder
    assert folder.stat().st_mtime_ns == before


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(command, [str(out), "--count", "4", "--classes", "2", "--seed", "7"])
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("4 photos, ")
    assert line.endswith(f" s, in {out}")


def test_synth_needs_no_torch() -> None:
    code = "import sys, throughput.cli.synth, throughput.sources.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode == 0
