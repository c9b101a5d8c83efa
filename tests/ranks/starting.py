"""Ranks: of the command, as torchrun starts them; of a function, forked from what has imported torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from throughput.measure.processes import ProcessTree

SECONDS = 100
"""Ranks that take longer hang."""
_NEEDED = [
    "torch._dynamo",
    "throughput.training.trainer",
    "throughput.ranks.group",
    "throughput.loaders.imagefolder",
]


@dataclass(frozen=True)
class Torchrun:
    """Call it with a number of ranks and the arguments of the command; what all said comes back, as text."""

    environment: dict[str, str]

    def __call__(self, ranks: int, *arguments: object, cwd: Any = None) -> subprocess.CompletedProcess[str]:
        """Ends in an AssertionError that shows where each process stood, if they do not come to an end."""
        command = self.command(ranks, "--standalone", *arguments)
        environment = self.environment | {"PYTHONFAULTHANDLER": "1"}
        with subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as started:
            try:
                out, error = started.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                tree = ProcessTree(started.pid)()
                for pid in () if tree is None else sorted(tree.pids):
                    os.kill(pid, signal.SIGABRT)
                out, error = started.communicate(timeout=SECONDS)
                raise AssertionError(f"{command} hangs; so far\n{out}\n{error}") from None
        return subprocess.CompletedProcess(command, started.returncode, out, error)

    def command(self, ranks: int, how: str | Sequence[str], *arguments: object) -> list[str]:
        """how: torchrun's own options."""
        own = [how] if isinstance(how, str) else how
        each = ["-m", "throughput", *map(str, arguments)]
        return [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}", *own, *each]


def run_ranks(ranks: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What the function of a module returns in each rank. Fails where it raises in one."""
    told = try_ranks(ranks, function, *arguments)
    for rank, (value, error) in enumerate(told):
        assert not error, f"rank {rank}: {error}"
        del value
    return [value for value, _ in told]


def try_ranks(ranks: int, function: Callable[..., Any], *arguments: Any) -> Sequence[tuple[Any, str]]:
    """The same, with what it raised, "" where nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_NEEDED)
    port = free_port()
    started = []
    for rank in range(ranks):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_become, args=(rank, ranks, port, theirs, function, arguments))
        process.start()
        theirs.close()
        started.append((process, ours))
    told = []
    try:
        for rank, (_, ours) in enumerate(started):
            assert ours.poll(SECONDS), f"rank {rank} of {ranks} did not come to an end"
            told.append(ours.recv())
    finally:
        for process, ours in started:
            process.join(0 if len(told) < ranks else 10)
            process.kill()
            ours.close()
    return told


def free_port() -> int:
    """One on which nothing listens at the moment."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port: int = some.getsockname()[1]
        return port


def _become(
    rank: int, ranks: int, port: int, told: Connection, function: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    try:
        told.send((function(*arguments), ""))
    except BaseException:  # noqa: BLE001 - the test is told, and judges
        told.send((None, traceback.format_exc()))
