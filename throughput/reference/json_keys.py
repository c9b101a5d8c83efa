"""The keys of the JSON results: those of an example that holds all, with what their classes tell of them."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from typing import Any, NamedTuple

from throughput.reference.docstrings import told
from throughput.reference.json_example import example_results
from throughput.reference.markdown import Section, code, link, paragraphs, prose, table
from throughput.results import SCHEMA, Results
from throughput.trained import WIDEST_MATRIX

_SINGULAR = {int: "integer", float: "number", str: "text", bool: "true or false"}
_PYTHON = re.compile(r"\b(None|True|False)\b")
_JSON = {"None": "`null`", "True": "`true`", "False": "`false`"}


class JsonKey(NamedTuple):
    """annotated: the type of what becomes its value. words: what is told of it, with Python's constants."""

    annotated: Any
    words: str


_OTHERWISE = {
    "schema": JsonKey(int, f"{SCHEMA}. Keys may join; those that are there keep their meaning."),
    "faults": JsonKey(
        list, "Samples that could not be read or decoded, and were left out or replaced, of both ledgers."
    ),
    "classes": JsonKey(list, "Each class: its name, its images, and how well it was told apart."),
    "confusion": JsonKey(
        list, f"Of {WIDEST_MATRIX} classes or fewer: images, a list for each label, by answer."
    ),
    "confusion_cells": JsonKey(
        list, f"Of more than {WIDEST_MATRIX} classes: label, answer and images of each cell that is not 0."
    ),
}
"""Keys that say something else than the field of their name, or that have no field."""


@dataclass
class JsonObject:
    """What there is to say of all objects of one class.

    paths: where they stand, without the places within an object that is told already. examples: some.
    """

    kind: type[Any]
    paths: list[str]
    keys: dict[str, JsonKey]
    examples: list[Mapping[str, Any]]


def json_sections() -> Iterator[Section]:
    """One for each kind of object, in the order in which they are met."""
    yield Section(
        2,
        "JSON results",
        f"What `--json PATH` writes, in schema {SCHEMA}. `rows[]` is each element of the list `rows`.",
    )
    objects = json_objects()
    for one in objects.values():
        nested = "." in one.paths[0]
        yield Section(3, _title(one), _body(one, objects), short=None if nested else _title(one).lower())


def json_objects() -> dict[type[Any], JsonObject]:
    """By class; the whole file's first."""
    found: dict[type[Any], JsonObject] = {}
    _walk(Results, [example_results()], "", found)
    return found


def _walk(
    kind: type[Any], examples: Sequence[Mapping[str, Any]], path: str, found: dict[type[Any], JsonObject]
) -> None:
    """Note the objects of a class, and of the classes within, that stand at a path."""
    if kind in found:
        found[kind].paths.append(path)
        return
    keys = dict.fromkeys(key for example in examples for key in example)
    here = found[kind] = JsonObject(kind, [path], {key: _key(kind, key) for key in keys}, [*examples])
    for key, (annotated, _) in here.keys.items():
        inner, values = _dataclass_of(annotated), _values(here, key)
        if inner is not None and values:
            listed = isinstance(values[0], list)
            objects = [item for value in values for item in value] if listed else values
            _walk(inner, objects, f"{path}.{key}".removeprefix(".") + ("[]" if listed else ""), found)


def _key(kind: type[Any], key: str) -> JsonKey:
    """From the class, or from one that a field or a property of it holds. Raises LookupError."""
    if key in _OTHERWISE:
        return _OTHERWISE[key]
    own = _attributes(kind)
    if key in own:
        return JsonKey(own[key], told(kind).fields.get(key, ""))
    within = [one for annotated in own.values() for one in _dataclasses_in(annotated)]
    holders = [one for one in within if key in _attributes(one)]
    if not holders:
        raise LookupError(f"no field of {kind.__name__}, nor of what it holds, is called {key!r}")
    words = dict.fromkeys(told(one).fields.get(key, "") for one in holders)
    return JsonKey(_attributes(holders[0])[key], " Or: ".join(filter(None, words)))


def _attributes(kind: type[Any]) -> dict[str, Any]:
    """Types of fields and of properties by name."""
    properties = {
        name: typing.get_type_hints(member.fget).get("return")
        for name, member in vars(kind).items()
        if isinstance(member, property)
    }
    return properties | {field.name: typing.get_type_hints(kind)[field.name] for field in fields(kind)}


def _dataclasses_in(annotated: Any) -> list[type[Any]]:
    """The dataclasses of ``X``, ``X | Y``, ``tuple[X, ...]``."""
    if isinstance(annotated, type) and is_dataclass(annotated):
        return [annotated]
    return [inner for one in typing.get_args(annotated) for inner in _dataclasses_in(one)]


def _dataclass_of(annotated: Any) -> type[Any] | None:
    return next(iter(_dataclasses_in(annotated)), None)


def _values(one: JsonObject, key: str) -> list[Any]:
    return [example[key] for example in one.examples if example.get(key) is not None]


def _title(one: JsonObject) -> str:
    return code(one.paths[0]) or "The whole file"


def _body(one: JsonObject, objects: Mapping[type[Any], JsonObject]) -> str:
    likewise = ", ".join(map(code, one.paths[1:]))
    rows = [(code(key), _kind(one, key, objects), _prose(_words(known))) for key, known in one.keys.items()]
    return paragraphs(
        f"Likewise {likewise}." if likewise else "",
        *(_prose(paragraph) for paragraph in told(one.kind).about.split("\n\n")),
        table(("key", "value", "what it is"), _together(rows)),
    )


def _together(rows: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Neighbours of which the same is told share a row."""
    for (value, words), alike in groupby(rows, key=lambda row: row[1:]):
        names = [name for name, *_ in alike]
        yield from [(", ".join(names), value, words)] if words else [(name, value, "") for name in names]


def _words(key: JsonKey) -> str:
    """Its own; else what its class is, in a sentence."""
    inner = _dataclass_of(key.annotated)
    if key.words or inner is None:
        return key.words
    return told(inner).about.partition("\n\n")[0].partition(". ")[0].removesuffix(".") + "."


def _prose(text: str) -> str:
    return prose(_PYTHON.sub(lambda found: _JSON[found[0]], text))


def _kind(one: JsonObject, key: str, objects: Mapping[type[Any], JsonObject]) -> str:
    """What its value is, in words."""
    annotated = one.keys[key].annotated
    parts = (annotated, *typing.get_args(annotated))
    values = _values(one, key)
    if (inner := _dataclass_of(annotated)) in objects and inner is not None:
        listed = bool(values) and isinstance(values[0], list)
        words = link("objects" if listed else "object", _title(objects[inner]))
        words = f"list of {words}" if listed else words
    elif literals := [value for part in parts for value in _literals(part)]:
        words = " or ".join(map(code, dict.fromkeys(literals)))
    elif values:
        words = _in_words(values[0])
    else:
        words = next((_SINGULAR[part] for part in parts if part in _SINGULAR), "")
    return f"{words} or null" if type(None) in parts else words


def _literals(annotated: Any) -> tuple[str, ...]:
    return typing.get_args(annotated) if typing.get_origin(annotated) is typing.Literal else ()


def _in_words(value: Any, *, plural: bool = False) -> str:
    ending = "s" if plural else ""
    if isinstance(value, dict):
        return ": ".join(filter(None, (f"object{ending}", ", ".join(map(code, value)))))
    if isinstance(value, list):
        return f"list{ending} of {_in_words(value[0], plural=True)}" if value else f"list{ending}"
    return _SINGULAR[type(value)] + ending
