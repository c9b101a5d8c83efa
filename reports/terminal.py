"""Rich tables as plain text, as wide as the terminal: colours are left to whoever prints to one."""

from __future__ import annotations

import io
import shutil

from rich.console import Console


def console() -> Console:
    """One that ``printed`` gives the text of."""
    width = max(100, shutil.get_terminal_size((120, 24)).columns)
    # Paths may hold what rich would take for markup.
    return Console(file=io.StringIO(), width=width, markup=False, emoji=False)


def printed(to: Console) -> str:
    """What was printed to a ``console``."""
    text = to.file.getvalue()  # type: ignore[attr-defined] # it is a StringIO
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())
