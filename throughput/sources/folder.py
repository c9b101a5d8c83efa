"""A folder of class folders of images."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from throughput.contracts import Progress, Source, Split, no_progress
from throughput.errors import SampleError, SourceError
from throughput.sources.names import IMAGE_EXTENSIONS, Names, extension, found_extensions
from throughput.sources.splits import checked_parts, seeded_validation, split_ids


@dataclass(frozen=True, eq=False)
class FolderSource(Source):
    """Images in class folders; train before val, each in sorted order.

    root: absolute path of the folder that ``names`` are relative to.
    names: N paths of images.
    sizes: (N,) int64, bytes of each file when the folder was scanned.
    parts: (N,) int8, as for ``with_parts``.
    """

    location: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    fingerprint: str
    root: str
    names: Names
    sizes: NDArray[np.int64]
    parts: NDArray[np.int8]

    def ids(self, split: Split) -> NDArray[np.int64]:
        """Ids of a split, (M,) int64, ascending."""
        return split_ids(self.parts, split)

    def with_parts(self, parts: NDArray[np.int8]) -> FolderSource:
        """The same images split otherwise."""
        return replace(self, parts=checked_parts(self, parts))

    def path(self, sample_id: int) -> str:
        """The image's file."""
        return f"{self.root}/{self.names[sample_id]}"

    def read(self, sample_id: int) -> bytes:
        """The encoded image. Raises SampleError naming the file."""
        path = self.path(sample_id)
        try:
            with io.FileIO(path) as file:
                return file.read()
        except OSError as error:
            raise SampleError(path, f"cannot be read: {error.strerror}") from error

    def describe(self, sample_id: int) -> str:
        """The image's file."""
        return self.path(sample_id)

    def encoded_bytes(self) -> int:
        """Bytes of all files together, when the folder was scanned."""
        return int(self.sizes.sum())

    def files(self) -> tuple[Path, ...]:
        """The image files of both splits."""
        return tuple(Path(self.path(sample_id)) for sample_id in range(len(self.names)))


def open_folder(
    location: str,
    root: Path,
    splits: Sequence[str],
    progress: Progress = no_progress,
    split_fraction: float | None = None,
    *,
    keep_unreadable: bool = False,
) -> FolderSource:
    """Scan class folders.

    splits: the folders below ``root`` that hold class folders: ``("train", "val")``, train first, or
    one (``""`` for the root itself), of which ``split_fraction`` of each class is then held out by seed.
    keep_unreadable: list images whose file cannot be found, such as links that lead nowhere, and pass over
    class folders without images.
    Raises SourceError for a folder without class folders or images, or one that cannot be listed.
    """
    tops = [root / split for split in splits]
    class_folders = [subfolders(top) for top in tops]
    classes = tuple(sorted({name for names in class_folders for name in names}))
    if not all(class_folders):
        raise _without_classes(next(top for top, names in zip(tops, class_folders, strict=True) if not names))
    index_of = {name: index for index, name in enumerate(classes)}
    total = sum(map(len, class_folders))
    found: list[tuple[str, os.stat_result]] = []
    labels: list[int] = []
    first_val = 0
    done = 0
    for part, (split, names) in enumerate(zip(splits, class_folders, strict=True)):
        first_val = len(found)
        for name in names:
            relative = f"{split}/{name}" if split else name
            images, others = _images_below(root, relative, keep_unreadable=keep_unreadable)
            if not images and part == 0 and not keep_unreadable:
                raise SourceError(
                    f"the class folder {root / relative} holds no image of a known type "
                    f"({_known()}; found: {found_extensions(others)}): add images to it or remove it"
                )
            found += images
            labels += [index_of[name]] * len(images)
            done += 1
            progress("scanning class folders", done, total)
        if len(found) == first_val and not keep_unreadable:
            raise _without_images(tops[part])
    if not found:
        raise _without_images(tops[0])
    label_array = np.array(labels, dtype=np.int64)
    named = len(splits) > 1
    named_parts = np.arange(len(found)) >= first_val
    validation = named_parts if named else seeded_validation(label_array, split_fraction)
    paths = Names.of(name for name, _ in found)
    sizes = np.array([status.st_size for _, status in found], dtype=np.int64)
    times = np.array([status.st_mtime_ns for _, status in found], dtype=np.int64)
    absolute = os.path.realpath(root)
    # The place belongs to it: extracted archives can give two data sets the same names, sizes and times.
    digest = hashlib.blake2b(os.fsencode(absolute), digest_size=16)
    for facts in (paths.blob, paths.ends.tobytes(), sizes.tobytes(), times.tobytes()):
        digest.update(facts)
    return FolderSource(
        location, classes, label_array, digest.hexdigest(), absolute, paths, sizes, validation.astype(np.int8)
    )


