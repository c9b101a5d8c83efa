"""Smaller numbers in a graph: fp16, and int8 by onnxruntime's quantiser, from an fp32 file."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from throughput.contracts import Progress, Work, no_progress
from throughput.errors import OptionError, ThroughputError, first_line
from throughput.models.answering import pixels_of
from throughput.models.exporting import evenly
from throughput.models.onnx_files import OnnxError, OnnxFile, parse, with_metadata
from throughput.training.judging import Judging

Kind = Literal["fp16", "int8-dynamic", "int8-static"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Method = Literal["minmax", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Calibration:
    """How int8-static learns the ranges of what is computed.

    images: how many of the source's are looked at, evenly from the first to the last. method: the smallest
    and largest value that came, or the range that keeps most of the entropy (Migacz, "8-bit Inference with
    TensorRT", GTC 2017). reduce_range: weights of 7 bits, for x86 CPUs without VNNI, whose sums saturate.
    """

    images: int = 128
    method: Method = "minmax"
    reduce_range: bool = False

    def __post_init__(self) -> None:
        if self.images < 1:
            raise OptionError(f"--calibration-images must be 1 or more, got {self.images}")
        if self.method not in METHODS:
            raise OptionError(f"--calibration must be one of {', '.join(METHODS)}, got {self.method!r}")


def calibration_for(kind: str, images: int | None, method: str | None, *, reduce_range: bool) -> Calibration:
    """What was chosen, None for the usual. Raises OptionError for what does not go with a kind."""
    if kind != "int8-static" and (images is not None or method is not None):
        raise OptionError(f"--calibration and --calibration-images belong to --to int8-static, not {kind}")
    if kind == "fp16" and reduce_range:
        raise OptionError("--reduce-range belongs to int8, not fp16")
    usual = Calibration()
    return Calibration(
        usual.images if images is None else images,
        usual.method if method is None else method,  # type: ignore[arg-type] # it checks the name
        reduce_range,
    )


def require_kind(kind: str) -> None:
    """Raise OptionError for what is no way to quantise."""
    if kind not in KINDS:
        raise OptionError(f"--to must be one of {', '.join(KINDS)}, got {kind!r}")


def quantise(
    model: OnnxFile,
    kind: str,
    judging: Judging,
    calibration: Calibration = Calibration(),
    progress: Progress = no_progress,
) -> bytes:
    """The model in smaller numbers, as a file's bytes. Input and output keep their types.

    judging: what int8-static is calibrated with. Raises OptionError; OnnxError where it cannot be done.
    """
    require_kind(kind)
    if model.precision != "fp32":
        raise OnnxError(f"{model.path} is {model.precision} already: give the fp32 file that it was made of")
    progress(f"quantising to {kind}", 0, None)
    try:
        with tempfile.TemporaryDirectory(prefix="tp-") as folder, _quiet():
            made = _made(model, kind, judging, calibration, Path(folder), progress)
    except ThroughputError:
        raise  # the images are the user's
    except Exception as error:  # onnxruntime's quantiser fails in any way
        cause = f"{type(error).__name__}: {first_line(error)}"
        raise OnnxError(f"{model.path} cannot be made {kind}: {cause}") from error
    subject = model.for_source(judging.source)
    return with_metadata(
        made,
        subject,
        precision=kind,
        command=model.command,
        layout=model.layout,
        foreign=model.foreign,
    )


def _made(
    model: OnnxFile, kind: str, judging: Judging, calibration: Calibration, folder: Path, progress: Progress
) -> Any:
    if kind == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        return convert_float_to_float16(parse(model.path, model.data), keep_io_types=True)

    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    given, prepared, out = folder / "given.onnx", folder / "prepared.onnx", folder / "out.onnx"
    given.write_bytes(model.data)
    # Batch norms are folded into convolutions, and shapes told, before anything is rounded.
    quant_pre_process(given, prepared, skip_symbolic_shape=True)
    if kind == "int8-dynamic":
        # The quantiser transposes weights of dense layers, and stumbles over the shapes that they had.
        shapeless = parse(prepared, prepared.read_bytes())
        del shapeless.graph.value_info[:]
        # onnxruntime's CPU has ConvInteger for unsigned weights only.
        quantize_dynamic(
            shapeless,
            out,
            per_channel=True,
            reduce_range=calibration.reduce_range,
            weight_type=QuantType.QUInt8,
        )
    else:
        quantize_static(
            prepared,
            out,
            _Batches(model, calibration_batches(model, judging, calibration.images, progress)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=calibration.reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method={"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy}[
                calibration.method
            ],
            # Histograms are made image by image: of all at once, every intermediate would be held.
            extra_options={"CalibStridedMinMax": 1} if calibration.method == "entropy" else {},
        )
    return parse(out, out.read_bytes())


def calibration_batches(
    model: OnnxFile, judging: Judging, images: int, progress: Progress = no_progress
) -> list[Tensor]:
    """Images to train on, made as held-out ones are, as the graph takes them; held-out ones without any."""
    source = judging.source
    train = source.ids("train")
    ids = evenly(train if len(train) else source.ids("val"), images)
    few = replace(judging, ids=ids, device="cpu", precision="fp32")
    found: list[Tensor] = []

    def keep(work: Work) -> Any:
        pixels = pixels_of(work)

        def kept(ready: Tensor) -> Tensor:
            given = (
                pixels(ready)
                if model.layout == "uint8 NHWC"
                else ready.clone(memory_format=torch.contiguous_format)
            )
            found.append(given)
            return torch.zeros((len(ready), 1))

        return kept

    few.answers(model.subject, keep, progress)
    return found


class _Batches:
    """onnxruntime's CalibrationDataReader: one image after another, None after the last of a range."""

    def __init__(self, model: OnnxFile, batches: list[Tensor]) -> None:
        self._name = model.input
        self._images = torch.cat(batches)
        self._next, self._end = 0, len(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Any] | None:
        """Input name -> array of one image."""
        if self._next >= self._end:
            return None
        self._next += 1
        return {self._name: self._images[self._next - 1 : self._next].numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantiser prints what it does, logs advice, and warns of its own graphs."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
