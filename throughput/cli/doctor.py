"""``throughput doctor``: what on this machine would make a number wrong or a run fail, and the cure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from throughput.measure.environment import Finding


@click.command("doctor")
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any problem.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
def command(*, strict: bool, as_json: bool) -> None:
    """Look for what would make a number wrong or a run fail, and say what to do about it."""
    from throughput.stdout import stdout_to_stderr

    with stdout_to_stderr():  # libraries talk when they are first imported
        findings = list(examine())
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    if strict and any(finding.problem for finding in findings):
        raise click.exceptions.Exit(1)


def examine() -> Iterator[Finding]:
    """The findings of the core's checks, of every plug-in's needs and of the plug-ins' own diagnoses."""
    from throughput.measure.diagnosis import CHECKS

    for check in CHECKS:
        yield from check()
    yield from _plug_ins()
    yield from _diagnoses()


def _plug_ins() -> Iterator[Finding]:
    """Which loaders and model families load, and what the others lack."""
    from throughput import registry
    from throughput.contracts import LoaderFactory, ModelFamily
    from throughput.errors import UnknownNameError
    from throughput.measure.environment import Finding

    named = [("loader", name) for name in registry.loader_names()]
    named += [("models", name) for name in registry.model_families()]
    for kind, name in named:
        try:
            plug_in: LoaderFactory | ModelFamily = (
                registry.load_loader(name) if kind == "loader" else registry.load_model_family(name)
            )
        except UnknownNameError as error:
            yield Finding(
                f"{kind} {name}", "does not load", str(error), "reinstall the package that offers it"
            )
            continue
        missing = registry.missing_requirements(plug_in)
        if missing:
            modules = ", ".join(requirement.module for requirement in missing)
            cure = ", ".join(requirement.install for requirement in missing)
            yield Finding(f"{kind} {name}", "skipped", f"{modules} is not installed", cure)
        else:
            yield Finding(f"{kind} {name}", "ok")


def _diagnoses() -> Iterator[Finding]:
    from throughput import registry
    from throughput.measure.environment import Finding

    for name, entry in registry.diagnoses().items():
        try:
            yield from list(entry.load()())
        except Exception as error:  # noqa: BLE001 - a plug-in's code may fail in any way
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            yield Finding(name, "cannot be asked", cause, "reinstall the package that offers it")


def _print(findings: list[Finding]) -> None:
    from throughput.cli.tables import print_table

    rows = [("problem" if finding.problem else "ok", finding.name, finding.value) for finding in findings]
    print_table("This machine", ("", "what", "found"), rows)
    # Below the table, where no column breaks a command that is there to be copied.
    problems = [finding for finding in findings if finding.problem]
    for finding in problems:
        click.echo(f"{finding.name}: {finding.problem}")
        if finding.cure:
            click.echo(f"    {finding.cure}")
    if not problems:
        click.echo("No problems found.")
