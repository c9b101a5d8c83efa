"""A loader's own knobs, from ``--opt LOADER.KEY=VALUE`` or from Python, checked against its dataclass."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from throughput.contracts import LoaderFactory
from throughput.errors import OptionError

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def parse_assignments(assignments: Iterable[str], loaders: Iterable[str]) -> dict[str, dict[str, str]]:
    """``LOADER.KEY=VALUE`` texts by loader and key. Raises OptionError for a loader that does not run."""
    known = tuple(loaders)
    parsed: dict[str, dict[str, str]] = {name: {} for name in known}
    for assignment in assignments:
        target, equals, value = assignment.partition("=")
        loader, dot, key = target.rpartition(".")
        if not (equals and dot and loader and key):
            raise OptionError(f"--opt must be LOADER.KEY=VALUE, got {assignment!r}")
        if loader not in parsed:
            raise OptionError(
                f"--opt {assignment}: no loader {loader!r} runs here; running: {', '.join(known)}"
            )
        parsed[loader][key] = value
    return parsed


def build_options(factory: LoaderFactory, values: Mapping[str, Any]) -> Any:
    """The loader's options dataclass from values by name; texts are read as the field's type.

    Raises OptionError for an unknown name or a value that the field cannot take.
    """
    types = typing.get_type_hints(factory.Options)
    known = [field.name for field in fields(factory.Options)]
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known) or 'none'}"
            raise OptionError(f"the loader {factory.name!r} has no option {key!r}; {advice}")
        chosen[key] = _read(f"{factory.name}.{key}", value, types[key])
    try:
        return factory.Options(**chosen)
    except OptionError as error:
        raise OptionError(f"{factory.name}: {error}") from error


def _read(name: str, value: Any, wanted: Any) -> Any:
    if not isinstance(value, str):
        return value
    if wanted is bool:
        if value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        raise OptionError(f"{name} must be 1 or 0, got {value!r}")
    if wanted in (int, float):
        try:
            return wanted(value)
        except ValueError:
            kind = "a whole number" if wanted is int else "a number"
            raise OptionError(f"{name} must be {kind}, got {value!r}") from None
    return value
