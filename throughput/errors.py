"""What a user can get wrong. Each message names what is wrong, where, and what to do about it."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """Of what a library's error says; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class ThroughputError(Exception):
    """The input is wrong: the command line prints the message as one line and exits with 2."""

    exit_code = 2


class SourceError(ThroughputError):
    """The images cannot be found or read."""


WAYS_ON = "--on-error skip goes on without such samples, and `throughput check` lists all of them"
"""What a command adds to a SampleError."""


class ManifestError(SourceError):
    """The manifest of packed shards is damaged; ``path`` names it."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(f"{path} is damaged: {cause}; pack the images again, into an empty folder")
        self.path = path
        self.cause = cause

    def __reduce__(self) -> tuple[type[ManifestError], tuple[str, str]]:
        """Let a worker process hand the error to its parent whole."""
        return (ManifestError, (self.path, self.cause))


class SampleError(SourceError):
    """One sample cannot be read or decoded; ``sample`` names its file, or its shard and offset."""

    def __init__(self, sample: str, cause: str) -> None:
        super().__init__(f"{sample}: {cause}")
        self.sample = sample
        self.cause = cause

    def __reduce__(self) -> tuple[type[SampleError], tuple[str, str]]:
        """Let a worker process hand the error to its parent whole."""
        return (SampleError, (self.sample, self.cause))


class TooManyErrorsError(SourceError):
    """More samples of an epoch are bad than may be."""


class OptionError(ThroughputError):
    """An option has a value that cannot work."""


class UnknownNameError(ThroughputError):
    """No loader, model or report of that name; the message offers the nearest one."""


class RoomError(ThroughputError):
    """A disk or a limit has no room for what would be written."""


class CacheError(ThroughputError):
    """The cache folder, or what lies in it, is another user's, or others may write to it."""


class NothingMeasuredError(ThroughputError):
    """Every row was skipped or failed."""

    exit_code = 3


class StateError(ThroughputError):
    """What a loader is to go on from is damaged, or belongs to other work."""


class LoaderError(ThroughputError):
    """A loader broke its contract: a wrong shape, an epoch without batches, a pipeline that died."""
