"""Name -> entry point, loaded when chosen: how the core finds what it knows nothing about.

A plug-in is an entry point of an installed distribution. The target in the groups of loaders, models
and reports is a class without constructor arguments, or an instance. Listing names imports nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial, reduce
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from throughput.contracts import IMAGE_SIZE, LoaderFactory, ModelFamily, Report, Requirement, Work
from throughput.errors import OptionError, UnknownNameError
from throughput.given_pipeline import GivenPipeline

if TYPE_CHECKING:
    from torch.nn import Module

LOADERS = "throughput.loaders"
MODELS = "throughput.models"
REPORTS = "throughput.reports"
COMMANDS = "throughput.commands"
DIAGNOSES = "throughput.diagnoses"

LISTED_NAMES = 40
"""A message lists all names up to this many; beyond, it points at the command that does."""


class Requiring(Protocol):
    """A loader factory or a model family."""

    @property
    def requires(self) -> tuple[Requirement, ...]: ...


@runtime_checkable
class Prefixed(Protocol):
    """A model family whose models are all named PREFIX:NAME, after the name that it is registered under."""

    prefix: str


def loader_names() -> tuple[str, ...]:
    """Names of the registered loaders: those of this package first, then the others, by name."""
    return tuple(_entries(LOADERS))


def model_families() -> tuple[str, ...]:
    """Names of the registered model families, in the order in which a model is searched."""
    return tuple(_entries(MODELS))


def report_names() -> tuple[str, ...]:
    """Names of the registered reports."""
    return tuple(_entries(REPORTS))


def extra_commands() -> dict[str, EntryPoint]:
    """Commands that belong to a plug-in: name -> entry point of a ``click.Command``."""
    return _entries(COMMANDS)


def diagnoses() -> dict[str, EntryPoint]:
    """What plug-ins tell ``doctor``: name -> entry point of a ``Callable[[], Iterable[Finding]]``."""
    return _entries(DIAGNOSES)


def load_loader(name: str) -> LoaderFactory:
    """The loader of that name, or the one that ``package.module:attribute`` points at.

    The second form needs no registration; the current directory can be imported from, as with
    ``python -m``. What it points at, or what a ``GivenPipeline`` carries, is a LoaderFactory, or a pipeline
    of the user's own: see ``throughput.own_pipeline``. Raises UnknownNameError; OptionError for a callable
    that cannot be called.
    """
    if isinstance(name, GivenPipeline):
        return _own_loader(name, name.loader)
    if ":" not in name:
        registered: LoaderFactory = _load(_choose(LOADERS, "loader", name), "loader", LoaderFactory)
        return registered
    _let_import_from_here()
    return _own_loader(name, _target(EntryPoint(name, name, LOADERS), "loader"))


def _own_loader(name: str, target: Any) -> LoaderFactory:
    """What a user's object is as a loader. Raises UnknownNameError; OptionError as ``load_loader``."""
    if isinstance(target, LoaderFactory):
        return target
    if _is_factory_class(target):
        try:
            factory: LoaderFactory = target()
        except Exception as error:  # a plug-in's code may fail in any way
            raise UnknownNameError(f"cannot load the loader {name!r}: {_cause(error)}") from error
        return factory
    from throughput.own_pipeline import OwnPipelineFactory, can_be_a_pipeline

    if not can_be_a_pipeline(target):
        raise UnknownNameError(
            f"the loader {name!r} is not a LoaderFactory, nor a callable that returns an iterable of batches"
        )
    return OwnPipelineFactory(name, target)


def _is_factory_class(target: object) -> bool:
    return isinstance(target, type) and issubclass(target, LoaderFactory)


def load_model_family(name: str) -> ModelFamily:
    """The model family that is registered under ``name``. Raises UnknownNameError."""
    family: ModelFamily = _load(_choose(MODELS, "model family", name), "model family", ModelFamily)
    return family


def load_report(name: str) -> Report:
    """The report that is registered under ``name``. Raises UnknownNameError."""
    report: Report = _load(_choose(REPORTS, "report", name), "report", Report)
    return report


def load_model_family_for(model_name: str) -> ModelFamily:
    """The first family that has a model of that name.

    ``FAMILY:NAME`` asks the family that is registered under that name, and no other.
    ``package.module:attribute`` needs no registration: a callable (num_classes, channels) -> Module, or a
    family of one model. What it points at comes as a family whose one model has that name.
    A family that lacks a library or cannot be loaded is passed over, and named in the
    UnknownNameError if no other has the model.
    """
    if is_pointed_at(model_name):
        return _pointed_at_model(model_name)
    if ":" in model_name:
        return _family_with(model_name.partition(":")[0], model_name)
    known: list[str] = []
    passed_over: list[str] = []
    for family_name in model_families():
        try:
            family = load_model_family(family_name)
            if isinstance(family, Prefixed):
                continue  # to name its models would import its library
            names = family_model_names(family_name, family)
        except UnknownNameError as error:
            passed_over.append(str(error))
            continue
        if model_name in names:
            return family
        known.extend(names)
    raise UnknownNameError("; ".join([_unknown("model", model_name, known), *passed_over]))


def is_pointed_at(model_name: str) -> bool:
    """Whether it is ``package.module:attribute``: code that is imported and called by this name."""
    family_name, colon, _ = model_name.partition(":")
    return bool(colon) and family_name not in model_families()


def _family_with(family_name: str, model_name: str) -> ModelFamily:
    """The family of a prefix, if it has the model."""
    family = load_model_family(family_name)
    names = family_model_names(family_name, family)
    if model_name not in names:
        raise UnknownNameError(_unknown("model", model_name, names))
    return family


