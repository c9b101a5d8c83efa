"""``throughput bench`` measures loaders, prints one table, and refuses what cannot work in one line."""

from __future__ import annotations

import json
import resource
import signal
import statistics
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from throughput import cli
from throughput.measure.statistics import rate_interval
from throughput.sources import open_source
from throughput.sources.pack import pack

LOADERS = ("torchvision", "webdataset", "dali")

ROW_KEYS = {
    "loader", "status", "reason", "decode", "prepare", "load", "model", "train", "accuracy",
    "gpu_utilisation", "cpu_utilisation", "peak_rss_bytes", "gpu_memory_bytes", "ledger", "certificate",
    "verdict",
}  # fmt: skip


def nothing_half_written(folder: Path) -> bool:
    """Temporary names end in .part."""
    return not list(folder.rglob("*.part"))


@pytest.fixture(scope="module")
def own_surroundings(surroundings, tmp_path_factory) -> dict[str, str]:
    """With folders in which no other command leaves anything."""
    own = {name: str(tmp_path_factory.mktemp("own")) for name in ("THROUGHPUT_CACHE", "TMPDIR")}
    return surroundings | own


@pytest.fixture(scope="module")
def measured(throughput, small, images, own_surroundings, tmp_path_factory):
    """Three loaders in all three phases: what the process said, and what it wrote."""
    path = tmp_path_factory.mktemp("measured") / "out.json"
    options = ("--opt", "torchvision.prefetch=3", "--json", path)
    everything = ("--loader", ",".join(LOADERS), "--data", images, *small, *options)
    ran = throughput("bench", *everything, env=own_surroundings)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(path.read_text())
    assert {row["status"] for row in told["rows"]} == {"ok"}, ran.stderr
    return ran, told


@pytest.fixture(scope="module")
def rows(measured) -> dict[str, Any]:
    return {row["loader"]: row for row in measured[1]["rows"]}


class TestMeasured:
    def test_stdout_holds_the_table_and_its_notes(self, measured, images):
        title, *lines = measured[0].stdout.splitlines()
        train, held_out = (len(open_source(images).ids(split)) for split in ("train", "val"))
        assert title.startswith(f"{train} images ({held_out} more held out) of {images}, 32 px, batch 8")
        assert "cnn_small" in title
        for line in lines:
            said_of = (f"{name}{mark}" for name in LOADERS for mark in (": ", " / "))
            assert line[0] in "┏┃┡│└" or line.startswith(tuple(said_of)), line
        for name in LOADERS:
            assert sum(line.startswith(f"│ {name} ") for line in lines) == 1

    def test_the_schema_names_are_there(self, measured):
        told = measured[1]
        assert {"schema", "created", "command", "environment", "work", "rows"} <= set(told)
        assert told["schema"] == 1
        assert "bench --loader torchvision,webdataset,dali" in told["command"]
        assert [row["loader"] for row in told["rows"]] == list(LOADERS)
        assert told["work"]["batch_size"] == 8
        assert told["work"]["model"] == "cnn_small"

    @pytest.mark.parametrize("name", LOADERS)
    def test_a_row_has_every_number(self, rows, name):
        row = rows[name]
        assert set(row) >= ROW_KEYS
        assert (row["status"], row["reason"], row["decode"]) == ("ok", None, "cpu")
        assert set(row["prepare"]) >= {"seconds", "bytes"}
        assert 0 <= row["accuracy"] <= 1
        assert row["peak_rss_bytes"] > 0
        assert 0 <= row["train"]["wait_fraction"] <= 1
        assert row["train"]["first_batch_seconds"] > 0
        assert 0 <= row["train"]["wait_ms"]["p50"] <= row["train"]["wait_ms"]["p99"]

    @pytest.mark.parametrize("name", LOADERS)
    @pytest.mark.parametrize("phase", ["load", "model", "train"])
    def test_rates_are_images_over_seconds(self, rows, name, phase):
        passes = rows[name][phase]["passes"]
        assert len(passes) == 2
        for one in passes:
            assert {"images", "seconds", "wait_seconds"} <= set(one)
            assert 0 < one["images"] <= 16
            assert 0 <= one["wait_seconds"] <= one["seconds"]
        rates = [one["images"] / one["seconds"] for one in passes]
        told = rows[name][phase]["images_per_second"]
        low, high = rate_interval(rates)
        assert told == {
            "median": pytest.approx(statistics.median(rates)),
            "low": pytest.approx(low),
            "high": pytest.approx(high),
        }

    @pytest.mark.parametrize("name", LOADERS)
    def test_the_ledger_counts_every_image_once(self, rows, images, name):
        ledger = rows[name]["ledger"]
        assert ledger["expected"] == ledger["unique"] == len(open_source(images).ids("train"))
        assert ledger["complete"]
        zeros = ("missing", "duplicate", "padded", "corrupt")
        assert [ledger[key] for key in zeros] == [0, 0, 0, 0]

    def test_a_loader_s_own_option_reaches_it(self, rows):
        assert rows["torchvision"]["options"]["prefetch"] == 3
        assert rows["webdataset"]["options"]["prefetch"] != 3

    @pytest.mark.usefixtures("measured")  # the command has ended by then
    def test_nothing_temporary_is_left(self, own_surroundings):
        assert nothing_half_written(Path(own_surroundings["THROUGHPUT_CACHE"]))
        assert list(Path(own_surroundings["TMPDIR"]).iterdir()) == []


