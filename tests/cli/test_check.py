"""``throughput check`` on the command line: its table, its files, its exit status."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import psutil
import pytest
from PIL import Image

from throughput.sources import open_source
from throughput.sources.pack import pack


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six JPEGs in two class folders."""
    for number in range(6):
        path = tmp_path / "images" / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 48), 40 + number).convert("RGB").save(path)
    return tmp_path / "images"


def test_a_good_folder_exits_with_0(here, folder):
    said = here("check", folder, "--workers=1")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("6 samples, ")
    assert " 0 bad; " in said.stdout
    assert said.stderr == ""


def test_bad_samples_are_listed_and_exit_with_1(here, folder, tmp_path):
    cut, empty = folder / "class0" / "2.jpg", folder / "class1" / "3.jpg"
    cut.write_bytes(cut.read_bytes()[:-40])
    empty.write_bytes(b"")
    said = here(
        "check", folder, "--workers=2", "--json", tmp_path / "found.json", "--list", tmp_path / "bad.txt"
    )
    assert said.returncode == 1
    rows = [line for line in said.stdout.splitlines() if ".jpg" in line]
    assert len(rows) == 2
    assert "truncated" in rows[0]
    assert "empty" in rows[1]
    assert "2 bad (1 truncated, 1 empty)" in said.stdout
    assert (tmp_path / "bad.txt").read_text() == f"{cut}\n{empty}\n"
    record = json.loads((tmp_path / "found.json").read_text())
    assert [one["path"] for one in record["bad"]] == [str(cut), str(empty)]


def test_damaged_shards_are_listed_beside_bad_samples(here, folder, tmp_path):
    pack(open_source(folder), tmp_path / "packed", samples_per_shard=3)
    first, second = sorted((tmp_path / "packed").rglob("*.tar"))
    second.unlink()
    data = bytearray(first.read_bytes())
    data[0:512] = b"\xaa" * 512
    first.write_bytes(data)
    said = here("check", tmp_path / "packed", "--workers=1", "--list", tmp_path / "bad.txt")
    assert said.returncode == 1
    assert "2 samples, " in said.stdout
    assert "2 shards, 2 bad" in said.stdout
    assert "2 of 6 packed samples can be reached" in said.stdout
    lines = (tmp_path / "bad.txt").read_text().splitlines()
    assert f"{first}\t\t0" in lines
    assert str(first) not in lines, "the byte of its damage tells the shard already"
    assert str(second) in lines
    assert "1 with samples missing" in said.stdout


def test_one_of_anything_is_told_in_the_singular(here, tmp_path):
    path = tmp_path / "one" / "cat" / "1.jpg"
    path.parent.mkdir(parents=True)
    Image.effect_noise((64, 48), 40).convert("RGB").save(path)
    pack(open_source(tmp_path / "one"), tmp_path / "packed")
    said = here("check", tmp_path / "packed", "--workers=1")
    assert said.returncode == 0, said.stdout
    assert "1 sample, " in said.stdout
    assert "1 shard, 0 bad\n1 of 1 packed sample can be reached" in said.stdout


def test_what_no_class_has_and_classes_without_images_are_faults(here, folder, tmp_path):
    cut = folder / "class0" / "2.jpg"
    for number in range(3):
        (folder / f"loose{number}.jpg").write_bytes(cut.read_bytes())
    cut.write_bytes(cut.read_bytes()[:-40])
    (folder / "empty").mkdir()
    (folder / "README.txt").write_text("no image")
    said = here(
        "check", folder, "--workers=1", "--list", tmp_path / "bad.txt", "--json", tmp_path / "found.json"
    )
    assert said.returncode == 1, said.stderr
    assert "the image lies in no class folder" in " ".join(said.stdout.split())
    assert "4 faults beside them (3 in no class folder, 1 without images)" in said.stdout
    assert "6 samples, " in said.stdout
    loose = [str(folder / f"loose{number}.jpg") for number in range(3)]
    assert (tmp_path / "bad.txt").read_text().splitlines() == [*loose, str(folder / "empty"), str(cut)]
    record = json.loads((tmp_path / "found.json").read_text())
    assert [(one["path"], one["fault"]) for one in record["beside"]] == [
        *((path, "in no class folder") for path in loose),
        (str(folder / "empty"), "no images"),
    ]


