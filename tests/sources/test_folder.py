"""Class folders: which images, classes and splits they give, and what is refused."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from throughput.errors import SampleError, SourceError
from throughput.sources import FolderSource, open_source


def test_images_are_those_of_imagefolder(tmp_path, class_folders):
    from torchvision.datasets import ImageFolder

    root = class_folders(
        tmp_path / "photos", {"dog": 3, "cat": 2, "cat/sub": 1, "cat/sub-x": 1, "cat/sub/z": 2}
    )
    source = open_source(root)
    assert isinstance(source, FolderSource)
    expected = ImageFolder(str(root))
    assert [(source.path(i), int(source.labels[i])) for i in range(len(source.labels))] == expected.samples
    assert list(source.classes) == expected.classes
    assert source.read(1) == Path(source.path(1)).read_bytes()
    assert source.describe(1) == source.path(1)
    assert source.encoded_bytes() == sum(Path(path).stat().st_size for path, _ in expected.samples)
    assert source.labels.dtype == np.int64


def test_known_types_in_any_case_and_hidden_files(tmp_path, image):
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    for name, kind in {
        "a.JPEG": "JPEG",
        "b.Png": "PNG",
        "c.webp": "WEBP",
        "d.BMP": "BMP",
        "e.jpeg": "JPEG",
    }.items():
        (folder / name).write_bytes(image(1, kind))
    (folder / "notes.txt").write_text("no image")
    (folder / "._a.jpg").write_text("no image")
    (tmp_path / "photos" / ".thumbnails").mkdir()
    source = open_source(str(tmp_path / "photos"))
    assert isinstance(source, FolderSource)
    assert [Path(source.path(i)).name for i in range(5)] == [
        "a.JPEG",
        "b.Png",
        "c.webp",
        "d.BMP",
        "e.jpeg",
    ]
    assert source.classes == ("cat",)


def test_split_folders_are_the_splits(tmp_path, class_folders):
    class_folders(tmp_path / "train", {"b": 2, "c": 1})
    class_folders(tmp_path / "test", {"b": 1})
    class_folders(tmp_path / "val", {"a": 1, "b": 2})
    source = open_source(tmp_path)
    assert source.classes == ("a", "b", "c")
    assert source.labels.tolist() == [1, 1, 2, 0, 1, 1]
    assert source.ids("train").tolist() == [0, 1, 2]
    assert source.ids("val").tolist() == [3, 4, 5]
    shutil.rmtree(tmp_path / "val")
    assert open_source(tmp_path).ids("val").tolist() == [3]


def test_train_alone_is_split_by_seed(tmp_path, class_folders):
    class_folders(tmp_path / "train", {"a": 10, "b": 10})
    (tmp_path / "test").mkdir()
    source = open_source(tmp_path)
    assert source.classes == ("a", "b")
    assert len(source.ids("val")) == 2


def test_a_class_may_be_called_train(tmp_path, class_folders):
    source = open_source(class_folders(tmp_path / "vehicles", {"train": 2, "car": 2}))
    assert source.classes == ("car", "train")


@pytest.mark.parametrize(("images", "held_out"), [(1, 0), (2, 1), (10, 1), (14, 1), (15, 2), (25, 3)])
def test_seeded_split_takes_a_tenth_of_each_class(tmp_path, class_folders, images, held_out):
    source = open_source(class_folders(tmp_path / "photos", {"a": images, "b": 40}))
    val = source.ids("val")
    assert np.count_nonzero(source.labels[val] == 0) == held_out
    assert np.count_nonzero(source.labels[val] == 1) == 4
    both = np.concatenate([source.ids("train"), val])
    assert np.array_equal(np.sort(both), np.arange(images + 40))
    assert np.array_equal(open_source(tmp_path / "photos").ids("val"), val)


def test_pickled_source_reads_the_same(tmp_path, class_folders):
    source = open_source(class_folders(tmp_path / "photos", {"a": 3}))
    again = pickle.loads(pickle.dumps(source))
    assert [again.read(i) for i in range(3)] == [source.read(i) for i in range(3)]
    assert again.fingerprint == source.fingerprint


def test_fingerprint_follows_files_sizes_and_times(tmp_path, class_folders):
    root = class_folders(tmp_path / "photos", {"a": 3})
    first = open_source(root).fingerprint
    assert open_source(root).fingerprint == first
    os.utime(root / "a" / "0000.jpg", ns=(1, 1))
    touched = open_source(root).fingerprint
    (root / "a" / "0002.jpg").unlink()
    assert len({first, touched, open_source(root).fingerprint}) == 3


def test_the_same_images_have_one_fingerprint_however_they_are_split(tmp_path, class_folders):
    root = class_folders(tmp_path / "photos", {"a": 10, "b": 10})
    few, many = open_source(root), open_source(root, split_fraction=0.5)
    assert len(few.ids("val")) < len(many.ids("val"))
    assert few.fingerprint == many.fingerprint


def test_a_file_that_vanished_is_named(tmp_path, class_folders):
    root = class_folders(tmp_path / "photos", {"a": 1})
    source = open_source(root)
    (root / "a" / "0000.jpg").unlink()
    with pytest.raises(SampleError, match=r"photos/a/0000.jpg: cannot be read: No such file") as caught:
        source.read(0)
    assert caught.value.sample == str(root / "a" / "0000.jpg")


def test_names_that_are_no_utf8(tmp_path, image):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / os.fsdecode(b"\xff\xe9.jpg")).write_bytes(image(1))
    assert open_source(tmp_path).read(0) == image(1)


def test_images_outside_class_folders(tmp_path, image):
    (tmp_path / "1.jpg").write_bytes(image(1))
    with pytest.raises(SourceError, match=r"lie in no class folder: move each .* as in .*/cat/1.jpg"):
        open_source(tmp_path)


def test_empty_folder(tmp_path):
    with pytest.raises(SourceError, match=r"is empty: name a folder"):
        open_source(tmp_path)


def test_no_class_folders(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(
        SourceError, match=r"no class folders and no \.tar shards in|holds no class folders.*\.csv"
    ):
        open_source(tmp_path)


def test_a_class_without_images_lists_what_was_found(tmp_path, class_folders):
    root = class_folders(tmp_path / "photos", {"a": 1})
    (root / "b").mkdir()
    (root / "b" / "1.gif").touch()
    with pytest.raises(SourceError, match=r"photos/b holds no image of a known type .*found: \.gif"):
        open_source(root)


def test_a_missing_folder_offers_a_near_name(tmp_path, class_folders):
    class_folders(tmp_path / "photos", {"a": 1})
    with pytest.raises(SourceError, match=r"photo does not exist: did you mean .*/photos\?"):
        open_source(tmp_path / "photo")
    with pytest.raises(SourceError, match=r"nor does its folder .*/nowhere"):
        open_source(tmp_path / "nowhere" / "photos")


def test_a_folder_that_may_not_be_listed(tmp_path, class_folders, monkeypatch):
    root = class_folders(tmp_path / "photos", {"a": 1})
    listed = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"cannot list the folder .*/photos/a: Permission denied"):
        open_source(root)


def test_a_link_to_a_file_that_is_gone(tmp_path, class_folders):
    root = class_folders(tmp_path / "photos", {"a": 1})
    (root / "a" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(SourceError, match=r"a/gone.jpg: No such file or directory; repair or remove it"):
        open_source(root)


def test_links_to_folders_are_followed_but_not_round(tmp_path, class_folders):
    root = class_folders(tmp_path / "photos", {"a": 1})
    (root / "b").symlink_to(root / "a")
    assert open_source(root).labels.tolist() == [0, 1]
    (root / "a" / "round").symlink_to(root / "a")
    with pytest.raises(SourceError, match=r"round is a link to a folder above it"):
        open_source(root)


def test_progress_is_told(tmp_path, class_folders):
    told = []
    open_source(
        class_folders(tmp_path / "photos", {"a": 1, "b": 1}),
        progress=lambda text, done, total: told.append((text, done, total)),
    )
    assert told == [("scanning class folders", 1, 2), ("scanning class folders", 2, 2)]
