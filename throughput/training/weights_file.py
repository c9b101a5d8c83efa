"""Files of tensors and plain values, as ``torch.save`` writes them, read without belief in what they say.

torch does not compare a record with its checksum, and takes the size of a tensor from the file's own words:
one that tells of more than it holds would be filled with whatever lies in memory behind it, or ask for any
amount of it. Code in a file is never run.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, UntypedStorage

from throughput.errors import first_line
from throughput.training.errors import CheckpointError

_ZIP = b"PK\x03\x04"
"""How torch tells its format from the older one, which has no checksums."""


def read_file(path: Path) -> Any:
    """What a file holds, its tensors on the CPU, in memory of its own. Raises CheckpointError, naming it."""
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a file of tensors and plain values, and nothing else is read: "
            "save a state dict with torch.save"
        ) from error
    except Exception as error:  # a damaged file fails in any way, most of all one of torch's old format
        raise CheckpointError(f"{path} is damaged, or no file of weights: {first_line(error)}") from error


def _read(file: IO[bytes], path: Path) -> Any:
    is_zip = file.read(len(_ZIP)) == _ZIP
    if is_zip:
        record_bytes = _record_bytes(file)
        # Mapped, a tensor cannot reach beyond the end of the file, nor ask for more memory.
        content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    else:
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
    held_bytes = _held_bytes(content)
    if sum(held_bytes.elements()) > path.stat().st_size:
        raise ValueError("its tensors tell of more numbers than it holds")
    if is_zip and not held_bytes <= record_bytes:
        raise ValueError("a tensor is not of its record's size")
    return _copied(content, {}) if is_zip else content


def _record_bytes(file: IO[bytes]) -> Counter[int]:
    """How many records of an archive have which size.

    Raises ValueError where they are packed, or are not what was written (CRC-32).
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its records are packed, which torch.save does not do")
        if len({entry.filename for entry in entries}) < len(entries):
            raise ValueError("a record comes twice")
        if damaged := archive.testzip():
            raise ValueError(f"its record {damaged} is not what was written (CRC-32)")
        return Counter(entry.file_size for entry in entries)


def _held_bytes(content: Any) -> Counter[int]:
    """How many stretches of memory of which size the tensors show. Raises ValueError for one that shows more
    numbers than there are, or is no plain array of them."""
    storages = {}
    for tensor in _tensors(content):
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ValueError(f"a tensor is of another kind than plain numbers ({tensor.layout})")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError("a tensor tells of more numbers than it holds")
        storages[_place(tensor)] = tensor.untyped_storage().nbytes()
    return Counter(size for size in storages.values() if size)


def _place(tensor: Tensor) -> tuple[int, int]:
    """Of the memory that a tensor shows, or a part of it: address and bytes."""
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def _tensors(content: Any) -> Iterator[Tensor]:
    """All tensors in nested dicts, lists and tuples."""
    waiting = [content]
    seen: set[int] = set()  # what holds itself would be looked through for ever
    while waiting:
        one = waiting.pop()
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, (Mapping, list, tuple)) and id(one) not in seen:
            seen.add(id(one))
            waiting += one.values() if isinstance(one, Mapping) else one


def _copied(content: Any, copies: dict[tuple[int, int], UntypedStorage]) -> Any:
    """The same with tensors that no longer depend on the file: it may be written anew meanwhile.

    copies: of the memory that was met before, which tensors may share.
    """
    if isinstance(content, Tensor):
        place = _place(content)
        if place not in copies:
            copies[place] = content.untyped_storage().clone()  # type: ignore[no-untyped-call] # torch types it not
        shown = content.detach()
        return torch.empty(0, dtype=shown.dtype).set_(
            copies[place], shown.storage_offset(), shown.size(), shown.stride()
        )
    if isinstance(content, dict):
        for name, part in content.items():
            content[name] = _copied(part, copies)
    elif isinstance(content, list):
        content[:] = [_copied(part, copies) for part in content]
    elif type(content) is tuple:
        return tuple(_copied(part, copies) for part in content)
    return content
