"""A certificate is kept for as long as nothing that it depends on has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from recipes import RecipeLoaderFactory

from throughput.certificate import keeping
from throughput.certificate.keeping import cached_certificate
from throughput.contracts import LoaderFactory, Work
from throughput.results import Certificate, Check

Certify = Callable[..., Certificate]


@pytest.fixture
def certify(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certify:
    """Certify the recipe loader, where making a certificate takes no time and is counted by its seconds."""
    monkeypatch.setenv("THROUGHPUT_CACHE", str(tmp_path))
    made: list[Work] = []

    def make(factory: LoaderFactory, options: object, over: Work, **_: object) -> Certificate:  # noqa: ARG001 - its signature
        made.append(over)
        check = Check("train.flip", False, "0 of 10 crops are mirrored", 0.0, 0.4)
        return Certificate(False, (check,), seconds=float(len(made)))

    monkeypatch.setattr(keeping, "make_certificate", make)

    def run(
        name: str = "recipe", *, recertify: bool = False, data: bool = False, **changes: object
    ) -> Certificate:
        return cached_certificate(
            RecipeLoaderFactory(),
            name,
            None,
            replace(work, **changes),  # type: ignore[arg-type] # fields of Work
            data=data,
            recertify=recertify,
        )

    return run


def test_a_second_certificate_is_the_first_one(certify: Certify) -> None:
    first = certify()
    assert not first.cached
    assert certify() == replace(first, cached=True)


def test_it_is_made_anew_on_request(certify: Certify) -> None:
    certify()
    assert certify(recertify=True).seconds == 2
    assert certify().seconds == 2


@pytest.mark.parametrize(
    "change", [{"image_size": 56}, {"seed": 3}, {"compute_dtype": "bfloat16"}, {"data": True}]
)
def test_other_work_has_a_certificate_of_its_own(certify: Certify, change: dict[str, object]) -> None:
    certify()
    assert not certify(**change).cached
    assert certify().cached


def test_other_libraries_have_a_certificate_of_their_own(
    certify: Certify, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify()
    monkeypatch.setattr(keeping, "versions", lambda: {"torch": "99.0"})
    assert not certify().cached


def test_code_that_changes_is_certified_anew(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    certify()
    read = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: read(path) + b"# edited" if path.name == "recipes.py" else read(path)
    )
    assert not certify().cached


def test_a_loader_given_by_its_module_is_certified_each_time(certify: Certify) -> None:
    certify("recipes:RecipeLoaderFactory")
    assert not certify("recipes:RecipeLoaderFactory").cached


@pytest.mark.parametrize(
    "damage", ["", "{", '{"comparable": true}', '{"comparable": null, "checks": []}', "[]"]
)
def test_a_damaged_file_is_made_anew(certify: Certify, tmp_path: Path, damage: str) -> None:
    certify()
    (file,) = (tmp_path / "certificates").glob("*.json")
    assert json.loads(file.read_text())["comparable"] is False
    file.write_text(damage)
    again = certify()
    assert not again.cached
    assert again.seconds == 2
    assert certify().cached
