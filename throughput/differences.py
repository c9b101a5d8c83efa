"""What two runs of the bench do not have in common: machine, work, versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MACHINE = ("cpu_model", "cores_usable", "memory_bytes", "gpus")
_SAME_MEMORY = 0.03
"""Memory that differs by a smaller share is the same: a kernel keeps a little more or less for itself."""
_SOFTWARE = ("python", "os", "libjpeg_turbo", "git_commit")
_NOT_WORK = ("phases", "budget")


@dataclass(frozen=True)
class Difference:
    """What two runs do not have in common; None where a file does not tell."""

    name: str
    a: Any
    b: Any


def differing(
    a: Mapping[str, Any], b: Mapping[str, Any], names: Iterable[str], prefix: str = ""
) -> Iterator[Difference]:
    """Those of ``names`` whose values differ, the prefix before each name."""
    for name in names:
        if a.get(name) != b.get(name):
            yield Difference(prefix + name, a.get(name), b.get(name))


def machine_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """What makes two environments two machines."""
    machine_a, machine_b = ({**environment, "gpus": _gpus(environment)} for environment in (a, b))
    for difference in differing(machine_a, machine_b, _MACHINE):
        sizes = (difference.a, difference.b)
        if difference.name == "memory_bytes" and all(isinstance(size, (int, float)) for size in sizes):
            if abs(difference.a - difference.b) > _SAME_MEMORY * max(sizes):
                yield difference
        else:
            yield difference


def work_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """What differs in the work, but for how long and in which phases it was measured.

    A cold pass begins with the opening of the loader, so that its rate depends on how long it is.
    """
    cold = "cold" in (a.get("cache"), b.get("cache"))
    not_work = [name for name in _NOT_WORK if not (cold and name == "budget")]
    if a.get("source_fingerprint") is not None and a.get("source_fingerprint") == b.get("source_fingerprint"):
        not_work.append("source")  # the same files by another path
    yield from differing(a, b, [name for name in _names(a, b) if name not in not_work])


def software_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """Versions that differ: not another machine, and often the very thing that is compared."""
    versions_a, versions_b = a.get("versions") or {}, b.get("versions") or {}
    yield from differing(versions_a, versions_b, _names(versions_a, versions_b))
    yield from differing(a, b, _SOFTWARE)


def describe_difference(difference: Difference, a: str = "A", b: str = "B") -> str:
    """``workers is 2 in A, 4 in B``, the runs called so."""
    sides = (
        f"{_shown(difference.name, value)} in {side}"
        for side, value in ((a, difference.a), (b, difference.b))
    )
    return f"{difference.name} is {', '.join(sides)}"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "not told"
    if name.endswith("_bytes") and isinstance(value, (int, float)):
        return f"{value / 1e9:.1f} GB"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    text = str(value)
    return f"{text[:12]}..." if name.endswith(("fingerprint", "commit")) and len(text) > 15 else text


def _gpus(environment: Mapping[str, Any]) -> list[str]:
    """Name and driver of each GPU; the rest, such as the clocks of the moment, is no other machine."""
    return [f"{gpu.get('name')} (driver {gpu.get('driver')})" for gpu in environment.get("gpus") or ()]


def _names(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*a, *b]))
