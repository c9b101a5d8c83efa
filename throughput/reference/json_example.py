"""Results in which nothing is left out: what their JSON holds is what a reader may find."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from throughput.contracts import Work
from throughput.measure.environment import environment
from throughput.measure.plan import Plan, describe_work
from throughput.results import Results, Row
from throughput.trained import WIDEST_MATRIX, Classification, Evaluation, Regression


def example_results() -> dict[str, Any]:
    """The JSON object. Its values mean nothing; those of ``environment`` are this machine's."""
    row: Row = _example(Row)
    judged = [
        Evaluation("", ("",) * classes, Classification(1.0, classes, np.ones((1, 3), np.int64), 1.0))
        for classes in (2, WIDEST_MATRIX + 1)
    ]
    judged.append(Evaluation("", (), _example(Regression)))
    results: Results = replace(
        _example(Results),
        environment=environment(),
        work=_example_work(),
        rows=tuple(replace(row, evaluation=one) for one in judged),
    )
    told: dict[str, Any] = json.loads(json.dumps(results.to_json()))
    return told


def _example_work() -> dict[str, Any]:
    source: Any = SimpleNamespace(location="", fingerprint="", classes=(), ids=lambda _: ())
    return describe_work(Plan("", Work(source), ""))


def _example(kind: Any) -> Any:
    """A value of a type, no field of which is None or empty if it can be otherwise."""
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case typing.Union | types.UnionType | typing.Literal:
            first = next(one for one in arguments if one is not type(None))
            return first if typing.get_origin(kind) is typing.Literal else _example(first)
        case builtin if builtin is tuple:
            return (_example(arguments[0]),)
        case builtin if builtin is dict:
            return {}
    if kind is Classification:
        return Classification(1.0, 1, np.zeros((1, 3), np.int64), 1.0)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: _example(hints[field.name]) for field in fields(kind)})
    return {int: 1, float: 1.0, str: "", bool: True}[kind]
