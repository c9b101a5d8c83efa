"""What a report says of a row in a word or a number: the cells of tables, whatever they are written in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from throughput.reports.notes import count, short
from throughput.results import Phase, PhaseName, Results, Row

NOTHING = "-"

Cell = Callable[[Row], str]


def one_line(text: object) -> str:
    """Text without line breaks, control characters, or what else has no shape of its own."""
    return " ".join("".join(one if one.isprintable() else " " for one in str(text)).split())


def title(results: Results) -> str:
    """What was done in a run, as far as it tells: its test, images, their size, batch, model, workers."""
    work = results.work
    images = f"{count(work.get('train_images'))} images ({count(work.get('val_images'))} more held out)"
    if answers(results):
        images = f"{count(work.get('images'))} images ({count(work.get('val_images'))} of them held out)"
    ranks = work.get("world_size") or 1
    each = f" for each of {ranks} ranks" if ranks > 1 else ""
    told = {
        "source": f"{images} of {short(str(work.get('source')))}",
        "image_size": f"{work.get('image_size')} px",
        "batch_size": f"batch {work.get('batch_size')}",
        "model": f"{work.get('model')} in {work.get('compute_dtype')} on {work.get('device')}",
        "workers": f"{work.get('workers')} workers{each}",
    }
    words = ", ".join(words for name, words in told.items() if work.get(name) is not None)
    return ": ".join(part for part in (work.get("test"), words) if part)


def answers(results: Results) -> bool:
    """Whether a model answered for the batches, and was not trained by them."""
    return results.work.get("activity") == "inference"


def is_evaluation(row: Row) -> bool:
    """Whether nothing was measured of it but how good a model is."""
    return row.evaluation is not None and row.train is None and row.model is None


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Fastest in training first; below them what does other work, and last what was not measured."""
    return sorted(rows, key=_rank, reverse=True)


def _rank(row: Row) -> tuple[bool, bool, float]:
    phase = measured_phase(row)
    rate = 0.0 if phase is None else phase.images_per_second.median
    return row.status == "ok", row.is_sound, rate if math.isfinite(rate) else 0.0


def measured_phase(row: Row) -> Phase | None:
    """The one that says most of a loader, of those that were measured."""
    return row.train or row.load or row.model


def measured_phase_name(row: Row) -> PhaseName:
    """Which one that is."""
    return "train" if row.train else "load" if row.load else "model"


def fastest(rows: Sequence[Row]) -> Row | None:
    """Of the sound rows, one that was counted or certified where there is any; None without a sound one.

    What repeats samples on purpose, to show a limit, is neither.
    """
    sound = [row for row in ranked(rows) if row.is_sound and measured_phase(row) is not None]
    return max(sound, key=is_proved, default=None)


def is_proved(row: Row) -> bool:
    """Whether anybody looked at what a sound row delivered."""
    return row.ledger is not None or (row.certificate is not None and row.certificate.comparable is True)


def stamps(row: Row) -> list[str]:
    """Where the row is not what it seems."""
    if row.status != "ok":
        return []
    found = []
    if row.ledger is not None and not row.ledger.exact:
        found.append("MISCOUNTED")
    if row.certificate is not None and not row.certificate.comparable:
        found.append("not certified" if row.certificate.comparable is None else "NOT COMPARABLE")
    return found


def proof(row: Row) -> str:
    """What speaks for the row and against it, in a few words."""
    proved = []
    if row.ledger is not None and row.ledger.exact:
        proved.append("counted")
        if row.bad_samples:
            proved.append(f"{len(row.bad_samples):,} BAD")
    if row.certificate is not None and row.certificate.comparable:
        proved.append("certified")
    return ", ".join([*stamps(row), *proved]) or NOTHING


def rate(phase: Phase | None) -> str:
    """The median, and half the width of its interval where there were several passes."""
    if phase is None:
        return NOTHING
    found = phase.images_per_second
    if not math.isfinite(found.median):
        return NOTHING
    if found.low is None or found.high is None:
        return f"{found.median:,.0f}"
    half = (found.high - found.low) / 2
    # Two passes that differ say next to nothing, and their interval says so.
    return f"{found.median:,.0f} ±{half:,.0f}" if half < found.median else f"{found.median:,.0f} ±>100%"


def percent(share: float | None, digits: int = 0) -> str:
    """Of a share from 0 to 1."""
    return NOTHING if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f}%"


def share_of_ceiling(row: Row) -> float | None:
    """Both together over the model alone; None also where nothing came of the model."""
    return row.share_of_ceiling if row.model and row.model.images_per_second.median else None


def _of_the_ceiling(row: Row) -> str:
    return percent(share_of_ceiling(row))


def _milliseconds(row: Row, share: str) -> str:
    latency = None if row.model is None else row.model.latency_ms
    return NOTHING if latency is None else f"{latency[share]:,.1f}"


def _waiting(row: Row) -> str:
    return percent(None if row.train is None else row.train.wait_fraction)


def _verdict(row: Row) -> str:
    return NOTHING if row.verdict is None else row.verdict.bottleneck


def _provider(row: Row) -> str:
    return (row.runtime and row.runtime.provider) or NOTHING


_COMMON: dict[str, Cell] = {
    "CPU": lambda row: percent(row.cpu_utilisation),
    "memory\nGB": lambda row: NOTHING if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e9:.1f}",
    "top-1": lambda row: percent(row.accuracy, digits=1),
    "verdict": _verdict,
}
TRAINING: dict[str, Cell] = {
    "alone\nimages/s": lambda row: rate(row.load),
    "model\nimages/s": lambda row: rate(row.model),
    "training\nimages/s": lambda row: rate(row.train),
    "of the\nceiling": _of_the_ceiling,
    "waiting": _waiting,
    "GPU": lambda row: percent(row.gpu_utilisation),
    **_COMMON,
}
"""Of a run in which a model was trained: heading -> cell, in order."""
ANSWERING: dict[str, Cell] = {
    "provider": _provider,
    "alone\nimages/s": lambda row: rate(row.load),
    "session\nimages/s": lambda row: rate(row.model),
    "both\nimages/s": lambda row: rate(row.train),
    "of the\nceiling": _of_the_ceiling,
    "p50\nms": lambda row: _milliseconds(row, "p50"),
    "p99\nms": lambda row: _milliseconds(row, "p99"),
    **_COMMON,
}
"""Of a run in which a model answered."""
