"""The page can be read by everybody: with a screen reader, in any colours, in light, dark and on paper."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from html_pages import Reader, rendered
from html_runs import DECISIONS, FOUR, workers

from throughput.results import Results

STYLE = Path(__file__).resolve().parents[2] / "reports" / "page.css"


@pytest.mark.parametrize("runs", [[FOUR], workers(1, 2), [replace(FOUR, gate=DECISIONS)]])
def test_a_screen_reader_finds_its_way(runs: Sequence[Results]) -> None:
    page = rendered(*runs)
    read = Reader(page)
    assert '<html lang="en">' in page
    assert read.headings[0] == 1
    assert read.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(read.headings, read.headings[1:], strict=False))
    assert {"header", "main", "footer"} <= {tag for tag, _ in read.elements}
    assert len(read.all("caption")) == len(read.all("table"))
    assert all(one.get("scope") in ("col", "row") for one in read.all("th"))
    names = [one["id"] for _, one in read.elements if "id" in one]
    assert len(names) == len(set(names))
    for _, attributes in read.elements:
        assert attributes.get("aria-labelledby") in {None, *names}
        target = attributes.get("href") or ""
        assert not target.startswith("#") or target[1:] in names
    assert len(read.all("figure")) == len(read.all("figcaption"))
    (title,) = re.findall("<title>(.+)</title>", page)
    assert html.unescape(title) in read.words


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_what_is_read_and_drawn_stands_out(scheme: str) -> None:
    style = STYLE.read_text()
    light, _, rest = style.partition("@media (prefers-color-scheme: dark)")
    dark, _, paper = rest.partition("@media print")
    found = colours({"light": light, "dark": dark, "print": paper}[scheme])
    for name in ("ink", "muted", "link", "wary", *(f"series-{number}" for number in range(1, 9))):
        for ground in ("paper", "raised"):
            assert contrast(found[name], found[ground]) >= 4.5, (name, ground)
    for name in ("alone", "model", "both"):
        assert contrast(found[name], found["paper"]) >= 3, name
    for ground in ("band-load", "band-model", "band-train"):
        assert contrast(found["ink"], found[ground]) >= 4.5, ground
        for number in range(1, 9):
            assert contrast(found[f"series-{number}"], found[ground]) >= 3, (number, ground)


def test_series_differ_for_those_who_see_no_red_or_no_green() -> None:
    """The first four, as Vienot, Brettel and Mollon (1999) have dichromats see them; all have dashes too."""
    for block in STYLE.read_text().split("@media (prefers-color-scheme: dark)")[:2]:
        found = colours(block)
        for matrix in (
            ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
            ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
        ):
            seen = [dichromat(found[f"series-{number}"], matrix) for number in range(1, 5)]
            for place, one in enumerate(seen):
                for other in seen[place + 1 :]:
                    assert math.dist(one, other) > 0.2, (seen, place)


def dichromat(colour: str, matrix: Sequence[Sequence[float]]) -> list[float]:
    linear = [(int(colour[place : place + 2], 16) / 255) ** 2.2 for place in (1, 3, 5)]
    return [
        max(0.0, sum(m * part for m, part in zip(row, linear, strict=True))) ** (1 / 2.2) for row in matrix
    ]
