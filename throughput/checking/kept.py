"""How far a check has come, kept in the cache folder so that an interrupted one can go on."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path

import PIL

from throughput.cache import cache_folder, whole_file
from throughput.checking.findings import Tally
from throughput.checking.pieces import Listing
from throughput.errors import RoomError

_VERSION = 2
"""Raise it when a sample is looked at otherwise."""
SAVE_SECONDS = 3.0
_MOST_SHARE = 0.05
"""Of the time that saving may take: with very many faults it is done less often."""


class Kept:
    """The file that holds a tally. It is written every ``save_seconds``, whole or not at all."""

    def __init__(self, listing: Listing, save_seconds: float = SAVE_SECONDS) -> None:
        facts = json.dumps([_VERSION, PIL.__version__, listing.fingerprint, len(listing)])
        name = hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()
        self.path: Path = cache_folder("check") / f"{name}.json"
        self._pause = self._save_seconds = save_seconds
        self._saved_at = time.monotonic()

    def load(self) -> Tally | None:
        """What an interrupted check left; None where there is nothing, or it is damaged."""
        try:
            record = json.loads(self.path.read_bytes())
            return Tally(
                below=int(record["below"]),
                beyond=set(map(int, record["beyond"])),
                samples=int(record["samples"]),
                bytes=int(record["bytes"]),
                seconds=float(record["seconds"]),
                bad={int(number): (str(kind), str(cause)) for number, kind, cause in record["bad"]},
                remarks={str(kind): (int(times), int(first)) for kind, times, first in record["remarks"]},
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save_now_and_then(self, tally: Tally, seconds: float) -> None:
        """Save if it is time."""
        begin = time.monotonic()
        if begin - self._saved_at >= self._pause:
            self.save(tally, seconds)
            self._saved_at = time.monotonic()
            self._pause = max(self._save_seconds, (self._saved_at - begin) / _MOST_SHARE)

    def save(self, tally: Tally, seconds: float) -> None:
        """Save. seconds: that all runs took so far. A full disk is no reason to stop the check."""
        record = {
            "below": tally.below,
            "beyond": sorted(tally.beyond),
            "samples": tally.samples,
            "bytes": tally.bytes,
            "seconds": seconds,
            "bad": [(number, kind, cause) for number, (kind, cause) in tally.bad.items()],
            "remarks": [(kind, times, first) for kind, (times, first) in tally.remarks.items()],
        }
        with suppress(OSError, RoomError), whole_file(self.path) as file:
            file.write(json.dumps(record).encode())

    def forget(self) -> None:
        """The check is complete: the next one begins anew, as files decay without their dates changing."""
        self.path.unlink(missing_ok=True)
