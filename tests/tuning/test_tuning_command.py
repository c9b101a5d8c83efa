"""The command to use says what was chosen, and ``bench`` understands it; budgets are written as people do."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from throughput.cli.bench import command as bench
from throughput.contracts import Augmentation
from throughput.errors import OptionError
from throughput.quantities import parse_duration
from throughput.tuning.command import bench_command
from throughput.tuning.configuration import Configuration

CHOSEN = Configuration(3, 64, (("prefetch", 4),))


def understood(told: str) -> dict[str, Any]:
    """The parameters that ``bench`` makes of a command line."""
    words = shlex.split(told)
    assert words[:2] == ["throughput", "bench"]
    return bench.make_context("bench", words[2:]).params


def test_bench_takes_it_with_all_that_was_given() -> None:
    others = {"--size": 160, "--seed": 7, "--precision": None, "--allow-pipe": False, "--compile": True,
              "--labels": Path("l b.npy"), "--mean": (0.5, 0.25, 0.1)}  # fmt: skip
    augmentation = Augmentation(crop="random", rotation_degrees=5.0)
    told = bench_command("dali", "my photos", CHOSEN, {"decode": "cpu"}, augmentation, others)
    found = understood(told)
    assert (found["loader"], found["data"], found["batch"], found["workers"]) == (
        "dali",
        "my photos",
        64,
        "3",
    )
    assert found["assignments"] == ("dali.decode=cpu", "dali.prefetch=4")
    assert (found["size"], found["seed"], found["compile_model"], found["allow_pipe"]) == (
        160,
        7,
        True,
        False,
    )
    assert (found["labels"], found["mean"]) == (Path("l b.npy"), (0.5, 0.25, 0.1))
    assert (found["crop"], found["rotate"], found["flip"], found["noise"]) == ("random", 5.0, 0.5, 0.0)


def test_what_was_not_given_is_left_out() -> None:
    plain = Configuration(3, 64)
    assert bench_command("my.own:make", None, plain, {}, Augmentation(), {"--seed": None}) == (
        "throughput bench --loader my.own:make --batch 64 --workers 3"
    )


def test_shards_are_named_as_a_list_and_switches_as_numbers() -> None:
    told = bench_command("roi", [Path("a.tar"), "b.tar"], CHOSEN, {"region": False}, None, {})
    assert understood(told)["data"] == "a.tar,b.tar"
    assert "roi.region=0" in told


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("2m", 120), ("90", 90), ("1h", 3600), ("1.5m", 90), ("2 min", 120), (30, 30), (0.5, 0.5)],
)
def test_lengths_of_time(text: str | float, seconds: float) -> None:
    assert parse_duration("--budget", text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "0", "1d", "nan", "60 s 5", float("inf"), -3])
def test_what_is_no_length_of_time(text: str | float) -> None:
    with pytest.raises(OptionError, match=r"^--budget must be a length of time such as 60s, 2m or 1h, got "):
        parse_duration("--budget", text)
