from __future__ import annotations

import math

import pytest

from wals_spark.errors import TrainingError
from wals_spark.objective.objective import Loss
from wals_spark.run.convergence import has_converged, refuse_rising_loss
from wals_spark.run.events import HalfIteration


def falling_to(*totals):
    return [
        HalfIteration(n, 8, "items" if n % 2 else "users", 1, 0.1, Loss(total, 0.0, 0.0))
        for n, total in enumerate(totals, start=1)
    ]


def test_a_falling_or_level_loss_passes():
    refuse_rising_loss(falling_to(10.0), "cholesky")
    refuse_rising_loss(falling_to(10.0, 9.0), "cholesky")
    refuse_rising_loss(falling_to(10.0, 10.0 + 1e-12), "cholesky")


def test_steps_in_float32_may_be_off_by_its_rounding_and_no_more():
    refuse_rising_loss(falling_to(10.0, 10.001), "cg")
    with pytest.raises(TrainingError, match=r"train\.solver = cg cannot do\. .* try train\.solver = cholesky"):
        refuse_rising_loss(falling_to(10.0, 10.1), "cg")


def test_rounding_is_of_the_size_of_what_is_summed_and_no_more():
    """The loss of a good fit is a small difference of large sums."""
    refuse_rising_loss(falling_to(0.14, 0.14 + 4e-4), "cg", constant=2048.0)
    for constant in (0.0, 100.0):
        with pytest.raises(TrainingError, match="raised the loss by"):
            refuse_rising_loss(falling_to(0.14, 0.14 + 4e-4), "cg", constant=constant)
    with pytest.raises(TrainingError, match="raised the loss by"):
        refuse_rising_loss(falling_to(0.14, 0.14 + 4e-4), "cholesky", constant=2048.0)


@pytest.mark.parametrize("loss", [10.001, math.nan, math.inf])
def test_a_rising_loss_is_refused_by_side_and_half_iteration(loss):
    with pytest.raises(TrainingError, match=r"half-iteration 3/8: solving items raised the loss by"):
        refuse_rising_loss(falling_to(11.0, 10.0, loss), "cholesky")


def test_training_ends_when_an_iteration_gains_less_than_tol():
    assert not has_converged(falling_to(10.0, 9.0), 0.5)  # nothing to compare with yet
    assert has_converged(falling_to(10.0, 9.0, 8.9, 8.8), 0.05)
    assert not has_converged(falling_to(10.0, 9.0, 8.9, 8.8), 0.01)
    assert not has_converged(falling_to(10.0, 9.0, 8.9), 0.5)  # half of an iteration
    assert not has_converged(falling_to(9.0, 9.0, 9.0, 9.0), 0.0)  # 0 means never
