from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.checkpoints import oracle as fixtures
from tests.checkpoints.oracle import Oracle


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's own cache is read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Oracle]:
    """The oracle of a method by its name, rebuilt once a session."""
    folder: Path = tmp_path_factory.mktemp("oracle")
    built: dict[str, Oracle] = {}

    def get(name: str) -> Oracle:
        if name not in built:
            built[name] = fixtures.rebuild(name, folder)
        return built[name]

    return get
