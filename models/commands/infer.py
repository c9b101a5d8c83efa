"""``throughput infer``: a model in onnxruntime, fed by any loader, and where it really ran."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from throughput.cli import INTERRUPTED
from throughput.cli.judging_options import models_option
from throughput.cli.output import require_writable, tell
from throughput.cli.shared_options import batch_option, data_options, json_option, opt_option, workers_option
from throughput.errors import NothingMeasuredError, OptionError

if TYPE_CHECKING:
    from throughput.contracts import Progress
    from throughput.models.inferring import Arm, Inference
    from throughput.results import Results


@click.command(name="infer")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path), metavar="MODEL.onnx")
@click.option(
    "--loader",
    default="torchvision",
    show_default=True,
    metavar="NAME[,NAME...]|all",
    help="What feeds it; each has a row.",
)
@click.option(
    "--data",
    metavar="PATH",
    help="Class folders, tar shards, a pattern of shards, or an .npy array. [default: photos made here]",
)
@data_options
@batch_option
@workers_option
@opt_option
@click.option(
    "--provider",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|tensorrt",
    help="Where it is to run: there, or not at all. auto: CUDA if it opens, else the CPU.",
)
@click.option(
    "--threads", type=int, metavar="N", help="Of one operation on the CPU. [default: the usable cores]"
)
@click.option("--cuda-graph", is_flag=True, help="Capture whole batches as CUDA graphs.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Of the same model: torch answers the same images, and the difference is told.",
)
@models_option
@click.option("--all", "every", is_flag=True, help="Judge by every image, not by those held out.")
@click.option(
    "--compare",
    "comparing",
    is_flag=True,
    help="The model alone in torch, torch.compile and onnxruntime (fp32, fp16, int8), side by side.",
)
@click.option(
    "--phases",
    default="load,model,train",
    show_default=True,
    metavar="NAME[,NAME...]",
    help="The loader alone, the session alone, both together (train).",
)
@click.option("--seconds", type=float, default=3.0, show_default=True, metavar="S", help="Of a timed pass.")
@click.option("--repeats", type=int, default=3, show_default=True, metavar="N", help="Passes of each phase.")
@click.option("--no-certificate", is_flag=True, help="Do not certify the loaders; their rows say so.")
@click.option("--recertify", is_flag=True, help="Certify anew what an earlier run has certified.")
@json_option
def command(
    *,
    model: Path,
    loader: str,
    data: str | None,
    batch: int | None,
    workers: str,
    assignments: tuple[str, ...],
    provider: str,
    threads: int | None,
    cuda_graph: bool,
    checkpoint: Path | None,
    models: tuple[str, ...],
    every: bool,
    comparing: bool,
    phases: str,
    seconds: float,
    repeats: int,
    no_certificate: bool,
    recertify: bool,
    json_path: Path | None,
    **chosen: Any,
) -> int:
    """Measure MODEL.onnx: every image is timed, made as held-out ones are; those held out tell the accuracy.

    The provider that really ran is told; one that was asked for and does not load is an error.
    """
    require_writable(json_path)
    from throughput.api import chosen_loaders
    from throughput.choices import choose_source
    from throughput.cli.progress import progress_bar
    from throughput.measure.budget import Budget
    from throughput.measure.plan import PHASES
    from throughput.models.inferring import Inference, infer
    from throughput.models.onnx_files import read_onnx
    from throughput.models.providers import open_session, require_torch_there
    from throughput.options import parse_assignments
    from throughput.training.checkpoint import read
    from throughput.training.judging import Judging

    file = read_onnx(model)
    loaders = chosen_loaders(loader)
    options = parse_assignments(assignments, loaders)
    wanted = tuple(one.strip() for one in phases.split(",") if one.strip())
    if comparing:
        measured = no_certificate or recertify or set(wanted) != set(PHASES)
        _require_comparable(loaders, measured=measured)
    elif models and checkpoint is None:
        raise OptionError("--model names the model of a --checkpoint: give that, too")
    if every and chosen["split_fraction"] is not None:
        raise OptionError("--split-fraction holds images out, and --all judges by every one: choose one")
    if checkpoint is not None:
        read(checkpoint, models)  # refused before anything is measured
    # So is a provider that does not run here; what auto chooses is chosen once.
    opened = open_session(file.data, provider, 1)
    provider, why = opened.provider, opened.chosen
    del opened
    if provider != "cpu":
        require_torch_there(provider)
    finished: list[Results] = []
    interrupted = False
    try:
        with progress_bar() as progress:
            source = choose_source(data, progress=progress, **chosen)
            device = "cpu" if provider == "cpu" else "cuda"
            judging = Judging(source, loaders[0], options[loaders[0]], batch, workers, "fp32", device)
            inference = Inference(
                file,
                judging,
                loaders,
                options,
                every=every,
                checkpoint=checkpoint,
                models=models,
                provider=provider,
                chosen=why,
                threads=threads,
                cuda_graph=cuda_graph,
                phases=wanted,  # type: ignore[arg-type] # it checks the names
                budget=Budget(seconds=seconds, repeats=repeats),
                certified=not no_certificate,
                recertify=recertify,
            )
            if comparing:
                with tempfile.TemporaryDirectory(prefix="tp-") as folder:
                    return _compare(inference, Path(folder), json_path, progress)
            infer(inference, progress, finished.append)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if finished:
            tell(finished[-1], json_path)
    if interrupted:
        click.echo("throughput: interrupted", err=True)
        return INTERRUPTED
    return _exit_status(finished[-1])


def _require_comparable(loaders: tuple[str, ...], *, measured: bool) -> None:
    """Raise OptionError for what --compare does not do. measured: options of other measurements are set."""
    if measured:
        raise OptionError(
            "--compare times the model alone and certifies no loader: leave --phases and certificates out"
        )
    if len(loaders) > 1:
        raise OptionError("--compare looks at the model alone: give one --loader")


def _exit_status(results: Results) -> int:
    """0 where anything was measured; else 2 for wrong input, or 3."""
    if any(row.status == "ok" for row in results.rows):
        return 0
    bad_input = all(row.bad_input for row in results.rows)
    return OptionError.exit_code if bad_input else NothingMeasuredError.exit_code


def _compare(inference: Inference, folder: Path, json_path: Path | None, progress: Progress) -> int:
    """Engines and precisions; what cannot be made of this model is told, and left out."""
    from throughput.models.commands.comparison_table import tell_comparison
    from throughput.models.inferring import compare, file_arm, require_fit, torch_arm
    from throughput.models.onnx_files import OnnxError
    from throughput.models.quantising import KINDS, quantise

    require_fit(inference)
    arms: list[Arm] = [file_arm(inference, inference.file.path, inference.file.precision)]
    if inference.checkpoint is not None or not inference.file.foreign:
        arms = [torch_arm(inference, "torch"), torch_arm(inference, "torch.compile"), *arms]
    if inference.file.precision == "fp32":
        for kind in KINDS:
            try:
                made = quantise(inference.file, kind, inference.judging, progress=progress)
            except OnnxError as error:
                click.echo(f"throughput: {error}", err=True)
                continue
            path = folder / f"{kind}.onnx"
            path.write_bytes(made)
            arms.append(file_arm(inference, path, kind))
    results = compare(inference, arms, progress)
    tell_comparison("Ways to compute the same answers", results, [arm.name for arm in arms], json_path)
    return 0
