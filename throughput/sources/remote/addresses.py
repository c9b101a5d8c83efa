"""Addresses of remote files: which are taken, how they are joined, and how they are shown."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from throughput.errors import SourceError

SCHEMES = ("http", "https", "s3")
"""Anything else, such as ``file:`` or ``pipe:``, is not opened, be it named or redirected to."""
_BEGIN = r"[a-z][a-z0-9+.-]*://"
_IN_TEXT = re.compile(rf"{_BEGIN}(?:(?!,{_BEGIN})[^\s'\"<>])+", re.IGNORECASE)
"""An address has commas of its own, in braces or in a query; in a list, one precedes the next address."""


def is_remote(address: str) -> bool:
    """Whether an address is one of a remote file."""
    scheme, mark, _ = address.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


def require_address(address: str) -> None:
    """Raise SourceError for what is no address, such as one with a port that cannot be."""
    try:
        _ = urlsplit(address).port
    except ValueError as error:
        raise SourceError(f"{shown(address)} is no address of a file ({error}): check it") from error


def beside(address: str, name: str) -> str:
    """The address of ``name`` in the folder that holds ``address``; its query, which may be a key, stays."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{name}"))


def folder_of(address: str) -> str:
    """The address of the folder that holds a file or a folder."""
    return beside(address, "").removesuffix("/")


def within(folder: str, name: str) -> str:
    """The address of ``name`` below a folder's."""
    parts = urlsplit(folder)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def path_of(address: str) -> str:
    """The path in an address, without its query."""
    return urlsplit(address).path


def shown(address: str) -> str:
    """An address for messages: without a password, and without a query, which may be a signature."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "an address that cannot be read"  # nobody knows where in it a password begins
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def without_secrets(text: str) -> str:
    """A text, such as a list of addresses or a command, with each address in it as it is shown."""
    return _IN_TEXT.sub(lambda found: shown(found[0]), text)
