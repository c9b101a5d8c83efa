"""The JUnit XML is well-formed whatever it holds, adds up, and fails where a reader should look."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from throughput.registry import load_report
from throughput.results import (
    Certificate,
    Check,
    EpochCount,
    GateDecision,
    LedgerCount,
    Pass,
    Phase,
    Results,
    Row,
    Verdict,
)

WORK = {"source": "photos", "train_images": 9, "val_images": 1, "workers": 2, "batch_size": 8}
EXACT = EpochCount(0, complete=True, expected=9, unique=9, missing=0, duplicate=0, padded=0)
OK = Row(
    "dali",
    "ok",
    load=Phase((Pass(100, 2.0, 1.0), Pass(100, 2.0, 1.0))),
    train=Phase((Pass(100, 4.0, 1.0),)),
    ledger=LedgerCount((EXACT,)),
    certificate=Certificate(True, (Check("val", True, "same"),)),
    verdict=Verdict("loader-bound", "the loader limits", None),
    warnings=("look out",),
)
OTHER = replace(OK, certificate=Certificate(False, (Check("val.ids", False, "ids <differ>"),)))
LOST = replace(OK, ledger=LedgerCount((replace(EXACT, missing=3),)))
SLOWER = GateDecision(
    "test_a[x&y]", "slower", 0.95, "dali", "load", 0.8, 0.75, 0.85, 0.99, 5, 100.0, 80.0, "it is"
)


def run(*rows: Row, gate: tuple[GateDecision, ...] = (), **work: object) -> Results:
    return Results("2026-01-02T05:04:05+02:00", "throughput bench --x '<'", {}, WORK | work, rows, (), gate)


def suites(*runs: Results) -> Element:
    text = load_report("junit").render(runs)
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n')
    root = ElementTree.fromstring(text.encode())
    require_schema(root)
    return root


def require_schema(root: Element) -> None:
    """What readers of JUnit XML agree on: names, attributes, order, and counts that add up."""
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        assert suite.get("name")
        first, *others = suite
        assert first.tag == "properties"
        assert {child.tag for child in others} <= {"testcase"}
        for case in suite.iter("testcase"):
            assert case.get("name") is not None
            assert case.get("classname", "").startswith("throughput.")
            order = ["properties", "skipped", "error", "failure", "system-out", "system-err"]
            places = [order.index(child.tag) for child in case]
            assert places == sorted(set(places))
            assert sum(child.tag in ("skipped", "error", "failure") for child in case) <= 1
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert element.get("tests") == str(len(cases))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(attribute) == str(len(list(element.iter(tag))))
        assert float(element.get("time", "")) == pytest.approx(
            sum(float(case.get("time", "")) for case in cases), abs=0.01
        )
    for each in root.iter("property"):
        assert set(each.attrib) == {"name", "value"}


def properties(case: Element) -> dict[str, str]:
    return {one.attrib["name"]: one.attrib["value"] for one in case.iter("property")}


def outcomes(root: Element) -> Iterator[str]:
    for case in root.iter("testcase"):
        yield next((child.tag for child in case if child.tag in ("skipped", "error", "failure")), "passed")


def test_a_sound_row_passes_and_tells_its_figures() -> None:
    (case,) = suites(run(OK)).iter("testcase")
    assert case.attrib == {"classname": "throughput.bench", "name": "dali", "time": "8.000"}
    told = properties(case)
    assert told["load_images_per_second"] == "50.0"
    assert float(told["load_images_per_second_low"]) == pytest.approx(50)
    assert told["train_wait_fraction"] == "0.25"
    assert (told["comparable"], told["ledger_exact"]) == ("true", "true")
    assert told["bottleneck"] == "loader-bound"
    assert "train_images_per_second_low" not in told
    assert "every one of 9 images exactly once" in case.findtext("system-out", "")
    assert case.findtext("system-err") == "look out"


@pytest.mark.parametrize(
    ("row", "outcome", "kind", "words"),
    [
        (Row("x", "skipped", "no library"), "skipped", None, "no library"),
        (Row("x", "failed", "it broke"), "error", "failed", "it broke"),
        (Row("x", "failed", "no such file", bad_input=True), "error", "bad input", "no such file"),
        (OTHER, "failure", "not comparable", "val.ids: ids <differ>"),
        (LOST, "failure", "miscounted", "3 missing"),
        (replace(OTHER, ledger=LOST.ledger), "failure", "miscounted", "ids <differ>"),
    ],
)
def test_what_is_wrong_is_told_with_its_reason(row: Row, outcome: str, kind: str | None, words: str) -> None:
    (case,) = suites(run(row)).iter("testcase")
    (found,) = case.findall(outcome)
    assert found.get("type") == kind
    assert words in found.get("message", "")
    assert words in (found.text or "")


def test_what_nobody_certified_passes() -> None:
    root = suites(run(replace(OK, certificate=Certificate(None, reason="on request"))))
    assert list(outcomes(root)) == ["passed"]


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [("slower", "failure"), ("failed", "error"), ("undecided", "skipped"), ("not slower", "passed")],
)
def test_a_gate_is_a_case_for_each_decision(decision: str, outcome: str) -> None:
    rows = tuple(replace(OK, loader=f"dali ({side})") for side in ("base", "head"))
    root = suites(run(*rows, gate=(replace(SLOWER, decision=decision),)))
    (case,) = root.iter("testcase")
    assert list(outcomes(root)) == [outcome]
    assert case.attrib == {"classname": "throughput.gate", "name": "test_a[x&y]", "time": "16.000"}
    told = properties(case)
    assert told["decision"] == decision
    assert (told["base_images_per_second"], told["ratio_low"], told["pairs"]) == ("100.0", "0.75", "5")
    assert f"{decision}: it is; head / base 0.800, 0.95 or more is wanted" in case.findtext("system-out", "")


def test_of_several_tests_each_has_its_own_rows() -> None:
    rows = (replace(OK, loader="test_b (base)"), replace(OK, loader="test_b (head)"))
    gate = (SLOWER, replace(SLOWER, test="test_b", decision="not slower"))
    times = [case.get("time") for case in suites(run(*rows, gate=gate)).iter("testcase")]
    assert times == ["0.000", "16.000"]


def test_each_run_is_a_suite() -> None:
    root = suites(run(OK, Row("x", "skipped")), run(LOST, test="tests/test_a.py::test_a"), run())
    assert [suite.get("tests") for suite in root] == ["2", "1", "0"]
    assert root[0].get("timestamp") == "2026-01-02T03:04:05"
    assert properties(root[0])["command"] == "throughput bench --x '<'"
    assert root[1].get("name", "").startswith("tests/test_a.py::test_a: 9 images")


@pytest.mark.parametrize(
    "text",
    [
        "\x00\x07\x1b[31mred\x1b[0m\x0b",
        "half \ud800 of a pair",
        "\ufffe\uffff",
        "]]><script>&amp;\"'<!--",
        "two\nlines\r\n\ttab",
        "ünïcode \U0001f600",
    ],
)
def test_it_is_well_formed_whatever_the_text(text: str) -> None:
    hostile = Results(
        text,
        text,
        {"cpu_model": text},
        {"source": text, "test": text, "activity": text},
        (
            Row(text, "failed", text),
            replace(OK, loader=text, warnings=(text,)),
            replace(OK, certificate=Certificate(False, (Check(text, False, text),), text)),
        ),
    )
    gated = replace(hostile, gate=(replace(SLOWER, test=text, reason=text),))
    root = suites(hostile, gated)
    assert list(outcomes(root)) == ["error", "passed", "failure", "failure"]


def test_text_that_xml_can_hold_comes_back_as_it_was() -> None:
    reason = "a <b> & 'c' \"d\" ünïcode \U0001f600\nsecond line"
    (case,) = suites(run(Row("x", "failed", reason))).iter("testcase")
    assert case.findtext("error") == reason


def test_nothing_known_is_no_fault() -> None:
    root = suites(Results("yesterday", "", {}, {}, (Row("x", "ok"), Row("y", "failed"))))
    assert list(outcomes(root)) == ["passed", "error"]
    assert root[0].get("timestamp") is None
    assert suites().get("tests") == "0"


def test_a_figure_that_is_no_number_is_left_out() -> None:
    (case,) = suites(run(replace(OK, accuracy=math.nan, gpu_utilisation=math.inf))).iter("testcase")
    assert not {"accuracy", "gpu_utilisation"} & set(properties(case))