@pytest.fixture(scope="module")
def shards(images, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "shards"
    pack(open_source(images), folder, samples_per_shard=11)
    return folder


def test_a_pattern_of_shards_loaded_once(throughput, small, shards, tmp_path):
    data = shards / "shard-00000{0..2}.tar"
    chosen = ("--phases=load", "--repeats=1", "--loader=webdataset", "--json=out.json")
    ran = throughput("bench", "--data", data, *small, *chosen, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["model"] is None
    assert row["train"] is None
    assert row["accuracy"] is None
    rate = row["load"]["images_per_second"]
    assert rate["median"] > 0
    assert rate["low"] is None, "one pass has no spread"
    assert rate["high"] is None
    assert (row["prepare"]["seconds"], row["prepare"]["bytes"]) == (0, 0)


def test_a_folder_of_shards_and_a_fault_that_the_table_names(throughput, small, shards):
    fake = "throughput.testing:FakeLoaderFactory"
    ran = throughput(
        "bench", "--data", shards, *small, "--phases=load", f"--loader={fake}", f"--opt={fake}.drop=2"
    )
    assert ran.returncode == 0, ran.stderr
    assert "MISCOUNTED" in ran.stdout
    assert "2 missing" in ran.stdout


def test_train_and_val_folders_give_an_accuracy(throughput, small, images, tmp_path):
    for split in ("train", "val"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / split).symlink_to(images)
    ran = throughput(
        "bench", "--data=data", *small, "--phases=train", "--loader=dali", "--json=out.json", cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads((tmp_path / "out.json").read_text())
    assert (told["work"]["train_images"], told["work"]["val_images"]) == (31, 31)
    (row,) = told["rows"]
    assert row["load"] is None
    assert 0 <= row["accuracy"] <= 1
    assert row["accuracy"] * 31 == pytest.approx(round(row["accuracy"] * 31))


def test_a_piped_shard_is_read_where_that_is_allowed(throughput, small, shards):
    data = f"pipe:cat {shards}/shard-000000.tar"
    ran = throughput("bench", "--data", data, *small, "--phases=load", "--loader=webdataset", "--allow-pipe")
    assert ran.returncode == 0, ran.stderr
    assert "│ webdataset " in ran.stdout


def test_a_corrupt_image_is_named(throughput, small, images, tmp_path):
    folder = tmp_path / "data" / "red"
    folder.parent.mkdir()
    for name in ("blue", "green"):
        (tmp_path / "data" / name).symlink_to(images / name)
    folder.mkdir()
    for number in range(4):
        (folder / f"broken-{number}.jpg").write_bytes(b"\xff\xd8 this is no photo")
    ran = throughput(
        "bench",
        "--data=data",
        *small,
        "--phases=load",
        "--loader=torchvision,dali",
        "--steps=9",
        cwd=tmp_path,
    )
    assert ran.returncode == 2, ran.stderr
    for name in ("torchvision", "dali"):
        (line,) = (
            line for line in ran.stderr.splitlines() if line.startswith(f"throughput: {name} failed: ")
        )
        assert "data/red/broken-" in line


MISSING = """
from throughput.contracts import LoaderFactory, Requirement

class Absent(LoaderFactory):
    name = "absent"
    requires = (Requirement("no_such_module_of_anybody", "pip install no-such-module"),)

    def open(self, work, options):
        raise AssertionError
"""


def test_only_skipped_rows_exit_with_3(throughput, small, images, tmp_path):
    (tmp_path / "absent.py").write_text(MISSING)
    ran = throughput(
        "bench", "--data", images, *small, "--loader=absent:Absent", "--json=out.json", cwd=tmp_path
    )
    assert ran.returncode == 3
    assert (
        "absent:Absent: skipped: no_such_module_of_anybody is missing: pip install no-such-module"
        in ran.stdout
    )
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["status"] == "skipped"
    assert row["load"] is row["train"] is row["ledger"] is None


def test_a_full_disk_is_the_caller_s_to_mend(throughput, small, images, surroundings, tmp_path):
    ran = throughput(
        "bench", "--data", images, *small, "--loader=webdataset", cwd=tmp_path,
        env={**surroundings, "THROUGHPUT_CACHE": str(tmp_path / "cache")}, preexec_fn=small_files,
    )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    assert "throughput: webdataset failed: the disk is full" in ran.stderr
    assert nothing_half_written(tmp_path)


def small_files(limit: int = 20_000) -> None:
    """A stand-in for a full disk: no file may grow beyond the limit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("command", ["synth", "pack"])
def test_a_full_disk_leaves_nothing_half_written(throughput, images, surroundings, tmp_path, command):
    arguments = ("out", "--count=40") if command == "synth" else (images, "out")
    env = {**surroundings, "THROUGHPUT_CACHE": str(tmp_path / "cache")}
    ran = throughput(command, *arguments, cwd=tmp_path, env=env, preexec_fn=partial(small_files, 15_000))
    assert ran.returncode == 2
    one_line(ran.stderr, "the disk is full")
    assert ran.stdout == ""
    assert nothing_half_written(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".tar", ".jpg")]


def one_line(stderr: str, *said: str) -> None:
    """Assert that stderr is one line of ours that says all of this."""
    assert len(stderr.splitlines()) == 1, stderr
    assert stderr.startswith("throughput: ")
    for text in said:
        assert text in stderr


@pytest.fixture(scope="module")
def wrong(images, tmp_path_factory) -> Path:
    """A folder of data that cannot work, beside images that can."""
    root = tmp_path_factory.mktemp("wrong")
    (root / "images").symlink_to(images)
    (root / "empty").mkdir()
    (root / "flat").mkdir()
    Image.new("RGB", (8, 8)).save(root / "flat" / "photo.jpg")
    (root / "texts" / "poems").mkdir(parents=True)
    (root / "texts" / "poems" / "ode.txt").write_text("no image")
    with tarfile.open(root / "unlabelled.tar", "w") as tar:
        tar.add(root / "flat" / "photo.jpg", "000.jpg")
    return root


@pytest.fixture
def refuse(wrong, monkeypatch, capfd, tmp_path) -> Callable[..., str]:
    """Run the command in this process, and return what it says on stderr: it must exit with 2."""

    def reached(*_: object) -> None:
        raise AssertionError("a measurement was started")

    monkeypatch.setattr("throughput.api.Nursery", reached)
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(wrong)

    def run(*arguments: str) -> str:
        before = sorted(wrong.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["throughput", *arguments])
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        said = capfd.readouterr()
        assert ended.value.code == 2, said.err
        assert said.out == ""
        assert sorted(wrong.rglob("*")) == before, "something was written"
        assert nothing_half_written(tmp_path)
        return said.err

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--data=imags", ["imags does not exist", "did you mean images?"]),
        ("--data=", ["no images were named"]),
        ("--data=empty", ["folder empty is empty"]),
        ("--data=flat", ["flat", "class folder"]),
        ("--data=texts", ["texts/poems", "no image of a known type", ".txt"]),
        ("--data=unlabelled.tar", ["unlabelled.tar", "label"]),
        ("--data=s-{0..2.tar", ["s-{0..2.tar", "braces"]),
        ("--data=gs://bucket/a.tar", ["gs://bucket/a.tar", "copy"]),
        ("--data=pipe:touch ran", ["--allow-pipe"]),
        ("--batch=0", ["batch", "1 or more, got 0"]),
        ("--batch=-1", ["batch", "1 or more, got -1"]),
        ("--batch=1000", ["--batch 1000 is larger than the train split", "or less"]),
        ("--loader=torchvison", ["'torchvison'", "did you mean 'torchvision'?"]),
        ("--loader=dali,nope", ["'nope'", "webdataset"]),
        ("--loader=", ["--loader", "torchvision"]),
        ("--loader=no_such_module:Loader", ["no_such_module"]),
        ("--loader=os:path", ["is not a LoaderFactory"]),
        ("--model=cnn_smal", ["'cnn_smal'", "did you mean 'cnn_small'?"]),
        ("--device=tpu", ["--device", "'tpu'"]),
        ("--size=0", ["size", "1 or more, got 0"]),
        ("--workers=0", ["workers", "1 or more, got 0"]),
        ("--workers=x", ["--workers", "'x'"]),
        ("--steps=0", ["--steps", "got 0"]),
        ("--seconds=-1", ["--seconds", "-1"]),
        ("--seconds=nan", ["--seconds", "nan"]),
        ("--seconds=inf", ["--seconds", "inf"]),
        ("--repeats=0", ["--repeats", "got 0"]),
        ("--precision=x", ["--precision", "'x'"]),
        ("--phases=x", ["--phases", "got x"]),
        ("--phases=", ["--phases", "none"]),
        ("--seed=-1", ["seed", "got -1"]),
        ("--json=nowhere/out.json", ["--json", "nowhere"]),
        ("--json=/proc/out.json", ["--json", "/proc"]),
        ("--opt=dali.no", ["--opt", "LOADER.KEY=VALUE"]),
        ("--opt=torchvision.prefech=3", ["'prefech'", "did you mean 'prefetch'?"]),
        ("--opt=torchvision.prefetch=x", ["torchvision.prefetch", "'x'"]),
        ("--opt=torchvision.prefetch=0", ["prefetch", "got 0"]),
        ("--opt=nope.prefetch=3", ["'nope'"]),
    ],
)
def test_wrong_input_is_one_line(refuse, arguments, said):
    one_line(refuse("bench", "--data=images", "--json=out.json", *arguments.split("\n")), *said)


def test_a_gpu_that_is_not_there_is_refused(refuse):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    one_line(refuse("bench", "--data=images", "--device=cuda"), "--device cuda", "no CUDA device")


@pytest.mark.parametrize("arguments", [("--nope",), ("--batch=x",), ("--json=empty",), ("surplus",)])
def test_usage_errors_show_the_usage(refuse, arguments):
    said = refuse("bench", "--data=images", *arguments)
    assert said.startswith("Usage: throughput bench")
    assert arguments[0].partition("=")[0] in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("synth", "images"), ["images", "not empty"]),
        (("synth", "made", "--count=0"), ["--count", "got 0"]),
        (("synth", "made", "--classes=0"), ["--classes", "got 0"]),
        (("synth", "made", "--seed=-1"), ["--seed", "got -1"]),
        (("synth", "/proc/made"), ["/proc"]),
        (("pack", "imags", "out"), ["imags does not exist"]),
        (("pack", "images", "texts/poems/ode.txt"), ["ode.txt"]),
        (("pack", "images", "/proc/out"), ["/proc/out"]),
    ],
)
def test_other_commands_refuse_in_one_line(refuse, arguments, said):
    one_line(refuse(*arguments), *said)
