"""A loader that was handed over as an object, not by name: a DataLoader, a function, a LoaderFactory.

Everything is measured in fresh processes, so the object travels to them, pickled by cloudpickle, which takes
lambdas, closures and what a test file defines as well.
"""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from throughput.errors import OptionError, first_line


class GivenPipeline(str):
    """The name of a loader that was handed over; the loader itself travels with it.

    It is a text like any other loader's name, and is shown as such.
    """

    pickled: bytes

    def __new__(cls, name: str, pickled: bytes) -> GivenPipeline:
        """pickled: what ``loader`` unpickles."""
        made = super().__new__(cls, name)
        made.pickled = pickled
        return made

    def __reduce__(self) -> tuple[type[GivenPipeline], tuple[str, bytes]]:
        """Travel whole."""
        return (GivenPipeline, (str(self), self.pickled))

    @functools.cached_property
    def loader(self) -> Any:
        """A copy of what was handed over. Raises OptionError where it cannot be made in this process."""
        try:
            return pickle.loads(self.pickled)  # our own process, or our parent, pickled it
        except Exception as error:
            raise OptionError(
                f"{self} cannot be made in a fresh process ({first_line(error)}): hand over a function that "
                "makes it, from a module that can be imported"
            ) from error


def name_of(loader: Any, test_modules: Iterable[ModuleType] = ()) -> str:
    """A name to measure ``loader`` by: its own if it is a text, else ``given:...``, with the object in it.

    test_modules: modules that a fresh process may be unable to import, as a test runner loads them. Raises
    OptionError for what cannot be pickled.
    """
    if isinstance(loader, str):
        return loader
    return GivenPipeline(f"given:{_called(loader)}", _pickled(loader, test_modules))


def told_apart(names: Iterable[str]) -> list[str]:
    """The same names, numbered where several objects came by the same."""
    told: list[str] = []
    for name in names:
        number, shown = 1, name
        while isinstance(name, GivenPipeline) and any(_is_another(shown, other) for other in told):
            number += 1
            shown = GivenPipeline(f"{name} {number}", name.pickled)
        told.append(shown)
    return told


def _is_another(one: str, other: str) -> bool:
    """Whether two objects came by the same name."""
    both = isinstance(one, GivenPipeline) and isinstance(other, GivenPipeline)
    return one == other and both and one.pickled != other.pickled  # type: ignore[attr-defined] # as both says


def _called(loader: Any) -> str:
    while isinstance(loader, functools.partial):
        loader = loader.func
    if not hasattr(loader, "__name__"):
        loader = type(loader)
    return str(loader.__name__).strip("<>")


def _pickled(loader: Any, test_modules: Iterable[ModuleType]) -> bytes:
    import cloudpickle

    by_value = [module for module in test_modules if sys.modules.get(module.__name__) is module]
    registered = set(cloudpickle.list_registry_pickle_by_value())
    for module in by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(loader))
    except Exception as error:
        raise OptionError(
            f"{_called(loader)} cannot be handed to the fresh process that measures it "
            f"({first_line(error)}): hand over a function that makes it"
        ) from error
    finally:
        for module in by_value:
            if module.__name__ not in registered:
                cloudpickle.unregister_pickle_by_value(module)
