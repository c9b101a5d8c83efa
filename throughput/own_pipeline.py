"""A pipeline of the user's own as a loader: ``--loader my_package.my_module:make_loader``.

What is pointed at may be any callable (a function, a class, a ``functools.partial``) that returns an
iterable of batches, such as a DataLoader, or the iterable itself. A callable whose first parameter is
called ``work`` or annotated ``Work`` is given the work, and can be held against it: it has a val split,
an expected set of ids and a certificate. Any other is measured as it is.
"""

from __future__ import annotations

import functools
import gc
import inspect
import typing
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from throughput.canonical import epoch_ids
from throughput.contracts import Batch, Loader, LoaderFactory, NoOptions, Work
from throughput.errors import LoaderError, OptionError
from throughput.own_batch import as_batch
from throughput.own_failure import naming_the_place

_END = object()
_MAY_KNOW_THE_EPOCH = ("sampler", "batch_sampler", "dataset")
"""Parts of a DataLoader whose order may depend on the epoch, besides the pipeline itself."""


def can_be_a_pipeline(target: object) -> bool:
    """Whether ``target`` may be, or make, an iterable of batches; nothing is called to find out."""
    if isinstance(target, type):
        return hasattr(target, "__iter__")
    return callable(target) or (hasattr(target, "__iter__") and not isinstance(target, (str, bytes)))


class OwnPipelineFactory(LoaderFactory):
    """Calls what the user named, anew each time it is opened.

    Raises OptionError for a callable that wants arguments which nobody could give.
    """

    about = "a pipeline of your own"
    shares_ranks = False

    def __init__(self, name: str, target: Any) -> None:
        self.name = name
        is_made = isinstance(target, type) or not hasattr(target, "__iter__")
        parameters = _parameters(target) if is_made else []
        self.takes_work = bool(parameters) and _is_work(parameters[0])
        _require_callable_with(name, parameters[1:] if self.takes_work else parameters)
        if not is_made:
            self._make: Callable[[Work], object] = lambda _: target
        elif not self.takes_work:
            self._make = lambda _: target()
        elif parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
            self._make = lambda work: target(**{parameters[0].name: work})
        else:
            self._make = target

    def decode(self, work: Work, options: Any) -> Literal["cpu", "gpu"] | None:  # noqa: ARG002 - part of the contract
        """Only the pipeline's authors know."""
        return None

    @contextmanager
    def open(self, work: Work, options: NoOptions) -> Iterator[Loader]:  # noqa: ARG002 - it has no options
        """Call the callable; leaving the context ends the workers of a DataLoader, and lets go of the rest.

        Raises OptionError where what it returns cannot be iterated over, and LoaderError, with the place
        in the user's code, where it fails.
        """
        pipeline = _OwnPipeline(self.name, functools.partial(self._make, work), work, self.takes_work)
        try:
            yield pipeline
        finally:
            pipeline.close()


def _parameters(target: Any) -> list[inspect.Parameter]:
    """The parameters that take one argument each; none where Python cannot tell, as of some compiled code."""
    try:
        every = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return []
    # What a partial has bound by name is no longer ours to give.
    bound = target.keywords if isinstance(target, functools.partial) else {}
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one for one in every if one.kind not in many and one.name not in bound]


def _is_work(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):  # annotations are not evaluated: that would run the user's code
        names = {name.strip(" '\"").rpartition(".")[2] for name in annotation.split("|")}
        return parameter.name == "work" or "Work" in names
    return parameter.name == "work" or any(one is Work for one in (annotation, *typing.get_args(annotation)))


def _require_callable_with(name: str, parameters: Iterable[inspect.Parameter]) -> None:
    wanted = [one.name for one in parameters if one.default is inspect.Parameter.empty]
    if wanted:
        raise OptionError(
            f"--loader {name} cannot be called: nobody can know what to give it for {', '.join(wanted)}. It "
            "is called with the work where its first parameter is named work, and else with nothing: name a "
            "function that gives the rest"
        )


