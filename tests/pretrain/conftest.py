"""The published training step, written out once a session."""

from pathlib import Path

import pytest

from tests.pretrain.oracle import Step, published_step


@pytest.fixture(scope="session")
def step(tmp_path_factory: pytest.TempPathFactory) -> Step:
    return published_step(tmp_path_factory.mktemp("published"))
