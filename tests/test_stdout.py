"""What is printed meanwhile goes to stderr, from Python and from C, and stdout comes back."""

from __future__ import annotations

import ctypes
import os

import pytest

from throughput.stdout import stdout_to_stderr


def test_everything_goes_to_stderr_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with stdout_to_stderr():
        print("python")
        os.write(1, b"descriptor\n")
        ctypes.CDLL(None).puts(b"library")
    print("after")
    captured = capfd.readouterr()
    assert captured.out == "before\nafter\n"
    assert sorted(captured.err.split()) == ["descriptor", "library", "python"]


def test_stdout_comes_back_after_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), stdout_to_stderr():
        _ = 1 / 0
    print("after")
    assert capfd.readouterr() == ("after\n", "")
