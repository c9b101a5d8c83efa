"""onnxruntime sessions: on which provider one really runs, and why not on the one that was asked for."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from throughput.errors import OptionError, ThroughputError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""As users name them, and as onnxruntime does."""
AUTO = "auto"

_CURES = {
    "cuda": 'pip install "onnxruntime-gpu[cuda,cudnn]", and let `throughput doctor` look',
    "tensorrt": "pip install tensorrt-cu12, or choose --provider cuda",
}
_RECORD_PLACES = "session.record_ep_graph_assignment_info"
"""Session option (onnxruntime_session_options_config_keys.h): remember which provider took which node."""
_MISSING = re.compile(r"(lib[\w.+-]+?\.so[\w.]*): cannot open shared object file")
_ERRORS_ONLY = 3


class ProviderError(ThroughputError):
    """The provider that was asked for does not run here."""


@dataclass(frozen=True)
class Session:
    """An open session. provider: as users name it. chosen: why that one, where it was left to us.

    nodes, fallback_nodes: as of ``Runtime``. on_our_stream: it works on a CUDA stream of the caller's.
    """

    session: Any
    provider: str
    chosen: str | None
    threads: int
    nodes: int | None
    fallback_nodes: int | None
    on_our_stream: bool = False


def require_provider(asked: str) -> None:
    """Raise OptionError for a name that no provider has."""
    if asked != AUTO and asked not in PROVIDERS:
        raise OptionError(f"--provider must be {AUTO}, {', '.join(PROVIDERS)}, got {asked!r}")


def require_torch_there(provider: str) -> None:
    """Raise ProviderError where torch cannot make batches ready on the provider's GPU."""
    import torch

    if not torch.cuda.is_available():
        raise ProviderError(
            f"--provider {provider} runs on a GPU that torch does not find, where batches are made ready: "
            "install torch with CUDA, or choose --provider cpu"
        )


def open_session(
    model: bytes,
    asked: str,
    threads: int,
    *,
    device_index: int = 0,
    cuda_graph: bool = False,
    stream: int | None = None,
) -> Session:
    """A session that runs on the provider that was asked for, or none. threads: for one operation.

    ``auto``: CUDA where torch finds a GPU and it opens, else the CPU. stream: the CUDA stream to work on, as
    ``torch.cuda.Stream.cuda_stream``. Raises ProviderError, naming the library that is missing; OptionError
    for a model that onnxruntime does not take.
    """
    require_provider(asked)
    opened = _Opening(model, threads, device_index, cuda_graph, stream)
    if asked != AUTO:
        return opened.on(asked, None)
    import torch

    if not torch.cuda.is_available():
        return opened.on("cpu", "torch finds no GPU")
    try:
        return opened.on("cuda", "torch finds a GPU")
    except ProviderError as error:
        return opened.on("cpu", f"CUDA does not open: {error}")


