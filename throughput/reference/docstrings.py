"""What the docstrings of a class tell: of the whole, and of each field by the convention ``name: text.``"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Told:
    """about: paragraphs on the whole. fields: what is told of single ones, by name; of properties too."""

    about: str
    fields: dict[str, str]


def told(kind: type[Any]) -> Told:
    """Of a class, those that it inherits from included. Three places tell of a field.

    The class's docstring, where ``name: text.``, ``one, other: text.`` or ``one (aside) and other: text.``
    begins a paragraph or follows a full stop or a semicolon, and ends with the next of these or with the
    paragraph; a docstring below the field; a property's own.
    """
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if one is not object:
            found |= _in_class(one) | dict(_below_fields(one)) | dict(_of_properties(one))
    return Told(_split(kind)[0], found)


def _in_class(kind: type[Any]) -> dict[str, str]:
    return _split(kind)[1]


def _split(kind: type[Any]) -> tuple[str, dict[str, str]]:
    """What the class's own docstring tells of the whole, and of its fields."""
    text = inspect.cleandoc(vars(kind).get("__doc__") or "")
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    if not names or text.startswith(f"{kind.__name__}("):  # dataclasses make such a docstring where none is
        return ("" if names else text), {}
    one = rf"(?:{'|'.join(map(re.escape, names))})(?: \([^()]*\))?"
    beginning = re.compile(rf"(?:^|(?<=[.;] ))({one}(?:(?:, | and ){one})*): ")
    about: list[str] = []
    found: dict[str, str] = {}
    for paragraph in text.split("\n\n"):
        before, *entries = beginning.split(" ".join(paragraph.split()))
        about.append(before.strip())
        for heads, words in zip(entries[::2], entries[1::2], strict=True):
            for name, aside in re.findall(r"(\w+)(?: \(([^()]*)\))?(?:, | and |$)", heads):
                found[name] = _sentence(f"{aside}: {words}" if aside else words)
    return "\n\n".join(filter(None, about)), found


def _below_fields(kind: type[Any]) -> Iterator[tuple[str, str]]:
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # a class without a file, as one that was made in an interpreter
        return
    (definition,) = ast.parse(source).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, _sentence(" ".join(text.split()))


def _of_properties(kind: type[Any]) -> Iterator[tuple[str, str]]:
    for name, member in vars(kind).items():
        if isinstance(member, property) and member.__doc__:
            yield name, _sentence(" ".join(member.__doc__.split()))


def _sentence(text: str) -> str:
    """With a capital letter and a full stop; code stays as it is."""
    text = text.strip().rstrip(";")
    begun = text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "?", "!")) else f"{begun}."
