"""The learning rate of each optimiser step, against numpy's formula of the released recipe."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engine.schedule import WarmupCosineHook, warmup_cosine

START, PEAK, END = 1e-6, 5e-4, 1e-5


def rates(steps: int, warmup: int) -> np.ndarray:
    return np.array([warmup_cosine(step, steps, warmup, START, PEAK, END) for step in range(steps)])


@given(st.integers(0, 30), st.integers(2, 60))
def test_a_line_and_half_a_cosine(warmup: int, rest: int) -> None:
    line = np.linspace(START, PEAK, warmup)
    cosine = END + 0.5 * (PEAK - END) * (1 + np.cos(np.linspace(0, np.pi, rest)))
    np.testing.assert_allclose(rates(warmup + rest, warmup), np.concatenate([line, cosine]), rtol=1e-12)


def test_the_ends_are_hit_exactly() -> None:
    found = rates(50, 10)
    assert found[0] == START
    assert found[9] == found[10] == PEAK, "reached on the last warm-up step and repeated on the next"
    assert found[-1] == END
    assert found.max() == PEAK


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 1), (2, 1), (3, 3)])
def test_runs_too_short_for_a_schedule(steps: int, warmup: int) -> None:
    assert all(START <= rate <= PEAK for rate in rates(steps, warmup))


def test_all_groups_change_once_an_optimiser_step() -> None:
    groups: list[dict[str, Any]] = [{"lr": 0.0}, {"lr": 0.0}]
    runner = SimpleNamespace(optim_wrapper=SimpleNamespace(optimizer=SimpleNamespace(param_groups=groups)))
    hook = WarmupCosineHook(accumulation=3, steps=4, warmup=2, start=START, peak=PEAK, end=END)
    seen = []
    for iteration in range(12):
        hook.before_train_iter(runner, iteration)
        assert groups[0] == groups[1]
        seen.append(groups[0]["lr"])
    assert seen == [rate for rate in rates(4, 2) for _ in range(3)]
