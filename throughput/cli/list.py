"""``throughput list``: which loaders, models, reports and further commands there are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

import click

from throughput import registry
from throughput.contracts import LoaderFactory, ModelFamily
from throughput.errors import UnknownNameError


@dataclass(frozen=True)
class Entry:
    """A plug-in as it is listed.

    about: one line, for a command its entry point's target. needs: modules that it imports.
    models: names of a family's models. hint: how to get what is missing, or why it is broken.
    """

    name: str
    about: str = ""
    needs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    status: Literal["ok", "missing", "broken"] = "ok"
    hint: str | None = None


@click.command("list")
@click.option("--models", "with_models", is_flag=True, help="Name every model.")
@click.option("--json", "as_json", is_flag=True, help="The same, with every model, as one JSON object.")
def command(*, with_models: bool, as_json: bool) -> None:
    """List loaders, models, reports and the commands that plug-ins add."""
    listing = {
        "loaders": [_loader(name) for name in registry.loader_names()],
        # Naming torchvision's models means importing it, which takes seconds.
        "models": [_family(name, named=with_models or as_json) for name in registry.model_families()],
        "reports": [_report(name) for name in registry.report_names()],
        "commands": [Entry(name, entry.value) for name, entry in registry.extra_commands().items()],
    }
    if as_json:
        click.echo(json.dumps({kind: list(map(asdict, listing[kind])) for kind in listing}, indent=2))
        return
    _print(listing, with_models=with_models)


def _print(listing: dict[str, list[Entry]], *, with_models: bool) -> None:
    from throughput.cli.tables import print_table

    print_table(
        "Loaders",
        ("name", "what it is", "needs", "status"),
        [(entry.name, entry.about, ", ".join(entry.needs), entry.status) for entry in listing["loaders"]],
    )
    print_table(
        "Model families",
        ("name", *(("models",) if with_models else ()), "needs", "status"),
        [
            (
                entry.name,
                *((", ".join(entry.models),) if with_models else ()),
                ", ".join(entry.needs),
                entry.status,
            )
            for entry in listing["models"]
        ],
    )
    print_table(
        "Reports",
        ("name", "what it is", "status"),
        [(entry.name, entry.about, entry.status) for entry in listing["reports"]],
    )
    print_table(
        "Further commands", ("name", "from"), [(entry.name, entry.about) for entry in listing["commands"]]
    )
    # Below the tables, where no column breaks a command that is there to be copied.
    for entry in (entry for entries in listing.values() for entry in entries if entry.hint):
        click.echo(f"{entry.name} ({entry.status}): {entry.hint}")


def _loader(name: str) -> Entry:
    try:
        factory = registry.load_loader(name)
    except UnknownNameError as error:
        return Entry(name, status="broken", hint=str(error))
    hint = _missing(factory)
    return Entry(name, factory.about, _needs(factory), status="missing" if hint else "ok", hint=hint)


def _family(name: str, *, named: bool) -> Entry:
    try:
        family = registry.load_model_family(name)
    except UnknownNameError as error:
        return Entry(name, status="broken", hint=str(error))
    if hint := _missing(family):
        return Entry(name, needs=_needs(family), status="missing", hint=hint)
    if not named:
        return Entry(name, needs=_needs(family))
    try:
        return Entry(name, needs=_needs(family), models=registry.family_model_names(name, family))
    except UnknownNameError as error:
        return Entry(name, needs=_needs(family), status="broken", hint=str(error))


def _report(name: str) -> Entry:
    try:
        return Entry(name, registry.load_report(name).about)
    except UnknownNameError as error:
        return Entry(name, status="broken", hint=str(error))


def _needs(plug_in: LoaderFactory | ModelFamily) -> tuple[str, ...]:
    return tuple(requirement.module for requirement in plug_in.requires)


def _missing(plug_in: LoaderFactory | ModelFamily) -> str | None:
    """How to install what is missing; None where all is there."""
    return ", ".join(requirement.install for requirement in registry.missing_requirements(plug_in)) or None
