"""Certificates of earlier runs: kept for as long as nothing that they depend on has changed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import platform
import sys
from dataclasses import asdict, is_dataclass, replace
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import throughput
from throughput.cache import cache_folder, require_own, whole_file
from throughput.certificate.making import MOST_BATCH, MOST_WORKERS, make_certificate
from throughput.contracts import LoaderFactory, Progress, Work, no_progress
from throughput.measure.environment import libjpeg_turbo_version, versions
from throughput.results import Certificate, Check


def kept_certificate(
    factory: LoaderFactory, name: str, options: Any, work: Work, *, data: bool
) -> Certificate | None:
    """What an earlier run found for the same loader, options, work and libraries; None where none did.

    A loader that is given as ``module:attribute`` has none: its code may have changed in ways that nobody can
    see. Raises RoomError.
    """
    path = _place(factory, name, options, work, data=data)
    return None if path is None else _read(path)


def cached_certificate(
    factory: LoaderFactory,
    name: str,
    options: Any,
    work: Work,
    *,
    data: bool,
    recertify: bool,
    progress: Progress = no_progress,
) -> Certificate:
    """``kept_certificate``, unless it is to be made anew (``recertify``); else one that is made, and kept.

    Raises RoomError.
    """
    path = _place(factory, name, options, work, data=data)
    if path is not None and not recertify and (kept := _read(path)) is not None:
        return kept
    made = make_certificate(factory, options, work, data=data, progress=progress)
    # A loader that broke off may have done so for want of memory: that is no property of its code.
    broke_off = any(check.name.endswith(".run") for check in made.failed)
    if path is not None and made.comparable is not None and not broke_off:
        with contextlib.suppress(OSError), whole_file(path) as file:  # it is made anew next time
            file.write(json.dumps(asdict(made)).encode())
    return made


def _place(factory: LoaderFactory, name: str, options: Any, work: Work, *, data: bool) -> Path | None:
    """The file of a certificate; None for a loader of which none is kept."""
    if ":" in name:
        return None
    return cache_folder("certificates") / f"{_digest(factory, name, options, work, data=data)}.json"


def _read(path: Path) -> Certificate | None:
    """A kept certificate; None where there is none, or its file is damaged."""
    try:
        require_own(path)
        stored = json.loads(path.read_bytes())
        checks = tuple(Check(**check) for check in stored.pop("checks"))
        certificate = Certificate(**stored, checks=checks)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not isinstance(certificate.comparable, bool) or not checks:
        return None
    return replace(certificate, cached=True)


def _digest(factory: LoaderFactory, name: str, options: Any, work: Work, *, data: bool) -> str:
    """Of all that a certificate depends on."""
    depends_on = {
        "loader": name,
        "options": asdict(options)
        if is_dataclass(options) and not isinstance(options, type)
        else repr(options),
        "image_size": work.image_size,
        "channels": work.channels,
        "batch_size": min(work.batch_size, MOST_BATCH),
        "workers": min(work.workers, MOST_WORKERS),
        "device": work.device.partition(":")[0],
        "decode": factory.decode(work, options),
        "compute_dtype": work.compute_dtype,
        "augmentation": asdict(work.augmentation),
        "mean": work.mean,
        "std": work.std,
        "seed": work.seed,
        "data": [work.source.fingerprint, _digest_of_ids(work)] if data else None,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libjpeg_turbo": libjpeg_turbo_version(),
        "versions": versions() | _loader_versions(factory),
        "code": _code(factory),
    }
    if work.device.startswith("cuda"):
        import torch

        depends_on["gpu"] = torch.cuda.get_device_name(work.device)
    text = json.dumps(depends_on, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _digest_of_ids(work: Work) -> str:
    """Of the held-out ids: the same images may be split otherwise."""
    return hashlib.blake2b(work.source.ids("val").tobytes(), digest_size=16).hexdigest()


def _loader_versions(factory: LoaderFactory) -> dict[str, str]:
    """Versions of the distributions that hold the loader and what it requires."""
    modules = [type(factory).__module__, *(requirement.module for requirement in factory.requires)]
    holding = packages_distributions()
    found = {}
    for module in modules:
        for distribution in holding.get(module.partition(".")[0], ()):
            try:
                found[distribution] = version(distribution)
            except PackageNotFoundError:
                continue
    return found


def _code(factory: LoaderFactory) -> str:
    """Digest of the source files of this package and of the loader's: an editable one changes unversioned."""
    files: set[Path] = set()
    for folder in throughput.__path__:
        # In a checkout the second entry is the repository's root, which holds more than the package.
        root = Path(folder)
        if root.name == "throughput" and root == Path(throughput.__file__).parent:
            files |= set(root.rglob("*.py"))
    module = sys.modules.get(type(factory).__module__)
    files |= _package_files(type(factory).__module__)
    if module is not None and getattr(module, "__file__", None):
        files.add(Path(str(module.__file__)))
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(files):
        try:
            content = file.read_bytes()
        except OSError:
            continue
        digest.update(f"{file}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _package_files(module: str) -> set[Path]:
    """The .py files beside a module in its package; none of a module that stands alone."""
    package = module.rpartition(".")[0]
    if not package:
        return set()
    spec = importlib.util.find_spec(package)
    locations = [] if spec is None else spec.submodule_search_locations or []
    if package == "throughput":
        return set()  # all of it is looked at anyway
    return {file for location in locations for file in Path(location).rglob("*.py")}
