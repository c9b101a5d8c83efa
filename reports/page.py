"""The page around what is told: style, charts that draw themselves, and a policy that lets nothing in."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from throughput.errors import UnknownNameError
from throughput.reports.drawing import CONFIG, Spec
from throughput.reports.markup import Html, escaped, tag


def page(heading: str, about: str, body: Html, specs: Sequence[Spec]) -> str:
    """The document. heading: what came out. about: what it came out of. specs: of the charts, by number."""
    drawn_by = script() if specs else ""
    drawing = ""
    if specs:
        data = _json({"config": CONFIG, "specs": list(specs)})
        drawing = (
            f'<script type="application/json" id="charts">{data}</script>\n<script>{drawn_by}</script>\n'
        )
    credit = " Charts: Vega and Vega-Lite (BSD 3-Clause), embedded." if specs else ""
    unseen = tag(
        "noscript",
        tag("p", "Charts are drawn by JavaScript. All their numbers stand below each of them."),
    )
    header = tag(
        "header",
        tag("p", "throughput report", class_="kind"),
        tag("h1", heading),
        tag("p", about, class_="about"),
        unseen if specs else None,
    )
    footer = tag(
        "footer", tag("p", f"Made by throughput; nothing on this page is loaded from elsewhere.{credit}")
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escaped(_policy(drawn_by))}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(heading)}</title>
<link rel="icon" href="data:,">
<style>
{_beside("page.css")}</style>
</head>
<body>
{header}
<main>
{body}
</main>
{footer}
{drawing}</body>
</html>
"""


def _policy(script: str) -> str:
    """What a browser may do: run this very script, and nothing that comes from a name in the results."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    run = f"'sha256-{digest}'" if script else "'none'"
    return (
        f"default-src 'none'; script-src {run}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def script() -> str:
    """What draws the charts, with all the libraries that it needs. Takes a second or two to bundle."""
    try:
        import vl_convert
    except ImportError as error:
        raise UnknownNameError(
            "the html report draws charts with vl_convert, which is missing: pip install vl-convert-python"
        ) from error
    bundle: str = vl_convert.javascript_bundle(_beside("page.js"))
    # Within JavaScript these say the same, and only as they are here would they mean something to HTML.
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """For a script element: of characters that mean something to HTML there is none."""
    told = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return told.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    """Numbers to six figures, more than a chart can show, and null for what is no finite number."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
