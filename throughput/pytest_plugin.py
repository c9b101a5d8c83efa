"""The pytest plugin: ``loader_benchmark``, ``train_benchmark``, and limits on images per second.

pytest loads this file in every run on a machine where throughput is installed: it imports nothing heavy, and
what it does is done by ``throughput.pytesting`` once a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from throughput.pytesting.fixtures import Benchmark
    from throughput.pytesting.measuring import Measured

MARK = (
    "throughput(min_ratio=None, min_images_per_second=None): the least that a test measured by throughput "
    "may reach, as a share of its base's rate (0.95) or in images per second"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of their own group."""
    from throughput.pytesting.options import add_options

    add_options(parser)


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """An arm of a gate runs its tests once and one after another, whatever the project's ini file says."""
    if any(one.startswith("--throughput-arm") for one in args):
        from throughput.pytesting.arm import arguments_for_an_arm

        args += arguments_for_an_arm(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the mark, and join pytest-benchmark where it runs."""
    config.addinivalue_line("markers", MARK)
    if config.getoption("throughput_json") is not None:
        from throughput.pytesting.options import require_folder

        require_folder(config.getoption("throughput_json"))
    if config.getoption("throughput_compare") is not None:
        from throughput.pytesting.limits import saved_run

        saved_run(config.getoption("throughput_compare"), test="")  # refused before anything is measured
    # Two ways to define one fixture: what asks for a fixture that does not exist could not be collected.
    name = "with_benchmark" if config.pluginmanager.hasplugin("benchmark") else "without_benchmark"
    config.pluginmanager.import_plugin(f"throughput.pytesting.{name}")
    if config.getoption("throughput_arm"):
        from throughput.pytesting.arm import join_gate

        join_gate(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say where nothing will be timed."""
    from throughput.pytesting.options import beside_others

    if beside_others(config):
        return "throughput: tests that run beside each other (-n) are not timed: each loader is run once"
    return None


@pytest.fixture
def loader_benchmark(throughput_measured: Measured) -> Benchmark:
    """Call it with a loader: it is measured alone, and its row of the results comes back."""
    from throughput.pytesting.fixtures import Benchmark

    return Benchmark(throughput_measured, ("load",))


@pytest.fixture
def train_benchmark(throughput_measured: Measured) -> Benchmark:
    """Call it with a loader: it, a model, and both together are measured, and the row comes back."""
    from throughput.pytesting.fixtures import Benchmark

    return Benchmark(throughput_measured, ("load", "model", "train"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A line for each test that measured something."""
    from throughput.pytesting.kept import records_of
    from throughput.pytesting.options import beside_others

    records = records_of(config)
    untimed = [
        report
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        if ("throughput.timed", "False") in report.user_properties
    ]
    if beside_others(config) and untimed:
        terminalreporter.section("throughput")
        terminalreporter.line(
            f"{len(untimed)} tests ran their loaders, and timed nothing: those beside each other (-n) "
            "would disturb the measurement; run them with -n0"
        )
    if records:
        from throughput.pytesting.summary import summary_lines

        terminalreporter.section("throughput")
        for line in summary_lines(records):
            terminalreporter.line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was measured, if asked for."""
    from throughput.pytesting.kept import records_of

    path, records = session.config.getoption("throughput_json"), records_of(session.config)
    if path is not None and records and not hasattr(session.config, "workerinput"):
        from throughput.pytesting.records import write_records

        write_records(path, records)
