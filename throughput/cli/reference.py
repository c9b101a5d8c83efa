"""``throughput reference``: every command, option, name and key on one page."""

from __future__ import annotations

import click


@click.command("reference")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With the plug-ins of other packages that are installed here, and with the names of all models.",
)
def command(*, everything: bool) -> None:
    """Print this page of reference, in Markdown: commands, options, names, and the keys of the results."""
    from throughput.reference.page import reference
    from throughput.stdout import stdout_to_stderr

    with stdout_to_stderr():  # libraries talk when they are first imported
        page = reference(everything=everything)
    click.echo(page, nl=False)
