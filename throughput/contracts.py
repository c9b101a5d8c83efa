"""The seams: what a source, a loader, a model family and a report are. One read tells how all fit.

Nothing here imports torch or a backend; ``Tensor`` and ``Module`` are names for the type checker.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from throughput.augmentation import CROPS as CROPS  # noqa: PLC0414 - a seam, found here with the others
from throughput.augmentation import Augmentation as Augmentation  # noqa: PLC0414 - a seam, found here with the others
from throughput.augmentation import Crop as Crop  # noqa: PLC0414 - a seam, found here with the others
from throughput.errors import OptionError, SourceError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

    from throughput.results import Results
    from throughput.sources.shard_index import SampleRecord

Split = Literal["train", "val"]
ComputeDtype = Literal["float32", "bfloat16", "float16"]
OnError = Literal["raise", "skip", "substitute"]
ON_ERROR: tuple[OnError, ...] = ("raise", "skip", "substitute")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Channel means of ImageNet in 0..1, as torchvision's reference weights use them."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Channel standard deviations of ImageNet in 0..1, as torchvision's reference weights use them."""

IMAGE_SIZE = 224
"""Side of the crops in pixels, where neither the user nor the model says otherwise."""

FILLER_ID = -1
"""The id of an image that is there to fill a batch, and does not count."""

UNKNOWN_ID = -2
"""The id of each sample of a pipeline that does not tell ids: it all counts, and there is no ledger."""


