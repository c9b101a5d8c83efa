"""Objects in a bucket (s3://), through the file system that fsspec has for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fsspec

from throughput.sources.remote.retrying import FailedTryError, failed_status
from throughput.sources.remote.stores import RemoteFile

_PIECE_BYTES = 8 << 20


class ObjectStore:
    """Credentials and endpoint are the environment's (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on)."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._files: Any = fsspec.filesystem(kind, skip_instance_cache=True, use_listings_cache=False)

    def look_up(self, address: str) -> RemoteFile:
        """By its size and ETag."""
        told = self._tried(lambda: self._files.info(address))
        version = str(told.get("ETag") or told.get("LastModified") or "")
        return RemoteFile(address, int(told["size"]), version)

    def read(self, file: RemoteFile, start: int, end: int) -> bytes:
        """Raises FailedTryError for another number of bytes."""
        body: bytes = self._tried(lambda: self._files.cat_file(file.address, start=start, end=end))
        if len(body) != end - start:
            raise FailedTryError(f"truncated: {len(body)} of {end - start} bytes came", again=True)
        return body

    def read_all(self, address: str) -> bytes:
        """The whole of a small object."""
        body: bytes = self._tried(lambda: self._files.cat_file(address))
        return body

    def stream(self, file: RemoteFile, take: Callable[[bytes], None]) -> None:
        """Hand the whole of an object over, piece by piece."""
        for start in range(0, file.size_bytes, _PIECE_BYTES):
            take(self.read(file, start, min(start + _PIECE_BYTES, file.size_bytes)))

    def listed(self, folder: str) -> list[str]:
        """Addresses of the objects below a prefix."""
        return [f"{self._kind}://{path}" for path in self._tried(lambda: self._files.find(folder))]

    def _tried(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except FileNotFoundError as error:
            raise failed_status(404, "(no such object)") from error
        except PermissionError as error:
            raise failed_status(403, f"({error})") from error
        except Exception as error:  # botocore raises many types
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            no_credentials = type(error).__name__ == "NoCredentialsError"
            raise (
                failed_status(401, said) if no_credentials else FailedTryError(said, again=True)
            ) from error
