"""The options of the pytest plugin, and what they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from throughput.errors import OptionError
from throughput.quantities import parse_share


def add_options(parser: pytest.Parser) -> None:
    """``--throughput-...``: some hold where a test does not say, others anyhow, as their help tells."""
    group = parser.getgroup("throughput", "throughput: image loaders, measured")
    group.addoption(
        "--throughput-data",
        metavar="PATH",
        help="What is read where a test does not say: class folders, tar shards or a pattern of shards. "
        "[default: photos made for the purpose]",
    )
    group.addoption(
        "--throughput-loaders",
        default="all",
        metavar="NAMES",
        help="What `--pyargs throughput.ci` compares: NAME[,NAME...] or all.",
    )
    group.addoption(
        "--throughput-phases",
        default="load,model,train",
        metavar="NAMES",
        help="What `--pyargs throughput.ci` measures of each: some of load, model and train.",
    )
    group.addoption("--throughput-model", metavar="NAME", help="What is trained where a test does not say.")
    group.addoption(
        "--throughput-batch", type=_count, metavar="N", help="Images in a batch, where a test does not say."
    )
    group.addoption(
        "--throughput-workers",
        metavar="N|auto",
        help="Processes or threads that load, where a test does not say.",
    )
    group.addoption(
        "--throughput-seconds",
        type=_seconds,
        metavar="S",
        help="Length of a measured pass, whatever a test says.",
    )
    group.addoption(
        "--throughput-repeats", type=_count, metavar="N", help="Passes of each phase, whatever a test says."
    )
    group.addoption(
        "--throughput-min-images-per-second",
        type=_rate,
        metavar="N",
        help="Fail tests below it, where their mark names no limit of its own.",
    )
    group.addoption(
        "--throughput-compare",
        type=Path,
        metavar="FILE",
        help="Show each test beside what --throughput-json wrote in an earlier run; limits that are ratios "
        "are judged by it only if machine and work are the same.",
    )
    group.addoption(
        "--throughput-fail-below",
        type=_margin,
        metavar="5%",
        help="Fail tests that are slower than their base by more than this, where their mark names no "
        "min_ratio.",
    )
    group.addoption(
        "--throughput-strict",
        action="store_true",
        help="Fail tests whose limit could be judged neither kept nor missed.",
    )
    group.addoption(
        "--throughput-json", type=Path, metavar="FILE", help="Write what all tests measured as JSON."
    )
    # A test session that `throughput gate` started is told the socket that it has inherited in this way.
    group.addoption("--throughput-arm", metavar="FD", help=argparse.SUPPRESS)


def beside_others(config: pytest.Config) -> bool:
    """Whether pytest-xdist runs tests beside each other, here or in this process's siblings."""
    return hasattr(config, "workerinput") or bool(config.getoption("numprocesses", None))


def require_folder(path: Path) -> None:
    """Raise pytest.UsageError, before anything is measured, where the file could not be written."""
    from throughput.cli.output import require_writable

    try:
        require_writable(path, "--throughput-json")
    except OptionError as error:
        raise pytest.UsageError(str(error)) from error


def is_timed(config: pytest.Config, *, enabled: bool) -> bool:
    """Whether tests measure, and not only run. enabled: as far as pytest-benchmark says."""
    # A gate asks for nothing else, whatever the project's ini file switches off.
    return bool(config.getoption("throughput_arm")) or (enabled and not beside_others(config))


def _margin(text: str) -> float:
    try:
        return parse_share("--throughput-fail-below", text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of 1 or more, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    return _above_nothing(text, "seconds above 0")


def _rate(text: str) -> float:
    return _above_nothing(text, "images per second, above 0")


def _above_nothing(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{what}, got {text!r}")
    return value
