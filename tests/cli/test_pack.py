"""``throughput pack``."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from PIL import Image

from throughput.cli.pack import command
from throughput.errors import SourceError
from throughput.sources import open_source


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path / "cache"))
    for number in range(12):
        folder = tmp_path / "photos" / f"class-{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        Image.new("RGB", (8, 8), (20 * number, 0, 0)).save(data, "JPEG")
        (folder / f"{number:02d}.jpg").write_bytes(data.getvalue())
    return tmp_path / "photos"


def test_one_line_says_what_was_written(tmp_path, photos):
    out = tmp_path / "packed"
    result = CliRunner().invoke(command, [str(photos), str(out), "--samples-per-shard", "5"])
    assert result.exit_code == 0
    size = sum(path.stat().st_size for path in out.glob("*.tar"))
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"12 samples in 3 shards, {size} bytes, ")
    assert line.endswith(f" seconds: {out}")
    assert result.stderr == ""
    assert len(open_source(out).labels) == 12


def test_shard_size_in_megabytes(tmp_path, photos):
    result = CliRunner().invoke(command, [str(photos), str(tmp_path / "packed"), "--shard-mb", "0.01"])
    assert result.exit_code == 0
    assert len(list((tmp_path / "packed").glob("*.tar"))) > 1


def test_errors_are_for_the_caller_to_print(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "nowhere"), str(tmp_path / "packed")])
    assert isinstance(result.exception, SourceError)
    assert result.stdout == ""


@pytest.mark.parametrize("options", [["--samples-per-shard", "0"], ["--shard-mb", "0"]])
def test_options_out_of_range(tmp_path, photos, options):
    result = CliRunner().invoke(command, [str(photos), str(tmp_path / "packed"), *options])
    assert result.exit_code == 2
    assert "range" in result.stderr


def test_the_help_names_every_option():
    result = CliRunner().invoke(command, ["--help"])
    for option in ("--label-field", "--allow-pipe", "--samples-per-shard", "--shard-mb"):
        assert option in result.stdout
