"""Options that several commands take, in the same words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from throughput.errors import OptionError
from throughput.quantities import parse_bytes, parse_rate

if TYPE_CHECKING:
    from throughput.contracts import Augmentation

_Command = TypeVar("_Command", bound=Callable[..., Any])

size_option = click.option(
    "--size", type=int, default=224, show_default=True, metavar="N", help="Side of the crops, in pixels."
)
model_size_option = click.option(
    "--size",
    type=int,
    metavar="N",
    help="Side of the crops, in pixels. [default: the model's own, 224 for most]",
)
precision_option = click.option(
    "--precision",
    default="auto",
    show_default=True,
    metavar="auto|fp32|bf16|fp16",
    help="What the model computes in.",
)
opt_option = click.option(
    "--opt",
    "assignments",
    multiple=True,
    metavar="LOADER.KEY=VALUE",
    help="A loader's own option; may be repeated.",
)
label_field_option = click.option(
    "--label-field", metavar="NAME", help="Field of .json members that holds the label."
)
allow_pipe_option = click.option(
    "--allow-pipe", is_flag=True, help="Run the command of a pipe: source, in a shell."
)
device_option = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]", help="Where the model runs."
)
compile_option = click.option(
    "--compile", "compile_model", is_flag=True, help="Run the model through torch.compile."
)
seed_option = click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Of the order, the crops and the model.",
)
workers_option = click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Processes or threads that load; auto: the usable cores.",
)
batch_option = click.option(
    "--batch", type=int, metavar="N", help="Images in a batch. [default: 256 on a GPU, 64 on a CPU]"
)
json_option = click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Write the results as JSON.",
)
labels_option = click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE.npy",
    help="The labels of an array of images: whole numbers, names, or floats to be predicted.",
)
split_fraction_option = click.option(
    "--split-fraction",
    type=float,
    metavar="SHARE",
    help="Share of each class that is held out, of images that bring no split. "
    "[default: 0.2 of arrays, else 0.1]",
)


def _set(variable: str, parse: Callable[[str, str], float]) -> Callable[..., None]:
    """A callback that hands an option on as an environment variable. Raises OptionError."""

    def callback(_: click.Context, option: click.Parameter, text: str | None) -> None:
        if text is not None:
            parse(option.opts[0], text)
            os.environ[variable] = text

    return callback


remote_cache_option = click.option(
    "--remote-cache",
    expose_value=False,
    callback=_set("THROUGHPUT_REMOTE_CACHE", parse_bytes),
    metavar="SIZE",
    help="What shards on a server may take of the cache folder's disk. [default: 20GB]",
)
network_limit_option = click.option(
    "--network-limit",
    expose_value=False,
    callback=_set("THROUGHPUT_NETWORK_LIMIT", parse_rate),
    metavar="RATE",
    help="What the network gives at best, such as 20MB/s. [default: measured once, of shards on a server]",
)


def data_options(command: _Command) -> _Command:
    """``--labels``, ``--split-fraction``, ``--label-field`` and ``--allow-pipe``: parameters of those names.

    Hand them on by name to ``choose_source``, or to what takes them from there. ``--remote-cache`` and
    ``--network-limit`` are no parameters: all processes of the command find them in the environment.
    """
    own = (allow_pipe_option, label_field_option, split_fraction_option, labels_option)
    for option in (network_limit_option, remote_cache_option, *own):
        command = option(command)
    return command


def _numbers(_: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """``0.5`` or ``0.5,0.4,0.3`` as numbers."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"{option.opts[0]}: {text!r} is no number, nor numbers with commas between them"
        ) from None


_FAULT_OPTIONS = (
    click.option(
        "--on-error",
        default="raise",
        show_default=True,
        metavar="raise|skip|substitute",
        help="What becomes of a sample that cannot be read or decoded: an error names it; or it is left out "
        "of its batch; or another image takes its place. What is left out or replaced is counted and listed.",
    ),
    click.option(
        "--max-errors",
        type=int,
        default=100,
        show_default=True,
        metavar="N",
        help="Bad samples in an epoch after which it ends with an error all the same.",
    ),
)


def fault_options(command: _Command) -> _Command:
    """``--on-error`` and ``--max-errors``, to hand on by name to ``choose_work``."""
    for option in reversed(_FAULT_OPTIONS):
        command = option(command)
    return command


channels_option = click.option(
    "--channels", type=int, metavar="1|3", help="Grey or RGB. [default: 3, or those of the array]"
)
mean_option = click.option(
    "--mean",
    callback=_numbers,
    metavar="M[,M,M]",
    help="Taken off each channel, in 0..1. [default: ImageNet's; `throughput stats` tells your own]",
)
std_option = click.option(
    "--std", callback=_numbers, metavar="S[,S,S]", help="Each channel is divided by it."
)
_AUGMENTATION_OPTIONS = (
    click.option(
        "--crop",
        default="resized",
        show_default=True,
        metavar="resized|random|centre|none",
        help="Train crops: RandomResizedCrop; a square of 7/8 of the shorter side, at random or in the "
        "centre; or the whole image, held-out ones too.",
    ),
    click.option(
        "--flip",
        type=float,
        default=0.5,
        show_default=True,
        metavar="P",
        help="Probability of a mirror image in train.",
    ),
    click.option(
        "--rotate",
        type=float,
        default=0.0,
        show_default=True,
        metavar="DEGREES",
        help="Turn train images by up to so much either way.",
    ),
    click.option(
        "--noise",
        type=float,
        default=0.0,
        show_default=True,
        metavar="STD",
        help="Add Gaussian noise to train images; black is 0, white 1.",
    ),
    channels_option,
    mean_option,
    std_option,
)


def augmentation_options(command: _Command) -> _Command:
    """``--crop``, ``--flip``, ``--rotate`` and ``--noise``, for ``chosen_augmentation``, and how to scale:

    ``--channels``, ``--mean`` and ``--std``, to hand on by name to ``choose_work``.
    """
    for option in reversed(_AUGMENTATION_OPTIONS):
        command = option(command)
    return command


def chosen_augmentation(*, crop: str, flip: float, rotate: float, noise: float) -> Augmentation:
    """The augmentation of the options of ``augmentation_options``. Raises OptionError."""
    from throughput.contracts import Augmentation

    # Augmentation checks the name of the crop.
    return Augmentation(crop=crop, flip=flip, rotation_degrees=rotate, noise=noise)  # type: ignore[arg-type]
