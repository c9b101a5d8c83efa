"""Ways to compute the same answers, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from throughput.comparison import compare_runs
from throughput.errors import NothingMeasuredError
from throughput.inferred import Runtime
from throughput.measure.budget import Budget
from throughput.models.commands.comparison_table import tell_comparison
from throughput.models.exporting import export
from throughput.models.inferring import Arm, Inference, compare, file_arm, torch_arm
from throughput.models.onnx_files import read_onnx
from throughput.results import Pass, Phase, Results, Row
from throughput.training.checkpoint import read, save
from throughput.training.judging import Judging


def test_torch_stands_beside_a_file_that_normalises_by_itself(trained, tmp_path: Path) -> None:
    judging = Judging(trained.source, batch_size=16, workers=1, precision="fp32", device="cpu")
    found = read(trained.checkpoint)
    raw = tmp_path / "raw.onnx"
    export(found.load(), found.subject, raw, judging, embed_preprocessing=True)
    inference = Inference(
        read_onnx(raw),
        judging,
        ("torchvision",),
        checkpoint=trained.checkpoint,
        threads=1,
        budget=Budget(steps=2, repeats=2),
    )
    results = compare(inference, [torch_arm(inference, "torch"), file_arm(inference, raw, "fp32")])
    assert [row.status for row in results.rows] == ["ok", "ok"], [row.reason for row in results.rows]
    torch, file = results.rows
    assert torch.runtime is not None
    assert (torch.runtime.engine, torch.runtime.provider) == ("torch", None)
    assert torch.parity is not None
    assert (torch.parity.reference, torch.parity.agreement) == ("raw.onnx", 1.0)
    assert torch.accuracy == file.accuracy
    assert torch.model is not None
    assert torch.model.latency_ms is not None
    (compared,) = results.comparisons
    assert (compared.loader, compared.baseline, compared.pairs) == ("fp32", "torch", 2)


def test_other_weights_are_remarked_on_and_an_untrained_model_is_not_judged(trained, tmp_path: Path) -> None:
    judging = Judging(trained.source, batch_size=16, workers=1, precision="fp32", device="cpu")
    found = read(trained.checkpoint)
    other = tmp_path / "other.pt"
    save(other, replace(found, weights={name: -one for name, one in found.weights.items()}))
    inference = Inference(
        read_onnx(trained.onnx),
        judging,
        ("torchvision",),
        checkpoint=other,
        threads=1,
        budget=Budget(steps=2, repeats=1),
    )
    untrained = torch_arm(replace(inference, checkpoint=None), "torch")
    file, torch = compare(inference, [Arm("fp32", inference.answering), untrained]).rows
    assert file.accuracy is not None
    assert any("holds other weights than" in warning for warning in file.warnings)
    assert (torch.accuracy, torch.held_out_ledger) == (None, None)
    assert "give its --checkpoint" in str(torch.accuracy_reason)
    assert not any("missing" in warning for warning in torch.warnings)


MEASURED = Row(
    "torchvision",
    "ok",
    model=Phase((Pass(16, 1.0, 0.0, (), (0.5, 0.5)),)),
    runtime=Runtime("onnxruntime", "fp32", provider="cpu", threads=1),
)
FAILED = Row("torchvision", "failed", "no such model")
BLANK = Results("now", "throughput infer", {}, {}, ())


def test_without_the_first_way_there_is_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    tell_comparison("Ways", replace(BLANK, rows=(FAILED, MEASURED)), ["torch", "fp32"], None)
    said = capsys.readouterr()
    (row,) = [line.split() for line in said.out.splitlines() if line.lstrip().startswith("fp32 ")]
    assert row[:3] == ["fp32", "16.0", "-"]
    assert said.err == "throughput: torch failed: no such model\n"
    with pytest.raises(NothingMeasuredError):
        tell_comparison("Ways", replace(BLANK, rows=(FAILED,)), ["torch"], None)


def test_two_runs_are_compared_by_what_ran() -> None:
    """Of one loader, int8 and fp32 are two things; a row that failed is the other run's."""
    fp32 = replace(BLANK, rows=(MEASURED,)).to_json()
    runtime = replace(MEASURED.runtime, precision="int8-static") if MEASURED.runtime else None
    int8 = replace(BLANK, rows=(replace(MEASURED, runtime=runtime),)).to_json()
    assert [one.phase for one in compare_runs(fp32, fp32).rates] == ["model"]
    apart = compare_runs(fp32, int8)
    assert apart.rates == ()
    assert len(apart.left_out) == 2
    failed = compare_runs(fp32, replace(BLANK, rows=(FAILED,)).to_json())
    assert failed.left_out == ("torchvision, onnxruntime fp32: failed (no such model) in B",)
