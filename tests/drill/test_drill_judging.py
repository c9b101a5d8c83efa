"""What came of a run, judged: each way of going wrong has its own outcome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from throughput.contracts import Fault, OnError
from throughput.drill.cell import Delivered
from throughput.drill.judging import Verdict, judge
from throughput.drill.planting import Planted

COUNT = 6
BAD = 2
rng = np.random.default_rng(0)
WANTED = rng.integers(0, 256, (COUNT, 8, 8, 3)).astype(np.uint8)
LABELS = np.array([0, 0, 1, 1, 2, 2])
NAMES = tuple((f"0/{place:06d}.jpg", f"{place:09d}") for place in range(COUNT))
SOUND = Planted(Path("data"), WANTED, LABELS, NAMES)
PLANTED = replace(SOUND, hit=frozenset({BAD}), damaged=frozenset({BAD}))
TOLD = Fault(BAD, f"/tmp/data/{NAMES[BAD][0]}", "the file is empty")
GOOD = [place for place in range(COUNT) if place != BAD]


def delivered(*ids: int, told: tuple[Fault, ...] = (), **changes: object) -> Delivered:
    """A whole epoch of samples as they are wanted."""
    chosen = np.array(ids, np.int64)
    whole = Delivered(
        "whole",
        ids=chosen,
        labels=LABELS[chosen % COUNT],
        images=WANTED[chosen % COUNT].astype(np.float32),
        sizes=(3, len(ids) - 3),
        named=told,
        seconds=1.0,
        largest_error=1.5,
    )
    return replace(whole, **changes)  # type: ignore[arg-type] # fields by name


def outcome(verdict: Verdict) -> str:
    return verdict.outcome


def test_all_as_wanted_is_read() -> None:
    assert judge(SOUND, delivered(*range(COUNT)), "raise") == Verdict("read")


@pytest.mark.parametrize(
    ("policy", "ids", "wanted"),
    [("skip", GOOD, "skipped"), ("substitute", [*GOOD, -1], "substituted")],
)
def test_what_is_told_of_is_left_out_or_replaced(policy: OnError, ids: list[int], wanted: str) -> None:
    verdict = judge(PLANTED, delivered(*ids, told=(TOLD,)), policy)
    assert verdict == Verdict(wanted, "1 samples: the file is empty")  # type: ignore[arg-type] # one of them


def test_an_error_that_names_the_sample_is_raised() -> None:
    raised = delivered(0, 1, ended="error", words=f"SampleError: /x/{NAMES[BAD][0]}: the file is empty")
    assert outcome(judge(PLANTED, raised, "raise")) == "raised"


@pytest.mark.parametrize(
    "words", ["RuntimeError: cannot decode", f"SampleError: {NAMES[3][0]}: the file is empty"]
)
def test_an_error_that_names_nothing_or_another_is_unnamed(words: str) -> None:
    assert outcome(judge(PLANTED, delivered(0, ended="error", words=words), "raise")) == "unnamed"


def test_an_error_may_name_the_fault_as_a_whole() -> None:
    planted = replace(PLANTED, words=("shard-000001.tar",))
    raised = delivered(ended="error", words="SourceError: the shard /x/shard-000001.tar was altered")
    assert outcome(judge(planted, raised, "raise")) == "raised"


@pytest.mark.parametrize(
    ("came", "policy", "words"),
    [
        (delivered(*GOOD), "skip", "1 of 6 samples never come and nobody says so, such as 0/000002.jpg"),
        (delivered(*GOOD), "raise", "1 of 6 samples never come and nobody says so, such as 0/000002.jpg"),
        (
            delivered(*range(COUNT)),
            "skip",
            "1 of 6 samples come as ordinary images, although damaged, such as 0/000002.jpg",
        ),
        (
            delivered(*range(COUNT), told=(TOLD,)),
            "skip",
            "1 of 6 samples come although they are told of as bad, such as 0/000002.jpg",
        ),
        (
            delivered(*GOOD, 0, told=(TOLD,)),
            "skip",
            "1 of 6 samples come more than once, such as 0/000000.jpg",
        ),
        (delivered(*GOOD, -1, told=(TOLD,)), "skip", "1 images stand in for others unasked"),
        (
            delivered(*GOOD, told=(TOLD,), sizes=(3, 1, 1)),
            "substitute",
            "batches come smaller",
        ),
        (delivered(*GOOD, -1, -1, told=(TOLD,)), "substitute", "2 images stand in for 1 bad ones"),
        (
            delivered(*GOOD, -1, told=(TOLD,), labels=np.array([0, 0, 1, 2, 2, 0])),
            "substitute",
            "1 images that stand in are, with their labels, none of the sound ones",
        ),
        (delivered(*GOOD, told=(TOLD,)), "raise", "1 of 6 samples are told of as bad and none is raised"),
        (delivered(*GOOD, 77, told=(TOLD,)), "skip", "1 ids are not of the source, such as 77"),
        (
            delivered(*GOOD[1:], told=(TOLD, Fault(0, f"/tmp/{NAMES[0][0]}", "bad"))),
            "skip",
            "1 of 6 samples are told of as bad and are not, such as 0/000000.jpg",
        ),
        (
            delivered(*GOOD, told=(TOLD._replace(sample=f"/tmp/data/{NAMES[3][0]}"),)),
            "skip",
            "1 of 6 samples never come and nobody says so, such as 0/000002.jpg",
        ),
        (
            delivered(*GOOD, told=(TOLD,), images=np.full((5, 8, 8, 3), 128, np.float32)),
            "skip",
            "5 of 6 samples come with other pixels, such as 0/000000.jpg",
        ),
        (
            delivered(*GOOD, told=(TOLD,), images=np.full((5, 8, 8, 3), np.nan, np.float32)),
            "skip",
            "5 of 6 samples come with other pixels, such as 0/000000.jpg",
        ),
        (
            delivered(*GOOD, told=(TOLD,), labels=np.array([0, 0, 1, 2, 1])),
            "skip",
            "1 of 6 samples come with another's label, such as 0/000005.jpg",
        ),
    ],
)
def test_what_goes_wrong_without_a_word_is_silent(came: Delivered, policy: OnError, words: str) -> None:
    verdict = judge(PLANTED, came, policy)
    assert verdict.outcome == "SILENT"
    assert words in verdict.words


def test_what_came_wrong_before_an_error_is_silent_too() -> None:
    raised = delivered(*range(COUNT), ended="error", words=f"SampleError: {NAMES[BAD][0]}: too late")
    assert outcome(judge(PLANTED, raised, "raise")) == "SILENT"


def test_of_what_nobody_can_know_it_is_said_that_nobody_can() -> None:
    planted = replace(PLANTED, untold=frozenset({BAD}))
    assert outcome(judge(planted, delivered(*range(COUNT)), "skip")) == "undetectable"
    assert outcome(judge(planted, delivered(*GOOD), "skip")) == "SILENT"  # to lose it is another matter


@pytest.mark.parametrize(
    ("ended", "wanted"), [("hung", "hung"), ("died", "crashed"), ("not applicable", "not applicable")]
)
def test_a_run_without_an_end_has_its_own_outcomes(ended: str, wanted: str) -> None:
    assert outcome(judge(PLANTED, delivered(ended=ended, words="why"), "skip")) == wanted
