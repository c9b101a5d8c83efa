"""``throughput evaluate``: how good trained models are on held-out images, each and all together."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from throughput.cli.judging_options import judging_of, judging_options, models_option
from throughput.cli.output import require_writable, tell
from throughput.cli.shared_options import json_option
from throughput.command_line import command_line
from throughput.errors import OptionError

if TYPE_CHECKING:
    from throughput.contracts import Work
    from throughput.results import Row
    from throughput.training.judging import Judging
    from throughput.training.predictions import Predictions


@click.command(name="evaluate")
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="PATH",
    help="Of `throughput train`. Given several times, the models' probabilities are averaged as well.",
)
@models_option
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Judge by every image, and not by those held out: of a test set that was not trained on.",
)
@judging_options
@json_option
def command(
    *,
    checkpoints: tuple[Path, ...],
    models: tuple[str, ...],
    every: bool,
    json_path: Path | None,
    **chosen: Any,
) -> None:
    """Judge trained models by the held-out images: accuracy, and precision and recall of each class.

    The images are made as those that a model was trained with: --size and the like come from its checkpoint.
    """
    require_writable(json_path)
    if every and chosen["split_fraction"] is not None:
        raise OptionError("--split-fraction holds images out, and --all judges by every one: choose one")
    from throughput.cli.progress import progress_bar
    from throughput.measure.environment import environment
    from throughput.results import Results
    from throughput.training.checkpoint import read
    from throughput.training.judging import predictions_of
    from throughput.training.predictions import ensemble

    # Before the images, which may take minutes to scan, the files.
    members = [(path, read(path, models)) for path in checkpoints]
    with progress_bar() as progress:
        judging = judging_of(progress, **chosen)
        answers = []
        for place, (path, checkpoint) in enumerate(members):
            progress(f"judging {path}", place, len(members))
            answers.append(predictions_of(judging, path, checkpoint, progress, every=every))
    rows = [_row(judging, str(path), found) for path, found in zip(checkpoints, answers, strict=True)]
    if len(answers) > 1:
        rows.append(_row(judging, f"ensemble of {len(answers)}", ensemble(answers)))
    work = judging.work(members[0][1].subject, every=every)
    results = Results(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
        environment=environment(),
        work=_described(work, [one.subject.model for _, one in members]),
        rows=tuple(rows),
    )
    tell(results, json_path)


def _row(judging: Judging, subject: str, found: Predictions) -> Row:
    from throughput.results import Row
    from throughput.trained import Classification, Evaluation
    from throughput.training.metrics import judge

    classes = judging.source.classes
    metrics = judge(found, probabilities=bool(classes))
    accuracy = metrics.top1 if isinstance(metrics, Classification) else None
    return Row(judging.loader, "ok", accuracy=accuracy, evaluation=Evaluation(subject, classes, metrics))


def _described(work: Work, models: list[str]) -> dict[str, Any]:
    """The work as far as an evaluation has one, in the names of the results."""
    source = work.source
    return {
        "source": source.location,
        "source_fingerprint": source.fingerprint,
        "classes": len(source.classes),
        "train_images": len(source.ids("train")),
        "val_images": len(source.ids("val")),
        "image_size": work.image_size,
        "batch_size": work.batch_size,
        "model": ", ".join(dict.fromkeys(models)),
        "compute_dtype": work.compute_dtype,
        "device": work.device,
        "workers": work.workers,
        "phases": [],
    }
