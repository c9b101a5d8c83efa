"""A loader's own options: read by type, refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from throughput.contracts import Loader, LoaderFactory, Work
from throughput.errors import OptionError
from throughput.options import build_options, parse_assignments
from throughput.registry import load_loader, loader_names


@dataclass(frozen=True)
class Knobs:
    depth: int = 2
    share: float = 0.5
    decode: str = "auto"
    pinned: bool = True

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise OptionError(f"depth must be 1 or more, got {self.depth}")


class Factory(LoaderFactory):
    name = "mine"
    Options = Knobs

    @contextmanager
    def open(self, work: Work, options: Knobs) -> Iterator[Loader]:
        raise NotImplementedError


class Plain(Factory):
    from throughput.contracts import NoOptions as Options


def test_assignments_are_taken_apart_by_loader() -> None:
    texts = ["dali.prefetch=3", "a.module:Loader.key=x=y.z", "dali.decode="]
    assert parse_assignments(texts, ["dali", "a.module:Loader", "other"]) == {
        "dali": {"prefetch": "3", "decode": ""},
        "a.module:Loader": {"key": "x=y.z"},
        "other": {},
    }


@pytest.mark.parametrize("text", ["", "prefetch", "prefetch=3", "dali.prefetch", ".prefetch=3", "dali.=3"])
def test_an_assignment_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"LOADER\.KEY=VALUE, got"):
        parse_assignments([text], ["dali"])


def test_an_assignment_to_a_loader_that_does_not_run_names_those_that_do() -> None:
    with pytest.raises(OptionError, match="no loader 'dalli' runs here; running: dali, torchvision"):
        parse_assignments(["dalli.prefetch=3"], ["dali", "torchvision"])


def test_texts_are_read_as_the_fields_type() -> None:
    chosen = build_options(Factory(), {"depth": "3", "share": "1e-1", "decode": "7", "pinned": "No"})
    assert chosen == Knobs(3, 0.1, "7", pinned=False)
    assert [type(value) for value in vars(chosen).values()] == [int, float, str, bool]


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("off", False)]
)
def test_words_for_yes_and_no(text: str, value: bool) -> None:
    assert build_options(Factory(), {"pinned": text}).pinned is value


def test_values_from_python_pass_as_they_are() -> None:
    assert build_options(Factory(), {"depth": 3, "pinned": False}) == Knobs(3, pinned=False)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("depth", "x", r"mine\.depth must be a whole number, got 'x'"),
        ("depth", "2.5", r"mine\.depth must be a whole number"),
        ("share", "half", r"mine\.share must be a number, got 'half'"),
        ("pinned", "maybe", r"mine\.pinned must be 1 or 0, got 'maybe'"),
        ("depth", "0", "mine: depth must be 1 or more, got 0"),
        ("dept", "1", "'mine' has no option 'dept'; did you mean 'depth'"),
        ("zzz", "1", "it has: depth, share, decode, pinned"),
    ],
)
def test_a_wrong_name_or_value_says_what_is_right(key: str, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build_options(Factory(), {key: text})


def test_a_loader_without_options_says_so() -> None:
    with pytest.raises(OptionError, match="it has: none"):
        build_options(Plain(), {"depth": "1"})


@pytest.mark.parametrize(
    "name", [name for name in loader_names() if name in ("dali", "torchvision", "webdataset")]
)
@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_every_loader_here_checks_its_prefetch(name: str, text: str) -> None:
    with pytest.raises(OptionError, match=f"{name}.*prefetch"):
        build_options(load_loader(name), {"prefetch": text})


@pytest.mark.parametrize(
    ("name", "key", "text"),
    [
        ("torchvision", "start", "thread"),
        ("webdataset", "shuffle", "0"),
        ("dali", "decode", "tpu"),
        ("dali", "hw_decoder_load", "1.5"),
        ("dali", "hw_decoder_load", "nan"),
        ("replay", "batches", "0"),
    ],
)
def test_knobs_of_one_loader_are_checked_too(name: str, key: str, text: str) -> None:
    with pytest.raises(OptionError, match=f"{key}.*got"):
        build_options(load_loader(name), {key: text})
