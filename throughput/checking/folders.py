"""What is wrong with the folders of a data set, which no sample of it tells: images that no class has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from throughput.checking.findings import Fault, Place
from throughput.sources.folder import FolderSource, loose_images, subfolders

LOOSE, NO_IMAGES = "in no class folder", "no images"


def folder_faults(root: Path, splits: Sequence[str], source: FolderSource) -> tuple[Fault, ...]:
    """Images beside the class folders, which are in no split, and class folders without an image.

    root, splits: as ``open_folder`` got them for ``source``. Raises SourceError.
    """
    found: list[Fault] = []
    for folder in dict.fromkeys((root, *(root / split for split in splits))):
        found += [
            _fault(folder / name, LOOSE, "the image lies in no class folder: nothing reads it")
            for name in loose_images(folder)
        ]
    for part, split in enumerate(splits):
        labels = source.labels[source.parts == part] if len(splits) > 1 else source.labels
        images = np.bincount(labels, minlength=len(source.classes))
        of_class = dict(zip(source.classes, images.tolist(), strict=True))
        found += [
            _fault(root / split / name, NO_IMAGES, "the class folder holds no image of a known type")
            for name in subfolders(root / split)
            # A class that is not held out anywhere may have its folder all the same, as opening allows.
            if not of_class[name] and (part == 0 or not len(labels))
        ]
    return tuple(found)


def _fault(path: Path, kind: str, cause: str) -> Fault:
    return Fault(Place(str(path)), kind, cause)
