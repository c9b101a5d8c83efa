"""A model that answers, as what takes the batches of a measurement: in onnxruntime, or in torch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from throughput.contracts import Batch, Loader, Work
from throughput.errors import LoaderError
from throughput.inferred import Engine, Runtime
from throughput.measure.feed import Feed, require_shape
from throughput.measure.stream import HasEpochs
from throughput.memory import ReusedMemory
from throughput.models.answering import Answer, pixels_of, session_answer
from throughput.models.onnx_files import Layout, read_onnx
from throughput.models.parity import halves, parity_of
from throughput.models.providers import Session, open_session
from throughput.results import PhaseName, Row
from throughput.trained import Classification, Evaluation
from throughput.training.checkpoint import Subject, read, require_chosen
from throughput.training.metrics import judge
from throughput.training.predictions import answering, predict

_HOST_BATCHES = 8
"""Batches that are timed with their transfers, after two that are not."""


@dataclass(frozen=True)
class Answering:
    """A model that answers for batches (``throughput.measure.consumer``).

    subject: what it knows. file: of an onnxruntime session. checkpoint: of the model in torch; without one,
    torch has the subject's model untrained. models: names that a checkpoint may have (``checkpoint.read``).
    reference: beside which the answers are judged: "torch", or an fp32 file. provider, threads, cuda_graph:
    of the session. chosen: why that provider, where nobody asked for it. layout: of what the session takes.
    """

    subject: Subject
    engine: Engine = "onnxruntime"
    file: Path | None = None
    checkpoint: Path | None = None
    models: tuple[str, ...] = ()
    reference: Path | Literal["torch"] | None = None
    provider: str = "auto"
    threads: int = 1
    cuda_graph: bool = False
    chosen: str | None = None
    layout: Layout = "float32 NCHW"

    def feed(self, loader: Loader, work: Work) -> HasEpochs:
        """Ready batches; for a session laid out as it takes them."""
        if self.engine != "onnxruntime":
            return Feed(loader, work)
        return _Pixels(loader, work) if self.layout == "uint8 NHWC" else _Planes(Feed(loader, work))

    def start(self, work: Work, batches: Sequence[Batch], *, takes_work: bool) -> _Model:  # noqa: ARG002 - as of any
        """The session or the model, open."""
        if self.engine == "onnxruntime":
            return self._session(work)
        torch.set_num_threads(self.threads)
        compiled = self.engine == "torch.compile"
        answer = answering(self.trained(), torch.device(work.device), work.compute_dtype, compiled=compiled)
        precision = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}[work.compute_dtype]
        return _Model(self, work, answer, Runtime(self.engine, precision, threads=self.threads))

    def _session(self, work: Work) -> _Model:
        assert self.file is not None
        found = read_onnx(self.file)
        device = torch.device(work.device)
        stream = None
        if device.type == "cuda" and not self.cuda_graph:
            # What the loader does on the device goes on beside the session, as beside training.
            torch.cuda.synchronize(device)  # batches that another stream has made are ready
            own = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch types it not
            torch.cuda.set_stream(own)
            stream = int(own.cuda_stream)
        opened = open_session(
            found.data,
            self.provider,
            self.threads,
            device_index=device.index or 0,
            cuda_graph=self.cuda_graph,
            stream=stream,
        )
        answer = session_answer(opened, self.layout, fixed_batch=work.batch_size if self.cuda_graph else None)
        runtime = Runtime(
            "onnxruntime",
            found.precision,
            provider=opened.provider,
            chosen=self.chosen or opened.chosen,
            threads=opened.threads,
            nodes=opened.nodes,
            fallback_nodes=opened.fallback_nodes,
            file=str(self.file),
            bytes=len(found.data),
        )
        return _Model(self, work, answer, runtime, opened)

    def trained(self) -> torch.nn.Module:
        """The model in torch."""
        if self.checkpoint is not None:
            return read(self.checkpoint, self.models).load()
        require_chosen(self.file or Path(self.subject.model), self.subject.model, self.models)
        return self.subject.build()


class _Planes:
    """Ready batches with their channels as planes, (N, C, S, S) contiguous, as a graph takes them."""

    def __init__(self, feed: Feed) -> None:
        self.samples_per_epoch = feed.samples_per_epoch
        self._feed = feed
        self._memory = ReusedMemory()

    def epoch(self, index: int) -> Iterator[Batch]:
        for batch in self._feed.epoch(index):
            images = batch.images
            if images.device.type == "cpu":
                planes = self._memory.take(images.numel(), images.dtype).view(images.shape).copy_(images)
            else:
                planes = images.contiguous()
            yield batch._replace(images=planes)


class _Pixels:
    """A loader's own uint8 batches as (N, S, S, C), for a graph that normalises by itself."""

    def __init__(self, loader: Loader, work: Work) -> None:
        self.samples_per_epoch = loader.samples_per_epoch
        self._loader = loader
        self._work = work
        self._device = torch.device(work.device)

    def epoch(self, index: int) -> Iterator[Batch]:
        for batch in self._loader.epoch(index):
            require_shape(batch, self._work)
            if batch.images.dtype != torch.uint8:
                raise LoaderError(
                    "the model normalises by itself and takes uint8 images, and this loader yields "
                    f"{batch.images.dtype}: export without --embed-preprocessing, or choose another loader"
                )
            images = batch.images.permute(0, 2, 3, 1).contiguous().to(self._device, non_blocking=True)
            yield Batch(images, batch.labels, batch.ids)


