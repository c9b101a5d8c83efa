"""Each task runs in a fresh process, so that none finds what another left behind.

Importing torch takes seconds. The nursery is a process that has imported it, has done nothing with it,
and forks for each task: a child begins in the state of a process that has just started and imported what
it, or a task before it, needs.

``python -m throughput.measure.nursery FD PARENT`` takes tasks from the socket FD. Both ends are this
package, on this machine, by this user.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from throughput.cache import keep_compiled_code
from throughput.child_process import dies_with, short_temporary_folder, start_child
from throughput.measure.events import Event, Finished, Opened
from throughput.measure.plan import Task

MODULE = "throughput.measure.nursery"
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 0.3
_CHECK_SECONDS = 0.01
_OWN_PATH = "THROUGHPUT_PYTHONPATH"
"""Carries the user's own PYTHONPATH past the one that the nursery is started with."""
_TRACERS = ("COV_CORE_", "COVERAGE_PROCESS_")
"""Variables by which coverage and pytest-cov have new processes trace themselves."""
_NO_CHILD = -1000
"""Neither a pid nor the status of a process: there was none."""


class Nursery:
    """Runs tasks one after another. Leaving the context ends it, and whatever still runs.

    It starts with the first task, and anew where this process's folder, environment or ``sys.path`` has
    changed: what a task finds is what it would find in a process that starts now.
    """

    def __init__(self) -> None:
        self._surroundings: object = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    @contextlib.contextmanager
    def running(self, task: Task) -> Iterator[tuple[int, Iterator[Event]]]:
        """Run a task in a fresh process: its pid, and its events until Finished.

        On leaving, by whatever way, the process and all its workers are gone. A process that dies
        without a word is told of as a failure. It waits with an event Opened until the next one is asked for.
        """
        ours, theirs = socket.socketpair()
        events = Connection(ours.detach())
        # Workers that are killed leave their sockets' folders behind; these go with their own folder.
        scratch = tempfile.mkdtemp(prefix="tp-", dir=short_temporary_folder())
        child: _Child | None = None
        try:
            messages = self._send(theirs.detach(), scratch, task)
            child = _Child(messages)
            yield child.pid, _events(events, child, task)
        finally:
            if child is not None:
                child.end()
            if child is None or child.pid == _NO_CHILD:
                self._end()  # it was interrupted before the task began, or is about to be gone
            events.close()
            shutil.rmtree(scratch, ignore_errors=True)

    def _send(self, events_to: int, scratch: str, task: Task) -> Connection:
        """Hand a task over; what the nursery says about it comes from the connection."""
        try:
            control = self._started()
            messages = Connection(os.dup(control.fileno()))
            with contextlib.suppress(BrokenPipeError):  # its end is noticed where its answer is missing
                socket.send_fds(control, [b"\0"], [events_to])
                messages.send((scratch, task.needs, pickle.dumps(task)))
            return messages
        finally:
            os.close(events_to)

    def _started(self) -> socket.socket:
        """The nursery's socket; it is started, or started anew, where none runs that would do."""
        runs = self._process is not None and self._process.poll() is None
        surroundings = _surroundings()
        if self._control is not None and runs and self._surroundings == surroundings:
            return self._control
        self._end()
        self._surroundings = surroundings
        self._control, theirs = socket.socketpair()
        with theirs:
            # What traces this process must not slow down what is measured.
            untraced = {name: value for name, value in os.environ.items() if not name.startswith(_TRACERS)}
            own_path = {_OWN_PATH: os.environ.get("PYTHONPATH", "")}
            self._process = start_child(MODULE, theirs, untraced | own_path)
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _surroundings() -> object:
    """What a new process takes over from this one."""
    # pytest names the test that runs in the environment, which no task looks at.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return Path.cwd(), environment, tuple(sys.path)


