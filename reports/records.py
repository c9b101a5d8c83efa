"""The records behind a verdict: comparisons, decisions, certificates, counts, what was used, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from throughput.reports import gate
from throughput.reports.cells import NOTHING, is_evaluation, percent
from throughput.reports.markup import Html, Part, folded, table, tag
from throughput.reports.notes import ratio_words
from throughput.reports.numbers import decimal, general, known, plural
from throughput.reports.tellable import Run
from throughput.results import Certificate, LedgerCount, Row


def gate_of(run: Run, place: str, level: int) -> Html:
    """What was decided, test by test; nothing where there was no gate."""
    decisions = run.results.gate
    if not decisions:
        return Html()
    name = f"{place}-gate"
    headings = [heading.replace("\n", " ") for heading in gate.HEADINGS]
    return tag(
        "section",
        tag(f"h{level}", "The gate", id=name),
        tag("p", f"{gate.rule(decisions)}."),
        table("Decisions", headings, map(gate.cells, decisions), words={1, 6}, quiet=True),
        tag("ul", *(tag("li", line) for line in gate.reasons(decisions)))
        if gate.reasons(decisions)
        else None,
        aria_labelledby=name,
    )


def comparisons_of(run: Run, place: str, level: int) -> Html:
    """How loaders compare, round by round; nothing of one loader."""
    compared = run.results.comparisons
    if not compared:
        return Html()
    name = f"{place}-comparisons"
    rows = [
        (
            one.loader,
            one.baseline,
            run.phase_names[one.phase],
            ratio_words(one.ratio, one.low, one.high),
            str(one.pairs),
            one.words,
        )
        for one in compared
    ]
    headings = ("loader", "against", "measured", "ratio [95 % interval]", "rounds", "it is")
    return tag(
        "section",
        tag(f"h{level}", "Loaders compared", id=name),
        tag(
            "p", "Ratios of images per second, paired round by round: what drifts on the machine cancels out."
        ),
        table("Ratios of images per second", headings, rows, words={1, 2, 5}, quiet=True),
        aria_labelledby=name,
    )


def records_of(run: Run, place: str, level: int) -> Html:
    """Everything else, folded."""
    name = f"{place}-records"
    parts: list[Part] = [tag(f"h{level}", "Records", id=name)]
    parts += [
        _certificate(row_name, row.certificate) for row_name, row in run.rows if row.certificate is not None
    ]
    parts += [part for part in (_ledgers(run), _used(run)) if part]
    results = run.results
    parts.append(folded("The work", _facts("The work that every loader did", results.work)))
    parts.append(folded("The machine", _facts("The machine and its software", results.environment)))
    parts.append(folded("The command", tag("pre", tag("code", results.command), tabindex=0)))
    return tag("section", *parts, aria_labelledby=name)


def _certificate(name: str, certificate: Certificate) -> Html:
    holding = sum(check.ok for check in certificate.checks)
    verdict = {True: "comparable", False: "NOT COMPARABLE", None: "not certified"}[certificate.comparable]
    counted = f", {holding} of {plural(len(certificate.checks), 'check')} hold" if certificate.checks else ""
    made = "made by an earlier run" if certificate.cached else f"made in {decimal(certificate.seconds, 1)} s"
    rows = [
        (check.name, "yes" if check.ok else "NO", general(check.value), general(check.limit), check.words)
        # What failed comes first.
        for check in sorted(certificate.checks, key=lambda check: check.ok)
    ]
    headings = ("check", "holds", "value", "limit", "what was found")
    checks = table(f"Certificate of {name}", headings, rows, words={1, 4}, quiet=True) if rows else None
    return folded(
        f"Certificate of {name}: {verdict}{counted}",
        tag("p", f"{certificate.reason}.") if certificate.reason else None,
        tag("p", f"{made}.".capitalize()) if rows else None,
        checks,
    )


def _ledgers(run: Run) -> Html:
    rows = [
        cells
        for name, row in run.rows
        for of, ledger in (("trained on" if run.activity == "training" else "answered", row.ledger),
                           ("held out", row.held_out_ledger))
        if ledger is not None
        for cells in [_ledger(name, of, ledger)]
    ]  # fmt: skip
    if not rows:
        return Html()
    headings = (
        "loader", "images", "exact", "epochs", "complete", "expected", "unique", "missing", "duplicate",
        "padded", "corrupt", "unexpected", "mislabelled",
    )  # fmt: skip
    caption = "What came, counted; of several epochs the worst"
    return folded("What was counted", table(caption, headings, rows, words={1, 2}))


def _ledger(name: str, of: str, ledger: LedgerCount) -> tuple[str, ...]:
    worst = ledger.worst
    counts = (
        len(ledger.epochs),
        sum(epoch.complete for epoch in ledger.epochs),
        worst.expected,
        worst.unique,
        worst.missing,
        worst.duplicate,
        worst.padded,
        worst.corrupt,
        worst.unexpected,
        ledger.mislabelled,
    )
    told = (NOTHING if count is None else f"{count:,}" for count in counts)
    return (name, of, "yes" if ledger.exact else "NO", *told)


def _used(run: Run) -> Html:
    rows = [_usage(name, row) for name, row in run.rows if row.status == "ok" and not is_evaluation(row)]
    if not rows:
        return Html()
    headings = (
        "loader", "CPU alone", "CPU model", "CPU both", "GPU", "JPEG engine", "memory GB", "GPU memory GB",
        "energy J", "steps", "images", "loss", "prepared s", "prepared MB",
    )  # fmt: skip
    return folded(
        "What was used", table("What each loader used, and what was trained with it", headings, rows)
    )


def _usage(name: str, row: Row) -> tuple[str, ...]:
    prepared = row.prepare
    return (
        name,
        percent(row.load_cpu_utilisation),
        percent(row.model_cpu_utilisation),
        percent(row.cpu_utilisation),
        percent(row.gpu_utilisation),
        percent(row.jpeg_utilisation),
        _giga(row.peak_rss_bytes),
        _giga(row.gpu_memory_bytes),
        decimal(row.energy_joules, 0),
        NOTHING if row.train_steps is None else f"{row.train_steps:,}",
        NOTHING if row.train_images is None else f"{row.train_images:,}",
        general(row.loss),
        NOTHING if prepared is None else decimal(prepared.seconds, 1),
        NOTHING if prepared is None else decimal(prepared.bytes / 1e6, 0),
    )


def _giga(count: int | None) -> str:
    return NOTHING if count is None else f"{count / 1e9:,.2f}"


def _facts(caption: str, told: Mapping[str, Any]) -> Html:
    rows = [(key, value) for key, value in _flat(told)]
    return (
        table(caption, ("what", "value"), rows, words={1}, quiet=True)
        if rows
        else tag("p", "Nothing was told.")
    )


def _flat(told: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of a mapping, and of those within it."""
    for key, value in told.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, (list, tuple)) and any(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value, start=1):
                yield from _flat(one if isinstance(one, Mapping) else {"": one}, f"{name} {number}: ")
        else:
            yield name, _shown(str(key), value)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown("", one) for one in value) or "none"
    if key.endswith("bytes") and isinstance(value, (int, float)) and known(value):
        return f"{value:,.0f} ({value / 1e9:,.1f} GB)"
    if isinstance(value, int):
        return f"{value:,}" if key != "seed" else str(value)
    return (f"{value:g}" if known(value) else NOTHING) if isinstance(value, float) else str(value)