class _Model:
    """Answers. Alone each batch is timed, and waited for; beside a loader a GPU's queue is not emptied."""

    def __init__(
        self, made_of: Answering, work: Work, answer: Answer, runtime: Runtime, opened: Session | None = None
    ) -> None:
        self._made_of = made_of
        self._work = work
        self._answer = answer
        self._runtime = runtime
        self._opened = opened
        self._seconds: list[float] = []
        self._alone = True
        self._device = torch.device(work.device)
        self._host_batch: Batch | None = None

    def __call__(self, batch: Batch) -> object:
        if self._device.type == "cuda" and self._host_batch is None:
            self._host_batch = Batch(batch.images.cpu().pin_memory(), batch.labels, batch.ids)
        if not self._alone:
            return self._answer(batch.images)
        begin = time.perf_counter()
        answered = self._answer(batch.images)
        self.wait()
        self._seconds.append(time.perf_counter() - begin)
        return answered

    def wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()

    def begin(self, state: Path) -> None:  # noqa: ARG002 - as of any
        """Nothing is learnt; from here on a loader runs beside."""
        self._alone = False

    def leave(self, state: Path) -> None:
        """Nothing was learnt."""

    def told(self, row: Row, phase: PhaseName) -> Row:
        """How long each batch took, of the model alone; by what means."""
        if phase != "model" or row.model is None:
            return replace(row, runtime=row.runtime or self._runtime)
        (one,) = row.model.passes
        last = tuple(self._seconds[-len(one.batch_wait_seconds) :])
        model = replace(row.model, passes=(replace(one, batch_step_seconds=last),))
        return replace(row, model=model, runtime=self._with_transfers())

    def judge(self, row: Row, batches: Iterable[Batch]) -> Row:
        """Accuracy, precision, recall and F1; beside a checkpoint, how far the answers are torch's."""
        made_of = self._made_of
        subject = made_of.subject
        name = subject.model if made_of.file is None else f"{made_of.file}"
        if made_of.engine != "onnxruntime" and made_of.checkpoint is None:
            return replace(row, accuracy_reason="the model was not trained: give its --checkpoint")
        if made_of.reference is None:
            found = predict(self._answer, batches)
        else:
            both = predict(self._beside(made_of.reference), batches)
            found, _ = halves(both)
            name = "torch" if made_of.reference == "torch" else Path(made_of.reference).name
            row = replace(row, parity=parity_of(both, name))
        metrics = judge(found)
        accuracy = metrics.top1 if isinstance(metrics, Classification) else None
        return replace(row, accuracy=accuracy, evaluation=Evaluation(name, subject.classes, metrics))

    def _beside(self, reference: Path | Literal["torch"]) -> Answer:
        """These answers, and the reference's in float32 for the same images, side by side."""
        if reference == "torch":
            other, layout = answering(self._made_of.trained(), self._device, "float32"), None
        else:
            file = read_onnx(reference)
            layout = file.layout
            other = session_answer(open_session(file.data, "cpu", self._made_of.threads), layout)
        mean, std = (torch.tensor(one).view(1, -1, 1, 1) for one in (self._work.mean, self._work.std))
        pixels = pixels_of(self._work)

        def as_other(images: Tensor) -> Tensor:
            if layout is None and images.dtype == torch.uint8:
                unit = images.permute(0, 3, 1, 2).float() / 255
                return (unit - mean.to(images.device)) / std.to(images.device)
            if layout == "uint8 NHWC" and images.is_floating_point():
                return pixels(images).cpu()
            if layout is not None:
                return (images.float() if images.is_floating_point() else images).cpu().contiguous()
            return images

        def answer(images: Tensor) -> Tensor:
            return torch.cat(
                [self._answer(images).float().cpu(), other(as_other(images)).float().cpu()], dim=1
            )

        return answer

    def _with_transfers(self) -> Runtime:
        """On a GPU, with the rate of batches that come from the host's memory and whose answers go there."""
        if self._device.type != "cuda" or self._host_batch is None:
            return self._runtime
        images = self._host_batch.images
        taken = []
        for _ in range(2 + _HOST_BATCHES):
            begin = time.perf_counter()
            self._answer(images.to(self._device, non_blocking=True)).cpu()
            taken.append(time.perf_counter() - begin)
        self._runtime = replace(self._runtime, host_images_per_second=len(images) / median(taken[2:]))
        return self._runtime
