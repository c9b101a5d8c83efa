"""Results that an earlier run wrote with ``--json``, read back and checked as far as they are used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from throughput.errors import ThroughputError
from throughput.measure.plan import PHASES
from throughput.results import SCHEMA


def read_results(path: Path) -> dict[str, Any]:
    """The object in a file of results, of schema 1: see ``throughput.results``.

    Its rows have a loader, a status and phases whose passes have images (0 or more) and seconds (above 0).
    Raises ThroughputError, naming the file, for one that is unreadable, foreign or of a newer schema.
    """
    try:
        found: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ThroughputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _foreign(path, "it is not JSON") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(schema, int):
        raise _foreign(path, "it has no schema")
    if schema != SCHEMA:
        raise ThroughputError(
            f"{path} holds results of schema {schema}, and this version of throughput reads schema {SCHEMA}: "
            "use the version that wrote it, or a newer one"
        )
    _require_form(path, found)
    return found


def _require_form(path: Path, found: dict[str, Any]) -> None:
    for name, kind in (("environment", dict), ("work", dict), ("rows", list)):
        if not isinstance(found.get(name), kind):
            raise _foreign(path, f"it has no {name}")
    gpus, versions = found["environment"].get("gpus", []), found["environment"].get("versions", {})
    if not isinstance(versions, dict) or not (
        isinstance(gpus, list) and all(isinstance(gpu, dict) for gpu in gpus)
    ):
        raise _foreign(path, "its environment is not one that throughput describes")
    for row in found["rows"]:
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) for key in ("loader", "status")
        ):
            raise _foreign(path, "a row has no loader or no status")
        if not _is_certificate(row.get("certificate")):
            raise _foreign(path, f"the certificate of {row['loader']} has no checks")
        for phase in PHASES:
            if not _is_phase(row.get(phase)):
                raise _foreign(path, f"the passes of {row['loader']}, {phase}, are not images and seconds")


def _is_certificate(certificate: Any) -> bool:
    if certificate is None:
        return True
    checks = certificate.get("checks") if isinstance(certificate, Mapping) else None
    return isinstance(checks, list) and all(
        isinstance(check, Mapping) and "ok" in check and isinstance(check.get("name"), str)
        for check in checks
    )


def _is_phase(phase: Any) -> bool:
    if phase is None:
        return True
    passes = phase.get("passes") if isinstance(phase, Mapping) else None
    return isinstance(passes, list) and bool(passes) and all(map(_is_pass, passes))


def _is_pass(one: Any) -> bool:
    if not isinstance(one, Mapping):
        return False
    images, seconds = one.get("images"), one.get("seconds")
    if not isinstance(images, (int, float)) or not isinstance(seconds, (int, float)):
        return False
    return 0 <= images < math.inf and 0 < seconds < math.inf


def _foreign(path: Path, reason: str) -> ThroughputError:
    return ThroughputError(f"{path} is not what `throughput bench --json` writes: {reason}")
