"""Files on an HTTP server, through fsspec's sessions: one request a try, whose answer is looked at closely.

RFC 9110: ranges are section 14, conditions 13.1, Retry-After 10.2.3.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

import aiohttp
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem

from throughput.sources.remote.addresses import without_secrets
from throughput.sources.remote.retrying import FailedTryError, failed_status
from throughput.sources.remote.stores import MOST_SMALL_BYTES, RemoteFile, too_large

Result = TypeVar("Result")

_CONNECT_SECONDS = 20
_SILENT_SECONDS = 30
"""A connection that brings nothing for so long is given up."""
_PATIENCE_SECONDS, _LEAST_BYTES_PER_SECOND = 120, 10_000
"""A request that takes longer than this together is given up: a server may send a byte now and then."""
_PIECE_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+-\d+|\*)/(\d+)")
_WHOLE_SECONDS = re.compile(r"[0-9]{1,9}")
_AS_IT_IS = {"Accept-Encoding": "identity"}
"""A compressed answer would hold other bytes than those that were asked for."""
_NO_SUCH_RANGE = 416


class HttpStore:
    """http:// and https://. Proxies and ~/.netrc are those of the environment.

    Redirects are followed, to other hosts as well, but to http and https alone.
    """

    def __init__(self) -> None:
        self._files = HTTPFileSystem(client_kwargs={"trust_env": True}, skip_instance_cache=True)

    def look_up(self, address: str) -> RemoteFile:
        """Asked for by a range of one byte: addresses that are signed for GET refuse HEAD."""

        async def take(response: aiohttp.ClientResponse) -> RemoteFile:
            if response.status == _NO_SUCH_RANGE and _total(response) == 0:
                return RemoteFile(address, 0, _version(response))
            _require_success(response)
            size_bytes = _total(response) if response.status == 206 else response.content_length
            if size_bytes is None:
                raise FailedTryError(
                    "the server does not tell its size",
                    again=False,
                    advice="copy it to a server that does (Content-Length)",
                )
            return RemoteFile(address, size_bytes, _version(response), ranged=response.status == 206)

        return self._get(address, {"Range": "bytes=0-0"}, take, 0)

    def read(self, file: RemoteFile, start: int, end: int) -> bytes:
        """Raises FailedTryError for an answer that is not exactly these bytes of this version."""

        async def take(response: aiohttp.ClientResponse) -> bytes:
            _require_success(response)
            if response.status != 206:
                raise FailedTryError(
                    "the server sent the whole file when asked for a part of it",
                    again=False,
                    advice="start again: it is fetched whole then",
                )
            if _total(response) != file.size_bytes:
                raise failed_status(412, "(another size)")
            _require_unchanged(response, file)
            if (came := _range(response)) != f"{start}-{end - 1}":
                raise FailedTryError(f"the server sent other bytes, {came}", again=True)
            body = await response.read()
            if len(body) != end - start:
                raise FailedTryError(f"truncated: {len(body)} of {end - start} bytes came", again=True)
            return body

        asked = {"Range": f"bytes={start}-{end - 1}"} | _unchanged(file)
        return self._get(file.address, asked, take, end - start)

    def read_all(self, address: str) -> bytes:
        """The whole of a small file."""

        async def take(response: aiohttp.ClientResponse) -> bytes:
            _require_success(response)
            body = bytearray()
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                body += piece
                if len(body) > MOST_SMALL_BYTES:
                    raise too_large()
            return bytes(body)

        return self._get(address, {}, take, None)

    def stream(self, file: RemoteFile, take: Callable[[bytes], None]) -> None:
        """Hand the whole of a file over, piece by piece. Raises FailedTryError where the body ends early."""

        async def take_all(response: aiohttp.ClientResponse) -> None:
            _require_success(response)
            _require_unchanged(response, file)
            came_bytes = 0
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                came_bytes += len(piece)
                if came_bytes > file.size_bytes:
                    raise failed_status(412, "(another size)")
                take(piece)
            if came_bytes != file.size_bytes:
                raise FailedTryError(f"truncated: {came_bytes} of {file.size_bytes} bytes came", again=True)

        self._get(file.address, _unchanged(file), take_all, file.size_bytes)

    def listed(self, folder: str) -> list[str]:  # noqa: ARG002 - part of the interface
        """HTTP has no listing."""
        return []

    def _get(
        self,
        address: str,
        headers: dict[str, str],
        take: Callable[[aiohttp.ClientResponse], Awaitable[Result]],
        size_bytes: int | None,
    ) -> Result:
        """One request, and what ``take`` makes of the answer. Whatever breaks is a FailedTryError.

        size_bytes: of the answer; None: not known.
        """
        timeout = aiohttp.ClientTimeout(
            total=None if size_bytes is None else _PATIENCE_SECONDS + size_bytes / _LEAST_BYTES_PER_SECOND,
            sock_connect=_CONNECT_SECONDS,
            sock_read=_SILENT_SECONDS,
        )
        sent = _AS_IT_IS | headers

        async def get() -> Result:
            session = await self._files.set_session()
            url = self._files.encode_url(address)
            async with session.get(url, headers=sent, timeout=timeout) as response:
                return await take(response)

        try:
            result: Result = sync(self._files.loop, get)
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlRedirectClientError) as error:
            raise FailedTryError(
                f"no address of an HTTP server: {without_secrets(str(error))}",
                again=False,
                advice="check the address",
            ) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise FailedTryError(
                _not_connected(error.host, error.port, error.certificate_error),
                again=False,
                advice="have its certificate trusted here (SSL_CERT_FILE), or check the address",
            ) from error
        except aiohttp.ClientConnectorError as error:
            cause = _not_connected(error.host, error.port, error.os_error)
            raise FailedTryError(cause, again=True, connection="none") from error
        except aiohttp.ClientPayloadError as error:
            # A body that just ends may be this file's fault; aiohttp tells of a reset in its words alone.
            if "ConnectionResetError" in str(error):
                cause = f"the connection broke off ({os.strerror(errno.ECONNRESET)})"
                raise FailedTryError(cause, again=True, connection="broken") from error
            raise FailedTryError(f"truncated: {_said(error)}", again=True) from error
        except TimeoutError as error:
            raise FailedTryError(
                f"the server was silent for {_SILENT_SECONDS} s (or {_CONNECT_SECONDS} s in connecting), or "
                f"sent less than {_LEAST_BYTES_PER_SECOND} bytes a second",
                again=True,
                connection="broken",
            ) from error
        except (aiohttp.ServerDisconnectedError, OSError) as error:
            cause = f"the connection broke off ({_reason(error)})"
            raise FailedTryError(cause, again=True, connection="broken") from error
        except aiohttp.ClientError as error:
            raise FailedTryError(_said(error), again=True) from error
        return result


def _require_success(response: aiohttp.ClientResponse) -> None:
    if response.status not in (200, 206):
        asked = response.headers.get("Retry-After")
        raise failed_status(response.status, response.reason, None if asked is None else _seconds(asked))


def _seconds(retry_after: str) -> float | None:
    """Retry-After: seconds, or a date."""
    if _WHOLE_SECONDS.fullmatch(retry_after.strip()):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _total(response: aiohttp.ClientResponse) -> int | None:
    """The size of the whole file in Content-Range."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(found[2]) if found else None


