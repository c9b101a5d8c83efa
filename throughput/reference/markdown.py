"""Markdown as GitHub shows it: prose from docstrings, tables, headings and a table of contents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_CODE_SPAN = re.compile(r"(`[^`]+`)")
_OPTION = re.compile(r"(?<![\w-])(--?[a-z][a-z0-9-]*)\b")
_MEANINGFUL = re.compile(r"([\\*<~$\[\]]|(?<!\w)_|_(?!\w))")
"""What Markdown would not show as it stands. Underscores within a word are left alone by it."""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, Markdown.

    level: 2 or more. short: what the table of contents calls it beside the section that it belongs to; None
    for one that is not listed there (those of level 2 all are).
    """

    level: int
    title: str
    body: str = ""
    short: str | None = None


def prose(text: str) -> str:
    """Text of a docstring or of an option's help, on one line, with options as code."""
    parts = _CODE_SPAN.split(" ".join(text.replace("``", "`").split()))
    return "".join(part if _CODE_SPAN.fullmatch(part) else _plain(part) for part in parts)


def code(text: str) -> str:
    """As code; nothing of nothing."""
    return f"`{text}`" if text else ""


def link(text: str, title: str) -> str:
    """To the section of that title."""
    return f"[{text}](#{anchor(title)})"


def anchor(title: str) -> str:
    """What GitHub calls the heading in an address."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A row of cells, Markdown, under each header; columns that are empty throughout are left out."""
    filled = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    kept = [place for place in range(len(headers)) if any(row[place] for row in filled)]
    lines = [[headers[place] for place in kept], ["---"] * len(kept)]
    lines += [[row[place] for place in kept] for row in filled]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if filled else ""


def paragraphs(*texts: str) -> str:
    """Those that are not empty, with an empty line between them."""
    return "\n\n".join(text for text in texts if text)


def document(title: str, opening: str, sections: Sequence[Section]) -> str:
    """The page, with its table of contents behind the opening."""
    headed = [f"{'#' * section.level} {section.title}\n\n{section.body}".rstrip() for section in sections]
    return paragraphs(f"# {title}", opening, _contents(sections), *headed) + "\n"


def _contents(sections: Iterable[Section]) -> str:
    lines: list[tuple[str, list[str]]] = []
    for section in sections:
        if section.level == 2:
            lines.append((link(section.title, section.title), []))
        elif section.short is not None:
            lines[-1][1].append(link(section.short, section.title))
    return "\n".join(f"- {head}" + (f": {', '.join(parts)}" if parts else "") for head, parts in lines)


def _plain(text: str) -> str:
    """Text that is shown as it stands, but for options, which become code."""
    parts = _OPTION.split(text)
    return "".join(
        code(part) if place % 2 else _MEANINGFUL.sub(r"\\\1", part) for place, part in enumerate(parts)
    )