class _OwnPipeline(Loader):
    """An iterable of whatever the user calls a batch."""

    def __init__(self, name: str, make: Callable[[], object], work: Work, takes_work: bool) -> None:
        self._name = name
        self._make = make
        self._work = work
        self._takes_work = takes_work
        self._running: Iterator[Any] | None = None
        self._begun = False
        self._yielded = False
        self._pipeline = self._made()
        with naming_the_place(name):
            told = _told_samples(self._pipeline)
        self.samples_per_epoch = len(epoch_ids(work, 0)) if takes_work else told

    def epoch(self, index: int) -> Iterator[Batch]:
        """Iterate over the pipeline anew; one that can be iterated over only once is made anew."""
        self._end_running()
        with naming_the_place(self._name):
            self._running = running = self._begin(index)
        first = True
        while True:
            with naming_the_place(self._name):
                item = next(running, _END)
            if item is _END:
                break
            batch = as_batch(item, self._work.channels)
            del item  # its memory is free for a later batch
            self._require_batch_size(len(batch.labels), first)
            first = False
            yield batch
        if first:
            cause = (
                "every epoch iterates over it anew, so each time it must begin from the start"
                if self._yielded
                else "it is empty, or holds less than one batch and drops a smaller last one (drop_last)"
            )
            raise LoaderError(f"the pipeline yielded no batch in epoch {index}: {cause}")
        self._yielded = True

    def close(self) -> None:
        """End what can be asked to end; the rest ends because nothing refers to it any more."""
        self._end_running()
        pipeline, self._pipeline = self._pipeline, None
        if hasattr(getattr(pipeline, "_iterator", None), "_shutdown_workers"):
            pipeline._iterator._shutdown_workers()  # persistent workers; torch offers no public way
            pipeline._iterator = None
        del pipeline
        gc.collect()

    def _made(self) -> Any:
        with naming_the_place(self._name):
            pipeline = self._make()
        if not hasattr(pipeline, "__iter__") and not hasattr(pipeline, "__getitem__"):
            raise OptionError(
                f"--loader {self._name} gives something of type {type(pipeline).__name__}, which cannot be "
                "iterated over: return an iterable of (images, labels) or (images, labels, ids)"
            )
        return pipeline

    def _begin(self, index: int) -> Iterator[Any]:
        if self._begun and isinstance(self._pipeline, Iterator):
            self._pipeline = self._made()
        self._begun = True
        parts = (getattr(self._pipeline, name, None) for name in _MAY_KNOW_THE_EPOCH)
        for part in (self._pipeline, *parts):
            if callable(getattr(part, "set_epoch", None)):
                part.set_epoch(index)
        return iter(self._pipeline)

    def _end_running(self) -> None:
        """End the workers of an epoch that was left early, so that they do not disturb the next."""
        running, self._running = self._running, None
        if running is None or running is getattr(self._pipeline, "_iterator", None):
            return  # persistent workers go on into the next epoch
        if hasattr(running, "_shutdown_workers"):
            running._shutdown_workers()
        elif isinstance(running, Generator):
            with naming_the_place(self._name):
                running.close()

    def _require_batch_size(self, count: int, first: bool) -> None:
        """Raise LoaderError for a batch that is larger than the work's, or begins an epoch and is smaller."""
        wanted = self._work.batch_size
        if count == wanted or (count < wanted and not first):
            return
        if self._takes_work and count == self.samples_per_epoch:
            return  # a whole split that is smaller than a batch
        raise LoaderError(
            f"the pipeline yielded a batch of {count} images, and the work has batches of {wanted}: "
            f"give --batch {count} (batch_size={count}), or make batches of {wanted}"
        )


def _told_samples(pipeline: object) -> int:
    """Samples of an epoch as a DataLoader's sampler or dataset tells them; 0 where nothing does."""
    if getattr(pipeline, "drop_last", False):
        try:
            return len(pipeline) * int(pipeline.batch_size)  # type: ignore[arg-type,attr-defined] # it is asked for
        except (AttributeError, TypeError, NotImplementedError):
            return 0
    for part in ("sampler", "dataset"):
        try:
            return len(getattr(pipeline, part))
        except (AttributeError, TypeError, NotImplementedError):
            continue
    return 0