class Batch(NamedTuple):
    """What a loader yields.

    images: (N, C, S, S), RGB or grey; uint8 in 0..255, or floating and normalised; on host or device.
    labels: (N,) int64 classes; or (N,) or (N, K) float32 targets.
    ids: (N,) int64, each sample's place in its source: what the ledger counts. On the host. -1 marks
    filler; UNKNOWN_ID, for every sample or for none, a pipeline that does not tell.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor


class Fault(NamedTuple):
    """A sample that cannot be read or decoded. sample: its file, or its shard, key and byte offset."""

    id: int
    sample: str
    cause: str


class Progress(Protocol):
    """Told of long work: ``done`` of ``total`` units (None: unknown). Must return at once."""

    def __call__(self, text: str, done: float, total: float | None) -> None: ...


def no_progress(text: str, done: float, total: float | None) -> None:
    """Tell nobody."""


class Source(ABC):
    """Which images exist. Picklable; an id is a sample's place in it, 0 <= id < len(labels).

    location: what the user named, for messages.
    classes: class names; a label is an index into them. Empty where labels are targets.
    labels: (N,) int64 classes; or (N,) or (N, K) float32 targets, numbers to be predicted.
    fingerprint: hex digest that changes with the set of files, their sizes or their modification times; how
    they are split is no part of it.
    channels: of the images where all have the same, 1 or 3; where they are not known, 3.
    """

    location: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64] | NDArray[np.float32]
    fingerprint: str
    channels: int = 3

    @abstractmethod
    def ids(self, split: Split) -> NDArray[np.int64]:
        """Ids of a split, (M,) int64, ascending; train and val are disjoint.

        They cover the source, unless it was split otherwise by ``with_parts``.
        """

    def with_parts(self, parts: NDArray[np.int8]) -> Source:  # noqa: ARG002 - part of the contract
        """The same images split otherwise. parts: (N,), 0 train, 1 val, 2 neither.

        Raises SourceError where the source's kind cannot be split otherwise.
        """
        raise SourceError(f"{self.location} cannot be split otherwise than it is")

    def forget(self) -> None:  # noqa: B027 - most sources keep nothing
        """Let go of what is kept of its files, mapped or in a cache: what is read next comes from them."""

    @abstractmethod
    def read(self, sample_id: int) -> bytes:
        """The encoded image. Safe from several threads and after a fork. Raises SampleError."""

    def read_into(
        self,
        sample_id: int,  # noqa: ARG002 - part of the contract
        room: Callable[[int], NDArray[np.uint8]],  # noqa: ARG002 - as above
    ) -> NDArray[np.uint8] | None:
        """The encoded image as ``read`` finds it, in what ``room(M)`` gives: (M,) uint8, read-only then.

        None where that saves nothing: ``read`` it.
        """
        return None

    def kept(self, sample_id: int) -> SampleRecord | None:  # noqa: ARG002 - part of the contract
        """What was kept about a sample when it was packed; None where nothing was."""
        return None

    def kept_of(self, ids: NDArray[np.int64]) -> list[SampleRecord | None]:
        """``kept`` of each of some samples. The first call may read what was kept about all."""
        return [self.kept(sample_id) for sample_id in ids.tolist()]

    def ahead_bytes(self) -> int:
        """Encoded bytes of the samples that it wants to be told of ahead, by ``expect``; 0: none."""
        return 0

    def expect(self, ids: NDArray[np.int64]) -> None:  # noqa: B027 - most sources are near
        """Hear of samples that will be read soon, in this order; returns at once."""

    @abstractmethod
    def describe(self, sample_id: int) -> str:
        """Where a sample lies, for messages: its file, or its shard, name and byte offset."""

    @abstractmethod
    def encoded_bytes(self) -> int:
        """Bytes of all encoded images together."""

    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """The files that hold the encoded images, each once."""


def require_count(name: str, value: object) -> None:
    """Raise OptionError unless ``value`` is a whole number of 1 or more."""
    if not isinstance(value, int) or value < 1:
        raise OptionError(f"{name} must be a whole number of 1 or more, got {value!r}")


@dataclass(frozen=True)
class Work:
    """The work that every loader must do, whatever its way of doing it.

    ``train`` is a crop resized with antialiased bilinear filtering, then a random mirror, as the augmentation
    says; the loader does that, and ``Feed`` whatever else the augmentation asks for. ``val`` resizes the
    shorter side to image_size * 8/7 and crops the centre; or the whole image to a square where the crop is
    ``none``. EXIF rotation is not applied. Every sample comes once an epoch; ``train`` in a seeded order that
    differs between epochs, ``val`` in the same order every epoch. The last batch of an epoch may be smaller.
    mean and std are in 0..1 units, one for each channel.
    on_error: what becomes of a sample that cannot be read or decoded. ``raise`` ends the epoch with an error
    that names it; ``skip`` leaves it out of its batch, which comes smaller; ``substitute`` puts another image
    in its place, with the id of filler. Either way it is told (``Loader.take_faults``), and more than
    ``max_errors`` of them in an epoch end it.
    """

    source: Source
    split: Split = "train"
    image_size: int = IMAGE_SIZE
    channels: int = 3
    batch_size: int = 256
    augmentation: Augmentation = field(default_factory=Augmentation)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    compute_dtype: ComputeDtype = "float32"
    workers: int = 1
    device: str = "cpu"
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    on_error: OnError = "raise"
    max_errors: int = 100

    def __post_init__(self) -> None:
        if self.split not in ("train", "val"):
            raise OptionError(f"split must be train or val (the held-out images), got {self.split!r}")
        counts = {"batch_size (--batch)": self.batch_size, "image_size (--size)": self.image_size}
        counts |= {"workers (--workers)": self.workers, "world_size": self.world_size}
        for name, value in counts.items():
            require_count(name, value)
        if self.channels not in (1, 3):
            raise OptionError(f"channels must be 1 (grey) or 3 (RGB), got {self.channels!r}")
        if self.on_error not in ON_ERROR:
            raise OptionError(f"on_error (--on-error) must be {' or '.join(ON_ERROR)}, got {self.on_error!r}")
        if not isinstance(self.max_errors, int) or self.max_errors < 0:
            raise OptionError(
                f"max_errors (--max-errors) must be a whole number of 0 or more, got {self.max_errors!r}"
            )
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise OptionError(
                f"seed (--seed) must be a whole number of 0 or more, below 2**63, got {self.seed!r}"
            )
        if not 0 <= self.rank < self.world_size:
            raise OptionError(f"rank must be in 0..{self.world_size - 1}, got {self.rank!r}")
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        counts_fit = len(self.mean) == len(self.std) == self.channels
        if not counts_fit or not finite or min(self.std) <= 0:
            raise OptionError(
                f"mean and std must hold one number a channel ({self.channels}), finite and std above 0, "
                f"got mean={self.mean!r} std={self.std!r}"
            )

    @property
    def centred(self) -> bool:
        """Whether images are resized and cropped to their centre; else ``canonical.draw_boxes`` has crops."""
        return self.split == "val" and self.augmentation.crop != "none"


class Loader(ABC):
    """An open pipeline over one split of one source (of this rank's share of it).

    samples_per_epoch: 0 where a user's own pipeline does not tell.
    finished: its batches have been through ``Feed`` before, and are not turned or made noisy again.
    """

    samples_per_epoch: int
    finished: bool = False

    @abstractmethod
    def epoch(self, index: int) -> Iterator[Batch]:
        """Yield every sample of epoch ``index`` once; one that is bad, as ``Work.on_error`` says.

        Raises SampleError, which names it, or TooManyErrorsError.
        """

    def take_faults(self) -> list[Fault]:
        """The bad samples of the batches that were yielded since this was last asked."""
        return []


@runtime_checkable
class Resumable(Protocol):
    """A loader that tells what it has delivered, and goes on from there. Asked for by ``isinstance``."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values: what was handed over of the epoch under way, which they call ``epoch``."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next time that epoch is begun only the rest of it comes; every other epoch is whole.

        With any number of workers. Raises StateError where it belongs to other work.
        """


@dataclass(frozen=True)
class NoOptions:
    """For a loader without knobs of its own."""


@dataclass(frozen=True)
class Requirement:
    """A library that a backend imports, and how to get it."""

    module: str
    install: str


@dataclass(frozen=True)
class Prepared:
    """The work as the loader will do it, perhaps over a converted copy, and what the copy cost.

    seconds: 0 where the copy was there already. folder: where it lies, None where there is none.
    warning: what makes the loader slower than it could be, and the way out.
    """

    work: Work
    seconds: float = 0.0
    bytes: int = 0
    folder: str | None = None
    warning: str | None = None


class LoaderFactory(ABC):
    """A backend, found by its entry point in the group ``throughput.loaders``.

    Importing its module must not import the library that it wraps.
    """

    name: str
    requires: tuple[Requirement, ...] = ()
    Options: type[Any] = NoOptions
    """A frozen, self-validating dataclass of the backend's own knobs."""
    about: str = ""
    """One line for ``throughput list``."""
    ceiling: bool = False
    """True for a loader that repeats samples on purpose, to show a limit: no ledger, no rank."""
    takes_work: bool = True
    """False for a pipeline that reads what it likes: no val split, no certificate, ids of its own."""

    shares_ranks: bool = True
    """False for a pipeline of which only what it is measured with is asked: its share of several ranks is
    certified where the work has several."""

    def why_not(self, work: Work) -> str | None:  # noqa: ARG002 - part of the contract
        """A reason why this work cannot be done here (the row is skipped), or None."""
        return None

    def decode(self, work: Work, options: Any) -> Literal["cpu", "gpu"] | None:  # noqa: ARG002 - part of the contract
        """Where the JPEGs are decoded; None where nobody can know."""
        return "cpu"

    def prepare(self, work: Work, options: Any, progress: Progress = no_progress) -> Prepared:  # noqa: ARG002 - part of the contract
        """Convert, once and untimed, what the loader cannot read itself."""
        return Prepared(work)

    @abstractmethod
    def open(self, work: Work, options: Any) -> AbstractContextManager[Loader]:
        """Start the pipeline; leaving the context ends its processes and threads."""


@runtime_checkable
class Staged(Protocol):
    """A loader factory that can tell where its time goes. Asked for by ``isinstance``."""

    def stage_seconds(self, work: Work, options: Any, ids: NDArray[np.int64]) -> dict[str, float]:
        """Seconds of one core, for an image, in each stage of making raw batches of train epoch 0.

        By the stage's name: some of read, decode, transform, collate, in this order, by running the
        loader's own code, in one thread, on samples of which ``ids`` (N,) tells at least the number.
        ``work`` is as ``prepare`` returned it. Where the GPU decodes, seconds of the GPU. Empty where it
        cannot tell.
        """


class Held(NamedTuple):
    """Batches that a loader may hold at once, ready or under way, and how many of these in shared memory."""

    batches: int
    shared: int


@runtime_checkable
class Tunable(Protocol):
    """A loader factory that tells which of its options are worth searching. Asked for by ``isinstance``."""

    def tunable(self, work: Work, options: Any) -> Mapping[str, Sequence[Any]]:
        """Values worth trying, in their natural order, by the option's name, for this number of workers.

        A search begins with the values in ``options``, be they among these or not. Every value makes the
        same batches. The number of workers and the batch size, which any loader has, are no part of it.
        """

    def held(self, work: Work, options: Any) -> Held:
        """How many batches of uint8 the loader may hold on the host with these options."""


class ModelFamily(ABC):
    """Models by name, found by an entry point in the group ``throughput.models``."""

    requires: tuple[Requirement, ...] = ()

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the models, without building one."""

    @abstractmethod
    def build(self, name: str, num_classes: int, channels: int) -> Module:
        """A freshly initialised model that maps (N, C, S, S) to logits (N, num_classes)."""

    def image_size(self, name: str) -> int:  # noqa: ARG002 - part of the contract
        """The S that a model is made for: what it gets where nobody chooses."""
        return IMAGE_SIZE


class Report(ABC):
    """One output format, found by an entry point in the group ``throughput.reports``."""

    about: str = ""

    @abstractmethod
    def render(self, runs: Sequence[Results]) -> str:
        """One run or more as text in this format, in their order."""