def run_options(entries: Mapping[str, str]) -> Any:
    """onnxruntime's options of a single run."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    for key, value in entries.items():
        options.add_run_config_entry(key, value)
    return options


@dataclass(frozen=True)
class _Opening:
    model: bytes
    threads: int
    device_index: int
    cuda_graph: bool
    stream: int | None

    def on(self, provider: str, chosen: str | None) -> Session:
        """The session, if it runs where it is to."""
        name = PROVIDERS[provider]
        with heard() as said:
            import onnxruntime

            if name not in onnxruntime.get_available_providers():
                raise ProviderError(
                    f"--provider {provider}: the onnxruntime that is installed was built without it: "
                    f"pip uninstall onnxruntime onnxruntime-gpu, then {_CURES[provider]}"
                )
            if provider != "cpu" and hasattr(onnxruntime, "preload_dlls"):
                # The CUDA libraries lie in wheels of their own, where the dynamic linker does not look.
                onnxruntime.preload_dlls()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.log_severity_level = _ERRORS_ONLY
            options.add_session_config_entry(_RECORD_PLACES, "1")
            failure: Exception | None = None
            try:
                # The CPU stands behind it for single nodes, which are counted; a session that runs there
                # as a whole is refused below.
                session = onnxruntime.InferenceSession(
                    self.model, options, providers=self._providers(provider), enable_fallback=0
                )
                running = session.get_providers()[0]
            except Exception as error:  # noqa: BLE001 - onnxruntime's have no class in common
                session, running, failure = None, None, error
        if failure is not None and provider == "cpu":
            raise OptionError(f"onnxruntime does not take this model: {_one_line(failure)}") from failure
        if running != name:
            raise ProviderError(
                f"--provider {provider} does not run here: {_cause(said(), failure, provider)}"
            )
        nodes, elsewhere = _places(session, name)
        if nodes is not None and nodes == elsewhere and nodes > 0:
            raise ProviderError(
                f"--provider {provider} took none of the {nodes} nodes of this model: it would run "
                "elsewhere; choose the provider that has these operators, or export the model otherwise"
            )
        on_our_stream = provider != "cpu" and self.stream is not None
        return Session(session, provider, chosen, self.threads, nodes, elsewhere, on_our_stream)

    def _providers(self, provider: str) -> list[str | tuple[str, dict[str, str]]]:
        if provider == "cpu":
            return [PROVIDERS["cpu"]]
        # TensorFloat-32 keeps 10 bits of fp32's 23: what is called fp32 is fp32.
        cuda = {"device_id": str(self.device_index), "use_tf32": "0"}
        if self.cuda_graph:
            cuda["enable_cuda_graph"] = "1"
        if self.stream is not None:
            cuda["user_compute_stream"] = str(self.stream)
        wanted: list[str | tuple[str, dict[str, str]]] = [(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]
        if provider == "tensorrt":
            shared = ("device_id", "user_compute_stream")
            tensorrt = {name: cuda[name] for name in shared if name in cuda}
            wanted.insert(0, (PROVIDERS["tensorrt"], tensorrt))
        return wanted


def _places(session: Any, name: str) -> tuple[int | None, int | None]:
    """How many nodes the session has, and how many of them another provider than ``name`` took.

    On the CPU alone there is no other. None where onnxruntime does not tell.
    """
    try:
        # From onnxruntime 1.24 on.
        parts = session.get_provider_graph_assignment_info()
        places = [(part.ep_name, len(part.get_nodes())) for part in parts]
    except Exception:  # noqa: BLE001 - a build that does not record them fails in its own way
        return None, 0 if name == PROVIDERS["cpu"] else None
    return sum(nodes for _, nodes in places), sum(nodes for one, nodes in places if one != name)


def _cause(said: str, failure: Exception | None, provider: str) -> str:
    """Why a provider did not load, and what to do, from what onnxruntime said on stderr and raised."""
    missing = _MISSING.findall(f"{said}\n{failure or ''}")
    if missing and missing[-1].startswith("libcuda."):
        return (
            f"there is no NVIDIA driver (its library {missing[-1]} is missing): install it, or choose "
            "--provider cpu"
        )
    if missing:
        # The last is what the provider itself lacks; before it is told what was looked for in vain elsewhere.
        return f"the library {missing[-1]} is missing: {_CURES[provider]}"
    if failure is not None:
        return _one_line(failure)
    telling = [line for line in said.splitlines() if re.search(r"(?i)fail|error|requir", line)]
    return f"{_one_line(telling[0]) if telling else 'onnxruntime does not say why'}; {_CURES[provider]}"


def _one_line(error: object) -> str:
    text = " ".join(str(error).split())
    return re.sub(r"^\S+ \S+ \[\w:onnxruntime[^\]]*\] ", "", text)[:300]


@contextmanager
def heard() -> Iterator[Callable[[], str]]:
    """Meanwhile take what this process, C libraries included, prints on stdout and stderr; what it was."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [(number, os.dup(number)) for number in (1, 2)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "said")
        text = ""
        with path.open("wb") as file:
            try:
                for number, _ in saved:
                    os.dup2(file.fileno(), number)
                yield lambda: text
            finally:
                _empty_c_buffers()
                sys.stdout.flush()
                sys.stderr.flush()
                for number, copy in saved:
                    os.dup2(copy, number)
                    os.close(copy)
                text = path.read_text(errors="replace")


def _empty_c_buffers() -> None:
    import ctypes

    ctypes.CDLL(None).fflush(None)