def subfolders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder, hidden ones aside. Raises SourceError."""
    return sorted(entry.name for entry in entries(folder) if entry.is_dir())


def loose_images(folder: Path) -> list[str]:
    """Sorted names of the images that lie in a folder itself. Raises SourceError."""
    return sorted(
        entry.name
        for entry in entries(folder)
        if extension(entry.name) in IMAGE_EXTENSIONS and not entry.is_dir()
    )


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What lies in a folder, hidden names aside. Raises SourceError for a folder that cannot be listed."""
    try:
        with os.scandir(folder) as listing:
            return [entry for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"cannot list the folder {folder}: {error.strerror}") from error


def _images_below(
    root: Path, class_folder: str, *, keep_unreadable: bool
) -> tuple[list[tuple[str, os.stat_result]], list[str]]:
    """Images below a class folder with their status, and the names of other files.

    In torchvision's ImageFolder order: by folder, then by name; links to folders are followed.
    """
    folders: list[tuple[str, list[tuple[str, os.stat_result]]]] = []
    others: list[str] = []
    waiting: list[tuple[str, frozenset[str]]] = [(class_folder, frozenset())]
    while waiting:
        relative, above = waiting.pop()
        here = os.path.realpath(root / relative)
        if here in above:
            raise SourceError(f"the folder {root / relative} is a link to a folder above it: remove the link")
        images = []
        for entry in entries(root / relative):
            if entry.is_dir():
                waiting.append((f"{relative}/{entry.name}", above | {here}))
            elif extension(entry.name) in IMAGE_EXTENSIONS:
                images.append((f"{relative}/{entry.name}", _status(entry, keep_unreadable=keep_unreadable)))
            else:
                others.append(entry.name)
        folders.append((relative, sorted(images, key=lambda image: image[0])))
    return [image for _, images in sorted(folders, key=lambda item: item[0]) for image in images], others


def _status(entry: os.DirEntry[str], *, keep_unreadable: bool) -> os.stat_result:
    try:
        status = entry.stat()
    except OSError as error:
        if keep_unreadable:
            return entry.stat(follow_symlinks=False)
        raise SourceError(f"cannot read {entry.path}: {error.strerror}; repair or remove it") from error
    if not stat.S_ISREG(status.st_mode):  # a pipe is waited on for ever, and a device may have no end
        raise SourceError(f"{entry.path} is no file but a pipe, a socket or a device: remove it")
    return status


def _known() -> str:
    return ", ".join(f".{name}" for name in IMAGE_EXTENSIONS)


def _without_images(folder: Path) -> SourceError:
    """Of a folder whose class folders are all empty, which may be a class folder itself."""
    if loose_images(folder):
        return _in_no_class_folder(folder)
    return SourceError(f"no image of a known type ({_known()}) lies below {folder}")


def _in_no_class_folder(folder: Path) -> SourceError:
    return SourceError(
        f"the images in {folder} lie in no class folder: "
        f"move each into a folder named after its class, as in {folder}/cat/1.jpg"
    )


def _without_classes(folder: Path) -> SourceError:
    names = [entry.name for entry in entries(folder)]
    if not names:
        return SourceError(
            f"the folder {folder} is empty: name a folder with class folders of images, or tar shards"
        )
    if any(extension(name) in IMAGE_EXTENSIONS for name in names):
        return _in_no_class_folder(folder)
    return SourceError(
        f"the folder {folder} holds no class folders and no .tar shards (found: {found_extensions(names)})"
    )
