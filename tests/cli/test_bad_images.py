"""Bad images on the command line: left out or replaced as asked, counted, and listed by name."""

from __future__ import annotations

import json
import shutil


def test_bad_images_are_left_out_counted_and_listed(throughput, small, images, tmp_path):
    data = shutil.copytree(images, tmp_path / "data")
    bad = sorted(data.rglob("*.JPEG"))[:9:2]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-40])
    ran = throughput(
        "bench",
        f"--data={data}",
        *small,
        "--loader=torchvision,dali",
        "--on-error=skip",
        "--steps=9",
        f"--json={tmp_path / 'out.json'}",
    )
    assert ran.returncode == 0, ran.stderr
    for row in json.loads((tmp_path / "out.json").read_text())["rows"]:
        ledgers = (row["ledger"], row["held_out_ledger"])
        assert {fault["sample"] for fault in row["faults"]} == set(map(str, bad))
        assert sum(ledger["corrupt"] for ledger in ledgers) == len(bad)
        for ledger in ledgers:
            assert ledger["unique"] + ledger["corrupt"] == ledger["expected"]
            assert (ledger["missing"], ledger["exact"]) == (0, True)
        assert f"{row['ledger']['corrupt']} BAD, left out: {data}" in ran.stdout


def test_training_replaces_bad_images_and_says_so(throughput, images, tmp_path):
    data = shutil.copytree(images, tmp_path / "data")
    bad = sorted(data.rglob("*.JPEG"))[:6:2]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-40])
    ran = throughput(
        "train",
        f"--data={data}",
        "--model=cnn32",
        "--size=32",
        "--batch=8",
        "--workers=2",
        "--epochs=2",
        "--on-error=substitute",
        f"--json={tmp_path / 'out.json'}",
    )
    assert ran.returncode == 0, ran.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    ledger = row["ledger"]
    assert {fault["sample"] for fault in ledger["bad_samples"]} <= set(map(str, bad))
    assert {fault["times"] for fault in ledger["bad_samples"]} == {2}
    assert ledger["padded"] == ledger["corrupt"] == len(ledger["bad_samples"]) > 0
    assert (ledger["unique"] + ledger["corrupt"], ledger["missing"]) == (ledger["expected"], 0)


def test_no_option_is_advised_that_a_command_does_not_take(here, images, tmp_path):
    data = shutil.copytree(images, tmp_path / "data")
    bad = sorted(data.rglob("*.JPEG"))[0]
    bad.write_bytes(b"")
    told = {}
    for command, *options in (("stats",), ("tune", "--loader=torchvision", "--budget=5s"), ("train",)):
        said = here(command, f"--data={data}", *options)
        assert said.returncode == 2
        assert str(bad) in said.stderr
        told[command] = said.stderr
    assert "--on-error" not in told["stats"] + told["tune"]
    assert "--on-error skip goes on without such samples" in told["train"]
