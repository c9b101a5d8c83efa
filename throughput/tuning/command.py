"""The command line that runs what was chosen."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from throughput.contracts import Augmentation, Source
from throughput.tuning.configuration import Configuration


def bench_command(
    loader: str,
    data: str | Path | Sequence[str | Path] | Source | None,
    chosen: Configuration,
    options: Mapping[str, Any],
    augmentation: Augmentation | None,
    others: Mapping[str, Any],
) -> str:
    """``throughput bench`` with the chosen settings, ready for a shell.

    options: the loader's own that were not searched. others: option of the command -> its value; left out
    where that is None or False; True is a flag.
    """
    words: dict[str, Any] = {"--loader": loader, "--data": _named(data)}
    words |= {"--batch": chosen.batch_size, "--workers": chosen.workers}
    words |= dict(others) | _augmented(augmentation)
    arguments = ["throughput", "bench"]
    for option, value in words.items():
        if value is None or value is False:
            continue
        arguments += [option] if value is True else [option, _text(value)]
    for name, value in (dict(options) | dict(chosen.options)).items():
        arguments += ["--opt", f"{loader}.{name}={_text(int(value) if isinstance(value, bool) else value)}"]
    return shlex.join(arguments)


def _named(data: str | Path | Sequence[str | Path] | Source | None) -> str | None:
    if isinstance(data, Source):
        return data.location
    if data is None or isinstance(data, (str, Path)):
        return None if data is None else str(data)
    return ",".join(map(str, data))


def _augmented(chosen: Augmentation | None) -> dict[str, Any]:
    """What differs from the canonical augmentation, as far as the command line has words for it."""
    usual = Augmentation()
    if chosen is None:
        return {}
    values = {
        "--crop": (chosen.crop, usual.crop),
        "--flip": (chosen.flip, usual.flip),
        "--rotate": (chosen.rotation_degrees, usual.rotation_degrees),
        "--noise": (chosen.noise, usual.noise),
    }
    return {option: ours for option, (ours, theirs) in values.items() if ours != theirs}


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value)