def test_empty_folders_of_either_split_are_told_as_opening_takes_them(here, folder, tmp_path):
    for split in ("train", "val"):
        (tmp_path / "both" / split).mkdir(parents=True)
    for name in ("class0", "class1"):
        (folder / name).rename(tmp_path / "both" / "train" / name)
        (tmp_path / "both" / "val" / name).mkdir()
    said = here("check", tmp_path / "both", "--workers=1")
    assert said.returncode == 1
    assert "(2 without images)" in said.stdout
    (tmp_path / "both" / "train" / "class1" / "1.jpg").rename(tmp_path / "both" / "val" / "class1" / "1.jpg")
    open_source(tmp_path / "both")
    assert here("check", tmp_path / "both", "--workers=1").returncode == 0


def test_a_class_folder_named_alone_is_told_from_a_data_set(here, folder):
    (folder / "class0" / "deeper").mkdir()
    said = here("check", folder / "class0")
    assert said.returncode == 2
    assert f"the images in {folder / 'class0'} lie in no class folder" in said.stderr
    (folder / "class0" / "0.jpg").rename(folder / "class0" / "deeper" / "0.jpg")
    said = here("check", folder / "class0", "--workers=1")
    assert said.returncode == 1
    assert "(2 in no class folder)" in said.stdout


def test_names_cannot_command_the_terminal(here, folder, tmp_path):
    (folder / "class0" / "\x1b[31mred.jpg").write_bytes(b"")
    (folder / "class0" / "two\nlines.jpg").write_bytes(b"")
    said = here("check", folder, "--workers=1", "--list", tmp_path / "bad.txt")
    assert said.returncode == 1
    assert "\x1b" not in said.stdout
    assert r"\x1b[31mred.jpg" in said.stdout
    listed = (tmp_path / "bad.txt").read_text().splitlines()
    assert [line.rpartition("/")[2] for line in listed] == ["\x1b[31mred.jpg", r"two\nlines.jpg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{folder}/nowhere",), "does not exist"),
        (("{folder}", "--workers=0"), "--workers"),
        (("{folder}", "--workers=some"), "--workers"),
        (("{folder}", "--json", "{folder}/no/such.json"), "--json"),
        (("{folder}", "--list", "{folder}"), "--list"),
        (("{folder}", "--labels", "labels.npy"), "--labels"),
        ((), "DATA"),
    ],
)
def test_wrong_input_exits_with_2(here, folder, arguments, said):
    ended = here("check", *(argument.format(folder=folder) for argument in arguments))
    assert ended.returncode == 2
    assert said in ended.stderr


DECODER = '''
"""A decoder that asks the command to end, once, and then waits to be ended with it."""
import os, signal, sys, time
from PIL import Image, ImageFile, TiffImagePlugin

class Waiting(ImageFile.ImageFile):
    format = "WAITING"
    format_description = "waits"

    def _open(self):
        self._size, self._mode, self.tile = (1, 1), "L", []
        try:
            with open(os.environ["WAITING_FOR"], "x") as said:
                said.write(str(os.getpid()))
        except FileExistsError:
            return
        os.kill(os.getppid(), getattr(signal, os.environ["WAITING_SIGNAL"]))
        time.sleep(600)

    def load(self):
        return None

# In place of one that is looked for; its own has been registered by now.
Image.register_open("TIFF", Waiting, lambda start: start.startswith(b"waiting: "))
'''


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_interrupted_it_leaves_no_process_and_goes_on(throughput, surroundings, folder, tmp_path, name):
    """One worker is stuck in a decoder when the request comes: it does not hold the end up."""
    (tmp_path / "sitecustomize.py").write_text(DECODER)
    (folder / "class0" / "4.jpg").write_bytes(b"waiting: ")
    path = f"{tmp_path}:{surroundings.get('PYTHONPATH', '')}".rstrip(":")
    environment = {
        **surroundings, "PYTHONPATH": path, "WAITING_FOR": str(tmp_path / "pid"), "WAITING_SIGNAL": name,
    }  # fmt: skip
    reset = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    ended = throughput("check", folder, "--workers=1", env=environment, **reset)
    assert ended.returncode == 130, ended.stderr
    assert ended.stdout == ""
    assert "the same command goes on from here" in ended.stderr
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))

    went_on = throughput("check", folder, "--workers=1", env=environment)
    assert went_on.returncode == 0, went_on.stderr
    assert "2 of 6 samples were looked at" in went_on.stderr
    assert went_on.stdout.startswith("6 samples, ")
    anew = throughput("check", folder, "--workers=1", env=environment)
    assert anew.stderr == ""
