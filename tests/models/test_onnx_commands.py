"""``export``, ``quantize`` and ``infer`` as commands: what they print and write, and what they refuse."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from throughput.models.onnx_files import parse, read_onnx, with_metadata
from throughput.training.checkpoint import read, save

QUICK = ("--batch=16", "--workers=1", "--seconds=0.05", "--repeats=2")


def data_of(trained) -> tuple[str, ...]:
    folder = trained.onnx.parent
    return (f"--data={folder / 'sides.npy'}", f"--labels={folder / 'labels.npy'}")


def one_line(text: str, words: str) -> None:
    assert re.search(words, text), text
    assert len(text.strip().splitlines()) == 1, text
    assert "Traceback" not in text


@pytest.fixture(scope="module")
def inferred(throughput, trained, tmp_path_factory) -> tuple[str, dict]:
    """stdout and JSON of one run through two loaders, beside torch."""
    out = tmp_path_factory.mktemp("inferred") / "out.json"
    ran = throughput(
        "infer", trained.onnx, *data_of(trained), *QUICK, "--loader=torchvision,roi", "--threads=1",
        "--provider=cpu",
        f"--checkpoint={trained.checkpoint}", "--no-certificate", f"--json={out}",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, json.loads(out.read_text())


def test_a_row_tells_the_provider_that_ran(inferred) -> None:
    stdout, written = inferred
    assert [row["loader"] for row in written["rows"]] == ["torchvision", "roi"]
    for row in written["rows"]:
        assert row["status"] == "ok"
        assert row["provider"] == row["runtime"]["provider"] == "cpu"
        assert row["runtime"]["chosen"] is None
        assert (row["runtime"]["threads"], row["runtime"]["fallback_nodes"]) == (1, 0)
        assert row["runtime"]["nodes"] > 3
        assert row["runtime"]["precision"] == "fp32"
    assert written["work"]["activity"] == "inference"
    assert (written["work"]["images"], written["work"]["val_images"]) == (60, 12)
    assert "ran on cpu, 1 thread;" in stdout
    assert "session" in stdout
    assert "training" not in stdout


def test_all_phases_are_measured_and_every_image_comes_once(inferred) -> None:
    _, written = inferred
    for row in written["rows"]:
        for phase in ("load", "model", "train"):
            assert row[phase]["images_per_second"]["median"] > 0
            assert len(row[phase]["passes"]) == 2
        assert row["ledger"]["expected"] == 60
        assert row["ledger"]["exact"]
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p90"] <= row["latency_ms"]["p99"]
        steps = row["model"]["passes"][0]["batch_step_seconds"]
        assert sum(steps) <= row["model"]["passes"][0]["seconds"]
        assert len(steps) * 16 == row["model"]["passes"][0]["images"]
        if row["verdict"] is not None:  # passes as short as these may contradict each other
            assert {one["images"] for one in row["verdict"]["epochs"]} == {60, 1_281_167}


def test_accuracy_is_that_of_the_held_out_images_and_torch_s(inferred) -> None:
    stdout, written = inferred
    for row in written["rows"]:
        assert row["held_out_ledger"]["expected"] == row["evaluation"]["images"] == 12
        assert row["accuracy"] == row["evaluation"]["top1"] == row["parity"]["accuracy"]
        assert row["parity"]["reference_accuracy"] == row["parity"]["accuracy"]
        assert row["parity"]["agreement"] == 1
        assert row["parity"]["images"] == 12
        assert row["parity"]["reference"] == "torch"
        assert row["evaluation"]["subject"].endswith("sides.onnx")
        assert {"precision", "recall", "f1"} <= set(row["evaluation"]["macro"])
    assert len(re.findall(r"beside torch in float32: top-1 .*\+0\.00 points", stdout)) == 2


def test_a_model_that_normalises_by_itself_is_fed_pixels(throughput, trained, tmp_path) -> None:
    raw, out = tmp_path / "raw.onnx", tmp_path / "out.json"
    ran = throughput(
        "export", raw, f"--checkpoint={trained.checkpoint}", *data_of(trained), "--embed-preprocessing"
    )
    assert ran.returncode == 0, ran.stderr
    assert "takes uint8 NHWC of 28 px" in ran.stdout
    ran = throughput(
        "infer", raw, *data_of(trained), *QUICK, f"--checkpoint={trained.checkpoint}", "--no-certificate",
        "--all", f"--json={out}",
    )  # fmt: skip
    assert ran.returncode == 2
    one_line(ran.stderr, "leave --all out")
    ran = throughput(
        "infer", raw, *data_of(trained), *QUICK, f"--checkpoint={trained.checkpoint}", "--no-certificate",
        f"--json={out}",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert row["parity"]["agreement"] == 1
    assert row["parity"]["relative"] < 1e-4


def test_an_untrained_model_is_exported_by_its_name(throughput, images, tmp_path) -> None:
    out = tmp_path / "small.onnx"
    ran = throughput(
        "export", out, "--model=cnn_small", f"--data={images}", "--size=32", "--mean=0.5", "--std=0.5"
    )
    assert ran.returncode == 0, ran.stderr
    found = read_onnx(out)
    assert (found.subject.model, found.subject.image_size, found.subject.mean) == (
        "cnn_small",
        32,
        (0.5,) * 3,
    )
    assert len(found.subject.classes) == 3
    assert "points" not in ran.stdout, "an accuracy of an untrained model says nothing"
    assert re.search(r"over 31 images, top-1 agrees on 100\.00 %", ran.stdout)


def test_smaller_numbers_are_compared_with_what_they_were(throughput, trained, tmp_path) -> None:
    out, written = tmp_path / "int8.onnx", tmp_path / "out.json"
    ran = throughput(
        "quantize", trained.onnx, out, "--to=int8-static", *data_of(trained), *QUICK, "--threads=1",
        f"--json={written}",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert read_onnx(out).precision == "int8-static"
    rows = json.loads(written.read_text())["rows"]
    assert [row["runtime"]["precision"] for row in rows] == ["fp32", "int8-static"]
    assert rows[1]["runtime"]["bytes"] == out.stat().st_size < rows[0]["runtime"]["bytes"]
    assert rows[1]["parity"]["agreement"] >= 0.9
    (compared,) = json.loads(written.read_text())["comparisons"]
    assert (compared["loader"], compared["baseline"], compared["pairs"]) == ("int8-static", "fp32", 2)
    assert "int8-static beside" in ran.stdout


@pytest.fixture(scope="module")
def refused(tmp_path_factory, trained) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    (folder / "no.onnx").write_bytes(b"not a model")
    np.save(folder / "three.npy", np.arange(60) % 3)
    found = read(trained.checkpoint)
    save(folder / "other.pt", replace(found, subject=replace(found.subject, mean=(0.5,))))
    save(folder / "named.pt", replace(found, subject=replace(found.subject, model="cnn64")))
    file = read_onnx(trained.onnx)
    subject = replace(file.subject, model="os:kill")
    model = parse(trained.onnx, file.data)
    (folder / "code.onnx").write_bytes(
        with_metadata(model, subject, precision="fp32", command="", layout=file.layout)
    )
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("infer", "{refused}/no.onnx"), "is no ONNX file"),
        (("infer", "{refused}/absent.onnx"), "cannot read"),
        (("infer", "{onnx}", "--provider=gpu"), "--provider must be auto, cpu, cuda, tensorrt"),
        (("infer", "{onnx}", "--threads=0"), "--threads must be 1 or more"),
        (("infer", "{onnx}", "--cuda-graph"), "--cuda-graph needs --provider cuda"),
        (("infer", "{onnx}", "--phases=load,eat"), "--phases must be some of"),
        (("infer", "{onnx}", "--compare", "--loader=roi,dali"), "give one --loader"),
        (("infer", "{onnx}", "--compare", "--phases=load"), "--compare times the model alone"),
        (("infer", "{onnx}", "--checkpoint={refused}/other.pt"), "has mean .* was not exported from"),
        (("infer", "{onnx}", "--checkpoint={refused}/named.pt"), "has model 'cnn28', and .* has 'cnn64'"),
        (("infer", "{onnx}", "--model=cnn28"), "--model names the model of a --checkpoint"),
        (("infer", "{onnx}", "--all", "--split-fraction=0.5"), "--all judges by every one"),
        (("infer", "{refused}/code.onnx", "--compare"), "holds weights of os:kill, code that would be"),
        (("infer", "{onnx}", "--labels={refused}/three.npy"), r"knows 2 classes \(0, 1\), and .* has 3 cla"),
        (("infer", "{onnx}", "--checkpoint={onnx}"), "no file of weights|not a file of tensors"),
        (("quantize", "{onnx}", "{refused}/o.onnx", "--to=int4"), "--to must be one of fp16"),
        (("quantize", "{onnx}", "{onnx}", "--to=fp16"), "is the file that is read"),
        (("quantize", "{onnx}", "{refused}/o.onnx", "--to=fp16", "--calibration=minmax"), "--to int8-static"),
        (("quantize", "{onnx}", "{refused}/o.onnx", "--to=fp16", "--reduce-range"), "belongs to int8"),
        (("quantize", "{onnx}", "{refused}/o.onnx", "--to=fp16", "--labels={refused}/three.npy"), "has 3"),
        (("quantize", "{onnx}", "{refused}/none/o.onnx", "--to=fp16"), "there is no folder"),
        (("export", "{refused}/o.onnx"), "give --checkpoint, or --model"),
        (("export", "{refused}/o.onnx", "--checkpoint={pt}", "--size=32"), "--size go with --model alone"),
        (("export", "{refused}/o.onnx", "--checkpoint={pt}", "--opset=9"), "--opset must lie between 13"),
        (("export", "{refused}/none/o.onnx", "--checkpoint={pt}"), "there is no folder"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_exit_2(here, trained, refused, arguments, words) -> None:
    names = {"refused": refused, "onnx": trained.onnx, "pt": trained.checkpoint}
    given = [one.format(**names) for one in arguments]
    data = [one for one in data_of(trained) if not any(other.startswith(one[:7]) for other in given)]
    ran = here(*given, *data)
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    one_line(ran.stderr, words)
    assert not (refused / "o.onnx").exists()


def test_a_provider_that_does_not_load_is_an_error_with_its_cure(here, trained) -> None:
    ran = here("infer", trained.onnx, *data_of(trained), "--provider=tensorrt")
    assert ran.returncode == 2
    assert ran.stdout == ""
    one_line(ran.stderr, r"--provider tensorrt does not run here: .*(missing|driver|without)")
