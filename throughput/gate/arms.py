"""The two test sessions of a gate: pytest in the folder of the base, and in that of the head."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from throughput.errors import OptionError, ThroughputError
from throughput.gate.channel import PROTOCOL, Channel, pair

_START_SECONDS = 120.0
"""From starting Python to the plugin's first word; more than any import takes."""
_SILENCE_SECONDS = 900.0
"""More than preparing and certifying a loader, or one round of it, takes."""
_END_SECONDS = 30.0
_GRACE_SECONDS = 3.0
_LAST_LINES = 15


@dataclass(frozen=True)
class Side:
    """The base or the head of a change. python: what runs its tests."""

    name: str
    folder: Path
    python: str

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise OptionError(f"--{self.name} {self.folder}: there is no such folder")
        if os.sep in self.python:
            # It is run in the side's folder. Links are kept: a virtual environment's Python is one.
            object.__setattr__(self, "python", str(Path(self.python).absolute()))


class ArmError(ThroughputError):
    """A test session said something unexpected, or ended; ``side`` tells which."""

    def __init__(self, message: str, side: Side) -> None:
        super().__init__(message)
        self.side = side


@dataclass
class Arm:
    """A test session that runs. log: what it prints."""

    side: Side
    process: subprocess.Popen[bytes]
    channel: Channel
    log: Path
    _unheard: list[dict[str, Any]] = field(default_factory=list)

    @property
    def has_unheard(self) -> bool:
        """Whether something was put back."""
        return bool(self._unheard)

    def heard(self, patience_seconds: float | None = None) -> dict[str, Any]:
        """What it says next. Raises ArmError where it has ended, or says nothing for so long."""
        patience_seconds = patience_seconds or _SILENCE_SECONDS
        try:
            message = self._unheard.pop() if self._unheard else self.channel.receive(patience_seconds)
        except TimeoutError:
            raise ArmError(
                f"the tests of --{self.side.name} {self.side.folder} have said nothing for "
                f"{patience_seconds:.0f} s: a loader hangs, or its data takes that long to prepare",
                self.side,
            ) from None
        if message is None:
            raise self.gone()
        return message

    def has_word(self, seconds: float) -> bool:
        """Whether there is something to be heard, or comes within that time."""
        return self.has_unheard or self.channel.has_word(seconds)

    def tell(self, **message: Any) -> None:
        """Say something. Raises ArmError where it has ended."""
        try:
            self.channel.send(**message)
        except OSError as error:
            raise self.gone() from error

    def put_back(self, message: dict[str, Any]) -> None:
        """To be heard again."""
        self._unheard.append(message)

    def gone(self) -> ArmError:
        """That it ended before its time, with its last words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE_SECONDS)
        return ArmError(
            f"the tests of --{self.side.name} {self.side.folder} ended before they were measured "
            f"(pytest's status {self.process.poll()}): {_last_words(self.log)}",
            self.side,
        )

    def finish(self) -> None:
        """Let it come to its end: fixtures of the session are taken down then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_SECONDS)


@contextlib.contextmanager
def running(side: Side, other: Side, pytest_arguments: Sequence[str], scratch: Path) -> Iterator[Arm]:
    """Start a test session, and hear its first word; on leaving, it and all that it started are gone.

    scratch: a folder of this user's own. Raises ArmError.
    """
    log = scratch / f"{side.name}.log"
    channel, theirs = pair()
    command = [
        side.python, "-m", "pytest", *pytest_arguments, "-o", f"cache_dir={scratch / side.name}",
        # Names of tests are relative to it; those of both sides are to be the same.
        f"--rootdir={side.folder.resolve()}", "--throughput-arm", str(theirs.fileno()),
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.callback(channel.close)
        output = stack.enter_context(log.open("wb"))
        with theirs:  # from then on only the session holds it: its end is the end of the conversation
            process = stack.enter_context(_started(command, side, output, theirs))
        arm = Arm(side, process, channel, log)
        try:
            hello = channel.receive(_START_SECONDS)
        except TimeoutError:
            hello = None
        if hello is None:
            raise _did_not_start(arm)
        if hello.get("protocol") != PROTOCOL:
            raise ArmError(
                f"--{side.name} {side.folder} has a version of throughput that speaks another protocol: "
                "install the same version in both",
                side,
            )
        arm.tell(other=str(other.folder.resolve()))
        yield arm


@contextlib.contextmanager
def _started(
    command: Sequence[str], side: Side, output: IO[bytes], inherited: socket.socket
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own."""
    try:
        process = subprocess.Popen(
            command,
            cwd=side.folder,
            env=_environment(side),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(inherited.fileno(),),
        )
    except OSError as error:
        raise OptionError(
            f"cannot run the Python of --{side.name}, {side.python}: {error.strerror}"
        ) from error
    try:
        yield process
    finally:
        # Asked first: a session ends what measures for it, and cleans up.
        for end in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, end)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)


def _environment(side: Side) -> Mapping[str, str]:
    """The side's own folders before all others, whatever else is installed, as in editable mode."""
    folder = side.folder.resolve()
    own = [str(folder), *([str(folder / "src")] if (folder / "src").is_dir() else [])]
    # Whoever calls us may be a worker of pytest-xdist; these sessions are not.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST_")}
    path = [*own, *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {"PYTHONPATH": os.pathsep.join(path)}


def _did_not_start(arm: Arm) -> ArmError:
    side, said = arm.side, _last_words(arm.log)
    with contextlib.suppress(subprocess.TimeoutExpired):
        arm.process.wait(_GRACE_SECONDS)
        said = _last_words(arm.log)
    if "--throughput-arm" in said:
        return ArmError(
            f"the pytest of --{side.name} {side.folder} ({side.python}) does not know throughput's plugin, "
            "or one that is too old for a gate: install throughput there",
            side,
        )
    status = arm.process.poll()
    return ArmError(
        f"the tests of --{side.name} {side.folder} could not be started (pytest's status {status}): {said}",
        side,
    )


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
    return " | ".join(line.strip() for line in lines if line.strip()) or "it said nothing"
