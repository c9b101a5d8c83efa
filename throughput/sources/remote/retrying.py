"""Requests that fail for a moment are made again, later and later; those that fail for good are named."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from throughput.errors import SourceError

Result = TypeVar("Result")

_ADVICE = {
    401: "give the credentials that the server asks for (a ~/.netrc, or in the address)",
    403: "ask for access to it, or sign the address again if its signature has expired",
    404: "check the address",
    410: "check the address",
    412: "it changed since it was opened: start again",
    416: "it changed since it was opened: start again",
}
TRIES_TO_MEET = 3
"""Of a server that was never reached: its address may be wrong, and nothing is lost yet."""
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that another try may not meet (RFC 9110, section 15; RFC 6585 and RFC 8470)."""


class RemoteError(SourceError):
    """A remote file cannot be had: its address, the bytes, why, after how many tries, and what to do."""


class FailedTryError(Exception):
    """One request failed. again: whether another may succeed. wait_seconds: what the server asked for.

    status: HTTP's, where there was an answer. connection: ``none`` where none was made, ``broken`` where it
    was, and ended or brought nothing; None where the server is there.
    """

    def __init__(
        self,
        cause: str,
        *,
        again: bool,
        advice: str | None = None,
        wait_seconds: float | None = None,
        status: int | None = None,
        connection: Literal["none", "broken"] | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.again = again
        self.advice = advice
        self.wait_seconds = wait_seconds
        self.status = status
        self.connection = connection


def is_server_gone(error: BaseException | None) -> bool:
    """Whether an error came of a server that does not answer: what else is on it fails as well."""
    while error is not None:
        if isinstance(error, FailedTryError):
            return error.connection is not None
        error = error.__cause__
    return False


def failed_status(status: int, reason: str | None, wait_seconds: float | None = None) -> FailedTryError:
    """The failure that an HTTP status stands for."""
    cause = f"status {status} {reason or ''}".rstrip()
    again = status in _PASSING
    return FailedTryError(
        cause, again=again, advice=_ADVICE.get(status), wait_seconds=wait_seconds, status=status
    )


@dataclass(frozen=True)
class Retries:
    """tries: of one request. first_seconds: the longest wait after the first failure; it doubles each time.

    most_seconds: no wait is longer, unless the server asks for it. most_asked_seconds: no more is granted.
    """

    tries: int = 8
    first_seconds: float = 0.2
    most_seconds: float = 10.0
    most_asked_seconds: float = 60.0

    def wait_seconds(self, failures: int, asked_seconds: float | None) -> float:
        """Before the next try: drawn anew each time, so that many readers do not come back as one.

        Backoff with full jitter, as in "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
        """
        longest = min(self.most_seconds, self.first_seconds * 2 ** (failures - 1))
        drawn = random.uniform(0, longest)
        if asked_seconds is None:
            return drawn
        return min(asked_seconds, self.most_asked_seconds) + min(drawn, self.first_seconds)


def with_retries(
    attempt: Callable[[], Result],
    what: str,
    retries: Retries,
    sleep: Callable[[float], None] = time.sleep,
    *,
    is_met: Callable[[], bool] = lambda: True,
) -> Result:
    """The result of the first try that succeeds. what: names the bytes. Raises RemoteError.

    is_met: whether the server was reached before; else no more than TRIES_TO_MEET connections are tried.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except FailedTryError as failure:
            failures += 1
            most = retries.tries
            if failure.connection == "none" and not is_met():
                most = min(most, TRIES_TO_MEET)
            if failure.again and failures < most:
                sleep(retries.wait_seconds(failures, failure.wait_seconds))
                continue
            tries = "1 try" if failures == 1 else f"{failures} tries"
            advice = failure.advice or "check the network and the server, then start again"
            raise RemoteError(f"{what}: {failure.cause}, after {tries}; {advice}") from failure
