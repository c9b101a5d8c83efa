"""Commands: how each is called, what it does, its options and their defaults, and its exit status."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence

import click

from throughput.cli import COMMANDS, INTERRUPTED, READER_GONE
from throughput.cli import command as throughput_command
from throughput.errors import NothingMeasuredError, ThroughputError
from throughput.reference.markdown import Section, code, link, paragraphs, prose, table
from throughput.reference.origin import is_own
from throughput.registry import extra_commands

CODES = {
    0: "Done.",
    1: "A check that the caller asked to enforce has failed.",
    ThroughputError.exit_code: "The input or an option is wrong; stderr says what, where, and what to do.",
    NothingMeasuredError.exit_code: "Nothing could be measured: every row was skipped or failed.",
    INTERRUPTED: "Interrupted by Ctrl-C or by a request to end (SIGTERM); all processes are gone.",
    READER_GONE: "Whoever read the output went away, as `head` does.",
}
_EXIT_STATUS = re.compile(r"\s*Exit status: (.*)$")
_CLAUSE = re.compile(r"(?:^|[,;] )(\d+) ")
_OF_ALL = ("done", "wrong input", "interrupted")
_EXIT_WITH = re.compile(r"Exit with (\d+)")
_DEFAULT = re.compile(r"\s*\[default: ([^\]]+)\]")
OPTION_HEADERS = ("option", "default", "what it does")


def commands(*, everything: bool) -> dict[str, click.Command]:
    """This package's commands by name, in the order of the help; those of other packages if asked for."""
    context = click.Context(throughput_command)
    names = [*COMMANDS, *(name for name, entry in extra_commands().items() if everything or is_own(entry))]
    found = {name: throughput_command.get_command(context, name) for name in dict.fromkeys(names)}
    return {name: command for name, command in found.items() if command is not None}


def command_sections(known: Mapping[str, click.Command]) -> Iterator[Section]:
    """One for each command, below one that tells what holds for all."""
    yield Section(
        2,
        "Commands",
        "`throughput --version` tells the version; `throughput NAME --help`, or `-h`, tells in the terminal "
        "what stands here. stdout holds only what was asked for; progress and warnings go to stderr.",
    )
    for name, command in known.items():
        yield Section(3, title_of(name), _body(name, command), short=name)


def exit_section(known: Mapping[str, click.Command]) -> Section:
    """The exit codes, and which commands say more about each."""
    rows = []
    for number, meaning in CODES.items():
        told = {name: link(code(name), title_of(name)) for name in known if number in _codes_of(known[name])}
        rows.append((str(number), prose(meaning), ", ".join(told.values())))
    return Section(2, "Exit status", table(("code", "meaning", "more is told below"), rows))


def title_of(name: str) -> str:
    """The heading of a command."""
    return f"throughput {name}"


def option_table(command: click.Command) -> str:
    """Its options, a row each, in the order of its help; nothing of a command that has none."""
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    return table(OPTION_HEADERS, [_row(option) for option in options])


def _body(name: str, command: click.Command) -> str:
    arguments = [_argument(one) for one in command.params if isinstance(one, click.Argument)]
    usage = " ".join(["throughput", name, "[OPTIONS]", *arguments])
    told = _paragraphs(command)
    status = [found[1] for paragraph in told if (found := _EXIT_STATUS.search(paragraph))]
    return paragraphs(
        f"```\n{usage}\n```",
        *(prose(_EXIT_STATUS.sub("", paragraph)) for paragraph in told),
        *(f"Exit status: {prose(one)}" for one in status),
        option_table(command),
    )


def _paragraphs(command: click.Command) -> list[str]:
    """Of its help, each on one line."""
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _argument(argument: click.Argument) -> str:
    if argument.metavar is not None:
        return argument.metavar
    name = (argument.name or "").upper() + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def option_cells(names: Sequence[str], takes: str, words: str, default: object) -> tuple[str, str, str]:
    """An option's names with what it takes, its default, and what it does; Markdown.

    default: None where there is none. One that is written in the words, ``[default: this]``, comes first.
    """
    told = code(str(default)) if default is not None else ""
    if written := _DEFAULT.search(words):
        told, words = prose(written[1]), _DEFAULT.sub("", words)
    return ", ".join(code(f"{name} {takes}".strip()) for name in names), told, prose(words)


def _row(option: click.Option) -> tuple[str, str, str]:
    words = option.help or ""
    if option.multiple and "repeated" not in words and "several" not in words:
        words += " May be repeated."
    default = option.default if option.show_default is True else option.show_default or None
    takes = "" if option.is_flag or option.count else _takes(option)
    names, told, words = option_cells(option.opts, takes, words, default)
    opposite = "".join(f" / {code(name)}" for name in option.secondary_opts)
    return names + opposite, "required" if option.required else told, words


def _takes(option: click.Option) -> str:
    if option.metavar is not None:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name.upper().removesuffix(" RANGE")


def _codes_of(command: click.Command) -> set[int]:
    """The exit codes of which its help says more than is true of all commands."""
    status = _EXIT_STATUS.search(_paragraphs(command)[-1])
    clauses = _CLAUSE.split(status[1].rstrip(".")) if status else []
    told = dict(zip(clauses[1::2], clauses[2::2], strict=True))
    found = {int(number) for number, words in told.items() if words not in _OF_ALL}
    options = [option for option in command.params if isinstance(option, click.Option)]
    return found.union(int(number) for option in options for number in _EXIT_WITH.findall(option.help or ""))
