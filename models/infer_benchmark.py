"""What a test calls to measure a model in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from throughput.choices import choose_source
from throughput.measure.plan import require_phases
from throughput.models.inferring import Inference, infer
from throughput.models.onnx_files import read_onnx
from throughput.models.providers import open_session
from throughput.results import PhaseName, Results, Row
from throughput.training.judging import Judging

if TYPE_CHECKING:
    from throughput.choices import Data
    from throughput.pytesting.measuring import How, Measured


class InferBenchmark:
    """Call it once in a test."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def __call__(
        self,
        model: str | Path,
        loader: str = "torchvision",
        data: Data = None,
        *,
        phases: Sequence[PhaseName] = ("load", "model", "train"),
        provider: str = "auto",
        threads: int | None = None,
        checkpoint: Path | None = None,
        batch_size: int | None = None,
        workers: int | str | None = None,
        options: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        repeats: int | None = None,
        certified: bool = True,
    ) -> Row:
        """Measure a .onnx file, and return the row of the results, ``train`` being loader and session
        together.

        All is as for ``throughput infer``; data, batch_size and workers are those of the command line where
        they are None.
        """
        require_phases(phases)
        chosen = tuple(phases)

        def measure(how: How) -> Results:
            file = read_onnx(Path(model))
            opened = open_session(file.data, provider, 1)
            judging = Judging(
                choose_source(how.data if data is None else data),
                loader,
                options or {},
                batch_size or how.settings.get("batch_size"),
                workers or how.settings.get("workers", "auto"),
                "fp32",
                "cpu" if opened.provider == "cpu" else "cuda",
            )
            inference = Inference(
                file,
                judging,
                (loader,),
                {loader: options or {}},
                checkpoint=checkpoint,
                provider=opened.provider,
                chosen=opened.chosen,
                threads=threads,
                phases=chosen[-1:] if how.alone else chosen,
                budget=how.budget(seconds, None, repeats),
                certified=certified and how.certified,
            )
            del opened
            return infer(inference, go_on=how.go_on, nursery=how.nursery, measure_block=how.measure_block)

        return self._measured(measure, chosen[-1])
