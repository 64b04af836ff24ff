"""What every test shares: no time limit for single examples, and a cache folder of the session's own."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# CI machines are slow and shared: a deadline for one example would fail at random.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh cache folder, so that no test sees what an earlier run left; subprocesses inherit it."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["DETAILCLIP_BENCH_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The root of small real subsets of the data sets, from ``BENCH_REAL_DATA``."""
    named = os.environ.get("BENCH_REAL_DATA")
    if not named:
        pytest.skip("BENCH_REAL_DATA is not set")
    return Path(named)
