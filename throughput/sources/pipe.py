"""A shard that a command writes."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from throughput.cache import CACHE_LIMIT_BYTES, cache_folder, require_own, whole_file
from throughput.errors import RoomError, SourceError
from throughput.sources.tar import regular_members

PIPE = "pipe:"


def piped_shard(address: str, allow_pipe: bool) -> str:
    """Run the command of ``pipe:COMMAND`` in a shell and keep its output; the path of the shard.

    The output is kept in the cache folder under the command's digest and used again.
    Raises SourceError where that is not allowed or the command fails, RoomError above CACHE_LIMIT_BYTES.
    """
    command = address.removeprefix(PIPE)
    if not allow_pipe:
        raise SourceError(f"{address} would run a shell command: pass --allow-pipe if you trust it")
    shard = cache_folder("pipes") / f"{hashlib.blake2b(command.encode(), digest_size=16).hexdigest()}.tar"
    if not shard.exists():
        with whole_file(shard) as file:
            _run(command, file)
        _require_sound(shard, command)
    require_own(shard)
    return str(shard)


def _require_sound(shard: Path, command: str) -> None:
    """Keep no broken output: of ``a | b`` the shell reports only how b ended."""
    where = f"the output of {command!r}"
    try:
        with shard.open("rb") as file:
            members = sum(1 for _ in regular_members(file, where))
    except SourceError:
        shard.unlink()
        raise
    if members == 0:
        shard.unlink()
        raise SourceError(f"{where} holds no files: run it by hand and look")


def _run(command: str, output: IO[bytes]) -> None:
    # A file takes what the command says: a pipe that nobody empties would stop it.
    with tempfile.TemporaryFile() as said:
        # A session of its own, so that stopping it stops the whole pipeline of commands.
        process = subprocess.Popen(
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        try:
            _copy(process, output, command)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            process.wait()
        if process.returncode:
            said.seek(0)
            tail = said.read().decode(errors="replace").strip()[-400:]
            raise SourceError(f"the command {command!r} failed with exit status {process.returncode}: {tail}")


def _copy(process: subprocess.Popen[bytes], output: IO[bytes], command: str) -> None:
    assert process.stdout is not None
    copied_bytes = 0
    with process.stdout as stream:
        while data := stream.read(1 << 20):
            copied_bytes += len(data)
            if copied_bytes > CACHE_LIMIT_BYTES:
                raise RoomError(
                    f"the output of {command!r} is larger than {CACHE_LIMIT_BYTES / 1e9:g} GB: "
                    f"write it to a .tar file where there is room, and name that"
                )
            output.write(data)
