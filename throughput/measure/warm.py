"""What measuring processes on a CPU need and would take a while to load: imported before they are forked."""

from __future__ import annotations

import numpy as np

from throughput.normalise import normalise_rows

# The first call is what loads numba's compiler and the machine code.
normalise_rows(
    np.zeros((0, 0), np.uint8),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros((0, 0), np.float32),
)
