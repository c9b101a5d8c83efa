"""Tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

_WIDE = 160


def print_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print ``rows``, one text for each of ``headers``; nothing where there are none."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        # Text: brackets, as of pip's extras, are not markup.
        table.add_row(*(Text(cell) for cell in row))
    if table.row_count:
        # A pipe or a file has no width: nothing need wrap.
        Console(width=None if sys.stdout.isatty() else _WIDE).print(table)
