"""How a search is told: the curve with reasons, the choice, the regret against the grid, and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from throughput.cli.tuning_tables import print_tuning
from throughput.results import Certificate, Check, Pass
from throughput.tuning.choice import Choice
from throughput.tuning.configuration import Configuration
from throughput.tuning.grid import Grid, Regret
from throughput.tuning.trial import Trial
from throughput.tuning.tuned import Tuning

TWO, FOUR, EIGHT = (Configuration(workers, 64, (("prefetch", 2),), 1000 * workers) for workers in (2, 4, 8))


def passes(*rates: int) -> tuple[Pass, ...]:
    return tuple(Pass(rate, 1.0, 0.0) for rate in rates)


TRIALS = (
    Trial(TWO, passes(900, 910, 905, 907), None, 0.5, 1_500_000_000),
    Trial(FOUR, passes(700), "slower: 700 images/s where the fastest reached 907"),
    Trial(EIGHT, dropped="24 batches take 99 MB of shared memory"),
)
TUNING = Tuning(
    created="now",
    command="throughput tune",
    environment={"cores_usable": 2},
    work={"train_images": 1000, "source": "photos", "image_size": 224, "device": "cpu"},
    loader="dali",
    phase="load",
    searched=("workers", "prefetch"),
    budget_seconds=60.0,
    spent_seconds=42.0,
    preparation_seconds=3.0,
    finished=True,
    choice=Choice(TWO, "the fastest of 2 finalists", {TWO: (900.0, 910.0), FOUR: (700.0, 710.0)}),
    command_to_use="throughput bench --loader dali --workers 2",
    certificate=Certificate(True, (Check("val", True, "pixels agree", 0.0, 1.0),), cached=True),
    certificate_seconds=4.0,
    trials=TRIALS,
    untried=13,
)
GRID = Grid(
    (TRIALS[0], Trial(FOUR, passes(950, 955, 960))), FOUR, Regret(5.2, 3.1, 7.4, (900.0,), (950.0,)), 200.0
)


def told(tuning: Tuning, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_tuning(tuning)
    return capsys.readouterr().out.splitlines()


def test_the_curve_tells_settings_rates_and_why_something_was_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = told(TUNING, capsys)
    assert lines[0] == "1,000 images of photos, 224 px, on cpu, 2 cores"
    rows = [line.split() for line in lines if line.strip()[:1].isdigit()][1:4]
    assert rows[0][:3] == ["2", "2", "906"]
    assert rows[0][3].startswith("±")
    assert rows[0][4:] == ["4", "4.0", "50%", "1.5", "CHOSEN"]
    assert rows[1][:7] == ["4", "2", "700", "1", "1.0", "-", "-"]
    assert "slower: 700 images/s where the fastest reached 907" in " ".join(rows[1])
    assert " ".join(rows[2]) == "8 2 - 0 0.0 - - 24 batches take 99 MB of shared memory"


def test_below_it_stand_the_choice_the_time_the_certificate_and_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(TUNING, capsys)[-4:] == [
        "chosen: workers 2, batch 64, prefetch 2: the fastest of 2 finalists",
        "2 of 16 combinations measured in 42.0 s of 60 s; besides, 3.0 s to prepare and 4.0 s for the "
        "certificate",
        "dali: certified to do the same work: 1 checks, by an earlier run",
        "throughput bench --loader dali --workers 2",
    ]


def test_the_grid_tells_the_regret_and_what_the_search_saved(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(replace(TUNING, grid=GRID), capsys)
    assert lines[-4:-1] == [
        "best of the grid: workers 4, batch 64, prefetch 2",
        "regret: the chosen one is 5.2 % [3.1, 7.4] slower than the best",
        "the grid took 200 s, the search 42 s: 0.21 of it",
    ]
    assert any("the whole grid" in line for line in lines)


def test_a_loader_that_does_other_work_is_stamped(capsys: pytest.CaptureFixture[str]) -> None:
    other = Certificate(False, (Check("val.pixels", False, "pixels differ", 9.0, 1.0),))
    assert "dali: NOT COMPARABLE: val.pixels: pixels differ" in told(
        replace(TUNING, certificate=other), capsys
    )


def test_an_unfinished_search_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(replace(TUNING, finished=False), capsys)
    assert any(line.startswith("chosen so far (the search was not finished): workers 2") for line in lines)
    nothing = replace(TUNING, choice=None, command_to_use=None)
    assert "nothing is chosen: nothing was measured" in told(nothing, capsys)


def test_as_json_it_has_every_number() -> None:
    found = json.loads(json.dumps(replace(TUNING, grid=GRID).to_json()))
    assert found["chosen"] == {
        "workers": 2,
        "batch_size": 64,
        "options": {"prefetch": 2},
        "why": "the fastest of 2 finalists",
        "finals": [
            {"workers": 2, "batch_size": 64, "options": {"prefetch": 2}, "rates": [900.0, 910.0]},
            {"workers": 4, "batch_size": 64, "options": {"prefetch": 2}, "rates": [700.0, 710.0]},
        ],
    }
    first, _, too_large = found["configurations"]
    assert (first["held_bytes"], first["peak_rss_bytes"], first["dropped"]) == (2000, 1_500_000_000, None)
    assert first["passes"][0] == {"images": 900, "seconds": 1.0, "wait_seconds": 0.0}
    assert (too_large["images_per_second"], too_large["passes"]) == (None, [])
    assert found["grid"]["best"]["workers"] == 4
    assert found["grid"]["regret"] == {
        "percent": 5.2,
        "low": 3.1,
        "high": 7.4,
        "chosen_rates": [900.0],
        "best_rates": [950.0],
    }
    assert found["grid"]["search_share"] == 0.21
    assert json.loads(json.dumps(TUNING.to_json()))["grid"] is None
