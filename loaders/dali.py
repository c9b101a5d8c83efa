"""``dali``: NVIDIA DALI decodes and resizes; on the GPU (``mixed``) where there is one, else on the CPU.

The crops are drawn here, as everywhere, and DALI decodes only what the crop keeps: its own random crop
draws from other distributions than torchvision's. The encoded bytes are read by threads of this process
ahead of the pipeline, so that any source will do and the order of samples is ours.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from throughput.canonical import epoch_ids
from throughput.contracts import Fault, Held, Loader, LoaderFactory, Requirement, Work
from throughput.dead_workers import memory_words
from throughput.errors import LoaderError, OptionError, SampleError
from throughput.loaders.ahead import Ahead, Encode, Encoded, encoded_batch, sized
from throughput.loaders.epochs import EpochLoader, Made
from throughput.loaders.workers import PREFETCHES
from throughput.measure.environment import Finding
from throughput.pixels import render_sound
from throughput.resuming import Delivered

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

_INSTALL = "pip install nvidia-dali-cuda120 (or nvidia-dali-cuda130 for drivers of CUDA 13)"
_BUILDS = ("nvidia-dali-cuda120", "nvidia-dali-cuda130")

Stage = Literal["read", "decode", "transform"]
_STAGES: tuple[Stage, ...] = ("read", "decode", "transform")
_ENGINE_SHARES = (0.5, 0.75, 0.9, 1.0)
"""Shares of the images for the GPU's JPEG engine that are worth trying."""


@dataclass(frozen=True)
class DaliOptions:
    """prefetch: batches that DALI keeps ready. decode: where; ``auto`` is the GPU where the work has one.

    hw_decoder_load: share of the images for the GPU's JPEG engine, 0..1; the rest its cores decode.
    """

    prefetch: int = 2
    decode: str = "auto"
    hw_decoder_load: float = 0.9

    def __post_init__(self) -> None:
        if self.prefetch < 1:
            raise OptionError(f"prefetch must be 1 or more, got {self.prefetch}")
        if self.decode not in ("auto", "cpu", "gpu"):
            raise OptionError(f"decode must be auto, cpu or gpu, got {self.decode!r}")
        if not 0 <= self.hw_decoder_load <= 1:
            raise OptionError(f"hw_decoder_load must lie in 0..1, got {self.hw_decoder_load}")


class DaliLoaderFactory(LoaderFactory):
    """A DALI pipeline with fused region decoding."""

    name = "dali"
    about = "NVIDIA DALI, decoding on the GPU where there is one, else on the CPU"
    requires = (Requirement("torch", "pip install torch"), Requirement("nvidia.dali", _INSTALL))
    Options = DaliOptions

    def decode(self, work: Work, options: DaliOptions) -> Literal["cpu", "gpu"]:
        """The GPU for a CUDA device unless ``decode`` says otherwise."""
        if options.decode == "gpu" or (options.decode == "auto" and work.device.startswith("cuda")):
            return "gpu"
        return "cpu"

    @contextmanager
    def open(self, work: Work, options: DaliOptions) -> Iterator[Loader]:
        """The pipeline is built with the first batch; its threads end with the context."""
        decode = self.decode(work, options)
        if decode == "gpu" and not work.device.startswith("cuda"):
            raise OptionError(
                f"dali.decode=gpu needs --device cuda, got {work.device}: choose decode=auto or cpu"
            )
        with closing(DaliLoader(work, options, decode)) as loader:
            yield loader

    def stage_seconds(self, work: Work, options: DaliOptions, ids: NDArray[np.int64]) -> dict[str, float]:
        """By leaving stages out: DALI fuses them, so what a stage adds to a pipeline is what it takes.

        A difference below nothing is noise around nothing, and told as 0.
        """
        from throughput.measure.stages import core_seconds

        decode = self.decode(work, options)
        samples = [int(sample) for sample in ids]
        images, read_seconds = core_seconds(
            lambda: [sized(work, sample, work.source.read(sample)) for sample in samples]
        )
        whole = encoded_batch(work, 0, ids, images)
        spent = [_pipeline_seconds(work, options, decode, whole, last) / len(ids) for last in _STAGES]
        return {
            "read": read_seconds / len(ids) + spent[0],
            "decode": max(0.0, spent[1] - spent[0]),
            "transform": max(0.0, spent[2] - spent[1]),
        }

    def tunable(self, work: Work, options: DaliOptions) -> Mapping[str, Sequence[float]]:
        """How far DALI goes ahead; on a GPU also how much its JPEG engine is given."""
        if self.decode(work, options) == "gpu":
            return {"prefetch": PREFETCHES, "hw_decoder_load": _ENGINE_SHARES}
        return {"prefetch": PREFETCHES}

    def held(self, work: Work, options: DaliOptions) -> Held:
        """In memory of DALI's own: none of it on the host where the GPU decodes."""
        on_host = self.decode(work, options) == "cpu"
        return Held(options.prefetch + 1 if on_host else 0, 0)


