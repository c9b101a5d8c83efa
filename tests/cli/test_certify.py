"""What ``throughput certify`` prints, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from throughput import api
from throughput.cli.certify import command
from throughput.errors import OptionError
from throughput.results import Certificate, Check

HONEST = Certificate(
    True, (Check("train.flip", True, "2,010 of 4,080 crops are mirrored", 0.493, 0.46),), seconds=3.2
)
UNMIRRORED = Certificate(
    False,
    (
        Check("train.ids", True, "each of 1021 ids comes exactly once in an epoch", 0.0, 0.0),
        Check("train.flip", False, "0 of 4,080 crops are mirrored", 0.0, 0.46),
    ),
    seconds=3.0,
    cached=True,
)
CEILING = Certificate(None, reason="it repeats samples on purpose")

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command over loaders whose certificates are given; ``asked`` holds what was asked for."""

    def invoke(certificates: Mapping[str, Certificate], *arguments: str, asked: Any = None) -> Result:
        def certify(loaders: Sequence[str], data: Any, **options: Any) -> tuple[tuple[str, Certificate], ...]:
            if asked is not None:
                asked.update(options, loaders=loaders, data=data)
            return tuple(certificates.items())

        monkeypatch.setattr(api, "certify", certify)
        monkeypatch.setenv("COLUMNS", "200")
        return CliRunner().invoke(
            command, ["--loader", ",".join(certificates), *arguments], standalone_mode=False
        )

    return invoke


def test_the_table_tells_verdicts_and_failed_checks_in_words(run: Run) -> None:
    result = run({"torchvision": HONEST, "dali": UNMIRRORED, "replay": CEILING})
    rows = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert "comparable" in result.output
    assert "1 of 1" in next(line for line in result.output.splitlines() if "torchvision" in line)
    broken = next(line for line in result.output.splitlines() if "NOT COMPARABLE" in line)
    assert "dali" in broken
    assert "1 of 2" in broken
    assert "from an earlier run" in broken
    assert rows["dali:"] == "dali: train.flip: 0 of 4,080 crops are mirrored"
    assert "replay: it repeats samples on purpose" in result.output
    assert "not certified" in result.output


def test_verbose_tells_every_check_with_its_limit(run: Run) -> None:
    output = run({"dali": UNMIRRORED}, "--verbose").output
    assert "dali: ok: train.ids: each of 1021 ids comes exactly once in an epoch [0, limit 0]" in output
    assert "dali: FAILED: train.flip: 0 of 4,080 crops are mirrored [0, limit 0.46]" in output


@pytest.mark.parametrize(
    ("certificate", "arguments", "status"),
    [
        (UNMIRRORED, (), 0),
        (UNMIRRORED, ("--strict",), 1),
        (HONEST, ("--strict",), 0),
        (CEILING, ("--strict",), 3),
    ],
)
def test_only_strict_turns_a_verdict_into_a_status(
    run: Run, certificate: Certificate, arguments: tuple[str, ...], status: int
) -> None:
    assert run({"dali": certificate}, *arguments).return_value == status


def test_what_was_asked_for_arrives(run: Run) -> None:
    asked: dict[str, Any] = {}
    run(
        {"dali": HONEST},
        "--size",
        "96",
        "--recertify",
        "--opt",
        "dali.prefetch=3",
        "--seed",
        "4",
        asked=asked,
    )
    assert asked["loaders"] == ("dali",)
    assert asked["data"] is None
    assert (asked["image_size"], asked["seed"], asked["recertify"]) == (96, 4, True)
    assert asked["options"] == {"dali": {"prefetch": "3"}}


def test_the_certificates_as_json(run: Run, tmp_path: Path) -> None:
    run({"dali": UNMIRRORED}, "--json", str(tmp_path / "out.json"))
    (told,) = json.loads((tmp_path / "out.json").read_text())["certificates"]
    assert (told["loader"], told["comparable"]) == ("dali", False)
    assert told["checks"][1]["name"] == "train.flip"
    missing = run({"dali": HONEST}, "--json", str(tmp_path / "nowhere" / "out.json"))
    assert isinstance(missing.exception, OptionError)


def test_a_loader_is_certified_and_then_remembered(throughput: Callable[..., Any]) -> None:
    arguments = ("certify", "--loader", "torchvision", "--size", "32", "--strict", "--workers", "2")
    first = throughput(*arguments)
    assert first.returncode == 0, first.stderr
    assert "comparable" in first.stdout
    assert "from an earlier run" not in first.stdout
    assert "from an earlier run" in throughput(*arguments).stdout
