"""A certificate in this process: of whatever loader, an answer comes back."""

from __future__ import annotations

import torch

from throughput.certificate import cached_certificate
from throughput.errors import ThroughputError, UnknownNameError
from throughput.measure.block import device_uuid
from throughput.measure.environment import usable_cores
from throughput.measure.events import Doing, Finished, Started, Tell
from throughput.measure.plan import Certification
from throughput.options import build_options
from throughput.registry import load_loader
from throughput.results import Certificate


def certify(task: Certification, tell: Tell) -> None:
    """Certify a loader and tell of it; the last event is Finished, whatever went wrong."""
    try:
        tell(Started(device_uuid(task.work.device)))
        torch.set_num_threads(usable_cores())
        tell(Finished(_certificate(task, tell)))
    except Exception as error:  # noqa: BLE001 - a backend may fail in any way, and that is no certificate
        words = str(error) if isinstance(error, ThroughputError) else f"{type(error).__name__}: {error}"
        tell(Finished(Certificate(None, reason=" ".join(words.split()))))


def _certificate(task: Certification, tell: Tell) -> Certificate:
    try:
        factory = load_loader(task.loader)
    except UnknownNameError as error:
        return Certificate(None, reason=str(error))
    return cached_certificate(
        factory,
        task.loader,
        build_options(factory, task.options),
        task.work,
        data=task.data,
        recertify=task.recertify,
        progress=lambda text, done, total: tell(Doing(text, done, total)),
    )
