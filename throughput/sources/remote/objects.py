"""Objects in a bucket (s3://), through the file system that fsspec has for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Literal

import fsspec
from fsspec.asyn import sync

from throughput.sources.remote.addresses import without_secrets
from throughput.sources.remote.retrying import FailedTryError, failed_status
from throughput.sources.remote.stores import MOST_SMALL_BYTES, RemoteFile, too_large

_PIECE_BYTES = 8 << 20
_CONNECTION = {"ConnectionError", "HTTPClientError"}
"""What botocore's errors of connections derive from."""


class ObjectStore:
    """Credentials and endpoint are the environment's (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on)."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._files: Any = fsspec.filesystem(kind, skip_instance_cache=True, use_listings_cache=False)

    def look_up(self, address: str) -> RemoteFile:
        """By its size and ETag."""
        told = self._tried(lambda: self._files.info(address))
        return RemoteFile(address, int(told["size"]), _version(told))

    def read(self, file: RemoteFile, start: int, end: int) -> bytes:
        """Raises FailedTryError for another number of bytes, or bytes of another version."""
        body, version = self._got(file.address, Range=f"bytes={start}-{end - 1}")
        if version.strip('"') != file.version.strip('"'):
            raise failed_status(412, "(another version)")
        if len(body) != end - start:
            raise FailedTryError(f"truncated: {len(body)} of {end - start} bytes came", again=True)
        return body

    def read_all(self, address: str) -> bytes:
        """The whole of a small object."""
        return self._got(address)[0]

    def stream(self, file: RemoteFile, take: Callable[[bytes], None]) -> None:
        """Hand the whole of an object over, piece by piece."""
        for start in range(0, file.size_bytes, _PIECE_BYTES):
            take(self.read(file, start, min(start + _PIECE_BYTES, file.size_bytes)))

    def listed(self, folder: str) -> list[str]:
        """Addresses of the objects below a prefix."""
        return [f"{self._kind}://{path}" for path in self._tried(lambda: self._files.find(folder))]

    def _got(self, address: str, **how: str) -> tuple[bytes, str]:
        """An object, or as much of it as ``how`` asks for, and its version: ``cat_file`` tells none."""
        bucket, key, _ = self._files.split_path(address)

        async def get() -> tuple[bytes, str]:
            # Its public form, call_s3, returns before the body has come.
            answer = await self._files._call_s3("get_object", Bucket=bucket, Key=key, **how)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > MOST_SMALL_BYTES:
                    raise too_large()
                return await body.read(), _version(answer)

        got: tuple[bytes, str] = self._tried(lambda: sync(self._files.loop, get))
        return got

    def _tried(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except FailedTryError:
            raise
        except FileNotFoundError as error:
            raise failed_status(404, "(no such object)") from error
        except PermissionError as error:
            raise failed_status(403, f"({error})") from error
        except Exception as error:  # botocore raises many types
            said = without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
            kinds = {kind.__name__ for kind in type(error).__mro__}
            if kinds & _CONNECTION:
                said = without_secrets(" ".join(str(error).split()))[:300]
                connection: Literal["none", "broken"] = (
                    "none" if "EndpointConnectionError" in kinds else "broken"
                )
                raise FailedTryError(said, again=True, connection=connection) from error
            no_credentials = type(error).__name__ == "NoCredentialsError"
            raise (
                failed_status(401, said) if no_credentials else FailedTryError(said, again=True)
            ) from error


def _version(told: Mapping[str, Any]) -> str:
    return str(told.get("ETag") or told.get("LastModified") or "")