def _range(response: aiohttp.ClientResponse) -> str:
    """The first and the last byte in Content-Range, as ``0-99``."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return found[1] if found else "unknown ones"


def _version(response: aiohttp.ClientResponse) -> str:
    """The ETag, else the time of the last change; else one that is never met again."""
    told = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return told or f"unknown {uuid.uuid4()}"


def _unchanged(file: RemoteFile) -> dict[str, str]:
    """The condition that the file is the one that was opened; a weak ETag cannot be asked for."""
    if file.version.startswith('"'):
        return {"If-Match": file.version}
    if file.version.startswith(("W/", "unknown ")):
        return {}
    return {"If-Unmodified-Since": file.version}


def _require_unchanged(response: aiohttp.ClientResponse, file: RemoteFile) -> None:
    """Raise FailedTryError for an answer of another version: not every server looks at conditions."""
    told = response.headers.get("ETag" if file.version.startswith(('"', "W/")) else "Last-Modified")
    if told is not None and not file.version.startswith("unknown ") and told != file.version:
        raise failed_status(412, "(another version)")


def _not_connected(host: str, port: int | None, error: Exception) -> str:
    place = f"[{host}]" if ":" in host else host
    return f"cannot connect to {place}:{port} ({_reason(error)})"


def _reason(error: Exception) -> str:
    """What the system says of it; asyncio's own words hold the address once more."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed it before its answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # of a name that does not resolve
    return without_secrets(" ".join(str(error).split()))[:300]


def _said(error: Exception) -> str:
    return without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
