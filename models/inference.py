"""A model that answers, as what takes the batches of a measurement: in onnxruntime, or in torch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from throughput.contracts import Batch, Loader, Work
from throughput.inferred import Engine, Parity, Runtime
from throughput.measure.feed import Feed
from throughput.measure.stream import HasEpochs
from throughput.models.answering import Answer, pixels_of, session_answer
from throughput.models.layouts import PixelFeed, PlaneFeed
from throughput.models.onnx_files import Layout, read_onnx
from throughput.models.parity import LIMIT, halves, parity_of
from throughput.models.providers import open_session
from throughput.results import PhaseName, Row
from throughput.trained import Classification, Evaluation
from throughput.training.checkpoint import Subject, read, require_chosen
from throughput.training.metrics import judge
from throughput.training.predictions import answering, predict

_TIMED_BATCHES = 16
"""On a GPU: how often a batch is timed by itself, after twice that it is not."""


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
        return PixelFeed(loader, work) if self.layout == "uint8 NHWC" else PlaneFeed(Feed(loader, work))

    def start(self, work: Work, batches: Sequence[Batch], *, takes_work: bool) -> _Model:  # noqa: ARG002 - as of any
        """The session or the model, open."""
        if self.engine == "onnxruntime":
            return self._session(work)
        torch.set_num_threads(self.threads)
        torch.backends.cudnn.allow_tf32 = False  # as of the sessions that it stands beside
        # Without a GPU it warns of there being none whenever torch.compile is used.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
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
        return _Model(self, work, answer, runtime)

    def trained(self) -> torch.nn.Module:
        """The model in torch."""
        if self.checkpoint is not None:
            return read(self.checkpoint, self.models).load()
        require_chosen(self.file or Path(self.subject.model), self.subject.model, self.models)
        return self.subject.build()


class _Model:
    """Answers. A GPU's queue is not emptied after each batch: how long one takes is timed apart."""

    def __init__(self, made_of: Answering, work: Work, answer: Answer, runtime: Runtime) -> None:
        self._made_of = made_of
        self._work = work
        self._answer = answer
        self._runtime = runtime
        self._seconds: list[float] = []
        self._device = torch.device(work.device)
        self._batch: Batch | None = None

    def __call__(self, batch: Batch) -> object:
        if self._device.type == "cuda":
            self._batch = self._batch or batch
            return self._answer(batch.images)
        begin = time.perf_counter()
        answered = self._answer(batch.images)
        self._seconds.append(time.perf_counter() - begin)
        return answered

    def wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()

    def begin(self, state: Path) -> None:
        """Nothing is learnt."""

    def leave(self, state: Path) -> None:
        """Nothing was learnt."""

    def told(self, row: Row, phase: PhaseName) -> Row:
        """How long each batch took, of the model alone; by what means."""
        if phase != "model" or row.model is None:
            return replace(row, runtime=row.runtime or self._runtime)
        (one,) = row.model.passes
        last = tuple(self._seconds[-len(one.batch_wait_seconds) :])
        if self._batch is not None:
            last = self._timed(self._batch.images, lambda images: images)
            host = self._batch.images.cpu().pin_memory()
            taken = self._timed(host, lambda images: images.to(self._device, non_blocking=True), to_host=True)
            rate = len(host) / median(taken)
            self._runtime = replace(self._runtime, host_images_per_second=rate)
            self._batch = None
        model = replace(row.model, passes=(replace(one, batch_step_seconds=last),))
        return replace(row, model=model, runtime=self._runtime)

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
            other = "torch" if made_of.reference == "torch" else Path(made_of.reference).name
            parity = parity_of(both, other)
            row = replace(row, parity=parity, warnings=(*row.warnings, *self._strange(parity)))
        metrics = judge(found)
        accuracy = metrics.top1 if isinstance(metrics, Classification) else None
        return replace(row, accuracy=accuracy, evaluation=Evaluation(name, subject.classes, metrics))

    def _strange(self, parity: Parity) -> Iterator[str]:
        """A remark where answers in fp32 are not those of the same weights."""
        made_of = self._made_of
        if made_of.reference == "torch" and self._runtime.precision == "fp32" and parity.relative > LIMIT:
            yield (
                f"the answers differ from torch's by {parity.relative:.1e} of the largest logit; an export "
                f"may be off by {LIMIT:g}: {made_of.file} holds other weights than {made_of.checkpoint}"
            )

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

    def _timed(
        self, images: Tensor, bring: Callable[[Tensor], Tensor], *, to_host: bool = False
    ) -> tuple[float, ...]:
        """Seconds for the same batch again and again, each waited for; ``bring`` and ``to_host`` included."""
        taken = []
        for _ in range(2 + _TIMED_BATCHES):
            begin = time.perf_counter()
            answered = self._answer(bring(images))
            if to_host:
                answered.cpu()
            self.wait()
            taken.append(time.perf_counter() - begin)
        return tuple(taken[2:])
