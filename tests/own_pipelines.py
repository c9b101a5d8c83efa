"""Pipelines as people have them, good and bad: test_own_pipeline.py imports a copy of this file."""

# ruff: noqa: ARG001 - what matters about these arguments is how a caller sees them

import functools
import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from throughput import contracts

PIXELS = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 16, 16).contiguous()

LABELS = torch.tensor([0, 1, 2, 0])


class Pairs(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return PIXELS[index], index % 3


class Triples(Pairs):
    def __getitem__(self, index):
        return *super().__getitem__(index), 10**12 + index


class OfWork(Dataset):
    def __init__(self, work):
        self.work = work
        self.ids = work.source.ids(work.split)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, place):
        sample = int(self.ids[place])
        size = self.work.image_size
        return torch.zeros(3, size, size, dtype=torch.uint8), int(self.work.source.labels[sample]), sample


def plain():
    return DataLoader(Pairs(), batch_size=4)


def with_ids():
    return DataLoader(Triples(), batch_size=4, shuffle=True)


def of_work(work):
    return DataLoader(OfWork(work), batch_size=work.batch_size, shuffle=True)


def annotated(task: "contracts.Work | None", prefetch=2):
    return of_work(task)


def keyword(*, work, **rest):
    return of_work(work)


def bound(work, batch_size):
    return of_work(work)


half_bound = functools.partial(bound, batch_size=4)
all_bound = functools.partial(plain)


def persistent():
    return DataLoader(Pairs(), batch_size=4, num_workers=2, persistent_workers=True)


def passing():
    return DataLoader(Pairs(), batch_size=4, num_workers=2)


def wrapped():
    yield from DataLoader(Pairs(), batch_size=4, num_workers=2)


def batch(labels=LABELS, images=PIXELS[:4]):
    return images, labels


class Sized:
    def __init__(self):
        self.epochs = []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def __iter__(self):
        yield PIXELS[:4], torch.full((4,), self.epochs[-1])


class NotIterable:
    pass


def generator():
    yield batch()
    yield batch()


def a_list():
    return [batch(), batch()]


module_level = [batch()]
module_level_loader = plain()


def dictionary():
    yield {"images": PIXELS[:4], "labels": torch.zeros(4, dtype=torch.int32), "ids": [3, 1, 2, 0]}
    yield {"image": PIXELS[:4], "label": np.zeros(4, np.int16), "ids": np.array([4, 5, 6, 7], np.int32)}
    yield [{"data": PIXELS[:4], "label": torch.zeros(4, 1, dtype=torch.int32), "ids": torch.arange(8, 12)}]


def arrays():
    pixels = PIXELS[:4].numpy()
    yield pixels, np.array([0, 1, 2, 0])
    yield pixels[:, ::-1], [0, 1, 2, 0]
    yield pixels.astype(np.float32) / 255, np.array([0, 1, 2, 0], np.uint8)


def once_with_ids_and_once_without():
    yield *batch(), torch.arange(4)
    yield batch()


ONE = iter([batch()])


def drained_in_epoch_1():
    return ONE


def empty():
    return []


def fails_when_called():
    raise KeyError("no such\nfolder")  # here


def fails_in_a_library():
    torch.zeros(3).view(2)  # in here
    return []


def fails_on_the_way():
    yield batch()
    raise ZeroDivisionError("the second batch")  # on the way


class Broken(Pairs):
    def __getitem__(self, index):
        if index == 9:
            raise ValueError("index 9")  # in a worker
        return super().__getitem__(index)


def fails_in_a_worker():
    return DataLoader(Broken(), batch_size=4, num_workers=1)


def leaves():
    sys.exit(3)


def meets_a_bad_sample():
    from throughput.errors import SampleError

    raise SampleError("cat.jpg", "is no image")


def returns_nothing():
    pass


def needs(folder, size=3):
    return []


def needs_more(work, folder):
    return []
