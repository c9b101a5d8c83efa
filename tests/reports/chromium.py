"""A headless Chromium, spoken to in its DevTools protocol through a pair of pipes: no port, no library."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
ANSWER_SECONDS = 60
"""A browser that does not answer for so long hangs."""
END_SECONDS = 10
_FREE = 10
"""Descriptors from here on are not those that Chromium listens and writes to, 3 and 4."""

Message = dict[str, Any]


def executable() -> str | None:
    """Where a Chromium lies; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. events: what the browser has told of it so far, in order."""

    def __init__(self, pipes: _Pipes, session: str) -> None:
        self._pipes = pipes
        self._session = session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    @property
    def events(self) -> list[Message]:
        return [event for event in self._pipes.events if event.get("sessionId") == self._session]

    def call(self, method: str, **parameters: Any) -> Message:
        """Carry out a method of the protocol and return what it answers."""
        return self._pipes.call(method, parameters, self._session)

    def look(self, width: int, height: int, scheme: str) -> None:
        """A window of so many pixels, of a reader who prefers the colour scheme ``light`` or ``dark``."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self._pipes.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self._pipes.until(lambda event: event.get("method") == "Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it is fulfilled with."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """A PNG of the whole page, however long."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


class _Pipes:
    """Messages to and from the browser, each ended by a zero byte."""

    def __init__(self, write: int, read: int) -> None:
        self._write = write
        self._read = read
        self._rest = b""
        self._number = 0
        self.events: list[Message] = []

    def call(self, method: str, parameters: Message, session: str | None = None) -> Message:
        self._number += 1
        told = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            told["sessionId"] = session
        os.write(self._write, json.dumps(told).encode() + b"\0")
        number = self._number
        answer = self.until(lambda message: message.get("id") == number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: Message = answer["result"]
        return result

    def until(self, is_it: Any) -> Message:
        """The first message of that kind; events are kept on the way."""
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            message = self._message(end)
            if "method" in message:
                self.events.append(message)
            if is_it(message):
                return message

    def _message(self, end: float) -> Message:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium did not answer within {ANSWER_SECONDS} s"
            read = os.read(self._read, 1 << 20)
            assert read, "Chromium ended"
            self._rest += read
        text, _, self._rest = self._rest.partition(b"\0")
        message: Message = json.loads(text)
        return message


@contextmanager
def running(path: str) -> Iterator[Page]:
    """Start the Chromium at ``path``; its processes and its profile are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        theirs_read, ours_write = _pipe()
        ours_read, theirs_write = _pipe()
        arguments = [
            path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-sync",
            "--disable-component-update",
            "--remote-debugging-pipe", f"--user-data-dir={profile}",
        ]  # fmt: skip
        pid = os.posix_spawn(
            path,
            arguments,
            {**os.environ, "HOME": profile},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, theirs_read, 3),
                (os.POSIX_SPAWN_DUP2, theirs_write, 4),
            ],
            setsid=True,
        )
        os.close(theirs_read)
        os.close(theirs_write)
        pipes = _Pipes(ours_write, ours_read)
        try:
            target = pipes.call("Target.createTarget", {"url": "about:blank"})["targetId"]
            session = pipes.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
            yield Page(pipes, session)
        finally:
            with suppress(OSError, AssertionError):
                pipes.call("Browser.close", {})
            _end(pid)
            os.close(ours_write)
            os.close(ours_read)


def _pipe() -> tuple[int, int]:
    """Read and write ends that no other process inherits by chance, out of the way of 3 and 4."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FREE) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


def _end(pid: int) -> None:
    """Wait for the browser to end, and end it with all its processes if it does not."""
    waiter = os.pidfd_open(pid)
    try:
        if not select.select([waiter], [], [], END_SECONDS)[0]:
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    finally:
        os.close(waiter)
