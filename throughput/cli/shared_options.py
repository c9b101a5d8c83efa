"""Options that several commands take, in the same words."""

from __future__ import annotations

import click

size_option = click.option(
    "--size", type=int, default=224, show_default=True, metavar="N", help="Side of the crops, in pixels."
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
