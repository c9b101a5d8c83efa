"""NumPy's ``.npy`` format (version 1.0), read without belief in what a file's header promises."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from throughput.errors import first_line


def read_vector(file: IO[bytes], size_bytes: int, dtype: Any) -> NDArray[Any]:
    """The 1-D array of ``dtype`` in an open ``.npy`` file of ``size_bytes``.

    The header must promise just as much as follows it, so that no more memory is asked for than there is
    file. Raises ValueError for anything else.
    """
    try:
        npy.read_magic(file)  # type: ignore[no-untyped-call, unused-ignore] # some releases type it
        shape, _, found = npy.read_array_header_1_0(file)  # type: ignore[no-untyped-call, unused-ignore]
    except Exception as error:  # the header is Python's text, whose parser fails in many ways
        raise ValueError(f"its header is damaged: {first_line(error)}") from error
    wanted = np.dtype(dtype)
    follow_bytes = size_bytes - file.tell()
    if found != wanted or len(shape) != 1 or shape[0] * wanted.itemsize != follow_bytes:
        told = f"{str(found)[:40]} in {str(shape)[:40]}"
        raise ValueError(f"it holds {follow_bytes} bytes of numbers, and tells of {told}")
    array = np.empty(shape[0], wanted)
    if file.readinto(array.view(np.uint8).data) != follow_bytes:  # type: ignore[attr-defined] # IO has no such method
        raise ValueError("it ends too soon")
    return array
