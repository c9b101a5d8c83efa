"""NumPy's ``.npy`` format (version 1.0), read without belief in what a file's header promises."""

from __future__ import annotations

import re
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY\x01\x00"
# Not by NumPy's own reader: Python 3.11 cannot parse two headers in two threads at a time, and says that one
# of them is damaged.
_HEADER = re.compile(rb"\{'descr': (.+), 'fortran_order': False, 'shape': \((\d{1,18}),\), \} *\n")


def read_vector(file: IO[bytes], size_bytes: int, dtype: Any) -> NDArray[Any]:
    """The 1-D array of ``dtype`` in an open ``.npy`` file of ``size_bytes``.

    The header must promise just as much as follows it, so that no more memory is asked for than there is
    file. Raises ValueError for anything else.
    """
    wanted = np.dtype(dtype)
    head = file.read(len(_MAGIC) + 2)
    header = _HEADER.fullmatch(file.read(int.from_bytes(head[len(_MAGIC) :], "little")))
    if not head.startswith(_MAGIC) or header is None:
        raise ValueError("its header is damaged, or is not that of numbers in a row")
    found, count = header[1].decode("latin-1"), int(header[2])
    follow_bytes = size_bytes - file.tell()
    if found != repr(npy.dtype_to_descr(wanted)) or count * wanted.itemsize != follow_bytes:
        raise ValueError(f"it holds {follow_bytes} bytes of numbers, and tells of {count} of {found[:40]}")
    array = np.empty(count, wanted)
    if file.readinto(array.view(np.uint8).data) != follow_bytes:  # type: ignore[attr-defined] # IO has no such method
        raise ValueError("it ends too soon")
    return array
