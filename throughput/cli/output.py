"""Files that a command writes: refused before the work whose results they would lose after it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from throughput.errors import OptionError


def require_writable(json_path: Path | None) -> None:
    """Raise OptionError where ``--json`` could not be written; None: nothing is asked for."""
    if json_path is None:
        return
    folder = json_path.absolute().parent
    if not folder.is_dir():
        raise OptionError(f"--json {json_path}: there is no folder {folder}; make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(
            f"--json {json_path}: cannot write in {folder}: {error.strerror}; name another folder"
        ) from error
