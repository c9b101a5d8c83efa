"""Loaders with their own options, model families with their models, and reports."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

import click

from throughput import registry
from throughput.cli.shared_options import augmentation_options
from throughput.contracts import Augmentation, LoaderFactory, ModelFamily, Requirement
from throughput.errors import UnknownNameError
from throughput.reference.commands import option_table
from throughput.reference.docstrings import told
from throughput.reference.markdown import Section, code, paragraphs, prose, table
from throughput.reference.origin import own_names

_KINDS = {int: "whole number", float: "number", bool: "`1` or `0`", str: "text"}


def loader_sections(*, everything: bool) -> Iterator[Section]:
    """A table of all, then the options of each that has some."""
    names = registry.loader_names() if everything else own_names(registry.LOADERS, registry.loader_names())
    loaders: list[LoaderFactory] = []
    rows: list[tuple[str, ...]] = []
    for name in names:
        try:
            loader = registry.load_loader(name)
        except UnknownNameError as error:
            rows.append((code(name), prose(str(error)), ""))
            continue
        rows.append((code(name), prose(loader.about), _needs(loader.requires)))
        loaders.append(loader)
    yield Section(
        2,
        "Loaders",
        paragraphs(
            table(("name", "what it is", "needs"), rows),
            "A loader's own options are given as `--opt LOADER.KEY=VALUE`, once for each; in Python as "
            '`options={"KEY": VALUE}` of `throughput.open_loader`, and by loader name of `throughput.bench`.',
        ),
    )
    for loader in loaders:
        if fields(loader.Options):
            yield Section(3, f"Loader {loader.name}", loader_options(loader), short=loader.name)


def loader_options(loader: LoaderFactory) -> str:
    """The table of a loader's own options."""
    words = told(loader.Options).fields
    kinds = typing.get_type_hints(loader.Options)
    return table(
        ("option", "value", "default", "what it does"),
        [
            (
                code(f"{loader.name}.{field.name}"),
                _KINDS.get(kinds[field.name], "text"),
                code(_default(field)),
                prose(words.get(field.name, "")),
            )
            for field in fields(loader.Options)
        ],
    )


def augmentation_section() -> Section:
    """What is done to train images, from the command line and from Python."""

    @click.command()
    @augmentation_options
    def command(**_: Any) -> None: ...

    words = told(Augmentation)
    return Section(
        2,
        "Augmentation",
        paragraphs(
            prose(words.about),
            option_table(command),
            "From Python it is `throughput.contracts.Augmentation`:",
            table(
                ("field", "default", "what it is"),
                [
                    (code(field.name), code(_default(field)), prose(words.fields.get(field.name, "")))
                    for field in fields(Augmentation)
                ],
            ),
        ),
    )


def model_section(*, everything: bool) -> Section:
    """The families; the models of those that are defined here, by name."""
    names = registry.model_families() if everything else own_names(registry.MODELS, registry.model_families())
    return Section(
        2,
        "Models",
        paragraphs(
            "`--model` takes any of these names, or `package.module:callable`, which is called with the "
            "numbers of classes and of channels. Images come in the size that the model is made for, unless "
            "`--size` says otherwise.",
            table(
                ("family", "what it is", "models", "needs"),
                [_family(name, everything=everything) for name in names],
            ),
        ),
    )


def report_section(*, everything: bool) -> Section:
    """The formats."""
    names = registry.report_names() if everything else own_names(registry.REPORTS, registry.report_names())
    return Section(2, "Reports", table(("name", "what it is"), [_report(name) for name in names]))


def _family(name: str, *, everything: bool) -> tuple[str, ...]:
    try:
        family = registry.load_model_family(name)
    except UnknownNameError as error:
        return code(name), prose(str(error)), "", ""
    about = prose((type(family).__doc__ or "").partition("\n\n")[0])
    return code(name), about, _models(name, family, everything=everything), _needs(family.requires)


def _models(name: str, family: ModelFamily, *, everything: bool) -> str:
    """Names and image sizes. A library's names differ with its version: they are told only if asked for."""
    if family.requires and not everything:
        return "`throughput list --models` names them"
    try:
        models = registry.family_model_names(name, family)
    except UnknownNameError as error:
        return prose(str(error))
    return ", ".join(f"{code(model)} ({family.image_size(model)} px)" for model in models)


def _report(name: str) -> tuple[str, str]:
    try:
        return code(name), prose(registry.load_report(name).about)
    except UnknownNameError as error:
        return code(name), prose(str(error))


def _needs(requires: tuple[Requirement, ...]) -> str:
    return ", ".join(f"{code(one.module)}: {prose(one.install)}" for one in requires)


def _default(field: Field[Any]) -> str:
    """As it is written in ``--opt``; a tuple as numbers with commas between them."""
    if field.default is MISSING:
        return ""
    if isinstance(field.default, bool):
        return str(int(field.default))
    if isinstance(field.default, tuple):
        return ", ".join(f"{value:.4g}" for value in field.default)
    return str(field.default)
