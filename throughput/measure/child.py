"""Each loader is measured in a fresh process, so that none finds what another left behind.

``python -m throughput.measure.child FD PARENT`` reads its plan from stdin and writes events to the file
descriptor FD, each as a pickle. Both ends are this package, on this machine, by this user.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from throughput.measure.events import Event, Finished
from throughput.measure.plan import Plan
from throughput.results import Row

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 0.3
_CHECK_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1  # prctl(2)


@contextlib.contextmanager
def measuring(plan: Plan) -> Iterator[tuple[int, Iterator[Event]]]:
    """Start the measuring process: its pid, and its events until Finished.

    On leaving, by whatever way, the process and all its workers are gone. A process that dies without
    a word is told of as a failed row.
    """
    ours, theirs = os.pipe()
    # -P: what lies in the current folder is imported only if it could be imported here.
    command = [sys.executable, "-P", "-m", "throughput.measure.child", str(theirs), str(os.getpid())]
    # A session of its own: Ctrl-C in the terminal reaches us only, and one signal reaches all workers.
    # What libraries print goes to stderr: stdout carries only what was asked for.
    # Workers that are killed leave their sockets' folders behind; these go with their own folder.
    scratch = tempfile.mkdtemp(prefix="tp-")
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
        pass_fds=(theirs,),
        start_new_session=True,
        env={
            **os.environ,
            "TMPDIR": scratch,
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        },
    )
    os.close(theirs)
    connection = Connection(ours, writable=False)
    try:
        yield process.pid, _events(process, connection, plan)
    finally:
        _end(process)
        connection.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _events(process: subprocess.Popen[bytes], connection: Connection, plan: Plan) -> Iterator[Event]:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        pickle.dump(plan, stdin)
    while True:
        # Workers hold the pipe open too, so a dead process does not show as its end.
        gone = process.poll() is not None
        while connection.poll(0 if gone else _POLL_SECONDS):
            try:
                event = connection.recv()
            except EOFError:
                break
            yield event
            if isinstance(event, Finished):
                return
        if gone:
            yield Finished(Row(plan.loader, "failed", _obituary(process.returncode)))
            return


def _obituary(exit_status: int) -> str:
    if exit_status == -signal.SIGKILL:
        return (
            "the measuring process was killed (SIGKILL), most likely for lack of memory: "
            "try a smaller --batch or fewer --workers"
        )
    if exit_status < 0:
        name = signal.Signals(-exit_status).name
        return f"the measuring process was ended by {name}; its last words are above"
    return f"the measuring process ended early with status {exit_status}; its last words are above"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and everything it started: asked first, so that it can clean up, then told."""
    deadline = time.monotonic() + _GRACE_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        while _group_lives(process) and time.monotonic() < deadline:
            time.sleep(_CHECK_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a process that has ended counts until it is waited for
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _main() -> None:
    events_to, parent = (int(argument) for argument in sys.argv[1:])
    # Should the parent be killed, nobody else would end us. It may have been already.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return
    plan: Plan = pickle.load(sys.stdin.buffer)
    from throughput.measure.row import measure_row

    connection = Connection(events_to, readable=False)
    measure_row(plan, connection.send)
    connection.close()
    sys.stdout.flush()
    # Interpreter shutdown of torch, DALI and CUDA can take seconds or crash; all is measured and told.
    os._exit(0)


if __name__ == "__main__":
    _main()
