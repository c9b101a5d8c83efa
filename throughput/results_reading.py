"""The JSON form of results turned back into ``Results``, so that a report can be made of a file."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from throughput.results import Results, Row
from throughput.results_file import foreign, places, read_results, read_runs

_MOST = 1 << 63


def load_results(path: Path) -> Results:
    """What ``--json`` wrote. Keys that this version does not know are left out, those that may be absent get
    their defaults, and a number that was not finite (null in JSON) is nan.

    Raises ThroughputError, naming the file and the place in it, for one that is unreadable, foreign, of
    another schema, or holds several runs.
    """
    return results_of(str(path), read_results(path))


def load_runs(path: Path) -> tuple[Results, ...]:
    """All runs of a file that the report ``json`` made of one or more, each as ``load_results`` reads it."""
    runs = read_runs(path)
    return tuple(map(results_of, places(path, len(runs)), runs))


def results_of(place: str, run: dict[str, Any]) -> Results:
    """A run as JSON reads it. place: what to call it. Raises ThroughputError, naming place and key."""
    try:
        results: Results = _built(Results, run, "")
        for number, row in enumerate(results.rows):
            _require_sound(row, f"rows[{number}]")
    except _UnfitError as error:
        raise foreign(place, str(error)) from error
    return results


def _require_sound(row: Row, where: str) -> None:
    """Raise _UnfitError for parts that fit each by itself, and cannot be together."""
    if any(ledger is not None and not ledger.epochs for ledger in (row.ledger, row.held_out_ledger)):
        raise _UnfitError(f"{where} has a ledger of no epoch")
    epochs = None if row.training is None else len(row.training.epochs)
    if epochs is not None and row.train is not None and epochs != len(row.train.passes):
        raise _UnfitError(f"{where}.training tells of another number of epochs than train has passes")


class _UnfitError(Exception):
    """A value does not fit its field; tells where."""


def _built(kind: Any, value: Any, where: str) -> Any:
    """``value``, parsed JSON, as an instance of the type ``kind``. Raises _UnfitError."""
    if kind is Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, value, where)
    if origin is typing.Literal:
        return _required(value in arguments, value, where)
    if origin is tuple:
        items = _required(isinstance(value, list), value, where)
        kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else arguments
        _required(len(kinds) == len(items), value, where)
        return tuple(
            _built(one, item, f"{where}[{number}]")
            for number, (one, item) in enumerate(zip(kinds, items, strict=True))
        )
    if origin is dict:
        named = _required(isinstance(value, dict), value, where)
        return {name: _built(arguments[1], item, f"{where}.{name}") for name, item in named.items()}
    if hasattr(kind, "from_json"):
        try:
            return kind.from_json(value)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise _UnfitError(f"{where} is not one ({error})") from error
    if dataclasses.is_dataclass(kind):
        return _instance(kind, _required(isinstance(value, dict), value, where), where)
    if kind is float:
        if value is None:
            return math.nan
        return float(_required(_is_number(value, (int, float)), value, where))
    fits = _is_number(value, int) if kind is int else isinstance(value, kind)
    return _required(fits, value, where)


def _is_number(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether it is one that machines count with: JSON has whole numbers of any length."""
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    return not isinstance(value, int) or abs(value) < _MOST


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    causes = []
    for kind in kinds:
        if kind is not type(None):
            try:
                return _built(kind, value, where)
            except _UnfitError as error:
                causes.append(error)
    raise causes[0]


def _instance(kind: Any, found: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        place = f"{where}.{field.name}".removeprefix(".")
        if field.name in found:
            values[field.name] = _built(hints[field.name], found[field.name], place)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _UnfitError(f"{place} is missing")
    if (values.get("low") is None) != (values.get("high") is None):
        raise _UnfitError(f"{where} has one end of an interval")
    return kind(**values)


def _required(fits: bool, value: Any, where: str) -> Any:
    if not fits:
        raise _UnfitError(f"{where} cannot be {repr(value)[:60]}")
    return value
