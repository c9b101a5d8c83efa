"""Whatever text results hold, it stays text; the page asks for nothing, and fits into 2 MB."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from dataclasses import replace
from typing import Any

import pytest
from html_pages import Reader, of, rendered, specs
from html_runs import DECISIONS, FOUR, ROWS, WORK

from throughput.errors import ThroughputError
from throughput.reports import page as page_module
from throughput.results import Pass, Phase, Results, Timeline, Usage, Window

MOST_BYTES = 2_000_000
HOSTILE = "</script><script>alert(1)</script><!--<script <img src=x onerror=alert(2)>&\"'\x00\udc80\u202e"


@pytest.mark.parametrize("name", [HOSTILE, "[b]x[/b]", "a~b", "'; alert(3) //", "x" * 300])
def test_text_of_any_kind_is_text(name: str) -> None:
    row = replace(
        ROWS[0],
        loader=name,
        reason=name,
        options={name: name},
        stages={name: 0.001, "decode": 0.001},
        warnings=(name,),
        certificate=replace(
            ROWS[0].certificate,
            checks=(replace(ROWS[0].certificate.checks[0], name=name, words=name),),
            reason=name,
        ),
    )
    run = Results(
        created=name,
        command=name,
        environment={name: name, "gpus": [{name: name}]},
        work=WORK | {"source": name, "model": name},
        rows=(row, replace(row, status="failed")),
        gate=(replace(DECISIONS[1], test=name, reason=name),),
    )
    plain = Reader(rendered(replace(FOUR, gate=DECISIONS), FOUR))
    for page in (rendered(run), rendered(run, run)):
        read = Reader(page)
        assert {tag for tag, _ in read.elements} <= {tag for tag, _ in plain.elements}
        assert not any(name.startswith("on") for _, attributes in read.elements for name in attributes)
        assert len(read.all("script")) == 2
        assert not set("<>&") & set(read.scripts[0])
        page.encode()
        assert "\x00" not in page
        assert "\u202e" not in page
    legible = re.sub("[\x00\udc80\u202e]", "\ufffd", name)
    assert legible in Reader(rendered(run)).words


def test_a_loaders_name_is_no_expression() -> None:
    """Names are data of a chart, and no part of what Vega computes."""
    hostile = replace(ROWS[0], loader="'+alert(1)+'")
    for spec in specs(of(hostile)):
        for key, value in _leaves(spec):
            if key in ("labelExpr", "expr", "calculate", "filter", "test", "signal", "href", "url"):
                assert "alert" not in str(value)


def _leaves(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, one in value.items() for leaf in _leaves(one, name)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in _leaves(one, key)]
    return [(key, value)]


def test_nothing_is_asked_of_the_network() -> None:
    page = rendered(FOUR)
    read = Reader(page)
    for tag, attributes in read.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            target = attributes.get(name) or ""
            assert target.startswith(("#", "data:")) or not target, f"{tag} {name}={target}"
    style = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"url\(|@import|https?:|//", style)
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|WebSocket", own)


def test_no_script_runs_but_the_one_that_draws() -> None:
    read = Reader(rendered(FOUR))
    data, script = read.scripts
    assert read.all("script") == [{"type": "application/json", "id": "charts"}, {}]
    json.loads(data)
    assert "</script" not in script.lower()
    (policy,) = [one["content"] for one in read.all("meta") if "http-equiv" in one]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "eval" not in policy


def test_four_loaders_fit_into_two_megabytes() -> None:
    """Also where they are measured for long, with thousands of batches and samples."""
    waits = tuple(0.001 * (place % 7) for place in range(20_000))
    begins = tuple(0.01 * place for place in range(20_000))
    long = Phase(tuple(Pass(1_000_000, 200.0, sum(waits), waits, (), begins) for _ in range(3)))
    rows = tuple(
        replace(
            row,
            train=long,
            timeline=Timeline(
                tuple(
                    Window("train", 300.0 * turn, 300.0 * turn + 200)
                    for turn in range(place, 12 + place, len(ROWS))
                ),
                tuple(Usage(300.0 * place + tick / 4, 0.5, 10**9, 0.5) for tick in range(10_000)),
            ),
        )
        for place, row in enumerate(ROWS)
    )
    assert len(rendered(FOUR).encode()) < len(of(*rows).encode()) < MOST_BYTES


def test_a_missing_library_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    page_module.script.cache_clear()
    with pytest.raises(ThroughputError, match="pip install vl-convert-python"):
        rendered(FOUR)
    page_module.script.cache_clear()
