"""HTML by construction: what is not ``Html`` is text, and text is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Sequence

_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters, halves of surrogate pairs (a file's name may hold them), and marks that would turn
round the text after them."""


class Html(str):
    """Markup that is safe as it stands."""

    __slots__ = ()


Part = str | None
"""``Html``, or text that will be escaped; None is nothing."""


def printable(text: str) -> str:
    """The text with a replacement character for each that cannot be shown."""
    return _UNSHOWABLE.sub("\ufffd", text)


def escaped(part: Part) -> Html:
    """A part as markup."""
    if part is None:
        return Html()
    return part if isinstance(part, Html) else Html(html.escape(printable(part)))


def joined(parts: Iterable[Part], between: str = "") -> Html:
    """Parts one after the other."""
    return Html(escaped(between).join(map(escaped, parts)))


def tag(name: str, *parts: Part, **attributes: str | int | bool | None) -> Html:
    """An element. ``class_`` is ``class``, ``aria_label`` is ``aria-label``; None and False leave one out."""
    told = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        told.append(attribute if value is True else f'{attribute}="{escaped(str(value))}"')
    return Html(f"<{' '.join(told)}>{joined(parts)}</{name}>")


def table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[Part]],
    *,
    words: Collection[int] = (),
    quiet: bool = False,
    numbered: bool = False,
) -> Html:
    """A table whose first column heads its rows; the others hold numbers but those that ``words`` names.

    It scrolls sideways by itself where it is wider than the screen. quiet: the caption is for screen readers
    only, where a heading says the same. numbered: the first column holds numbers, not names.
    """

    def kind(column: int) -> str | None:
        return "words" if column in words else None

    head = (tag("th", text, scope="col", class_=kind(place)) for place, text in enumerate(headings))
    body = (
        tag(
            "tr",
            tag("th", cells[0], scope="row"),
            *(tag("td", cell, class_=kind(place)) for place, cell in enumerate(cells[1:], start=1)),
        )
        for cells in rows
    )
    whole = tag(
        "table",
        tag("caption", caption, class_="unseen" if quiet else None),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        class_="numbered" if numbered else None,
    )
    return tag("div", whole, class_="wide", role="group", tabindex=0, aria_label=caption)


def bullets(items: Iterable[Part], kind: str | None = None) -> Html:
    """A list; nothing of no items."""
    lines = [tag("li", item) for item in items]
    return tag("ul", *lines, class_=kind) if lines else Html()


def folded(summary: Part, *parts: Part) -> Html:
    """What a reader opens to see."""
    return tag("details", tag("summary", summary), *parts)
