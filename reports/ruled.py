"""A rich table in which cells wrap where all does not fit, and no word or number is ever cut."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table


def ruled_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Table:
    """The first ``left`` columns begin at the left; the others, numbers, end at the right."""
    table = Table()
    for place, (heading, *cells) in enumerate(zip(headings, *rows, strict=True)):
        longest = max((len(word) for cell in (heading, *cells) for word in cell.split()), default=0)
        table.add_column(heading, justify="left" if place < left else "right", min_width=longest)
    for row in rows:
        table.add_row(*row)
    return table