class DaliLoader(EpochLoader):
    """A pipeline fed by threads that read ahead. encode: what is done to images before they are decoded."""

    def __init__(
        self,
        work: Work,
        options: DaliOptions,
        decode: Literal["cpu", "gpu"],
        encode: Encode = encoded_batch,
    ) -> None:
        super().__init__(work, len(epoch_ids(work, 0)))
        self._encode = encode
        self._options = options
        self._decode = decode
        self._pipeline: Any = None
        self._ahead: Ahead | None = None
        self._in_pipeline: deque[Encoded] = deque()
        self._again: deque[Encoded] = deque()
        self._lent: deque[tuple[torch.cuda.Event, Tensor]] = deque()

    def _begin(self, first_epoch: int, delivered: Delivered) -> Iterator[Made]:
        """A new pipeline: one that was left in mid-epoch, or has failed, counts its batches wrongly."""
        self._end()
        self._ahead = Ahead(self._work, first_epoch, self._options.prefetch, self._encode, delivered)
        self._pipeline = self._built()
        while True:
            try:
                images = self._run()
            except RuntimeError as error:
                self._go_on_after(error)
                continue
            encoded = self._in_pipeline.popleft()
            yield Made(encoded.ids, images, encoded.faults)
            del images

    def _end(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None
        self._end_pipeline()
        self._again.clear()

    def _end_pipeline(self) -> None:
        if self._pipeline is not None:
            # DALI offers no public way. An error's traceback may hold the pipeline for longer; a process that
            # is forked meanwhile and collects it as garbage would crash ending threads that it has not.
            getattr(self._pipeline, "_shutdown", lambda: None)()
        self._pipeline = None
        self._in_pipeline.clear()
        while self._lent:
            self._lent.popleft()[0].synchronize()

    def _built(self) -> Any:
        try:
            return _build(self._work, self._options, self._decode, self._next_inputs)
        except RuntimeError as error:
            cause = " ".join(str(error).rpartition("encountered:")[2].split())[:400]
            raise LoaderError(f"DALI cannot start: {cause}; {memory_words()}") from error

    def _go_on_after(self, error: RuntimeError) -> None:
        """Let a new pipeline do what the failed one had under way, without the samples that it failed on.

        Raises SampleError for the first of them where the work says so, and LoaderError where there is none.
        """
        under_way = list(self._in_pipeline)
        bad = {fault.id: fault for encoded in under_way for fault in self._failing(encoded)}
        if not bad:
            raise LoaderError(f"DALI failed: {' '.join(str(error).split())[:400]}") from error
        if self._work.on_error == "raise":
            _, sample, cause = next(iter(bad.values()))
            raise SampleError(sample, cause) from error
        self._end_pipeline()
        self._again.extendleft(encoded.without(bad) for encoded in reversed(under_way))
        self._pipeline = self._built()

    def _next_inputs(self) -> tuple[list[NDArray[Any]] | NDArray[Any], ...]:
        """What DALI asks for when it wants to work on one more batch."""
        assert self._ahead is not None
        encoded = self._again.popleft() if self._again else next(self._ahead, None)
        if encoded is None:
            raise StopIteration
        self._in_pipeline.append(encoded)
        regions = encoded.regions
        return (encoded.data, regions.start, regions.shape, regions.resize_from, regions.resize_to)

    def _run(self) -> Any:
        """The next batch's images, (N, S, S, C) uint8, on the device that decoded them."""
        import torch

        try:
            (images,) = self._pipeline.run()
            tensor = torch.utils.dlpack.from_dlpack(images.as_tensor())
            return self._own(tensor) if tensor.is_cuda else tensor
        except StopIteration:
            raise LoaderError("DALI ended the epoch before its last batch") from None

    def _own(self, lent: Tensor) -> Tensor:
        """A copy in torch's memory of what lies in DALI's, on the current stream.

        DALI takes its memory back with the last reference and does not know that the copy may still be
        under way, so the reference is kept until the copy has happened.
        """
        import torch

        while len(self._lent) > self._options.prefetch:
            self._lent.popleft()[0].synchronize()
        ours = lent.clone()
        event = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch types it not
        event.record(torch.cuda.current_stream(lent.device))
        self._lent.append((event, lent))
        return ours

    def _failing(self, encoded: Encoded) -> list[Fault]:
        """The samples of a batch that cannot be decoded: DALI names none.

        By Pillow, which tells why; where it decodes all of them, by DALI one by one.
        """
        told = replace(self._work, on_error="skip")
        data = [one.tobytes() for one in encoded.data]
        _, faults = render_sound(told, 0, encoded.ids, data)
        return faults or [
            Fault(sample, self._work.source.describe(sample), f"DALI cannot decode it: {cause}")
            for place, sample in enumerate(encoded.ids.tolist())
            if (cause := self._refusal(encoded, place)) is not None
        ]

    def _refusal(self, encoded: Encoded, place: int) -> str | None:
        """What DALI says of one image of a batch by itself; None where it decodes it."""
        regions = [part[place : place + 1] for part in encoded.regions]
        alone = replace(self._work, workers=1, batch_size=1)
        inputs = ([encoded.data[place]], *regions)
        pipeline = _build(alone, replace(self._options, prefetch=1), self._decode, lambda: inputs)
        try:
            pipeline.run()
        except RuntimeError as error:
            return " ".join(str(error).split())[:400]
        finally:
            getattr(pipeline, "_shutdown", lambda: None)()  # as above
        return None


def _build(
    work: Work,
    options: DaliOptions,
    decode: Literal["cpu", "gpu"],
    next_inputs: Callable[[], tuple[Any, ...]],
    last: Stage = "transform",
) -> Any:
    """A pipeline, built, that does the work up to and with the stage ``last``."""
    from nvidia.dali import fn, pipeline_def, types

    on_gpu = decode == "gpu"
    size = work.image_size

    @pipeline_def(  # type: ignore[untyped-decorator] # DALI is not typed
        batch_size=work.batch_size,
        num_threads=work.workers,
        device_id=_device_index(work) if on_gpu else None,
        prefetch_queue_depth=options.prefetch,
        exec_dynamic=True,
        seed=work.seed,
    )
    def pipeline() -> Any:
        encoded, start, shape, resize_from, resize_to = fn.external_source(
            source=next_inputs,
            num_outputs=5,
            batch=True,
            # What is in the pipeline is held on to anyway. A GPU may read it later than that.
            no_copy=not on_gpu,
            dtype=[types.UINT8, types.INT32, types.INT32, types.FLOAT, types.FLOAT],
        )
        if last == "read":
            return encoded, start, shape, resize_from, resize_to
        images = fn.decoders.image_slice(
            encoded,
            start=start,
            shape=shape,
            axis_names="HW",
            adjust_orientation=False,
            jpeg_fancy_upsampling=True,
            output_type=types.RGB if work.channels == 3 else types.GRAY,
            **(
                {"device": "mixed", "hw_decoder_load": options.hw_decoder_load}
                if on_gpu
                else {"device": "cpu"}
            ),
        )
        if last == "decode":
            return images, resize_from, resize_to
        # A region whose end lies left of its start comes out mirrored.
        return fn.resize(
            images,
            size=[size, size],
            roi_start=resize_from,
            roi_end=resize_to,
            interp_type=types.INTERP_LINEAR,
            antialias=True,
        )

    built = pipeline()
    built.build()
    return built


def _pipeline_seconds(
    work: Work, options: DaliOptions, decode: Literal["cpu", "gpu"], images: Encoded, last: Stage
) -> float:
    """Seconds that a pipeline up to and with ``last`` takes for ``images``: CPU time, or the GPU's.

    One batch, by one thread; the second run counts, for the first one makes room.
    """
    import torch

    regions = images.regions
    inputs = (images.data, regions.start, regions.shape, regions.resize_from, regions.resize_to)
    one_by_one = replace(options, prefetch=1)
    alone = replace(work, workers=1, batch_size=len(images.ids))
    pipeline = _build(alone, one_by_one, decode, lambda: inputs, last)
    clock = time.perf_counter if decode == "gpu" else time.process_time

    def run() -> float:
        begin = clock()
        pipeline.run()
        if decode == "gpu":
            torch.cuda.synchronize(work.device)
        return clock() - begin

    try:
        run()
        return run()
    finally:
        getattr(pipeline, "_shutdown", lambda: None)()  # as in close()


def _device_index(work: Work) -> int:
    _, _, index = work.device.partition(":")
    return int(index or 0)


def diagnose() -> Iterable[Finding]:
    """Which DALI build is live, and whether two are in each other's way."""
    installed = []
    for build in _BUILDS:
        try:
            installed.append(f"{build} {version(build)}")
        except PackageNotFoundError:
            continue
    if not installed:
        return  # what a loader lacks is told for every loader alike
    problem = cure = None
    if len(installed) > 1:
        problem = "two builds hold the same module: the one installed last is live"
        cure = f"pip uninstall {' '.join(_BUILDS)}, then install one of them"
    try:
        import nvidia.dali

        # CUDA's own numbering: 1000 * major + 10 * minor, and DALI adds more below.
        live = f"built for CUDA {nvidia.dali.__cuda_version__ // 1000}"
    except Exception as error:  # noqa: BLE001 - a broken installation fails in any way
        live, problem, cure = "does not import", f"{type(error).__name__}: {error}", _INSTALL
    yield Finding("DALI", f"{', '.join(installed)}; {live}", problem, cure)
