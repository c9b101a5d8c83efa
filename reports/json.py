"""``json``: everything that was measured, in the schema of ``throughput.results``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from throughput.contracts import Report
from throughput.results import Results


class JsonReport(Report):
    """One JSON object, indented, with a newline at its end."""

    about = "everything that was measured, for programs"

    def render(self, runs: Sequence[Results]) -> str:
        """Strict JSON: a number that is not finite is null. Several runs are a list of such objects."""
        objects = [_finite(results.to_json()) for results in runs]
        return json.dumps(objects[0] if len(objects) == 1 else objects, indent=1, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
