"""The page says everything without a script, shows text as text, asks for nothing, and fits into 2 MB."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from html_runs import (
    BARE,
    DECISIONS,
    EVALUATED,
    FAILED,
    FOUR,
    NO_TRAIN,
    ONE_PASS,
    OWN,
    RECORDS,
    ROWS,
    SKIPPED,
    TRAINED,
    UNSOUND,
    WORK,
    inference,
    workers,
)

from throughput.registry import load_report
from throughput.results import Pass, Phase, Results, Row, Timeline, Usage, Window

MOST_BYTES = 2_000_000
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&\"'\x00\udc80\u202e"
STYLE = Path(__file__).resolve().parents[2] / "reports" / "page.css"


def rendered(*runs: Results) -> str:
    return load_report("html").render(runs)


def of(*rows: Row, **changes: Any) -> str:
    return rendered(replace(FOUR, rows=rows, comparisons=(), **changes))


class Reader(HTMLParser):
    """What a browser without scripts makes of a page: elements, text, headings."""

    VOID = ("meta", "link")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.headings: list[int] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not {"style", "title"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def shown(*runs: Results) -> str:
    return Reader(rendered(*runs)).words


def specs(page: str) -> list[dict[str, Any]]:
    data = next(script for script in Reader(page).scripts if script.startswith('{"config"'))
    found: list[dict[str, Any]] = json.loads(data)["specs"]
    return found


def values(spec: Any, name: str) -> list[Any]:
    """Of a field, in all data of a chart."""
    if isinstance(spec, list):
        return [one for part in spec for one in values(part, name)]
    if not isinstance(spec, dict):
        return []
    data = spec.get("data", {}).get("values", []) if isinstance(spec.get("data"), dict) else []
    own = [record[name] for record in data if name in record]
    return own + [one for part in spec.get("layer", []) for one in values(part, name)]


def test_every_number_that_matters_is_there_without_a_script() -> None:
    words = shown(FOUR)
    for row in ROWS:
        for phase in (row.load, row.model, row.train):
            assert phase is not None
            rate = phase.images_per_second
            assert rate.low is not None
            assert rate.high is not None
            assert f"{rate.median:,.0f} {rate.low:,.0f} to {rate.high:,.0f} 3" in words
        assert row.train is not None
        assert row.train.wait_ms is not None
        assert f"{row.train.wait_ms['p50']:,.2f}" in words
        assert f"{row.train.wait_ms['p99']:,.2f}" in words
        assert f"{row.loader} : other programs used 12 % of the cores meanwhile" in words
    for told in (
        "dali is the fastest of 4 loaders: 544 images/s in training",
        "loader-bound : the loader delivers 962 images/s alone.",
        "more workers --workers 4 640 533 to 746 533 [1, 2]",
        "certified to do the same work".capitalize(),
        "every one of 12,345 images exactly once".capitalize(),
        "0.790 [0.740, 0.840] 3 slower",
        "decode 1.000 62%",
        "0.41 s to the first batch",
        "val.ids yes 0 0 every id once",
        "1 of 1 check hold",
        "12,345 12,345 0 0 0 0 0 0",
        "95% 76% 87% 45% - 2.34 - 431 120 7,680 1.234 1.5 57",
        "cpu model Processor X",
        "versions: torch 2.11.0",
        "gpus 1: name GPU Y",
        "8,000,000,000 (8.0 GB)",
        "augmentation: crop resized",
        "throughput bench --loader all",
        "2026-01-02 03:04 UTC",
    ):
        assert told in words, told


def test_every_chart_has_its_numbers_and_a_description() -> None:
    page = Reader(rendered(FOUR))
    charts = [one for one in page.all("div") if one.get("role") == "img"]
    assert len(charts) == len(specs(rendered(FOUR))) == 7
    assert all(len(str(one["aria-label"])) > 40 for one in charts)
    assert "dali: alone 960 [" in str(charts[0]["aria-label"])
    assert page.words.count("The numbers") == len(page.all("figure")) == 4


def test_charts_hold_what_was_measured() -> None:
    rates, turns, cpu, gpu, waiting, waits, stages = specs(rendered(FOUR))
    measured = {row.loader: row for row in ROWS}
    assert set(values(rates, "ceiling")) == {
        float(f"{row.model.images_per_second.median:.6g}") for row in ROWS if row.model
    }
    assert len(values(rates, "rate")) == 3 * len(ROWS)
    assert min(values(turns, "start")) == 1.0  # the first sample was taken a second before the first pass
    assert set(values(turns, "series")) == set(values(cpu, "series")) == set(measured)
    assert all(0 <= one <= 1 for chart in (cpu, gpu, waiting) for one in values(chart, "value"))
    assert max(values(cpu, "seconds")) == pytest.approx(119.25, abs=0.01)
    # An equal share of bins makes their mean that of the pass.
    train = measured["dali"].train
    assert train is not None
    points = [
        one for layer in waiting["layer"] for one in layer["data"]["values"] if one.get("series") == "dali"
    ]
    ends = {one["segment"]: one for one in points}
    inner = [one["value"] for one in points if one is not ends[one["segment"]]]
    assert sum(inner) / len(inner) == pytest.approx(train.wait_fraction, abs=0.01)
    assert max(values(waits, "share")) == 1
    assert max(values(stages, "end")) == pytest.approx(1.6)


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


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (SKIPPED, "Nothing was measured: of 1 loader, 1 skipped"),
        (SKIPPED, "gone skipped: it needs a library: pip install it"),
        (FAILED, "broken failed: the pipeline died"),
        (ONE_PASS, "once: 50 images/s from the loader alone"),
        (ONE_PASS, "one pass, no interval"),
        (NO_TRAIN, "dali: 960 images/s from the loader alone"),
        (OWN, "my_pipeline:make_loader : not certified: this pipeline takes no Work"),
        (OWN, "loader 2.000 100%"),
        (UNSOUND, "No loader can be trusted: 1 row measured, and none is sound"),
        (UNSOUND, "lossy : NOT COMPARABLE: val.pixels: pixels differ by 9"),
        (UNSOUND, "lossy : MISCOUNTED: in epoch 0, of 100 images 7 missing"),
        (EVALUATED, "cnn28 after epoch 3: top-1 87.72% of 57 held-out images"),
        (EVALUATED, "cat dog 7"),
        (TRAINED, "cnn28 reached top-1 70.00% after 3 epochs, at 40 images/s"),
        (TRAINED, "3 0.5000 - 0.5000 70.00% 40 25% 2.0 0.001"),
    ],
)
def test_every_kind_of_row_is_told(row: Row, told: str) -> None:
    assert told in Reader(of(row)).words


def test_inference_has_latencies_and_its_own_words() -> None:
    words = shown(inference())
    row = inference().rows[0]
    assert row.model is not None
    assert row.model.latency_ms is not None
    assert "images/s in inference" in words
    assert "Latency of a batch" in words
    assert "the session alone takes" in words
    for share in ("p50", "p90", "p99"):
        assert f"{row.model.latency_ms[share]:,.2f}" in words
    assert "beside torch in float32".capitalize() in words


def test_loaders_that_are_not_told_apart_share_the_headline() -> None:
    alike = [replace(one, ratio=0.98, low=0.9, high=1.06) for one in FOUR.comparisons if one.loader == "roi"]
    rest = [one for one in FOUR.comparisons if one.loader != "roi"]
    words = shown(replace(FOUR, comparisons=(*rest, *alike)))
    assert "dali and roi lead 4 loaders and are not told apart: 544 and 416 images/s in training" in words


def test_one_round_claims_no_certainty() -> None:
    once = tuple(replace(one, low=None, high=None, pairs=1) for one in FOUR.comparisons)
    assert "dali came out fastest of 4 loaders, measured once: 544 images/s" in shown(
        replace(FOUR, comparisons=once)
    )


def test_what_is_not_sound_is_never_called_the_fastest() -> None:
    words = Reader(of(replace(UNSOUND, load=ROWS[3].load), ROWS[1])).words
    assert "torchvision: 256 images/s in training" in words
    assert words.index("torchvision: 256") < words.index("lossy")


def test_the_gate_comes_first() -> None:
    words = shown(replace(FOUR, gate=DECISIONS))
    assert "The gate failed: of 3 tests, 1 failed, 1 slower and 1 not slower" in words
    assert "test_slow dali, load 100 80 0.800 [0.700, 0.900] 5 slower" in words
    assert "test_gone: failed: it ended with 1" in words
    assert "The gate passes" in shown(replace(FOUR, gate=DECISIONS[:1]))


def test_runs_that_differ_in_workers_are_lines_over_them() -> None:
    page = rendered(*workers(1, 2, 4))
    words = Reader(page).words
    assert "3 runs" in words
    assert "Over workers: the loader alone" in words
    assert "Over workers: both together (training)" in words
    assert "Over batch size" not in words
    scaling = specs(page)[0]
    assert sorted({one["over"] for one in scaling["data"]["values"]}) == [1, 2, 4]
    assert {one["series"] for one in scaling["data"]["values"]} == {"dali", "torchvision"}
    assert sum(tag == "article" for tag, _ in Reader(page).elements) == 3


def test_what_else_differs_makes_lines_of_its_own() -> None:
    runs = [
        replace(run, work=run.work | {"batch_size": batch})
        for batch, run in product((64, 128), workers(1, 2))
    ]
    page = rendered(*runs)
    words = Reader(page).words
    assert "Over batch size: the loader alone" in words
    assert "dali, batch 128" in words
    assert "dali, 2 workers" in words


def test_an_unsound_row_is_on_no_line() -> None:
    runs = [replace(run, rows=(UNSOUND, run.rows[1])) for run in workers(1, 2)]
    assert {one["series"] for one in specs(rendered(*runs))[0]["data"]["values"]} == {"torchvision"}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 0.0])
def test_numbers_that_are_none_are_left_out(number: float) -> None:
    """A file of results says null where a number was not finite, and that is read as nan."""

    def phase(images: int = 100) -> Phase:
        one = Pass(images, number, number, (number, 0.1), (number,), (number, 0.2))
        return Phase((one, Pass(100, 2.0, 0.1)), number, number)

    assert ROWS[0].verdict is not None
    verdict = replace(
        ROWS[0].verdict,
        epochs=tuple(replace(one, seconds=number, low=number, high=number) for one in ROWS[0].verdict.epochs),
        suggestions=tuple(
            replace(one, images_per_second=number, low=number, high=number)
            for one in ROWS[0].verdict.suggestions
        ),
    )
    row = replace(
        ROWS[0],
        load=phase(),
        model=Phase((Pass(0, 1.0, 0.0),)),
        train=Phase((Pass(100, 2.0, 0.1, (number, 0.1), (number,), (number, 0.2)),), number, number),
        accuracy=number,
        loss=number,
        gpu_utilisation=number,
        cpu_utilisation=number,
        energy_joules=number,
        stages={"read": number, "decode": 0.1},
        verdict=verdict,
        timeline=Timeline(
            (Window("train", number, number), Window("load", 1.0, 3.0)),
            (Usage(number, number, 1, number), Usage(2.0, 0.5, 1, number)),
        ),
    )
    page = of(row, replace(row, loader="other", timeline=Timeline()), environment={"load": number})
    words = Reader(page).words
    assert not re.search(r"\b(nan|inf)\b", words)
    assert "NaN" not in json.dumps(specs(page), allow_nan=False)


@pytest.mark.parametrize(
    "results",
    [BARE, replace(BARE, rows=(ROWS[0],)), replace(BARE, rows=(Row("empty", "ok", train=Phase(())),))],
)
def test_results_that_tell_little_are_told(results: Results) -> None:
    assert Reader(rendered(results)).headings[0] == 1


def test_no_runs_at_all_are_a_page() -> None:
    assert "0 runs" in shown()


def test_rows_of_one_loader_are_told_apart() -> None:
    run = inference()
    torch = replace(run.rows[0].runtime, engine="torch")
    page = rendered(replace(run, rows=(run.rows[0], replace(run.rows[0], runtime=torch), run.rows[0])))
    names = {one["loader"] for one in specs(page)[0]["data"]["values"]}
    assert names == {"dali, onnxruntime fp32", "dali, torch fp32", "dali, onnxruntime fp32 (2)"}


@pytest.mark.parametrize("runs", [[FOUR], workers(1, 2), [replace(FOUR, gate=DECISIONS)]])
def test_a_screen_reader_finds_its_way(runs: Sequence[Results]) -> None:
    page = rendered(*runs)
    read = Reader(page)
    assert '<html lang="en">' in page
    assert read.headings[0] == 1
    assert read.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(read.headings, read.headings[1:], strict=False))
    assert {"header", "main", "footer"} <= {tag for tag, _ in read.elements}
    assert len(read.all("caption")) == len(read.all("table"))
    assert all(one.get("scope") in ("col", "row") for one in read.all("th"))
    names = [one["id"] for _, one in read.elements if "id" in one]
    assert len(names) == len(set(names))
    for _, attributes in read.elements:
        assert attributes.get("aria-labelledby") in {None, *names}
        target = attributes.get("href") or ""
        assert not target.startswith("#") or target[1:] in names
    assert len(read.all("figure")) == len(read.all("figcaption"))
    (title,) = re.findall("<title>(.+)</title>", page)
    assert html.unescape(title) in read.words


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_what_is_read_and_drawn_stands_out(scheme: str) -> None:
    style = STYLE.read_text()
    light, _, rest = style.partition("@media (prefers-color-scheme: dark)")
    dark, _, paper = rest.partition("@media print")
    found = colours({"light": light, "dark": dark, "print": paper}[scheme])
    for name in ("ink", "muted", "link", "wary", *(f"series-{number}" for number in range(1, 9))):
        for ground in ("paper", "raised"):
            assert contrast(found[name], found[ground]) >= 4.5, (name, ground)
    for name in ("alone", "model", "both"):
        assert contrast(found[name], found["paper"]) >= 3, name
    for ground in ("band-load", "band-model", "band-train"):
        assert contrast(found["ink"], found[ground]) >= 4.5, ground
        for number in range(1, 9):
            assert contrast(found[f"series-{number}"], found[ground]) >= 3, (number, ground)


def test_series_differ_for_those_who_see_no_red_or_no_green() -> None:
    """The first four, as Vienot, Brettel and Mollon (1999) have dichromats see them; all have dashes too."""
    for block in STYLE.read_text().split("@media (prefers-color-scheme: dark)")[:2]:
        found = colours(block)
        for matrix in (
            ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
            ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
        ):
            seen = [dichromat(found[f"series-{number}"], matrix) for number in range(1, 5)]
            for place, one in enumerate(seen):
                for other in seen[place + 1 :]:
                    assert math.dist(one, other) > 0.2, (seen, place)


def dichromat(colour: str, matrix: Sequence[Sequence[float]]) -> list[float]:
    linear = [(int(colour[place : place + 2], 16) / 255) ** 2.2 for place in (1, 3, 5)]
    return [
        max(0.0, sum(m * part for m, part in zip(row, linear, strict=True))) ** (1 / 2.2) for row in matrix
    ]


def test_a_missing_library_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    from throughput.errors import ThroughputError
    from throughput.reports import page

    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    page._script.cache_clear()
    with pytest.raises(ThroughputError, match="pip install vl-convert-python"):
        rendered(FOUR)
    page._script.cache_clear()


def test_epochs_are_on_a_line() -> None:
    (chart,) = specs(of(replace(TRAINED, train=None)))
    assert sorted(values(chart, "loss")) == sorted([*(record.loss for record in RECORDS), *[0.5] * 3])
