"""Pages of the html report, read as a browser without scripts would."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from html_runs import FOUR

from throughput.registry import load_report
from throughput.results import Results, Row


def rendered(*runs: Results) -> str:
    return load_report("html").render(runs)


def of(*rows: Row, **changes: Any) -> str:
    return rendered(replace(FOUR, rows=rows, comparisons=(), **changes))


class Reader(HTMLParser):
    """What a browser without scripts makes of a page: elements, text, headings."""

    VOID = ("meta", "link")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.headings: list[int] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not {"style", "title"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def shown(*runs: Results) -> str:
    return Reader(rendered(*runs)).words


def specs(page: str) -> list[dict[str, Any]]:
    data = next(script for script in Reader(page).scripts if script.startswith('{"config"'))
    found: list[dict[str, Any]] = json.loads(data)["specs"]
    return found


def values(spec: Any, name: str) -> list[Any]:
    """Of a field, in all data of a chart."""
    if isinstance(spec, list):
        return [one for part in spec for one in values(part, name)]
    if not isinstance(spec, dict):
        return []
    data = spec.get("data", {}).get("values", []) if isinstance(spec.get("data"), dict) else []
    own = [record[name] for record in data if name in record]
    return own + [one for part in spec.get("layer", []) for one in values(part, name)]
