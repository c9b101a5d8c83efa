"""The whole page."""

from __future__ import annotations

from throughput.reference.commands import command_sections, commands, exit_section
from throughput.reference.json_keys import json_sections
from throughput.reference.markdown import document
from throughput.reference.plug_ins import augmentation_section, loader_sections, model_section, report_section
from throughput.reference.pytest_part import pytest_sections
from throughput.reference.surroundings import environment_section

OPENING = (
    "Every command, option, name and key of `throughput`, as `throughput reference` prints it from the code: "
    "`throughput reference > REFERENCE.md` renews it. How to begin is told in [README.md](README.md)."
)


def reference(*, everything: bool = False) -> str:
    """The page, Markdown: the same on every machine.

    everything: with the plug-ins of other packages that are installed, and with the names of all models.
    """
    known = commands(everything=everything)
    return document(
        "Reference",
        OPENING,
        [
            *command_sections(known),
            exit_section(known),
            *loader_sections(everything=everything),
            augmentation_section(),
            model_section(everything=everything),
            report_section(everything=everything),
            *pytest_sections(),
            environment_section(),
            *json_sections(),
        ],
    )
