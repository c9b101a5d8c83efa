"""The table shows each row's numbers whole, whatever else is long, and says why a row has none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from throughput.registry import load_report
from throughput.results import Certificate, EpochCount, LedgerCount, Pass, Phase, Preparation, Results, Row

WORK = {
    "train_images": 12_345,
    "val_images": 50_000,
    "source": "/data/photos",
    "image_size": 224,
    "batch_size": 64,
    "model": "cnn_small",
    "compute_dtype": "float32",
    "device": "cpu",
    "workers": 2,
}


def phase(*rates: int, wait_seconds: float = 0.0) -> Phase:
    return Phase(tuple(Pass(rate, 1.0, wait_seconds) for rate in rates))


EXACT = EpochCount(0, complete=True, expected=12_345, unique=12_345, missing=0, duplicate=0, padded=0)
OK = Row(
    "fast",
    "ok",
    decode="cpu",
    load=phase(2_000, 2_200, 2_100),
    model=phase(3_000),
    train=phase(1_440, 1_500, 1_460, wait_seconds=0.33),
    accuracy=0.714,
    cpu_utilisation=0.87,
    peak_rss_bytes=2_340_000_000,
    ledger=LedgerCount((EXACT, replace(EXACT, epoch=1))),
)


@pytest.fixture(autouse=True)
def _terminal_of_120_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def rendered(*rows: Row, **work: object) -> str:
    return load_report("table").render([Results("now", "throughput bench", {}, {**WORK, **work}, rows)])


def cells(text: str, loader: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"│ {loader} ")]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_each_number_stands_in_its_column() -> None:
    assert cells(rendered(OK), "fast") == [
        "fast", "cpu", "2,100 ±249", "3,000", "1,460 ±76", "49%", "33%", "-", "87%", "2.3", "71.4%", "-",
    ]  # fmt: skip


def test_the_title_says_what_the_work_was() -> None:
    title = rendered(OK).splitlines()[0]
    for fact in (
        "12,345 images",
        "/data/photos",
        "224 px",
        "batch 64",
        "cnn_small",
        "float32",
        "cpu",
        "2 workers",
    ):
        assert fact in title


def test_what_was_not_measured_is_a_dash_and_not_zero() -> None:
    bare = Row("bare", "ok", load=phase(10))
    assert cells(rendered(bare), "bare") == ["bare", "-", "10", *["-"] * 9]


@pytest.mark.parametrize("status", ["skipped", "failed"])
def test_a_row_without_numbers_says_why(status: str) -> None:
    text = rendered(OK, Row("gone", status, "it needs a library: pip install it"))
    assert cells(text, "gone") == ["gone", status, *["-"] * 10]
    assert f"gone: {status}: it needs a library: pip install it" in text


def test_the_fastest_in_training_comes_first_and_the_unmeasured_last() -> None:
    rows = [
        Row("gone", "failed", "why"),
        replace(OK, loader="slow", train=phase(5), load=phase(9_999)),
        OK,
        replace(OK, loader="middle", train=phase(100)),
    ]
    text = rendered(*rows)
    places = [text.index(f"│ {name} ") for name in ("fast", "middle", "slow", "gone")]
    assert places == sorted(places)


def test_no_number_is_cut_where_all_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    big = phase(173_455, 173_456, 173_457)
    name = "a.package.with_a_long_name:LoaderFactory"
    text = rendered(replace(OK, loader=name, load=big, model=big, train=big))
    assert "…" not in text
    assert text.count("173,456") == text.count("±2") == 3
    assert name in text


def test_passes_that_say_next_to_nothing_are_shown_as_such() -> None:
    assert cells(rendered(replace(OK, load=phase(1_000, 2_000))), "fast")[2] == "1,500 ±>100%"


def test_names_and_paths_are_shown_as_they_are() -> None:
    text = rendered(
        replace(OK, loader="[b]x[/b]"), Row("y", "failed", "[red]no[/red] :100:"), source="/d/[old]/:100:/[/x"
    )
    assert "/d/[old]/:100:/[/x" in text
    assert "│ [b]x[/b] " in text
    assert "y: failed: [red]no[/red] :100:" in text


def test_an_exact_ledger_is_told_with_its_epochs() -> None:
    assert "fast: every one of 12,345 images exactly once in each of 2 epochs" in rendered(OK)


def test_an_epoch_that_was_not_finished_is_not_called_complete() -> None:
    cut = LedgerCount((replace(EXACT, complete=False, unique=500, missing=None),))
    text = rendered(replace(OK, ledger=cut))
    assert "fast: no epoch was finished; 500 of 12,345 images came, none twice" in text


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"missing": 7}, "7 missing, 0 duplicate, 0 unexpected"),
        ({"duplicate": 8}, "0 missing, 8 duplicate, 0 unexpected"),
        ({"unexpected": 9}, "0 missing, 0 duplicate, 9 unexpected"),
        ({"complete": False, "missing": None, "duplicate": 6}, "0 missing, 6 duplicate, 0 unexpected"),
    ],
)
def test_a_miscount_is_told_with_its_numbers(fault: dict[str, int], told: str) -> None:
    faulty = LedgerCount((EXACT, replace(EXACT, epoch=1, **fault)))
    assert f"fast: MISCOUNTED: in epoch 1, of 12,345 images {told}" in rendered(replace(OK, ledger=faulty))


def test_what_is_miscounted_stands_below_what_is_not_and_is_stamped() -> None:
    lost = LedgerCount((replace(EXACT, missing=7),))
    faster = replace(OK, loader="lossy", train=phase(9_000), ledger=lost)
    text = rendered(faster, OK)
    assert text.index("│ fast ") < text.index("│ lossy ")
    assert "MISCOUNTED" in text.split("└")[0]


def test_wrong_labels_are_told() -> None:
    text = rendered(replace(OK, ledger=LedgerCount((EXACT,), mislabelled=64)))
    assert "fast: MISCOUNTED: 64 samples came with another label than their own" in text


def test_what_a_certificate_did_not_look_at_is_told() -> None:
    text = rendered(replace(OK, certificate=Certificate(True, reason="grey work: some of it")))
    assert "fast: not looked at: grey work: some of it" in text


def test_a_conversion_is_told_with_its_cost() -> None:
    text = rendered(replace(OK, prepare=Preparation(12.34, 56_700_000, "/cache/packed")))
    assert "fast: reads a copy of 57 MB, packed in 12.3 s into /cache/packed" in text
    earlier = rendered(replace(OK, prepare=Preparation(0.0, 56_700_000, "/cache/packed")))
    assert "packed by an earlier run into /cache/packed" in earlier
    assert "copy" not in rendered(replace(OK, prepare=Preparation()))


def test_a_missing_accuracy_has_a_reason() -> None:
    text = rendered(replace(OK, accuracy=None, accuracy_reason="no image is held out"))
    assert "fast: no accuracy: no image is held out" in text


def test_a_run_without_rows_is_a_table_without_rows() -> None:
    assert "loader" in rendered()
