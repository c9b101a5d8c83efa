"""The Markdown says the verdict first, shows text as it is, pings nobody, and fits into a comment."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from throughput.registry import load_report
from throughput.results import (
    Certificate,
    Check,
    Comparison,
    EpochCount,
    Evaluation,
    GateDecision,
    LedgerCount,
    Pass,
    Phase,
    Projection,
    Results,
    Row,
    Runtime,
    Suggestion,
    Verdict,
)
from throughput.trained import Regression

MOST_CHARACTERS = 65_536
"""GitHub's limit."""
WORK = {
    "source": "/data/photos", "train_images": 12_345, "val_images": 50, "image_size": 224, "batch_size": 64,
    "model": "cnn_small", "compute_dtype": "float32", "device": "cpu", "workers": 2,
}  # fmt: skip
EXACT = EpochCount(0, complete=True, expected=9, unique=9, missing=0, duplicate=0, padded=0)


def phase(*rates: int, waited: float = 0.0) -> Phase:
    return Phase(tuple(Pass(rate, 1.0, waited) for rate in rates))


OK = Row(
    "fast",
    "ok",
    load=phase(2_000, 2_200, 2_100),
    model=phase(3_000),
    train=phase(1_440, 1_500, 1_460, waited=0.33),
    gpu_utilisation=0.9,
    ledger=LedgerCount((EXACT,)),
    certificate=Certificate(True, (Check("val", True, "same"),)),
    verdict=Verdict(
        "loader-bound",
        "the loader is late",
        0.9,
        {},
        (Suggestion("more workers", 2_000.0, 1_500.0, 2_500.0),),
        (Projection(10, 100.0, 90.0, 110.0),),
    ),
    warnings=("a pass was short",),
)
SLOW = replace(OK, loader="slow", train=phase(500))
SLOWER = GateDecision("test_a", "slower", 0.95, "fast", "train", 0.8, 0.75, 0.85, 0.99, 5, 1_000.0, 800.0)


def run(*rows: Row, comparisons: tuple[Comparison, ...] = (), gate: tuple[GateDecision, ...] = ()) -> Results:
    return Results(
        "now", "throughput bench --loader all", {"cpu_model": "EPYC"}, WORK, rows, comparisons, gate
    )


def rendered(*runs: Results) -> str:
    return load_report("markdown").render(runs)


