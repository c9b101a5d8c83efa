"""The ``throughput`` command: a table of contents. Each command is one file, imported when it is called."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

import click

from throughput import __version__
from throughput.child_process import children_may_end
from throughput.errors import WAYS_ON, OptionError, SampleError, ThroughputError
from throughput.ranks.place import place, speaker
from throughput.registry import extra_commands

COMMANDS = {
    "bench": ("throughput.cli.bench", "Measure loaders: alone, the model alone, and both together."),
    "compare": ("throughput.cli.compare", "Compare two files of results, with intervals."),
    "gate": ("throughput.cli.gate", "Decide whether the head of a change is slower than its base."),
    "tune": ("throughput.cli.tune", "Find the workers and options that make a loader fastest here."),
    "certify": ("throughput.cli.certify", "Prove that loaders do the same work, or name what differs."),
    "drill": ("throughput.cli.drill", "Put faults into a copy of a source and judge every loader."),
    "list": ("throughput.cli.list", "List loaders, models and reports, and what each of them needs."),
    "doctor": ("throughput.cli.doctor", "Look this machine over, and name a cure for each problem."),
    "train": ("throughput.cli.train", "Train a model, fed by any loader, judged on held-out images."),
    "evaluate": (
        "throughput.cli.evaluate",
        "Judge trained models on held-out images, each and all together.",
    ),
    "predict": ("throughput.cli.predict", "Tell what a trained model sees in images."),
    "features": ("throughput.cli.features", "Write what a model makes of every image, as an array."),
    "prune": (
        "throughput.cli.prune",
        "Set most weights of a trained model to zero, and compare.",
    ),
    "pack": ("throughput.cli.pack", "Write any source as WebDataset tar shards."),
    "check": ("throughput.cli.check", "Look at every sample of a data set, and list the bad ones."),
    "stats": ("throughput.cli.stats", "Compute the mean and standard deviation of a data set's pixels."),
    "synth": ("throughput.cli.synth", "Write photo-like JPEGs as a folder of class folders."),
    "reference": ("throughput.cli.reference", "Print this page of reference, in Markdown."),
}
"""Name -> module that holds ``command``, and the line that ``--help`` shows without importing it."""

IN_RANKS = ("bench", "train")
"""Commands that several processes do together."""

INTERRUPTED = 130
READER_GONE = 128 + signal.SIGPIPE
"""What a shell reports of a program that a closed pipe ended."""


class _Commands(click.Group):
    """Finds commands by name; those of plug-ins come from the entry points in ``throughput.commands``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [*COMMANDS, *(name for name in extra_commands() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name in COMMANDS:
            command: click.Command = import_module(COMMANDS[cmd_name][0]).command
            return command
        extra = extra_commands().get(cmd_name)
        return None if extra is None else extra.load()

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SampleError as error:
            called = self.get_command(ctx, ctx.invoked_subcommand or "")
            if called is not None and any(parameter.name == "on_error" for parameter in called.params):
                error.add_note(WAYS_ON)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        rows = [(name, about) for name, (_, about) in COMMANDS.items()]
        rows += [(name, _about(extra)) for name, extra in extra_commands().items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _about(extra: EntryPoint) -> str:
    """What a plug-in's command does; of another package, which may import anything, where it comes from."""
    if extra.dist is not None and extra.dist.name == "throughput":
        about: str = extra.load().get_short_help_str(limit=200)
        return about
    return f"From {extra.value.partition(':')[0]}."


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="throughput")
def command() -> None:
    """Which input pipeline keeps this model busy, on this data, on this machine, and what limits it?"""
    called = click.get_current_context().invoked_subcommand
    if called in COMMANDS and called not in IN_RANKS and place() is not None:
        raise OptionError(f"`throughput {called}` is for one process: start it without torchrun")


def main() -> None:
    """Run the command; a mistake of the user's is one line on stderr, never a traceback."""
    # A termination request unwinds like Ctrl-C does, so that no process is left behind.
    signal.signal(signal.SIGTERM, _interrupt)
    code = _exit_code()
    # All is done: a request to end it is like any process's. Ours would be a traceback from within the exit.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if code == INTERRUPTED:
        # All is cleaned up. Taking the interpreter and torch down in order would add a second to Ctrl-C.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _interrupt(*_: Any) -> None:
    children_may_end()
    raise KeyboardInterrupt


def _exit_code() -> int:
    try:
        code = command.main(prog_name="throughput", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except ThroughputError as error:
        told = "; ".join([str(error), *getattr(error, "__notes__", ())])
        click.echo(f"{speaker()}: {' '.join(told.split())}", err=True)
        return error.exit_code
    except (BrokenPipeError, SystemExit):
        # The reader of our output went away, as `head` does; click and rich then raise SystemExit.
        return READER_GONE
    return code if isinstance(code, int) else 0
