"""Results that an earlier run wrote with ``--json``, read back and checked as far as they are used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from throughput.errors import ThroughputError
from throughput.measure.plan import PHASES
from throughput.results import SCHEMA

_LEAST_SECONDS, _MOST_SECONDS = 1e-12, 1e12


def read_results(path: Path) -> dict[str, Any]:
    """The one run in a file of results: as ``read_runs``, and raises ThroughputError for several as well."""
    found = read_runs(path)
    if len(found) > 1:
        raise ThroughputError(
            f"{path} holds {len(found)} runs, and one is wanted: give what `throughput bench --json` wrote"
        )
    return found[0]


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The objects in a file of results, of schema 1: see ``throughput.results``.

    The file holds one such object, or a list of one or more. Their rows have a loader, a status and phases
    whose passes have images (0 to 2**53) and seconds (1e-12 to 1e12). Raises ThroughputError, naming the
    file and the run, for one that is unreadable, foreign or of a newer schema.
    """
    try:
        found: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ThroughputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise foreign(str(path), "it is not JSON") from error
    runs = found if isinstance(found, list) else [found]
    if not runs:
        raise foreign(str(path), "it holds no run")
    for place, run in zip(places(path, len(runs)), runs, strict=True):
        _require_form(place, run)
    return runs


def places(path: Path, runs: int) -> list[str]:
    """What to call each of so many runs of a file: by the file, and by a number where it holds several."""
    return [str(path)] if runs == 1 else [f"{path}, run {number}" for number in range(1, runs + 1)]


def foreign(place: str, reason: str) -> ThroughputError:
    """The error of a file that no version of throughput can have written."""
    return ThroughputError(f"{place} is not what `throughput bench --json` writes: {reason}")


def _require_form(place: str, found: Any) -> None:
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(schema, int):
        raise foreign(place, "it has no schema")
    if schema != SCHEMA:
        raise ThroughputError(
            f"{place} holds results of schema {schema}, and this version of throughput reads schema "
            f"{SCHEMA}: use the version that wrote it, or a newer one"
        )
    for name, kind in (("environment", dict), ("work", dict), ("rows", list)):
        if not isinstance(found.get(name), kind):
            raise foreign(place, f"it has no {name}")
    gpus, versions = found["environment"].get("gpus", []), found["environment"].get("versions", {})
    if not isinstance(versions, dict) or not (
        isinstance(gpus, list) and all(isinstance(gpu, dict) for gpu in gpus)
    ):
        raise foreign(place, "its environment is not one that throughput describes")
    for row in found["rows"]:
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) for key in ("loader", "status")
        ):
            raise foreign(place, "a row has no loader or no status")
        if not _is_certificate(row.get("certificate")):
            raise foreign(place, f"the certificate of {row['loader']} has no checks")
        for phase in PHASES:
            if not _is_phase(row.get(phase)):
                raise foreign(place, f"the passes of {row['loader']}, {phase}, are not images and seconds")


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
    # Beyond 2**53 a number is no count any more, and a rate must be a number that can be worked with.
    return 0 <= images <= 2**53 and _LEAST_SECONDS <= seconds <= _MOST_SECONDS
