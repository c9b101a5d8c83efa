"""``throughput certify``: prove that loaders do the same work, or name what differs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from throughput.cli.output import require_writable
from throughput.cli.shared_options import (
    augmentation_options,
    chosen_augmentation,
    data_options,
    opt_option,
    precision_option,
    size_option,
)
from throughput.errors import NothingMeasuredError

if TYPE_CHECKING:
    from throughput.results import Certificate, Check

_FAILED = 1
"""The exit status that --strict asks for."""


@click.command(name="certify")
@click.option(
    "--loader", default="all", show_default=True, metavar="NAME[,NAME...]|all", help="What to certify."
)
@click.option(
    "--data",
    metavar="PATH",
    help="Look at your own held-out images as well: class folders, tar shards, a pattern of shards, or an "
    "array (.npy) with its --labels.",
)
@click.option("--batch", type=int, metavar="N", help="Images in a batch, 64 at most. [default: 64]")
@size_option
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Processes or threads that load, brought to within 2 to 4; auto: the usable cores.",
)
@precision_option
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="Where batches become ready.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Of the order and the crops."
)
@opt_option
@data_options
@augmentation_options
@click.option("--recertify", is_flag=True, help="Look again, whatever an earlier run has found.")
@click.option("--strict", is_flag=True, help="Exit with 1 unless every loader is comparable.")
@click.option("-v", "--verbose", is_flag=True, help="Tell of every check, with its value and limit.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write the certificates as JSON.",
)
def command(
    *,
    loader: str,
    data: str | None,
    batch: int | None,
    size: int,
    workers: str,
    precision: str,
    device: str,
    seed: int,
    assignments: tuple[str, ...],
    labels: Path | None,
    split_fraction: float | None,
    label_field: str | None,
    allow_pipe: bool,
    crop: str,
    flip: float,
    rotate: float,
    noise: float,
    channels: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    recertify: bool,
    strict: bool,
    verbose: bool,
    json_path: Path | None,
) -> int:
    """Hold loaders against Pillow and torchvision: pixels, labels, ids, and the crops that they draw.

    Each loader runs in a fresh process over images made for the purpose. What was found is kept until the
    loader, its options or a library changes. Exit status: 0 done, 1 with --strict unless every loader is
    comparable, 2 wrong input, 3 none could be certified, 130 interrupted.
    """
    from throughput.api import certify, chosen_loaders
    from throughput.cli.progress import progress_bar
    from throughput.options import parse_assignments

    require_writable(json_path)
    names = chosen_loaders(loader)
    augmentation = chosen_augmentation(crop=crop, flip=flip, rotate=rotate, noise=noise)
    with progress_bar() as progress:
        certificates = certify(
            names,
            data,
            image_size=size,
            batch_size=batch,
            workers=workers,
            device=device,
            precision=precision,
            seed=seed,
            options=parse_assignments(assignments, names),
            recertify=recertify,
            label_field=label_field,
            allow_pipe=allow_pipe,
            labels=labels,
            split_fraction=split_fraction,
            augmentation=augmentation,
            channels=channels,
            mean=mean,
            std=std,
            progress=progress,
        )
    _tell(certificates, verbose=verbose)
    if json_path is not None:
        _write(json_path, certificates)
    if all(certificate.comparable is None for _, certificate in certificates):
        return NothingMeasuredError.exit_code
    broken = any(not certificate.comparable for _, certificate in certificates)
    return _FAILED if strict and broken else 0


def _tell(certificates: tuple[tuple[str, Certificate], ...], *, verbose: bool) -> None:
    """The table, and below it the words of each failed check."""
    from throughput.cli.tables import print_table

    print_table(
        "Same-work certificates",
        ("loader", "verdict", "checks", "seconds", ""),
        [
            (
                name,
                _verdict(certificate),
                f"{len(certificate.checks) - len(certificate.failed)} of {len(certificate.checks)}"
                if certificate.checks
                else "-",
                f"{certificate.seconds:.1f}" if certificate.checks else "-",
                "from an earlier run" if certificate.cached else "",
            )
            for name, certificate in certificates
        ],
    )
    for name, certificate in certificates:
        if certificate.reason is not None:
            click.echo(f"{name}: {certificate.reason}")
        for check in certificate.checks:
            if verbose or not check.ok:
                click.echo(f"{name}: {_line(check, verbose=verbose)}")


def _verdict(certificate: Certificate) -> str:
    if certificate.comparable is None:
        return "not certified"
    return "comparable" if certificate.comparable else "NOT COMPARABLE"


def _line(check: Check, *, verbose: bool) -> str:
    mark = "" if not verbose else "ok: " if check.ok else "FAILED: "
    numbers = ""
    if verbose and check.value is not None and check.limit is not None:
        numbers = f" [{check.value:.4g}, limit {check.limit:.4g}]"
    return f"{mark}{check.name}: {check.words}{numbers}"


def _write(path: Path, certificates: tuple[tuple[str, Certificate], ...]) -> None:
    from throughput.cache import whole_file

    listed = [{"loader": name} | asdict(certificate) for name, certificate in certificates]
    with whole_file(path) as file:
        file.write(json.dumps({"certificates": listed}, indent=2).encode())
