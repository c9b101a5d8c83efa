"""Every loader of ours, one after another."""

from __future__ import annotations

import pytest

from throughput.contracts import LoaderFactory
from throughput.registry import load_loader, missing_requirements

LOADERS = ("torchvision", "webdataset", "dali", "roi")


@pytest.fixture(params=LOADERS)
def factory(request: pytest.FixtureRequest) -> LoaderFactory:
    """Each in turn; one whose libraries are missing is skipped."""
    chosen = load_loader(request.param)
    if missing := missing_requirements(chosen):
        pytest.skip(f"{missing[0].module} is not installed")
    return chosen
