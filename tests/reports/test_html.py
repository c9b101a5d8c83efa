"""The page says every number that matters, without a script, for every kind of row."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import product

import pytest
from html_pages import Reader, of, rendered, shown, specs, values
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
    inference,
    workers,
)

from throughput.results import Pass, Phase, Results, Row, Timeline, Usage, Window


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
    said = [str(one["aria-label"]) for one in charts]
    assert "dali: alone 960 [" in said[0]
    assert "roi from 31, 34, 37, 71, 74, 77, 111, 114, 117 s on" in said[1]
    assert "usable cores, over 119 s. In the mean over time: dali 78%, roi 80%" in said[2]
    assert "dali: half within 27.83 ms, 99 % within 131.26 ms" in said[5]
    assert "decode 62%" in said[6]
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


def test_epochs_are_on_a_line() -> None:
    (chart,) = specs(of(replace(TRAINED, train=None)))
    assert sorted(values(chart, "loss")) == sorted([*(record.loss for record in RECORDS), *[0.5] * 3])
