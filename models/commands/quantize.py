"""``throughput quantize``: the same model in smaller numbers, and what that costs and gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from throughput.cli.judging_options import images_options, judging_of
from throughput.cli.output import require_writable
from throughput.cli.shared_options import json_option
from throughput.errors import OptionError


@click.command(name="quantize")
@click.argument("given", type=click.Path(dir_okay=False, path_type=Path), metavar="IN.onnx")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.onnx")
@click.option(
    "--to",
    "kind",
    required=True,
    metavar="fp16|int8-dynamic|int8-static",
    help="int8-static learns its ranges from images; int8-dynamic looks at each batch.",
)
@click.option(
    "--calibration",
    "method",
    metavar="minmax|entropy",
    help="How int8-static learns its ranges. [default: minmax]",
)
@click.option(
    "--calibration-images",
    type=int,
    metavar="N",
    help="Of those to train on, for int8-static. [default: 128]",
)
@click.option(
    "--reduce-range", is_flag=True, help="Weights of 7 bits: for x86 CPUs without VNNI, whose sums saturate."
)
@click.option("--threads", type=int, metavar="N", help="Of an operation. [default: the usable cores]")
@click.option("--seconds", type=float, default=3.0, show_default=True, metavar="S", help="Of a timed pass.")
@click.option("--repeats", type=int, default=3, show_default=True, metavar="N", help="Timed passes of each.")
@images_options
@json_option
def command(
    *,
    given: Path,
    out: Path,
    kind: str,
    method: str | None,
    calibration_images: int | None,
    reduce_range: bool,
    threads: int | None,
    seconds: float,
    repeats: int,
    json_path: Path | None,
    **chosen: Any,
) -> None:
    """Write IN.onnx in smaller numbers as OUT.onnx, and compare both: size, images/s, accuracy, agreement."""
    require_writable(json_path)
    if out.absolute() == given.absolute():
        raise OptionError(f"{out} is the file that is read: name another for what is written")
    if not out.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {out.absolute().parent}; make it first")

    from throughput.cache import whole_file
    from throughput.cli.progress import progress_bar
    from throughput.measure.budget import Budget
    from throughput.models.commands.comparison_table import tell_comparison
    from throughput.models.inferring import Inference, compare, file_arm, require_fit
    from throughput.models.onnx_files import read_onnx
    from throughput.models.quantising import calibration_for, quantise, require_kind

    require_kind(kind)
    calibration = calibration_for(kind, calibration_images, method, reduce_range=reduce_range)
    file = read_onnx(given)
    with progress_bar() as progress:
        # Both files run on the CPU, which int8 is for.
        judging = judging_of(progress, **chosen, precision="fp32", device="cpu")
        inference = Inference(
            file,
            judging,
            (judging.loader,),
            {judging.loader: judging.options},
            threads=threads,
            budget=Budget(seconds=seconds, repeats=repeats),
            certified=False,
        )
        require_fit(inference)
        made = quantise(file, kind, judging, calibration, progress)
        with whole_file(out) as written:
            written.write(made)
        arms = [file_arm(inference, given, "fp32"), file_arm(inference, out, kind)]
        results = compare(inference, arms, progress)
    tell_comparison("Quantising", results, [arm.name for arm in arms], json_path)