class Seen(HTMLParser):
    """What a reader sees of a page: its text, cell by cell where there are tables, and the tags in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.in_code, self.tags = "", "", set[str]()
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002 - as HTMLParser calls it
        self.tags.add(tag)
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "code" in self._open:
            self.in_code += data
            return
        self.text += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def seen(text: str) -> Seen:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return Seen(parser.render(text))


def shown(text: str) -> str:
    """Without the space of no width that keeps a sign apart."""
    return text.replace("\u200b", "")


def test_the_verdict_comes_first_in_words() -> None:
    compared = Comparison("slow", "fast", "train", 0.5, 0.45, 0.55, 3)
    title, told, *_ = rendered(run(SLOW, OK, comparisons=(compared,))).split("\n\n")
    assert title == "### fast is the fastest of 2 loaders: 1,460 images/s in training"
    assert re.fullmatch(
        r"\*\*fast\*\*: 1,460 images/s in training \[1,\d{3}, 1,\d{3}\], 49% of the ceiling\. "
        r"\*\*loader-bound\*\*: the loader is late\.",
        told,
    )


def test_each_row_has_its_figures_and_its_proof() -> None:
    page = seen(rendered(run(SLOW, OK, Row("gone", "skipped", "no library: pip install it"))))
    assert page.rows[0] == [
        "loader", "alone images/s", "model images/s", "training images/s", "of the ceiling", "waiting", "GPU",
        "verdict", "proof",
    ]  # fmt: skip
    assert page.rows[1] == [
        "fast", "2,100 ±249", "3,000", "1,460 ±76", "49%", "33%", "90%", "loader-bound", "counted, certified",
    ]  # fmt: skip
    assert page.rows[2][:4] == ["slow", "2,100 ±249", "3,000", "500"]
    assert page.rows[3] == ["gone", "skipped", *["-"] * 6, "no library: pip install it"]


def test_what_does_other_work_is_not_the_fastest() -> None:
    other = Certificate(False, (Check("val.ids", False, "ids differ"),))
    lost = LedgerCount((replace(EXACT, missing=1),))
    faster = phase(9_000)
    odd = replace(OK, loader="odd", train=faster, certificate=other)
    text = rendered(run(odd, replace(SLOW, train=faster, ledger=lost), OK))
    assert text.startswith("### fast: 1,460 images/s in training")
    cells = {row[0]: row[-1] for row in seen(text).rows}
    assert cells == {
        "loader": "proof", "fast": "counted, certified", "odd": "NOT COMPARABLE, counted",
        "slow": "MISCOUNTED, certified",
    }  # fmt: skip


def test_what_shows_a_limit_is_not_the_fastest() -> None:
    ceiling = Row("replay", "ok", train=phase(9_000), certificate=Certificate(None, reason="a limit"))
    title, told, *_ = rendered(run(ceiling, OK)).split("\n\n")
    assert title.startswith("### fast ")
    assert told.startswith("**fast**: 1,460 images/s")


def test_what_is_not_told_apart_is_not_called_the_fastest() -> None:
    compared = Comparison("slow", "fast", "train", 0.9, 0.8, 1.1, 3)
    title, *_ = rendered(run(SLOW, OK, comparisons=(compared,))).split("\n\n")
    assert "told apart" in title
    assert not re.search("fast (is|came out)", title)


def test_passes_that_differ_too_much_are_told_in_place_of_an_interval() -> None:
    _, told, *_ = rendered(run(replace(OK, train=phase(100, 2_000)))).split("\n\n")
    assert told.startswith(
        "**fast**: 1,050 images/s in training, in passes that differ too much for an interval"
    )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (Row("x", "failed", "it broke"), "### Nothing was measured: of 1 loader, 1 failed\n"),
        (
            Row("x", "ok", load=phase(100)),
            "### x: 100 images/s from the loader alone\n\n"
            "**x**: 100 images/s from the loader alone, in one pass, which shows no interval.\n",
        ),
        (Row("x", "ok", model=phase(100)), "### x: 100 images/s of the model alone\n"),
        (
            Row("x", "ok", accuracy=0.5, evaluation=Evaluation("m", (), Regression(10, 0.5, 0.4, None))),
            "### m: mean absolute error 0.4000 of 10 held-out images\n",
        ),
    ],
)
def test_what_little_there_is_is_told(row: Row, told: str) -> None:
    assert rendered(run(row)).startswith(told)


def test_inference_has_its_own_columns() -> None:
    row = replace(OK, runtime=Runtime("onnxruntime", "fp32", "cuda"))
    page = seen(rendered(replace(run(row), work=WORK | {"activity": "inference", "images": 7})))
    assert page.rows[0][1:5] == ["provider", "alone images/s", "session images/s", "both images/s"]
    assert page.rows[1][1] == "cuda"
    assert "loader and session together" in page.text


def test_loaders_are_compared_with_intervals() -> None:
    compared = Comparison("slow", "fast", "train", 0.5, 0.45, 0.55, 3)
    page = seen(rendered(run(OK, SLOW, comparisons=(compared,))))
    assert "slow / fast: training 0.500 [0.450, 0.550] over 3 rounds: slower" in page.text


def test_the_rest_is_folded_away() -> None:
    text = rendered(run(OK))
    main, *folded = text.split("<details>")
    for words in (
        "a pass was short",
        "more workers",
        "every one of 9 images",
        "an epoch takes",
        "EPYC",
        "--loader all",
    ):
        assert words not in main
        assert words in "".join(folded)
    assert [part.partition("</summary>")[0] for part in folded] == [
        "<summary>Warnings (1)", "<summary>What to try next", "<summary>Each loader", "<summary>Environment",
        "<summary>Command",
    ]  # fmt: skip
    assert "2,000 images/s predicted [1,500, 2,500]" in seen(text).text


def test_a_gate_comes_before_all_else() -> None:
    fine = replace(SLOWER, test="test_b", decision="not slower", reason="it held")
    text = rendered(run(OK, gate=(fine,)), run(OK, gate=(SLOWER,)))
    assert text.startswith("### Gate: **slower**\n\n2 tests; head / base must be 0.95 or more")
    page = seen(text)
    assert page.rows[1][2:] == ["1,000", "800", "0.800 [0.750, 0.850]", "5", "not slower"]
    assert page.rows[2][0] == "test_a"
    assert "test_b: not slower: it held" in page.text
    assert "fastest" not in page.text
    assert text.count("<summary>Command") == 1


HOSTILE = (
    "a|b||c\\|d\\",
    "`code` ``more`` ```",
    "<img src=x onerror=alert(1)><!-- </details> &amp;",
    "@somebody @org/team me@example.com",
    "#1 org/repo#2",
    "**bold** _it_ ~~no~~ [x](http://y) ![z](y) $x$",
    "- one",
    "1. one",
    "# title",
    "> quoted",
    "---",
    "\ttab",
    "two\nlines\r\n\n| a | b |\n|---|---|",
    "\x1b[31mred\x00\u202egnp",
    "",
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_text_is_shown_as_it_is(hostile: str) -> None:
    """Whatever is in it, in each place where text of others stands."""
    verdict = Verdict("balanced", hostile, None, {}, (Suggestion(hostile, 1.0, 1.0, 1.0),))
    row = replace(OK, loader=hostile, warnings=(hostile,), verdict=verdict)
    results = Results(
        "now",
        hostile,
        {hostile: hostile, "versions": {hostile: hostile}, "gpus": [{"name": hostile}]},
        WORK | {"source": hostile, "model": hostile, "test": hostile},
        (row, Row(hostile, "failed", hostile)),
        (Comparison(hostile, hostile, "train", 0.5, 0.4, 0.6, 3),),
    )
    gated = replace(results, gate=(replace(SLOWER, test=hostile, loader=hostile, reason=hostile),))
    for each in (results, gated, replace(results, work={"test": hostile})):
        page = seen(rendered(each))
        plain = " ".join("".join(one if one.isprintable() else " " for one in hostile).split())
        assert {len(row) for row in page.rows} <= {7, 9}
        assert {shown(row[0]) for row in page.rows[-3:]} == {"loader", plain}
        assert shown(page.rows[-1][-1]) == plain
        assert plain in shown(page.in_code)
        assert page.tags <= {
            "h3", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "details",
            "summary", "pre", "code",
        }  # fmt: skip
        assert not re.search(r"[@#]\w", page.text)


def long_run(rows: int, words: str = "word " * 50) -> Results:
    return run(*(replace(OK, loader=f"loader{number}", warnings=(words,) * 10) for number in range(rows)))


def balanced(text: str) -> bool:
    return text.count("<details>") == text.count("</details>")


def test_what_is_too_long_loses_the_last_details_first() -> None:
    text = rendered(long_run(22))
    assert len(text) <= MOST_CHARACTERS
    assert len(seen(text).rows) == 23
    assert re.search(r"\d+ more lines were left out", text)
    warnings, tries, facts, *_ = text.split("<details>")[1:]
    assert "left out" not in warnings + tries
    assert warnings.count("\n- ") == 220
    told = facts.count("\n- ")
    assert f"{88 - told} more lines were left out" in facts
    assert balanced(text)


@pytest.mark.parametrize("runs", [(long_run(2_000),), (long_run(5, "word"),) * 100])
def test_it_is_never_too_long(runs: Sequence[Results]) -> None:
    text = rendered(*runs)
    assert len(text) <= MOST_CHARACTERS
    assert text.startswith("### loader0 came out fastest of ")
    assert "left out" in text
    assert balanced(text)


def test_a_very_long_reason_is_cut() -> None:
    text = rendered(run(OK, Row("x", "failed", "y" * 100_000)))
    assert len(text) < 10_000
    assert "y..." in text


def test_what_fits_is_whole() -> None:
    assert "left out" not in rendered(run(OK, SLOW))


def test_nothing_known_is_no_fault() -> None:
    bare = Results("", "", {}, {}, (Row("x", "ok"), Row("y", "skipped")))
    assert rendered(bare).startswith("### Nothing was measured")
    assert rendered(Results("", "", {}, {}, ())).startswith("### Nothing was measured")


def test_a_number_that_is_none_is_a_dash() -> None:
    verdict = Verdict("balanced", "x", math.nan, {}, (), (Projection(10, math.nan, math.nan, math.inf),))
    broken = replace(OK, gpu_utilisation=math.nan, model=phase(0), verdict=verdict)
    assert seen(rendered(run(broken))).rows[1][4:7] == ["-", "33%", "-"]
