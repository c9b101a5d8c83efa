"""The certificate's own images, made once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from throughput.certificate.images import OwnImages, own_images
from throughput.contracts import Work


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the session's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THROUGHPUT_CACHE", str(tmp_path_factory.mktemp("certificate")))
        yield


@pytest.fixture(scope="session")
def steady(cache: None) -> OwnImages:  # noqa: ARG001 - sets the environment
    return own_images("steady", 3)


@pytest.fixture
def work(steady: OwnImages) -> Work:
    """Small crops: as much is read off them, in less time."""
    return Work(steady.source, image_size=32, batch_size=64, workers=2)