class _Child:
    """A forked process as its grandparent knows it: by its pid, then by its exit status."""

    def __init__(self, messages: Connection) -> None:
        self._messages = messages
        self._status: int | None = None
        self.pid = self._heard()

    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self._status is None and self._messages.poll():
            self._status = self._heard()
        return self._status

    def end(self) -> None:
        """End it and everything that it started: asked first, so that it can clean up, then told."""
        deadline = time.monotonic() + _GRACE_SECONDS
        if self.pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
                while _group_lives(self.pid) and time.monotonic() < deadline:
                    time.sleep(_CHECK_SECONDS)
                os.killpg(self.pid, signal.SIGKILL)
        if self._status is None:
            self._heard()
        self._messages.close()

    def _heard(self) -> int:
        """What the nursery says next; no pid and a status of its own where it has ended without a word."""
        try:
            said: int = self._messages.recv()
        except (EOFError, ConnectionResetError):
            said = self._status = _NO_CHILD
        return said


def _events(events: Connection, child: _Child, task: Task) -> Iterator[Event]:
    while True:
        # Workers hold the pipe open too, so a dead process does not show as its end.
        status = child.status()
        while events.poll(0 if status is not None else _POLL_SECONDS):
            try:
                event: Event = events.recv()
            except (EOFError, ConnectionResetError):
                break
            yield event
            if isinstance(event, Finished):
                return
            if isinstance(event, Opened):
                with contextlib.suppress(BrokenPipeError):  # its end is noticed in the next turn
                    events.send(None)
        if status is not None:
            yield Finished(task.failed(_obituary(status)))
            return


def _obituary(exit_status: int) -> str:
    if exit_status == -signal.SIGKILL:
        return (
            "the measuring process was killed (SIGKILL), most likely for lack of memory: "
            "try a smaller --batch or fewer --workers"
        )
    if exit_status == _NO_CHILD:
        return "the measuring process could not be started; its last words are above"
    if exit_status < 0:
        name = signal.Signals(-exit_status).name
        return f"the measuring process was ended by {name}; its last words are above"
    return f"the measuring process ended early with status {exit_status}; its last words are above"


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _main() -> None:
    """Take tasks until the socket is closed."""
    control_fd, parent = (int(argument) for argument in sys.argv[1:])
    # Programs that a pipeline starts, perhaps of another Python, are to find what they find elsewhere.
    os.environ["PYTHONPATH"] = os.environ.pop(_OWN_PATH, "")
    if not os.environ["PYTHONPATH"]:
        del os.environ["PYTHONPATH"]
    if not dies_with(parent):
        return
    keep_compiled_code()
    from throughput.measure import child  # imports torch: what all this is for

    control = socket.socket(fileno=control_fd)
    messages = Connection(os.dup(control_fd))
    # Python warns of forking where there are threads. The ones here are idle, and numpy's and scipy's, which
    # prepare their own for a fork (pthread_atfork in OpenBLAS).
    warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
    while True:
        told, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not told:
            return
        scratch, needs, task = messages.recv()
        for module in needs:
            with contextlib.suppress(Exception):  # the child will meet it again, and can tell of it
                importlib.import_module(module)
        nursery = os.getpid()
        # What is there now stays: a child that collects garbage need not look through all of torch.
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            control.close()
            messages.close()
            warnings.resetwarnings()
            _become(scratch, nursery)
            child.perform(pickle.loads(task), Connection(descriptors[0]))
        # Here and in the child: whoever comes first, the group is there before its number is told.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        os.close(descriptors[0])
        messages.send(pid)
        _, status = os.waitpid(pid, 0)
        messages.send(os.waitstatus_to_exitcode(status))


def _become(scratch: str, nursery: int) -> None:
    """Turn the forked process into one of its own: its group, its temporary folder, its end."""
    os.setpgid(0, 0)
    if not dies_with(nursery):
        os._exit(1)
    os.environ["TMPDIR"] = tempfile.tempdir = scratch


if __name__ == "__main__":
    _main()
