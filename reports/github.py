"""GitHub's Markdown: text that stays text, tables, folded sections, and a comment that is not too long."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from throughput.reports.cells import one_line

MOST_CHARACTERS = 65_000
"""GitHub refuses a comment of more than 65,536; whoever posts it may want to add a line."""
_LONGEST = 500
"""Of a text within a line, in characters."""

_BETWEEN = "\n\n"

# Backslashes do for what has a meaning within a line. Cells are cut at bars before anything else is read,
# and of HTML not even a bracket may be left. GitHub looks for mentions and numbers of issues in the finished
# page, where no escaping is left to be seen: a space of no width keeps the sign apart from what follows it.
_ESCAPES = str.maketrans(
    {one: f"\\{one}" for one in "\\`*_[]~$"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "@": "@&#8203;", "#": "#&#8203;"}
)

_LINKS = re.compile(r"(://|\bwww\.)", re.IGNORECASE)
"""What GitHub makes a link of by itself."""

_BEGINNING = re.compile(r"^(\d*)([-+=.)])(?=[-=\s]|$)")
"""Of a line, what would begin a list or draw a rule."""


def escaped(text: object) -> str:
    """Text as it is, on one line, whatever it holds; cut where it is very long."""
    return _BEGINNING.sub(r"\1\\\2", _within(text))


def _within(text: object) -> str:
    """The same for text that does not begin a line."""
    line = one_line(text)
    cut = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
    return _LINKS.sub(r"\1&#8203;", cut.translate(_ESCAPES))


def code(text: object) -> str:
    """A block that is shown letter by letter, on one line."""
    line = one_line(text)
    fence = "```"
    while fence in line:
        fence += "`"
    return f"{fence}\n{line[:10_000]}\n{fence}"


@dataclass(frozen=True)
class Section:
    """A part of a comment. lines: of a list or a table, from whose end it is shortened.

    opening, closing: what stands around them.
    """

    lines: tuple[str, ...]
    opening: str = ""
    closing: str = ""
    folded: bool = False
    left_out: int = 0

    @property
    def text(self) -> str:
        """In Markdown."""
        return self.opening + "\n".join(self.lines) + _note(self.left_out) + self.closing


def paragraph(text: str) -> Section:
    """Markdown as it is."""
    return Section((text,))


def bullets(texts: Iterable[str]) -> Section:
    """A list of escaped texts."""
    return Section(tuple(f"- {text}" for text in texts))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], words: Collection[str] = ()) -> Section:
    """Columns of the headings in ``words`` begin at the left, those of numbers end at the right.

    Cells are escaped here.
    """
    rule = ["---" if heading in words else "---:" for heading in headings]
    head = f"{_cells(headings)}\n{_cells(rule)}\n"
    return Section(tuple(_cells(map(_within, row)) for row in rows), opening=head)


def folded(summary: str, section: Section) -> Section:
    """What a reader opens to see. summary: plain words, with no need to be escaped."""
    opening = f"<details><summary>{summary}</summary>\n\n{section.opening}"
    return replace(section, opening=opening, closing=f"{section.closing}\n\n</details>", folded=True)


def comment(sections: Iterable[Section], most: int = MOST_CHARACTERS) -> str:
    """The sections below one another, in at most so many characters.

    What is folded is shortened first, the last section before the others, and then all from the end; what
    was left out is told.
    """
    kept = list(sections)
    excess = len(_joined(kept)) - most
    for place in reversed([place for place, section in enumerate(kept) if section.folded]):
        shorter = _shortened(kept[place], excess)
        excess -= len(kept[place].text) - len(shorter.text)
        kept[place] = shorter
    if excess > 0:
        rest = paragraph("*All that follows was left out: a comment holds no more.*")
        kept = [*_first(kept, excess + len(rest.text) + len(_BETWEEN)), rest]
    return _joined(kept)


def _first(sections: Sequence[Section], excess: int) -> list[Section]:
    """Without as much of the end as makes all shorter by so many characters."""
    kept = list(sections)
    while kept and excess > 0:
        last = kept.pop()
        shorter = _shortened(last, excess)
        if shorter.lines and len(last.text) - len(shorter.text) >= excess:
            return [*kept, shorter]
        excess -= len(last.text) + len(_BETWEEN)
    return kept


def _shortened(section: Section, excess: int) -> Section:
    """Without as many of the last lines as make it shorter by so many characters, or without any.

    It stays as it is where it would not become shorter.
    """
    if excess <= 0:
        return section
    most = section.left_out + len(section.lines)
    kept, wanted = len(section.lines), excess + len(_note(most))
    while kept and wanted > 0:
        kept -= 1
        wanted -= len(section.lines[kept]) + 1
    shorter = replace(section, lines=section.lines[:kept], left_out=most - kept)
    return shorter if len(shorter.text) < len(section.text) else section


def _joined(sections: Sequence[Section]) -> str:
    return _BETWEEN.join(section.text for section in sections) + "\n"


def _note(left_out: int) -> str:
    """Told below a section."""
    if not left_out:
        return ""
    lines = f"{left_out:,} more {'line was' if left_out == 1 else 'lines were'}"
    return f"{_BETWEEN}*{lines} left out: a comment holds no more.*"


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