class _OneModel(ModelFamily):
    """A family of one model, built by calling ``make`` with the numbers of classes and of channels."""

    def __init__(self, name: str, make: Callable[[int, int], Module], image_size: int = IMAGE_SIZE) -> None:
        self._name = name
        self._make = make
        self._image_size = image_size

    def names(self) -> tuple[str, ...]:
        return (self._name,)

    def build(self, name: str, num_classes: int, channels: int) -> Module:  # noqa: ARG002 - there is one model
        return self._make(num_classes, channels)

    def image_size(self, name: str) -> int:  # noqa: ARG002 - as above
        return self._image_size


def _pointed_at_model(name: str) -> ModelFamily:
    _let_import_from_here()
    target = _target(EntryPoint(name, name, MODELS), "model")
    if isinstance(target, type) and issubclass(target, ModelFamily):
        target = target()
    if not isinstance(target, ModelFamily):
        if not callable(target):
            raise UnknownNameError(
                f"the model {name!r} is not a callable (num_classes, channels) -> Module, but {target!r}"
            )
        return _OneModel(name, target)
    models = family_model_names(name, target)
    if len(models) != 1:
        raise UnknownNameError(
            f"the model family {name!r} has {len(models)} models ({', '.join(models)}): "
            "point at a callable (num_classes, channels) -> Module that builds one of them"
        )
    return _OneModel(name, partial(target.build, models[0]), target.image_size(models[0]))


def family_model_names(name: str, family: ModelFamily) -> tuple[str, ...]:
    """The family's models. Raises UnknownNameError, with the cure, where they cannot be had."""
    if missing := missing_requirements(family):
        raise UnknownNameError(
            f"the model family {name!r} needs {', '.join(r.module for r in missing)}: "
            + ", ".join(r.install for r in missing)
        )
    try:
        return family.names()
    except Exception as error:  # a plug-in's library may fail in any way when it is first imported
        raise UnknownNameError(
            f"the model family {name!r} cannot name its models: {_cause(error)}"
        ) from error


def missing_requirements(plug_in: Requiring) -> tuple[Requirement, ...]:
    """What a loader factory or a model family needs and this Python cannot find; imports nothing."""
    return tuple(requirement for requirement in plug_in.requires if not _can_find(requirement.module))


def _can_find(module: str) -> bool:
    """Whether ``module`` could be imported. ``importlib.util.find_spec`` would import its parents."""
    if module in sys.modules:
        return sys.modules[module] is not None
    top, *parts = module.split(".")
    found = getattr(sys.modules.get(top), "__spec__", None) or importlib.util.find_spec(top)
    for end in range(2, len(parts) + 2):
        if found is None or found.submodule_search_locations is None:
            return False
        found = PathFinder.find_spec(
            ".".join(module.split(".")[:end]), list(found.submodule_search_locations)
        )
    return found is not None


def _entries(group: str) -> dict[str, EntryPoint]:
    """The group's entry points, this package's first: nobody else can take over one of its names."""
    ordered = sorted(
        entry_points(group=group),
        key=lambda entry: (entry.dist is None or entry.dist.name != "throughput", entry.name),
    )
    entries: dict[str, EntryPoint] = {}
    for entry in ordered:
        entries.setdefault(entry.name, entry)
    return entries


def _choose(group: str, kind: str, name: str) -> EntryPoint:
    entries = _entries(group)
    if name not in entries:
        raise UnknownNameError(_unknown(kind, name, entries))
    return entries[name]


def _load(entry: EntryPoint, kind: str, contract: type[Any]) -> Any:
    target = _target(entry, kind)
    try:
        plug_in = target() if isinstance(target, type) else target
    except Exception as error:  # a plug-in's code may fail in any way
        raise UnknownNameError(_not_loaded(entry, kind, error)) from error
    if not isinstance(plug_in, contract):
        raise UnknownNameError(f"the {kind} {entry.name!r}: {entry.value} is not a {contract.__name__}")
    return plug_in


def _target(entry: EntryPoint, kind: str) -> Any:
    """What the entry point names, as it is."""
    module, _, attribute = entry.value.partition(":")
    try:
        return reduce(getattr, attribute.split("."), importlib.import_module(module))
    except Exception as error:  # a plug-in's code may fail in any way
        raise UnknownNameError(_not_loaded(entry, kind, error)) from error


def _not_loaded(entry: EntryPoint, kind: str, error: Exception) -> str:
    return f"cannot load the {kind} {entry.name!r} from {entry.value}: {_cause(error)}"


def _let_import_from_here() -> None:
    """Let the current directory be imported from, as with ``python -m``."""
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    nearest = get_close_matches(name, names, n=1)
    question = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    if len(names) > LISTED_NAMES:
        listing = f"`throughput list --models` names all {len(names)}"
    else:
        listing = f"known: {', '.join(names) or 'none'}"
    return f"no {kind} is called {name!r}{question}; {listing}"


def _cause(error: Exception) -> str:
    """The error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def require_usable(factory: LoaderFactory, work: Work) -> None:
    """Raise OptionError where a loader lacks a library, or cannot do this work here."""
    missing = missing_requirements(factory)
    if missing:
        raise OptionError(
            f"the loader {factory.name!r} needs "
            + ", ".join(f"{requirement.module} ({requirement.install})" for requirement in missing)
        )
    reason = factory.why_not(work)
    if reason is not None:
        raise OptionError(f"the loader {factory.name!r} cannot do this here: {reason}")
