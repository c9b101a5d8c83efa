"""``throughput prune``: a trained model with most of its weights zero, and what that costs and gives."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from throughput.cli.judging_options import judging_of, judging_options, models_option
from throughput.cli.output import require_writable
from throughput.cli.training_options import NAMES, recipe_of, recipe_options

if TYPE_CHECKING:
    from throughput.training.pruning import Stage


@click.command(name="prune")
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CHECKPOINT")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "--sparsity", type=float, required=True, metavar="SHARE", help="Of the weights, what becomes zero."
)
@click.option(
    "--method",
    default="magnitude",
    show_default=True,
    metavar="magnitude|channels",
    help="The smallest weights over all layers; or, of each layer but the last, whole output channels, of "
    "which at least one stays.",
)
@models_option
@judging_options
@click.option(
    "--epochs",
    type=int,
    default=5,
    show_default=True,
    metavar="N",
    help="Of learning on, with the zeros kept.",
)
@recipe_options
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Of the order and the crops."
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write the table as JSON.",
)
def command(
    *,
    checkpoint: Path,
    out: Path,
    sparsity: float,
    method: str,
    models: tuple[str, ...],
    epochs: int,
    seed: int,
    json_path: Path | None,
    **chosen: Any,
) -> None:
    """Prune the model in CHECKPOINT, let it learn on, write it to OUT, and compare it with what it was.

    Zeros are multiplied like other numbers: neither method makes the model faster by itself.
    """
    require_writable(json_path)
    recipe = recipe_of({name: chosen.pop(name) for name in NAMES})

    from throughput.cache import whole_file
    from throughput.cli.training_progress import training_progress
    from throughput.training.checkpoint import checkpoint_file, read, require_place, save
    from throughput.training.pruning import compare

    require_place(out)
    found = read(checkpoint, models)
    with training_progress(epochs) as listener:
        judging = judging_of(listener.preparing, **chosen)
        pruned, stages = compare(
            judging,
            checkpoint,
            found,
            sparsity,
            method,  # type: ignore[arg-type] # prune_model checks it
            recipe=recipe,
            epochs=epochs,
            seed=seed,
            listener=listener,
            progress=listener.preparing,
        )
    save(checkpoint_file(out), pruned)
    _tell(stages)
    if json_path is not None:
        with whole_file(json_path) as file:
            file.write(
                json.dumps({"stages": [_plain(one) for one in stages]}, indent=1, allow_nan=False).encode()
            )


def _plain(stage: Stage) -> dict[str, Any]:
    """Strict JSON: a number that is not finite is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(stage).items()
    }


def _tell(stages: list[Stage]) -> None:
    from throughput.cli.tables import print_table

    judged = "top-1" if stages[0].accuracy is not None else "loss"
    print_table(
        "Pruning",
        ("model", judged, "parameters", "not zero", "MB", "MB zipped", "images/s"),
        [
            (
                one.name,
                f"{one.loss:.4f}" if one.accuracy is None else f"{100 * one.accuracy:.2f}%",
                f"{one.parameters:,}",
                f"{one.nonzero:,} ({100 * one.nonzero / one.parameters:.1f}%)",
                f"{one.bytes / 1e6:.2f}",
                f"{one.compressed_bytes / 1e6:.2f}",
                f"{one.images_per_second:,.0f}",
            )
            for one in stages
        ],
    )
    click.echo(
        "Zeros are stored and multiplied like other numbers: the speed is the same but for chance, and the "
        "file is smaller only once it is compressed."
    )
